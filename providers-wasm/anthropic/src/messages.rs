//! Messages as they are sent.

use pg_llm_guest::failure::words;
use pg_llm_guest::json::{object, record, set, string};
use pg_llm_guest::media::{self, sniff};
use pg_llm_guest::prelude::*;

/// `system` and `messages` of the body. Consecutive messages of one role are one on the wire, and results of tools are the user's.
pub(crate) fn encode(messages: &[Message], system_in_place: bool) -> Result<(Option<Value>, Vec<Value>), Failure> {
    let mut system = Vec::new();
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in messages {
        let role = match message.role {
            Role::System if system_in_place && !turns.is_empty() => "system",
            Role::System => {
                blocks(message, &mut system)?;
                continue;
            }
            Role::User | Role::Tool => "user",
            Role::Assistant => "assistant",
        };
        if turns.last().is_none_or(|(last, _)| *last != role) {
            turns.push((role, Vec::new()));
        }
        if let Some((_, turn)) = turns.last_mut() {
            blocks(message, turn)?;
        }
    }
    let system = (!system.is_empty()).then(|| content(system));
    // A turn of the model that said nothing is none, and the wire refuses it.
    let turns = turns.into_iter().filter(|(role, blocks)| *role != "assistant" || !blocks.is_empty());
    Ok((system, turns.map(|(role, blocks)| record([("role", role.into()), ("content", content(blocks))])).collect()))
}

/// A single text stands for itself; anything else is a list of blocks.
fn content(mut blocks: Vec<Value>) -> Value {
    match blocks.as_mut_slice() {
        [] => string(""),
        [only] if only.text_at("type") == Some("text") => only.get_mut("text").map(Value::take).unwrap_or_default(),
        _ => blocks.into(),
    }
}

fn blocks(message: &Message, to: &mut Vec<Value>) -> Result<(), Failure> {
    for part in &message.parts {
        let block = match (part, message.role) {
            (Part::Text(text), Role::System | Role::User | Role::Assistant) => {
                // The wire refuses a block of no text, and it says nothing.
                if text.is_empty() {
                    continue;
                }
                record([("type", string("text")), ("text", string(text))])
            }
            (Part::Image(image), Role::User) => image_block(image)?,
            (Part::Document(document), Role::User) => document_block(document)?,
            (Part::Thinking(thinking), Role::Assistant) => match &thinking.signature {
                Some(data) if thinking.redacted => record([("type", string("redacted_thinking")), ("data", string(data))]),
                Some(signature) => {
                    record([("type", string("thinking")), ("thinking", string(&thinking.text)), ("signature", string(signature))])
                }
                // Another provider's thinking: the wire takes none that it has not signed, and the answer stands without it.
                None => continue,
            },
            (Part::ToolCall(call), Role::Assistant) => tool_use(call)?,
            (Part::ToolResult(result), Role::Tool) => tool_result(result),
            _ => return Err(misplaced(part, message.role)),
        };
        to.push(block);
    }
    Ok(())
}

fn tool_use(call: &ToolCall) -> Result<Value, Failure> {
    let arguments = if call.arguments.trim_ascii().is_empty() { "{}" } else { &call.arguments };
    let input = object(&words(&["the arguments of the call of tool \"", &call.name, "\""]), arguments)?;
    Ok(record([("type", string("tool_use")), ("id", string(&call.id)), ("name", string(&call.name)), ("input", input.into())]))
}

fn tool_result(result: &ToolResult) -> Value {
    let mut encoded = Map::new();
    set(&mut encoded, "type", string("tool_result"));
    set(&mut encoded, "tool_use_id", string(&result.call_id));
    set(&mut encoded, "content", string(&result.content));
    if result.is_error {
        set(&mut encoded, "is_error", true.into());
    }
    encoded.into()
}

fn url(url: &str) -> Value {
    record([("type", string("url")), ("url", url.into())])
}

fn base64(media_type: &str, bytes: &[u8]) -> Value {
    record([("type", string("base64")), ("media_type", media_type.into()), ("data", media::base64(bytes).into())])
}

fn image_block(image: &Media) -> Result<Value, Failure> {
    let source = match &image.source {
        MediaSource::Url(address) => url(address),
        MediaSource::Bytes(bytes) => {
            let media_type = image.media_type.as_deref().filter(|name| !name.is_empty()).or_else(|| sniff(bytes));
            base64(media_type.ok_or_else(|| Failure::invalid("an image's media type is not known: give it"))?, bytes)
        }
    };
    Ok(record([("type", string("image")), ("source", source)]))
}

fn document_block(document: &Media) -> Result<Value, Failure> {
    let source = match &document.source {
        MediaSource::Url(address) => url(address),
        MediaSource::Bytes(bytes) => {
            let media_type =
                document.media_type.as_deref().filter(|name| !name.is_empty()).or_else(|| sniff(bytes)).unwrap_or("text/plain");
            let is_text = media_type.starts_with("text/") || media_type == "application/json" || media_type == "application/xml";
            if media_type == "application/pdf" {
                base64(media_type, bytes)
            } else if is_text {
                let text = std::str::from_utf8(bytes).map_err(|_| Failure::invalid("a document that is text must be UTF-8"))?;
                record([("type", string("text")), ("media_type", string("text/plain")), ("data", text.into())])
            } else {
                return Err(Failure::unsupported(words(&[
                    "Anthropic's Messages API takes documents that are PDF or text, and not ",
                    media_type,
                ])));
            }
        }
    };
    let mut encoded = Map::new();
    set(&mut encoded, "type", string("document"));
    set(&mut encoded, "source", source);
    if let Some(name) = &document.name {
        set(&mut encoded, "title", string(name));
    }
    Ok(encoded.into())
}

fn misplaced(part: &Part, role: Role) -> Failure {
    let what = match part {
        Part::Text(_) => "a text",
        Part::Image(_) => "an image",
        Part::Document(_) => "a document",
        Part::ToolCall(_) => "a tool call",
        Part::ToolResult(_) => "a tool result",
        Part::Thinking(_) => "thinking",
    };
    let role = match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    Failure::invalid(words(&[what, " cannot be part of a message of role ", role]))
}
