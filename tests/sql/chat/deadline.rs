//! Time limits. (What ends a call from outside is in `cancel.rs`.)

use pg_llm_tests::{Asked, Backend, DEADLINE, db_error};
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::{Value, json};

fn hanging() -> Asked {
    let asked = Asked::at(Upstream::start(), json!({}));
    asked.upstream.on(Asked::PATH).reply(Reply::hang());
    asked
}

/// The call's own time is over: the session goes on and the connection is closed.
#[track_caller]
fn times_out(asked: &mut Asked, options: &Value, after_ms: u32) {
    let backend = Backend::of(&mut asked.client);
    let error = db_error(asked.chat("Hello", options));
    assert_eq!(error.code().code(), "08006", "{error:?}");
    assert_eq!(error.message(), format!("pg_llm: model \"m\" did not answer within {after_ms} ms"));
    assert!(error.hint().is_some_and(|hint| hint.contains("timeout_ms")), "{error:?}");
    assert!(asked.upstream.wait_until_closed(DEADLINE), "the provider need not work on it any more");
    assert_eq!(Backend::of(&mut asked.client), backend);
}

#[test]
fn timeout_ms_ends_a_call_and_the_nearest_one_counts() {
    let mut asked = hanging();
    asked.client.batch_execute("SET pg_llm.timeout_ms = '111ms'").unwrap();
    times_out(&mut asked, &json!({}), 111);
    times_out(&mut asked, &json!({"timeout_ms": 33}), 33);
    asked.add("openai-compatible", "m", &json!({"timeout_ms": 77}));
    times_out(&mut asked, &json!({}), 77);
    times_out(&mut asked, &json!({"timeout_ms": 55}), 55);
    asked.client.batch_execute("SET pg_llm.max_timeout_ms = '44ms'").unwrap();
    times_out(&mut asked, &json!({"timeout_ms": 600_000}), 44);
    asked.add("openai-compatible", "m", &json!({}));
    asked.client.batch_execute("SET pg_llm.timeout_ms = 0").unwrap();
    times_out(&mut asked, &json!({}), 44);
    assert!(asked.upstream.requests().len() <= 6, "and nothing is tried again");
    asked.upstream.on(Asked::PATH).reply(openai::completion("Here."));
    asked.client.batch_execute("RESET pg_llm.max_timeout_ms; RESET pg_llm.timeout_ms").unwrap();
    assert_eq!(asked.says("Hello"), "Here.");
}

#[test]
fn timeout_ms_counts_wherever_the_upstream_stalls() {
    for (what, reply) in [
        ("after the headers", openai::completion("Paris").hang_after(0)),
        ("in the body", openai::completion("Paris").hang_after(20)),
        ("in the error's body", openai::error(500, "x", "y", "z").hang_after(5)),
        ("dripping", openai::completion(&"Paris ".repeat(10_000)).drip(1, std::time::Duration::from_millis(1))),
    ] {
        let mut asked = hanging();
        asked.upstream.on(Asked::PATH).reply(reply);
        let error = db_error(asked.chat("Hello", &json!({"timeout_ms": 200})));
        assert_eq!(error.code().code(), "08006", "{what}: {error:?}");
        assert!(asked.upstream.wait_until_closed(DEADLINE), "{what}");
        assert_eq!(asked.upstream.requests().len(), 1, "{what}");
    }
}

#[test]
fn one_deadline_is_over_all_attempts() {
    let mut asked = hanging();
    asked.upstream.on(Asked::PATH).repeat(2, openai::error(503, "x", "y", "z").header("retry-after-ms", "1")).reply(Reply::hang());
    times_out(&mut asked, &json!({"timeout_ms": 500, "max_attempts": 10}), 500);
    assert_eq!(asked.upstream.requests().len(), 3);
}

#[test]
fn statement_timeout_is_the_statements_and_57014() {
    let mut asked = hanging();
    let backend = Backend::of(&mut asked.client);
    asked.client.batch_execute("SET statement_timeout = '200ms'").unwrap();
    for options in [json!({}), json!({"on_error": "null"}), json!({"timeout_ms": 60_000})] {
        let error = db_error(asked.chat("Hello", &options));
        assert_eq!((error.code().code(), error.message()), ("57014", "canceling statement due to statement timeout"), "{options}");
    }
    let sql = "DO $$ BEGIN PERFORM pg_llm_chat('m', 'Hello'); EXCEPTION WHEN OTHERS THEN NULL; END $$";
    assert_eq!(db_error(asked.client.simple_query(sql)).code().code(), "57014", "nothing swallows it");
    assert!(asked.upstream.wait_until_closed(DEADLINE));
    assert_eq!(Backend::of(&mut asked.client), backend);
}
