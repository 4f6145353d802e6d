//! Who waits to be let in can be cancelled, and waits no longer than its call may take.

use super::*;

/// The model's only place is taken; one more call waits. What ends the wait leaves the place as it was.
fn while_waiting(prepare: &str, end: impl FnOnce(&Limited, &Running), state: Option<&str>) {
    let limited = Limited::new(&json!({"max_concurrency": 1}));
    let gate = limited.held_up();
    let first = limited.call_in_flight();
    let waiting = limited.call_waiting(&format!("{prepare} SELECT pg_llm_chat('m', 'Hello')"));
    end(&limited, &waiting);
    let result = waiting.finish(DEADLINE).result;
    if let Some(state) = state {
        assert_eq!(db_error(result).code().code(), state);
    } else {
        assert!(result.is_err());
    }
    assert!(eventually(DEADLINE, || limited.number("waiting") == 0), "{}", limited.stat());
    assert_eq!((limited.number("in_flight"), limited.requests()), (1, 1));
    gate.open();
    assert!(first.finish(DEADLINE).result.is_ok());
    limited.is_free();
    limited.database.cluster().assert_no_crash();
}

#[test]
fn a_cancel_ends_the_wait() {
    while_waiting("", |_, waiting| waiting.cancel(), Some("57014"));
}

#[test]
fn a_statement_timeout_ends_the_wait() {
    while_waiting("SET statement_timeout = '300ms';", |_, _| {}, Some("57014"));
}

#[test]
fn pg_terminate_backend_ends_the_wait() {
    while_waiting("", |limited, waiting| assert!(limited.database.cluster().terminate_backend(waiting.pid())), None);
}

#[test]
fn the_calls_own_time_ends_the_wait_and_says_what_for() {
    let limited = Limited::new(&json!({"max_concurrency": 1}));
    let gate = limited.held_up();
    let first = limited.call_in_flight();
    let (state, message, detail) = refused(&mut limited.session(), &json!({"timeout_ms": 60}));
    assert_eq!(state, "53400");
    assert!(
        message.contains("model \"m\" was not called") && detail.contains("max_concurrency is 1") && detail.contains("60 ms"),
        "{message} {detail}"
    );
    let stat = limited.stat();
    assert_eq!((&stat["rejected"], &stat["in_flight"], &stat["waiting"]), (&json!(1), &json!(1), &json!(0)));
    assert_eq!(limited.requests(), 1);
    gate.open();
    assert!(first.finish(DEADLINE).result.is_ok());
}

#[test]
fn a_call_that_was_not_made_can_be_null_or_an_object() {
    let limited = Limited::new(&json!({"rate_limit": {"rpm": 1}, "timeout_ms": 1000}));
    let mut client = limited.session();
    says(&mut client);
    let null: Option<String> = client.query_one("SELECT pg_llm_chat('m', 'Hello', '{\"on_error\": \"null\"}')", &[]).unwrap().get(0);
    assert_eq!(null, None);
    let object: Value = client.query_one("SELECT pg_llm_chat_json('m', 'Hello', '{\"on_error\": \"object\"}')", &[]).unwrap().get(0);
    assert_eq!((&object["error"]["sqlstate"], &object["attempts"]), (&json!("53400"), &json!(0)));
    assert_eq!(limited.requests(), 1);
}
