//! Conversations as JSON: OpenAI's message form, with parts of ours, both ways.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pg_llm_sandbox::types::{Media, MediaSource, Message, Part, Role, Thinking, ToolCall, ToolResult};
use serde_json::{Value, json};

use crate::error::ConfigError;
use crate::media::{self, Kind};

/// An array of messages.
pub(crate) fn parse(value: &Value) -> Result<Vec<Message>, ConfigError> {
    let list = value.as_array().ok_or_else(|| wrong("must be an array"))?;
    list.iter().enumerate().map(|(i, m)| message(m).map_err(|e| wrong(&format!("message {} {e}", i + 1)))).collect()
}

/// One message; none for what is none.
pub(crate) fn read(value: &Value) -> Option<Message> {
    message(value).ok()
}

fn wrong(what: &str) -> ConfigError {
    let colon = if what.starts_with("message") { ":" } else { "" };
    ConfigError::invalid(
        format!("option \"messages\"{colon} {what}"),
        Some(
            "[{\"role\": \"user\", \"content\": \"...\"}, {\"role\": \"assistant\", \"content\": \"...\"}], content also as an array of parts; \
             {\"role\": \"tool\", \"tool_call_id\": \"...\", \"content\": ...}; or what the key \"message\" of pg_llm_chat_json() holds."
                .to_owned(),
        ),
    )
}

fn message(value: &Value) -> Result<Message, String> {
    if !value.is_object() {
        return Err("is no object".to_owned());
    }
    let role = match value.get("role") {
        Some(Value::String(role)) => match role.as_str() {
            "system" | "developer" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "tool" => Role::Tool,
            other => {
                return Err(format!(
                    "has the role \"{}\": system, developer, user, assistant and tool are known",
                    crate::error::clip(other, 50)
                ));
            }
        },
        _ => return Err("has no role".to_owned()),
    };
    let parts = match role {
        Role::Tool => tool_results(value)?,
        Role::Assistant => said_by_model(value)?,
        Role::System | Role::User => {
            let parts = content(value)?.ok_or("has no content")?;
            if let Some(part) = parts.iter().find(|p| !matches!(p, Part::Text(_) | Part::Image(_) | Part::Document(_))) {
                return Err(format!("has a {} in its content, which only {} may have", part_name(part), part_owner(part)));
            }
            parts
        }
    };
    Ok(Message { role, parts })
}

/// A result of one call; or, as parts, those of several.
fn tool_results(value: &Value) -> Result<Vec<Part>, String> {
    let given = value.get("content").ok_or("has no content")?;
    if value.get("tool_call_id").is_none()
        && let Some(list) = given.as_array().filter(|list| list.iter().any(|part| part.get("type").is_some_and(|t| t == "tool_result")))
    {
        let parts = list.iter().enumerate().map(|(i, p)| part(p).map_err(|e| format!("has content whose part {} {e}", i + 1)));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        return match parts.iter().find(|p| !matches!(p, Part::ToolResult(_))) {
            Some(part) => Err(format!("has a {} among its tool results", part_name(part))),
            None => Ok(parts),
        };
    }
    let call_id = word(value, "tool_call_id")?.ok_or("of role tool has no tool_call_id")?;
    Ok(vec![Part::ToolResult(ToolResult {
        call_id,
        name: word(value, "name")?,
        content: result_text(given),
        is_error: flag(value, "is_error")?,
    })])
}

/// Models are told a result as text: a string as it is, text parts joined, other JSON as it is written.
fn result_text(content: &Value) -> String {
    let texts = content.as_array().filter(|list| !list.is_empty()).and_then(|list| {
        let text = |part: &Value| {
            part.get("text").and_then(Value::as_str).filter(|_| part.get("type").is_some_and(|t| t == "text")).map(str::to_owned)
        };
        list.iter().map(text).collect::<Option<String>>()
    });
    match content {
        Value::String(text) => text.clone(),
        other => texts.unwrap_or_else(|| other.to_string()),
    }
}

fn said_by_model(value: &Value) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    // As servers show it that have no signatures.
    if let Some(text) = word(value, "reasoning_content")? {
        parts.push(Part::Thinking(Thinking { text, signature: None, redacted: false }));
    }
    let content = content(value)?;
    let calls = match value.get("tool_calls") {
        None | Some(Value::Null) => &[],
        Some(Value::Array(calls)) => calls.as_slice(),
        Some(_) => return Err("has tool_calls that are no array".to_owned()),
    };
    if content.is_none() && calls.is_empty() {
        return Err("has neither content nor tool_calls".to_owned());
    }
    parts.extend(content.into_iter().flatten());
    for (i, call) in calls.iter().enumerate() {
        parts.push(Part::ToolCall(tool_call(call).map_err(|e| format!("has a tool call {} that {e}", i + 1))?));
    }
    match parts.iter().find(|p| matches!(p, Part::ToolResult(_))) {
        Some(part) => Err(format!("has a {} in its content, which only {} may have", part_name(part), part_owner(part))),
        None => Ok(parts),
    }
}

