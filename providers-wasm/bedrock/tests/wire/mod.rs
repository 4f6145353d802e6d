//! Responses as Bedrock writes them.
#![allow(dead_code, unreachable_pub)] // each file of tests uses a part of it

use pg_llm_guest::event_stream::HeaderValue;
use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{Outcome, decode_stream, decode_whole};
use pg_llm_provider_bedrock::Bedrock;

pub fn request() -> ChatRequest {
    ChatRequest::new("amazon.nova-lite-v1:0", vec![Message::user("hello")])
}

/// One whose answer is to come as the arguments of a tool.
pub fn as_tool() -> ChatRequest {
    let format = JsonSchemaFormat { name: "answer".into(), schema: r#"{"type":"object"}"#.into(), strict: true };
    ChatRequest { settings: r#"{"schema_style":"tool"}"#.into(), response_format: Some(ResponseFormat::JsonSchema(format)), ..request() }
}

pub fn head(status: u16, fields: &[(&str, &str)]) -> ResponseHead {
    ResponseHead { status, headers: fields.iter().copied().collect() }
}

pub fn answered(status: u16, fields: &[(&str, &str)], body: &str) -> Result<Answer, Failure> {
    decode_whole::<Bedrock>(&request(), HttpResponse { head: head(status, fields), body: body.into() })
}

pub fn whole(content: &Value, stop_reason: &str) -> Result<Answer, Failure> {
    let body = json!({ "output": { "message": { "role": "assistant", "content": content } }, "stopReason": stop_reason, "usage": { "inputTokens": 1, "outputTokens": 2, "totalTokens": 3 }, "metrics": { "latencyMs": 5 } });
    answered(200, &[("x-amzn-requestid", "id-1")], &body.to_string())
}

/// A message as Bedrock writes it.
pub fn message(message_type: &str, name_of_name: &str, name: &str, payload: &str) -> Vec<u8> {
    let headers = [(name_of_name, name), (":content-type", "application/json"), (":message-type", message_type)];
    let headers = headers.map(|(name, value)| (name.to_owned(), HeaderValue::Text(value.to_owned())));
    EventStreamMessage { headers: headers.to_vec(), payload: payload.as_bytes().to_vec() }.to_bytes()
}

pub fn event(name: &str, payload: &Value) -> Vec<u8> {
    // With the padding that hides lengths.
    let mut payload = payload.clone();
    payload["p"] = "abcdefghij".into();
    message("event", ":event-type", name, &payload.to_string())
}

pub fn exception(name: &str, payload: &Value) -> Vec<u8> {
    message("exception", ":exception-type", name, &payload.to_string())
}

pub fn start() -> Vec<u8> {
    event("messageStart", &json!({ "role": "assistant" }))
}

pub fn tool_start(index: u64, id: &str, name: &str) -> Vec<u8> {
    event("contentBlockStart", &json!({ "contentBlockIndex": index, "start": { "toolUse": { "toolUseId": id, "name": name } } }))
}

pub fn delta(index: u64, delta: &Value) -> Vec<u8> {
    event("contentBlockDelta", &json!({ "contentBlockIndex": index, "delta": delta }))
}

pub fn input(index: u64, piece: &str) -> Vec<u8> {
    delta(index, &json!({ "toolUse": { "input": piece } }))
}

pub fn block_stop(index: u64) -> Vec<u8> {
    event("contentBlockStop", &json!({ "contentBlockIndex": index }))
}

pub fn stop(reason: &str) -> Vec<u8> {
    event("messageStop", &json!({ "stopReason": reason }))
}

pub fn metadata() -> Vec<u8> {
    event("metadata", &json!({ "usage": { "inputTokens": 7, "outputTokens": 8, "totalTokens": 15 }, "metrics": { "latencyMs": 9 } }))
}

pub fn stream_head() -> ResponseHead {
    head(200, &[("content-type", "application/vnd.amazon.eventstream"), ("x-amzn-requestid", "id-1")])
}

pub fn streamed_to(request: &ChatRequest, messages: &[Vec<u8>]) -> Outcome {
    decode_stream::<Bedrock>(request, stream_head(), vec![messages.concat()])
}

pub fn streamed(messages: &[Vec<u8>]) -> Outcome {
    streamed_to(&request(), messages)
}
