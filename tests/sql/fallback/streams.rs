//! Streams: as long as nothing of them is out.

use pg_llm_tests::postgres::Row;
use pg_llm_tests::{Asked, DEADLINE, db_error};
use pg_llm_upstream::{Gate, Reply, openai};
use serde_json::{Value, json};

use super::{another, asked, failing, requests, who};

/// All events of a stream of `m`.
#[track_caller]
fn events(asked: &mut Asked, options: &Value) -> Vec<Value> {
    let rows = asked.client.query("SELECT pg_llm_chat_stream_json('m', 'Hello', $1)", &[options]);
    rows.unwrap_or_else(|error| panic!("{options}: {error:?}")).iter().map(|row: &Row| row.get(0)).collect()
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[test]
fn what_fails_before_the_first_piece_is_answered_for() {
    let mut asked = asked(failing(), &json!({"fallback_instance": "b", "max_attempts": 1}));
    let b = another(&mut asked, "b", openai::stream(&["From ", "b."]), &json!({"model_name": "bee"}));
    for (what, reply) in [
        ("an error", failing()),
        ("a connection that is closed", Reply::close()),
        ("an end before any piece", openai::stream_without_end(&[])),
        ("an error before any piece", openai::stream_with_error(&[], "server_error", "boom", "It broke")),
    ] {
        asked.upstream.on(Asked::PATH).reply(reply);
        b.forget();
        let events = events(&mut asked, &json!({}));
        assert_eq!(types(&events), ["started", "text", "text", "final"], "{what}");
        assert_eq!((&events[0]["instance_name"], &events[0]["model_name"]), (&json!("b"), &json!(openai::MODEL)), "{what}");
        let last = &events[3];
        assert_eq!((who(last), &last["response"], &last["attempts"]), (("b", true), &json!("From b."), &json!(2)), "{what}");
        assert_eq!(last["fallback_from"][0]["instance_name"], "m", "{what}");
        assert_eq!(last["request_id"], events[0]["request_id"], "{what}");
        assert_eq!(b.requests().len(), 1, "{what}");
    }
    let rows = asked.client.query("SELECT chunk, is_final FROM pg_llm_chat_stream('m', 'Hello')", &[]).unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), ["From ", "b.", ""]);
}

#[test]
fn what_fails_after_the_first_piece_is_not() {
    let mut asked = asked(openai::stream_with_error(&["One"], "server_error", "boom", "It broke"), &json!({"fallback_instance": "b"}));
    let b = another(&mut asked, "b", openai::stream(&["From b."]), &json!({}));
    let object = events(&mut asked, &json!({"on_error": "object"}));
    assert_eq!(types(&object), ["started", "text", "error"]);
    assert_eq!((&object[0]["instance_name"], &object[2]["instance_name"]), (&json!("m"), &json!("m")));
    assert_eq!(requests([&asked.upstream, &b]), [1, 0]);
}

#[test]
fn when_nobody_answers_the_error_is_the_first_models() {
    let mut asked = asked(failing(), &json!({"fallback_instance": "b"}));
    let _b = another(&mut asked, "b", Reply::close(), &json!({}));
    let error = db_error(asked.client.query("SELECT * FROM pg_llm_chat_stream('m', 'Hello')", &[]));
    assert_eq!((error.code().code(), error.message()), ("38000", "pg_llm: model \"m\" failed: Out of order."));
    assert!(error.detail().unwrap().contains("\nFallback \"b\": model \"b\" broke off"), "{error:?}");
    let object = events(&mut asked, &json!({"on_error": "object"}));
    assert_eq!((types(&object), &object[0]["instance_name"]), (vec!["error"], &json!("m")));
    assert!(events(&mut asked, &json!({"on_error": "null"})).is_empty());
}

