//! Errors: by HTTP status, under HTTP 200, and in the middle of a stream.

use pg_llm_guest::failure::{ErrorWords, kind_of_status};
use pg_llm_guest::prelude::*;

use crate::settings::{Wire, find};

/// Improves the kind of an HTTP error by the provider's code and words.
pub fn refine(request: &ChatRequest, response: &HttpResponse, failure: &mut Failure) {
    refine_by(&request.settings, response, failure);
}

/// The same, of any of the provider's interfaces.
pub(crate) fn refine_by(settings: &str, response: &HttpResponse, failure: &mut Failure) {
    let quota_is_throttle = Wire::parse(settings).is_ok_and(|wire| wire.quota_is_throttle() == Ok(true));
    let body = response.json().unwrap_or_default();
    sharpen(failure, body.get("error").and_then(|error| error.text_at("type")), quota_is_throttle);
}

/// The failure that a body or a chunk under HTTP 200 stands for, if it does. `raw` is its text.
pub(crate) fn in_body(body: &Value, raw: &[u8], quota_is_throttle: bool) -> Option<Failure> {
    // Mistral's own errors, and some gateways': `{"object": "error", "message": ...}`. OpenRouter has errors in the choice, too.
    let in_choice = || body.items_at("choices").first().filter(|choice| choice.at("error").is_some());
    let place = if body.at("error").is_some() || body.text_at("object") == Some("error") { body } else { in_choice()? };
    let words = ErrorWords::of(place);
    let error = place.get("error").unwrap_or(place);
    let status = ["status_code", "code", "status"].iter().find_map(|name| match error.get(name)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    });
    let status = status.and_then(|status| u16::try_from(status).ok()).filter(|status| (400..600).contains(status));
    let kind = status.map_or_else(|| kind_of_type(error.text_at("type").or(words.code.as_deref())), kind_of_status);
    let mut failure =
        Failure::new(kind, words.message.unwrap_or_else(|| "the provider reported an error without words".to_owned())).with_raw(raw);
    failure.code = words.code;
    failure.request_id = words.request_id;
    sharpen(&mut failure, error.text_at("type"), quota_is_throttle);
    Some(failure)
}

/// What an error without a status is, by its type.
fn kind_of_type(error_type: Option<&str>) -> FailureKind {
    match error_type.unwrap_or_default() {
        "invalid_request_error" | "BadRequestError" => FailureKind::InvalidRequest,
        "authentication_error" => FailureKind::Authentication,
        "permission_error" => FailureKind::Permission,
        "not_found_error" | "NotFoundError" => FailureKind::NotFound,
        "rate_limit_error" | "rate_limited" | "rate_limit_exceeded" => FailureKind::RateLimit,
        "overloaded_error" | "service_unavailable" => FailureKind::Overloaded,
        _ => FailureKind::Server,
    }
}

/// The kinds that neither a status nor a type tells.
fn sharpen(failure: &mut Failure, error_type: Option<&str>, quota_is_throttle: bool) {
    let plain = |name: &str| name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect::<String>();
    // `data_inspection_failed` and `DataInspectionFailed` are one name.
    let code = plain(failure.code.as_deref().unwrap_or_default());
    let error_type = plain(error_type.unwrap_or_default());
    let message = failure.message.to_ascii_lowercase();
    let named = |words: &[&str]| words.iter().any(|word| code == *word || error_type == *word);
    let says = |words: &[&str]| words.iter().any(|words| find(&message, words).is_some());
    let is_request = matches!(failure.kind, FailureKind::InvalidRequest | FailureKind::Server);
    if named(&["contextlengthexceeded", "toomanyprompttokens", "exceedcontextsizeerror"])
        || (is_request
            && says(&[
                "maximum context length",
                "context window",
                "context length",
                "context size",
                "maximum prompt length",
                "prompt is too long",
                "input is too long",
                "too many tokens",
                "range of input length",
                "too large for model with",
            ]))
    {
        failure.kind = FailureKind::ContextLength;
    } else if named(&["insufficientquota", "insufficientbalance", "billinghardlimitreached", "exceededcurrentquotaerror", "arrearage"])
        || (failure.kind != FailureKind::RateLimit && says(&["insufficient balance", "insufficient credits", "insufficient_quota"]))
    {
        failure.kind = if quota_is_throttle && !named(&["arrearage"]) { FailureKind::RateLimit } else { FailureKind::Quota };
    } else if named(&[
        "contentfilter",
        "contentpolicyviolation",
        "datainspectionfailed",
        "moderationblocked",
        "responsibleaipolicyviolation",
        "invalidprompt",
        "biopolicy",
        "imagecontentpolicyviolation",
    ]) || (is_request && says(&["content management policy", "content_filter"]))
    {
        failure.kind = FailureKind::ContentFilter;
    } else if named(&["ratelimitexceeded", "ratelimited", "toomanyrequests", "limitrequests", "throttling"]) {
        failure.kind = FailureKind::RateLimit;
    } else if named(&["modelnotfound", "deploymentnotfound", "modelnotexist"]) {
        failure.kind = FailureKind::NotFound;
    } else if named(&["invalidapikey", "invalidauthenticationerror"]) {
        failure.kind = FailureKind::Authentication;
    }
    if failure.kind == FailureKind::Quota {
        // Waiting does not pay the bill.
        failure.retryable = Some(false);
    }
}
