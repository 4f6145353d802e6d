//! OpenAI's Responses: every shape of an answer, whole and streamed.
#![allow(clippy::unwrap_used, clippy::panic)] // this is how a test fails

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{Outcome, decode_stream, decode_whole, every_cut};
use pg_llm_provider_openai::{OpenAi, encode};

fn request() -> ChatRequest {
    ChatRequest { settings: r#"{"api":"responses"}"#.into(), ..ChatRequest::new("m", vec![Message::user("hello")]) }
}

fn answered(status: u16, body: &str) -> Result<Answer, Failure> {
    decode_whole::<OpenAi>(&request(), HttpResponse::new(status, body))
}

fn response(output: &Value) -> Value {
    json!({ "id": "resp_1", "object": "response", "model": "gpt-x", "status": "completed", "error": null, "incomplete_details": null, "output": output,
            "usage": { "input_tokens": 10, "input_tokens_details": { "cached_tokens": 4 }, "output_tokens": 20, "output_tokens_details": { "reasoning_tokens": 5 }, "total_tokens": 30 } })
}

fn whole(output: &Value) -> Answer {
    answered(200, &response(output).to_string()).unwrap()
}

fn streamed(text: &str) -> Outcome {
    decode_stream::<OpenAi>(&request(), ResponseHead::new(200), vec![text.as_bytes().to_vec()])
}

fn sse(events: &[Value]) -> String {
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())).collect::<Vec<_>>().concat()
}

fn created() -> Value {
    json!({ "type": "response.created", "response": { "id": "resp_1", "model": "gpt-x", "status": "in_progress", "output": [], "error": null } })
}

fn item(kind: &str, at: u32, item: &Value) -> Value {
    json!({ "type": format!("response.output_item.{kind}"), "output_index": at, "item": item })
}

fn delta(kind: &str, at: u32, delta: &str) -> Value {
    json!({ "type": format!("response.{kind}.delta"), "output_index": at, "item_id": "x", "delta": delta })
}

fn completed(output: &Value) -> Value {
    json!({ "type": "response.completed", "response": response(output) })
}

fn message(texts: &[&str]) -> Value {
    let content: Vec<Value> = texts.iter().map(|text| json!({ "type": "output_text", "text": text, "annotations": [] })).collect();
    json!({ "type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content })
}

fn function_call(id: &str, name: &str, arguments: &str) -> Value {
    json!({ "type": "function_call", "id": "fc_1", "call_id": id, "name": name, "arguments": arguments, "status": "completed" })
}

fn reasoning(summary: &[&str], encrypted: Option<&str>) -> Value {
    let summary: Vec<Value> = summary.iter().map(|text| json!({ "type": "summary_text", "text": text })).collect();
    json!({ "type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": encrypted })
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn thinking(text: &str, signature: Option<&str>, redacted: bool) -> Part {
    Part::Thinking(Thinking { text: text.into(), signature: signature.map(str::to_owned), redacted })
}

fn call(id: &str, name: &str, arguments: &str) -> Part {
    Part::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), signature: None })
}

const SIGNATURE: &str = r#"{"id":"rs_1","encrypted_content":"gAAA+/=="}"#;

#[test]
fn the_items_of_the_output_are_the_parts_of_the_answer() {
    let output = json!([
        reasoning(&["Hm", "m."], Some("gAAA+/==")),
        { "type": "web_search_call", "id": "ws_1", "status": "completed" },
        message(&["One ", "two."]),
        function_call("call_1", "f", "{\"a\":1}"),
        function_call("call_2", "g", ""),
    ]);
    let answer = whole(&output);
    let wanted = [thinking("Hmm.", Some(SIGNATURE), false), text("One two."), call("call_1", "f", "{\"a\":1}"), call("call_2", "g", "")];
    assert_eq!(answer.parts, wanted);
    assert_eq!(
        (answer.id.as_deref(), answer.model.as_deref(), answer.finish_reason),
        (Some("resp_1"), Some("gpt-x"), Some(FinishReason::ToolCalls))
    );
    let usage = answer.usage.unwrap();
    assert_eq!(
        (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens),
        (Some(10), Some(20), Some(4), Some(5))
    );
    let refusal = json!([{ "type": "message", "content": [{ "type": "refusal", "refusal": "No." }] }]);
    assert_eq!((whole(&refusal).parts, whole(&refusal).finish_reason), (vec![text("No.")], Some(FinishReason::Stop)));
}

