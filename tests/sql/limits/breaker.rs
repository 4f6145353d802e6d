//! A model that fails again and again is left alone, and then tried by one call.

use pg_llm_upstream::Reply;

use super::*;

fn breaking(failures: u32, pause_ms: u32) -> Limited {
    Limited::new(&json!({"circuit_breaker": {"failures": failures, "pause_ms": pause_ms}, "max_attempts": 1}))
}

#[track_caller]
fn fails(limited: &Limited, state: &str) {
    let error = db_error(limited.session().query_one("SELECT pg_llm_chat('m', 'Hello')", &[]));
    assert_eq!(error.code().code(), state, "{error:?}");
}

#[test]
fn after_so_many_failures_the_model_is_not_called() {
    let limited = breaking(3, 100_000);
    limited.upstream.on(PATH).reply(openai::error(500, "server_error", "x", "No"));
    for _ in 0..3 {
        fails(&limited, "38000");
    }
    let (state, message, detail) = refused(&mut limited.session(), &json!({}));
    assert_eq!((state.as_str(), limited.requests()), ("08001", 3));
    assert!(message.contains("its last 3 requests failed") && detail.contains("It is tried again in"), "{message} {detail}");
    let stat = limited.stat();
    assert_eq!((&stat["breaker"], &stat["consecutive_failures"], &stat["rejected"]), (&json!("open"), &json!(3), &json!(1)));
    assert!(stat["opened_at"].is_string());
    // Another endpoint has not failed.
    limited.upstream.on(PATH).reply(openai::completion("well"));
    limited.add(&json!({"model_name": "another"}));
    assert_eq!(says(&mut limited.session()), "well");
}

#[test]
fn after_its_pause_one_call_tries_it_and_its_success_lets_all_through() {
    let limited = breaking(2, 1);
    limited.upstream.on(PATH).repeat(2, Reply::reset()).reply(openai::completion("well"));
    fails(&limited, "08006");
    fails(&limited, "08006");
    assert!(eventually(DEADLINE, || limited.stat()["breaker"] == json!("half_open")), "{}", limited.stat());
    let gate = limited.held_up();
    let probe = limited.call_in_flight();
    let (state, _, detail) = refused(&mut limited.session(), &json!({}));
    assert_eq!((state.as_str(), limited.requests()), ("08001", 3));
    assert!(detail.contains("trying it now"), "{detail}");
    gate.open();
    assert!(probe.finish(DEADLINE).result.is_ok());
    let stat = limited.stat();
    assert_eq!((&stat["breaker"], &stat["consecutive_failures"], &stat["opened_at"]), (&json!("closed"), &json!(0), &Value::Null));
    limited.is_free();
}

#[test]
fn a_probe_that_is_terminated_gives_way_to_another() {
    let limited = breaking(1, 1);
    limited.upstream.on(PATH).reply(Reply::close()).reply(Reply::hang());
    fails(&limited, "08006");
    assert!(eventually(DEADLINE, || limited.stat()["breaker"] == json!("half_open")));
    let probe = limited.call_in_flight();
    assert_eq!(refused(&mut limited.session(), &json!({})).0, "08001");
    assert!(limited.database.cluster().terminate_backend(probe.pid()));
    assert!(probe.finish(DEADLINE).result.is_err());
    assert!(eventually(DEADLINE, || limited.number("in_flight") == 0));
    limited.is_free();
}

#[test]
fn what_the_caller_does_wrong_opens_no_breaker() {
    let limited = breaking(1, 100_000);
    for (status, state) in [(400, "38000"), (401, "38000"), (404, "38000"), (429, "53400")] {
        limited.upstream.on(PATH).reply(openai::error(status, "x", "x", "No"));
        fails(&limited, state);
        assert_eq!(limited.stat()["breaker"], json!("closed"), "{status}");
    }
    limited.upstream.on(PATH).reply(Reply::hang());
    for _ in 0..3 {
        assert_eq!(refused(&mut limited.session(), &json!({"timeout_ms": 20})).0, "08006");
        assert_eq!(limited.stat()["breaker"], json!("closed"), "an impatient caller says nothing of the model");
    }
    limited.is_free();
}

#[test]
fn a_breaker_that_is_switched_off_never_opens() {
    let limited = Limited::new(&json!({"circuit_breaker": false, "max_attempts": 1}));
    limited.upstream.on(PATH).reply(openai::error(500, "server_error", "x", "No"));
    for _ in 0..20 {
        fails(&limited, "38000");
    }
    assert_eq!((limited.stat()["breaker"].clone(), limited.requests()), (json!("closed"), 20));
}

#[test]
fn the_attempts_of_one_call_count_and_its_last_failure_is_what_it_tells() {
    let limited = Limited::new(&json!({"circuit_breaker": {"failures": 2, "pause_ms": 100_000}, "max_attempts": 5}));
    let no = openai::error(500, "server_error", "x", "No").header("retry-after-ms", "1");
    limited.upstream.on(PATH).reply(no);
    fails(&limited, "38000");
    assert_eq!(limited.requests(), 2, "the third attempt met an open breaker");
    fails(&limited, "08001");
}
