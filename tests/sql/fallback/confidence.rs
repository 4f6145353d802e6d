//! Answers that are known to be unsure.

use pg_llm_tests::Asked;
use pg_llm_upstream::{Reply, openai};
use serde_json::{Value, json};

use super::{another, answer, asked, failing, requests, who};

/// A completion whose tokens all have this probability.
fn sure(text: &str, probability: f64) -> Reply {
    let mut body = openai::completion_body(text);
    body["choices"][0]["logprobs"] = json!({"content": [{"token": text, "logprob": probability.ln(), "bytes": null, "top_logprobs": []}]});
    Reply::json(200, body)
}

fn confidence(value: &Value) -> f64 {
    let confidence = value["confidence_score"].as_f64().unwrap_or_else(|| panic!("{value}"));
    (confidence * 1000.0).round() / 1000.0
}

#[test]
fn an_unsure_answer_is_asked_of_the_fallback_with_prompt_and_history_and_never_the_answer() {
    let mut asked = asked(sure("Perhaps-of-m", 0.3), &json!({"fallback_instance": "b", "confidence_threshold": 0.7}));
    let b = another(&mut asked, "b", sure("Surely", 0.9), &json!({}));
    let options = json!({"logprobs": true, "messages": [{"role": "user", "content": "One"}, {"role": "assistant", "content": "Two"}]});
    let said = answer(&mut asked, &options);
    assert_eq!((who(&said), &said["response"], confidence(&said)), (("b", true), &json!("Surely"), 0.9));
    let from = &said["fallback_from"][0];
    assert_eq!((&from["instance_name"], confidence(from), &from["confidence_method"]), (&json!("m"), 0.3, &json!("logprobs")));
    assert_eq!(from["usage"]["input_tokens"], 7, "it was paid for");
    let sent = b.last_request().unwrap();
    assert!(!sent.contains("Perhaps-of-m"));
    assert_eq!(sent.json()["messages"], asked.sent()["messages"]);
}

#[test]
fn a_threshold_is_the_options_then_the_models_then_the_settings_and_off() {
    let mut asked = asked(sure("From m.", 0.5), &json!({"fallback_instance": "b", "logprobs": true}));
    let _b = another(&mut asked, "b", sure("From b.", 0.9), &json!({}));
    assert_eq!(who(&answer(&mut asked, &json!({}))), ("m", false));
    asked.client.batch_execute("SET pg_llm.default_confidence_threshold = 0.6").unwrap();
    assert_eq!(who(&answer(&mut asked, &json!({}))), ("b", true));
    asked.add("openai-compatible", "m", &json!({"fallback_instance": "b", "confidence_threshold": 0.4}));
    assert_eq!(who(&answer(&mut asked, &json!({}))), ("m", false));
    assert_eq!(who(&answer(&mut asked, &json!({"confidence_threshold": 0.6}))), ("b", true));
    assert_eq!(who(&answer(&mut asked, &json!({"confidence_threshold": 0}))), ("m", false));
    for bad in [json!(-0.1), json!(1.1), json!("high"), json!(true)] {
        let error = pg_llm_tests::db_error(asked.chat("Hello", &json!({"confidence_threshold": bad})));
        assert_eq!(error.code().code(), "22023", "{bad}");
    }
    let error = pg_llm_tests::db_error(asked.client.batch_execute("SET pg_llm.default_confidence_threshold = 1.5"));
    assert_eq!(error.code().code(), "22023");
}

#[test]
fn confidence_that_is_not_known_is_enough() {
    let mut asked = asked(openai::completion("From m."), &json!({"fallback_instance": "b"}));
    let b = another(&mut asked, "b", sure("From b.", 0.9), &json!({}));
    let said = answer(&mut asked, &json!({"confidence_threshold": 1}));
    assert_eq!((who(&said), &said["confidence_score"], b.requests().len()), (("m", false), &Value::Null, 0));
    asked.upstream.on(Asked::PATH).reply(sure("From m.", 0.3));
    b.on(Asked::PATH).reply(openai::completion("From b."));
    assert_eq!(who(&answer(&mut asked, &json!({"confidence_threshold": 0.5}))), ("b", true), "known to be unsure loses to not known");
}

#[test]
fn when_the_fallback_fails_the_first_answer_stands() {
    let mut asked = asked(sure("From m.", 0.3), &json!({"fallback_instance": "b", "confidence_threshold": 0.7}));
    let b = another(&mut asked, "b", failing(), &json!({}));
    let said = answer(&mut asked, &json!({}));
    assert_eq!((who(&said), confidence(&said), &said["response"]), (("m", false), 0.3, &json!("From m.")));
    let from = &said["fallback_from"];
    assert_eq!(
        (from.as_array().map(Vec::len), &from[0]["instance_name"], &from[0]["error"]["kind"]),
        (Some(1), &json!("b"), &json!("provider"))
    );
    assert_eq!(requests([&asked.upstream, &b]), [1, 1]);
    asked.client.batch_execute("SELECT pg_llm_remove_model('b')").unwrap();
    let said = answer(&mut asked, &json!({}));
    assert_eq!((who(&said), &said["fallback_from"][0]["error"]["kind"]), (("m", false), &json!("not_asked")));
}

#[test]
fn of_unsure_answers_the_surest_is_returned() {
    let mut asked = asked(sure("From m.", 0.5), &json!({"fallback_instance": "b", "confidence_threshold": 0.9}));
    let _b = another(&mut asked, "b", sure("From b.", 0.6), &json!({"fallback_instance": "c"}));
    let _c = another(&mut asked, "c", sure("From c.", 0.4), &json!({}));
    let said = answer(&mut asked, &json!({}));
    assert_eq!((who(&said), confidence(&said), &said["attempts"]), (("b", true), 0.6, &json!(3)));
    let from = said["fallback_from"].as_array().unwrap();
    assert_eq!(from.iter().map(|f| f["instance_name"].as_str().unwrap()).collect::<Vec<_>>(), ["m", "c"]);
}

#[test]
fn the_mocks_confidence_counts_as_every_other() {
    let mut asked = asked(failing(), &json!({}));
    let add = "SELECT pg_llm_add_model('mock', $1, NULL, $2)";
    asked.client.execute(add, &[&"sure", &json!({"mock_response": "Surely.", "mock_confidence": 0.9})]).unwrap();
    let unsure = json!({"mock_response": "Perhaps.", "mock_confidence": 0.4, "fallback_instance": "sure"});
    asked.client.execute(add, &[&"m", &unsure]).unwrap();
    assert_eq!(asked.chat("Hello", &json!({"confidence_threshold": 0.7})).unwrap().as_deref(), Some("Surely."));
    assert_eq!(asked.chat("Hello", &json!({"confidence_threshold": 0.3})).unwrap().as_deref(), Some("Perhaps."));
}
