//! Answers that fit a JSON schema, or an ERROR that says why not.

mod hostile;
mod repair;

use pg_llm_tests::{Asked, db_error};
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::{Value, json};

fn city() -> Value {
    json!({
        "type": "object",
        "properties": {"city": {"type": "string"}, "people": {"type": "integer", "minimum": 0}},
        "required": ["city", "people"],
        "additionalProperties": false,
    })
}

/// A model that gives these answers, one a request, the last for ever.
fn saying(answers: &[&str]) -> Asked {
    let asked = Asked::at(Upstream::start(), json!({}));
    let mut script = asked.upstream.on(Asked::PATH);
    for answer in answers {
        script = script.reply(openai::completion(answer));
    }
    drop(script);
    asked
}

fn with(format: &Value) -> Value {
    json!({ "response_format": format })
}

#[test]
fn the_answer_is_found_whatever_stands_around_it() {
    for text in [
        "{\"city\": \"Köln\", \"people\": 1000000}",
        "```json\n{\"city\": \"Köln\", \"people\": 1000000}\n```",
        "Of course!\n\n```\n{\"city\": \"Köln\", \"people\": 1000000}\n```\nAnything else?",
        "\u{feff} {\"city\": \"Köln\", \"people\": 1000000} I hope that this helps {you}.",
        "As of [2024]: {\"city\": \"Köln\", \"people\": 1000000}",
    ] {
        let mut asked = saying(&[text]);
        let answer = asked.chat_json("Which?", &with(&city())).unwrap().unwrap();
        assert_eq!(answer["parsed"], json!({"city": "Köln", "people": 1_000_000}), "{text}");
        assert_eq!(answer["response"], "{\"city\": \"Köln\", \"people\": 1000000}", "as the model wrote it, and nothing else");
        assert_eq!((&answer["attempts"], &answer["message"]["content"]), (&json!(1), &json!(text)));
        assert_eq!(asked.chat("Which?", &with(&city())).unwrap().unwrap(), "{\"city\": \"Köln\", \"people\": 1000000}");
    }
}

#[test]
fn the_text_casts_to_jsonb_in_sql() {
    let mut asked = saying(&["Here: {\"city\": \"Köln\", \"people\": 7}"]);
    let sql = "SELECT people FROM jsonb_to_record(pg_llm_chat('m', 'x', jsonb_build_object('response_format', $1::jsonb))::jsonb) AS t (people int)";
    assert_eq!(asked.value::<i32>(sql, &[&city()]).unwrap(), 7);
}

#[test]
fn any_type_may_stand_at_the_top() {
    for (schema, text, parsed) in [
        (json!({"type": "integer"}), " 42 ", json!(42)),
        (json!({"type": "string", "enum": ["yes", "no"]}), "\"yes\"", json!("yes")),
        (json!({"type": ["object", "null"]}), "null", Value::Null),
        (json!({"type": "array", "items": {"type": "integer"}, "minItems": 1}), "So: [1, 2]", json!([1, 2])),
        (json!({"enum": [1, "a"]}), "\"a\"", json!("a")),
    ] {
        let mut asked = saying(&[text]);
        let answer = asked.chat_json("x", &with(&schema)).unwrap().unwrap();
        assert_eq!((&answer["parsed"], &answer["response"]), (&parsed, &json!(text.trim().trim_start_matches("So: "))), "{schema}");
    }
}

#[test]
fn numbers_of_more_than_64_bits_keep_their_digits() {
    let mut asked = saying(&["{\"id\": 123456789012345678901234567890, \"ratio\": 0.1000000000000000000000000001}"]);
    let sql =
        "SELECT (j -> 'parsed' ->> 'id') || ' ' || (j -> 'parsed' ->> 'ratio') FROM (SELECT pg_llm_chat_json('m', 'x', $1) AS j) AS t";
    let options = with(&json!({"type": "object", "properties": {"id": {"type": "integer"}}}));
    assert_eq!(asked.value::<String>(sql, &[&options]).unwrap(), "123456789012345678901234567890 0.1000000000000000000000000001");
}

#[test]
fn a_schema_that_is_none_is_22023_before_any_call() {
    let mut asked = Asked::echo();
    for (schema, words) in [
        (json!({"type": "strin"}), "at /type"),
        (json!({"type": "object", "properties": {"a": {"type": "object", "required": "b"}}}), "at /properties/a/required"),
        (json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}}), "where nothing is"),
        (json!({"$ref": "https://example.com/schema.json"}), "nothing is fetched"),
        (json!({"$ref": "file:///etc/passwd"}), "nothing is fetched"),
        (json!({"$schema": "https://example.com/meta", "type": "object"}), "at /$schema"),
        (json!({"anyOf": [{"$ref": "#"}]}), "refers back to itself"),
        (json!({"type": "string", "pattern": "(?=x)"}), "at /pattern"),
        (json!({"type": "string", "pattern": "((a{999}){999}){999}"}), "at /pattern"),
    ] {
        let error = db_error(asked.chat_json("x", &with(&schema)));
        assert_eq!(error.code().code(), "22023", "{schema}: {error:?}");
        assert!(error.message().contains("response_format") && error.message().contains(words), "{schema}: {}", error.message());
        assert!(error.hint().is_some());
    }
    assert_eq!(asked.upstream.connections_total(), 0);
    // In a model's configuration too, when it is added and not when it is called.
    let add = "SELECT pg_llm_add_model('mock', 'bad', NULL, '{\"response_format\": {\"type\": \"object\", \"minProperties\": -1}}'::jsonb)";
    assert_eq!(db_error(asked.value::<bool>(add, &[])).code().code(), "22023");
}

