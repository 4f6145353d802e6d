//! What a model's configuration may hold.

use pg_llm_tests::{Asked, db_error};
use serde_json::{Value, json};

/// Adding a model with this configuration fails, and leaves nothing.
#[track_caller]
fn refused(asked: &mut Asked, model_type: &str, config: &Value) -> (String, String, String) {
    let error = db_error(asked.client.execute("SELECT pg_llm_add_model($1, 'x', NULL, $2)", &[&model_type, config]));
    let text = config.to_string();
    let older = db_error(asked.client.execute("SELECT pg_llm_add_model(false, $1, 'x', NULL, $2)", &[&model_type, &text]));
    assert_eq!((error.code(), error.message(), error.hint()), (older.code(), older.message(), older.hint()), "{config}");
    assert_eq!(asked.value::<i64>("SELECT count(*) FROM pg_llm_models WHERE instance_name = 'x'", &[]).unwrap(), 0);
    (error.code().code().to_owned(), error.message().to_owned(), error.hint().unwrap_or_default().to_owned())
}

#[test]
fn an_unknown_key_is_22023_and_the_hint_names_the_nearest() {
    let mut asked = Asked::echo();
    for (name, nearest) in [
        ("modelname", "model_name"),
        ("api_endpint", "api_endpoint"),
        ("endpoint", ""),
        ("temprature", "temperature"),
        ("apikey", "api_key"),
        ("acess_key_id", "access_key_id"),
        ("organisation", "organization"),
    ] {
        let (state, message, hint) = refused(&mut asked, "openai", &json!({name: "x"}));
        assert_eq!((state.as_str(), message.as_str()), ("22023", format!("pg_llm: unknown config key \"{name}\"").as_str()));
        assert!(hint.contains(nearest), "{name}: {hint}");
    }
    let (state, _, hint) = refused(&mut asked, "mock", &json!({"messages": []}));
    assert_eq!(state, "22023", "a conversation is a call's and no model's");
    assert!(!hint.is_empty());
}

#[test]
fn a_value_of_the_wrong_type_is_22023_and_named() {
    let mut asked = Asked::echo();
    let endpoint = "http://127.0.0.1:9/v1";
    for (name, values) in [
        ("model_name", json!([1, {}, []])),
        (
            "api_endpoint",
            json!([
                1,
                "",
                "localhost:8000",
                "ftp://x/",
                "file:///etc/passwd",
                "https://",
                "https://x?y",
                "https://x#y",
                "http://x:0",
                "http://x:99999",
                "//x"
            ]),
        ),
        ("temperature", json!(["x", 3])),
        ("timeout_ms", json!([0, "x"])),
        ("max_attempts", json!([0, 11])),
        ("on_error", json!(["shrug"])),
        ("limits", json!([1, [], {"memory_mb": 0}, {"memory_mb": 5000}, {"cpu_ms": 0}, {"memory": 1}, {"response_bytes": "x"}])),
        ("keys", json!([1, [], {"x": 1}, {"": "x"}, {"x": ""}])),
        ("api_key", json!([1, {}])),
        ("access_key_secret", json!([1])),
        ("headers", json!([1, "x", []])),
        ("stream_usage", json!(["yes", 1])),
        ("max_tokens_field", json!([1, "tokens"])),
        ("system_role", json!(["king"])),
        ("reasoning_style", json!(["deep"])),
    ] {
        for value in values.as_array().unwrap() {
            let mut config = json!({"api_endpoint": endpoint});
            config[name] = value.clone();
            let (state, message, _) = refused(&mut asked, "openai-compatible", &config);
            assert_eq!(state, "22023", "{name}: {value}: {message}");
            let about = match name {
                "limits" => "limit",
                "keys" | "api_key" | "access_key_secret" => "key",
                name => name,
            };
            assert!(message.contains(about), "{name}: {value}: {message}");
        }
    }
    for config in [json!(1), json!("x"), json!([]), json!(true), Value::Null] {
        assert_eq!(refused(&mut asked, "mock", &config).0, "22023", "{config}");
    }
}

#[test]
fn a_missing_endpoint_is_22023_and_the_hint_shows_one() {
    let mut asked = Asked::echo();
    for model_type in ["openai-compatible", "azure-openai"] {
        let (state, message, hint) = refused(&mut asked, model_type, &json!({"model_name": "x"}));
        assert_eq!(state, "22023");
        assert!(message.contains("api_endpoint") && hint.contains("\"api_endpoint\": \"https://"), "{message} {hint}");
    }
}

#[test]
fn a_password_in_an_endpoint_is_refused_and_not_repeated() {
    let mut asked = Asked::echo();
    let (state, message, hint) = refused(&mut asked, "openai", &json!({"api_endpoint": "https://user:hunter2@example.com/v1"}));
    assert_eq!(state, "22023");
    assert!(!message.contains("hunter2") && !hint.contains("hunter2"), "{message} {hint}");
}

#[test]
fn the_api_key_is_given_once() {
    let mut asked = Asked::echo();
    let config = json!({"api_key": "sk-12345678"});
    let error = db_error(asked.client.execute("SELECT pg_llm_add_model('mock', 'x', 'sk-87654321', $1)", &[&config]));
    assert_eq!(error.code().code(), "22023", "{error:?}");
    assert!(!format!("{error:?}").contains("12345678"), "{error:?}");
}

#[test]
fn nulls_in_a_configuration_are_as_good_as_absent() {
    let mut asked = Asked::echo();
    let config = json!({"model_name": null, "temperature": null, "limits": null, "keys": null, "mock_response": null});
    asked.client.execute("SELECT pg_llm_add_model('mock', 'x', NULL, $1)", &[&config]).unwrap();
    assert_eq!(asked.value::<Value>("SELECT config FROM pg_llm_models WHERE instance_name = 'x'", &[]).unwrap(), json!({}));
}

#[test]
fn a_models_limits_can_only_lower_the_servers() {
    let mut asked = Asked::echo();
    asked.add("openai-compatible", "m", &json!({"max_attempts": 1, "limits": {"response_bytes": 500}}));
    let long = "x".repeat(1000);
    assert_eq!(db_error(asked.chat(&long, &json!({}))).code().code(), "54000");
    assert_eq!(asked.says("short"), "You said: short");
    asked.add("openai-compatible", "m", &json!({"max_attempts": 1, "limits": {"response_bytes": 100_000_000}}));
    asked.client.batch_execute("SET pg_llm.max_response_bytes = 1024").unwrap();
    assert_eq!(db_error(asked.chat(&long, &json!({}))).code().code(), "54000");
}
