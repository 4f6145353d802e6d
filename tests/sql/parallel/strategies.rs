//! Which answer wins.

use pg_llm_tests::{DEADLINE, Running, db_error};
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::{Value, json};

use super::{Panel, each, sure};

#[test]
fn the_most_confident_answer_wins_and_that_is_what_nobody_says() {
    let mut panel = Panel::of([sure("Rome", 0.5), sure("Paris", 0.9), sure("Oslo", 0.7)]);
    for options in [json!({"logprobs": true}), json!({"logprobs": true, "strategy": "confidence"})] {
        let answer = panel.json(options);
        assert_eq!(
            (&answer["response"], &answer["instance_name"], &answer["winner"], &answer["strategy"]),
            (&json!("Paris"), &json!("m2"), &json!({"index": 2, "instance_name": "m2"}), &json!("confidence"))
        );
        assert!((answer["confidence_score"].as_f64().unwrap() - 0.9).abs() < 1e-9);
        assert_eq!(answer["confidence_method"], "logprobs");
        assert_eq!(each(&answer, "response"), ["Rome", "Paris", "Oslo"]);
        assert_eq!(each(&answer, "confidence_method"), ["logprobs", "logprobs", "logprobs"]);
    }
    for sql in [
        "SELECT pg_llm_parallel_chat('Which?', '{m1,m2,m3}', '{\"logprobs\": true}')",
        "SELECT pg_llm_parallel_chat(prompt => 'Which?', model_names => ARRAY['m3', 'm2'], options => '{\"logprobs\": true}')",
    ] {
        let said: String = panel.client.query_one(sql, &[]).unwrap().get(0);
        assert_eq!(said, "Paris", "{sql}");
    }
}

#[test]
fn a_confidence_is_never_invented_and_answers_without_one_come_last_in_the_order_of_the_list() {
    let mut panel = Panel::of([openai::completion("unsure"), sure("sure", 0.01), openai::completion("unsure too")]);
    let answer = panel.json(json!({"logprobs": true}));
    assert_eq!((&answer["response"], &answer["winner"]["index"]), (&json!("sure"), &json!(2)));
    assert_eq!(each(&answer, "confidence_score")[0], Value::Null);
    let names = ["m3", "m1"];
    let row = panel.client.query_one("SELECT pg_llm_parallel_chat_json('Which?', $1)", &[&names.as_slice()]).unwrap();
    let answer: Value = row.get(0);
    assert_eq!((&answer["response"], &answer["winner"]["instance_name"]), (&json!("unsure too"), &json!("m3")));
    assert_eq!((&answer["confidence_score"], &answer["confidence_method"]), (&Value::Null, &Value::Null));
}

#[test]
fn the_first_answer_wins_and_the_others_are_cancelled_and_their_connections_closed() {
    let mut panel = Panel::of([Reply::hang(), openai::completion("quick"), openai::completion("never").hang_after(10)]);
    // That the others have been asked before the answer comes.
    let (one, three) = (panel.upstreams[0].address(), panel.upstreams[2].address());
    let gate = pg_llm_upstream::Gate::new();
    panel.upstreams[1].on("/chat/completions").reply(openai::completion("quick").gated(&gate));
    let (sql, client) = (
        "SELECT pg_llm_parallel_chat_json('Which?', '{m1,m2,m3}', '{\"strategy\": \"first\"}')",
        std::mem::replace(&mut panel.client, panel.database.superuser()),
    );
    let call = Running::start(client, sql);
    for upstream in &panel.upstreams {
        assert!(upstream.wait_for_requests(1, DEADLINE), "{one} {three}");
    }
    gate.open();
    let mut outcome = call.finish(DEADLINE);
    let answer: Value = serde_json::from_str(outcome.column()[0].as_deref().unwrap()).unwrap();
    assert_eq!((&answer["response"], &answer["winner"]["index"]), (&json!("quick"), &json!(2)));
    assert_eq!(each(&answer, "status"), ["cancelled", "answered", "cancelled"]);
    assert_eq!((each(&answer, "error"), each(&answer, "response")), (vec![Value::Null; 3], vec![json!(null), json!("quick"), json!(null)]));
    for loser in [0, 2] {
        assert!(panel.upstreams[loser].wait_until_closed(DEADLINE), "m{} goes on", loser + 1);
    }
    let after: String = outcome.client.query_one("SELECT pg_llm_chat('m2', 'Which?')", &[]).unwrap().get(0);
    assert_eq!(after, "quick");
}

#[test]
fn an_error_is_never_the_first_answer() {
    let gate = pg_llm_upstream::Gate::new();
    let mut panel =
        Panel::of([openai::error(500, "server_error", "boom", "It broke."), openai::completion("slow").gated(&gate), Reply::reset()]);
    let client = std::mem::replace(&mut panel.client, panel.database.superuser());
    let call = Running::start(client, "SELECT pg_llm_parallel_chat('Which?', '{m1,m2,m3}', '{\"strategy\": \"first\"}')");
    // The others have failed for good.
    for upstream in &panel.upstreams {
        assert!(upstream.wait_for_requests(1, DEADLINE));
    }
    for failing in [0, 2] {
        assert!(panel.upstreams[failing].wait_for(|seen| seen.answering == 0, DEADLINE));
    }
    gate.open();
    assert_eq!(call.finish(DEADLINE).column(), [Some("slow".to_owned())]);
}

