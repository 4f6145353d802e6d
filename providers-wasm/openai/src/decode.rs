//! A whole answer.

use pg_llm_guest::failure::words;
use pg_llm_guest::prelude::*;

use crate::content::{Piece, arguments, finish_reason, first_choice, logprobs, pieces, signature};
use crate::settings::Wire;
use crate::usage::usage_in;
use crate::{errors, responses};

/// Reads a response with a status of success.
pub fn decode(request: &ChatRequest, response: &HttpResponse) -> Result<Answer, Failure> {
    let wire = Wire::of(request)?;
    let read = if wire.is_responses()? { responses::answer } else { answer };
    read(&response.body, wire.quota_is_throttle()?)
}

pub(crate) fn answer(bytes: &[u8], quota_is_throttle: bool) -> Result<Answer, Failure> {
    let body = pg_llm_guest::json::parse(bytes)?;
    if let Some(failure) = errors::in_body(&body, bytes, quota_is_throttle) {
        return Err(failure);
    }
    let Some(choice) = first_choice(&body) else {
        return Err(Failure::protocol("the response has no choices", bytes));
    };
    let message = choice.at("message").or_else(|| choice.at("delta"));
    let finish_reason = finish_reason(choice);
    if message.is_none() && finish_reason.is_none() {
        return Err(Failure::protocol("the response's choice has no message", bytes));
    }
    let message = message.unwrap_or(&Value::Null);
    let mut parts = Vec::new();
    pieces(message, |piece| match (piece, parts.last_mut()) {
        (Piece::Text(text), Some(Part::Text(so_far))) => so_far.push_str(&text),
        (Piece::Text(text), _) => parts.push(Part::Text(text)),
        (Piece::Thinking(text), _) => parts.push(Part::Thinking(Thinking { text, signature: None, redacted: false })),
    });
    parts.extend(tool_calls(message).into_iter().map(Part::ToolCall));
    // An empty text is an answer, and so is one cut off before its first word; nothing at all, with no reason given, is a server's fault.
    if parts.is_empty() && message.at("content").is_none() && matches!(finish_reason, None | Some(FinishReason::Stop)) {
        return Err(Failure::protocol("the response's message has no content", bytes));
    }
    Ok(Answer {
        id: body.word_at("id").map(str::to_owned),
        model: body.word_at("model").map(str::to_owned),
        parts,
        finish_reason,
        usage: usage_in(&body),
        logprobs: logprobs(choice),
        raw: Some(String::from_utf8_lossy(bytes).into_owned()),
    })
}

fn tool_calls(message: &Value) -> Vec<ToolCall> {
    let calls = message.items_at("tool_calls").iter().enumerate();
    calls
        .map(|(at, call)| {
            let function = call.get("function").unwrap_or(call);
            ToolCall {
                id: call.word_at("id").map_or_else(|| invented_id(at), str::to_owned),
                name: function.text_at("name").unwrap_or_default().to_owned(),
                arguments: arguments(function),
                signature: signature(call),
            }
        })
        .collect()
}

/// The id of a call to which the server gave none.
pub(crate) fn invented_id(at: usize) -> String {
    words(&["call_", &at.to_string()])
}
