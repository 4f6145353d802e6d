//! Messages as they are sent.

use pg_llm_guest::failure::words;
use pg_llm_guest::json::{object, record, set};
use pg_llm_guest::prelude::*;

use crate::media::media_part;
use crate::turn::is_invented;

/// All that the operator says, wherever it stands.
pub(crate) fn system(messages: &[Message]) -> Result<Option<Value>, Failure> {
    let mut parts = Vec::new();
    for part in messages.iter().filter(|message| message.role == Role::System).flat_map(|message| &message.parts) {
        let Part::Text(text) = part else { return Err(Failure::unsupported("a system instruction can only be text")) };
        if !text.is_empty() {
            parts.push(text_part(text));
        }
    }
    Ok((!parts.is_empty()).then(|| record([("parts", parts.into())])))
}

/// The `contents` of the body.
///
/// The results of the calls of one turn belong into one content, so results that follow each other are put together.
pub(crate) fn encode(messages: &[Message], with_ids: bool) -> Result<Vec<Value>, Failure> {
    let mut contents = Vec::with_capacity(messages.len());
    let mut results: Vec<Value> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        if !matches!(message.role, Role::Tool | Role::System) && !results.is_empty() {
            contents.push(content("user", std::mem::take(&mut results)));
        }
        match message.role {
            Role::System => {}
            Role::User => contents.push(content("user", user(message)?)),
            Role::Assistant => contents.push(content("model", model(message, with_ids)?)),
            Role::Tool => {
                for part in &message.parts {
                    let Part::ToolResult(result) = part else { return Err(misplaced(part, "tool")) };
                    results.push(tool_result(result, with_ids, &messages[..at])?);
                }
            }
        }
    }
    if !results.is_empty() {
        contents.push(content("user", results));
    }
    Ok(contents)
}

fn content(role: &str, mut parts: Vec<Value>) -> Value {
    if parts.is_empty() {
        // A content without parts is refused.
        parts.push(text_part(""));
    }
    record([("role", role.into()), ("parts", parts.into())])
}

fn text_part(text: &str) -> Value {
    record([("text", text.into())])
}

fn user(message: &Message) -> Result<Vec<Value>, Failure> {
    let parts = message.parts.iter().filter(|part| !is_empty(part)).map(|part| match part {
        Part::Text(text) => Ok(text_part(text)),
        Part::Image(media) | Part::Document(media) => media_part(media, matches!(part, Part::Document(_))),
        Part::ToolCall(_) | Part::ToolResult(_) | Part::Thinking(_) => Err(misplaced(part, "user")),
    });
    parts.collect()
}

/// What the model said, each part with the signature that it came with.
///
/// Thinking goes back only when it is signed: what is not is a summary for people, and the model does not need it. Redacted thinking is
/// another provider's, which nobody else can read. A signature without thinking is that of a text.
fn model(message: &Message, with_ids: bool) -> Result<Vec<Value>, Failure> {
    let mut parts: Vec<Value> = Vec::with_capacity(message.parts.len());
    let mut pending: Option<&str> = None;
    for part in &message.parts {
        match part {
            Part::Text(_) if is_empty(part) && pending.is_none() => {}
            Part::Text(text) => {
                let mut encoded = text_part(text);
                if let Some(signature) = pending.take() {
                    sign(&mut encoded, signature);
                }
                parts.push(encoded);
            }
            Part::Thinking(thinking) => match &thinking.signature {
                Some(signature) if !thinking.redacted => {
                    if !thinking.text.is_empty() {
                        let mut encoded = record([("text", thinking.text.as_str().into()), ("thought", true.into())]);
                        sign(&mut encoded, signature);
                        parts.push(encoded);
                    } else if let Some(text) = parts.last_mut().filter(|part| is_unsigned_text(part)) {
                        sign(text, signature);
                    } else {
                        parts.extend(pending.replace(signature).map(signature_part));
                    }
                }
                _ => {}
            },
            Part::ToolCall(call) => {
                parts.extend(pending.take().map(signature_part));
                parts.push(tool_call(call, with_ids)?);
            }
            Part::Image(_) | Part::Document(_) | Part::ToolResult(_) => return Err(misplaced(part, "assistant")),
        }
    }
    parts.extend(pending.map(signature_part));
    Ok(parts)
}

/// Vertex AI refuses a text without words.
fn is_empty(part: &Part) -> bool {
    matches!(part, Part::Text(text) if text.is_empty())
}

fn is_unsigned_text(part: &Value) -> bool {
    part.get("text").is_some() && part.get("thought").is_none() && part.get("thoughtSignature").is_none()
}

/// A signature that came without words, as in the last chunk of a stream.
fn signature_part(signature: &str) -> Value {
    let mut part = text_part("");
    sign(&mut part, signature);
    part
}

fn sign(part: &mut Value, signature: &str) {
    if let Value::Object(members) = part {
        set(members, "thoughtSignature", signature.into());
    }
}

fn tool_call(call: &ToolCall, with_id: bool) -> Result<Value, Failure> {
    let arguments = if call.arguments.trim_ascii().is_empty() { "{}" } else { &call.arguments };
    let mut function = Map::new();
    if with_id && !is_invented(&call.id) {
        set(&mut function, "id", call.id.as_str().into());
    }
    set(&mut function, "name", call.name.as_str().into());
    set(&mut function, "args", object(&words(&["the arguments of a call of ", &call.name]), arguments)?.into());
    let mut part = record([("functionCall", function.into())]);
    if let Some(signature) = &call.signature {
        sign(&mut part, signature);
    }
    Ok(part)
}

/// A result wants the name of its tool, which may only be known from the call.
///
/// Its content stays a text, because numbers in an object become doubles on the way.
fn tool_result(result: &ToolResult, with_id: bool, earlier: &[Message]) -> Result<Value, Failure> {
    let called = || {
        earlier.iter().rev().flat_map(|message| message.parts.iter().rev()).find_map(|part| match part {
            Part::ToolCall(call) if call.id == result.call_id => Some(call.name.as_str()),
            _ => None,
        })
    };
    let name = result.name.as_deref().filter(|name| !name.is_empty()).or_else(called).ok_or_else(|| {
        Failure::invalid(words(&["the tool result for ", &result.call_id, " has no name, and there is no call of that id before it"]))
    })?;
    let mut response = Map::new();
    if with_id && !is_invented(&result.call_id) {
        set(&mut response, "id", result.call_id.as_str().into());
    }
    set(&mut response, "name", name.into());
    let key = if result.is_error { "error" } else { "output" };
    set(&mut response, "response", record([(key, result.content.as_str().into())]));
    Ok(record([("functionResponse", response.into())]))
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
    Failure::invalid(words(&[what, " cannot be part of a message of role ", role]))
}
