//! Messages as they are sent.

use pg_llm_guest::json::{record, set};
use pg_llm_guest::media::{data_url, sniff};
use pg_llm_guest::prelude::*;

/// The `messages` of the input. A message of tool results becomes one message a result.
pub(crate) fn encode(messages: &[Message], multimodal: bool, preserve_thinking: bool) -> Result<Vec<Value>, Failure> {
    let mut encoded = Vec::with_capacity(messages.len());
    for message in messages {
        match message.role {
            Role::System => encoded.push(said("system", message, multimodal)?),
            Role::User => encoded.push(said("user", message, multimodal)?),
            Role::Assistant => encoded.push(assistant(message, multimodal, preserve_thinking)?),
            Role::Tool => {
                for part in &message.parts {
                    let Part::ToolResult(result) = part else { return Err(misplaced("tool")) };
                    encoded.push(tool_result(result, multimodal));
                }
            }
        }
    }
    Ok(encoded)
}

/// Whether an image is to be seen closely. There is one switch for all of them.
pub(crate) fn wants_detail(messages: &[Message]) -> bool {
    let parts = messages.iter().flat_map(|message| &message.parts);
    parts.into_iter().any(|part| matches!(part, Part::Image(image) if image.detail.as_deref() == Some("high")))
}

/// A text in the form of the endpoint.
fn text(text: &str, multimodal: bool) -> Value {
    if !multimodal {
        return text.into();
    }
    if text.is_empty() { Value::Array(Vec::new()) } else { Value::Array(vec![record([("text", text.into())])]) }
}

fn said(role: &str, message: &Message, multimodal: bool) -> Result<Value, Failure> {
    let mut parts = Vec::with_capacity(message.parts.len());
    for part in &message.parts {
        parts.push(match part {
            Part::Text(text) => record([("text", text.as_str().into())]),
            Part::Image(image) if multimodal => record([("image", address(image).into())]),
            Part::Image(_) => return Err(Failure::unsupported("the text endpoint takes no images (the setting multimodal is false)")),
            Part::Document(_) => {
                return Err(Failure::unsupported(
                    "DashScope takes no documents in messages; upload them and name them as fileid://ID in a system message",
                ));
            }
            Part::ToolCall(_) | Part::ToolResult(_) | Part::Thinking(_) => return Err(misplaced(role)),
        });
    }
    let content = if multimodal { parts.into() } else { message.text().into() };
    Ok(record([("role", role.into()), ("content", content)]))
}

/// The model's own words: its text, its tool calls, and its thinking where it wants that back.
fn assistant(message: &Message, multimodal: bool, preserve_thinking: bool) -> Result<Value, Failure> {
    let (mut words, mut thinking, mut calls) = (String::new(), String::new(), Vec::new());
    for part in &message.parts {
        match part {
            Part::Text(piece) => words.push_str(piece),
            Part::Thinking(piece) => thinking.push_str(&piece.text),
            Part::ToolCall(call) => calls.push(tool_call(call, calls.len())),
            Part::Image(_) | Part::Document(_) | Part::ToolResult(_) => return Err(misplaced("assistant")),
        }
    }
    let mut encoded = Map::new();
    set(&mut encoded, "role", "assistant".into());
    set(&mut encoded, "content", text(&words, multimodal));
    if preserve_thinking && !thinking.is_empty() {
        set(&mut encoded, "reasoning_content", thinking.into());
    }
    if !calls.is_empty() {
        set(&mut encoded, "tool_calls", calls.into());
    }
    Ok(encoded.into())
}

fn tool_call(call: &ToolCall, index: usize) -> Value {
    // A call without arguments has to be an object all the same.
    let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    record([
        ("id", call.id.as_str().into()),
        ("type", "function".into()),
        ("index", index.into()),
        ("function", record([("name", call.name.as_str().into()), ("arguments", arguments.into())])),
    ])
}

/// The wire has no word for a result that is an error: the content says so.
fn tool_result(result: &ToolResult, multimodal: bool) -> Value {
    let mut encoded = Map::new();
    set(&mut encoded, "role", "tool".into());
    set(&mut encoded, "content", text(&result.content, multimodal));
    set(&mut encoded, "tool_call_id", result.call_id.as_str().into());
    if let Some(name) = &result.name {
        set(&mut encoded, "name", name.as_str().into());
    }
    encoded.into()
}

/// The address itself, or the bytes as a `data:` URL.
fn address(image: &Media) -> String {
    match &image.source {
        MediaSource::Url(url) => url.clone(),
        MediaSource::Bytes(bytes) => data_url(image.media_type.as_deref().or_else(|| sniff(bytes)).unwrap_or("image/png"), bytes),
    }
}

fn misplaced(role: &str) -> Failure {
    let mut words = "a part of this kind cannot stand in a message of role ".to_owned();
    words.push_str(role);
    Failure::invalid(words)
}