#[test]
fn endpoints_that_cannot_be_told_a_schema_are_told_in_words() {
    let mut asked = saying(&["{\"city\": \"Köln\", \"people\": 1}"]);
    let options = json!({"response_format": city(), "system": "Be brief."});
    asked.chat("x", &options).unwrap();
    assert_eq!(asked.sent()["response_format"]["json_schema"]["schema"], city());
    assert_eq!(asked.sent()["messages"][0]["content"], "Be brief.");

    asked.add("openai-compatible", "m", &json!({"json_schema": false}));
    asked.chat("x", &options).unwrap();
    assert_eq!(asked.sent().get("response_format"), None);
    let system = asked.sent()["messages"][0]["content"].as_str().unwrap().to_owned();
    assert!(system.starts_with("Be brief.\n\n") && system.contains(&city().to_string()), "{system}");

    // Of which the model type says that it cannot.
    asked.add("deepseek", "m", &json!({}));
    asked.upstream.on("/v1/chat/completions").reply(openai::completion("{\"city\": \"Köln\", \"people\": 1}"));
    assert_eq!(asked.chat_json("x", &with(&city())).unwrap().unwrap()["parsed"]["people"], 1);
    assert_eq!((asked.sent().get("response_format"), &asked.sent()["messages"][0]["role"]), (None, &json!("system")));
    asked.add("deepseek", "m", &json!({"json_schema": true}));
    asked.chat("x", &with(&city())).unwrap();
    assert_eq!(asked.sent()["response_format"]["type"], "json_schema");
}

#[test]
fn without_a_schema_nothing_is_enforced_and_what_is_json_is_shown() {
    let mut asked = saying(&["no", "{\"a\": 1", "```json\n{\"a\": 1}\n```"]);
    for parsed in [Value::Null, Value::Null, json!({"a": 1})] {
        let answer = asked.chat_json("x", &with(&json!("json"))).unwrap().unwrap();
        assert_eq!((&answer["parsed"], &answer["attempts"]), (&parsed, &json!(1)));
    }
    assert_eq!(asked.chat("x", &with(&json!("json"))).unwrap().unwrap(), "```json\n{\"a\": 1}\n```", "the text is the model's");
}

#[test]
fn a_model_that_wants_a_tool_first_is_not_held_against_the_schema() {
    let mut asked = Asked::at(Upstream::start(), json!({}));
    asked
        .upstream
        .on(Asked::PATH)
        .reply(openai::tool_call("weather", "{\"city\": \"Köln\"}"))
        .reply(openai::completion("{\"city\": \"Köln\", \"people\": 3}"));
    let mut options = json!({"response_format": city(), "tools": [{"name": "weather"}]});
    let first = asked.chat_json("How many?", &options).unwrap().unwrap();
    assert_eq!((&first["finish_reason"], &first["parsed"], &first["attempts"]), (&json!("tool_calls"), &Value::Null, &json!(1)));
    options["messages"] = json!([{"role": "user", "content": "How many?"}, first["message"], {"role": "tool", "tool_call_id": "call_test", "content": {"people": 3}}]);
    assert_eq!(asked.chat_json("", &options).unwrap().unwrap()["parsed"]["people"], 3);
}

#[test]
fn the_mock_answers_with_a_schema_too() {
    let mut asked = Asked::echo();
    let config = json!({"mock_response": "{\"city\": \"Köln\", \"people\": 5}"});
    let _: bool = asked.value("SELECT pg_llm_add_model('mock', 'offline', NULL, $1)", &[&config]).unwrap();
    let sql = "SELECT pg_llm_chat_json('offline', 'x', $1) #>> '{parsed,people}'";
    assert_eq!(asked.value::<String>(sql, &[&with(&city())]).unwrap(), "5");
}

#[test]
fn a_streamed_answer_is_checked_at_its_end() {
    let mut asked = Asked::at(Upstream::start(), json!({}));
    let whole = ["{\"city\": ", "\"Köln\", ", "\"people\": 1}"];
    asked.upstream.on(Asked::PATH).reply(openai::stream(&whole)).reply(openai::stream(&["{\"city\": ", "7}"]));
    let sql = "SELECT string_agg(chunk, '' ORDER BY seq_no) FROM pg_llm_chat_stream('m', 'x', $1)";
    assert_eq!(asked.value::<String>(sql, &[&with(&city())]).unwrap(), whole.concat());
    let error = db_error(asked.value::<String>(sql, &[&with(&city())]));
    assert!(error.code().code() == "38000" && error.message().contains("/city: must be string"), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("streamed")), "{error:?}");
    assert_eq!(asked.upstream.requests().len(), 2, "no repair: its pieces are out");
}

/// An answer of a kind that is no text at all.
fn replying(reply: Reply) -> Asked {
    let asked = Asked::at(Upstream::start(), json!({}));
    asked.upstream.on(Asked::PATH).reply(reply);
    asked
}
