use std::{sync::OnceLock, time::Duration};

use pg_llm_tests::{Backend, Cluster, DEADLINE, Running, Settings, db_error, eventually, postgres};

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start(&Settings::bare()))
}

fn text(client: &mut postgres::Client, sql: &str) -> String {
    client.query_one(sql, &[]).unwrap().get(0)
}

#[test]
fn the_server_runs_as_someone_who_is_not_root() {
    use std::os::unix::fs::MetadataExt;
    let pid = cluster().postmaster_pid().unwrap();
    assert_ne!(std::fs::metadata(format!("/proc/{pid}")).unwrap().uid(), 0);
}

#[test]
fn databases_are_separate_and_dropped_when_their_sessions_have_ended() {
    let (one, two) = (cluster().empty_database(), cluster().empty_database());
    let mut client = one.superuser();
    client.batch_execute("CREATE TABLE only_here ()").unwrap();
    let error = db_error(two.superuser().batch_execute("TABLE only_here"));
    assert_eq!((error.code().code(), error.message()), ("42P01", "relation \"only_here\" does not exist"));
    let name = one.name().to_owned();
    drop(one);
    drop(cluster().empty_database());
    client.batch_execute("TABLE only_here").unwrap();
    drop(client);
    let gone = || {
        drop(cluster().empty_database());
        two.superuser().query("SELECT FROM pg_database WHERE datname = $1", &[&name]).unwrap().is_empty()
    };
    assert!(eventually(DEADLINE, gone));
}

#[test]
fn roles_can_log_in_and_have_no_power() {
    let database = cluster().empty_database();
    let role = database.create_role();
    let mut client = database.connect_as(&role);
    assert_eq!(text(&mut client, "SELECT current_user::text"), role);
    assert_eq!(db_error(client.batch_execute("CREATE ROLE other")).code().code(), "42501");
    assert_ne!(database.create_role(), role);
}

#[test]
fn settings_and_environment_reach_the_server_and_ours_does_not() {
    let settings =
        Settings::bare().lines(&["work_mem = 1MB", "work_mem = 2MB", "pg_llm.ca_file = '{folder}/ca.pem'"]).env("X_GIVEN", "yes");
    let cluster = Cluster::start(&settings);
    let mut client = cluster.empty_database().superuser();
    assert_eq!(text(&mut client, "SHOW work_mem"), "2MB");
    let ca_file = text(&mut client, "SHOW pg_llm.ca_file");
    assert!(text(&mut client, &format!("SELECT pg_read_file('{ca_file}')")).starts_with("-----BEGIN CERTIFICATE-----"));
    let environment = std::fs::read(format!("/proc/{}/environ", cluster.postmaster_pid().unwrap())).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    assert!(environment.contains("X_GIVEN=yes"));
    for absent in ["RUST_BACKTRACE", "CARGO", "proxy", "PROXY", "PGUSER"] {
        assert!(!environment.contains(absent), "{environment}");
    }
}

#[test]
fn lent_files_can_be_read_by_the_server() {
    let database = cluster().empty_database();
    let path = cluster().lend("lent", &[0, 159, 146, 150]);
    let bytes: Vec<u8> = database.superuser().query_one("SELECT pg_read_binary_file($1)", &[&path.to_str().unwrap()]).unwrap().get(0);
    assert_eq!(bytes, [0, 159, 146, 150]);
}

#[test]
fn a_running_statement_can_be_cancelled_in_three_ways() {
    let database = cluster().empty_database();
    let start = || {
        let call = Running::start(database.superuser(), "SELECT 1; SELECT pg_sleep(3600)");
        let pid = call.pid();
        let asleep = format!("SELECT FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'PgSleep'");
        assert!(eventually(DEADLINE, || database.superuser().query(&asleep, &[]).unwrap().len() == 1));
        call
    };
    let by_client = start();
    by_client.cancel();
    let mut outcome = by_client.finish(DEADLINE);
    assert_eq!(text(&mut outcome.client, "SELECT 'still there'"), "still there");
    assert_eq!(db_error(outcome.result).code().code(), "57014");

    let by_sql = start();
    assert!(cluster().cancel_backend(by_sql.pid()));
    assert_eq!(db_error(by_sql.finish(DEADLINE).result).code().code(), "57014");

    let terminated = start();
    let backend = terminated.backend();
    assert!(cluster().terminate_backend(terminated.pid()));
    assert!(terminated.finish(DEADLINE).result.is_err());
    assert!(eventually(DEADLINE, || !backend.exists()));
    let message = "terminating connection due to administrator command";
    assert_eq!(cluster().fatal_of(backend.0), Some(("57P01".into(), message.into())));
    assert_eq!(cluster().fatal_of(1), None);
}

