//! One deadline over all models, and its end by other means.

use pg_llm_tests::{Asked, Backend, DEADLINE, Running, db_error};
use pg_llm_upstream::{Reply, openai};
use serde_json::json;

use super::{another, answer, asked, failing, requests, who};

#[test]
fn a_models_own_timeout_bounds_its_share_and_leaves_the_rest() {
    let mut asked = asked(Reply::hang(), &json!({"fallback_instance": "b", "timeout_ms": 100}));
    let b = another(&mut asked, "b", openai::completion("From b."), &json!({}));
    for options in [json!({}), json!({"timeout_ms": 60_000})] {
        let said = answer(&mut asked, &options);
        assert_eq!(who(&said), ("b", true), "{options}");
        let error = &said["fallback_from"][0]["error"];
        assert_eq!(error, &json!({"kind": "timed_out", "message": "model \"m\" did not answer within 100 ms", "detail": null}));
    }
    assert!(asked.upstream.wait_until_closed(DEADLINE));
    assert_eq!(requests([&asked.upstream, &b]), [2, 2], "what is timed out is not tried again");
}

#[test]
fn the_calls_timeout_is_over_the_whole_chain() {
    let mut asked = asked(Reply::hang(), &json!({"fallback_instance": "b", "timeout_ms": 100}));
    let b = another(&mut asked, "b", Reply::hang(), &json!({"timeout_ms": 600_000, "fallback_instance": "c"}));
    let c = another(&mut asked, "c", openai::completion("From c."), &json!({}));
    let error = db_error(asked.chat("Hello", &json!({"timeout_ms": 400})));
    assert_eq!((error.code().code(), error.message()), ("08006", "pg_llm: model \"m\" did not answer within 100 ms"));
    let detail = error.detail().unwrap();
    assert!(
        detail.starts_with("\nFallback \"b\": model \"b\" did not answer within ") || detail.starts_with("Fallback \"b\": "),
        "{detail}"
    );
    assert!(detail.ends_with("\nFallback \"c\": was not asked: no time was left"), "{detail}");
    assert!(asked.upstream.wait_until_closed(DEADLINE) && b.wait_until_closed(DEADLINE));
    assert_eq!(requests([&asked.upstream, &b, &c]), [1, 1, 0]);
}

#[test]
fn a_model_without_a_share_may_use_up_all_the_time() {
    let mut asked = asked(Reply::hang(), &json!({"fallback_instance": "b"}));
    let b = another(&mut asked, "b", openai::completion("From b."), &json!({}));
    let error = db_error(asked.chat("Hello", &json!({"timeout_ms": 200})));
    assert_eq!((error.code().code(), error.message()), ("08006", "pg_llm: model \"m\" did not answer within 200 ms"));
    assert!(error.detail().unwrap().contains("was not asked: no time was left"), "{error:?}");
    assert_eq!(b.requests().len(), 0);
}

#[test]
fn under_the_calls_timeout_the_last_model_has_all_that_is_left() {
    let mut asked = asked(failing(), &json!({"fallback_instance": "b"}));
    let b = another(&mut asked, "b", Reply::hang(), &json!({"timeout_ms": 1}));
    let error = db_error(asked.chat("Hello", &json!({"timeout_ms": 300})));
    assert!(!error.detail().unwrap().contains("within 1 ms"), "{error:?}");
    let error = db_error(asked.chat("Hello", &json!({})));
    assert!(error.detail().unwrap().contains("model \"b\" did not answer within 1 ms"), "{error:?}");
    assert!(b.wait_until_closed(DEADLINE));
}

#[test]
fn a_cancel_in_the_midst_of_the_fallback_ends_the_call_and_asks_nobody_else() {
    let mut asked = asked(failing(), &json!({"fallback_instance": "b"}));
    let b = another(&mut asked, "b", Reply::hang(), &json!({"fallback_instance": "c"}));
    let c = another(&mut asked, "c", openai::completion("From c."), &json!({}));
    for sql in [
        "SELECT pg_llm_chat('m', 'Hello')",
        "SELECT pg_llm_chat('m', 'Hello', '{\"on_error\": \"null\"}')",
        "SELECT * FROM pg_llm_chat_stream('m', 'Hello')",
        "DO $$ BEGIN PERFORM pg_llm_chat('m', 'Hello'); EXCEPTION WHEN OTHERS THEN NULL; END $$",
    ] {
        b.forget();
        let mut client = asked.database.superuser();
        let backend = Backend::of(&mut client);
        let running = Running::start(client, sql);
        assert!(b.wait_for(|observed| observed.requests.len() == 1, DEADLINE), "{sql}");
        running.cancel();
        let mut outcome = running.finish(DEADLINE);
        assert_eq!(db_error(outcome.result).code().code(), "57014", "{sql}");
        assert!(b.wait_until_closed(DEADLINE), "{sql}");
        assert_eq!(Backend::of(&mut outcome.client), backend, "{sql}");
    }
    assert_eq!(c.requests().len(), 0);
    asked.database.cluster().assert_no_crash();
}

#[test]
fn statement_timeout_ends_the_fallback_too() {
    let mut asked = asked(failing(), &json!({"fallback_instance": "b"}));
    let b = another(&mut asked, "b", Reply::hang(), &json!({}));
    asked.client.batch_execute("SET statement_timeout = '300ms'").unwrap();
    let error = db_error(asked.chat("Hello", &json!({"on_error": "null"})));
    assert_eq!(error.code().code(), "57014");
    assert!(b.wait_until_closed(DEADLINE));
}

#[test]
fn what_only_a_stream_can_keep_to_is_refused_in_a_call_and_ignored_as_a_default() {
    let mut asked = asked(openai::completion("From m."), &json!({"first_token_timeout_ms": 1}));
    let error = db_error(asked.chat("Hello", &json!({"first_token_timeout_ms": 100})));
    assert_eq!((error.code().code(), asked.upstream.requests().len()), ("22023", 0), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("timeout_ms")), "{error:?}");
    asked.upstream.on(Asked::PATH).reply(openai::completion("From m.").delay_headers(std::time::Duration::from_millis(100)));
    assert_eq!(asked.says("Hello"), "From m.");
}
