//! Conversations as JSON: OpenAI's message form, with parts of ours.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pg_llm_sandbox::types::{Media, MediaSource, Message, Part, Role, Thinking, ToolCall, ToolResult};
use serde_json::Value;

use crate::error::ConfigError;

/// An array of messages.
pub(crate) fn parse(value: &Value) -> Result<Vec<Message>, ConfigError> {
    let list = value.as_array().ok_or_else(|| wrong("option \"messages\" must be an array"))?;
    list.iter().enumerate().map(|(i, m)| message(m).ok_or_else(|| wrong(&format!("message {} is not one", i + 1)))).collect()
}

/// An array of images: URLs (`data:` too), base64, or `{"url": ...}`, `{"data": base64, "media_type": ...}`.
pub(crate) fn parse_images(value: &Value) -> Result<Vec<Media>, ConfigError> {
    let list = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
    list.iter()
        .map(|v| {
            media(v).ok_or_else(|| {
                ConfigError::invalid("option \"images\" must hold URLs, base64 strings or {\"data\": ..., \"media_type\": ...}", None)
            })
        })
        .collect()
}

fn wrong(what: &str) -> ConfigError {
    ConfigError::invalid(
        what,
        Some("[{\"role\": \"user\", \"content\": \"...\"}, {\"role\": \"assistant\", \"content\": \"...\"}], content also as an array of parts.".to_owned()),
    )
}

fn message(value: &Value) -> Option<Message> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let role = match value.get("role")?.as_str()? {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        _ => return None,
    };
    if role == Role::Tool && value.get("tool_call_id").is_some() {
        let content = match value.get("content")? {
            Value::String(s) => s.clone(),
            other => other.to_string(),
        };
        let is_error = value.get("is_error").and_then(Value::as_bool).unwrap_or(false);
        return Some(Message {
            role,
            parts: vec![Part::ToolResult(ToolResult { call_id: text("tool_call_id")?, name: text("name"), content, is_error })],
        });
    }
    let mut parts = match value.get("content") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(s)) => vec![Part::Text(s.clone())],
        Some(Value::Array(list)) => list.iter().map(part).collect::<Option<_>>()?,
        Some(_) => return None,
    };
    for call in value.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
        parts.push(Part::ToolCall(tool_call(call)?));
    }
    (!parts.is_empty()).then_some(Message { role, parts })
}

fn part(value: &Value) -> Option<Part> {
    if let Some(text) = value.as_str() {
        return Some(Part::Text(text.to_owned()));
    }
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    Some(match value.get("type")?.as_str()? {
        "text" => Part::Text(text("text")?),
        "image" => Part::Image(media(value)?),
        "image_url" => Part::Image(media(value.get("image_url")?)?),
        "document" | "file" => Part::Document(media(value)?),
        "tool_call" => Part::ToolCall(tool_call(value)?),
        "tool_result" => Part::ToolResult(ToolResult {
            call_id: text("call_id")?,
            name: text("name"),
            content: text("content")?,
            is_error: value.get("is_error").and_then(Value::as_bool).unwrap_or(false),
        }),
        "thinking" => Part::Thinking(Thinking {
            text: text("text").unwrap_or_default(),
            signature: text("signature"),
            redacted: value.get("redacted").and_then(Value::as_bool).unwrap_or(false),
        }),
        _ => return None,
    })
}

fn tool_call(value: &Value) -> Option<ToolCall> {
    let inner = value.get("function").unwrap_or(value);
    let arguments = match inner.get("arguments") {
        None | Some(Value::Null) => "{}".to_owned(),
        Some(Value::String(s)) => s.clone(),
        Some(other) => other.to_string(),
    };
    Some(ToolCall {
        id: value.get("id")?.as_str()?.to_owned(),
        name: inner.get("name")?.as_str()?.to_owned(),
        arguments,
        signature: value.get("signature").and_then(Value::as_str).map(str::to_owned),
    })
}

fn media(value: &Value) -> Option<Media> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let given = text("media_type").map(str::to_owned);
    let (source, sniffed) = if let Some(url) = value.as_str().or_else(|| text("url")) {
        from_url(url)?
    } else {
        let bytes = STANDARD.decode(text("data")?.trim()).ok()?;
        let kind = sniff(&bytes);
        (MediaSource::Bytes(bytes), kind)
    };
    Some(Media { source, media_type: given.or(sniffed), name: text("name").map(str::to_owned), detail: text("detail").map(str::to_owned) })
}

/// A web address, a `data:` URL, or plain base64.
fn from_url(url: &str) -> Option<(MediaSource, Option<String>)> {
    if url.starts_with("https://") || url.starts_with("http://") || url.starts_with("gs://") || url.starts_with("s3://") {
        return Some((MediaSource::Url(url.to_owned()), None));
    }
    let (kind, data) = match url.strip_prefix("data:") {
        Some(rest) => rest.split_once(";base64,").map(|(kind, data)| (Some(kind.to_owned()), data))?,
        None => (None, url),
    };
    let bytes = STANDARD.decode(data.trim()).ok()?;
    let kind = kind.or_else(|| sniff(&bytes));
    Some((MediaSource::Bytes(bytes), kind))
}

fn sniff(bytes: &[u8]) -> Option<String> {
    let kind = match bytes {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        [b'%', b'P', b'D', b'F', ..] => "application/pdf",
        _ => return None,
    };
    Some(kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_conversation_with_tools_and_images_is_read() {
        let list = parse(&json!([
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "look", "arguments": "{\"x\":1}"}}]},
            {"role": "tool", "tool_call_id": "1", "content": "a cat"},
        ]))
        .unwrap();
        assert_eq!(list.len(), 4);
        assert!(matches!(&list[1].parts[1], Part::Image(m) if m.media_type.as_deref() == Some("image/png")));
        assert!(matches!(&list[2].parts[0], Part::ToolCall(c) if c.arguments == "{\"x\":1}"));
        assert!(matches!(&list[3].parts[0], Part::ToolResult(r) if r.call_id == "1"));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bad in [
            json!({}),
            json!([{}]),
            json!([{"role": "king", "content": "x"}]),
            json!([{"role": "user"}]),
            json!([{"role": "user", "content": 7}]),
            json!(["x"]),
        ] {
            assert!(parse(&bad).is_err(), "{bad}");
        }
    }
}
