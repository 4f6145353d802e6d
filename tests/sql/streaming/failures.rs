//! What goes wrong: before the first piece as in every call, and after it.

use pg_llm_tests::postgres::error::DbError;
use pg_llm_tests::{Asked, db_error};
use pg_llm_upstream::{Ending, Reply, Upstream, openai};
use serde_json::{Value, json};

use super::{rows_and_error, texts};

const SQL: &str = "SELECT chunk FROM pg_llm_chat_stream('m', 'Hello')";

fn saying(reply: Reply) -> Asked {
    let upstream = Upstream::start();
    upstream.on(Asked::PATH).reply(reply);
    Asked::at(upstream, json!({}))
}

/// The pieces that came, and the error after them.
#[track_caller]
fn breaks(asked: &mut Asked, sql: &str) -> (Vec<String>, DbError) {
    let (rows, error) = rows_and_error(&mut asked.client, sql);
    (texts(&rows), db_error::<()>(Err(error.expect("an error"))))
}

#[test]
fn an_error_in_mid_stream_comes_after_the_rows_and_is_not_tried_again() {
    let mut asked = saying(openai::stream_with_error(&["a", "b"], "server_error", "boom", "It broke"));
    let (rows, error) = breaks(&mut asked, SQL);
    assert_eq!((rows, error.code().code()), (vec!["a".to_owned(), "b".to_owned()], "38000"));
    assert!(error.message().contains("It broke"), "{error:?}");
    assert_eq!(asked.upstream.requests().len(), 1);
    asked.upstream.on(Asked::PATH).reply(openai::stream(&["well"]));
    assert_eq!(texts(&asked.client.query(SQL, &[]).unwrap()), ["well", ""], "the session goes on");
}

#[test]
fn an_answer_without_its_end_is_an_error_however_it_ends() {
    let cut = || openai::stream(&["a", "b"]);
    let length = |pieces: usize| -> usize {
        let chunk = |delta: Value| openai::sse(&openai::chunk(delta, None)).len();
        chunk(json!({"role": "assistant", "content": ""}))
            + ["a", "b"][..pieces].iter().map(|p| chunk(json!({"content": p}))).sum::<usize>()
    };
    for (reply, what) in [
        (openai::stream_without_end(&["a", "b"]), "the body ends in order"),
        (cut().truncate(length(2)), "the connection ends"),
        (cut().truncate(length(2) + 10), "the connection ends in an event"),
        (cut().reset_after(length(2)), "the connection is reset"),
        (openai::stream_without_end(&["a", "b"]).until_close(), "a body without a length"),
    ] {
        let mut asked = saying(reply);
        let (rows, error) = breaks(&mut asked, SQL);
        // A reset may overtake what was sent before it.
        assert!(["a", "b"].starts_with(&rows.iter().map(String::as_str).collect::<Vec<_>>()), "{what}: {rows:?}");
        assert!(rows.len() == 2 || what.contains("reset"), "{what}: {rows:?}");
        assert_eq!((error.code().code(), asked.upstream.requests().len()), ("08006", 1), "{what}: {error:?}");
    }
}

#[test]
fn what_fails_before_the_first_piece_is_tried_again_as_in_chat() {
    let mut asked = saying(Reply::status(500));
    asked
        .upstream
        .on(Asked::PATH)
        .reply(openai::error(429, "rate_limit", "slow_down", "Too fast").header("retry-after", "0"))
        .reply(openai::error(503, "overloaded", "busy", "Busy").header("retry-after", "0"))
        .reply(openai::stream(&["well"]));
    let last: Value = asked.value("SELECT e FROM pg_llm_chat_stream_json('m', 'Hello') e WHERE e ->> 'type' = 'final'", &[]).unwrap();
    assert_eq!((&last["response"], &last["attempts"], asked.upstream.requests().len()), (&json!("well"), &json!(3), 3));
    asked.upstream.on(Asked::PATH).reply(openai::error(429, "rate_limit", "slow_down", "Too fast").header("retry-after", "0"));
    let (rows, error) = breaks(&mut asked, SQL);
    assert_eq!((rows.len(), error.code().code(), asked.upstream.requests().len()), (0, "53400", 6));
    asked.upstream.on(Asked::PATH).reply(openai::error(400, "invalid_request_error", "bad", "No"));
    assert_eq!((breaks(&mut asked, SQL).1.code().code(), asked.upstream.requests().len()), ("38000", 7));
}

