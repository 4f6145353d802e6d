//! The threads of a parallel chat: deaf to Postgres's signals, and gone with the statement but for a small pool.

use pg_llm_tests::{Backend, DEADLINE, Running, Thread, db_error, eventually};
use pg_llm_upstream::{Gate, Reply, openai};
use rustix::process::Signal;

use super::Panel;
use crate::endurance::SIGNALS;

const CALLS: &str = "pg_llm call";

fn calling(backend: Backend) -> Vec<Thread> {
    backend.other_threads().into_iter().filter(|thread| thread.name == CALLS).collect()
}

#[test]
fn every_thread_has_postgress_signals_blocked_while_calls_are_in_flight() {
    let gate = Gate::new();
    let mut panel = Panel::of([openai::completion("at last").gated(&gate)]);
    let mut client = std::mem::replace(&mut panel.client, panel.database.superuser());
    let backend = Backend::of(&mut client);
    let main = backend.threads()[0].blocked_signals;
    let call = Running::start(client, "SELECT pg_llm_parallel_chat('x', array_fill('m1'::text, ARRAY[20]))");
    assert!(panel.upstreams[0].wait_for(|seen| seen.answering == 20, DEADLINE));
    assert_eq!(calling(backend).len(), 20, "{:?}", backend.threads());
    for thread in backend.other_threads() {
        for signal in SIGNALS {
            assert!(thread.blocks(signal), "{signal:?} is open in {thread:?}");
        }
        for fault in [Signal::SEGV, Signal::BUS, Signal::ILL, Signal::FPE] {
            assert!(!thread.blocks(fault), "{fault:?} is blocked in {thread:?}");
        }
    }
    gate.open();
    let mut outcome = call.finish(DEADLINE);
    assert_eq!(outcome.column(), [Some("at last".to_owned())]);
    assert_eq!(Backend::of(&mut outcome.client), backend);
    assert_eq!(backend.threads()[0].blocked_signals, main, "the main thread's own mask is as it was");
    assert!(eventually(DEADLINE, || calling(backend).is_empty()), "a large pool ends with its statement: {:?}", backend.threads());
}

#[test]
fn a_small_pool_is_kept_and_does_not_grow() {
    let mut panel = Panel::saying(&["one", "two", "three"]);
    let backend = Backend::of(&mut panel.client);
    for _ in 0..20 {
        panel
            .client
            .batch_execute(
                "SELECT pg_llm_parallel_chat('x', '{m1,m2,m3}'), pg_llm_parallel_chat('x', '{m1,m2}', '{\"strategy\": \"first\"}')",
            )
            .unwrap();
    }
    assert!(eventually(DEADLINE, || calling(backend).len() <= 3), "{:?}", backend.threads());
}

#[test]
fn a_cancelled_call_leaves_no_thread_beyond_the_pool() {
    let mut panel = Panel::of((0..8).map(|_| Reply::hang()));
    let mut client = std::mem::replace(&mut panel.client, panel.database.superuser());
    let backend = Backend::of(&mut client);
    for round in 1..=3 {
        let call = Running::start(client, "SELECT pg_llm_parallel_chat('x')");
        for upstream in &panel.upstreams {
            assert!(upstream.wait_for_requests(round, DEADLINE));
        }
        call.cancel();
        let outcome = call.finish(DEADLINE);
        assert_eq!(db_error(outcome.result).code().code(), "57014");
        for upstream in &panel.upstreams {
            assert!(upstream.wait_until_closed(DEADLINE));
        }
        assert!(eventually(DEADLINE, || calling(backend).len() <= 8), "{:?}", backend.threads());
        client = outcome.client;
    }
}
