//! Every text of a prompt that a filter may change.

use serde_json::{Map, Value};

use crate::json;
use crate::types::{Media, MediaSource, Message, Part, Role};

/// Offers every text of the messages to `change`, which gives back what is to stand there instead, or none; true when any was changed.
///
/// Texts are: text parts, tool results, the strings in the arguments of tool calls (their JSON stays JSON), and documents of text. Not thinking that is
/// signed, because its signature would not fit any more, and not images.
#[allow(clippy::type_complexity, reason = "a closure's type says more than a name for it")]
pub fn change_texts(
    messages: &mut [Message],
    change: &mut dyn FnMut(Role, &str) -> Result<Option<String>, String>,
) -> Result<bool, String> {
    let mut any = false;
    for message in messages {
        let role = message.role;
        let mut change = |text: &str| change(role, text);
        for part in &mut message.parts {
            any |= match part {
                Part::Text(text) => replace(text, &mut change)?,
                Part::ToolResult(result) => replace(&mut result.content, &mut change)?,
                Part::ToolCall(call) => {
                    let changed = change_json(&call.arguments, &mut change)?;
                    changed.map(|changed| call.arguments = changed).is_some()
                }
                Part::Thinking(thinking) if thinking.signature.is_none() => replace(&mut thinking.text, &mut change)?,
                Part::Document(document) => change_document(document, &mut change)?,
                Part::Thinking(_) | Part::Image(_) => false,
            };
        }
    }
    Ok(any)
}

/// The same for the strings in a JSON text, which stays JSON: none when nothing was changed. What is no JSON is changed as a text.
pub fn change_json(text: &str, change: &mut dyn FnMut(&str) -> Result<Option<String>, String>) -> Result<Option<String>, String> {
    let Ok(mut value) = json::read(text) else { return change(text) };
    Ok(change_value(&mut value, change)?.then(|| json::text(&value)))
}

type Change<'a> = dyn FnMut(&str) -> Result<Option<String>, String> + 'a;

fn replace(text: &mut String, change: &mut Change<'_>) -> Result<bool, String> {
    let changed = change(text)?;
    Ok(changed.map(|changed| *text = changed).is_some())
}

/// Strings, names of members, and numbers, which become strings when they are changed.
fn change_value(value: &mut Value, change: &mut Change<'_>) -> Result<bool, String> {
    match value {
        Value::String(text) => replace(text, change),
        Value::Number(number) => {
            let changed = change(&number.to_string())?;
            Ok(changed.map(|changed| *value = Value::String(changed)).is_some())
        }
        Value::Array(items) => {
            let mut any = false;
            for item in items {
                any |= change_value(item, change)?;
            }
            Ok(any)
        }
        Value::Object(members) => {
            let mut any = false;
            let mut renamed = Map::new();
            for (mut name, mut member) in std::mem::take(members) {
                any |= replace(&mut name, change)? | change_value(&mut member, change)?;
                renamed.insert(name, member);
            }
            *members = renamed;
            Ok(any)
        }
        Value::Null | Value::Bool(_) => Ok(false),
    }
}

fn change_document(document: &mut Media, change: &mut Change<'_>) -> Result<bool, String> {
    let MediaSource::Bytes(bytes) = &mut document.source else { return Ok(false) };
    let textual = document.media_type.as_deref().is_none_or(|media_type| {
        let media_type = media_type.to_ascii_lowercase();
        media_type.starts_with("text/") || ["json", "xml", "yaml", "javascript"].iter().any(|word| media_type.contains(word))
    });
    let Some(text) = std::str::from_utf8(bytes).ok().filter(|_| textual) else { return Ok(false) };
    let changed = change(text)?;
    Ok(changed.map(|changed| *bytes = changed.into_bytes()).is_some())
}
