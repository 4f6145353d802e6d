//! Keys: kept, rotated and forgotten as documented, and never stored in clear.

use std::process::Command;

use pg_llm_tests::{Asked, Installation, db_error};
use serde_json::{Value, json};

/// What the upstream is sent as a key by the next call.
fn key_in_use(asked: &mut Asked) -> Option<String> {
    asked.says("Hello");
    let request = asked.upstream.last_request().unwrap();
    request.header("authorization").map(|value| value.strip_prefix("Bearer ").unwrap().to_owned())
}

#[test]
fn a_change_keeps_the_key_unless_it_is_given_again() {
    let mut asked = Asked::echo();
    let endpoint = format!("{}/v1", asked.upstream.url());
    let change = |asked: &mut Asked, key: Option<&str>, config: Value| {
        let mut config = config;
        config["api_endpoint"] = json!(endpoint);
        assert!(asked.value::<bool>("SELECT pg_llm_add_model('openai-compatible', 'm', $1, $2)", &[&key, &config]).unwrap());
        key_in_use(asked)
    };
    assert_eq!(change(&mut asked, None, json!({"temperature": 1})).as_deref(), Some(Asked::KEY));
    assert_eq!(asked.sent()["temperature"], 1.0);
    assert_eq!(change(&mut asked, Some("sk-rotated-1"), json!({})).as_deref(), Some("sk-rotated-1"));
    assert_eq!(asked.sent().get("temperature"), None, "a configuration is replaced as a whole");
    assert_eq!(change(&mut asked, Some(""), json!({})).as_deref(), Some("sk-rotated-1"), "older callers write '' for none");
    assert_eq!(change(&mut asked, None, json!({"api_key": "sk-rotated-2"})).as_deref(), Some("sk-rotated-2"));
    assert_eq!(
        change(&mut asked, None, json!({"keys": {"default": "sk-rotated-3", "other": "sk-other-123"}})).as_deref(),
        Some("sk-rotated-3")
    );
    assert_eq!(asked.value::<Vec<String>>("SELECT key_names FROM pg_llm_models", &[]).unwrap(), ["default", "other"]);
}

/// Who changes where a model's calls go must give the keys again: else a key could be sent to any host.
#[test]
fn a_key_does_not_follow_its_model_to_another_endpoint_or_provider() {
    let mut asked = Asked::echo();
    let config = json!({"api_endpoint": format!("{}/v2", asked.upstream.url())});
    asked.client.execute("SELECT pg_llm_add_model('openai-compatible', 'm', NULL, $1)", &[&config]).unwrap();
    assert_eq!(key_in_use(&mut asked), None, "another path is another place");
    assert!(asked.value::<Vec<String>>("SELECT key_names FROM pg_llm_models", &[]).unwrap().is_empty());

    let mut asked = Asked::echo();
    let config = json!({"api_endpoint": format!("{}/v1", asked.upstream.url())});
    asked.client.execute("SELECT pg_llm_add_model('openai', 'm', NULL, $1)", &[&config]).unwrap();
    let error = db_error(asked.chat("Hello", &json!({})));
    assert_eq!(error.code().code(), "38000", "{error:?}");
    assert!(error.message().contains("has no key \"default\""), "{error:?}");
    assert!(asked.upstream.requests().is_empty());
}

#[test]
fn set_key_sets_replaces_and_removes() {
    let mut asked = Asked::echo();
    let set = |asked: &mut Asked, value: Option<&str>| asked.value::<bool>("SELECT pg_llm_set_key('m', 'default', $1)", &[&value]);
    assert!(set(&mut asked, Some("sk-another-1")).unwrap());
    assert_eq!(key_in_use(&mut asked).as_deref(), Some("sk-another-1"));
    assert!(set(&mut asked, None).unwrap());
    assert!(!set(&mut asked, None).unwrap());
    assert_eq!(key_in_use(&mut asked), None, "it is optional for this model type");
    for (sql, state) in [
        ("SELECT pg_llm_set_key('m', 'default', '')", "22023"),
        ("SELECT pg_llm_set_key('m', '', 'x')", "22023"),
        ("SELECT pg_llm_set_key('m', NULL, 'x')", "22023"),
        ("SELECT pg_llm_set_key(NULL, 'default', 'x')", "22023"),
        ("SELECT pg_llm_set_key('nobody', 'default', 'x')", "42704"),
    ] {
        assert_eq!(db_error(asked.value::<bool>(sql, &[])).code().code(), state, "{sql}");
    }
}

