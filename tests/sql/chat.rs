//! Chat: one prompt, one answer, whatever the text, wherever the call stands.

mod answer;
mod contexts;
mod deadline;
mod mock;
mod on_error;
mod options;
mod texts;
mod wire;

use pg_llm_tests::{Asked, DEADLINE, db_error};
use pg_llm_upstream::{Ending, openai};
use serde_json::json;

#[test]
fn both_forms_and_every_way_to_call_them_give_the_models_answer() {
    let mut asked = Asked::echo();
    for sql in [
        "SELECT pg_llm_chat('m', 'Hello')",
        "SELECT pg_llm_chat('m', 'Hello', '{}')",
        "SELECT pg_llm_chat('m', 'Hello', NULL)",
        "SELECT pg_llm_chat(prompt => 'Hello', instance_name => 'm')",
        "SELECT pg_llm_chat(options => '{\"temperature\": 0}', prompt => 'Hello', instance_name => 'm')",
        "SELECT pg_llm_chat_json('m', 'Hello') ->> 'response'",
        "SELECT pg_llm_chat_json('m', 'Hello', '{}') ->> 'response'",
        "SELECT pg_llm_chat_json(instance_name => 'm', prompt => 'Hello', options => NULL) ->> 'response'",
    ] {
        assert_eq!(asked.value::<String>(sql, &[]).unwrap(), "You said: Hello", "{sql}");
    }
    let requests = asked.upstream.requests();
    assert_eq!(requests.len(), 8, "one call each");
    for request in requests {
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", Asked::PATH));
        assert_eq!(request.header("authorization"), Some(format!("Bearer {}", Asked::KEY).as_str()));
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.json()["messages"], json!([{"role": "user", "content": "Hello"}]));
    }
}

#[test]
fn a_null_prompt_is_null_and_no_call() {
    let mut asked = Asked::echo();
    for sql in [
        "SELECT pg_llm_chat('m', NULL)",
        "SELECT pg_llm_chat('m', NULL, '{}')",
        "SELECT pg_llm_chat_json('m', NULL)::text",
        "SELECT pg_llm_chat(NULL, NULL)",
        "SELECT pg_llm_chat(NULL, NULL, NULL)",
        "SELECT pg_llm_chat('no such model', NULL)",
    ] {
        assert_eq!(asked.value::<Option<String>>(sql, &[]).unwrap(), None, "{sql}");
    }
    assert_eq!(asked.upstream.connections_total(), 0);
    assert_eq!(asked.says(""), "You said: ", "an empty prompt is a prompt");
}

#[test]
fn no_model_stands_for_the_default_model_of_the_session() {
    let mut asked = Asked::echo();
    let none = db_error(asked.value::<String>("SELECT pg_llm_chat(NULL, 'Hello')", &[]));
    assert_eq!(none.code().code(), "22023");
    assert!(none.hint().is_some_and(|hint| hint.contains("pg_llm.default_model")), "{none:?}");
    asked.client.batch_execute("SET pg_llm.default_model = 'm'").unwrap();
    assert_eq!(asked.value::<String>("SELECT pg_llm_chat(NULL, 'Hello')", &[]).unwrap(), "You said: Hello");
    assert_eq!(asked.value::<String>("SELECT pg_llm_chat_json(NULL, 'Hello') ->> 'instance_name'", &[]).unwrap(), "m");
    asked.client.batch_execute("SET pg_llm.default_model = 'gone'").unwrap();
    let gone = db_error(asked.value::<String>("SELECT pg_llm_chat(NULL, 'Hello')", &[]));
    assert_eq!((gone.code().code(), gone.message()), ("42704", "pg_llm: model \"gone\" does not exist"));
}

#[test]
fn an_unknown_model_is_42704_and_says_where_to_look() {
    let mut asked = Asked::echo();
    for name in ["", "M", " m", "no such model", "m'; DROP TABLE x; --", "🦀"] {
        let error = db_error(asked.value::<String>("SELECT pg_llm_chat($1, 'Hello')", &[&name]));
        assert_eq!((error.code().code(), error.message()), ("42704", format!("pg_llm: model \"{name}\" does not exist").as_str()));
        assert!(error.hint().is_some_and(|hint| hint.contains("pg_llm_models")), "{error:?}");
    }
    assert_eq!(asked.upstream.connections_total(), 0);
}

