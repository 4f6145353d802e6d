//! A whole answer.

use pg_llm_guest::json;
use pg_llm_guest::prelude::*;

use crate::content::{arguments, finish_reason, first_choice, invented_id, unwrapped, usage};
use crate::errors;

/// Reads a response with a status of success, which an error has too.
pub fn decode(response: &HttpResponse) -> Result<Answer, Failure> {
    answer(&response.body)
}

/// The JSON of a body that is no error.
pub(crate) fn body(bytes: &[u8]) -> Result<Value, Failure> {
    let body = json::parse(bytes)?;
    match errors::in_body(unwrapped(&body), bytes) {
        Some(failure) => Err(failure),
        None => Ok(body),
    }
}

pub(crate) fn answer(bytes: &[u8]) -> Result<Answer, Failure> {
    let body = body(bytes)?;
    let body = unwrapped(&body);
    let Some(choice) = first_choice(body) else {
        return Err(Failure::protocol("the response has no choices", bytes));
    };
    let finish_reason = finish_reason(choice);
    let message = choice.at("Message").or_else(|| choice.at("Delta")).unwrap_or(&Value::Null);
    let mut parts = Vec::new();
    if let Some(thinking) = message.word_at("ReasoningContent") {
        parts.push(Part::Thinking(Thinking { text: thinking.to_owned(), signature: None, redacted: false }));
    }
    if let Some(text) = message.word_at("Content") {
        parts.push(Part::Text(text.to_owned()));
    }
    for (at, call) in message.items_at("ToolCalls").iter().enumerate() {
        let function = call.get("Function").unwrap_or(call);
        parts.push(Part::ToolCall(ToolCall {
            id: call.word_at("Id").map_or_else(|| invented_id(at), str::to_owned),
            name: function.text_at("Name").unwrap_or_default().to_owned(),
            arguments: arguments(function),
            signature: None,
        }));
    }
    // An empty text is an answer, and so is one cut off before its first word; nothing at all, with no reason given, is a server's fault.
    if parts.is_empty() && message.at("Content").is_none() && matches!(finish_reason, None | Some(FinishReason::Stop)) {
        return Err(Failure::protocol("the response's choice has no content", bytes));
    }
    Ok(Answer {
        id: body.word_at("Id").or_else(|| body.word_at("RequestId")).map(str::to_owned),
        model: None,
        parts,
        finish_reason,
        usage: usage(body),
        logprobs: Vec::new(),
        raw: Some(String::from_utf8_lossy(bytes).into_owned()),
    })
}
