//! Schemas and answers that mean harm: an ERROR, soon, and the session goes on.

use pg_llm_tests::{DEADLINE, Running, db_error, eventually};
use serde_json::{Map, Value, json};

use super::{Asked, saying, with};

/// Each of 60 schemas names the next one twice.
fn doubling() -> Value {
    let mut definitions: Map<String, Value> = (0..60)
        .map(|i| {
            let next = json!({"$ref": format!("#/$defs/s{}", i + 1)});
            (format!("s{i}"), json!({"anyOf": [next, next]}))
        })
        .collect();
    definitions.insert("s60".to_owned(), json!({"type": "integer"}));
    json!({"$ref": "#/$defs/s0", "$defs": definitions})
}

#[test]
fn a_schema_of_exponential_effort_is_54000_and_not_for_ever() {
    let mut asked = saying(&["\"x\""]);
    let error = db_error(asked.chat("x", &with(&doubling())));
    assert_eq!(error.code().code(), "54000", "{error:?}");
    assert!(error.message().contains("too many steps"), "{}", error.message());
    assert_eq!(asked.value::<i32>("SELECT 1", &[]).unwrap(), 1);
}

#[test]
fn a_cancel_is_heard_while_an_answer_is_judged() {
    let asked = saying(&["\"x\""]);
    // Many such rows, so that the cancel comes while one is judged.
    let sql = format!(
        "SELECT pg_llm_chat('m', 'x', '{}') FROM generate_series(1, 1000)",
        json!({"response_format": doubling(), "on_error": "null"})
    );
    let running = Running::start(asked.database.superuser(), &sql);
    assert!(asked.upstream.wait_for_requests(2, DEADLINE));
    running.cancel();
    let mut outcome = running.finish(DEADLINE);
    assert_eq!(db_error(outcome.result).code().code(), "57014");
    assert_eq!(outcome.client.query_one("SELECT 1", &[]).unwrap().get::<_, i32>(0), 1);
}

#[test]
fn deep_schemas_and_answers_do_not_exhaust_the_stack() {
    let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
    let mut inner = json!({"$ref": "#"});
    for _ in 0..50 {
        inner = json!({"anyOf": [inner]});
    }
    let mut asked = saying(&[&deep(120), &deep(120), &deep(100_000), &deep(100_000)]);
    let tree = json!({"type": "array", "items": {"$ref": "#"}});
    assert!(asked.chat("x", &with(&tree)).unwrap().is_some());
    assert_eq!(db_error(asked.chat("x", &with(&json!({"type": "array", "items": inner})))).code().code(), "54000");
    // More than 127 levels are not read, and asked for once more.
    assert_eq!(db_error(asked.chat("x", &with(&tree))).code().code(), "38000");
    asked.database.cluster().assert_no_crash();
}

#[test]
fn answers_of_ten_megabytes_are_judged_and_returned() {
    let long = format!("{{\"words\": [{}\"end\"]}}", "\"some words\", ".repeat(700_000));
    let mut asked = saying(&[&long]);
    let schema = json!({"type": "object", "properties": {"words": {"type": "array", "items": {"type": "string", "minLength": 3}}}});
    let sql = "SELECT jsonb_array_length(pg_llm_chat_json('m', 'x', $1) #> '{parsed,words}')";
    assert_eq!(asked.value::<i32>(sql, &[&with(&schema)]).unwrap(), 700_001);
    let integers = json!({"type": "object", "properties": {"words": {"items": {"type": "integer"}}}});
    let error = db_error(asked.chat("x", &with(&integers)));
    assert_eq!(error.code().code(), "38000");
    assert!(error.hint().is_some_and(|hint| hint.contains("too long")), "ten megabytes are not sent back: {error:?}");
    assert!(error.message().len() < 1100 && error.detail().is_some_and(|d| d.len() < 1100), "quoted, and not repeated");
}

#[test]
fn a_flood_of_values_is_refused() {
    let mut asked = saying(&[&format!("[{}0]", "0,".repeat(3_000_000))]);
    let error = db_error(asked.chat("x", &json!({"response_format": {"type": "array"}, "max_attempts": 1})));
    assert!(error.code().code() == "38000" && error.message().contains("more than 2000000 values"), "{error:?}");
}

#[test]
fn numbers_that_would_swell_in_the_database_are_refused() {
    for number in ["1e999999999", "1e-999999999", "1e401", "9".repeat(2000).as_str(), "1e131071"] {
        let mut asked = saying(&[&format!("{{\"n\": {number}}}")]);
        let error = db_error(asked.chat_json("x", &with(&json!({"type": "object"}))));
        assert_eq!(error.code().code(), "38000", "{number}: {error:?}");
    }
}

#[test]
fn a_large_schema_is_refused_before_any_call() {
    let mut asked = Asked::echo();
    let properties: Map<String, Value> = (0..20_000).map(|i| (format!("property {i}"), json!({"type": "string"}))).collect();
    let error = db_error(asked.chat("x", &with(&json!({"type": "object", "properties": properties}))));
    assert!(error.code().code() == "22023" && error.message().contains("are allowed"), "{error:?}");
    assert_eq!(asked.upstream.connections_total(), 0);
}

#[test]
fn patterns_made_to_backtrack_take_no_time() {
    let mut asked = saying(&[&format!("\"{}!\"", "a".repeat(50_000))]);
    let error = db_error(asked.chat("x", &with(&json!({"type": "string", "pattern": "^(a+)+$"}))));
    assert!(error.code().code() == "38000" && error.message().contains("must match the pattern"), "{error:?}");
    assert!(eventually(DEADLINE, || asked.upstream.requests().len() == 2));
}
