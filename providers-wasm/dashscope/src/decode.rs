//! A whole answer.

use pg_llm_guest::prelude::*;

use crate::content::{arguments, finish_reason, first_choice, invented_id, logprobs, text, thinking, tool_calls};
use crate::errors;
use crate::usage::usage;

/// Reads a response with a status of success.
pub fn decode(response: &HttpResponse) -> Result<Answer, Failure> {
    answer(&response.body)
}

/// The JSON of a body that is no error.
pub(crate) fn body(bytes: &[u8]) -> Result<Value, Failure> {
    let body = pg_llm_guest::json::parse(bytes)?;
    match errors::in_body(&body, bytes) {
        Some(failure) => Err(failure),
        None => Ok(body),
    }
}

pub(crate) fn answer(bytes: &[u8]) -> Result<Answer, Failure> {
    let body = body(bytes)?;
    let Some(choice) = body.at("output").and_then(first_choice) else {
        return Err(Failure::protocol("the response has no choices", bytes));
    };
    let finish_reason = finish_reason(choice);
    let mut parts = Vec::new();
    let (thinking, text) = (thinking(choice), text(choice));
    if !thinking.is_empty() {
        parts.push(Part::Thinking(Thinking { text: thinking.to_owned(), signature: None, redacted: false }));
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    for (at, call) in tool_calls(choice).iter().enumerate() {
        let function = call.get("function").unwrap_or(call);
        parts.push(Part::ToolCall(ToolCall {
            id: call.word_at("id").map_or_else(|| invented_id(at), str::to_owned),
            name: function.text_at("name").unwrap_or_default().to_owned(),
            arguments: arguments(function),
            signature: None,
        }));
    }
    // An empty text is an answer, and so is one cut off before its first word; nothing at all, with no reason given, is a server's fault.
    let says_something = choice.at("text").is_some() || choice.at("message").is_some_and(|message| message.at("content").is_some());
    if parts.is_empty() && !says_something && matches!(finish_reason, None | Some(FinishReason::Stop)) {
        return Err(Failure::protocol("the response's choice has no content", bytes));
    }
    Ok(Answer {
        id: body.word_at("request_id").map(str::to_owned),
        model: body.word_at("model").map(str::to_owned),
        parts,
        finish_reason,
        usage: usage(&body),
        logprobs: logprobs(choice),
        raw: Some(String::from_utf8_lossy(bytes).into_owned()),
    })
}
