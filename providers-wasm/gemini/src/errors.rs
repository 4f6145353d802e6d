//! Errors: by HTTP status, under HTTP 200, and in the middle of a stream. Their form is `google.rpc.Status` as JSON.

use pg_llm_guest::failure::{ErrorWords, beginning, kind_of_status};
use pg_llm_guest::prelude::*;
use pg_llm_guest::retry::duration_ms;

/// Improves what an HTTP status said by the error in the body.
pub(crate) fn refine(response: &HttpResponse, failure: &mut Failure) {
    if let Ok(body) = response.json() {
        if let Some(error) = error_in(&body) {
            sharpen(error, failure);
        }
    }
}

/// The failure that a chunk under HTTP 200 stands for, if it does. `raw` is its text.
pub(crate) fn in_body(body: &Value, raw: &[u8]) -> Option<Failure> {
    let error = error_in(body)?;
    let status = error.u64_at("code").and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code));
    let words = ErrorWords::of(body);
    let message = words.message.unwrap_or_else(|| "the provider reported an error without words".to_owned());
    let mut failure = Failure::new(status.map_or(FailureKind::Server, kind_of_status), message).with_raw(raw);
    failure.code = words.code;
    sharpen(error, &mut failure);
    Some(failure)
}

/// `{"error": {...}}`, or a list with one.
fn error_in(body: &Value) -> Option<&Value> {
    body.get(0).unwrap_or(body).at("error")
}

/// The kind by the status word and the details, which say more than a number, and when to come back.
fn sharpen(error: &Value, failure: &mut Failure) {
    if let Some(word) = error.word_at("status") {
        failure.code = Some(beginning(word, 200).to_owned());
        failure.kind = kind_of_word(word).unwrap_or(failure.kind);
    }
    let detail = |name: &str| error.items_at("details").iter().find_map(|detail| detail.at(name));
    let message = failure.message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if failure.retry_after_ms.is_none() {
        failure.retry_after_ms = detail("retryDelay").and_then(Value::as_str).and_then(duration_ms).or_else(|| retry_in(&message));
    }
    if failure.request_id.is_none() {
        failure.request_id = detail("requestId").and_then(Value::as_str).map(|id| beginning(id, 200).to_owned());
    }
    match failure.kind {
        FailureKind::InvalidRequest | FailureKind::Permission
            if detail("reason").and_then(Value::as_str).is_some_and(|reason| reason == "API_KEY_INVALID")
                || says(&["api key not valid", "api key expired"]) =>
        {
            failure.kind = FailureKind::Authentication;
        }
        FailureKind::InvalidRequest if says(&["exceeds the maximum number of tokens", "input context is too long", "context window"]) => {
            failure.kind = FailureKind::ContextLength;
        }
        FailureKind::InvalidRequest if says(&["responsible ai"]) => failure.kind = FailureKind::ContentFilter,
        // The same words stand for a short throttle and for a day's quota that is used up. A time to come back tells the throttle, even where
        // the quota is named after the day; a limit of nothing tells that no time will help.
        FailureKind::RateLimit
            if has_no_quota(&message)
                || (failure.retry_after_ms.is_none() && (says(&["check your plan and billing"]) || is_daily(detail("violations")))) =>
        {
            failure.kind = FailureKind::Quota;
            failure.retryable = Some(false);
        }
        _ => {}
    }
}

/// What a `google.rpc.Code` says.
fn kind_of_word(word: &str) -> Option<FailureKind> {
    Some(match word {
        "INVALID_ARGUMENT" | "OUT_OF_RANGE" | "ALREADY_EXISTS" => FailureKind::InvalidRequest,
        "UNAUTHENTICATED" => FailureKind::Authentication,
        // FAILED_PRECONDITION: the free tier is not there for this country, or billing is off.
        "PERMISSION_DENIED" | "FAILED_PRECONDITION" => FailureKind::Permission,
        "NOT_FOUND" => FailureKind::NotFound,
        "RESOURCE_EXHAUSTED" => FailureKind::RateLimit,
        "UNAVAILABLE" => FailureKind::Overloaded,
        "DEADLINE_EXCEEDED" => FailureKind::Timeout,
        "UNIMPLEMENTED" => FailureKind::Unsupported,
        "INTERNAL" | "UNKNOWN" | "DATA_LOSS" | "ABORTED" | "CANCELLED" => FailureKind::Server,
        _ => return None,
    })
}

/// `... please retry in 34.4s.`, which stands in the message too, and is all that is left where a proxy drops the details.
fn retry_in(message: &str) -> Option<u64> {
    let (_, rest) = message.split_once("retry in ")?;
    duration_ms(rest.split([' ', '\n']).next()?.trim_end_matches(['.', ',']))
}

/// `..., limit: 0, ...`
fn has_no_quota(message: &str) -> bool {
    message.split("limit: 0").skip(1).any(|rest| !rest.starts_with('.'))
}

fn is_daily(violations: Option<&Value>) -> bool {
    let violations = violations.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    violations.iter().any(|violation| violation.text_at("quotaId").is_some_and(|id| id.contains("PerDay")))
}
