//! Messages as they are sent.

use pg_llm_guest::json::{record, set};
use pg_llm_guest::media::{data_url, sniff};
use pg_llm_guest::prelude::*;

/// The `Messages` of the body. A message of tool results becomes one message a result.
pub(crate) fn encode(messages: &[Message]) -> Result<Vec<Value>, Failure> {
    let mut encoded = Vec::with_capacity(messages.len());
    for message in messages {
        match message.role {
            Role::System => encoded.push(said("system", message)?),
            Role::User => encoded.push(said("user", message)?),
            Role::Assistant => encoded.push(assistant(message)?),
            Role::Tool => {
                for part in &message.parts {
                    let Part::ToolResult(result) = part else { return Err(misplaced("tool")) };
                    // The wire has no word for a result that is an error: the content says so.
                    encoded.push(record([
                        ("Role", "tool".into()),
                        ("Content", result.content.as_str().into()),
                        ("ToolCallId", result.call_id.as_str().into()),
                    ]));
                }
            }
        }
    }
    Ok(encoded)
}

/// Text alone is one text; with images it is a list of parts.
fn said(role: &str, message: &Message) -> Result<Value, Failure> {
    let mut parts = Vec::with_capacity(message.parts.len());
    for part in &message.parts {
        parts.push(match part {
            Part::Text(text) => record([("Type", "text".into()), ("Text", text.as_str().into())]),
            // A hint of how closely to look has no place.
            Part::Image(image) => record([("Type", "image_url".into()), ("ImageUrl", record([("Url", address(image).into())]))]),
            Part::Document(_) => return Err(Failure::unsupported("Hunyuan takes no documents in messages")),
            Part::ToolCall(_) | Part::ToolResult(_) | Part::Thinking(_) => return Err(misplaced(role)),
        });
    }
    let is_text = message.parts.iter().all(|part| matches!(part, Part::Text(_)));
    let content = if is_text { ("Content", message.text().into()) } else { ("Contents", parts.into()) };
    Ok(record([("Role", role.into()), content]))
}

/// The model's own words. Its thinking is left out: a request that repeats it is refused.
fn assistant(message: &Message) -> Result<Value, Failure> {
    let (mut text, mut calls) = (String::new(), Vec::new());
    for part in &message.parts {
        match part {
            Part::Text(piece) => text.push_str(piece),
            Part::Thinking(_) => {}
            Part::ToolCall(call) => calls.push(tool_call(call)),
            Part::Image(_) | Part::Document(_) | Part::ToolResult(_) => return Err(misplaced("assistant")),
        }
    }
    let mut encoded = Map::new();
    set(&mut encoded, "Role", "assistant".into());
    set(&mut encoded, "Content", text.into());
    if !calls.is_empty() {
        set(&mut encoded, "ToolCalls", calls.into());
    }
    Ok(encoded.into())
}

fn tool_call(call: &ToolCall) -> Value {
    // A call without arguments has to be an object all the same.
    let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    record([
        ("Id", call.id.as_str().into()),
        ("Type", "function".into()),
        ("Function", record([("Name", call.name.as_str().into()), ("Arguments", arguments.into())])),
    ])
}

/// The address itself, or the bytes as a `data:` URL.
fn address(image: &Media) -> String {
    match &image.source {
        MediaSource::Url(url) => url.clone(),
        MediaSource::Bytes(bytes) => data_url(image.media_type.as_deref().or_else(|| sniff(bytes)).unwrap_or("image/png"), bytes),
    }
}

fn misplaced(role: &str) -> Failure {
    Failure::invalid(["a part of this kind cannot stand in a message of role ", role].concat())
}