#[test]
fn a_first_piece_that_is_late_closes_the_connection_and_the_fallback_answers() {
    let gate = Gate::new();
    let opened = Gate::new();
    opened.pass(1);
    for (what, reply) in [
        ("nothing at all", Reply::hang()),
        ("headers alone", openai::stream(&["Late."]).gated(&gate)),
        ("an opening without a word", openai::stream(&["Late."]).gated(&opened)),
    ] {
        let mut asked = asked(reply, &json!({"fallback_instance": "b", "first_token_timeout_ms": 150}));
        let _b = another(&mut asked, "b", openai::stream(&["From b."]), &json!({}));
        let events = events(&mut asked, &json!({}));
        let last = events.last().unwrap();
        assert_eq!((who(last), &last["response"]), (("b", true), &json!("From b.")), "{what}");
        assert_eq!(
            last["fallback_from"][0]["error"],
            json!({"kind": "timed_out", "message": "model \"m\" did not begin to answer within 150 ms", "detail": null}),
            "{what}"
        );
        assert!(asked.upstream.wait_until_closed(DEADLINE), "{what}");
        assert_eq!(asked.upstream.requests().len(), 1, "{what}: not the same model again");
    }
}

#[test]
fn without_a_fallback_a_late_first_piece_is_08006() {
    let mut asked = asked(Reply::hang(), &json!({}));
    let sql = "SELECT * FROM pg_llm_chat_stream('m', 'Hello', '{\"first_token_timeout_ms\": 100}')";
    let error = db_error(asked.client.query(sql, &[]));
    assert_eq!((error.code().code(), error.message()), ("08006", "pg_llm: model \"m\" did not begin to answer within 100 ms"));
    assert!(error.hint().is_some_and(|hint| hint.contains("first_token_timeout_ms")), "{error:?}");
    assert!(asked.upstream.wait_until_closed(DEADLINE));
}

#[test]
fn a_first_piece_in_time_leaves_the_rest_all_the_calls_time() {
    // The pieces after the first take longer than the first may.
    let slow = openai::stream(&["One ", "two ", "three"]).delay_chunks(std::time::Duration::from_millis(150));
    let mut asked = asked(slow, &json!({}));
    let events = events(&mut asked, &json!({"first_token_timeout_ms": 700}));
    assert_eq!(events.last().unwrap()["response"], "One two three");
}

#[test]
fn an_answer_of_no_words_is_an_answer() {
    let mut asked = asked(openai::stream(&[]), &json!({"fallback_instance": "b"}));
    let b = another(&mut asked, "b", openai::stream(&["From b."]), &json!({}));
    let events = events(&mut asked, &json!({}));
    assert_eq!((types(&events), &events[1]["response"]), (vec!["started", "final"], &json!("")));
    assert_eq!(b.requests().len(), 0);
}

#[test]
fn a_confidence_threshold_is_for_whole_answers() {
    let mut asked = asked(openai::stream(&["From m."]), &json!({"fallback_instance": "b", "confidence_threshold": 1}));
    let b = another(&mut asked, "b", openai::stream(&["From b."]), &json!({}));
    assert_eq!(who(events(&mut asked, &json!({})).last().unwrap()), ("m", false), "as a default without effect");
    let sql = "SELECT * FROM pg_llm_chat_stream('m', 'Hello', '{\"confidence_threshold\": 0.5}')";
    let error = db_error(asked.client.query(sql, &[]));
    assert_eq!((error.code().code(), requests([&asked.upstream, &b])), ("22023", [1, 0]), "{error:?}");
}

#[test]
fn who_pulls_no_more_while_the_fallback_speaks_closes_its_connection() {
    let gate = Gate::new();
    gate.pass(2);
    let mut asked = asked(failing(), &json!({"fallback_instance": "b"}));
    let b = another(&mut asked, "b", openai::stream(&["One", "two"]).gated(&gate), &json!({}));
    let mut transaction = asked.client.transaction().unwrap();
    transaction.batch_execute("DECLARE c CURSOR FOR SELECT chunk FROM pg_llm_chat_stream('m', 'Hello')").unwrap();
    let first: String = transaction.query_one("FETCH 1 FROM c", &[]).unwrap().get(0);
    assert_eq!(first, "One");
    transaction.batch_execute("CLOSE c").unwrap();
    assert!(b.wait_until_closed(DEADLINE));
}
