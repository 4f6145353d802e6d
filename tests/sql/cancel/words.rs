//! What a cancel is to the statement, the transaction and the session around the call.

use std::fs;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use pg_llm_tests::postgres::error::SqlState;
use pg_llm_tests::{Backend, Cluster, DEADLINE, Running, Settings, built, db_error, eventually};
use pg_llm_upstream::{Reply, Upstream};
use rustix::process::{Pid, Signal, kill_process};

use super::{Stage, Way, add_model, answers, cancelled, database, sleeps};

#[test]
fn when_others_does_not_swallow_a_cancel() {
    let (database, _well) = database();
    let stage = Stage::hanging(&database);
    let call = Running::start(
        database.superuser(),
        "DO $$ BEGIN PERFORM pg_llm_chat('ill', 'x'); EXCEPTION WHEN OTHERS THEN RAISE NOTICE 'swallowed'; END $$",
    );
    let backend = call.backend();
    assert!(eventually(DEADLINE, || (stage.reached)(backend)));
    assert!(database.cluster().cancel_backend(backend.0));
    let mut outcome = call.finish(DEADLINE);
    assert_eq!(db_error(outcome.result).code().code(), "57014");
    assert!((stage.over)());
    assert!(answers(&mut outcome.client));
}

#[test]
fn on_error_null_and_object_do_not_swallow_a_cancel() {
    let (database, _well) = database();
    for call in ["pg_llm_chat('ill', 'x', '{\"on_error\": \"null\"}')", "pg_llm_chat_json('ill', 'x', '{\"on_error\": \"object\"}')"] {
        let mut stage = Stage::hanging(&database);
        stage.sql = format!("SELECT {call}");
        cancelled(&database, &stage, Way::CancelBySql);
        cancelled(&database, &stage, Way::StatementTimeout);
    }
}

#[test]
fn a_cancel_that_is_asked_for_by_name_can_be_caught_and_the_next_call_works() {
    let (database, _well) = database();
    let stage = Stage::hanging(&database);
    let sql = "DO $$ BEGIN BEGIN PERFORM pg_llm_chat('ill', 'x'); EXCEPTION WHEN query_canceled THEN NULL; END; \
               IF pg_llm_chat('well', 'x') <> 'well' THEN RAISE 'not well'; END IF; END $$";
    let call = Running::start(database.superuser(), sql);
    let backend = call.backend();
    assert!(eventually(DEADLINE, || (stage.reached)(backend)));
    assert!(database.cluster().cancel_backend(backend.0));
    call.finish(DEADLINE).result.unwrap();
    assert!((stage.over)());
}

#[test]
fn a_cancelled_call_leaves_the_transaction_to_its_savepoint() {
    let (database, _well) = database();
    let stage = Stage::hanging(&database);
    let mut client = database.superuser();
    client.batch_execute("CREATE TABLE kept (answer text); BEGIN; INSERT INTO kept VALUES ('before'); SAVEPOINT s").unwrap();
    let call = Running::start(client, "INSERT INTO kept SELECT pg_llm_chat('ill', 'x')");
    let backend = call.backend();
    assert!(eventually(DEADLINE, || (stage.reached)(backend)));
    assert!(database.cluster().cancel_backend(backend.0));
    let mut outcome = call.finish(DEADLINE);
    assert_eq!(db_error(outcome.result).code().code(), "57014");
    outcome.client.batch_execute("ROLLBACK TO s; INSERT INTO kept SELECT pg_llm_chat('well', 'x'); COMMIT").unwrap();
    let kept = outcome.client.query("SELECT answer FROM kept", &[]).unwrap();
    assert_eq!(kept.iter().map(|row| row.get(0)).collect::<Vec<String>>(), ["before", "well"]);
}

#[test]
fn a_cancel_ends_a_loop_of_many_calls_that_catches_everything() {
    let (database, well) = database();
    let sql = "DO $$ BEGIN LOOP BEGIN PERFORM pg_llm_chat('well', 'x'); EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$";
    for _ in 0..10 {
        let before = well.observe(|o| o.requests_total);
        let call = Running::start(database.superuser(), sql);
        assert!(well.wait_for_requests(before + 5, DEADLINE));
        call.cancel();
        let mut outcome = call.finish(DEADLINE);
        assert_eq!(db_error(outcome.result).code().code(), "57014");
        assert!(answers(&mut outcome.client));
    }
    database.cluster().assert_no_crash();
}

#[test]
fn cancels_at_any_moment_give_the_answer_or_57014_and_nothing_else() {
    let (database, _well) = database();
    let mut client = database.superuser();
    assert!(answers(&mut client));
    let backend = Backend::of(&mut client);
    let cancel = client.cancel_token();
    let (mut answered, mut cancelled) = (0, 0);
    for round in 0..300_u64 {
        let start = Arc::new(Barrier::new(2));
        let (theirs, cancel) = (Arc::clone(&start), cancel.clone());
        let canceller = std::thread::spawn(move || {
            theirs.wait();
            std::thread::sleep(Duration::from_micros(round * 37 % 6000));
            cancel.cancel_query(pg_llm_tests::postgres::NoTls).unwrap();
        });
        start.wait();
        match client.query_one("SELECT pg_llm_chat('well', 'x')", &[]) {
            Ok(row) => {
                assert_eq!(row.get::<_, String>(0), "well");
                answered += 1;
            }
            Err(error) => {
                assert_eq!(error.code().map(SqlState::code), Some("57014"), "{error:?}");
                cancelled += 1;
            }
        }
        canceller.join().unwrap();
    }
    // One may still be on its way.
    assert!(eventually(DEADLINE, || client.batch_execute("SELECT pg_sleep(0.05)").is_ok()));
    assert!(answers(&mut client));
    assert_eq!(Backend::of(&mut client), backend);
    assert!(answered > 0 && cancelled > 0, "{answered} answered, {cancelled} cancelled");
    database.cluster().assert_no_crash();
}

