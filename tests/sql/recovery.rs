//! After a crash, a restart, damage, a restore or a failover, models are where they were, or an error says what to do.

mod code_cache;
pub(crate) mod dumps;
mod exhaustion;
mod killed;
mod read_only;

pub(crate) use dumps::dump_and_restore;

use std::fs;
use std::path::{Path, PathBuf};

use pg_llm_tests::postgres::Client;
use pg_llm_tests::postgres::error::DbError;
use pg_llm_tests::postgres::types::FromSqlOwned;
use pg_llm_tests::{Backend, Cluster, DEADLINE, Running, Settings, built, db_error, eventually};
use pg_llm_upstream::{Certificate, Reply, Upstream, openai};
use rustix::process::{Pid, Signal, kill_process};

const KEY: &str = "sk-Lm5Nq7Rs9Tv2Wx4Yz6";

pub(crate) fn settings() -> Settings {
    // What is committed here has to survive.
    Settings::for_models().lines(&["synchronous_commit = on", "restart_after_crash = on"])
}

fn value<T: FromSqlOwned>(client: &mut Client, sql: &str) -> T {
    client.query_one(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

fn upstream() -> Upstream {
    let upstream = Upstream::start();
    upstream.on("/chat/completions").reply(openai::completion("well"));
    upstream
}

/// A model `keyed` with a key at the upstream, and `uploaded`, whose provider is a component that was uploaded, at the same place.
fn add_models(client: &mut Client, upstream: &Upstream) {
    let add = "SELECT pg_llm_add_model('openai-compatible', 'keyed', $1, jsonb_build_object('api_endpoint', $2::text))";
    client.execute(add, &[&KEY, &upstream.url()]).unwrap();
    client
        .execute(
            "SELECT pg_llm_add_model('house-mock', 'uploaded', module => $1, config => '{\"mock_response\": \"mocked\"}')",
            &[&built("mock.wasm")],
        )
        .unwrap();
}

fn chat(client: &mut Client, name: &str) -> Result<String, Box<DbError>> {
    let asked = client.query_one("SELECT pg_llm_chat($1, 'Hello')", &[&name]);
    asked.map(|row| row.get(0)).map_err(|error| Box::new(error.as_db_error().unwrap_or_else(|| panic!("{error:?}")).clone()))
}

#[track_caller]
fn all_is_well(client: &mut Client, upstream: &Upstream) {
    upstream.forget();
    assert_eq!(chat(client, "keyed").unwrap(), "well");
    assert_eq!(upstream.last_request().unwrap().header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(chat(client, "uploaded").unwrap(), "mocked");
}

fn kill(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

#[test]
fn a_backend_that_is_killed_in_a_call_restarts_the_server_and_loses_nothing() {
    let cluster = Cluster::start(&settings());
    let database = cluster.database();
    let (upstream, hanging) = (upstream(), Upstream::start());
    hanging.on("/chat/completions").reply(Reply::hang());
    let mut client = database.superuser();
    add_models(&mut client, &upstream);
    client
        .execute(
            "SELECT pg_llm_add_model('openai-compatible', 'hanging', config => jsonb_build_object('api_endpoint', $1::text))",
            &[&hanging.url()],
        )
        .unwrap();
    client.batch_execute("CREATE TABLE kept AS SELECT pg_llm_chat('keyed', 'x') AS answer").unwrap();
    all_is_well(&mut client, &upstream);

    let call = Running::start(database.superuser(), "SELECT pg_llm_chat('hanging', 'x')");
    assert!(hanging.wait_for_requests(1, DEADLINE));
    cluster.crash(call.pid());
    assert!(call.finish(DEADLINE).result.is_err());
    assert!(hanging.wait_until_closed(DEADLINE));
    drop(client);
    let mut client = database.superuser();
    all_is_well(&mut client, &upstream);
    assert_eq!(value::<String>(&mut client, "SELECT answer FROM kept"), "well");

    cluster.restart();
    all_is_well(&mut database.superuser(), &upstream);
    cluster.stop_immediate();
    cluster.start_again();
    all_is_well(&mut database.superuser(), &upstream);
}

#[test]
fn a_fast_shutdown_does_not_wait_for_calls() {
    let cluster = Cluster::start(&settings());
    let database = cluster.database();
    let hanging = Upstream::start();
    hanging.on("/chat/completions").reply(Reply::hang());
    let mut client = database.superuser();
    client.execute("SELECT pg_llm_add_model('openai-compatible', 'hanging', config => jsonb_build_object('api_endpoint', $1::text, 'timeout_ms', 600000))", &[&hanging.url()]).unwrap();
    let calls = [0; 3].map(|_| Running::start(database.superuser(), "SELECT pg_llm_chat('hanging', 'x')"));
    assert!(hanging.wait_for_requests(3, DEADLINE));
    cluster.restart();
    for call in calls {
        let pid = call.pid();
        assert!(call.finish(DEADLINE).result.is_err());
        assert_eq!(cluster.fatal_of(pid).map(|(code, _)| code).as_deref(), Some("57P01"));
    }
    assert!(hanging.wait_until_closed(DEADLINE));
    cluster.assert_no_crash();
}

fn children(backend: Backend) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", backend.0)).unwrap_or_default();
    let compiles = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "pg_llm_compiler");
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(compiles).collect()
}

/// A component that is so long that it is still being read when somebody looks.
fn long_component() -> Vec<u8> {
    let mut module = built("mock.wasm");
    let bytes = 20_usize << 20;
    let size = bytes + 4;
    module.push(0);
    module.extend((0..4).map(|i| u8::try_from(size >> (7 * i) & 0x7f).unwrap() | if i < 3 { 0x80 } else { 0 }));
    module.extend_from_slice(b"\x03pad");
    module.resize(module.len() + bytes, 0);
    module
}

#[test]
fn a_compiler_that_is_killed_is_an_error_and_one_whose_backend_is_killed_ends() {
    let cluster = Cluster::start(&settings());
    let database = cluster.database();
    let path = cluster.lend("long.wasm", &long_component());
    let upload = format!("SELECT pg_llm_add_provider('uploaded', pg_read_binary_file('{}'))", path.display());
    let start = || {
        let call = Running::start(database.superuser(), &upload);
        let mut compiler = 0;
        assert!(eventually(DEADLINE, || {
            compiler = children(call.backend()).first().copied().unwrap_or(0);
            compiler != 0
        }));
        kill(compiler, Signal::STOP);
        (call, compiler)
    };
    for signal in [Signal::KILL, Signal::ABORT, Signal::XCPU] {
        let (call, compiler) = start();
        kill(compiler, signal);
        kill(compiler, Signal::CONT);
        let mut outcome = call.finish(DEADLINE);
        let error = db_error(outcome.result);
        assert_eq!(error.code().code(), "38001", "{error:?}");
        assert!(error.message().contains("compile") && error.hint().is_some(), "{error:?}");
        outcome.client.batch_execute("SELECT pg_llm_add_model('mock', 'm'); SELECT pg_llm_chat('m', 'x')").unwrap();
    }
    cluster.assert_no_crash();
    let (call, compiler) = start();
    cluster.crash(call.pid());
    assert!(call.finish(DEADLINE).result.is_err());
    assert!(eventually(DEADLINE, || !Path::new(&format!("/proc/{compiler}")).exists()), "the compiler goes on without its backend");
    let mut client = database.superuser();
    client.batch_execute(&upload).unwrap();
}

#[test]
fn a_trust_store_that_was_missing_is_found_by_the_sessions_that_missed_it() {
    let cluster = Cluster::start(&Settings::bare().line("pg_llm.ca_file = '{folder}/later.pem'"));
    let database = cluster.database();
    let upstream = Upstream::start_tls(Certificate::Trusted);
    upstream.on("/chat/completions").reply(openai::completion("well"));
    let mut client = database.superuser();
    let add =
        "SELECT pg_llm_add_model('openai-compatible', 'm', config => jsonb_build_object('api_endpoint', $1::text, 'max_attempts', 1))";
    client.execute(add, &[&upstream.url()]).unwrap();
    for _ in 0..2 {
        let error = chat(&mut client, "m").unwrap_err();
        assert!(error.code().code() == "08001" && error.message().contains("later.pem"), "{error:?}");
    }
    let sound = fs::read(cluster.folder().join("ca.pem")).unwrap();
    cluster.lend("later.pem", b"nonsense");
    assert!(chat(&mut client, "m").is_err());
    cluster.lend("later.pem", &sound);
    assert_eq!(chat(&mut client, "m").unwrap(), "well");
}

/// A process's soft limit of a resource.
fn limit(pid: i32, resource: &str) -> Option<String> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix(resource))?;
    line.split_whitespace().next().map(str::to_owned)
}

