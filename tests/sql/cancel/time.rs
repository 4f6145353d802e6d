//! The call's own time, and what is no cancel at all.

use std::sync::{Arc, Barrier};

use pg_llm_tests::postgres::Client;
use pg_llm_tests::postgres::fallible_iterator::FallibleIterator;
use pg_llm_tests::{DEADLINE, Running, db_error, eventually};
use pg_llm_upstream::{Upstream, openai};
use rustix::process::{Pid, Signal, kill_process};

use super::{Stage, add_model, answers, database, ended};

#[test]
fn the_calls_own_time_is_08006_and_the_statements_is_57014() {
    let (database, _well) = database();
    let stage = Stage::hanging(&database);
    let mut client = database.superuser();
    let sqlstate = |client: &mut Client, set: &str, options: &str| {
        client.batch_execute(set).unwrap();
        let result = client.query("SELECT pg_llm_chat('ill', 'x', $1::text::jsonb)", &[&options]);
        let error = db_error(result);
        assert!((stage.over)());
        (error.code().code().to_owned(), error.message().to_owned(), error.hint().map(str::to_owned))
    };
    let (code, message, hint) = sqlstate(&mut client, "SET statement_timeout = 0", r#"{"timeout_ms": 100}"#);
    assert_eq!((code.as_str(), message.as_str()), ("08006", "pg_llm: model \"ill\" did not answer within 100 ms"));
    assert!(hint.unwrap().contains("timeout_ms"));
    let (code, ..) = sqlstate(&mut client, "SET statement_timeout = '10min'", r#"{"timeout_ms": 100}"#);
    assert_eq!(code, "08006");
    let (code, message, _) = sqlstate(&mut client, "SET statement_timeout = 100", "{}");
    assert_eq!((code.as_str(), message.as_str()), ("57014", "canceling statement due to statement timeout"));
    client.batch_execute("SET statement_timeout = 0").unwrap();
    assert!(answers(&mut client));
}

#[test]
fn the_timeout_setting_and_its_ceiling_count_for_a_model_without_its_own() {
    let (database, _well) = database();
    let stage = Stage::hanging(&database);
    let mut client = database.superuser();
    client.batch_execute("UPDATE _pg_llm_catalog.models SET config = config - 'timeout_ms' WHERE instance_name = 'ill'").unwrap();
    client.batch_execute("SET pg_llm.timeout_ms = 100").unwrap();
    let error = db_error(client.query("SELECT pg_llm_chat('ill', 'x')", &[]));
    assert_eq!((error.code().code(), error.message()), ("08006", "pg_llm: model \"ill\" did not answer within 100 ms"));
    client.batch_execute("SET pg_llm.max_timeout_ms = 90; SET pg_llm.timeout_ms = 0").unwrap();
    for options in ["{}", r#"{"timeout_ms": 500000}"#] {
        let error = db_error(client.query("SELECT pg_llm_chat('ill', 'x', $1::text::jsonb)", &[&options]));
        assert_eq!((error.code().code(), error.message()), ("08006", "pg_llm: model \"ill\" did not answer within 90 ms"));
    }
    assert!((stage.over)());
}

/// An upstream that answers when it is told to.
fn gated() -> (Upstream, Arc<Barrier>) {
    let upstream = Upstream::start();
    let gate = Arc::new(Barrier::new(2));
    let theirs = Arc::clone(&gate);
    upstream.on("/chat/completions").handle(move |_| {
        theirs.wait();
        openai::completion("at last")
    });
    (upstream, gate)
}

#[test]
fn what_is_no_cancel_does_not_end_a_call() {
    let (database, _well) = database();
    let (upstream, gate) = gated();
    let mut other = database.superuser();
    add_model(&mut other, "slow", &upstream.url());
    let mut client = database.superuser();
    client.batch_execute("LISTEN news; SET lock_timeout = 1; SET deadlock_timeout = 1; SET client_connection_check_interval = 1").unwrap();
    let idle = |ms| format!("SET idle_in_transaction_session_timeout = {ms}; SET idle_session_timeout = {ms}");
    let call = Running::start(client, &format!("{}; SELECT pg_llm_chat('slow', 'x'); {}", idle(1), idle(0)));
    assert!(upstream.wait_for_requests(1, DEADLINE));
    let backend = call.backend();

    other.batch_execute("NOTIFY news, 'something'").unwrap();
    other.batch_execute("SELECT pg_reload_conf()").unwrap();
    kill_process(Pid::from_raw(backend.0).unwrap(), Signal::HUP).unwrap();
    // More than Postgres lets a backend fall behind before it signals it to catch up.
    other
        .batch_execute(
            "DO $$ BEGIN FOR i IN 1..400 LOOP CREATE TABLE often (a int PRIMARY KEY, b text); DROP TABLE often; COMMIT; END LOOP; END $$",
        )
        .unwrap();
    // A barrier, which this waits for every backend to pass.
    let unused = format!("unused_{}", database.name());
    other.batch_execute(&format!("CREATE DATABASE {unused}")).unwrap();
    other.batch_execute(&format!("DROP DATABASE {unused}")).unwrap();
    // Handled by what handles a cancel, too.
    other.batch_execute(&format!("SELECT pg_log_backend_memory_contexts({})", backend.0)).unwrap();
    let logged = format!("logging memory contexts of PID {}", backend.0);
    assert!(eventually(DEADLINE, || database.cluster().log().contains(&logged)), "the call does not handle interrupts");

    gate.wait();
    let mut outcome = call.finish(DEADLINE);
    assert_eq!(outcome.column(), [Some("at last".into())]);
    let notification = outcome.client.notifications().timeout_iter(DEADLINE).next().unwrap().unwrap();
    assert_eq!((notification.channel(), notification.payload()), ("news", "something"));
    assert!(answers(&mut outcome.client));
    database.cluster().assert_no_crash();
}

#[test]
fn a_transaction_timeout_ends_the_session_of_a_call() {
    let (database, _well) = database();
    let stage = Stage::hanging(&database);
    let mut client = database.superuser();
    if client.batch_execute("SET transaction_timeout = '1s'").is_err() {
        // Postgres has it since 17.
        return;
    }
    let call = Running::start(client, &stage.sql);
    let backend = call.backend();
    assert!(call.finish(DEADLINE).result.is_err());
    ended(&database, &stage, backend, ("25P04", "terminating connection due to transaction timeout"));
    database.cluster().assert_no_crash();
}
