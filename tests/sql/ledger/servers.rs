//! Restarts, crashes, standbys, several databases, many clients.

use std::thread;

use pg_llm_tests::{Cluster, DEADLINE, Running, db_error, eventually};
use pg_llm_upstream::Reply;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{Kept, flush, members, preloaded, rows_of, value};

/// Calls of each of a hundred clients.
const EACH: i64 = 20;

#[test]
fn a_hundred_clients_lose_no_row() {
    let cluster = Cluster::start(&preloaded());
    let mut kept = Kept::on(&cluster);
    thread::scope(|scope| {
        for number in 0..100 {
            let database = &kept.database;
            scope.spawn(move || {
                let mut client = database.superuser();
                for call in 0..EACH {
                    // Half of them are rolled back.
                    let sql = format!("BEGIN; SELECT pg_llm_chat('m', '{number}'); {}", if call % 2 == 0 { "COMMIT" } else { "ROLLBACK" });
                    client.batch_execute(&sql).unwrap_or_else(|error| panic!("{error:?}"));
                }
            });
        }
    });
    flush(&mut kept.client);
    let (rows, calls): (i64, i64) = {
        let row = kept.client.query_one("SELECT count(*), count(DISTINCT request_id) FROM _pg_llm_catalog.ledger", &[]).unwrap();
        (row.get(0), row.get(1))
    };
    assert_eq!((rows, calls), (100 * EACH, 100 * EACH));
    let state = kept.client.query_one("SELECT * FROM pg_llm_ledger_state()", &[]).unwrap();
    assert_eq!(
        (state.get::<_, String>("kept"), state.get::<_, i64>("dropped"), state.get::<_, bool>("waiting")),
        ("table".to_owned(), 0, false)
    );
    assert!(state.get::<_, i64>("written") >= rows);
}

#[test]
fn a_restart_of_the_server_loses_nothing_not_even_calls_that_it_ends() {
    let cluster = Cluster::start(&preloaded());
    let mut kept = Kept::on(&cluster);
    for _ in 0..10 {
        kept.chat("SELECT pg_llm_chat('m', 'a')");
    }
    kept.upstream.on("/v1/chat/completions").reply(Reply::hang());
    let running: Vec<_> = (0..5).map(|_| Running::start(kept.database.superuser(), "SELECT pg_llm_chat('m', 'b')")).collect();
    assert!(kept.upstream.wait_for_requests(15, DEADLINE));
    cluster.restart();
    for call in running {
        assert!(call.finish(DEADLINE).result.is_err());
    }
    let mut client = kept.database.superuser();
    let count = "SELECT format('%s %s', count(*) FILTER (WHERE outcome = 'ok'), count(*) FILTER (WHERE outcome = 'cancelled')) FROM _pg_llm_catalog.ledger";
    let mut found = String::new();
    let all = eventually(DEADLINE, || {
        flush(&mut client);
        found = value(&mut client, count);
        found == "10 5"
    });
    assert!(all, "{found}\n{}", cluster.log());
}

#[test]
fn a_killed_backend_takes_nothing_that_was_written_and_the_ledger_goes_on() {
    let cluster = Cluster::start(&preloaded().lines(&["restart_after_crash = on", "synchronous_commit = on"]));
    let mut kept = Kept::on(&cluster);
    kept.chat("SELECT pg_llm_chat('m', 'a')");
    flush(&mut kept.client);
    let victim: i32 = value(&mut kept.database.superuser(), "SELECT pg_backend_pid()");
    let pid: i32 = value(&mut kept.client, "SELECT pg_backend_pid()");
    assert_ne!(victim, pid);
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let connect = || kept.database.config().connect(pg_llm_tests::postgres::NoTls);
    assert!(eventually(DEADLINE, || kept.client.is_closed() || kept.client.simple_query("SELECT 1").is_err()));
    assert!(eventually(DEADLINE, || connect().is_ok_and(|mut client| client.simple_query("SELECT pg_llm_chat('m', 'b')").is_ok())));
    let mut client = connect().unwrap();
    let rows = rows_of(&mut client);
    assert_eq!(members(&rows, &["outcome"]), json!([["ok"], ["ok"]]));
}