/// Whatever it is fed, there is little in reach.
#[test]
fn the_compiler_has_three_pipes_no_environment_open_signals_and_a_session_of_its_own() {
    let cluster = Cluster::start(&settings().env("A_SECRET", "in the environment"));
    let database = cluster.database();
    let path = cluster.lend("long.wasm", &long_component());
    let call =
        Running::start(database.superuser(), &format!("SELECT pg_llm_add_provider('uploaded', pg_read_binary_file('{}'))", path.display()));
    let mut compiler = 0;
    assert!(eventually(DEADLINE, || {
        compiler = children(call.backend()).first().copied().unwrap_or(0);
        // It limits itself, before it reads a byte.
        limit(compiler, "Max file size").as_deref() == Some("0")
    }));
    kill(compiler, Signal::STOP);
    let proc = PathBuf::from(format!("/proc/{compiler}"));
    let open: Vec<String> = fs::read_dir(proc.join("fd"))
        .unwrap()
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .map(|link| link.display().to_string())
        .collect();
    assert!((1..=3).contains(&open.len()) && open.iter().all(|link| link.starts_with("pipe:")), "{open:?}");
    assert_eq!(fs::read(proc.join("environ")).unwrap(), b"");
    let status = fs::read_to_string(proc.join("status")).unwrap();
    let blocked =
        status.lines().find_map(|line| line.strip_prefix("SigBlk:")).and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap();
    for signal in [Signal::INT, Signal::TERM, Signal::QUIT, Signal::ALARM, Signal::XCPU] {
        assert_eq!(blocked >> (signal.as_raw() - 1) & 1, 0, "{signal:?} is blocked\n{status}");
    }
    assert_eq!(limit(compiler, "Max core file size").as_deref(), Some("0"));
    for resource in ["Max address space", "Max cpu time"] {
        assert_ne!(limit(compiler, resource).as_deref(), Some("unlimited"), "{resource}");
    }
    let stat = fs::read_to_string(proc.join("stat")).unwrap();
    let session = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(3)).unwrap();
    assert_eq!(session, compiler.to_string());
    kill(compiler, Signal::CONT);
    call.finish(DEADLINE).result.unwrap();
}

