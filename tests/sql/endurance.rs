//! A backend that has called ten thousand times is as small as one that has called a few times, and Postgres's signals are for its main thread alone.

use std::{fs, path::PathBuf, sync::OnceLock};

use pg_llm_tests::{
    Backend, Cluster, DEADLINE, Running, Settings, Thread, built, db_error, eventually,
    postgres::{Client, types::FromSqlOwned},
};
use pg_llm_upstream::{Certificate, Ending, Reply, Upstream, openai};
use rustix::process::Signal;

/// A server that nothing but these tests works in.
fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start(&Settings::for_models().line("autovacuum = off")))
}

fn upstream(reply: Reply) -> Upstream {
    let upstream = Upstream::builder().unrecorded().start();
    upstream.on("/chat/completions").reply(reply);
    upstream
}

fn add_model(client: &mut Client, name: &str, url: &str) {
    let add = "SELECT pg_llm_add_model('openai-compatible', $1, 'sk-a-test-key', jsonb_build_object('api_endpoint', $2::text, 'max_attempts', 1))";
    client.execute(add, &[&name, &url]).unwrap();
}

fn value<T: FromSqlOwned>(client: &mut Client, sql: &str) -> T {
    client.query_one(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

/// More than the allocator's moods, and much less than what a leak of a small buffer a call would be.
const GROWTH_KB: u64 = 3 * 1024;

/// What it has open but for Postgres's own files, which come and go as it pleases.
fn open_files(backend: Backend) -> Vec<String> {
    let links = fs::read_dir(format!("/proc/{}/fd", backend.0)).unwrap().flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    let data = cluster().data_directory();
    let postgress = |link: &PathBuf| link.strip_prefix(&data).is_ok_and(|below| !below.starts_with("pg_llm"));
    links.filter(|link| !postgress(link)).map(|link| link.display().to_string()).collect()
}

/// Runs `work` to warm up and then four times more, and looks whether anything has grown.
#[track_caller]
fn stays_flat(client: &mut Client, work: impl FnMut(&mut Client)) {
    stays_flat_but_for(0, client, work);
}

/// The same where so many connections may be kept or not: a call that its deadline ends closes its own, so that a busy machine keeps others than an idle one.
fn stays_flat_but_for(kept: usize, client: &mut Client, mut work: impl FnMut(&mut Client)) {
    let backend = Backend::of(client);
    work(client);
    let (memory, files, threads) = (backend.rss_anon_kb(), open_files(backend), backend.threads().len());
    for _ in 0..4 {
        work(client);
    }
    let (grown, opened, started) = (backend.rss_anon_kb(), open_files(backend), backend.threads().len());
    assert!(grown < memory + GROWTH_KB, "memory: {memory} kB, then {grown} kB");
    assert!(opened.len() <= files.len() + kept, "descriptors: {files:?}, then {opened:?}");
    assert_eq!(started, threads, "threads");
    assert_eq!(Backend::of(client), backend);
}

#[test]
fn ten_thousand_calls_in_one_backend_leave_memory_descriptors_and_connections_as_they_were() {
    let database = cluster().database();
    let (upstream, mut client) = (upstream(openai::completion("An answer of some words.")), database.superuser());
    add_model(&mut client, "m", &upstream.url());
    let mut calls = 0;
    stays_flat(&mut client, |client| {
        let answered: i64 = value(client, "SELECT count(pg_llm_chat('m', 'Question ' || i)) FROM generate_series(1, 1500) i");
        let answered_json: i64 = value(
            client,
            "SELECT count(pg_llm_chat_json('m', 'Question ' || i, '{\"temperature\": 0.5, \"system\": \"Be brief.\"}') ->> 'response') FROM generate_series(1, 500) i",
        );
        calls += answered + answered_json;
    });
    assert_eq!(calls, 10_000);
    assert_eq!(upstream.observe(|seen| (seen.requests_total, seen.connections_total)), (10_000, 1), "one connection, kept");
}

#[test]
fn statements_of_their_own_leave_nothing_behind_either() {
    let database = cluster().database();
    let (upstream, mut client) = (upstream(openai::completion("well")), database.superuser());
    add_model(&mut client, "m", &upstream.url());
    stays_flat(&mut client, |client| {
        for _ in 0..500 {
            assert_eq!(value::<String>(client, "SELECT pg_llm_chat('m', 'x')"), "well");
        }
    });
}

#[test]
fn calls_that_fail_leave_memory_descriptors_and_connections_as_they_were() {
    let database = cluster().database();
    let mut client = database.superuser();
    let failures = [
        Reply::echo_headers(401),
        openai::error(400, "invalid", "bad", "No."),
        openai::malformed(),
        openai::completion("never").reset_after(5),
        openai::completion("never").truncate(5),
        Reply::reset(),
        Reply::close(),
        Reply::malformed_status_line(),
        Reply::oversized_header(100_000),
        openai::completion("ill").ending(Ending::Close),
        openai::completion(&"long ".repeat(20_000)).gzip().chunked(),
        // A gap that ends by the call's own deadline.
        openai::completion("never").hang_after(3),
    ];
    let upstreams: Vec<Upstream> = failures.into_iter().map(upstream).collect();
    for (i, upstream) in upstreams.iter().enumerate() {
        add_model(&mut client, &format!("m{i}"), &upstream.url());
    }
    add_model(&mut client, &format!("m{}", upstreams.len()), "https://127.0.0.1:9");
    let work = format!(
        "DO $$ BEGIN FOR i IN 1..40 LOOP FOR m IN 0..{} LOOP
           BEGIN PERFORM pg_llm_chat('m' || m, repeat('x', 10 * i), '{{\"timeout_ms\": 20}}'); EXCEPTION WHEN OTHERS THEN NULL; END;
         END LOOP; END LOOP; END $$",
        upstreams.len()
    );
    stays_flat_but_for(upstreams.len(), &mut client, |client| client.batch_execute(&work).unwrap());
    let open: Vec<usize> = upstreams.iter().map(Upstream::open_connections).collect();
    assert!(eventually(DEADLINE, || upstreams.iter().all(|upstream| upstream.open_connections() <= 1)), "{open:?}");
}

#[test]
fn many_models_many_changes_and_new_connections_leave_memory_and_descriptors_as_they_were() {
    let database = cluster().database();
    let (upstream, mut client) =
        (upstream(openai::completion("well").header("connection", "close").ending(Ending::Close)), database.superuser());
    let url = format!("http://localhost:{}", upstream.address().port());
    let add = format!(
        "SELECT count(pg_llm_add_model('openai-compatible', 'm' || i, 'sk-a-test-key-' || i, jsonb_build_object('api_endpoint', '{url}', 'temperature', random()))) FROM generate_series(1, 300) i"
    );
    stays_flat(&mut client, |client| {
        assert_eq!(value::<i64>(client, &add), 300);
        assert_eq!(value::<i64>(client, "SELECT count(pg_llm_chat('m' || i, 'x')) FROM generate_series(1, 300) i"), 300);
    });
}

#[test]
fn uploads_again_and_again_leave_memory_and_descriptors_as_they_were() {
    let database = cluster().database();
    let mut client = database.superuser();
    let path = cluster().lend("mock.wasm", &built("mock.wasm")).display().to_string();
    stays_flat(&mut client, |client| {
        for _ in 0..2 {
            client.execute("SELECT pg_llm_add_model('uploaded', 'm', module => pg_read_binary_file($1))", &[&path]).unwrap();
            client.execute("SELECT pg_llm_chat('m', 'x')", &[]).unwrap();
            client.execute("SELECT pg_llm_remove_model('m'), pg_llm_remove_provider('uploaded')", &[]).unwrap();
        }
    });
    assert_eq!(value::<i64>(&mut client, "SELECT count(*) FROM _pg_llm_catalog.modules"), 0);
}

#[test]
fn a_trust_store_that_changes_again_and_again_leaves_memory_threads_and_descriptors_as_they_were() {
    let database = cluster().database();
    let tls = Upstream::start_tls(Certificate::Trusted);
    tls.on("/chat/completions").reply(openai::completion("well"));
    let mut client = database.superuser();
    add_model(&mut client, "m", &tls.url());
    let authority = fs::read(cluster().folder().join("ca.pem")).unwrap();
    let files = ["one.pem", "other.pem"].map(|name| cluster().lend(name, &authority).display().to_string());
    let backend = Backend::of(&mut client);
    stays_flat(&mut client, |client| {
        for i in 0..20 {
            client.execute("SELECT set_config('pg_llm.ca_file', $1, false)", &[&files[i % 2]]).unwrap();
            assert_eq!(value::<String>(client, "SELECT pg_llm_chat('m', 'x')"), "well");
        }
        assert!(
            eventually(DEADLINE, || backend.threads().len() == 2),
            "the main thread and the one that watches the guest: {:?}",
            backend.threads()
        );
    });
}

/// Every signal that Postgres handles.
pub(crate) const SIGNALS: [Signal; 11] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::ALARM,
    Signal::USR1,
    Signal::USR2,
    Signal::CHILD,
    Signal::PIPE,
    Signal::URG,
    Signal::WINCH,
];

#[track_caller]
fn blocks_all(threads: &[Thread]) {
    for thread in threads {
        for signal in SIGNALS {
            assert!(thread.blocks(signal), "{signal:?} is open in {thread:?}");
        }
    }
}

#[test]
fn a_backend_that_never_called_has_one_thread() {
    let database = cluster().database();
    let mut client = database.superuser();
    let backend = Backend::of(&mut client);
    for sql in [
        "SELECT 1",
        "LOAD 'pg_llm'",
        "SELECT pg_llm_add_model('mock', 'm')",
        "TABLE pg_llm_models",
        "TABLE pg_llm_providers",
        "SELECT pg_llm_chat('m', NULL)",
    ] {
        client.simple_query(sql).unwrap();
        assert_eq!(backend.threads().len(), 1, "{sql}");
    }
}

#[test]
fn every_thread_but_the_main_one_has_postgress_signals_blocked_also_during_a_call() {
    let database = cluster().database();
    let mut client = database.superuser();
    let tls = Upstream::builder().certificate(Certificate::Trusted).start();
    tls.on("/chat/completions").reply(openai::completion("well"));
    add_model(&mut client, "tls", &tls.url_at("localhost"));
    let hanging = Upstream::start();
    hanging.on("/chat/completions").reply(Reply::hang());
    add_model(&mut client, "hanging", &format!("http://localhost:{}", hanging.address().port()));
    let backend = Backend::of(&mut client);
    let main = backend.threads()[0].blocked_signals;

    assert_eq!(value::<String>(&mut client, "SELECT pg_llm_chat('tls', 'x')"), "well");
    let threads = backend.other_threads();
    assert!(!threads.is_empty(), "a thread watches the guest");
    blocks_all(&threads);
    // Its own faults it must not block: the kernel would kill without a word. (A thread that is being born or dies blocks all for a moment.)
    let watcher = threads.iter().find(|thread| thread.name == "pg_llm ticker").expect("its name");
    for signal in [Signal::SEGV, Signal::BUS, Signal::ILL, Signal::FPE] {
        assert!(!watcher.blocks(signal), "{signal:?} is blocked in {watcher:?}");
    }
    assert_eq!(backend.threads()[0].blocked_signals, main, "the main thread's own mask is as it was");

    let call = Running::start(client, "SELECT pg_llm_chat('hanging', 'x')");
    assert!(hanging.wait_for_requests(1, DEADLINE));
    blocks_all(&backend.other_threads());
    call.cancel();
    let mut outcome = call.finish(DEADLINE);
    assert_eq!(db_error(outcome.result).code().code(), "57014");
    blocks_all(&backend.other_threads());
    assert_eq!(backend.threads()[0].blocked_signals, main);
    // Threads for look-ups come and go; looked at as often as can be.
    let looks = std::thread::spawn(move || {
        for _ in 0..2000 {
            blocks_all(&backend.other_threads());
        }
    });
    tls.on("/chat/completions").reply(openai::completion("well").header("connection", "close").ending(Ending::Close));
    assert_eq!(value::<i64>(&mut outcome.client, "SELECT count(pg_llm_chat('tls', 'x')) FROM generate_series(1, 100)"), 100);
    looks.join().unwrap();
}

fn descriptors(pid: u32) -> Vec<String> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    let mut kinds: Vec<String> =
        links.map(|link| link.display().to_string().split(['[', '-']).next().unwrap_or_default().to_owned()).collect();
    kinds.sort();
    kinds
}

