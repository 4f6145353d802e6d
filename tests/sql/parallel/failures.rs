//! Candidates that fail, beside others and all together.

use std::time::Duration;

use pg_llm_tests::db_error;
use pg_llm_upstream::{Reply, openai};
use serde_json::{Value, json};

use super::{Panel, each, sure};

#[test]
fn one_that_hangs_one_that_fails_one_that_drips_and_one_that_breaks_do_not_hurt_good_ones() {
    let mut panel = Panel::of([
        Reply::hang(),
        openai::error(400, "invalid", "no", "Not me."),
        openai::completion("drip by drip").drip(40, Duration::from_millis(1)),
        openai::completion("never").reset_after(10),
        sure("good", 0.9),
        openai::malformed(),
    ]);
    // Its own patience, and nobody else's.
    let url = panel.upstreams[0].url();
    panel.add("m1", &url, json!({"timeout_ms": 500}));
    let answer = panel.json(json!({"logprobs": true}));
    assert_eq!((&answer["response"], &answer["winner"]["index"]), (&json!("good"), &json!(5)));
    assert_eq!(each(&answer, "status"), ["failed", "failed", "answered", "failed", "answered", "failed"]);
    let states: Vec<Value> = each(&answer, "error").iter().map(|error| error["sqlstate"].clone()).collect();
    assert_eq!(states, [json!("08006"), json!("38000"), Value::Null, json!("08006"), Value::Null, json!("38000")]);
    let errors = each(&answer, "error");
    assert_eq!(errors[0]["message"], "pg_llm: model \"m1\" did not answer within 500 ms");
    assert_eq!(errors[1]["message"], "pg_llm: model \"m2\" failed: Not me.");
    assert!(errors[1]["detail"].as_str().unwrap().contains("status: 400"));
    assert_eq!(each(&answer, "response")[2], "drip by drip");
}

#[test]
fn when_all_fail_the_error_is_the_first_ones_and_lists_every_other() {
    let mut panel =
        Panel::of([openai::error(429, "rate_limit", "slow", "Too fast."), Reply::reset(), openai::error(401, "invalid", "key", "No key.")]);
    for strategy in ["confidence", "first", "vote", "all"] {
        let error = db_error(panel.try_json(&json!({"strategy": strategy})));
        assert_eq!(error.code().code(), "53400", "{strategy}: {error:?}");
        assert_eq!(error.message(), "pg_llm: none of 3 candidates answered; the first: model \"m1\" failed: Too fast.");
        let lines: Vec<&str> = error.detail().unwrap().lines().collect();
        assert_eq!(lines.len(), 3, "{error:?}");
        for (line, words) in
            lines.iter().zip(["1: model \"m1\" failed: Too fast.", "2: model \"m2\" broke off", "3: model \"m3\" failed: No key."])
        {
            assert!(line.starts_with(words), "{line}");
        }
    }
    let error = db_error(panel.client.query("SELECT pg_llm_parallel_chat('Which?', '{m3}')", &[]));
    assert_eq!((error.code().code(), error.message()), ("38000", "pg_llm: model \"m3\" failed: No key."));
}

#[test]
fn the_failures_of_sixty_four_all_fit_into_the_detail() {
    let mut panel = Panel::of([openai::error(400, "invalid", "no", &"long words of an error ".repeat(30))]);
    let error = db_error(panel.client.query("SELECT pg_llm_parallel_chat('Which?', array_fill('m1'::text, ARRAY[64]))", &[]));
    let detail = error.detail().unwrap();
    assert_eq!(detail.lines().count(), 64, "{detail}");
    assert!(detail.len() <= 1024 && detail.lines().last().unwrap().starts_with("64: "), "{detail}");
}

#[test]
fn on_error_says_what_becomes_of_it_when_all_fail_and_of_nothing_else() {
    let mut panel = Panel::of([openai::error(400, "invalid", "no", "Not me."), Reply::reset()]);
    assert_eq!(panel.try_json(&json!({"on_error": "null"})).unwrap(), None);
    let object = panel.json(json!({"on_error": "object"}));
    assert_eq!((&object["response"], &object["winner"], &object["error"]["sqlstate"]), (&Value::Null, &Value::Null, &json!("38000")));
    assert_eq!((each(&object, "status"), &object["attempts"]), (vec![json!("failed"), json!("failed")], &json!(2)));
    let text = |options: &str| format!("SELECT pg_llm_parallel_chat('Which?', '{{m1,m2}}', '{options}')");
    let null: Option<String> = panel.client.query_one(&text(r#"{"on_error": "null"}"#), &[]).unwrap().get(0);
    assert_eq!(null, None);
    assert_eq!(db_error(panel.client.query(&text(r#"{"on_error": "object"}"#), &[])).code().code(), "22023");
    panel.client.batch_execute("SET pg_llm.on_error = 'null'").unwrap();
    assert_eq!(panel.try_json(&json!({})).unwrap(), None);
    // One that answers is enough.
    panel.upstreams[1].on("/chat/completions").reply(openai::completion("well"));
    assert_eq!(panel.json(json!({}))["response"], "well");
}
