//! Messages as they are sent.

use pg_llm_guest::media::{data_url, sniff};
use pg_llm_guest::prelude::*;

use crate::settings::{DocumentStyle, Wire};

/// The `messages` of the body. A message of tool results becomes one message a result.
pub(crate) fn encode(messages: &[Message], wire: &Wire) -> Result<Vec<Value>, Failure> {
    // Within a loop of tool calls: after the last thing that a user said.
    let turn = messages.iter().rposition(|message| message.role == Role::User).map_or(0, |at| at + 1);
    let mut encoded = Vec::with_capacity(messages.len());
    for (at, message) in messages.iter().enumerate() {
        match message.role {
            Role::System => encoded.push(json!({ "role": wire.system_role, "content": content(message, wire)? })),
            Role::User => encoded.push(json!({ "role": "user", "content": content(message, wire)? })),
            Role::Assistant => encoded.push(assistant(message, wire.reasoning_replay && at >= turn)?),
            Role::Tool => {
                for part in &message.parts {
                    let Part::ToolResult(result) = part else { return Err(misplaced(part, "tool")) };
                    encoded.push(tool_result(result, wire));
                }
            }
        }
    }
    Ok(encoded)
}

/// The model's own words: text as one string, its tool calls, and its thinking where the endpoint wants it back.
fn assistant(message: &Message, replay_thinking: bool) -> Result<Value, Failure> {
    let (mut text, mut thinking, mut calls) = (String::new(), String::new(), Vec::new());
    for part in &message.parts {
        match part {
            Part::Text(piece) => text.push_str(piece),
            Part::Thinking(piece) => thinking.push_str(&piece.text),
            Part::ToolCall(call) => calls.push(tool_call(call)),
            Part::Image(_) | Part::Document(_) | Part::ToolResult(_) => return Err(misplaced(part, "assistant")),
        }
    }
    let mut encoded = Map::new();
    encoded.insert("role".to_owned(), json!("assistant"));
    encoded.insert("content".to_owned(), if text.is_empty() && !calls.is_empty() { Value::Null } else { json!(text) });
    if replay_thinking && !thinking.is_empty() {
        encoded.insert("reasoning_content".to_owned(), json!(thinking));
    }
    if !calls.is_empty() {
        encoded.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    Ok(Value::Object(encoded))
}

fn tool_call(call: &ToolCall) -> Value {
    // A call without arguments has to be an object all the same.
    let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    let mut encoded = json!({ "id": call.id, "type": "function", "function": { "name": call.name, "arguments": arguments } });
    if let Some(signature) = &call.signature {
        // Where Gemini's compatible endpoint had it, and wants it back.
        encoded["extra_content"] = json!({ "google": { "thought_signature": signature } });
    }
    encoded
}

fn tool_result(result: &ToolResult, wire: &Wire) -> Value {
    let mut encoded = json!({ "role": "tool", "tool_call_id": result.call_id, "content": result.content });
    if let Some(name) = result.name.as_ref().filter(|_| wire.tool_result_name) {
        encoded["name"] = json!(name);
    }
    encoded
}

/// Text alone is one string, which every server takes; with anything else it is a list of parts.
fn content(message: &Message, wire: &Wire) -> Result<Value, Failure> {
    if message.parts.iter().all(|part| matches!(part, Part::Text(_))) {
        return Ok(json!(message.text()));
    }
    message
        .parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => Ok(json!({ "type": "text", "text": text })),
            Part::Image(image) => Ok(image_part(image)),
            Part::Document(document) => document_part(document, wire.document_style),
            Part::ToolCall(_) | Part::ToolResult(_) | Part::Thinking(_) => Err(misplaced(part, "user or system")),
        })
        .collect()
}

fn image_part(image: &Media) -> Value {
    let url = match &image.source {
        MediaSource::Url(url) => url.clone(),
        MediaSource::Bytes(bytes) => data_url(image.media_type.as_deref().or_else(|| sniff(bytes)).unwrap_or("image/png"), bytes),
    };
    let mut encoded = json!({ "url": url });
    if let Some(detail) = &image.detail {
        encoded["detail"] = json!(detail);
    }
    json!({ "type": "image_url", "image_url": encoded })
}

fn document_part(document: &Media, style: DocumentStyle) -> Result<Value, Failure> {
    let data = match (&document.source, style) {
        (_, DocumentStyle::None) => return Err(Failure::unsupported("this endpoint takes no documents (document_style is none)")),
        (MediaSource::Url(_), DocumentStyle::File) => {
            return Err(Failure::unsupported("this endpoint takes the bytes of a document, not its address (document_style is file)"));
        }
        (MediaSource::Url(url), _) => url.clone(),
        (MediaSource::Bytes(bytes), _) => {
            let media_type = document.media_type.as_deref().or_else(|| sniff(bytes)).unwrap_or("application/octet-stream");
            data_url(media_type, bytes)
        }
    };
    let name = document.name.as_deref();
    Ok(if style == DocumentStyle::DocumentUrl {
        let mut encoded = json!({ "type": "document_url", "document_url": data });
        if let Some(name) = name {
            encoded["document_name"] = json!(name);
        }
        encoded
    } else {
        json!({ "type": "file", "file": { "filename": name.unwrap_or("document"), "file_data": data } })
    })
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
