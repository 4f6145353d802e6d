//! The limits of a model hold among the candidates of one call.

use pg_llm_tests::{DEADLINE, Running, db_error};
use pg_llm_upstream::{Gate, Upstream, openai};
use serde_json::{Value, json};

use super::{Panel, each};

const EIGHT_TIMES: &str = "array_fill('m'::text, ARRAY[8])";

fn limited(gate: &Gate) -> (Panel, Upstream) {
    let (mut panel, upstream) = (Panel::of([]), Upstream::start());
    upstream.on("/chat/completions").reply(openai::completion("well").gated(gate));
    panel.add("m", &upstream.url(), json!({"max_concurrency": 2}));
    (panel, upstream)
}

#[test]
fn candidates_wait_for_their_models_turn_and_all_answer() {
    let gate = Gate::new();
    gate.open();
    let (mut panel, upstream) = limited(&gate);
    let row = panel.client.query_one(&format!("SELECT pg_llm_parallel_chat_json('x', {EIGHT_TIMES})"), &[]).unwrap();
    let answer: Value = row.get(0);
    assert_eq!(each(&answer, "response"), vec![json!("well"); 8]);
    assert_eq!((upstream.requests().len(), upstream.max_concurrent() <= 2), (8, true), "{} at once", upstream.max_concurrent());
}

#[test]
fn a_cancel_ends_candidates_that_wait_for_their_turn() {
    let (mut panel, upstream) = limited(&Gate::new());
    let client = std::mem::replace(&mut panel.client, panel.database.superuser());
    let call = Running::start(client, &format!("SELECT pg_llm_parallel_chat('x', {EIGHT_TIMES})"));
    assert!(upstream.wait_for_requests(2, DEADLINE));
    call.cancel();
    let mut outcome = call.finish(DEADLINE);
    assert_eq!(db_error(outcome.result).code().code(), "57014");
    assert!(upstream.wait_until_closed(DEADLINE));
    assert_eq!(upstream.requests().len(), 2);
    // And hold nothing that the next call would wait for.
    upstream.on("/chat/completions").reply(openai::completion("well"));
    let said: String = outcome.client.query_one(&format!("SELECT pg_llm_parallel_chat('x', {EIGHT_TIMES})"), &[]).unwrap().get(0);
    assert_eq!(said, "well");
}

#[test]
fn the_first_answer_ends_those_that_wait_for_their_turn() {
    let (first, others) = (Gate::new(), Gate::new());
    let (mut panel, upstream) = limited(&others);
    let well = |gate| openai::completion("well").gated(gate);
    upstream.on("/chat/completions").reply(well(&first)).reply(well(&others));
    let client = std::mem::replace(&mut panel.client, panel.database.superuser());
    let call = Running::start(client, &format!("SELECT pg_llm_parallel_chat_json('x', {EIGHT_TIMES}, '{{\"strategy\": \"first\"}}')"));
    assert!(upstream.wait_for_requests(2, DEADLINE));
    first.open();
    let outcome = call.finish(DEADLINE);
    let answer: Value = serde_json::from_str(outcome.column()[0].as_deref().unwrap()).unwrap();
    assert_eq!(answer["response"], "well");
    assert_eq!(each(&answer, "status").iter().filter(|status| *status == "cancelled").count(), 7);
}