#[test]
fn all_waits_for_all_and_shows_them_in_the_order_of_the_list() {
    let mut panel = Panel::of([openai::error(400, "invalid", "no", "Not me."), openai::completion("Rome"), openai::completion("Paris")]);
    let answer = panel.json(json!({"strategy": "all"}));
    assert_eq!((&answer["response"], &answer["winner"]["index"]), (&json!("Rome"), &json!(2)));
    assert_eq!(each(&answer, "status"), ["failed", "answered", "answered"]);
    let text: String =
        panel.client.query_one("SELECT pg_llm_parallel_chat('Which?', '{m1,m2,m3}', '{\"strategy\": \"all\"}')", &[]).unwrap().get(0);
    assert_eq!(text, "m2: Rome\n\nm3: Paris");
}

#[test]
fn the_winners_object_has_all_that_a_chats_has_and_every_candidate_its_own() {
    let mut panel = Panel::saying(&["one two three", "four"]);
    let alone: Value = panel.client.query_one("SELECT pg_llm_chat_json('m1', 'Which?')", &[]).unwrap().get(0);
    let answer = panel.json(json!({}));
    for (key, value) in alone.as_object().unwrap() {
        let theirs = answer.get(key).unwrap_or_else(|| panic!("{key} is missing"));
        if !["request_id", "latency_ms"].contains(&key.as_str()) {
            assert_eq!(theirs, value, "{key}");
        }
    }
    for key in [
        "index",
        "instance_name",
        "model_name",
        "response",
        "error",
        "confidence_score",
        "confidence_method",
        "usage",
        "latency_ms",
        "attempts",
        "status",
        "finish_reason",
        "filters",
    ] {
        assert!(answer["candidates"].as_array().unwrap().iter().all(|candidate| candidate.get(key).is_some()), "{key}");
    }
    // Seven tokens of the prompt, and one a word.
    assert_eq!((&answer["usage"]["total_tokens"], &answer["usage_total"]["total_tokens"]), (&json!(10), &json!(18)));
    assert_eq!(each(&answer, "usage")[1]["output_tokens"], 1);
    assert!(answer["total_latency_ms"].as_f64().unwrap() >= answer["latency_ms"].as_f64().unwrap());
    assert_eq!(answer["judge"], Value::Null);
}

#[test]
fn the_options_reach_every_candidate_and_wrong_ones_nobody() {
    let mut panel = Panel::saying(&["a", "b"]);
    panel.json(json!({"temperature": 0.5, "system": "Be brief.", "strategy": "all"}));
    for upstream in &panel.upstreams {
        let sent = upstream.last_request().unwrap().json();
        assert_eq!((&sent["temperature"], &sent["messages"][0]["content"]), (&json!(0.5), &json!("Be brief.")));
        assert!(sent.get("strategy").is_none());
    }
    for (options, hint) in [
        (json!({"strategy": "best"}), None),
        (json!({"strategy": "judge"}), Some("judge_instance")),
        (json!({"strategy": "fist"}), Some("\"first\"")),
        (json!({"judge_instance": "m1"}), Some("\"strategy\": \"judge\"")),
        (json!({"stratgy": "first"}), Some("\"strategy\"")),
        (json!({"timeout_ms": 0}), None),
        (json!([]), None),
    ] {
        let error = db_error(panel.try_json(&options));
        assert_eq!(error.code().code(), "22023", "{options}: {error:?}");
        assert!(hint.is_none_or(|hint| error.hint().is_some_and(|h| h.contains(hint))), "{options}: {error:?}");
    }
    let error = db_error(panel.client.query("SELECT pg_llm_chat('m1', 'x', '{\"strategy\": \"first\"}')", &[]));
    assert_eq!(error.code().code(), "22023");
    assert!(error.hint().is_some_and(|hint| hint.contains("pg_llm_parallel_chat")), "{error:?}");
    assert_eq!(panel.requests(), [1, 1]);
}

#[test]
fn all_candidates_are_in_flight_at_the_same_time() {
    let (upstream, gate) = (Upstream::start(), pg_llm_upstream::Gate::new());
    upstream.on("/chat/completions").reply(openai::completion("at last").gated(&gate));
    let mut panel = Panel::of([]);
    panel.add("m", &upstream.url(), json!({}));
    let client = std::mem::replace(&mut panel.client, panel.database.superuser());
    let call =
        Running::start(client, "SELECT pg_llm_parallel_chat_json('Which?', array_fill('m'::text, ARRAY[64]), '{\"strategy\": \"vote\"}')");
    assert!(upstream.wait_for(|seen| seen.answering == 64, DEADLINE), "{} of 64", upstream.max_concurrent());
    gate.open();
    let answer: Value = serde_json::from_str(call.finish(DEADLINE).column()[0].as_deref().unwrap()).unwrap();
    assert_eq!((answer["candidates"].as_array().unwrap().len(), &answer["confidence_score"]), (64, &json!(1.0)));
}
