//! Messages as they are sent.

use pg_llm_guest::base64::Engine as _;
use pg_llm_guest::base64::engine::general_purpose::STANDARD;
use pg_llm_guest::json::{object, record, set};
use pg_llm_guest::prelude::*;

/// The `messages` of the body. A message of tool results becomes one message a result.
pub(crate) fn encode(messages: &[Message]) -> Result<Vec<Value>, Failure> {
    let mut encoded = Vec::with_capacity(messages.len());
    for (at, message) in messages.iter().enumerate() {
        match message.role {
            Role::System => encoded.push(said("system", message)?),
            Role::User => encoded.push(said("user", message)?),
            Role::Assistant => encoded.push(assistant(message)?),
            Role::Tool => {
                for part in &message.parts {
                    let Part::ToolResult(result) = part else { return Err(misplaced(part, "tool")) };
                    encoded.push(tool_result(result, &messages[..at]));
                }
            }
        }
    }
    Ok(encoded)
}

/// Texts as one, and images beside it: where they stood between the texts cannot be said. A hint of their resolution has no place, being only a hint.
fn said(role: &str, message: &Message) -> Result<Value, Failure> {
    let mut images: Vec<Value> = Vec::new();
    for part in &message.parts {
        match part {
            Part::Text(_) => {}
            Part::Image(Media { source: MediaSource::Bytes(bytes), .. }) => images.push(STANDARD.encode(bytes).into()),
            Part::Image(_) => return Err(Failure::unsupported("Ollama takes the bytes of an image, not its address")),
            Part::Document(_) => return Err(Failure::unsupported("Ollama takes no documents, only texts and images")),
            Part::ToolCall(_) | Part::ToolResult(_) | Part::Thinking(_) => return Err(misplaced(part, role)),
        }
    }
    let mut encoded = Map::new();
    set(&mut encoded, "role", role.into());
    set(&mut encoded, "content", message.text().into());
    if !images.is_empty() {
        set(&mut encoded, "images", images.into());
    }
    Ok(encoded.into())
}

/// The model's own words. What another provider encrypted of its thinking says nothing to these models, and is left out.
fn assistant(message: &Message) -> Result<Value, Failure> {
    let (mut text, mut thinking, mut calls) = (String::new(), String::new(), Vec::new());
    for part in &message.parts {
        match part {
            Part::Text(piece) => text.push_str(piece),
            Part::Thinking(piece) => thinking.push_str(&piece.text),
            Part::ToolCall(call) => {
                let call = tool_call(call, calls.len())?;
                calls.push(call);
            }
            Part::Image(_) | Part::Document(_) | Part::ToolResult(_) => return Err(misplaced(part, "assistant")),
        }
    }
    let mut encoded = Map::new();
    set(&mut encoded, "role", "assistant".into());
    set(&mut encoded, "content", text.into());
    if !thinking.is_empty() {
        set(&mut encoded, "thinking", thinking.into());
    }
    if !calls.is_empty() {
        set(&mut encoded, "tool_calls", calls.into());
    }
    Ok(encoded.into())
}

fn tool_call(call: &ToolCall, index: usize) -> Result<Value, Failure> {
    let arguments = if call.arguments.trim().is_empty() {
        Map::new()
    } else {
        object(&format!("Ollama takes arguments of tool calls as objects; the one of \"{}\"", call.name), &call.arguments)?
    };
    let function = record([("index", index.into()), ("name", call.name.as_str().into()), ("arguments", arguments.into())]);
    Ok(record([("id", call.id.as_str().into()), ("type", "function".into()), ("function", function)]))
}

/// Servers that know no ids go by the tool's name. That it is an error, the text has to say.
fn tool_result(result: &ToolResult, before: &[Message]) -> Value {
    let name = result.name.as_deref().or_else(|| {
        let calls = before.iter().rev().flat_map(|message| &message.parts);
        calls
            .filter_map(|part| if let Part::ToolCall(call) = part { Some(call) } else { None })
            .find_map(|call| (call.id == result.call_id).then_some(call.name.as_str()))
    });
    let mut encoded = Map::new();
    set(&mut encoded, "role", "tool".into());
    set(&mut encoded, "content", result.content.as_str().into());
    if let Some(name) = name {
        set(&mut encoded, "tool_name", name.into());
    }
    set(&mut encoded, "tool_call_id", result.call_id.as_str().into());
    encoded.into()
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
