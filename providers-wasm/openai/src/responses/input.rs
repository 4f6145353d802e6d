//! Messages as items.

use pg_llm_guest::json::{object, record, set, string};
use pg_llm_guest::prelude::*;

use crate::messages::{address, misplaced};
use crate::settings::{DocumentStyle, Wire};

/// `instructions` and `input` of the body: what the operator says first, and an item a message, a call, a result, a thought.
pub(crate) fn encode(messages: &[Message], wire: &Wire, body: &mut Map<String, Value>) -> Result<(), Failure> {
    let first = messages.iter().position(|message| message.role != Role::System).unwrap_or(messages.len());
    let mut instructions = String::new();
    for message in &messages[..first] {
        if let Some(part) = message.parts.iter().find(|part| !matches!(part, Part::Text(_))) {
            return Err(misplaced(part, "system"));
        }
        if !instructions.is_empty() {
            instructions.push_str("\n\n");
        }
        instructions.push_str(&message.text());
    }
    if !instructions.is_empty() {
        set(body, "instructions", instructions.into());
    }
    let mut input = Vec::with_capacity(messages.len());
    items(&messages[first..], wire, &mut input)?;
    set(body, "input", input.into());
    Ok(())
}

fn items(messages: &[Message], wire: &Wire, input: &mut Vec<Value>) -> Result<(), Failure> {
    for message in messages {
        match message.role {
            Role::System => input.push(item(wire.system_role()?, content(message, wire)?)),
            Role::User => input.push(item("user", content(message, wire)?)),
            Role::Assistant => assistant(message, input)?,
            Role::Tool => {
                for part in &message.parts {
                    let Part::ToolResult(result) = part else { return Err(misplaced(part, "tool")) };
                    input.push(record([
                        ("type", string("function_call_output")),
                        ("call_id", string(&result.call_id)),
                        ("output", string(&result.content)),
                    ]));
                }
            }
        }
    }
    Ok(())
}

fn item(role: &str, content: Value) -> Value {
    record([("type", string("message")), ("role", role.into()), ("content", content)])
}

/// Text alone is one string; with anything else it is a list of parts.
fn content(message: &Message, wire: &Wire) -> Result<Value, Failure> {
    if message.parts.iter().all(|part| matches!(part, Part::Text(_))) {
        return Ok(message.text().into());
    }
    let mut parts = Vec::with_capacity(message.parts.len());
    for part in &message.parts {
        parts.push(match part {
            Part::Text(text) => record([("type", string("input_text")), ("text", string(text))]),
            Part::Image(image) => record([
                ("type", string("input_image")),
                ("image_url", address(image, "image/png").into()),
                ("detail", image.detail.as_deref().unwrap_or("auto").into()),
            ]),
            Part::Document(document) => file(document, wire)?,
            Part::ToolCall(_) | Part::ToolResult(_) | Part::Thinking(_) => return Err(misplaced(part, "user or system")),
        });
    }
    Ok(parts.into())
}

fn file(document: &Media, wire: &Wire) -> Result<Value, Failure> {
    if wire.document_style()? == DocumentStyle::None {
        return Err(Failure::unsupported("this endpoint takes no documents (document_style is none)"));
    }
    let mut encoded = Map::new();
    set(&mut encoded, "type", string("input_file"));
    let data = address(document, "application/octet-stream").into();
    match (&document.source, &document.name) {
        // The name is for data; an address has its own.
        (MediaSource::Url(_), _) => set(&mut encoded, "file_url", data),
        (MediaSource::Bytes(_), name) => {
            set(&mut encoded, "filename", name.as_deref().unwrap_or("document").into());
            set(&mut encoded, "file_data", data);
        }
    }
    Ok(encoded.into())
}

/// The model's own words, in their order.
fn assistant(message: &Message, input: &mut Vec<Value>) -> Result<(), Failure> {
    for part in &message.parts {
        match part {
            Part::Text(text) if text.is_empty() => {}
            Part::Text(text) => input.push(item("assistant", string(text))),
            Part::ToolCall(call) => {
                let arguments = if call.arguments.trim_ascii().is_empty() { "{}" } else { &call.arguments };
                input.push(record([
                    ("type", string("function_call")),
                    ("call_id", string(&call.id)),
                    ("name", string(&call.name)),
                    ("arguments", arguments.into()),
                ]));
            }
            // Without what this provider encrypted (another provider's, or none was asked for) it is no item that could be read again.
            Part::Thinking(thinking) => input.extend(reasoning(thinking)),
            Part::Image(_) | Part::Document(_) | Part::ToolResult(_) => return Err(misplaced(part, "assistant")),
        }
    }
    Ok(())
}

fn reasoning(thinking: &Thinking) -> Option<Value> {
    let signed = object("the signature", thinking.signature.as_deref()?).ok()?;
    signed.get("encrypted_content")?;
    let mut item = Map::new();
    set(&mut item, "type", string("reasoning"));
    for (name, value) in signed {
        set(&mut item, &name, value);
    }
    let text = record([("type", string("summary_text")), ("text", string(&thinking.text))]);
    set(&mut item, "summary", if thinking.text.is_empty() { Vec::new() } else { vec![text] }.into());
    Some(item.into())
}
