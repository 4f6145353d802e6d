//! Messages as they are sent.

use pg_llm_guest::failure::words;
use pg_llm_guest::json::{record, set, string};
use pg_llm_guest::media::{data_url, sniff};
use pg_llm_guest::prelude::*;

use crate::settings::{DocumentStyle, Wire};

/// The `messages` of the body. A message of tool results becomes one message a result.
pub(crate) fn encode(messages: &[Message], wire: &Wire) -> Result<Value, Failure> {
    let mut encoded = Vec::with_capacity(messages.len());
    all(messages, wire, &mut encoded)?;
    Ok(encoded.into())
}

fn all(messages: &[Message], wire: &Wire, encoded: &mut Vec<Value>) -> Result<(), Failure> {
    // Within a loop of tool calls: after the last thing that a user said.
    let turn = messages.iter().rposition(|message| message.role == Role::User).map_or(0, |at| at + 1);
    let with_name = wire.is_set("tool_result_name")?;
    for (at, message) in messages.iter().enumerate() {
        match message.role {
            Role::System => encoded.push(said(wire.system_role()?, message, wire)?),
            Role::User => encoded.push(said("user", message, wire)?),
            Role::Assistant => encoded.push(assistant(message, at >= turn && wire.is_set("reasoning_replay")?)?),
            Role::Tool => {
                for part in &message.parts {
                    let Part::ToolResult(result) = part else { return Err(misplaced(part, "tool")) };
                    encoded.push(tool_result(result, with_name));
                }
            }
        }
    }
    Ok(())
}

fn said(role: &str, message: &Message, wire: &Wire) -> Result<Value, Failure> {
    Ok(record([("role", role.into()), ("content", content(message, wire)?)]))
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
    set(&mut encoded, "role", string("assistant"));
    set(&mut encoded, "content", if text.is_empty() && !calls.is_empty() { Value::Null } else { text.into() });
    if replay_thinking && !thinking.is_empty() {
        set(&mut encoded, "reasoning_content", thinking.into());
    }
    if !calls.is_empty() {
        set(&mut encoded, "tool_calls", calls.into());
    }
    Ok(encoded.into())
}

fn tool_call(call: &ToolCall) -> Value {
    // A call without arguments has to be an object all the same.
    let arguments = if call.arguments.trim_ascii().is_empty() { "{}" } else { &call.arguments };
    let mut encoded = Map::new();
    set(&mut encoded, "id", string(&call.id));
    set(&mut encoded, "type", string("function"));
    set(&mut encoded, "function", record([("name", string(&call.name)), ("arguments", arguments.into())]));
    if let Some(signature) = &call.signature {
        // Where Gemini's compatible endpoint had it, and wants it back.
        set(&mut encoded, "extra_content", record([("google", record([("thought_signature", string(signature))]))]));
    }
    encoded.into()
}

fn tool_result(result: &ToolResult, with_name: bool) -> Value {
    let mut encoded = Map::new();
    set(&mut encoded, "role", string("tool"));
    set(&mut encoded, "tool_call_id", string(&result.call_id));
    if let Some(name) = result.name.as_deref().filter(|_| with_name) {
        set(&mut encoded, "name", name.into());
    }
    set(&mut encoded, "content", string(&result.content));
    encoded.into()
}

/// Text alone is one string, which every server takes; with anything else it is a list of parts.
fn content(message: &Message, wire: &Wire) -> Result<Value, Failure> {
    if message.parts.iter().all(|part| matches!(part, Part::Text(_))) {
        return Ok(message.text().into());
    }
    let mut parts = Vec::with_capacity(message.parts.len());
    for part in &message.parts {
        parts.push(match part {
            Part::Text(text) => record([("type", string("text")), ("text", string(text))]),
            Part::Image(image) => image_part(image),
            Part::Document(document) => document_part(document, wire.document_style()?)?,
            Part::ToolCall(_) | Part::ToolResult(_) | Part::Thinking(_) => return Err(misplaced(part, "user or system")),
        });
    }
    Ok(parts.into())
}

/// The address itself, or the bytes as a `data:` URL.
pub(crate) fn address(media: &Media, default_type: &str) -> String {
    match &media.source {
        MediaSource::Url(url) => url.clone(),
        MediaSource::Bytes(bytes) => data_url(media.media_type.as_deref().or_else(|| sniff(bytes)).unwrap_or(default_type), bytes),
    }
}

fn image_part(image: &Media) -> Value {
    let mut encoded = Map::new();
    set(&mut encoded, "url", address(image, "image/png").into());
    if let Some(detail) = &image.detail {
        set(&mut encoded, "detail", string(detail));
    }
    record([("type", string("image_url")), ("image_url", encoded.into())])
}

fn document_part(document: &Media, style: DocumentStyle) -> Result<Value, Failure> {
    if style == DocumentStyle::None {
        return Err(Failure::unsupported("this endpoint takes no documents (document_style is none)"));
    }
    if style == DocumentStyle::File && matches!(document.source, MediaSource::Url(_)) {
        return Err(Failure::unsupported("this endpoint takes the bytes of a document, not its address (document_style is file)"));
    }
    let data = address(document, "application/octet-stream").into();
    let name = document.name.as_deref();
    Ok(if style == DocumentStyle::DocumentUrl {
        let mut encoded = Map::new();
        set(&mut encoded, "type", string("document_url"));
        set(&mut encoded, "document_url", data);
        if let Some(name) = name {
            set(&mut encoded, "document_name", name.into());
        }
        encoded.into()
    } else {
        record([("type", string("file")), ("file", record([("filename", name.unwrap_or("document").into()), ("file_data", data)]))])
    })
}

pub(crate) fn misplaced(part: &Part, role: &str) -> Failure {
    let what = match part {
        Part::Text(_) => "a text",
        Part::Image(_) => "an image",
        Part::Document(_) => "a document",
        Part::ToolCall(_) => "a tool call",
        Part::ToolResult(_) => "a tool result",
        Part::Thinking(_) => "thinking",
    };
    Failure::invalid(words(&[what, " cannot be part of a message of role ", role]))
}