/// None for null and nothing.
fn content(value: &Value) -> Result<Option<Vec<Part>>, String> {
    match value.get("content") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(vec![Part::Text(text.clone())])),
        Some(Value::Array(list)) if list.is_empty() => Err("has content without a part".to_owned()),
        Some(Value::Array(list)) => list
            .iter()
            .enumerate()
            .map(|(i, p)| part(p).map_err(|e| format!("has content whose part {} {e}", i + 1)))
            .collect::<Result<_, _>>()
            .map(Some),
        Some(_) => Err("has content that is neither a string nor an array of parts".to_owned()),
    }
}

fn part(value: &Value) -> Result<Part, String> {
    if let Some(text) = value.as_str() {
        return Ok(Part::Text(text.to_owned()));
    }
    let kind = value.get("type").and_then(Value::as_str).ok_or("has no type")?;
    Ok(match kind {
        "text" | "input_text" | "output_text" => Part::Text(word(value, "text")?.ok_or("has no text")?),
        "image" => Part::Image(media::parse(value, Kind::Image)?),
        "image_url" => Part::Image(media::parse(value.get("image_url").ok_or("has no image_url")?, Kind::Image)?),
        "document" => Part::Document(media::parse(value, Kind::Document)?),
        "file" => Part::Document(file(value)?),
        "tool_call" => Part::ToolCall(tool_call(value)?),
        "tool_result" => Part::ToolResult(ToolResult {
            call_id: match word(value, "tool_call_id")? {
                Some(id) => id,
                None => word(value, "call_id")?.ok_or("has no tool_call_id")?,
            },
            name: word(value, "name")?,
            content: result_text(value.get("content").ok_or("has no content")?),
            is_error: flag(value, "is_error")?,
        }),
        "thinking" => {
            let thinking = Thinking {
                text: word(value, "text")?.unwrap_or_default(),
                signature: word(value, "signature")?,
                redacted: flag(value, "redacted")?,
            };
            if thinking.text.is_empty() && thinking.signature.is_none() {
                return Err("is thinking with neither text nor signature".to_owned());
            }
            Part::Thinking(thinking)
        }
        other => return Err(format!("has the type \"{}\", which is none", crate::error::clip(other, 50))),
    })
}

/// Ours, or OpenAI's `{"type": "file", "file": {"filename": ..., "file_data": ...}}`.
fn file(value: &Value) -> Result<Media, String> {
    let Some(file) = value.get("file") else { return media::parse(value, Kind::Document) };
    let data = word(file, "file_data")?.ok_or("is a file without file_data")?;
    media::parse(&json!({"data": data, "name": file.get("filename")}), Kind::Document)
}

/// OpenAI's form, or the inner object with the id.
fn tool_call(value: &Value) -> Result<ToolCall, String> {
    let inner = value.get("function").unwrap_or(value);
    let arguments = match inner.get("arguments") {
        None | Some(Value::Null) => "{}".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    Ok(ToolCall {
        id: word(value, "id")?.ok_or("has no id")?,
        name: word(inner, "name")?.ok_or("has no name")?,
        arguments,
        signature: word(value, "signature")?,
    })
}

/// A string that says something; none for null and nothing.
fn word(value: &Value, key: &str) -> Result<Option<String>, String> {
    match value.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() && key != "text" => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("has a {key} that is no string")),
    }
}

fn flag(value: &Value, key: &str) -> Result<bool, String> {
    match value.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(format!("has an {key} that is neither true nor false")),
    }
}

fn part_name(part: &Part) -> &'static str {
    match part {
        Part::Text(_) => "text",
        Part::Image(_) => "image",
        Part::Document(_) => "document",
        Part::ToolCall(_) => "tool_call",
        Part::ToolResult(_) => "tool_result",
        Part::Thinking(_) => "thinking",
    }
}

fn part_owner(part: &Part) -> &'static str {
    if matches!(part, Part::ToolResult(_)) { "a message of role tool" } else { "an assistant's message" }
}

/// An answer as the message that [`parse`] reads back to the very same parts.
pub(crate) fn to_json(parts: &[Part]) -> Value {
    of_role(Role::Assistant, parts)
}

