//! Errors: by HTTP status, under HTTP 200, and in the middle of a stream.

use pg_llm_guest::failure::ErrorWords;
use pg_llm_guest::prelude::*;

/// Improves the kind of an HTTP error by the provider's type and words.
pub fn refine(failure: &mut Failure) {
    let kind = match failure.code.as_deref().unwrap_or_default() {
        "invalid_request_error" | "request_too_large" => Some(FailureKind::InvalidRequest),
        "authentication_error" => Some(FailureKind::Authentication),
        "billing_error" => Some(FailureKind::Quota),
        "permission_error" => Some(FailureKind::Permission),
        "not_found_error" => Some(FailureKind::NotFound),
        "rate_limit_error" => Some(FailureKind::RateLimit),
        "timeout_error" => Some(FailureKind::Timeout),
        "overloaded_error" => Some(FailureKind::Overloaded),
        "api_error" => Some(FailureKind::Server),
        _ => None,
    };
    if let Some(kind) = kind {
        failure.kind = kind;
    }
    if failure.kind == FailureKind::InvalidRequest {
        let message = failure.message.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
        if says(&["prompt is too long", "exceed context limit", "context window", "context length"]) {
            failure.kind = FailureKind::ContextLength;
        } else if says(&["credit balance is too low"]) {
            failure.kind = FailureKind::Quota;
        } else if says(&["blocked by content filtering"]) {
            failure.kind = FailureKind::ContentFilter;
        }
    }
    if failure.kind == FailureKind::Quota {
        // Waiting does not pay the bill.
        failure.retryable = Some(false);
    }
}

/// The failure that a body or an event under HTTP 200 stands for, if it does. `raw` is its text.
pub(crate) fn in_body(body: &Value, raw: &[u8]) -> Option<Failure> {
    (body.text_at("type") == Some("error") || body.at("error").is_some()).then(|| failure(body, raw))
}

/// The failure that `body` tells of.
pub(crate) fn failure(body: &Value, raw: &[u8]) -> Failure {
    let words = ErrorWords::of(body);
    let message = words.message.unwrap_or_else(|| "the provider reported an error without words".to_owned());
    let mut failure = Failure::new(FailureKind::Server, message).with_raw(raw);
    failure.code = words.code;
    failure.request_id = words.request_id;
    refine(&mut failure);
    failure
}
