//! Calls that several models may answer: an entry is the called model's own answer, and an answer only to whom it is enough.

use pg_llm_tests::Asked;
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::{Value, json};

use super::{ask, asked_for, entries, value};

/// An answer of one token with this probability.
fn sure(text: &str, probability: f64) -> Reply {
    let mut body = openai::completion_body(text);
    body["choices"][0]["logprobs"] = json!({"content": [{"token": text, "logprob": probability.ln(), "bytes": null, "top_logprobs": []}]});
    Reply::json(200, body)
}

fn failing() -> Reply {
    openai::error(500, "some_error", "some_code", "Out of order.").header("x-should-retry", "false")
}

/// `m`, which answers so, and `b`, which answers so.
fn m_and_b(m: Reply, b: Reply) -> (Asked, Upstream) {
    let upstream = Upstream::start();
    upstream.on(Asked::PATH).reply(m);
    let mut asked = Asked::at(upstream, json!({}));
    let other = Upstream::start();
    other.on(Asked::PATH).reply(b);
    let config = json!({"api_endpoint": format!("{}/v1", other.url())});
    asked.client.execute("SELECT pg_llm_add_model('openai-compatible', 'b', $1, $2)", &[&Asked::KEY, &config]).unwrap();
    (asked, other)
}

fn asked_for_b(b: &Upstream) -> u64 {
    b.observe(|seen| seen.requests_total)
}

#[test]
fn no_outcome_in_which_other_models_took_part_is_kept() {
    let options = json!({"cache": true, "fallback_instance": "b", "confidence_threshold": 0.5});
    for (what, m, b, answered) in [
        ("m failed", failing(), sure("b", 0.9), "b"),
        ("m was unsure", sure("m", 0.3), sure("b", 0.9), "b"),
        ("b was less sure", sure("m", 0.3), sure("b", 0.1), "m"),
        ("m was unsure and b failed", sure("m", 0.3), failing(), "m"),
    ] {
        let (mut asked, other) = m_and_b(m, b);
        for calls in 1..=2 {
            let answer = ask(&mut asked.client, "Hello", &options);
            assert_eq!((&answer["response"], &answer["cached"]), (&json!(answered), &json!(false)), "{what}");
            assert_eq!((asked_for(&asked), asked_for_b(&other), entries(&mut asked.client)), (calls, calls, 0), "{what}");
        }
        let parallel = "SELECT pg_llm_parallel_chat_json('Hello', '{m}', $1) -> 'candidates' -> 0";
        let candidate: Value = value(&mut asked.client, parallel, &[&options]);
        assert_eq!((&candidate["response"], &candidate["cached"]), (&json!(answered), &json!(false)), "{what}");
        let batch = "SELECT response FROM pg_llm_chat_batch('m', '{Hello}', $1)";
        assert_eq!(value::<String>(&mut asked.client, batch, &[&options]), answered, "{what}");
        assert_eq!((asked_for(&asked), asked_for_b(&other), entries(&mut asked.client)), (4, 4, 0), "{what}");
    }
    let (mut asked, other) = m_and_b(sure("m", 0.9), sure("b", 0.9));
    for cached in [false, true] {
        assert_eq!(ask(&mut asked.client, "Hello", &options)["cached"], json!(cached), "one that needed nobody else is kept");
    }
    assert_eq!((asked_for(&asked), asked_for_b(&other), entries(&mut asked.client)), (1, 0, 1));
}

#[test]
fn a_kept_answer_below_the_threshold_of_a_call_that_has_a_fallback_is_asked_anew() {
    let (mut asked, other) = m_and_b(sure("m", 0.3), sure("b", 0.9));
    let unsure = json!({"cache": true});
    assert_eq!(ask(&mut asked.client, "Hello", &unsure)["response"], "m");
    assert_eq!(entries(&mut asked.client), 1);
    let anew = json!({"cache": true, "fallback_instance": "b", "confidence_threshold": 0.5});
    let answer = ask(&mut asked.client, "Hello", &anew);
    assert_eq!((&answer["response"], &answer["cached"], &answer["fallback_used"]), (&json!("b"), &json!(false), &json!(true)));
    let parallel = "SELECT pg_llm_parallel_chat_json('Hello', '{m}', $1) -> 'candidates' -> 0";
    let candidate: Value = value(&mut asked.client, parallel, &[&anew]);
    assert_eq!((&candidate["answered_by"], &candidate["cached"]), (&json!("b"), &json!(false)));
    assert_eq!((asked_for(&asked), asked_for_b(&other)), (3, 2));
    for enough in [
        unsure,
        json!({"cache": true, "confidence_threshold": 0.5}),
        json!({"cache": true, "fallback_instance": "b"}),
        json!({"cache": true, "fallback_instance": "b", "confidence_threshold": 0.2}),
    ] {
        let answer = ask(&mut asked.client, "Hello", &enough);
        assert_eq!((&answer["response"], &answer["cached"]), (&json!("m"), &json!(true)), "{enough}");
    }
    assert_eq!((asked_for(&asked), asked_for_b(&other)), (3, 2));
}
