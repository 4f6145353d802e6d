//! Candidates that are answered for by the models that they fall back to.

use pg_llm_tests::{DEADLINE, Running, db_error};
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::{Value, json};

use super::{Panel, each, sure};

/// A panel that answers so, and a model `b` beside it.
fn panel_and_b(replies: impl IntoIterator<Item = Reply>, b: Reply) -> (Panel, Upstream) {
    let mut panel = Panel::of(replies);
    let upstream = Upstream::start();
    upstream.on("/chat/completions").reply(b);
    panel.add("b", &upstream.url(), json!({}));
    (panel, upstream)
}

/// A failure that another model may do without.
fn failing() -> Reply {
    openai::error(500, "some_error", "some_code", "Out of order.")
}

/// The whole answer's: whose it is, and whether it is below the threshold.
fn judged(answer: &Value) -> (&Value, &Value) {
    (&answer["response"], &answer["below_threshold"])
}

#[test]
fn a_candidate_that_fails_is_answered_for_by_its_models_fallback() {
    let (mut panel, b) = panel_and_b([failing(), openai::completion("two")], openai::completion("From b."));
    let url = panel.upstreams[0].url();
    panel.add("m1", &url, json!({"fallback_instance": "b"}));
    for strategy in ["all", "confidence", "vote"] {
        let answer = panel.json(json!({ "strategy": strategy }));
        assert_eq!(each(&answer, "status"), ["answered", "answered"], "{strategy}");
        assert_eq!(each(&answer, "instance_name"), ["m1", "m2"], "{strategy}");
        assert_eq!(each(&answer, "answered_by"), ["b", "m2"], "{strategy}");
        assert_eq!(each(&answer, "response"), ["From b.", "two"], "{strategy}");
        assert_eq!(each(&answer, "fallback_used"), [json!(true), json!(false)], "{strategy}");
        assert_eq!(each(&answer, "attempts"), [2, 1], "{strategy}");
        let from = each(&answer, "fallback_from");
        assert_eq!(
            (&from[0][0]["instance_name"], &from[0][0]["error"]["kind"], &from[1]),
            (&json!("m1"), &json!("provider"), &Value::Null)
        );
        assert_eq!(answer["winner"], json!({"index": 1, "instance_name": "m1"}), "{strategy}");
        assert_eq!((&answer["instance_name"], &answer["fallback_used"]), (&json!("b"), &json!(true)), "{strategy}");
    }
    assert_eq!(b.requests().len(), 3);
}

#[test]
fn the_options_fallback_is_every_candidates_and_false_is_none() {
    let (mut panel, b) = panel_and_b([failing(), failing()], openai::completion("From b."));
    let url = panel.upstreams[0].url();
    panel.add("m1", &url, json!({"fallback_instance": "nobody"}));
    let answer = panel.json(json!({"fallback_instance": "b"}));
    assert_eq!((each(&answer, "answered_by"), b.requests().len()), (vec![json!("b"), json!("b")], 2));
    panel.client.batch_execute("SET pg_llm.default_local_fallback = 'b'").unwrap();
    let answer = panel.json(json!({}));
    assert_eq!(each(&answer, "answered_by"), ["b", "b"], "the setting's, where the model's is not there or it names none");
    let passed = each(&answer, "fallback_from").iter().map(|from| from.as_array().map(Vec::len)).collect::<Vec<_>>();
    assert_eq!(passed, [Some(2), Some(1)]);
    let none = panel.json(json!({"fallback_instance": false, "on_error": "object"}));
    assert_eq!((each(&none, "status"), b.requests().len()), (vec![json!("failed"), json!("failed")], 4));
    // One that is its own fallback has none.
    let sql = "SELECT pg_llm_parallel_chat_json('Which?', '{b,m2}', '{\"fallback_instance\": \"b\"}')";
    let answer: Value = panel.client.query_one(sql, &[]).unwrap().get(0);
    assert_eq!(each(&answer, "fallback_used"), [json!(false), json!(true)]);
}