#[test]
fn encrypted_reasoning_survives_the_round_trip() {
    let shown = reasoning(&["Hmm."], Some("gAAA+/=="));
    let hidden = reasoning(&[], Some("gAAA+/=="));
    for (item, part) in [(&shown, thinking("Hmm.", Some(SIGNATURE), false)), (&hidden, thinking("", Some(SIGNATURE), true))] {
        let answer = whole(&json!([item, function_call("call_1", "f", "{}")]));
        assert_eq!(answer.parts[0], part);
        let mut next = request();
        next.messages.push(Message { role: Role::Assistant, parts: answer.parts });
        let sent: Value = serde_json::from_slice(&encode(&next, Mode::Whole).unwrap().body).unwrap();
        assert_eq!(&sent["input"][1], item);
        assert_eq!(sent["input"][2], json!({ "type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}" }));
    }
    // What is shown without being encrypted, or was another provider's, is no item that could go back.
    let open = json!({ "type": "reasoning", "id": "rs_1", "summary": [], "content": [{ "type": "reasoning_text", "text": "Hmm." }] });
    let mut parts = whole(&json!([open, message(&["a"])])).parts;
    assert_eq!(parts, [thinking("Hmm.", None, false), text("a")]);
    parts.push(thinking("x", Some("c2lnbmVkIGVsc2V3aGVyZQ=="), false));
    let mut next = request();
    next.messages.push(Message { role: Role::Assistant, parts });
    let sent: Value = serde_json::from_slice(&encode(&next, Mode::Whole).unwrap().body).unwrap();
    assert_eq!(sent["input"].as_array().unwrap().len(), 2);
}

#[test]
fn a_response_says_why_it_ended() {
    let ended = |status: &str, reason: &Value| {
        let mut body = response(&json!([message(&["a"])]));
        body["status"] = json!(status);
        body["incomplete_details"] = reason.clone();
        answered(200, &body.to_string()).map(|answer| answer.finish_reason)
    };
    assert_eq!(ended("completed", &json!(null)), Ok(Some(FinishReason::Stop)));
    assert_eq!(ended("incomplete", &json!({ "reason": "max_output_tokens" })), Ok(Some(FinishReason::Length)));
    assert_eq!(ended("incomplete", &json!({ "reason": "content_filter" })), Ok(Some(FinishReason::ContentFilter)));
    assert_eq!(ended("incomplete", &json!(null)), Ok(Some(FinishReason::Other("incomplete".into()))));
    assert_eq!(ended("in_progress", &json!(null)), Ok(None));
    for status in ["failed", "cancelled"] {
        assert_eq!(ended(status, &json!(null)).unwrap_err().kind, FailureKind::Server);
    }
}

