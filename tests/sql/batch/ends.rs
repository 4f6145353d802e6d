//! However a batch ends early, what was in flight is stopped, its connections are closed, and the session goes on.

use std::thread;

use super::{DEADLINE, Held, array, rows, simple};
use pg_llm_tests::{Cluster, Running, Settings, db_error};

const OPTIONS: &str = "'{\"max_concurrency\": 64}'";

/// 64 calls, of which those are answered that the test lets.
fn batch() -> String {
    let prompts: Vec<String> = (1..=64).map(|i| format!("p{i}")).collect();
    format!("SELECT coalesce(response, error::text) FROM pg_llm_chat_batch('m', {}, {OPTIONS})", array(&prompts))
}

#[test]
fn a_limit_ends_the_others_at_once() {
    let mut held = Held::hanging();
    held.answers("p1");
    assert_eq!(simple(&mut held.asked.client, &format!("{} LIMIT 1", batch())), ["to p1"]);
    held.is_over();
}

#[test]
fn closing_its_cursor_or_its_transaction_ends_it() {
    for end in ["CLOSE c; COMMIT", "COMMIT", "ROLLBACK", "CLOSE ALL; ROLLBACK"] {
        let mut held = Held::hanging();
        let p1 = held.gates.of("p1");
        let declare = format!("BEGIN; DECLARE c CURSOR FOR {}; FETCH c", batch());
        let (upstream, client) = (&held.asked.upstream, &mut held.asked.client);
        // Rows begin while the session waits for one: all that may, before the first is answered.
        thread::scope(|scope| {
            scope.spawn(|| {
                assert!(upstream.wait_for_requests(64, DEADLINE));
                p1.open();
            });
            assert_eq!(simple(client, &declare), ["to p1"]);
        });
        simple(&mut held.asked.client, end);
        held.is_over();
    }
}

#[test]
fn rolling_back_to_before_its_cursor_ends_it_and_to_after_does_not() {
    let mut held = Held::hanging();
    held.answers("p1");
    let declare = format!("DECLARE c CURSOR FOR {}", batch());
    assert_eq!(simple(&mut held.asked.client, &format!("BEGIN; SAVEPOINT s; {declare}; FETCH c")), ["to p1"]);
    simple(&mut held.asked.client, "ROLLBACK TO s; COMMIT");
    held.is_over();

    let mut held = Held::hanging();
    held.answers("p1");
    let p9 = held.gates.of("p9");
    assert_eq!(simple(&mut held.asked.client, &format!("BEGIN; {declare}; SAVEPOINT s; FETCH c")), ["to p1"]);
    assert!(held.asked.client.simple_query("SELECT 1 / 0").is_err());
    p9.open();
    assert_eq!(simple(&mut held.asked.client, "ROLLBACK TO s; FETCH c; COMMIT"), ["to p9"]);
    held.is_over();
}

#[test]
fn a_cancel_a_timeout_and_an_error_elsewhere_end_it() {
    let mut held = Held::hanging();
    for (before, sql) in [("", batch()), ("SET statement_timeout = '1s'", batch())] {
        held.asked.upstream.forget();
        let mut client = held.asked.database.superuser();
        client.batch_execute(before).unwrap();
        let requests = held.asked.upstream.observe(|observed| observed.requests_total);
        let running = Running::start(client, &sql);
        held.asked_for(requests + if before.is_empty() { 64 } else { 1 });
        if before.is_empty() {
            running.cancel();
        }
        let outcome = running.finish(DEADLINE);
        assert_eq!(db_error(outcome.result).code().code(), "57014");
        held.is_over();
    }
    held.answers("p1");
    let error = db_error(rows(&mut held.asked.client, &format!("SELECT 1 / length(left(b.said, 0)) FROM ({}) AS b(said)", batch())));
    assert_eq!(error.code().code(), "22012");
    held.is_over();
}

#[test]
fn the_end_of_its_backend_ends_it() {
    let mut held = Held::hanging();
    let running = Running::start(held.asked.database.superuser(), &batch());
    held.asked_for(64);
    let backend = running.backend();
    assert!(held.asked.database.cluster().terminate_backend(backend.0));
    assert!(running.finish(DEADLINE).result.is_err());
    assert!(pg_llm_tests::eventually(DEADLINE, || !backend.exists()));
    held.is_over();
}

#[test]
fn no_thread_of_it_shows_a_while_after_it_but_idle_ones_with_their_signals_blocked() {
    use rustix::process::Signal;
    let mut held = Held::hanging();
    held.answers("p1");
    let backend = pg_llm_tests::Backend::of(&mut held.asked.client);
    assert_eq!(simple(&mut held.asked.client, &format!("{} LIMIT 1", batch())), ["to p1"]);
    held.is_over();
    let calm = || backend.other_threads().len() <= 17;
    assert!(pg_llm_tests::eventually(DEADLINE, calm), "{:?}", backend.other_threads());
    for thread in backend.other_threads() {
        for signal in [Signal::INT, Signal::TERM, Signal::ALARM, Signal::USR1, Signal::HUP] {
            assert!(thread.blocks(signal), "{thread:?} {signal:?}");
        }
    }
}

#[test]
fn where_the_server_has_few_descriptors_a_smaller_batch_finds_room_and_a_larger_one_says_so() {
    let cluster = Cluster::start(&Settings::for_models().line("max_files_per_process = 64"));
    let database = cluster.database();
    let mut client = database.superuser();
    client.simple_query("SELECT pg_llm_add_model('mock', 'm')").unwrap();
    let batch = |most: usize| {
        format!("SELECT count(response) FROM pg_llm_chat_batch('m', array_fill('x'::text, '{{200}}'), '{{\"max_concurrency\": {most}}}')")
    };
    let error = db_error(client.query(&batch(200), &[]));
    assert_eq!(error.code().code(), "53000", "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("max_concurrency")), "{error:?}");
    for _ in 0..20 {
        assert_eq!(client.query_one(&batch(8), &[]).unwrap().get::<_, i64>(0), 200);
    }
}