#[test]
fn a_candidate_below_its_threshold_is_answered_for_by_its_fallback_and_no_other_is() {
    let (mut panel, b) = panel_and_b([sure("Rome", 0.3), sure("Oslo", 0.5)], sure("Paris", 0.9));
    let answer = panel.json(json!({"logprobs": true, "confidence_threshold": 0.4, "fallback_instance": "b"}));
    assert_eq!(each(&answer, "response"), ["Paris", "Oslo"]);
    assert_eq!((judged(&answer), &answer["winner"]["index"]), ((&json!("Paris"), &json!(false)), &json!(1)));
    assert!(each(&answer, "fallback_from")[0][0]["confidence_score"].as_f64().is_some_and(|c| (c - 0.3).abs() < 1e-9), "{answer}");
    assert_eq!((panel.requests(), b.requests().len()), (vec![1, 1], 1));
    // A model's own threshold is that model's alone.
    let url = panel.upstreams[1].url();
    panel.add("m2", &url, json!({"confidence_threshold": 0.6, "fallback_instance": "b"}));
    let answer = panel.json(json!({"logprobs": true}));
    assert_eq!(
        (each(&answer, "response"), each(&answer, "answered_by")),
        (vec![json!("Rome"), json!("Paris")], vec![json!("m1"), json!("b")])
    );
}

#[test]
fn below_threshold_is_of_the_winner_and_null_where_there_is_no_threshold_or_no_confidence() {
    let mut panel = Panel::of([sure("Rome", 0.3), sure("Oslo", 0.5)]);
    for (threshold, below) in [(json!(0.7), json!(true)), (json!(0.4), json!(false)), (json!(0), Value::Null), (Value::Null, Value::Null)] {
        let answer = panel.json(json!({"logprobs": true, "confidence_threshold": threshold}));
        assert_eq!(judged(&answer), (&json!("Oslo"), &below), "{threshold}");
    }
    assert_eq!(panel.requests(), [4, 4], "without a fallback nobody else is asked");
    panel.client.batch_execute("SET pg_llm.default_confidence_threshold = 0.6").unwrap();
    assert_eq!(panel.json(json!({}))["below_threshold"], json!(true));
    let url = panel.upstreams[1].url();
    panel.add("m2", &url, json!({"confidence_threshold": 0.5}));
    assert_eq!(panel.json(json!({}))["below_threshold"], json!(false), "the winner's own");
    for upstream in &panel.upstreams {
        upstream.on("/chat/completions").reply(openai::completion("Rome"));
    }
    assert_eq!(panel.json(json!({"confidence_threshold": 1}))["below_threshold"], Value::Null, "unknown");
    for upstream in &panel.upstreams {
        upstream.on("/chat/completions").reply(failing());
    }
    let none = panel.json(json!({"confidence_threshold": 1, "on_error": "object"}));
    assert_eq!(judged(&none), (&Value::Null, &Value::Null), "nobody won");
}

