//! A whole response.

use pg_llm_guest::failure::words;
use pg_llm_guest::prelude::*;

use super::{shown, signature};
use crate::content::{arguments, logprobs_of};
use crate::decode::invented_id;
use crate::errors;
use crate::usage::usage_in;

/// Reads a response with a status of success.
pub(crate) fn answer(bytes: &[u8], quota_is_throttle: bool) -> Result<Answer, Failure> {
    let body = pg_llm_guest::json::parse(bytes)?;
    if let Some(failure) = failed(&body, bytes, quota_is_throttle) {
        return Err(failure);
    }
    let mut parts = Vec::new();
    let mut logprobs = Vec::new();
    for item in body.items_at("output") {
        add(item, &mut parts, &mut logprobs);
    }
    let calls = parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
    let finish_reason = finish_reason(&body, calls);
    // An empty text is an answer, and so is one cut off before its first word; nothing at all, with no reason given, is a server's fault.
    let spoken = body.items_at("output").iter().any(|item| item.text_at("type") != Some("reasoning"));
    if !spoken && matches!(finish_reason, None | Some(FinishReason::Stop)) {
        return Err(Failure::protocol("the response has no output", bytes));
    }
    Ok(Answer {
        id: body.word_at("id").map(str::to_owned),
        model: body.word_at("model").map(str::to_owned),
        parts,
        finish_reason,
        usage: usage_in(&body),
        logprobs,
        raw: Some(String::from_utf8_lossy(bytes).into_owned()),
    })
}

/// The failure that a response is, if it is one.
pub(super) fn failed(response: &Value, raw: &[u8], quota_is_throttle: bool) -> Option<Failure> {
    errors::in_body(response, raw, quota_is_throttle).or_else(|| {
        let status = response.word_at("status").filter(|status| ["failed", "cancelled"].contains(status))?;
        Some(Failure::new(FailureKind::Server, words(&["the response is ", status])).with_raw(raw))
    })
}

/// Why the response ended; none while it has not.
pub(super) fn finish_reason(response: &Value, calls: bool) -> Option<FinishReason> {
    Some(match response.word_at("status").unwrap_or("completed") {
        "completed" if calls => FinishReason::ToolCalls,
        "completed" => FinishReason::Stop,
        "incomplete" => match response.get("incomplete_details").and_then(|details| details.word_at("reason")).unwrap_or("incomplete") {
            "max_output_tokens" | "max_tokens" => FinishReason::Length,
            "content_filter" => FinishReason::ContentFilter,
            other => FinishReason::Other(other.to_owned()),
        },
        "in_progress" | "queued" => return None,
        other => FinishReason::Other(other.to_owned()),
    })
}

/// Adds what an item of the output says.
fn add(item: &Value, parts: &mut Vec<Part>, logprobs: &mut Vec<TokenLogprob>) {
    match item.text_at("type").unwrap_or_default() {
        "message" => {
            for piece in item.items_at("content") {
                logprobs.extend(logprobs_of(piece.items_at("logprobs")));
                match (said(piece), parts.last_mut()) {
                    ("", _) => {}
                    (text, Some(Part::Text(so_far))) => so_far.push_str(text),
                    (text, _) => parts.push(Part::Text(text.to_owned())),
                }
            }
        }
        "function_call" => parts.push(Part::ToolCall(ToolCall {
            id: call_id(item).map_or_else(|| invented_id(parts.len()), str::to_owned),
            name: item.text_at("name").unwrap_or_default().to_owned(),
            arguments: arguments(item),
            signature: None,
        })),
        "reasoning" => {
            let (text, signature) = (shown(item), signature(item));
            if !text.is_empty() || signature.is_some() {
                parts.push(Part::Thinking(Thinking { redacted: text.is_empty(), text, signature }));
            }
        }
        // Tools that ran at the provider, and whatever comes to be.
        _ => {}
    }
}

/// The words of a part of a message; a refusal is what the model said.
pub(super) fn said(piece: &Value) -> &str {
    piece.text_at("text").or_else(|| piece.text_at("refusal")).unwrap_or_default()
}

pub(super) fn call_id(item: &Value) -> Option<&str> {
    item.word_at("call_id").or_else(|| item.word_at("id"))
}
