use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::{Value, json};

use crate::client::Client;

const CHAT: &str = "/v1/chat/completions";

fn body(reply: Reply) -> String {
    let upstream = Upstream::start();
    upstream.on("/").reply(reply);
    Client::connect(upstream.address()).get("/").text()
}

fn events(text: &str) -> Vec<Value> {
    let data = text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap());
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn said(events: &[Value]) -> String {
    events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect()
}

#[test]
fn a_completion_counts_its_words() {
    let body: Value = serde_json::from_str(&body(openai::completion("two words"))).unwrap();
    assert_eq!(body["choices"][0]["message"]["content"], "two words");
    assert_eq!(body["usage"]["completion_tokens"], 2);
    assert_eq!(body["usage"]["total_tokens"], 9);
}

#[test]
fn a_stream_has_a_role_deltas_a_finish_its_usage_and_done() {
    let text = body(openai::stream(&["Hel", "lo"]));
    assert!(text.ends_with("data: [DONE]\n\n"));
    let events = events(&text);
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(said(&events), "Hello");
    assert_eq!(events[3]["choices"][0]["finish_reason"], "stop");
    assert_eq!((&events[4]["choices"], &events[4]["usage"]["completion_tokens"]), (&json!([]), &json!(2)));
}

#[test]
fn streams_can_end_early_or_in_an_error() {
    assert!(!body(openai::stream_without_end(&["a"])).contains("DONE"));
    let failed = body(openai::stream_with_error(&["a"], "server_error", "boom", "It broke"));
    assert_eq!(events(&failed).last().unwrap()["error"]["message"], "It broke");
}

#[test]
fn errors_and_broken_bodies_are_as_they_say() {
    let error: Value = serde_json::from_str(&body(openai::error(400, "invalid_request_error", "bad", "Bad"))).unwrap();
    assert_eq!(error["error"], json!({"message": "Bad", "type": "invalid_request_error", "param": null, "code": "bad"}));
    assert!(serde_json::from_str::<Value>(&body(openai::malformed())).is_err());
    assert_eq!(body(openai::empty()), "");
    assert!(body(openai::html(502)).starts_with("<html>"));
    assert!(body(openai::no_choices()).contains(r#""choices":[]"#));
    assert!(body(openai::null_content()).contains(r#""content":null"#));
    assert!(body(openai::tool_call("f", "{}")).contains(r#""finish_reason":"tool_calls""#));
    assert!(body(openai::refusal("No.")).contains(r#""refusal":"No.""#));
    assert!(body(openai::wrong_shape()).contains("answer"));
}

#[test]
fn embeddings_come_as_numbers_and_as_base64() {
    assert!(body(openai::embeddings(&[&[0.5, -1.0]])).contains(r#""embedding":[0.5,-1.0]"#));
    assert!(body(openai::embeddings_base64(&[&[1.0]])).contains(r#""embedding":"AACAPw==""#));
}

#[test]
fn the_echo_says_what_the_user_said_last_whole_and_streamed() {
    let upstream = Upstream::start_echo();
    let mut client = Client::connect(upstream.address());
    let mut request = json!({"model": "m", "messages": [
        {"role": "system", "content": "Be brief"}, {"role": "user", "content": "old"},
        {"role": "user", "content": [{"type": "text", "text": "Grüße 😀"}]},
    ]});
    let whole = client.post(CHAT, &request.to_string()).json();
    assert_eq!(whole["choices"][0]["message"]["content"], "You said: Grüße 😀");
    assert_eq!((&whole["model"], &whole["usage"]["prompt_tokens"]), (&json!("m"), &json!(5)));
    request["stream"] = json!(true);
    let without_usage = events(&client.post(CHAT, &request.to_string()).text());
    assert_eq!(said(&without_usage), "You said: Grüße 😀");
    assert!(without_usage.iter().all(|event| event.get("usage").is_none()));
    request["stream_options"] = json!({"include_usage": true});
    let with_usage = events(&client.post(CHAT, &request.to_string()).text());
    assert_eq!(with_usage.last().unwrap()["usage"]["completion_tokens"], 4);
    request["stream"] = json!(false);
    request["response_format"] = json!({"type": "json_object"});
    let object = client.post(CHAT, &request.to_string()).json();
    assert_eq!(object["choices"][0]["message"]["content"], r#"{"you_said":"Grüße 😀"}"#);
}

#[test]
fn the_echo_refuses_what_it_does_not_know() {
    let upstream = Upstream::start_echo();
    let mut client = Client::connect(upstream.address());
    assert!(client.post(CHAT, "no json").head.starts_with("HTTP/1.1 400"));
    assert!(client.get("/v1/else").head.starts_with("HTTP/1.1 404"));
    assert_eq!(client.get("/v1/models").json()["data"][0]["id"], openai::MODEL);
}

#[test]
fn the_echos_embeddings_are_near_for_texts_that_share_words() {
    let upstream = Upstream::start_echo();
    let mut client = Client::connect(upstream.address());
    let request = json!({"input": ["the red fox", "a red fox", "tax law"], "dimensions": 64});
    let data = client.post("/v1/embeddings", &request.to_string()).json();
    let vector = |i: usize| -> Vec<f64> { serde_json::from_value(data["data"][i]["embedding"].clone()).unwrap() };
    let dot = |i, j| vector(i).iter().zip(vector(j)).map(|(x, y)| x * y).sum::<f64>();
    assert_eq!(vector(0).len(), 64);
    assert!((dot(0, 0) - 1.0).abs() < 1e-5);
    assert!(dot(0, 1) > dot(0, 2) + 0.2, "{} {}", dot(0, 1), dot(0, 2));
}
