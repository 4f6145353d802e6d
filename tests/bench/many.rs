//! Many calls at the same time, beside raw clients on as many threads.

use std::time::{Duration, Instant};

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Backend, Database};
use pg_llm_upstream::{Upstream, openai};

use crate::figures::{line, median, time_line};
use crate::raw::Raw;

const RUNS: usize = 9;

/// Rows and models that take 100 and 200 ms each.
pub(crate) fn at_the_same_time(database: &Database<'_>) {
    let upstream = Upstream::builder().unrecorded().start();
    upstream.otherwise(|_| openai::completion("Hello there.").delay_headers(Duration::from_millis(100)));
    let slower = Upstream::builder().unrecorded().start();
    slower.otherwise(|_| openai::completion("Hello there.").delay_headers(Duration::from_millis(200)));
    let mut client = database.superuser();
    crate::add_model(&mut client, "slow", &upstream);
    for model in 1..=8 {
        crate::add_model(&mut client, &format!("slower{model}"), &slower);
    }

    let raw = median((0..RUNS).map(|_| threads(&upstream, 64, 1)).collect());
    let rows = "FROM generate_series(1, 64) i";
    for (what, sql) in [
        (
            "64 rows of 100 ms, pg_llm_chat_batch",
            format!("SELECT * FROM pg_llm_chat_batch('slow', (SELECT array_agg('row ' || i) {rows}), '{{\"max_concurrency\": 64}}')"),
        ),
        (
            "64 rows of 100 ms, pg_llm_map",
            format!("SELECT * FROM pg_llm_map('slow', $$SELECT i, 'row ' || i {rows}$$, '{{\"max_concurrency\": 64}}')"),
        ),
    ] {
        upstream.forget();
        time_line(what, median((0..RUNS).map(|_| timed(&mut client, &sql, 64)).collect()), Some(raw), Some(120.0));
        line("  most requests at one time, as the upstream saw them", &upstream.max_concurrent().to_string(), "64", "64", None);
    }

    let sql = "SELECT * FROM pg_llm_map('slow', $$SELECT i, 'row ' || i FROM generate_series(1, 1000) i$$, '{\"max_concurrency\": 64}')";
    let raw = median((0..3).map(|_| threads(&upstream, 64, 16)).collect());
    time_line(
        "1,000 rows of 100 ms at concurrency 64 (raw: 1,024)",
        median((0..3).map(|_| timed(&mut client, sql, 1000)).collect()),
        Some(raw),
        None,
    );

    let raw = median((0..RUNS).map(|_| threads(&slower, 8, 1)).collect());
    let sql = "SELECT pg_llm_parallel_chat('hi', (SELECT array_agg('slower' || i) FROM generate_series(1, 8) i))";
    time_line(
        "8 models of 200 ms, pg_llm_parallel_chat",
        median((0..RUNS).map(|_| timed(&mut client, sql, 1)).collect()),
        Some(raw),
        Some(210.0),
    );
    line("  most requests at one time, as the upstream saw them", &slower.max_concurrent().to_string(), "8", "8", None);
}

/// New sessions whose first call is a parallel one, and a session that has made very many calls on its threads.
pub(crate) fn endurance(database: &Database<'_>) {
    const SESSIONS: usize = 2000;
    let upstream = Upstream::builder().unrecorded().start();
    upstream.otherwise(|_| openai::completion("Hello there."));
    let mut client = database.superuser();
    for model in 1..=4 {
        crate::add_model(&mut client, &format!("quick{model}"), &upstream);
    }
    let sql = "SELECT pg_llm_parallel_chat('hi', (SELECT array_agg('quick' || i) FROM generate_series(1, 4) i))";
    let sessions: Vec<Duration> = (0..SESSIONS).map(|_| timed(&mut database.superuser(), sql, 1)).collect();
    time_line(&format!("first statement of {SESSIONS} sessions: 4 models, parallel chat"), median(sessions), None, None);

    let mut after = |rows: usize| {
        let sql = format!(
            "SELECT count(response) FROM pg_llm_map('quick1', 'SELECT i, ''row '' || i FROM generate_series(1, {rows}) i', '{{\"max_concurrency\": 16}}')"
        );
        let started = Instant::now();
        let answered: i64 = client.query_one(&sql, &[]).expect("calls succeed").get(0);
        assert_eq!(usize::try_from(answered), Ok(rows), "a row for each");
        (Backend::of(&mut client).rss_anon_kb(), started.elapsed())
    };
    // Each thread's part of the heap takes a while to find its size.
    let (warm, _) = after(50_000);
    let (end, took) = after(50_000);
    line("RssAnon after 50,000 / 100,000 rows of pg_llm_map", &format!("{warm} kB"), &format!("{end} kB"), "flat", Some(end < warm + 1024));
    #[allow(clippy::cast_precision_loss)]
    line("  rows per second, upstream of 0 ms, concurrency 16", &format!("{:.0}", 50_000.0 / took.as_secs_f64()), "", "", None);
}

fn timed(client: &mut Client, sql: &str, rows: usize) -> Duration {
    let started = Instant::now();
    let came = client.query(sql, &[]).expect("calls succeed").len();
    let took = started.elapsed();
    assert_eq!(came, rows, "a row for each");
    took
}

/// `threads` raw clients, their connections and threads included, as the functions have them to make.
fn threads(upstream: &Upstream, threads: usize, each: usize) -> Duration {
    let address = upstream.address();
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(move || {
                let mut raw = Raw::connect(address);
                (0..each).for_each(|_| _ = raw.call());
            });
        }
    });
    started.elapsed()
}
