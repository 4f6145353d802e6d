//! What a model thought, and how sure it was of its words.

use pg_llm_tests::Asked;
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::{Value, json};

/// A model of Anthropic's format at an upstream that gives this content.
fn thinker(content: &Value) -> Asked {
    let mut asked = Asked::at(Upstream::start(), json!({}));
    asked.add("anthropic", "m", &json!({"model_name": "claude-test"}));
    let body = json!({
        "id": "msg_test", "type": "message", "role": "assistant", "model": "claude-test", "content": content, "stop_reason": "tool_use",
        "stop_sequence": null, "usage": {"input_tokens": 5, "output_tokens": 9},
    });
    asked.upstream.otherwise(move |_| Reply::json(200, body.clone()));
    asked
}

#[test]
fn signatures_survive_the_round_trip() {
    let content = json!([
        {"type": "thinking", "thinking": "Weather, so...", "signature": "c2lnbmF0dXJl+/="},
        {"type": "redacted_thinking", "data": "b3BhcXVl"},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Köln"}},
        {"type": "tool_use", "id": "toolu_2", "name": "weather", "input": {"city": "Bonn"}},
    ]);
    let mut asked = thinker(&content);
    let tools = json!([{"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}]);
    let first = asked.chat_json("Weather?", &json!({"tools": tools, "max_tokens": 100})).unwrap().unwrap();
    assert_eq!(first["response"], "I look.");
    assert_eq!(first["thinking"][0]["text"], "Weather, so...");
    assert_eq!(first["thinking"][1]["redacted"], true);
    let history = json!([{"role": "user", "content": "Weather?"}, first["message"],
        {"role": "tool", "tool_call_id": "toolu_1", "content": "rain"}, {"role": "tool", "tool_call_id": "toolu_2", "content": "sun"}]);
    asked.chat("", &json!({"tools": tools, "max_tokens": 100, "messages": history})).unwrap();
    let sent = asked.sent();
    assert_eq!(sent["messages"][1]["content"], content, "{sent}");
    let results = sent["messages"][2]["content"].as_array().unwrap();
    assert_eq!(
        results.iter().map(|r| r["tool_use_id"].as_str().unwrap()).collect::<Vec<_>>(),
        ["toolu_1", "toolu_2"],
        "in one turn: {sent}"
    );
    assert_eq!(sent["messages"].as_array().map(Vec::len), Some(3));
}

#[test]
fn signatures_of_geminis_calls_survive_it_too() {
    let mut asked = Asked::at(Upstream::start(), json!({}));
    asked.add("gemini", "m", &json!({"model_name": "gemini-test"}));
    let call = json!({"functionCall": {"name": "weather", "args": {"city": "Köln"}}, "thoughtSignature": "c2lnbmF0dXJl+/="});
    let body = json!({
        "responseId": "r1", "modelVersion": "gemini-test", "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8},
        "candidates": [{"index": 0, "content": {"role": "model", "parts": [call]}, "finishReason": "STOP"}],
    });
    asked.upstream.otherwise(move |_| Reply::json(200, body.clone()));
    let tools = json!([{"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}]);
    let first = asked.chat_json("Weather?", &json!({"tools": tools})).unwrap().unwrap();
    assert_eq!((&first["finish_reason"], &first["tool_calls"][0]["signature"]), (&json!("tool_calls"), &json!("c2lnbmF0dXJl+/=")));
    let history = json!([{"role": "user", "content": "Weather?"}, first["message"],
        {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "name": "weather", "content": {"sky": "rain"}}]);
    asked.chat("", &json!({"tools": tools, "messages": history})).unwrap();
    let contents = asked.sent()["contents"].clone();
    assert_eq!(contents[1]["parts"][0]["thoughtSignature"], "c2lnbmF0dXJl+/=", "{contents}");
    assert_eq!(contents[2]["parts"][0]["functionResponse"]["name"], "weather", "{contents}");
}

#[test]
fn log_probabilities_come_with_their_alternatives_when_they_are_asked_for() {
    let token = |text: &str, p: f64, top: Value| json!({"token": text, "logprob": p, "bytes": null, "top_logprobs": top});
    let mut body = openai::completion_body("Paris");
    body["choices"][0]["logprobs"] = json!({"content": [token("Par", -0.5, json!([{"token": "Par", "logprob": -0.5, "bytes": null}, {"token": "Lon", "logprob": -2.0, "bytes": null}])), token("is", 0.0, json!([]))]});
    let mut asked = Asked::at(Upstream::start(), json!({}));
    asked.upstream.on(Asked::PATH).reply(Reply::json(200, body)).reply(openai::completion("Paris"));
    let answer = asked.chat_json("x", &json!({"logprobs": 2})).unwrap().unwrap();
    let list = answer["logprobs"].as_array().unwrap();
    assert_eq!((list.len(), &list[0]["token"], list[0]["logprob"].as_f64()), (2, &json!("Par"), Some(-0.5)));
    assert_eq!((&list[0]["top"][1]["token"], list[0]["top"][1]["logprob"].as_f64()), (&json!("Lon"), Some(-2.0)));
    assert_eq!(list[1]["top"], json!([]));
    assert_eq!(answer["confidence_method"], "logprobs");
    let without = asked.chat_json("x", &json!({})).unwrap().unwrap();
    assert_eq!((&without["logprobs"], &without["confidence_score"]), (&Value::Null, &Value::Null));
}

#[test]
fn the_providers_own_response_is_there_when_it_is_asked_for() {
    let mut asked = Asked::at(Upstream::start(), json!({}));
    let mut body = openai::completion_body("Paris");
    body["service_tier"] = json!("flex");
    asked.upstream.on(Asked::PATH).reply(Reply::json(200, body.clone()));
    assert_eq!(asked.chat_json("x", &json!({})).unwrap().unwrap().get("raw"), None);
    let answer = asked.chat_json("x", &json!({"include_raw": true, "extra_body": {"service_tier": "flex"}})).unwrap().unwrap();
    assert_eq!(answer["raw"], body);
    assert_eq!(asked.sent()["service_tier"], "flex");
    asked.add("openai-compatible", "m", &json!({"include_raw": true}));
    assert_eq!(asked.chat_json("x", &json!({})).unwrap().unwrap()["raw"]["service_tier"], "flex");
    assert_eq!(asked.chat_json("x", &json!({"include_raw": false})).unwrap().unwrap().get("raw"), None);
}