#[test]
fn preloaded_the_library_starts_nothing_in_the_postmaster_and_opens_what_wakes_waiters_alone() {
    let preloaded = Cluster::start(&Settings::for_models().line("shared_preload_libraries = 'pg_llm'"));
    let database = preloaded.database();
    let (upstream, mut client) = (upstream(openai::completion("well")), database.superuser());
    add_model(&mut client, "m", &upstream.url());
    assert_eq!(value::<String>(&mut client, "SELECT pg_llm_chat('m', 'x')"), "well");
    let postmaster = preloaded.postmaster_pid().unwrap();
    let threads = fs::read_dir(format!("/proc/{postmaster}/task")).unwrap().count();
    assert_eq!(threads, 1);
    assert_eq!(Backend::of(&mut database.superuser()).threads().len(), 1, "nor in a backend that has not called");

    let bare = Cluster::start(&Settings::bare());
    let kinds = |cluster: &Cluster| {
        let folder = cluster.folder().display().to_string();
        descriptors(cluster.postmaster_pid().unwrap()).into_iter().map(|link| link.replace(&folder, "")).collect::<Vec<_>>()
    };
    let wanted = |kinds: Vec<String>| {
        kinds.into_iter().filter(|kind| !kind.starts_with("/tmp") && !kind.starts_with("/var/tmp")).collect::<Vec<_>>()
    };
    let anonymous = |kinds: &[String]| kinds.iter().filter(|kind| kind.starts_with("anon_inode")).count();
    let (preloaded_has, bare_has) = (wanted(kinds(&preloaded)), wanted(kinds(&bare)));
    assert_eq!(anonymous(&preloaded_has), anonymous(&bare_has) + 65, "an eventfd for each that may wait, and one that wakes the launcher");
    assert_eq!(preloaded_has.len(), bare_has.len() + 65, "{preloaded_has:?}");

    // A reload and a crash of another backend do not change that.
    preloaded.set("pg_llm.timeout_ms = 12345");
    assert!(eventually(DEADLINE, || value::<String>(&mut database.superuser(), "SHOW pg_llm.timeout_ms") == "12345ms"));
    preloaded.restart();
    assert_eq!(value::<String>(&mut database.superuser(), "SELECT pg_llm_chat('m', 'x')"), "well");
}

