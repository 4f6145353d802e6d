//! `on_error`: what a failed call gives back.

use pg_llm_tests::{Asked, db_error};
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::{Value, json};

fn failing() -> Asked {
    let asked = Asked::at(Upstream::start(), json!({"max_attempts": 1}));
    asked.upstream.on(Asked::PATH).reply(openai::error(500, "server_error", "boom", "It broke."));
    asked
}

#[test]
fn the_option_decides_before_the_model_and_the_model_before_the_setting() {
    let mut asked = failing();
    let none = json!({});
    let becomes_null = |asked: &mut Asked, options: &Value| asked.chat_json("Hello", options).map(|answer| answer.is_none());
    assert!(becomes_null(&mut asked, &none).is_err());
    assert!(becomes_null(&mut asked, &json!({"on_error": "null"})).unwrap());
    asked.client.batch_execute("SET pg_llm.on_error = 'null'").unwrap();
    assert!(becomes_null(&mut asked, &none).unwrap());
    assert!(becomes_null(&mut asked, &json!({"on_error": "error"})).is_err());
    asked.add("openai-compatible", "m", &json!({"max_attempts": 1, "on_error": "error"}));
    assert!(becomes_null(&mut asked, &none).is_err());
    assert!(becomes_null(&mut asked, &json!({"on_error": "null"})).unwrap());
    assert!(asked.client.batch_execute("SET pg_llm.on_error = 'shrug'").is_err());
}

#[test]
fn an_object_says_what_the_error_would_have_said() {
    let mut asked = failing();
    let error = db_error(asked.chat_json("Hello", &json!({})));
    let object = asked.chat_json("Hello", &json!({"on_error": "object", "max_attempts": 2})).unwrap().unwrap();
    assert_eq!(
        object,
        json!({
            "instance_name": "m", "response": null, "attempts": 2,
            "error": {"sqlstate": "38000", "kind": "provider", "message": error.message(), "detail": error.detail(), "hint": error.hint()},
        })
    );
}

#[test]
fn an_object_is_never_text_in_the_answer() {
    let mut asked = failing();
    let refused = db_error(asked.chat("Hello", &json!({"on_error": "object"})));
    assert_eq!(refused.code().code(), "22023");
    assert!(asked.upstream.requests().is_empty());
    // A setting for both kinds of functions is no mistake of the call's.
    asked.client.batch_execute("SET pg_llm.on_error = 'object'").unwrap();
    assert_eq!(db_error(asked.chat("Hello", &json!({}))).code().code(), "38000");
    assert_eq!(asked.chat_json("Hello", &json!({})).unwrap().unwrap()["error"]["sqlstate"], "38000");
    assert_eq!(asked.chat("Hello", &json!({"on_error": "null"})).unwrap(), None);
}

#[test]
fn wrong_arguments_missing_rights_and_cancellation_stay_errors() {
    let mut asked = failing();
    let role = asked.database.create_role();
    asked.client.batch_execute("SET pg_llm.on_error = 'null'").unwrap();
    for (sql, state) in [
        ("SELECT pg_llm_chat('m', 'Hello', '{\"temprature\": 1}')", "22023"),
        ("SELECT pg_llm_chat('m', 'Hello', '[]')", "22023"),
        ("SELECT pg_llm_chat('nobody', 'Hello')", "42704"),
        ("SELECT pg_llm_chat('m', 'Hello', '{\"enable_rag\": true}')", "0A000"),
    ] {
        assert_eq!(db_error(asked.client.simple_query(sql)).code().code(), state, "{sql}");
    }
    asked.upstream.on(Asked::PATH).reply(Reply::hang());
    asked.client.batch_execute("SET statement_timeout = '300ms'").unwrap();
    assert_eq!(db_error(asked.chat("Hello", &json!({}))).code().code(), "57014");
    let mut other = asked.database.connect_as(&role);
    let denied = db_error(other.simple_query("SET pg_llm.on_error = 'null'; SELECT pg_llm_chat('m', 'Hello')"));
    assert_eq!(denied.code().code(), "42501");
}

#[test]
fn rows_that_fail_are_null_and_the_others_answer() {
    let mut asked = Asked::echo();
    asked.upstream.otherwise(|request| {
        if request.contains("row 3") {
            openai::error(400, "invalid_request_error", "no", "Not three.")
        } else {
            pg_llm_upstream::echo::answer(request)
        }
    });
    let sql =
        "SELECT array_agg(pg_llm_chat('m', 'row ' || i, '{\"on_error\": \"null\"}') IS NULL ORDER BY i) FROM generate_series(1, 5) AS i";
    assert_eq!(asked.value::<Vec<bool>>(sql, &[]).unwrap(), [false, false, true, false, false]);
}
