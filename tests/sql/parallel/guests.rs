//! Guests that misbehave on threads: the candidate fails, and nothing else does.

use pg_llm_tests::{DEADLINE, Running, db_error, eventually};
use pg_llm_upstream::openai;
use serde_json::{Value, json};

use super::Panel;
use crate::hostile::Victim;

/// Each ends in 38001.
const CRIMES: [&str; 12] = [
    "deep-recursion",
    "trap",
    "panic",
    "divide-by-zero",
    "out-of-bounds",
    "forged-string",
    "forged-list",
    "invalid-utf8",
    "aliased-list",
    "handle-flood",
    "memory-bomb",
    "infinite-loop",
];

#[test]
fn every_crime_at_the_same_time_fails_by_itself_beside_a_good_answer() {
    let mut victim = Victim::new(None);
    for crime in CRIMES {
        victim.hire(crime);
    }
    victim
        .client
        .batch_execute("SET pg_llm.guest_cpu_ms = 500; SELECT pg_llm_add_model('mock', 'good', config => '{\"mock_response\": \"well\"}')")
        .unwrap();
    let names: Vec<&str> = CRIMES.into_iter().chain(CRIMES).chain(["good"]).collect();
    for _ in 0..3 {
        let row = victim.client.query_one("SELECT pg_llm_parallel_chat_json('0', $1, '{\"strategy\": \"vote\"}')", &[&names]).unwrap();
        let answer: Value = row.get(0);
        assert_eq!((&answer["response"], &answer["winner"]), (&json!("well"), &json!({"index": 25, "instance_name": "good"})));
        for candidate in &answer["candidates"].as_array().unwrap()[..24] {
            assert_eq!((&candidate["status"], &candidate["error"]["sqlstate"]), (&json!("failed"), &json!("38001")), "{candidate}");
        }
    }
    assert_eq!(pg_llm_tests::Backend::of(&mut victim.client), victim.backend);
}

#[test]
fn a_cancel_ends_guests_that_compute_on_threads() {
    let mut victim = Victim::new(None);
    victim.hire("infinite-loop");
    let mut admin = victim.database.superuser();
    admin.batch_execute(&format!("ALTER DATABASE {} SET pg_llm.guest_cpu_ms = '10min'", victim.database.name())).unwrap();
    let call = Running::start(victim.database.superuser(), "SELECT pg_llm_parallel_chat('x', array_fill('infinite-loop'::text, ARRAY[8]))");
    let backend = call.backend();
    let calling = || backend.threads().iter().filter(|thread| thread.name == "pg_llm call").count();
    assert!(eventually(DEADLINE, || calling() == 8));
    call.cancel();
    let mut outcome = call.finish(DEADLINE);
    assert_eq!(db_error(outcome.result).code().code(), "57014");
    outcome.client.batch_execute("SELECT 1").unwrap();
    let computes = |thread: &pg_llm_tests::Thread| {
        let stat = std::fs::read_to_string(format!("/proc/{}/task/{}/stat", backend.0, thread.id)).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('R'))
    };
    assert!(eventually(DEADLINE, || !backend.other_threads().iter().any(computes)), "a guest goes on");
}

#[test]
fn what_the_guests_log_is_logged_under_the_name_of_its_model() {
    let mut victim = Victim::new(None);
    victim.hire("log-flood");
    victim.client.batch_execute("SELECT pg_llm_add_model('hostile', 'log flood 2', 'k', '{\"model_name\": \"log-flood\"}')").unwrap();
    victim.client.batch_execute("SET log_min_messages = debug1").unwrap();
    victim.client.batch_execute("SELECT pg_llm_parallel_chat('x', '{log-flood,log flood 2,log-flood}')").unwrap();
    victim.client.batch_execute("RESET log_min_messages").unwrap();
    let log = victim.database.cluster().log();
    let lines = |name: &str| log.lines().filter(|line| line.contains(&format!("provider of model \"{name}\""))).count();
    assert!(lines("log flood 2") > 0 && lines("log-flood") >= 2 * lines("log flood 2"), "{} {}", lines("log-flood"), lines("log flood 2"));
}

#[test]
fn texts_that_postgres_cannot_hold_are_replaced_in_every_candidate() {
    let mut victim = Victim::new(None);
    victim.hire("control-characters");
    let mut panel = Panel::of([openai::completion("nul \u{0} in it")]);
    let names = ["control-characters", "control-characters"];
    for strategy in ["confidence", "vote", "all", "first"] {
        let row = victim
            .client
            .query_one("SELECT pg_llm_parallel_chat_json('x', $1, $2)", &[&names.as_slice(), &json!({ "strategy": strategy })])
            .unwrap();
        let answer: Value = row.get(0);
        assert!(answer["response"].as_str().unwrap().starts_with("a\u{fffd}b"), "{strategy}: {answer}");
        victim
            .client
            .query_one("SELECT pg_llm_parallel_chat('x', $1, $2)", &[&names.as_slice(), &json!({ "strategy": strategy })])
            .unwrap();
    }
    assert_eq!(panel.json(json!({"strategy": "vote"}))["candidates"][0]["response"], "nul \u{fffd} in it");
}