#[test]
fn many_cancels_at_once_are_one() {
    let (database, _well) = database();
    let stage = Stage::hanging(&database);
    let call = Running::start(database.superuser(), &stage.sql);
    let backend = call.backend();
    assert!(eventually(DEADLINE, || (stage.reached)(backend)));
    for _ in 0..200 {
        kill_process(Pid::from_raw(backend.0).unwrap(), Signal::INT).unwrap();
    }
    let mut outcome = call.finish(DEADLINE);
    assert_eq!(db_error(outcome.result).code().code(), "57014");
    assert!(eventually(DEADLINE, || outcome.client.batch_execute("SELECT pg_sleep(0.05)").is_ok()));
    assert!(answers(&mut outcome.client));
    database.cluster().assert_no_crash();
}

#[test]
fn a_cancel_between_statements_does_nothing_to_the_next_call() {
    let (database, _well) = database();
    let mut client = database.superuser();
    assert!(answers(&mut client));
    let backend = Backend::of(&mut client);
    for _ in 0..20 {
        kill_process(Pid::from_raw(backend.0).unwrap(), Signal::INT).unwrap();
        // The signal is delivered while the backend waits for a command.
        assert!(eventually(DEADLINE, || !signal_pending(backend, Signal::INT)));
        assert!(answers(&mut client));
    }
}

fn signal_pending(backend: Backend, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", backend.0)).unwrap();
    let pending =
        |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).and_then(|v| u64::from_str_radix(v.trim(), 16).ok()).unwrap();
    (pending("SigPnd:") | pending("ShdPnd:")) >> (signal.as_raw() - 1) & 1 == 1 || !sleeps(backend)
}

#[test]
fn a_cancel_ends_a_call_in_a_parallel_worker() {
    let (database, _well) = database();
    let stage = Stage::hanging(&database);
    let mut client = database.superuser();
    if client.batch_execute("SET debug_parallel_query = on").is_err() {
        client.batch_execute("SET force_parallel_mode = on").unwrap();
    }
    let worker = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'parallel worker' AND datname = current_database()";
    let mut watcher = database.superuser();
    let mut reached = || {
        let found = watcher.query(worker, &[]).unwrap();
        found.first().map(|row| Backend(row.get(0))).filter(|backend| (stage.reached)(*backend))
    };
    for terminate in [false, true] {
        let call = Running::start(client, &stage.sql);
        let leader = call.backend();
        let mut worker = None;
        assert!(eventually(DEADLINE, || {
            worker = reached();
            worker.is_some()
        }));
        if terminate {
            assert!(database.cluster().terminate_backend(leader.0));
        } else {
            assert!(database.cluster().cancel_backend(leader.0));
        }
        let outcome = call.finish(DEADLINE);
        assert!((stage.over)());
        assert!(eventually(DEADLINE, || !worker.unwrap().exists()));
        client = outcome.client;
        if terminate {
            assert!(outcome.result.is_err());
            break;
        }
        assert_eq!(db_error(outcome.result).code().code(), "57014");
        assert!(answers(&mut client));
    }
    database.cluster().assert_no_crash();
}

#[test]
fn a_postmaster_that_dies_takes_calls_that_wait_and_that_compute_with_it() {
    let cluster = Cluster::start(&Settings::for_models().line("pg_llm.guest_cpu_ms = '10min'"));
    let database = cluster.database();
    let upstream = Upstream::start();
    upstream.on("/chat/completions").reply(Reply::hang());
    let mut client = database.superuser();
    add_model(&mut client, "ill", &upstream.url());
    let add = "SELECT pg_llm_add_model('hostile', 'loop', config => '{\"model_name\": \"infinite-loop\", \"timeout_ms\": 600000, \"api_endpoint\": \"http://127.0.0.1:9\"}', module => $1)";
    client.execute(add, &[&built("hostile.wasm")]).unwrap();
    let computing = Running::start(client, "SELECT pg_llm_chat('loop', 'x')").backend();
    let call = Running::start(database.superuser(), "SELECT pg_llm_chat('ill', 'x')");
    assert!(upstream.wait_for_requests(1, DEADLINE));
    assert!(eventually(DEADLINE, || computing.threads().len() > 1));
    let backend = call.backend();
    let postmaster = Pid::from_raw(i32::try_from(cluster.postmaster_pid().unwrap()).unwrap()).unwrap();
    kill_process(postmaster, Signal::KILL).unwrap();
    assert!(eventually(DEADLINE, || !backend.exists()));
    assert!(upstream.wait_until_closed(DEADLINE));
    assert!(eventually(DEADLINE, || !computing.exists()));
}