#[test]
fn time_is_over_for_the_stream_as_a_whole() {
    let gate = pg_llm_upstream::Gate::new();
    gate.pass(3);
    let mut asked = saying(openai::stream(&["a", "b", "c"]).gated(&gate));
    let (rows, error) = breaks(&mut asked, "SELECT chunk FROM pg_llm_chat_stream('m', 'Hello', '{\"timeout_ms\": 2000}')");
    assert_eq!((rows, error.code().code()), (vec!["a".to_owned(), "b".to_owned()], "08006"));
    assert!(error.message().contains("2000 ms"), "{error:?}");
    assert!(asked.upstream.wait_until_closed(pg_llm_tests::DEADLINE));
}

#[test]
fn an_answer_beyond_the_limit_ends_in_an_error() {
    let mut asked = saying(openai::stream_endless("0123456789"));
    asked.add("openai-compatible", "m", &json!({"limits": {"response_bytes": 200_000}}));
    let (rows, error) = breaks(&mut asked, SQL);
    assert_eq!(error.code().code(), "54000", "{error:?}");
    assert!(!rows.is_empty() && rows.iter().all(|row| row == "0123456789"));
    assert!(asked.upstream.wait_until_closed(pg_llm_tests::DEADLINE));
}

#[test]
fn on_error_null_ends_the_rows_without_a_last_one() {
    let mut asked = saying(openai::stream_with_error(&["a"], "server_error", "boom", "It broke"));
    let null = "'{\"on_error\": \"null\"}'";
    for (sql, expected) in [
        (format!("SELECT chunk FROM pg_llm_chat_stream('m', 'Hello', {null})"), vec!["a"]),
        (format!("SELECT e ->> 'type' FROM pg_llm_chat_stream_json('m', 'Hello', {null}) e"), vec!["started", "text"]),
    ] {
        assert_eq!(texts(&asked.client.query(&sql, &[]).unwrap()), expected);
    }
    asked.upstream.on(Asked::PATH).reply(openai::error(400, "invalid_request_error", "bad", "No"));
    let none = format!("SELECT chunk FROM pg_llm_chat_stream('m', 'Hello', {null})");
    assert_eq!(asked.client.query(&none, &[]).unwrap().len(), 0);
    asked.client.batch_execute("SET pg_llm.on_error = 'null'").unwrap();
    assert_eq!(asked.client.query(SQL, &[]).unwrap().len(), 0, "the setting too");
}

#[test]
fn on_error_object_is_an_object_at_the_end_and_refused_where_there_are_none() {
    let mut asked = saying(openai::stream_with_error(&["a"], "server_error", "boom", "It broke"));
    let object = "'{\"on_error\": \"object\"}'";
    let refused = db_error(asked.client.query(&format!("SELECT * FROM pg_llm_chat_stream('m', 'Hello', {object})"), &[]));
    assert_eq!((refused.code().code(), asked.upstream.connections_total()), ("22023", 0));
    assert!(refused.hint().is_some_and(|hint| hint.contains("pg_llm_chat_stream_json")), "{refused:?}");
    let rows = asked.client.query(&format!("SELECT pg_llm_chat_stream_json('m', 'Hello', {object})"), &[]).unwrap();
    let events: Vec<Value> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(events.iter().map(|e| e["type"].as_str().unwrap()).collect::<Vec<_>>(), ["started", "text", "error"]);
    let error = &events[2];
    assert_eq!((&error["error"]["sqlstate"], &error["attempts"]), (&json!("38000"), &json!(1)));
    assert!(error["error"]["message"].as_str().unwrap().contains("It broke"));
    // As a default it does not make an error text, nor does it swallow one.
    asked.add("openai-compatible", "m", &json!({"on_error": "object"}));
    assert_eq!(breaks(&mut asked, SQL).1.code().code(), "38000");
}

#[test]
fn an_error_can_be_caught_and_the_rows_before_it_stay() {
    let mut asked = saying(openai::stream_with_error(&["a", "b"], "server_error", "boom", "It broke"));
    asked
        .client
        .batch_execute(
            "CREATE TABLE said (chunk text);
             DO $$ DECLARE c CURSOR FOR SELECT * FROM pg_llm_chat_stream('m', 'Hello'); r record;
             BEGIN
               OPEN c;
               LOOP
                 BEGIN FETCH c INTO r; EXIT WHEN NOT FOUND; INSERT INTO said VALUES (r.chunk);
                 EXCEPTION WHEN external_routine_exception THEN INSERT INTO said VALUES (SQLSTATE); EXIT; END;
               END LOOP;
             END $$",
        )
        .unwrap();
    assert_eq!(texts(&asked.client.query("SELECT * FROM said", &[]).unwrap()), ["a", "b", "38000"]);
}

#[test]
fn a_stream_that_ends_in_a_reset_after_its_last_word_is_whole() {
    let mut asked = saying(openai::stream(&["a"]).ending(Ending::Reset));
    assert_eq!(texts(&asked.client.query(SQL, &[]).unwrap()), ["a", ""]);
}