/// A message of a role with these parts; [`read`] reads it back.
pub(crate) fn of_role(role: Role, parts: &[Part]) -> Value {
    let content = match parts {
        [] => Value::String(String::new()),
        [Part::Text(text)] => Value::String(text.clone()),
        parts => Value::Array(parts.iter().map(part_to_json).collect()),
    };
    json!({"role": role_name(role), "content": content})
}

/// A role, in the word that a message has for it.
pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    }
}

fn part_to_json(part: &Part) -> Value {
    match part {
        Part::Text(text) => json!({"type": "text", "text": text}),
        Part::Image(media) => media_to_json("image", media),
        Part::Document(media) => media_to_json("document", media),
        // The arguments as the model wrote them: a signature may be of these very bytes.
        Part::ToolCall(call) => tool_call_to_json(call, &Value::String(call.arguments.clone()), Some("tool_call")),
        Part::ToolResult(result) => {
            json!({"type": "tool_result", "tool_call_id": result.call_id, "name": result.name, "content": result.content, "is_error": result.is_error})
        }
        Part::Thinking(thinking) => thinking_to_json(thinking),
    }
}

/// A tool call, with its arguments as given.
pub(crate) fn tool_call_to_json(call: &ToolCall, arguments: &Value, kind: Option<&str>) -> Value {
    let mut value = json!({"id": call.id, "name": call.name, "arguments": arguments, "signature": call.signature});
    if let Some(kind) = kind {
        value["type"] = kind.into();
    }
    value
}

/// A block of thinking.
pub(crate) fn thinking_to_json(thinking: &Thinking) -> Value {
    json!({"type": "thinking", "text": thinking.text, "signature": thinking.signature, "redacted": thinking.redacted})
}

fn media_to_json(kind: &str, media: &Media) -> Value {
    let mut value = json!({"type": kind, "media_type": media.media_type, "name": media.name, "detail": media.detail});
    match &media.source {
        MediaSource::Url(url) => value["url"] = url.as_str().into(),
        MediaSource::Bytes(bytes) => value["data"] = STANDARD.encode(bytes).into(),
    }
    value
}

