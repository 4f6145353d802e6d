//! Errors: under HTTP 200 mostly, by their codes.

use pg_llm_guest::failure::beginning;
use pg_llm_guest::prelude::*;

use crate::content::unwrapped;

/// The longest words that are quoted, in bytes.
const MAX_WORDS: usize = 4096;

/// What codes mean, by how they begin: the first that fits. API 3.0's common codes, Hunyuan's own, and the numbers of `ErrorMsg`.
const KINDS: [(&str, FailureKind); 40] = [
    ("AuthFailure.UnauthorizedOperation", FailureKind::Permission),
    ("AuthFailure", FailureKind::Authentication),
    ("UnauthorizedOperation", FailureKind::Permission),
    ("IpInBlacklist", FailureKind::Permission),
    ("IpNotInWhitelist", FailureKind::Permission),
    ("FailedOperation.UserUnAuthError", FailureKind::Permission),
    ("FailedOperation.PartnerAccountUnSupport", FailureKind::Permission),
    ("RequestLimitExceeded", FailureKind::RateLimit),
    ("LimitExceeded", FailureKind::RateLimit),
    ("FailedOperation.EngineServerLimitExceeded", FailureKind::RateLimit),
    ("FailedOperation.ResourcePackExhausted", FailureKind::Quota),
    ("FailedOperation.FreeResourcePackExhausted", FailureKind::Quota),
    ("FailedOperation.ServiceNotActivated", FailureKind::Quota),
    ("FailedOperation.ServiceStop", FailureKind::Quota),
    ("FailedOperation.InsufficientBalance", FailureKind::Quota),
    ("InsufficientBalance", FailureKind::Quota),
    ("ResourceInsufficient", FailureKind::Quota),
    // With a word behind it: in arrears, of a low balance, not opened, stopped.
    ("ResourceUnavailable.", FailureKind::Quota),
    ("ResourceUnavailable", FailureKind::Overloaded),
    ("ResourcesSoldOut", FailureKind::Overloaded),
    ("FailedOperation.EngineRequestTimeout", FailureKind::Timeout),
    ("4001", FailureKind::Timeout),
    ("FailedOperation.GenerateImageFailed", FailureKind::ContentFilter),
    ("OperationDenied.TextIllegalDetected", FailureKind::ContentFilter),
    ("OperationDenied.ImageIllegalDetected", FailureKind::ContentFilter),
    ("OperationDenied", FailureKind::Permission),
    ("FailedOperation.DownloadError", FailureKind::InvalidRequest),
    ("FailedOperation.Image", FailureKind::InvalidRequest),
    ("InvalidParameterValue.Model", FailureKind::NotFound),
    ("ResourceNotFound", FailureKind::NotFound),
    ("InvalidParameter", FailureKind::InvalidRequest),
    ("InvalidRequest", FailureKind::InvalidRequest),
    ("InvalidAction", FailureKind::InvalidRequest),
    ("MissingParameter", FailureKind::InvalidRequest),
    ("UnknownParameter", FailureKind::InvalidRequest),
    ("Unsupported", FailureKind::InvalidRequest),
    ("NoSuch", FailureKind::InvalidRequest),
    ("ActionOffline", FailureKind::InvalidRequest),
    ("RequestSizeLimitExceeded", FailureKind::InvalidRequest),
    ("FailedOperation", FailureKind::Server),
];

/// Improves what an HTTP status says, where the body has Tencent's form.
pub fn refine(response: &HttpResponse, failure: &mut Failure) {
    let Ok(body) = response.json() else { return };
    if let Some(told) = in_body(unwrapped(&body), &response.body) {
        if kind_of(told.code.as_deref().unwrap_or_default()).is_some() {
            failure.kind = told.kind;
        }
        failure.message = told.message;
        failure.code = told.code;
        failure.request_id = told.request_id.or(failure.request_id.take());
        failure.retryable = told.retryable.or(failure.retryable);
    }
}

/// The failure that a body without its envelope stands for, if it does. `raw` is its text.
pub(crate) fn in_body(body: &Value, raw: &[u8]) -> Option<Failure> {
    let (error, words) = match (body.at("Error"), body.at("ErrorMsg")) {
        (Some(error), _) => (error, "Message"),
        (None, Some(error)) => (error, "Msg"),
        (None, None) => return None,
    };
    let code = match error.get("Code") {
        Some(Value::String(code)) => code.clone(),
        Some(Value::Number(code)) => code.to_string(),
        _ => String::new(),
    };
    let message = error.word_at(words).or_else(|| error.as_str().filter(|words| !words.is_empty()));
    if message.is_none() && matches!(code.as_str(), "" | "0") && words == "Msg" {
        // A frame may say that there is no error.
        return None;
    }
    let message = message.unwrap_or("the provider reported an error without words");
    let kind = kind_of(&code).unwrap_or(FailureKind::Server);
    let mut failure = Failure::new(kind, beginning(message, MAX_WORDS)).with_raw(raw);
    failure.code = (!code.is_empty()).then(|| beginning(&code, 200).to_owned());
    failure.request_id = body.word_at("RequestId").map(|id| beginning(id, 200).to_owned());
    if kind == FailureKind::Quota {
        // Waiting does not pay the bill.
        failure.retryable = Some(false);
    }
    Some(failure)
}

fn kind_of(code: &str) -> Option<FailureKind> {
    KINDS.iter().find(|(begins, _)| code.starts_with(begins)).map(|(_, kind)| *kind)
}
