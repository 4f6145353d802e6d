//! Errors: by HTTP status, under HTTP 200, and in a stream.

use pg_llm_guest::failure::ErrorWords;
use pg_llm_guest::prelude::*;

/// Improves what an HTTP status says, by what is Cohere's own.
pub(crate) fn refine(response: &HttpResponse, failure: &mut Failure) {
    let body = response.json().unwrap_or(Value::Null);
    match response.head.status {
        // What was asked or answered has a word that is on Cohere's list.
        498 => failure.kind = FailureKind::ContentFilter,
        // "Request cancelled", but not by us: the advice is to try again.
        499 => failure.kind = FailureKind::Server,
        501 => failure.kind = FailureKind::Unsupported,
        504 => failure.kind = FailureKind::Timeout,
        _ => {}
    }
    sharpen(&body, failure);
}

/// The failure that an object under HTTP 200 stands for, if it does: an answer's `message` is no text. `raw` is its text.
pub(crate) fn in_body(body: &Value, raw: &[u8]) -> Option<Failure> {
    let is_error = body.at("error").is_some() || body.text_at("message").is_some() || body.text_at("type") == Some("error");
    is_error.then(|| of(body, raw))
}

/// The failure of an object that is an error.
pub(crate) fn of(body: &Value, raw: &[u8]) -> Failure {
    let words = ErrorWords::of(body);
    let message = words.message.unwrap_or_else(|| "the provider reported an error without words".to_owned());
    let mut failure = Failure::new(FailureKind::Server, message).with_raw(raw);
    failure.code = words.code;
    failure.request_id = words.request_id;
    sharpen(body, &mut failure);
    failure
}

/// What the body tells beyond the usual places, and the kinds that only words tell.
fn sharpen(body: &Value, failure: &mut Failure) {
    if let Some(code) = body.word_at("error_type") {
        failure.code = Some(code.to_owned());
    }
    if failure.request_id.is_none() {
        failure.request_id = body.word_at("id").map(str::to_owned);
    }
    let message = failure.message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let is_request = matches!(failure.kind, FailureKind::InvalidRequest | FailureKind::Server);
    let too_long = failure.code.as_deref() == Some("TOO_MANY_TOKENS") || says(&["too many tokens"]);
    // The same words, when it is the wanted output that is too long.
    let too_much = says(&["max tokens must be"]);
    if is_request && too_long && !too_much {
        failure.kind = FailureKind::ContextLength;
    } else if failure.kind == FailureKind::RateLimit && says(&["/ month", "/month", "per month", "billing"]) {
        // A trial key's calls of the month: waiting does not help.
        failure.kind = FailureKind::Quota;
    } else if failure.kind == FailureKind::Server && says(&["rate limit", "per minute", "/ minute"]) {
        failure.kind = FailureKind::RateLimit;
    } else if failure.kind == FailureKind::Server && (too_much || says(&["invalid request"])) {
        failure.kind = FailureKind::InvalidRequest;
    }
    if failure.kind == FailureKind::Quota {
        failure.retryable = Some(false);
    }
}