#[test]
fn fifty_rows_are_fifty_calls_in_order_on_one_connection() {
    let mut asked = Asked::echo();
    let rows = asked.client.query("SELECT i, pg_llm_chat('m', 'row ' || i) FROM generate_series(1, 50) AS i", &[]).unwrap();
    for row in &rows {
        assert_eq!(row.get::<_, String>(1), format!("You said: row {}", row.get::<_, i32>(0)));
    }
    assert_eq!(rows.len(), 50);
    let prompts: Vec<_> = asked.upstream.requests().iter().map(|request| request.json()["messages"][0]["content"].clone()).collect();
    assert_eq!(prompts, (1..=50).map(|i| json!(format!("row {i}"))).collect::<Vec<_>>());
    // Later statements too, and another model at the same endpoint.
    asked.add("openai-compatible", "other", &json!({}));
    let _: String = asked.value("SELECT pg_llm_chat('other', 'once more')", &[]).unwrap();
    assert_eq!(asked.upstream.connections_total(), 1);
}

#[test]
fn a_connection_that_the_upstream_has_closed_meanwhile_is_replaced() {
    let mut asked = Asked::echo();
    // Closed after the answer, without a word about it before.
    asked.upstream.next(openai::completion("first").ending(Ending::Close));
    assert_eq!(asked.says("Hello"), "first");
    assert!(asked.upstream.wait_until_closed(DEADLINE));
    assert_eq!(asked.says("Hello"), "You said: Hello");
    asked.upstream.next(openai::completion("announced").header("connection", "close").ending(Ending::Close));
    assert_eq!(asked.says("Hello"), "announced");
    assert_eq!(asked.says("Hello"), "You said: Hello");
    assert_eq!((asked.upstream.connections_total(), asked.upstream.requests().len()), (3, 4));
}

#[test]
fn cheap_conditions_are_tried_first() {
    let mut asked = Asked::echo();
    asked.client.batch_execute("CREATE TABLE t AS SELECT i, 'text ' || i AS body FROM generate_series(1, 50) AS i").unwrap();
    let found: i64 = asked
        .value("SELECT count(*) FROM t WHERE pg_llm_chat('m', body) LIKE 'You said:%' AND i % 10 = 0 AND length(body) > 3", &[])
        .unwrap();
    assert_eq!((found, asked.upstream.requests().len()), (5, 5));
}

#[test]
fn planning_and_explaining_make_no_call() {
    let mut asked = Asked::echo();
    let mut plan = |sql: &str| asked.client.simple_query(sql).unwrap();
    plan("EXPLAIN SELECT pg_llm_chat('m', 'Hello')");
    plan("EXPLAIN (VERBOSE, COSTS) SELECT 1 WHERE pg_llm_chat_json('m', 'Hello') IS NOT NULL");
    plan("PREPARE q AS SELECT pg_llm_chat('m', 'Hello')");
    plan("CREATE VIEW v AS SELECT pg_llm_chat('m', 'Hello')");
    plan("EXPLAIN SELECT * FROM v");
    assert_eq!(asked.upstream.connections_total(), 0);
    plan("EXPLAIN ANALYZE SELECT pg_llm_chat('m', 'Hello')");
    assert_eq!(asked.upstream.requests().len(), 1);
}

#[test]
fn only_the_rows_that_are_fetched_are_asked() {
    let mut asked = Asked::echo();
    let mut transaction = asked.client.transaction().unwrap();
    transaction.batch_execute("DECLARE c CURSOR FOR SELECT pg_llm_chat('m', 'row ' || i) FROM generate_series(1, 1000) AS i").unwrap();
    assert_eq!(transaction.query("FETCH 3 FROM c", &[]).unwrap().len(), 3);
    assert_eq!(asked.upstream.requests().len(), 3);
    transaction.commit().unwrap();
    let limited = asked.client.query("SELECT pg_llm_chat('m', 'row ' || i) FROM generate_series(1, 1000) AS i LIMIT 2", &[]).unwrap();
    assert_eq!((limited.len(), asked.upstream.requests().len()), (2, 5));
}
