//! Who said what: by the place in the list, whoever comes first.

use pg_llm_tests::{DEADLINE, Running};
use pg_llm_upstream::{Gate, Upstream, openai};
use serde_json::{Value, json};

use super::{Panel, each};

#[test]
fn every_answer_is_its_own_models_in_whatever_order_they_come() {
    let texts = ["one", "two", "three", "four"];
    for order in [[3, 2, 1, 0], [1, 3, 0, 2], [0, 1, 2, 3]] {
        let gates: Vec<Gate> = texts.iter().map(|_| Gate::new()).collect();
        let mut panel = Panel::of(texts.iter().zip(&gates).map(|(text, gate)| openai::completion(text).gated(gate)));
        let client = std::mem::replace(&mut panel.client, panel.database.superuser());
        let call = Running::start(client, "SELECT pg_llm_parallel_chat_json('Which?', '{m1,m2,m3,m4}', '{\"strategy\": \"all\"}')");
        for upstream in &panel.upstreams {
            assert!(upstream.wait_for_requests(1, DEADLINE));
        }
        for next in order {
            gates[next].open();
            assert!(panel.upstreams[next].wait_for(|seen| seen.answering == 0, DEADLINE));
        }
        let answer: Value = serde_json::from_str(call.finish(DEADLINE).column()[0].as_deref().unwrap()).unwrap();
        assert_eq!(each(&answer, "response"), texts, "{order:?}");
        assert_eq!(each(&answer, "instance_name"), ["m1", "m2", "m3", "m4"], "{order:?}");
        assert_eq!(each(&answer, "index"), [1, 2, 3, 4], "{order:?}");
        assert_eq!(answer["response"], "one", "{order:?}");
    }
}

#[test]
fn a_model_that_stands_twice_is_two_candidates() {
    let mut panel = Panel::of([]);
    let upstream = Upstream::start();
    let failing = openai::error(400, "invalid", "no", "Not twice.");
    upstream.on("/chat/completions").reply(openai::completion("well")).reply(failing);
    panel.add("m", &upstream.url(), json!({}));
    let row = panel.client.query_one("SELECT pg_llm_parallel_chat_json('Which?', '{m,m}')", &[]).unwrap();
    let answer: Value = row.get(0);
    let mut statuses = each(&answer, "status");
    let winner = usize::try_from(answer["winner"]["index"].as_u64().unwrap()).unwrap() - 1;
    assert_eq!((statuses[winner].clone(), each(&answer, "response")[winner].clone()), (json!("answered"), json!("well")));
    statuses.sort_by_key(ToString::to_string);
    assert_eq!(statuses, ["answered", "failed"]);
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn the_order_of_the_list_is_the_callers() {
    let mut panel = Panel::saying(&["one", "two", "three"]);
    for (names, expected) in [("{m3,m1,m2}", ["three", "one", "two"]), ("{m2,m3,m1}", ["two", "three", "one"])] {
        let row = panel.client.query_one(&format!("SELECT pg_llm_parallel_chat_json('Which?', '{names}')"), &[]).unwrap();
        let answer: Value = row.get(0);
        assert_eq!((each(&answer, "response"), &answer["response"]), (expected.map(Value::from).to_vec(), &json!(expected[0])));
    }
}
