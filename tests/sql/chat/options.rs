//! Options that cannot be: each is an ERROR that helps, and no call.

use pg_llm_tests::{Asked, db_error};
use serde_json::{Value, json};

/// Fails without a call, in both forms.
#[track_caller]
fn refused(asked: &mut Asked, options: &Value) -> (String, String, String) {
    let text = db_error(asked.chat("Hello", options));
    let object = db_error(asked.chat_json("Hello", options));
    assert_eq!((text.code(), text.message(), text.hint()), (object.code(), object.message(), object.hint()), "{options}");
    assert_eq!(asked.upstream.connections_total(), 0, "{options}");
    (text.code().code().to_owned(), text.message().to_owned(), text.hint().unwrap_or_default().to_owned())
}

#[test]
fn an_unknown_option_is_22023_and_the_hint_names_the_nearest() {
    let mut asked = Asked::echo();
    for (name, nearest) in [
        ("temprature", "temperature"),
        ("Temperature", "temperature"),
        ("maxTokens", "max_tokens"),
        ("max_token", "max_tokens"),
        ("sytem", "system"),
        ("timeout", "timeout_ms"),
        ("response_fromat", "response_format"),
        ("image", "images"),
        ("message", "messages"),
    ] {
        let (state, message, hint) = refused(&mut asked, &json!({name: 1}));
        assert_eq!((state.as_str(), message.as_str()), ("22023", format!("pg_llm: unknown option \"{name}\"").as_str()));
        assert_eq!(hint, format!("Perhaps you meant \"{nearest}\"."));
    }
    let (state, _, hint) = refused(&mut asked, &json!({"banana": 1}));
    assert_eq!(state, "22023");
    for known in ["temperature", "messages", "on_error"] {
        assert!(hint.contains(known), "{hint}");
    }
}

#[test]
fn an_option_of_the_wrong_type_or_range_is_22023_and_named() {
    let mut asked = Asked::echo();
    for (name, values) in [
        ("system", json!([1, true, {}, ["x"]])),
        (
            "messages",
            json!([1, "x", {}, ["x"], [{}], [{"role": "user"}], [{"role": "king", "content": "x"}], [{"role": "user", "content": 7}],
                            [{"role": "user", "content": [{"type": "smell"}]}], [null]]),
        ),
        ("images", json!([1, {}, [7], ["not base64!"], [{"data": "???"}], [null]])),
        ("temperature", json!(["hot", -0.1, 2.1, 1e300, [], {}, true])),
        ("top_p", json!([0, 1.01, "x", -1])),
        ("top_k", json!([0, -1, 1.5, "x", 5_000_000_000_u64])),
        ("max_tokens", json!([0, -1, 1.5, "100", 5_000_000_000_u64, [1]])),
        ("stop", json!([1, {}, [1], [null], true])),
        ("seed", json!(["x", 1.5, 1e300, []])),
        ("presence_penalty", json!([-2.1, 2.1, "x"])),
        ("frequency_penalty", json!([-2.1, 2.1, "x"])),
        ("logprobs", json!([21, -1, "yes", 1.5])),
        ("response_format", json!([7, "xml", [], {}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {"schema": 1}}])),
        ("reasoning_effort", json!([1, {}])),
        ("reasoning_tokens", json!([-1, "x", 1.5])),
        ("tools", json!([1, {}, "x", [1], [{}], [{"name": ""}], [{"name": 1}], [{"name": "x", "parameters": []}], [null]])),
        ("tool_choice", json!(["maybe", 1, {}, [], {"name": 1}])),
        ("extra_body", json!([1, "x", [], true])),
        ("timeout_ms", json!([0, -1, "1s", 1.5])),
        ("max_attempts", json!([0, 11, -1, "x", 1.5])),
        ("cache", json!([1, "yes", [], {"ttl_s": 0}, {"ttl_s": "x"}, {"shared": 1}, {"ttl": 1}])),
        ("on_error", json!(["shrug", 1, "ERROR", true])),
    ] {
        for value in values.as_array().unwrap() {
            let (state, message, _) = refused(&mut asked, &json!({name: value}));
            assert_eq!(state, "22023", "{name}: {value}: {message}");
            let about = if name == "messages" { "message" } else { name };
            assert!(message.contains(about), "{name}: {value}: {message}");
        }
    }
}

#[test]
fn options_that_are_no_object_are_22023() {
    let mut asked = Asked::echo();
    for options in [json!(null), json!(1), json!("x"), json!(true), json!([]), json!([{}])] {
        let (state, message, _) = refused(&mut asked, &options);
        assert_eq!(state, "22023", "{options}");
        assert!(message.contains("must be a JSON object"), "{options}: {message}");
    }
}

#[test]
fn options_of_a_later_version_are_refused_and_not_ignored() {
    let mut asked = Asked::echo();
    for name in ["enable_rag", "knowledge_limit"] {
        let (state, message, hint) = refused(&mut asked, &json!({name: true}));
        assert_eq!(state, "0A000", "{name}: {message}");
        assert!(message.contains(name) && !hint.is_empty(), "{message} {hint}");
    }
}

#[test]
fn null_is_as_good_as_absent() {
    let mut asked = Asked::echo();
    let options =
        json!({"system": null, "messages": null, "temperature": null, "stop": null, "tools": null, "timeout_ms": null, "on_error": null});
    assert_eq!(asked.chat("Hello", &options).unwrap().unwrap(), "You said: Hello");
    assert_eq!(asked.sent(), json!({"model": "m", "messages": [{"role": "user", "content": "Hello"}]}));
}

#[test]
fn json_beyond_what_can_be_read_is_22023_too() {
    let mut asked = Asked::echo();
    let deep = format!("{{\"extra_body\": {{\"x\": {}{}}}}}", "[".repeat(1000), "]".repeat(1000));
    for text in
        [deep.as_str(), "{\"temperature\": 1e400}", "{\"seed\": 123456789012345678901234567890}", "{\"extra_body\": {\"x\": -1e999}}"]
    {
        let error = db_error(asked.value::<String>("SELECT pg_llm_chat('m', 'Hello', $1::text::jsonb)", &[&text]));
        assert_eq!(error.code().code(), "22023", "{error:?}");
    }
    let long = "x".repeat(100_000);
    let (state, message, _) = refused(&mut asked, &json!({long: 1}));
    assert_eq!(state, "22023");
    assert!(message.len() < 200, "a name is quoted, not repeated: {} bytes", message.len());
}
