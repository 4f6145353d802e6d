//! Errors: by HTTP status, under HTTP 200, and as a line of a stream. Ollama has no codes: what is not in the status is in the words.

use pg_llm_guest::failure::ErrorWords;
use pg_llm_guest::prelude::*;

/// The failure that an object under HTTP 200 stands for, if it does. `raw` is its text.
pub(crate) fn in_body(body: &Value, raw: &[u8]) -> Option<Failure> {
    let error = body.at("error")?;
    if error.as_str() == Some("") {
        return None;
    }
    let words = ErrorWords::of(body);
    let message = words.message.unwrap_or_else(|| "the server reported an error without words".to_owned());
    let mut failure = Failure::new(FailureKind::Server, message).with_raw(raw);
    failure.code = words.code;
    failure.request_id = words.request_id;
    refine(&mut failure);
    Some(failure)
}

/// Improves the kind of an error by its words.
pub fn refine(failure: &mut Failure) {
    let message = failure.message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let is_request = matches!(failure.kind, FailureKind::InvalidRequest | FailureKind::Server);
    failure.kind = if says(&["usage limit"]) {
        // The cloud's hourly, session's and weekly limits: too long to wait for.
        failure.retryable = Some(false);
        FailureKind::Quota
    } else if failure.kind == FailureKind::Quota {
        failure.retryable = Some(false);
        FailureKind::Quota
    } else if is_request && says(&["context length", "context window", "context size", "available context", "prompt is too long"]) {
        FailureKind::ContextLength
    } else if says(&["server busy", "maximum pending requests"]) {
        FailureKind::Overloaded
    } else if is_request && says(&["unauthorized"]) {
        FailureKind::Authentication
    } else if is_request && message.starts_with("model ") && says(&["not found"]) {
        FailureKind::NotFound
    } else if failure.kind == FailureKind::InvalidRequest && says(&["does not support"]) {
        // A model that has no tools, no thinking, no chat.
        FailureKind::Unsupported
    } else {
        return;
    };
}