#[test]
fn the_library_can_be_loaded_by_load_and_by_session_preload_libraries() {
    let database = cluster().database();
    let mut client = database.superuser();
    client.batch_execute("LOAD 'pg_llm'; LOAD 'pg_llm'; SELECT pg_llm_add_model('mock', 'm'); SELECT pg_llm_chat('m', 'x')").unwrap();
    client.batch_execute(&format!("ALTER DATABASE {} SET session_preload_libraries = 'pg_llm'", database.name())).unwrap();
    let role = database.create_role();
    client.batch_execute(&format!("SELECT pg_llm_grant_model('m', '{role}')")).unwrap();
    let mut other = database.connect_as(&role);
    assert_eq!(value::<String>(&mut other, "SHOW pg_llm.on_error"), "error");
    other.batch_execute("SELECT pg_llm_chat('m', 'x')").unwrap();
    assert_eq!(Backend::of(&mut database.connect_as(&role)).threads().len(), 1);
}

#[test]
fn rust_backtrace_in_the_servers_environment_puts_no_backtrace_into_errors() {
    let cluster = Cluster::start(&Settings::for_models().env("RUST_BACKTRACE", "full").env("RUST_LOG", "trace"));
    let database = cluster.database();
    let (upstream, mut client) = (upstream(Reply::echo_headers(401)), database.superuser());
    add_model(&mut client, "m", &upstream.url());
    for sql in [
        "SELECT pg_llm_chat('m', 'x')",
        "SELECT pg_llm_chat('none', 'x')",
        "SELECT pg_llm_chat('m', 'x', '{\"no\": 1}')",
        "SELECT pg_llm_chat(NULL, 'x')",
    ] {
        let error = db_error(client.query(sql, &[]));
        let words = format!("{error:?}");
        assert!(!words.contains("backtrace") && !words.contains(".rs:") && !words.contains("0x"), "{words}");
    }
    assert!(!cluster.log().contains("stack backtrace"));
}
