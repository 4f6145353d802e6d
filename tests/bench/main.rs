//! `make bench`: the budgets of the design that exist so far, measured side by side with a raw keep-alive client on the same loopback upstream.
//!
//! Medians only; a figure over its budget says OVER, and nothing fails: speed is read, not asserted.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "a program that measures and prints; what cannot go on has to stop loudly")]

mod figures;
mod many;
mod questions;
mod raw;
mod stream;

use std::thread;
use std::time::{Duration, Instant};

use figures::{line, median, ms, time_line};
use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Backend, Cluster, DEADLINE, Database, Running, Settings};
use pg_llm_upstream::{Reply, Upstream, openai};
use raw::Raw;

const WARM_CALLS: usize = 3000;
const FRESH_BACKENDS: usize = 60;
const CANCELS: usize = 15;
const CLIENTS: usize = 32;

fn main() {
    let upstream = Upstream::builder().unrecorded().start();
    upstream.otherwise(|_| openai::completion("Hello there."));
    let cluster = Cluster::start(&Settings::for_models());
    let database = cluster.database();
    let mut client = database.superuser();
    add_model(&mut client, "m", &upstream);

    println!("{:<62} {:>14} {:>16} {:>12}", "what (medians)", "pg_llm", "raw client", "budget");
    warm(&mut client, &upstream);
    first(&database);
    memory(&database);
    many::at_the_same_time(&database);
    stream::first_row(&database);
    cancellation(&database);
    throughput(&database, &upstream);
    questions::beside_the_model(&database);
    many::endurance(&database);
    cluster.assert_no_crash();
    ledger();
}

/// What the ledger adds to a call without HTTP, in a server that keeps one: the same calls with it and without, in turns.
fn ledger() {
    let cluster = Cluster::start(&Settings::for_models().line("shared_preload_libraries = 'pg_llm'"));
    let database = cluster.database();
    let mut client = database.superuser();
    client.execute("SELECT pg_llm_add_model('mock', 'offline')", &[]).expect("a model can be added");
    let chat = client.prepare("SELECT pg_llm_chat('offline', 'hi')").expect("a statement");
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..10 {
        let kept = round % 2 == 1;
        client.batch_execute(if kept { "SET pg_llm.audit_enabled = on" } else { "SET pg_llm.audit_enabled = off" }).expect("a setting");
        for _ in 0..WARM_CALLS {
            let started = Instant::now();
            client.query_one(&chat, &[]).expect("a row");
            if kept { &mut with } else { &mut without }.push(started.elapsed());
        }
    }
    time_line("ledger per call", median(with).saturating_sub(median(without)), None, None);
    let state = client.query_one("SELECT dropped FROM pg_llm_ledger_state()", &[]).expect("a row");
    line("  entries that were dropped", &state.get::<_, i64>(0).to_string(), "", "0", Some(state.get::<_, i64>(0) == 0));
}

fn add_model(client: &mut Client, name: &str, upstream: &Upstream) {
    client
        .execute(
            "SELECT pg_llm_add_model('openai-compatible', $1, 'sk-bench-key', jsonb_build_object('api_endpoint', $2::text, 'model_name', 'gpt'))",
            &[&name, &format!("{}/v1", upstream.url())],
        )
        .expect("a model can be added");
}