#[test]
fn each_database_has_its_own_rows() {
    let (mut one, mut two) = (Kept::new(), Kept::new());
    for _ in 0..3 {
        one.chat("SELECT pg_llm_chat('m', 'a')");
    }
    two.chat("SELECT pg_llm_chat('m', 'b')");
    assert_eq!((one.rows().len(), two.rows().len()), (3, 1));
}

#[test]
fn a_database_without_the_extension_any_more_holds_up_no_other_and_can_be_dropped() {
    let (mut gone, mut other) = (Kept::new(), Kept::new());
    gone.chat("SELECT pg_llm_chat('m', 'a'); DROP EXTENSION pg_llm CASCADE");
    other.chat("SELECT pg_llm_chat('m', 'b')");
    assert_eq!(other.rows().len(), 1);
    let name = gone.database.name().to_owned();
    let Kept { client, .. } = gone;
    drop(client);
    assert!(eventually(DEADLINE, || other.client.simple_query(&format!("DROP DATABASE IF EXISTS \"{name}\"")).is_ok()));
}

#[test]
fn settings_of_a_database_that_are_meant_for_others_do_not_stop_the_writer() {
    let mut kept = Kept::new();
    let name = kept.database.name().to_owned();
    for setting in
        ["default_transaction_read_only = on", "default_transaction_isolation = 'serializable'", "session_replication_role = replica"]
    {
        kept.chat(&format!("ALTER DATABASE \"{name}\" SET {setting}"));
    }
    kept.chat("SELECT pg_llm_chat('m', 'a')");
    assert_eq!(kept.row()["outcome"], "ok");
}

#[test]
fn on_a_standby_calls_are_in_the_servers_log() {
    let cluster = Cluster::start(&preloaded());
    let mut kept = Kept::on(&cluster);
    kept.chat("SELECT pg_llm_chat('m', 'a')");
    flush(&mut kept.client);
    let standby = cluster.standby();
    let mut client = kept.database.on(&standby).superuser();
    assert_eq!(value::<String>(&mut client, "SELECT kept FROM pg_llm_ledger_state()"), "log");
    let answer: Value = value(&mut client, "SELECT pg_llm_chat_json('m', 'on the standby')");
    flush(&mut client);
    let id = answer["request_id"].as_str().unwrap().to_owned();
    let log = standby.log();
    let line = log.lines().find(|line| line.contains("pg_llm ledger: ") && line.contains(&id)).unwrap_or_else(|| panic!("{log}"));
    let entry: Value = serde_json::from_str(line.split_once("pg_llm ledger: ").unwrap().1).unwrap();
    assert_eq!((&entry["instance_name"], &entry["outcome"]), (&json!("m"), &json!("ok")));
    assert!(!line.contains("on the standby"));
    assert_eq!(value::<i64>(&mut client, "SELECT count(*) FROM pg_llm_get_audit_log()"), 1);
}

#[test]
fn without_preload_no_ledger_is_kept_and_the_doctor_says_so() {
    let database = Cluster::shared().database();
    let mut client = database.superuser();
    assert_eq!(value::<String>(&mut client, "SELECT kept FROM pg_llm_ledger_state()"), "nowhere");
    assert!(value::<bool>(&mut client, "SELECT pg_llm_flush_ledger()"));
    let found: i64 = value(
        &mut client,
        "SELECT count(*) FROM pg_llm_doctor() WHERE check_name = 'ledger' AND status = 'warning' AND hint LIKE '%shared_preload_libraries%'",
    );
    assert_eq!(found, 1);
    assert_eq!(db_error(client.simple_query("SELECT pg_llm_get_audit_log('5')")).code().code(), "22023");
}
