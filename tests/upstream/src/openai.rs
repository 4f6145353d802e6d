//! Replies in the shapes of OpenAI's API: good ones, errors, and the ways in which a 200 goes wrong.

use base64::Engine;
use serde_json::{Value, json};

use crate::Reply;

/// The model that replies name, unless told otherwise.
pub const MODEL: &str = "test-model";
const ID: &str = "chatcmpl-test";

/// A chat completion whose usage counts 7 prompt tokens and a completion token per word.
pub fn completion(text: &str) -> Reply {
    Reply::json(200, completion_body(text))
}

/// The body of [`completion`], to be bent.
pub fn completion_body(text: &str) -> Value {
    message_body(json!({"role": "assistant", "content": text, "refusal": null}), "stop", usage(7, words(text)))
}

/// The body of a chat completion with this message, finish reason and usage.
pub fn message_body(message: Value, finish_reason: &str, usage: Value) -> Value {
    json!({
        "id": ID, "object": "chat.completion", "created": 1_700_000_000, "model": MODEL,
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason}],
        "usage": usage,
    })
}

/// A usage object.
pub fn usage(prompt_tokens: usize, completion_tokens: usize) -> Value {
    json!({
        "prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0},
    })
}

/// A completion that calls a function instead of saying anything; `arguments` is the text of a JSON object, or not.
pub fn tool_call(name: &str, arguments: &str) -> Reply {
    let call = json!({"id": "call_test", "type": "function", "function": {"name": name, "arguments": arguments}});
    Reply::json(200, message_body(json!({"role": "assistant", "content": null, "tool_calls": [call]}), "tool_calls", usage(7, 5)))
}

/// A streamed completion: an opening chunk with the role, one chunk per delta, the finish, the usage chunk that
/// `include_usage` brings, `[DONE]`. One HTTP chunk each; pace it by [`Reply::delay_chunks`].
pub fn stream(deltas: &[&str]) -> Reply {
    let completion_tokens = deltas.len();
    let mut events = opening(deltas);
    events.push(sse(&chunk(json!({}), Some("stop"))));
    events.push(sse(&usage_chunk(7, completion_tokens)));
    events.push(DONE.into());
    Reply::chunks(EVENT_STREAM, events)
}

/// A stream that stops after the deltas: no finish, no `[DONE]`, but the HTTP body ends in order.
pub fn stream_without_end(deltas: &[&str]) -> Reply {
    Reply::chunks(EVENT_STREAM, opening(deltas))
}

/// A stream that breaks into an error object after these deltas, long after its status of 200.
pub fn stream_with_error(deltas: &[&str], kind: &str, code: &str, message: &str) -> Reply {
    let mut events = opening(deltas);
    events.push(sse(&error_body(kind, code, message)));
    Reply::chunks(EVENT_STREAM, events)
}

/// A stream of this delta for ever.
pub fn stream_endless(delta: &str) -> Reply {
    Reply::endless(EVENT_STREAM, sse(&chunk(json!({"content": delta}), None)))
}

/// A stream of these events, each a JSON document or `[DONE]` by itself, in `data:` lines.
pub fn stream_of(events: &[Value]) -> Reply {
    Reply::chunks(EVENT_STREAM, events.iter().map(sse))
}

/// The content type of streams.
pub const EVENT_STREAM: &str = "text/event-stream";
/// The event that ends a stream.
pub const DONE: &str = "data: [DONE]\n\n";

/// One event.
pub fn sse(data: &Value) -> String {
    format!("data: {data}\n\n")
}

/// A chunk of a stream.
pub fn chunk(delta: Value, finish_reason: Option<&str>) -> Value {
    json!({
        "id": ID, "object": "chat.completion.chunk", "created": 1_700_000_000, "model": MODEL,
        "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason}],
    })
}

/// The last chunk of a stream that was asked for its usage.
pub fn usage_chunk(prompt_tokens: usize, completion_tokens: usize) -> Value {
    json!({
        "id": ID, "object": "chat.completion.chunk", "created": 1_700_000_000, "model": MODEL,
        "choices": [], "usage": usage(prompt_tokens, completion_tokens),
    })
}

fn opening(deltas: &[&str]) -> Vec<String> {
    let mut events = vec![sse(&chunk(json!({"role": "assistant", "content": ""}), None))];
    events.extend(deltas.iter().map(|delta| sse(&chunk(json!({"content": delta}), None))));
    events
}

/// An error.
pub fn error(status: u16, kind: &str, code: &str, message: &str) -> Reply {
    Reply::json(status, error_body(kind, code, message)).header("x-request-id", "req_test")
}

fn error_body(kind: &str, code: &str, message: &str) -> Value {
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
}

/// Embeddings as lists of numbers, in order.
pub fn embeddings(vectors: &[&[f32]]) -> Reply {
    embeddings_reply(vectors.iter().map(|vector| json!(vector)))
}

/// Embeddings in base64 (little-endian f32), as `encoding_format: base64` asks for.
pub fn embeddings_base64(vectors: &[&[f32]]) -> Reply {
    embeddings_reply(vectors.iter().map(|vector| {
        let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
        json!(base64::engine::general_purpose::STANDARD.encode(bytes))
    }))
}

fn embeddings_reply(vectors: impl Iterator<Item = Value>) -> Reply {
    let data: Vec<Value> =
        vectors.enumerate().map(|(index, embedding)| json!({"object": "embedding", "index": index, "embedding": embedding})).collect();
    let tokens = 3 * data.len();
    Reply::json(200, json!({"object": "list", "model": MODEL, "data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}))
}

/// 200 and JSON that breaks off in its middle, in a complete HTTP body.
pub fn malformed() -> Reply {
    let whole = completion_body("never to be seen").to_string();
    Reply::bytes(200, "application/json", &whole.as_bytes()[..whole.len() / 2])
}

/// 200 and no body.
pub fn empty() -> Reply {
    Reply::bytes(200, "application/json", "")
}

/// A proxy's HTML page with this status.
pub fn html(status: u16) -> Reply {
    Reply::bytes(status, "text/html", "<html><head><title>Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>")
}

/// 200 and a completion of no choices.
pub fn no_choices() -> Reply {
    let mut body = completion_body("");
    body["choices"] = json!([]);
    Reply::json(200, body)
}

/// 200 and a message whose content is null, without a tool call to excuse it.
pub fn null_content() -> Reply {
    Reply::json(200, message_body(json!({"role": "assistant", "content": null}), "stop", usage(7, 0)))
}

/// 200 and a refusal.
pub fn refusal(text: &str) -> Reply {
    Reply::json(200, message_body(json!({"role": "assistant", "content": null, "refusal": text}), "stop", usage(7, words(text))))
}

/// 200 and JSON of another kind.
pub fn wrong_shape() -> Reply {
    Reply::json(200, json!({"answer": [1, 2, 3]}))
}

pub(crate) fn words(text: &str) -> usize {
    text.split_whitespace().count()
}