/// A call of 0 ms, as a loop inside one statement sees it, and as a client does.
fn warm(client: &mut Client, upstream: &Upstream) {
    let mut raw = Raw::connect(upstream.address());
    let raw_time = |raw: &mut Raw| median((0..WARM_CALLS).map(|_| raw.call()).collect());
    raw_time(&mut raw);
    let raw_median = raw_time(&mut raw);

    client
        .batch_execute(
            "CREATE FUNCTION pg_temp.warm(calls int) RETURNS float8 LANGUAGE plpgsql AS $$
             DECLARE times float8[] := '{}'; t timestamptz; answer text;
             BEGIN
               FOR i IN 1..calls LOOP
                 t := clock_timestamp();
                 answer := pg_llm_chat('m', 'hi');
                 times := times || extract(epoch FROM clock_timestamp() - t)::float8;
               END LOOP;
               RETURN (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY x) FROM unnest(times) x);
             END $$",
        )
        .expect("a function can be made");
    let run = |client: &mut Client| -> f64 {
        let calls = i32::try_from(WARM_CALLS).unwrap_or(1000);
        client.query_one("SELECT pg_temp.warm($1)", &[&calls]).expect("calls succeed").get(0)
    };
    run(client);
    let inside = Duration::from_secs_f64(run(client));
    time_line("a warm call inside one statement, upstream of 0 ms", inside, Some(raw_median), Some(0.13));

    let select_1 = client.prepare("SELECT 1").expect("a statement");
    let chat = client.prepare("SELECT pg_llm_chat('m', 'hi')").expect("a statement");
    let mut timed = |statement| {
        let times = (0..WARM_CALLS)
            .map(|_| {
                let started = Instant::now();
                client.query_one(statement, &[]).expect("a row");
                started.elapsed()
            })
            .collect();
        median(times)
    };
    let (nothing, call) = (timed(&select_1), timed(&chat));
    time_line("the same seen by a client, less its SELECT 1", call.saturating_sub(nothing), Some(raw_median), Some(0.15));

    let mock = "SELECT pg_llm_add_model('mock', 'offline')";
    client.execute(mock, &[]).expect("a model can be added");
    let offline = client.prepare("SELECT pg_llm_chat('offline', 'hi')").expect("a statement");
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..WARM_CALLS {
        let started = Instant::now();
        client.query_one(&offline, &[]).expect("a row");
        times.push(started.elapsed());
    }
    time_line("  of it without HTTP (mock), less SELECT 1", median(times).saturating_sub(nothing), None, None);
}

/// The first call in a backend, where code and connection are to be had anew.
fn first(database: &Database<'_>) {
    let mut times = Vec::new();
    for _ in 0..FRESH_BACKENDS {
        let mut client = database.superuser();
        let mut timed = |sql: &str| {
            let started = Instant::now();
            client.simple_query(sql).expect("a row");
            started.elapsed()
        };
        let nothing = timed("SELECT 1");
        times.push(timed("SELECT pg_llm_chat('m', 'hi')").saturating_sub(nothing));
    }
    time_line("first call in a fresh backend, less the first SELECT 1", median(times), None, Some(4.0));
}

fn memory(database: &Database<'_>) {
    let mut bare = database.superuser();
    bare.simple_query("SELECT count(*) FROM pg_class").expect("a row");
    let bare = Backend::of(&mut bare).rss_anon_kb();
    let mut client = database.superuser();
    let mut after = |calls: usize| {
        client.simple_query(&format!("SELECT count(pg_llm_chat('m', 'hi')) FROM generate_series(1, {calls})")).expect("calls succeed");
        Backend::of(&mut client).rss_anon_kb()
    };
    let (at_2000, at_6000) = (after(2000), after(4000));
    #[allow(clippy::cast_precision_loss)]
    let above = |kb: u64| kb.saturating_sub(bare) as f64 / 1024.0;
    line("RssAnon above a bare backend after 2,000 calls", &format!("{:.2} MB", above(at_2000)), "", "3 MB", Some(above(at_2000) <= 3.0));
    line("  the same after 6,000", &format!("{:.2} MB", above(at_6000)), "", "flat", None);
}

