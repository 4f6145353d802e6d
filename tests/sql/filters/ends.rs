//! Filters that fail or do not end: what becomes of the call, and of the session.

use pg_llm_tests::{Backend, DEADLINE, Running, db_error, eventually};
use pg_llm_upstream::openai;
use serde_json::{Value, json};

use super::{EMAIL, hostile, model};

const CRIMES: [&str; 7] = ["loop", "recursion", "memory-bomb", "panic", "error", "false-memo", "message-flood"];

#[test]
fn a_filter_that_fails_closes_the_way_and_the_session_goes_on() {
    let mut asked = hostile("none");
    let backend = Backend::of(&mut asked.client);
    asked.client.batch_execute("SET pg_llm.guest_cpu_ms = 300").unwrap();
    for crime in CRIMES {
        super::commits(&mut asked, crime);
        let error = db_error(asked.chat("the-prompts-words", &json!({})));
        assert_eq!(error.code().code(), "38001", "{crime}: {error:?}");
        assert_eq!(error.message(), "pg_llm: filter \"hostile\" failed on the prompt of model \"m\"", "{crime}");
        assert!(error.detail().unwrap().starts_with("filter: hostile, side: prompt\n"), "{crime}: {error:?}");
        assert!(!format!("{error:?}").contains("the-prompts-words"), "{crime}: {error:?}");
    }
    assert!(asked.upstream.requests().is_empty());
    for crime in ["no-response", "stuck-finish"] {
        super::commits(&mut asked, crime);
        let error = db_error(asked.chat("x", &json!({})));
        assert_eq!(
            (error.code().code(), error.detail().unwrap().lines().next()),
            ("38001", Some("filter: hostile, side: response")),
            "{crime}"
        );
        let error = db_error(asked.client.query("SELECT * FROM pg_llm_chat_stream('m', 'x')", &[]));
        assert_eq!(error.code().code(), "38001", "{crime}: {error:?}");
        let object = asked.chat_json("x", &json!({"on_error": "object"})).unwrap().unwrap();
        assert_eq!((&object["error"]["kind"], &object["response"]), (&json!("filter"), &Value::Null));
    }
    super::commits(&mut asked, "none");
    assert_eq!(asked.says("well"), "well");
    assert_eq!(Backend::of(&mut asked.client), backend);
    asked.database.cluster().assert_no_crash();
}

#[test]
fn with_pass_the_caller_is_warned_and_the_rest_of_the_filters_stay() {
    let mut asked = model(json!([]));
    asked.add("openai-compatible", "m", &json!({"filters": ["hostile", "pii-both"], "on_filter_error": "pass"}));
    super::commits(&mut asked, "panic");
    let database = asked.database.name().to_owned();
    let printed = asked.database.psql(&["-d", &database, "-Atc", &format!("SELECT pg_llm_chat('m', 'x {EMAIL}')")]);
    assert!(printed.output.contains(&format!("x {EMAIL}")), "{printed:?}");
    assert!(
        printed.errors.contains("WARNING:  pg_llm: filter \"hostile\" failed on the prompt of model \"m\": it was left out"),
        "{printed:?}"
    );
    let printed = asked.database.psql(&["-d", &database, "-Atc", "SELECT chunk FROM pg_llm_chat_stream('m', 'x') LIMIT 1"]);
    assert_eq!(printed.errors.matches("WARNING").count(), 2, "one for each side: {printed:?}");
    assert!(!super::sent(&asked.upstream).contains(EMAIL));
    let answer = asked.chat_json("x", &json!({})).unwrap().unwrap();
    assert_eq!(answer["filters"][0], json!({"name": "hostile", "side": "prompt", "action": "left_out"}));
}

#[test]
fn a_call_inside_a_filter_ends_at_once_with_its_statement() {
    for (crime, sql) in [
        ("loop", "SELECT pg_llm_chat('m', 'x')"),
        ("stuck-finish", "SELECT pg_llm_chat('m', 'x')"),
        ("loop", "SELECT * FROM pg_llm_chat_stream('m', 'x')"),
        ("stuck-finish", "SELECT * FROM pg_llm_chat_stream('m', 'x')"),
        ("loop", "SELECT * FROM pg_llm_chat_batch('m', '{x,y}')"),
        ("stuck-finish", "SELECT pg_llm_parallel_chat('x', '{m,m}')"),
    ] {
        let mut asked = hostile(crime);
        asked.upstream.otherwise(
            |request| {
                if request.contains("\"stream\":true") { openai::stream(&["x"]) } else { openai::completion("x") }
            },
        );
        // A failing filter is not left out for being cancelled.
        asked.add("openai-compatible", "m", &json!({"filters": ["hostile"], "on_filter_error": "pass"}));
        let patient = "SET pg_llm.guest_cpu_ms = '10min'; SET pg_llm.timeout_ms = '10min'; ";
        let running = Running::start(asked.database.superuser(), &format!("{patient}{sql}"));
        let (backend, upstream) = (running.backend(), &asked.upstream);
        let sent = crime == "stuck-finish";
        assert!(eventually(DEADLINE, || backend.threads().len() > 1 && (!sent || !upstream.requests().is_empty())), "it computes");
        running.cancel();
        let mut outcome = running.finish(DEADLINE);
        assert_eq!(db_error(outcome.result).code().code(), "57014", "{crime} {sql}");
        outcome.client.simple_query("SELECT 1").unwrap();

        let timed = Running::start(asked.database.superuser(), &format!("{patient}SET statement_timeout = '300ms'; {sql}"));
        assert_eq!(db_error(timed.finish(DEADLINE).result).code().code(), "57014", "{crime} {sql}");
    }
}

#[test]
fn the_calls_own_time_ends_a_filter_too() {
    let mut asked = hostile("loop");
    asked.client.batch_execute("SET pg_llm.guest_cpu_ms = '10min'").unwrap();
    let error = db_error(asked.chat("x", &json!({"timeout_ms": 300})));
    assert_eq!(error.code().code(), "08006", "{error:?}");
    assert!(error.message().contains("filter \"hostile\" was not done"), "{error:?}");
}

#[test]
fn what_a_filter_logs_goes_to_the_servers_log_alone() {
    let mut asked = hostile("log-flood");
    let database = asked.database.name().to_owned();
    let printed = asked.database.psql(&["-d", &database, "-Atc", "SET client_min_messages = debug1; SELECT pg_llm_chat('m', 'x')"]);
    assert!(!printed.errors.contains("drip"), "{printed:?}");
    assert_eq!(asked.says("x"), "x");
}