#[test]
fn what_is_no_response_is_a_failure() {
    for body in ["{}", "[]", "{\"output\":[]}", "{\"choices\":[]}", "{\"output\":[{\"type\":\"reasoning\",\"summary\":[]}]}", "<html>"] {
        assert_eq!(answered(200, body).unwrap_err().kind, FailureKind::Protocol, "{body}");
    }
    let failed = |code: &str, message: &str| {
        let mut body = response(&json!([]));
        body["status"] = json!("failed");
        body["error"] = json!({ "code": code, "message": message });
        answered(200, &body.to_string()).unwrap_err()
    };
    let failure = failed("server_error", "Broke.");
    assert_eq!((failure.kind, failure.message.as_str(), failure.code.as_deref()), (FailureKind::Server, "Broke.", Some("server_error")));
    assert_eq!(failed("rate_limit_exceeded", "x").kind, FailureKind::RateLimit);
    assert_eq!(failed("invalid_prompt", "x").kind, FailureKind::ContentFilter);
    assert_eq!(failed("context_length_exceeded", "x").kind, FailureKind::ContextLength);
    let refused =
        answered(400, r#"{"error":{"message":"No tool output found.","type":"invalid_request_error","param":"input","code":null}}"#);
    assert_eq!(refused.unwrap_err().kind, FailureKind::InvalidRequest);
}

#[test]
fn log_probabilities_come_with_the_text() {
    let logprobs = json!([{ "token": "hi", "logprob": -0.1, "bytes": [1], "top_logprobs": [{ "token": "ho", "logprob": -2.5 }] }]);
    let wanted = [TokenLogprob { token: "hi".into(), logprob: -0.1, alternatives: vec![TopLogprob { token: "ho".into(), logprob: -2.5 }] }];
    let output = json!([{ "type": "message", "content": [{ "type": "output_text", "text": "hi", "logprobs": logprobs }] }]);
    assert_eq!(whole(&output).logprobs, wanted);
    let mut piece = delta("output_text", 0, "hi");
    piece["logprobs"] = logprobs;
    assert_eq!(streamed(&sse(&[created(), piece, completed(&output)])).answer().logprobs, wanted);
}

/// Everything in pieces.
fn everything() -> Vec<Value> {
    vec![
        created(),
        json!({ "type": "response.in_progress", "response": { "id": "resp_1" } }),
        item("added", 0, &reasoning(&[], Some("unfinished"))),
        json!({ "type": "response.reasoning_summary_part.added", "output_index": 0, "part": { "type": "summary_text", "text": "" } }),
        delta("reasoning_summary_text", 0, "Grü"),
        delta("reasoning_summary_text", 0, "bel."),
        item("done", 0, &reasoning(&["Grübel."], Some("gAAA+/=="))),
        item("added", 1, &message(&[])),
        json!({ "type": "response.content_part.added", "output_index": 1, "part": { "type": "output_text", "text": "" } }),
        delta("output_text", 1, "Grüße "),
        delta("output_text", 1, "🦀"),
        json!({ "type": "response.output_text.done", "output_index": 1, "text": "Grüße 🦀" }),
        item("done", 1, &message(&["Grüße 🦀"])),
        item("added", 2, &function_call("call_1", "f", "")),
        item("added", 3, &function_call("call_2", "g", "")),
        delta("function_call_arguments", 2, "{\"k\":"),
        delta("function_call_arguments", 3, "{}"),
        delta("function_call_arguments", 2, "\"ä\"}"),
        json!({ "type": "response.function_call_arguments.done", "output_index": 2, "arguments": "{\"k\":\"ä\"}" }),
        item("done", 2, &function_call("call_1", "f", "{\"k\":\"ä\"}")),
        item("done", 3, &function_call("call_2", "g", "{}")),
        json!({ "type": "response.hologram.delta", "output_index": 9, "delta": "x" }),
        completed(&json!([])),
    ]
}

#[test]
fn a_stream_comes_in_pieces_that_make_the_same_answer() {
    let outcome = streamed(&sse(&everything()));
    assert_eq!(outcome.failure, None);
    let answer = outcome.answer();
    assert_eq!(
        answer.parts,
        [thinking("Grübel.", Some(SIGNATURE), false), text("Grüße 🦀"), call("call_1", "f", "{\"k\":\"ä\"}"), call("call_2", "g", "{}")]
    );
    assert_eq!((answer.finish_reason, answer.usage.unwrap().output_tokens), (Some(FinishReason::ToolCalls), Some(20)));
    assert_eq!(outcome.events[0], Event::Started(Started { id: Some("resp_1".into()), model: Some("gpt-x".into()) }));
}

#[test]
fn what_did_not_come_in_pieces_comes_with_the_end_of_its_item_or_of_the_response() {
    let output = json!([reasoning(&[], Some("gAAA+/==")), message(&["Hi."]), function_call("call_1", "f", "{}")]);
    let wanted = [thinking("", Some(SIGNATURE), true), text("Hi."), call("call_1", "f", "{}")];
    let items: Vec<Value> = (0..).zip(output.as_array().unwrap()).map(|(at, one)| item("done", at, one)).collect();
    let by_items = [vec![created()], items, vec![completed(&output)]].concat();
    let at_once = [created(), completed(&output)];
    for events in [&by_items[..], &at_once[..], &at_once[1..]] {
        let outcome = streamed(&sse(events));
        assert_eq!((outcome.answer().parts.as_slice(), outcome.failure), (&wanted[..], None));
    }
    // As a whole, from a server that knows no streams.
    let outcome = streamed(&response(&output).to_string());
    assert_eq!((outcome.answer().parts.as_slice(), outcome.failure), (&wanted[..], None));
}

#[test]
fn a_stream_that_is_cut_off_is_no_answer() {
    let mut events = vec![created(), delta("output_text", 0, "Hello")];
    for text in [sse(&events), sse(&events) + "data: [DONE]\n\n", sse(&events) + "event: response.completed\ndata: {\"type\":"] {
        let outcome = streamed(&text);
        assert_eq!((outcome.answer().text().as_str(), outcome.failure.unwrap().kind), ("Hello", FailureKind::Broken), "{text}");
    }
    assert_eq!(streamed(&sse(&[created(), completed(&json!([]))])).failure.unwrap().kind, FailureKind::Protocol);
    let mut cut = response(&json!([message(&["Hello"])]));
    cut["status"] = json!("incomplete");
    cut["incomplete_details"] = json!({ "reason": "max_output_tokens" });
    events.push(json!({ "type": "response.incomplete", "response": cut }));
    assert_eq!(streamed(&sse(&events)).answer().finish_reason, Some(FinishReason::Length));
}

#[test]
fn an_error_in_the_middle_of_a_stream_comes_after_what_was_said_before_it() {
    let hello = sse(&[created(), delta("output_text", 0, "Hello")]);
    let failed = json!({ "type": "response.failed", "response": { "id": "resp_1", "status": "failed", "error": { "code": "server_error", "message": "Broke." } } });
    for error in [
        failed,
        json!({ "type": "error", "code": "server_error", "message": "Broke.", "param": null, "sequence_number": 3 }),
        json!({ "type": "error", "error": { "type": "server_error", "code": null, "message": "Broke." } }),
    ] {
        let outcome = streamed(&(hello.clone() + &sse(&[error])));
        assert_eq!(outcome.answer().text(), "Hello");
        let failure = outcome.failure.unwrap();
        assert_eq!(
            (failure.kind, failure.message.as_str(), failure.code.as_deref()),
            (FailureKind::Server, "Broke.", Some("server_error"))
        );
    }
    let wordless = json!({ "type": "response.failed", "response": { "id": "resp_1" } });
    assert_eq!(streamed(&sse(&[wordless])).failure.unwrap().kind, FailureKind::Server);
    let slow = json!({ "type": "error", "code": "rate_limit_exceeded", "message": "Slow down." });
    assert_eq!(streamed(&sse(&[slow])).failure.unwrap().kind, FailureKind::RateLimit);
}

#[test]
fn the_events_are_the_same_however_the_bytes_are_cut() {
    let text = format!("\u{FEFF}: hello\r\n\r\n{}data: [DONE]\n\n", sse(&everything()));
    let once = streamed(&text);
    assert_eq!(once.failure, None);
    for pieces in every_cut(text.as_bytes()) {
        assert_eq!(decode_stream::<OpenAi>(&request(), ResponseHead::new(200), pieces), once);
    }
}