/// What a message says. Pictures and documents are not in it.
pub(crate) fn spoken(message: &Message) -> Value {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    let parts = message.parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(text.clone()),
        Part::ToolCall(call) => Some(format!("{}({})", call.name, call.arguments)),
        Part::ToolResult(result) => Some(result.content.clone()),
        Part::Image(_) | Part::Document(_) | Part::Thinking(_) => None,
    });
    json!({"role": role, "content": parts.collect::<Vec<_>>().join("\n")})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_with_tools_and_images_is_read() {
        let list = parse(&json!([
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "look", "arguments": "{\"x\":1}"}}]},
            {"role": "tool", "tool_call_id": "1", "content": "a cat"},
        ]))
        .unwrap();
        assert_eq!((list.len(), list[0].role), (4, Role::System));
        assert!(matches!(&list[1].parts[1], Part::Image(m) if m.media_type.as_deref() == Some("image/png")));
        assert!(matches!(&list[2].parts[0], Part::ToolCall(c) if c.arguments == "{\"x\":1}"));
        assert!(matches!(&list[3].parts[0], Part::ToolResult(r) if r.call_id == "1"));
    }

    #[test]
    fn what_is_no_message_is_refused_by_its_number_and_with_the_reason() {
        let good = json!({"role": "user", "content": "x"});
        for (bad, reason) in [
            (json!({}), "has no role"),
            (json!("x"), "is no object"),
            (json!(null), "is no object"),
            (json!({"role": "king", "content": "x"}), "has the role \"king\""),
            (json!({"role": "user"}), "has no content"),
            (json!({"role": "user", "content": null}), "has no content"),
            (json!({"role": "user", "content": []}), "has content without a part"),
            (json!({"role": "user", "content": 7}), "neither a string nor an array"),
            (json!({"role": "user", "content": ["x", {}]}), "has content whose part 2 has no type"),
            (json!({"role": "user", "content": [{"type": "smell"}]}), "part 1 has the type \"smell\""),
            (json!({"role": "user", "content": [{"type": "text"}]}), "part 1 has no text"),
            (json!({"role": "user", "content": [{"type": "image", "data": "???"}]}), "part 1 is neither a URL nor base64"),
            (
                json!({"role": "user", "content": [{"type": "tool_result", "tool_call_id": "1", "content": ""}]}),
                "has a tool_result in its content",
            ),
            (json!({"role": "user", "content": [{"type": "thinking", "text": "hm"}]}), "has a thinking in its content"),
            (json!({"role": "assistant"}), "has neither content nor tool_calls"),
            (json!({"role": "assistant", "content": null, "tool_calls": []}), "has neither content nor tool_calls"),
            (json!({"role": "assistant", "content": null, "tool_calls": {}}), "has tool_calls that are no array"),
            (
                json!({"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f"}}, {"function": {"name": "f"}}]}),
                "has a tool call 2 that has no id",
            ),
            (json!({"role": "assistant", "tool_calls": [{"id": "1", "function": {}}]}), "has a tool call 1 that has no name"),
            (json!({"role": "assistant", "content": [{"type": "thinking"}]}), "neither text nor signature"),
            (json!({"role": "tool", "content": "x"}), "has no tool_call_id"),
            (json!({"role": "tool", "tool_call_id": "", "content": "x"}), "has no tool_call_id"),
            (json!({"role": "tool", "tool_call_id": 1, "content": "x"}), "has a tool_call_id that is no string"),
            (json!({"role": "tool", "tool_call_id": "1"}), "has no content"),
            (json!({"role": "tool", "tool_call_id": "1", "content": "x", "is_error": "yes"}), "has an is_error"),
        ] {
            let message = parse(&json!([good, bad])).unwrap_err().message;
            assert!(message.starts_with("option \"messages\": message 2 ") && message.contains(reason), "{bad}: {message}");
        }
        assert_eq!(parse(&json!({})).unwrap_err().message, "option \"messages\" must be an array");
    }

    #[test]
    fn a_tools_result_is_any_json_and_may_be_an_error() {
        for (content, expected) in [
            (json!("text"), "text"),
            (json!(""), ""),
            (json!({"rain": true}), "{\"rain\":true}"),
            (json!([1, null]), "[1,null]"),
            (json!([]), "[]"),
            (json!(null), "null"),
            (json!(3.5), "3.5"),
            (json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "ab"),
        ] {
            let list = parse(&json!([{"role": "tool", "tool_call_id": "1", "content": content, "is_error": true}])).unwrap();
            assert!(matches!(&list[0].parts[..], [Part::ToolResult(r)] if r.content == expected && r.is_error), "{content}");
        }
        let both = parse(&json!([{"role": "tool", "content": [
            {"type": "tool_result", "tool_call_id": "1", "content": "a"}, {"type": "tool_result", "call_id": "2", "content": {"b": 1}, "is_error": true}]}]))
        .unwrap();
        assert!(
            matches!(&both[0].parts[..], [Part::ToolResult(a), Part::ToolResult(b)] if a.content == "a" && b.content == "{\"b\":1}" && b.is_error)
        );
    }

    #[test]
    fn an_answer_given_back_is_the_answer() {
        let call = |id: &str, arguments: &str, signature: Option<&str>| {
            Part::ToolCall(ToolCall {
                id: id.into(),
                name: "f".into(),
                arguments: arguments.into(),
                signature: signature.map(str::to_owned),
            })
        };
        let thinking = |text: &str, signature: Option<&str>, redacted| {
            Part::Thinking(Thinking { text: text.into(), signature: signature.map(str::to_owned), redacted })
        };
        for parts in [
            vec![Part::Text("x".into())],
            vec![Part::Text(String::new())],
            vec![
                thinking("hm", Some("s1"), false),
                thinking("", Some("secret"), true),
                Part::Text("a".into()),
                call("1", "{\"b\": 1,  \"a\":2}", Some("g")),
            ],
            vec![call("1", "{}", None), call("2", "{\"x\": ", None)],
            vec![call("1", "", None)],
        ] {
            let back = parse(&Value::Array(vec![to_json(&parts)])).unwrap();
            assert_eq!((back[0].role, format!("{:?}", back[0].parts)), (Role::Assistant, format!("{parts:?}")));
        }
        // What others say is kept in the same form.
        let media = |source| Media { source, media_type: Some("image/png".into()), name: Some("n".into()), detail: Some("low".into()) };
        let result =
            |id: &str| Part::ToolResult(ToolResult { call_id: id.into(), name: None, content: "{\"a\": 1}".into(), is_error: true });
        for (role, parts) in [
            (Role::System, vec![Part::Text("be brief".into())]),
            (Role::User, vec![Part::Text("look\0".into()), Part::Image(media(MediaSource::Bytes(b"\x89PNG".to_vec())))]),
            (Role::User, vec![Part::Document(media(MediaSource::Url("https://x/y.pdf".into())))]),
            (Role::Tool, vec![result("1")]),
            (Role::Tool, vec![result("1"), result("2")]),
        ] {
            let back = read(&of_role(role, &parts)).unwrap();
            assert_eq!((back.role, format!("{:?}", back.parts)), (role, format!("{parts:?}")));
        }
        // Nothing said is still somebody's turn.
        assert_eq!(format!("{:?}", parse(&json!([to_json(&[])])).unwrap()[0].parts), format!("{:?}", [Part::Text(String::new())]));
    }
}