#[test]
fn a_statement_returns_its_rows() {
    let call = Running::start(cluster().empty_database().superuser(), "VALUES ('a'), (NULL)");
    assert_eq!(call.finish(DEADLINE).column(), [Some("a".into()), None]);
}

#[test]
fn a_backend_shows_its_threads_memory_and_files() {
    let database = cluster().empty_database();
    let mut client = database.superuser();
    let backend = Backend::of(&mut client);
    let threads = backend.threads();
    assert_eq!((threads.len(), threads[0].id), (1, backend.0));
    assert!(backend.other_threads().is_empty());
    assert!((100..1_000_000).contains(&backend.rss_anon_kb()));
    assert!((3..1000).contains(&backend.open_files()));
}

#[test]
fn psql_prints_rows_and_errors() {
    let database = cluster().empty_database();
    let printed = database.psql(&["-At", "-c", "SELECT 1 + 1"]);
    assert!(printed.success && printed.output == "2\n", "{printed:?}");
    let printed = database.psql(&["-c", "SELECT 1/0"]);
    assert!(!printed.success && printed.errors.contains("division by zero"), "{printed:?}");
}

#[test]
fn sessions_over_tcp_work_too() {
    let database = cluster().empty_database();
    let mut client = database.connect_tcp("postgres");
    assert_eq!(text(&mut client, "SELECT host(inet_server_addr())"), "127.0.0.1");
}

#[test]
fn a_restart_keeps_data_and_port_and_ends_sessions() {
    let cluster = Cluster::start(&Settings::bare());
    let database = cluster.empty_database();
    let mut session = database.superuser();
    session.batch_execute("CREATE TABLE kept ()").unwrap();
    cluster.restart();
    assert!(session.batch_execute("TABLE kept").is_err());
    database.superuser().batch_execute("TABLE kept").unwrap();
    cluster.stop_immediate();
    cluster.start_again();
    cluster.set("work_mem = 3MB");
    assert!(eventually(DEADLINE, || text(&mut database.superuser(), "SHOW work_mem") == "3MB"));
    cluster.assert_no_crash();
}

#[test]
fn a_crash_is_seen_in_the_log() {
    let cluster = Cluster::start(&Settings::bare());
    cluster.assert_no_crash();
    let database = cluster.empty_database();
    let backend = Backend::of(&mut database.superuser());
    assert!(eventually(DEADLINE, || !backend.exists()));
    let call = Running::start(database.superuser(), "SELECT pg_sleep(3600)");
    let pid = rustix::process::Pid::from_raw(call.pid()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::SEGV).unwrap();
    assert!(call.finish(DEADLINE).result.is_err());
    assert!(eventually(DEADLINE, || cluster.log().contains("terminated by signal 11")));
    assert!(std::panic::catch_unwind(|| cluster.assert_no_crash()).is_err());
}

#[test]
fn a_standby_has_what_the_primary_committed_and_is_read_only() {
    let primary = Cluster::start(&Settings::bare());
    let database = primary.empty_database();
    let standby = primary.standby();
    let mut client = database.superuser();
    client.batch_execute("CREATE TABLE replicated (x int); INSERT INTO replicated VALUES (42)").unwrap();
    standby.catch_up_with(&primary);
    let there = database.on(&standby);
    let mut replica = there.superuser();
    let x: i32 = replica.query_one("SELECT x FROM replicated", &[]).unwrap().get(0);
    assert_eq!(x, 42);
    assert_eq!(db_error(replica.batch_execute("DELETE FROM replicated")).code().code(), "25006");
}

#[test]
fn a_client_that_is_killed_vanishes() {
    let database = cluster().empty_database();
    let mut psql =
        database.psql_command().args(["-c", "SET client_connection_check_interval = 10", "-c", "SELECT pg_sleep(3600)"]).spawn().unwrap();
    let asleep = format!("SELECT FROM pg_stat_activity WHERE datname = '{}' AND wait_event = 'PgSleep'", database.name());
    let mut watcher = database.superuser();
    assert!(eventually(DEADLINE, || watcher.query(&asleep, &[]).unwrap().len() == 1));
    psql.kill().unwrap();
    psql.wait().unwrap();
    assert!(eventually(Duration::from_secs(30), || watcher.query(&asleep, &[]).unwrap().is_empty()));
}
