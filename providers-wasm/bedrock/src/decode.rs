//! A whole answer.

use pg_llm_guest::json;
use pg_llm_guest::prelude::*;

use crate::content::{finish_reason, is_server_tool, usage};
use crate::errors;
use crate::settings::answer_tool;

/// Reads a response with a status of success.
pub fn decode(request: &ChatRequest, response: &HttpResponse) -> Result<Answer, Failure> {
    let tool = answer_tool(request)?.map(|format| format.name.as_str());
    answer(&response.body, response.head.request_id(), tool)
}

/// An answer, of which the call of `answer_tool` is the text.
pub(crate) fn answer(bytes: &[u8], id: Option<&str>, answer_tool: Option<&str>) -> Result<Answer, Failure> {
    let body = json::parse(bytes)?;
    let Some(message) = body.pointer("/output/message").filter(|message| message.is_object()) else {
        return Err(errors::in_body(&body, bytes));
    };
    let mut parts = Vec::new();
    let mut answered = false;
    for block in message.items_at("content") {
        if let Some(text) = block.text_at("text") {
            push_text(&mut parts, text);
        } else if let Some(reasoning) = block.at("reasoningContent") {
            parts.extend(thinking(reasoning).map(Part::Thinking));
        } else if let Some(tool_use) = block.at("toolUse").filter(|tool_use| !is_server_tool(tool_use)) {
            let arguments = tool_use.at("input").map(json::text).unwrap_or_default();
            let name = tool_use.text_at("name").unwrap_or_default();
            if answer_tool == Some(name) {
                answered = true;
                push_text(&mut parts, &arguments);
            } else {
                let id = tool_use.text_at("toolUseId").unwrap_or_default().to_owned();
                parts.push(Part::ToolCall(ToolCall { id, name: name.to_owned(), arguments, signature: None }));
            }
        } else if let Some(cited) = block.at("citationsContent") {
            cited.items_at("content").iter().filter_map(|piece| piece.text_at("text")).for_each(|text| push_text(&mut parts, text));
        }
        // Others have no place in an answer; they are in its raw form.
    }
    let finish_reason = body.word_at("stopReason").map(|word| finish_reason(word, answered));
    // No content is an answer, when there is a word for its end.
    if parts.is_empty() && finish_reason.is_none() {
        return Err(Failure::protocol("the response's message has no content", bytes));
    }
    Ok(Answer {
        id: id.map(str::to_owned),
        model: None,
        parts,
        finish_reason,
        usage: body.at("usage").and_then(usage),
        logprobs: Vec::new(),
        raw: Some(String::from_utf8_lossy(bytes).into_owned()),
    })
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        Some(Part::Text(so_far)) => so_far.push_str(text),
        _ if text.is_empty() => {}
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

fn thinking(reasoning: &Value) -> Option<Thinking> {
    if let Some(encrypted) = reasoning.text_at("redactedContent") {
        return Some(Thinking { text: String::new(), signature: Some(encrypted.to_owned()), redacted: true });
    }
    let shown = reasoning.at("reasoningText")?;
    let text = shown.text_at("text").unwrap_or_default().to_owned();
    let signature = shown.word_at("signature").map(str::to_owned);
    (!text.is_empty() || signature.is_some()).then_some(Thinking { text, signature, redacted: false })
}