#[test]
fn a_share_or_a_score_below_the_threshold_is_said_and_asks_nobody_else() {
    let (mut panel, b) = panel_and_b(["Rome", "Paris", "Oslo"].map(openai::completion), openai::completion("From b."));
    let judge = Upstream::start();
    judge.on("/chat/completions").reply(openai::completion(r#"{"best": 2, "scores": [0.1, 0.25, 0.1]}"#));
    panel.add("j", &judge.url(), json!({}));
    for (strategy, best) in [(json!({"strategy": "vote"}), "Rome"), (json!({"strategy": "judge", "judge_instance": "j"}), "Paris")] {
        for (threshold, below) in [(0.9, true), (0.2, false)] {
            let mut options = strategy.clone();
            options["confidence_threshold"] = json!(threshold);
            options["fallback_instance"] = json!("b");
            let answer = panel.json(options);
            assert_eq!(judged(&answer), (&json!(best), &json!(below)), "{strategy}");
        }
    }
    assert_eq!((panel.requests(), judge.requests().len(), b.requests().len()), (vec![4, 4, 4], 2, 0));
}

#[test]
fn a_judge_never_falls_back() {
    let (mut panel, b) = panel_and_b(["Rome", "Paris"].map(openai::completion), openai::completion(r#"{"best": 2, "scores": [0, 1]}"#));
    let judge = Upstream::start();
    judge.on("/chat/completions").reply(failing());
    panel.add("j", &judge.url(), json!({"fallback_instance": "b"}));
    panel.client.batch_execute("SET pg_llm.default_local_fallback = 'b'").unwrap();
    let answer = panel.json(json!({"strategy": "judge", "judge_instance": "j", "fallback_instance": "b"}));
    assert_eq!((&answer["response"], &answer["judge"]["error"]["sqlstate"]), (&json!("Rome"), &json!("38000")));
    assert_eq!((judge.requests().len(), b.connections_total()), (1, 0));
    // As a candidate it does.
    let sql = "SELECT pg_llm_parallel_chat_json('Which?', '{m1,j}', '{\"strategy\": \"judge\", \"judge_instance\": \"j\"}')";
    let answer: Value = panel.client.query_one(sql, &[]).unwrap().get(0);
    assert_eq!((&each(&answer, "answered_by")[1], &answer["judge"]["best"]), (&json!("b"), &Value::Null));
}

#[test]
fn a_fallbacks_answer_can_be_the_first() {
    let (mut panel, _b) = panel_and_b([Reply::hang(), failing()], openai::completion("From b."));
    let answer = panel.json(json!({"strategy": "first", "fallback_instance": "b"}));
    assert_eq!((each(&answer, "status"), &each(&answer, "answered_by")[1]), (vec![json!("cancelled"), json!("answered")], &json!("b")));
    assert!(panel.upstreams[0].wait_for(|seen| seen.answering == 0, DEADLINE));
}

#[test]
fn when_the_fallbacks_fail_too_the_errors_are_the_candidates_own() {
    let (mut panel, b) = panel_and_b([openai::error(429, "rate_limit", "slow", "Too fast."), failing()], Reply::reset());
    let error = db_error(panel.try_json(&json!({"fallback_instance": "b"})));
    assert_eq!(
        (error.code().code(), error.message()),
        ("53400", "pg_llm: none of 2 candidates answered; the first: model \"m1\" failed: Too fast.")
    );
    assert_eq!(error.detail(), Some("1: model \"m1\" failed: Too fast.\n2: model \"m2\" failed: Out of order."));
    let object = panel.json(json!({"fallback_instance": "b", "on_error": "object"}));
    for of_candidate in each(&object, "error") {
        assert!(of_candidate["detail"].as_str().unwrap().contains("\nFallback \"b\": model \"b\" broke off"), "{of_candidate}");
    }
    assert_eq!((each(&object, "attempts"), b.connections_total()), (vec![json!(2), json!(2)], 4));
}

#[test]
fn a_fallback_that_the_caller_may_not_use_is_not_asked_and_fails_no_other_candidate() {
    let (mut panel, b) = panel_and_b([failing(), openai::completion("two")], openai::completion("From b."));
    let role = panel.database.create_role();
    panel.client.batch_execute(&format!("SELECT pg_llm_grant_model(m, '{role}') FROM unnest('{{m1,m2}}'::text[]) m")).unwrap();
    let mut other = panel.database.connect_as(&role);
    let sql = "SELECT pg_llm_parallel_chat_json('Which?', '{m1,m2}', '{\"fallback_instance\": \"b\"}')";
    let answer: Value = other.query_one(sql, &[]).unwrap().get(0);
    assert_eq!((each(&answer, "status"), &answer["response"]), (vec![json!("failed"), json!("answered")], &json!("two")));
    let detail = each(&answer, "error")[0]["detail"].clone();
    assert!(detail.as_str().unwrap().ends_with("Fallback \"b\": was not asked: permission denied for model \"b\""), "{detail}");
    assert_eq!(b.connections_total(), 0);
}

#[test]
fn a_cancel_ends_the_fallbacks_of_all_candidates() {
    let (mut panel, b) = panel_and_b([failing(), failing(), failing()], Reply::hang());
    let client = std::mem::replace(&mut panel.client, panel.database.superuser());
    let sql = "SELECT pg_llm_parallel_chat('Which?', '{m1,m2,m3}', '{\"fallback_instance\": \"b\", \"on_error\": \"null\"}')";
    let call = Running::start(client, sql);
    assert!(b.wait_for_requests(3, DEADLINE));
    call.cancel();
    let mut outcome = call.finish(DEADLINE);
    assert_eq!(db_error(outcome.result).code().code(), "57014");
    assert!(b.wait_until_closed(DEADLINE));
    outcome.client.batch_execute("SELECT 1").unwrap();
    panel.database.cluster().assert_no_crash();
}