/// DESIGN 4.6: keys are encrypted at rest.
#[test]
fn no_secret_is_stored_in_clear_or_dumped() {
    let secrets = [
        "sk-secret-of-the-argument",
        "sk-secret-in-config",
        "id-secret-in-config",
        "as-secret-in-config",
        "nk-secret-in-keys",
        "sk-secret-set-later",
    ];
    let mut asked = Asked::echo();
    asked
        .client
        .batch_execute(
            "SELECT pg_llm_add_model('mock', 'a', 'sk-secret-of-the-argument');
             SELECT pg_llm_add_model('mock', 'b', NULL, '{\"api_key\": \"sk-secret-in-config\", \"access_key_id\": \"id-secret-in-config\",
                 \"access_key_secret\": \"as-secret-in-config\", \"keys\": {\"named\": \"nk-secret-in-keys\"}, \"temperature\": 1}');
             SELECT pg_llm_set_key('a', 'default', 'sk-secret-set-later');",
        )
        .unwrap();
    let config: Value = asked.value("SELECT config FROM pg_llm_models WHERE instance_name = 'b'", &[]).unwrap();
    assert_eq!(config, json!({"temperature": 1}));
    let names: Vec<String> = asked.value("SELECT key_names FROM pg_llm_models WHERE instance_name = 'b'", &[]).unwrap();
    assert_eq!(names, ["access_key_id", "access_key_secret", "default", "named"]);

    let mut kept = String::new();
    for relation in ["_pg_llm_catalog.models", "_pg_llm_catalog.keys", "_pg_llm_catalog.grants", "pg_llm_models"] {
        kept += &asked.value::<String>(&format!("SELECT string_agg(r::text, '\n') FROM {relation} r"), &[]).unwrap();
    }
    // A bytea is shown in hexadecimal digits.
    let sealed: Vec<Vec<u8>> = asked.value("SELECT array_agg(sealed) FROM _pg_llm_catalog.keys", &[]).unwrap();
    kept.extend(sealed.iter().map(|sealed| String::from_utf8_lossy(sealed).into_owned()));
    let dump = dump(&asked);
    assert!(dump.contains("COPY _pg_llm_catalog.keys") && dump.contains("COPY _pg_llm_catalog.models"), "{dump}");
    for secret in secrets {
        let hex = secret.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        for (place, text) in [("tables", &kept), ("dump", &dump)] {
            assert!(!text.contains(secret) && !text.contains(&hex), "{secret} is in the {place}");
        }
    }
}

/// `pg_dump` of the database.
fn dump(asked: &Asked) -> String {
    let output = Command::new(Installation::of_tests().program("pg_dump")).arg(asked.database.conninfo()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_dump_and_restore_keeps_models_keys_and_grants() {
    let mut asked = Asked::echo();
    let role = asked.database.create_role();
    asked.value::<bool>("SELECT pg_llm_grant_model('m', $1)", &[&role]).unwrap();
    let file = asked.database.cluster().lend(&format!("{}.sql", asked.database.name()), dump(&asked).as_bytes());
    let restored = asked.database.cluster().empty_database();
    let printed = restored.psql(&["-q", "-f", file.to_str().unwrap()]);
    assert!(printed.success, "{}", printed.errors);
    for mut client in [restored.superuser(), restored.connect_as(&role)] {
        let said: String = client.query_one("SELECT pg_llm_chat('m', 'Hello')", &[]).unwrap().get(0);
        assert_eq!(said, "You said: Hello");
        assert_eq!(asked.upstream.last_request().unwrap().header("authorization"), Some(format!("Bearer {}", Asked::KEY).as_str()));
    }
    // What cannot be restored as it was is not restored as something else.
    assert_eq!(
        db_error(restored.connect_as(&asked.database.create_role()).query_one("SELECT pg_llm_chat('m', 'Hello')", &[])).code().code(),
        "42501"
    );
}
