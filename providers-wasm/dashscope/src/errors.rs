//! Errors: with an HTTP status, under HTTP 200, and as an event of a stream.

use pg_llm_guest::failure::ErrorWords;
use pg_llm_guest::prelude::*;

/// Improves what the status says by the provider's code and words.
pub fn refine(failure: &mut Failure) {
    if let Some(kind) = kind_of(failure) {
        failure.kind = kind;
    }
    if failure.kind == FailureKind::Quota {
        // Waiting does not pay the bill.
        failure.retryable = Some(false);
    }
}

/// The failure that a body under HTTP 200 stands for, if it does: one with a code and without an output, or with an error of a gateway's making.
pub(crate) fn in_body(body: &Value, raw: &[u8]) -> Option<Failure> {
    let without_output = body.at("output").is_none_or(|output| output.as_object().is_some_and(Map::is_empty));
    let has_code = body.at("code").is_some_and(|code| code.as_str() != Some(""));
    (body.at("error").is_some() || (without_output && has_code)).then(|| reported(body, raw))
}

/// The failure that is an error's body, without a status that would tell its kind.
pub(crate) fn reported(body: &Value, raw: &[u8]) -> Failure {
    let words = ErrorWords::of(body);
    let message = words.message.unwrap_or_else(|| "the provider reported an error without words".to_owned());
    let mut failure = Failure::new(FailureKind::Server, message).with_raw(raw);
    failure.code = words.code;
    failure.request_id = words.request_id;
    refine(&mut failure);
    failure
}

/// What the code means, in either of its spellings: `DataInspectionFailed` and `data_inspection_failed` are one.
fn kind_of(failure: &Failure) -> Option<FailureKind> {
    let code = failure.code.as_deref().unwrap_or_default();
    let code: String = code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let message = failure.message.to_ascii_lowercase();
    let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| code.starts_with(beginning));
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
    Some(if begins(&["arrearage", "allocationquotafreetier", "commoditynotpurchased", "prepaidbilloverdue", "postpaidbilloverdue"]) {
        FailureKind::Quota
    } else if begins(&["throttling", "limitrequests", "limitburstrate", "insufficientquota", "ratelimit"]) {
        // The rates recover within a minute, whatever the words say of plans and billing. What was given for free does not.
        if says(&["free allocated quota"]) { FailureKind::Quota } else { FailureKind::RateLimit }
    } else if begins(&["datainspectionfailed", "customroleblocked", "faqruleblocked", "ipinfringementsuspect"]) {
        FailureKind::ContentFilter
    } else if begins(&["invalidapikey", "notauthorized", "invalidaccesstoken"]) {
        FailureKind::Authentication
    } else if begins(&["accessdenied"]) || code.ends_with("accessdenied") {
        FailureKind::Permission
    } else if begins(&["modelnotfound", "modelnotsupported", "workspacenotfound"]) || says(&["model not exist"]) {
        FailureKind::NotFound
    } else if begins(&["requesttimeout", "responsetimeout", "internalerrortimeout"]) {
        FailureKind::Timeout
    } else if begins(&["modelunavailable", "modelservingerror"]) {
        FailureKind::Overloaded
    } else if says(&["range of input length", "input length exceeds", "maximum context length"]) {
        FailureKind::ContextLength
    } else if code.contains("invalidparameter") || begins(&["badrequest", "invalidurl", "unsupportedoperation"]) {
        FailureKind::InvalidRequest
    } else {
        return None;
    })
}