/// Gives a file to the server's account, as if the server had written it.
pub(crate) fn give(cluster: &Cluster, path: &Path) {
    use std::os::unix::fs::MetadataExt;
    let owner = fs::metadata(cluster.data_directory()).unwrap();
    let _ = std::os::unix::fs::lchown(path, Some(owner.uid()), Some(owner.gid()));
}

#[test]
fn the_extension_can_be_dropped_and_made_again_under_a_session_that_uses_it() {
    let database = Cluster::shared().database();
    let upstream = upstream();
    let (mut client, mut other) = (database.superuser(), database.superuser());
    for _ in 0..2 {
        add_models(&mut client, &upstream);
        all_is_well(&mut client, &upstream);
        all_is_well(&mut other, &upstream);
        client.batch_execute("BEGIN; DROP EXTENSION pg_llm; ROLLBACK").unwrap();
        all_is_well(&mut client, &upstream);
        client.batch_execute("DROP EXTENSION pg_llm").unwrap();
        for client in [&mut client, &mut other] {
            assert_eq!(db_error(client.simple_query("SELECT pg_llm_chat('keyed', 'x')")).code().code(), "42883");
        }
        assert_eq!(value::<i64>(&mut client, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE '%pg\\_llm%'"), 0);
        client.batch_execute("CREATE EXTENSION pg_llm").unwrap();
        assert_eq!(chat(&mut other, "keyed").unwrap_err().code().code(), "42704");
    }
    database.cluster().assert_no_crash();
}
