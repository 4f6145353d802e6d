//! Messages as they are sent.

use pg_llm_guest::json::{record, set};
use pg_llm_guest::media::{data_url, sniff};
use pg_llm_guest::prelude::*;

use crate::TOOL_PLAN;

/// The `messages` and the `documents` of the body. A message of tool results becomes one message a result.
pub(crate) fn encode(messages: &[Message]) -> Result<(Vec<Value>, Vec<Value>), Failure> {
    let mut encoded = Vec::with_capacity(messages.len());
    let mut documents = Vec::new();
    for message in messages {
        match message.role {
            Role::System => {
                if let Some(part) = message.parts.iter().find(|part| !matches!(part, Part::Text(_))) {
                    return Err(misplaced(part, "system"));
                }
                encoded.push(record([("role", "system".into()), ("content", message.text().into())]));
            }
            Role::User => encoded.push(user(message, &mut documents)?),
            Role::Assistant => encoded.push(assistant(message)?),
            Role::Tool => {
                for part in &message.parts {
                    let Part::ToolResult(result) = part else { return Err(misplaced(part, "tool")) };
                    encoded.push(record([
                        ("role", "tool".into()),
                        ("tool_call_id", result.call_id.as_str().into()),
                        ("content", result.content.as_str().into()),
                    ]));
                }
            }
        }
    }
    Ok((encoded, documents))
}

/// Text alone is one string; with images it is a list of parts.
fn user(message: &Message, documents: &mut Vec<Value>) -> Result<Value, Failure> {
    let mut parts = Vec::with_capacity(message.parts.len());
    let mut only_text = true;
    for part in &message.parts {
        match part {
            Part::Text(piece) => parts.push(text(piece)),
            Part::Image(image) => {
                only_text = false;
                parts.push(image_part(image));
            }
            Part::Document(media) => documents.push(document(media)?),
            Part::ToolCall(_) | Part::ToolResult(_) | Part::Thinking(_) => return Err(misplaced(part, "user")),
        }
    }
    let content = if only_text { message.text().into() } else { parts.into() };
    Ok(record([("role", "user".into()), ("content", content)]))
}

/// The model's own words: text and thinking in their order, what it planned, and its tool calls.
fn assistant(message: &Message) -> Result<Value, Failure> {
    let (mut content, mut plan, mut calls) = (Vec::new(), String::new(), Vec::new());
    for part in &message.parts {
        match part {
            Part::Text(piece) if piece.is_empty() => {}
            Part::Text(piece) => content.push(text(piece)),
            Part::Thinking(piece) if piece.text.is_empty() => {}
            Part::Thinking(piece) if piece.signature.as_deref() == Some(TOOL_PLAN) => plan.push_str(&piece.text),
            Part::Thinking(piece) => content.push(record([("type", "thinking".into()), ("thinking", piece.text.as_str().into())])),
            Part::ToolCall(call) => calls.push(tool_call(call)),
            Part::Image(_) | Part::Document(_) | Part::ToolResult(_) => return Err(misplaced(part, "assistant")),
        }
    }
    let mut encoded = Map::new();
    set(&mut encoded, "role", "assistant".into());
    if !content.is_empty() {
        set(&mut encoded, "content", content.into());
    } else if calls.is_empty() {
        set(&mut encoded, "content", "".into());
    }
    if !plan.is_empty() {
        set(&mut encoded, TOOL_PLAN, plan.into());
    }
    if !calls.is_empty() {
        set(&mut encoded, "tool_calls", calls.into());
    }
    Ok(encoded.into())
}

fn text(text: &str) -> Value {
    record([("type", "text".into()), ("text", text.into())])
}

fn tool_call(call: &ToolCall) -> Value {
    // A call without arguments has to be an object all the same.
    let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    let function = record([("name", call.name.as_str().into()), ("arguments", arguments.into())]);
    record([("id", call.id.as_str().into()), ("type", "function".into()), ("function", function)])
}

fn image_part(image: &Media) -> Value {
    let address = match &image.source {
        MediaSource::Url(url) => url.clone(),
        MediaSource::Bytes(bytes) => data_url(image.media_type.as_deref().or_else(|| sniff(bytes)).unwrap_or("image/png"), bytes),
    };
    let mut encoded = Map::new();
    set(&mut encoded, "url", address.into());
    if let Some(detail) = &image.detail {
        set(&mut encoded, "detail", detail.as_str().into());
    }
    record([("type", "image_url".into()), ("image_url", encoded.into())])
}

fn document(document: &Media) -> Result<Value, Failure> {
    let text = match &document.source {
        MediaSource::Bytes(bytes) if sniff(bytes).is_none() => std::str::from_utf8(bytes).ok(),
        MediaSource::Bytes(_) | MediaSource::Url(_) => None,
    };
    let text = text.ok_or_else(|| Failure::unsupported("Cohere takes the text of a document (UTF-8), not its address, and no PDF"))?;
    let mut data = Map::new();
    if let Some(name) = &document.name {
        set(&mut data, "title", name.as_str().into());
    }
    set(&mut data, "text", text.into());
    Ok(record([("data", data.into())]))
}

fn misplaced(part: &Part, role: &str) -> Failure {
    let what = match part {
        Part::Text(_) => "a text",
        Part::Image(_) => "an image",
        Part::Document(_) => "a document",
        Part::ToolCall(_) => "a tool call",
        Part::ToolResult(_) => "a tool result",
        Part::Thinking(_) => "thinking",
    };
    Failure::invalid(format!("{what} cannot be part of a message of role {role}"))
}
