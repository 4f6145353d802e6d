//! `rate_limit`, and providers that ask for time.

use super::*;

#[test]
fn the_request_after_the_last_of_its_minute_is_not_made() {
    let limited = Limited::new(&json!({"rate_limit": {"rpm": 3}}));
    for _ in 0..3 {
        // Each in a session of its own: they share.
        assert_eq!(says(&mut limited.session()), "well");
    }
    let (state, message, detail) = refused(&mut limited.session(), &json!({"timeout_ms": 1000}));
    assert_eq!(state, "53400");
    assert!(message.contains("requests a minute") && detail.contains("rate_limit.rpm is 3; the wait would be"), "{message} {detail}");
    assert_eq!(limited.requests(), 3);
    let stat = limited.stat();
    assert_eq!((&stat["rpm"], &stat["rpm_left"], &stat["rejected"]), (&json!(3), &json!(0), &json!(1)));
}

#[test]
fn who_has_the_time_waits_for_it() {
    let limited = Limited::new(&json!({"rate_limit": {"rpm": 30}}));
    let mut client = limited.session();
    client.query("SELECT pg_llm_chat('m', i::text) FROM generate_series(1, 31) AS i", &[]).unwrap();
    assert_eq!(limited.requests(), 31);
    assert!(limited.number("waited") > 0, "{}", limited.stat());
}

#[test]
fn tokens_are_counted_as_the_provider_counts_them() {
    let limited = Limited::new(&json!({"rate_limit": {"tpm": 100_000}, "max_tokens": 1000}));
    assert_eq!(limited.number("tpm_left"), 100_000);
    let usage = openai::message_body(json!({"role": "assistant", "content": "well"}), "stop", openai::usage(90_000, 9_000));
    limited.upstream.on(PATH).reply(pg_llm_upstream::Reply::json(200, usage));
    assert_eq!(says(&mut limited.session()), "well");
    let left = limited.number("tpm_left");
    assert!((1_000..20_000).contains(&left), "{left}");
    let (state, _, detail) = refused(&mut limited.session(), &json!({"timeout_ms": 1000, "max_tokens": 60_000}));
    assert!(state == "53400" && detail.contains("rate_limit.tpm is 100000"), "{state} {detail}");
    assert_eq!(limited.requests(), 1);
}

#[test]
fn a_stream_and_an_error_settle_their_tokens_too() {
    let limited = Limited::new(&json!({"rate_limit": {"tpm": 10_000_000}, "max_tokens": 5_000_000, "max_attempts": 1}));
    limited.upstream.on(PATH).reply(openai::error(400, "invalid", "x", "No"));
    limited.session().query_one("SELECT pg_llm_chat('m', 'Hello')", &[]).unwrap_err();
    assert!(limited.number("tpm_left") > 9_900_000, "an error costs no tokens: {}", limited.stat());
    limited.upstream.on(PATH).reply(openai::stream(&["one ", "two"]));
    limited.session().query("SELECT * FROM pg_llm_chat_stream('m', 'Hello')", &[]).unwrap();
    assert!(limited.number("tpm_left") > 9_900_000, "a stream tells what it took: {}", limited.stat());
}

#[test]
fn a_provider_that_asks_one_session_for_time_gets_it_from_all() {
    let limited = Limited::new(&json!({}));
    let busy = openai::error(429, "rate_limit", "slow_down", "Too fast").header("retry-after", "200");
    limited.upstream.on(PATH).reply(busy).reply(openai::completion("well"));
    assert_eq!(refused(&mut limited.session(), &json!({"timeout_ms": 1000})).0, "53400");
    let (state, message, detail) = refused(&mut limited.session(), &json!({"timeout_ms": 1000}));
    assert_eq!((state.as_str(), limited.requests()), ("53400", 1));
    assert!(message.contains("has asked not to be called") && detail.contains("Retry-After"), "{message} {detail}");
    assert!(limited.stat()["held_back_until"].is_string(), "{}", limited.stat());
    // Another endpoint has asked for nothing.
    limited.add(&json!({"model_name": "another"}));
    assert_eq!(says(&mut limited.session()), "well");
    assert_eq!(limited.stat()["held_back_until"], Value::Null);
}

#[test]
fn who_can_wait_until_the_provider_wants_to_be_asked_does() {
    let limited = Limited::new(&json!({}));
    let busy = openai::error(503, "overloaded", "busy", "Busy").header("retry-after", "1");
    limited.upstream.on(PATH).reply(busy).reply(openai::completion("well"));
    let first = limited.call_in_flight();
    let second = limited.call_waiting("SELECT pg_llm_chat('m', 'second')");
    assert_eq!(limited.requests(), 1, "the second is held back by what the first was told");
    assert!(first.finish(DEADLINE).result.is_ok() && second.finish(DEADLINE).result.is_ok());
    assert_eq!(limited.requests(), 3);
}