/// From the signal to the end of the statement, and to the closed upstream connection.
fn cancellation(database: &Database<'_>) {
    let whole = "SELECT pg_llm_chat('hanging', 'hi')";
    let places: [(&str, &str, Reply); 3] = [
        ("waiting for the first byte", whole, Reply::hang()),
        ("mid-body", whole, openai::completion("never whole").hang_after(20)),
        ("mid-stream", "SELECT * FROM pg_llm_chat_stream('hanging', 'hi')", stream::begun()),
    ];
    for (place, call, reply) in places {
        for (way, sql) in [("pg_cancel_backend", "pg_cancel_backend"), ("pg_terminate_backend", "pg_terminate_backend")] {
            let (mut ended, mut closed) = (Vec::new(), Vec::new());
            for _ in 0..CANCELS {
                let upstream = Upstream::builder().start();
                let reply = reply.clone();
                upstream.otherwise(move |_| reply.clone());
                let mut client = database.superuser();
                add_model(&mut client, "hanging", &upstream);
                let call = Running::start(client, call);
                assert!(upstream.wait_for_requests(1, DEADLINE), "the call arrives");
                thread::sleep(Duration::from_millis(5));
                let mut killer = database.superuser();
                let pid = call.pid();
                let started = Instant::now();
                killer.simple_query(&format!("SELECT {sql}({pid})")).expect("a row");
                drop(call.finish(DEADLINE));
                ended.push(started.elapsed());
                assert!(upstream.wait_until_closed(DEADLINE), "the connection is closed");
                closed.push(started.elapsed());
            }
            time_line(&format!("{way}, {place}: end of the statement"), median(ended), None, Some(10.0));
            time_line("  upstream connection closed", median(closed), None, Some(10.0));
        }
    }
    statement_timeout(database);
}

fn statement_timeout(database: &Database<'_>) {
    let upstream = Upstream::builder().start();
    upstream.otherwise(|_| Reply::hang());
    let mut client = database.superuser();
    add_model(&mut client, "hanging", &upstream);
    client.simple_query("SET statement_timeout = 50").expect("a setting");
    let over = (0..CANCELS)
        .map(|_| {
            let started = Instant::now();
            client.simple_query("SELECT pg_llm_chat('hanging', 'hi')").expect_err("it is cancelled");
            started.elapsed().saturating_sub(Duration::from_millis(50))
        })
        .collect();
    time_line("statement_timeout: end of the statement after it", median(over), None, Some(10.0));
}

/// Calls per second of many clients at once.
fn throughput(database: &Database<'_>, upstream: &Upstream) {
    const EACH: usize = 300;
    let per_second = |took: Duration| {
        #[allow(clippy::cast_precision_loss)]
        let calls = (CLIENTS * EACH) as f64;
        calls / took.as_secs_f64()
    };
    let address = upstream.address();
    let raw = per_second(at_once(|| Raw::connect(address), |raw| _ = raw.call(), EACH));
    let ours = per_second(at_once(
        || {
            let mut client = database.superuser();
            client.simple_query("SELECT pg_llm_chat('m', 'hi')").expect("a row");
            let statement = client.prepare("SELECT pg_llm_chat('m', 'hi')").expect("a statement");
            (client, statement)
        },
        |(client, statement)| _ = client.query_one(&*statement, &[]).expect("a row"),
        EACH,
    ));
    line("32 clients, upstream of 0 ms: calls per second", &format!("{ours:.0}"), &format!("{raw:.0}"), "", None);
    println!("(ms in all rows: lower is better; one call of the raw client took {:.3} ms in the same run.)", {
        let mut raw = Raw::connect(address);
        ms(median((0..WARM_CALLS).map(|_| raw.call()).collect()))
    });
}

fn at_once<C: Send>(open: impl Fn() -> C + Sync, call: impl Fn(&mut C) + Sync, each: usize) -> Duration {
    let ready = std::sync::Barrier::new(CLIENTS + 1);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = open();
                    ready.wait();
                    (0..each).for_each(|_| call(&mut client));
                })
            })
            .collect();
        ready.wait();
        let started = Instant::now();
        for thread in threads {
            thread.join().expect("a client of the bench ends well");
        }
        started.elapsed()
    })
}
