//! Errors: by HTTP status, under HTTP 200, and in the middle of a stream.

use pg_llm_guest::failure::ErrorWords;
use pg_llm_guest::json;
use pg_llm_guest::prelude::*;

/// Improves an HTTP error by the exception's name, which is in a header or in the body, and by its words.
pub fn refine(response: &HttpResponse, failure: &mut Failure) {
    let body = response.json().unwrap_or_default();
    // IAM writes it with a capital.
    if let Some(words) = body.word_at("Message") {
        words.clone_into(&mut failure.message);
    }
    let name = response.head.headers.get("x-amzn-errortype").filter(|name| !name.is_empty());
    if let Some(name) = name.or_else(|| named_in(&body)).map(bare).filter(|name| !name.is_empty()) {
        failure.code = Some(name.chars().take(200).collect());
    }
    sharpen(failure);
}

/// What a body under HTTP 200 without a message of the model stands for.
pub(crate) fn in_body(body: &Value, raw: &[u8]) -> Failure {
    // `{"Output": {"__type": "com.amazon.coral.service#UnknownOperationException"}}` is the answer to a path that does not exist.
    let place = body.at("Output").unwrap_or(body);
    match named_in(place) {
        Some(name) => in_stream_or_body(name, place, raw),
        None => Failure::protocol("the response has no message", raw),
    }
}

/// An exception in a stream. Its name begins in lower case there.
pub(crate) fn in_stream(name: &str, payload: &[u8]) -> Failure {
    in_stream_or_body(name, &json::parse(payload).unwrap_or_default(), payload)
}

fn in_stream_or_body(name: &str, body: &Value, raw: &[u8]) -> Failure {
    let message = ErrorWords::of(body).message.or_else(|| body.word_at("originalMessage").map(str::to_owned));
    of_code(name, message.as_deref().unwrap_or_default()).with_raw(raw)
}

/// A failure of this name, with these words if there are any.
pub(crate) fn of_code(name: &str, message: &str) -> Failure {
    let bare = bare(name);
    let mut code = String::new();
    // The same name as over HTTP.
    for (at, c) in bare.chars().take(200).enumerate() {
        code.push(if at == 0 { c.to_ascii_uppercase() } else { c });
    }
    let words = if message.is_empty() { "the provider reported an error without words" } else { message };
    let mut failure = Failure::new(FailureKind::Server, words);
    failure.code = Some(code).filter(|code| !code.is_empty());
    sharpen(&mut failure);
    failure
}

fn named_in(body: &Value) -> Option<&str> {
    body.word_at("__type")
}

/// `ValidationException:http://internal.amazon.com/...` and `com.amazon.coral.service#ValidationException` without what is around the name.
fn bare(name: &str) -> &str {
    let name = name.split(':').next().unwrap_or(name);
    name.rsplit_once('#').map_or(name, |(_, name)| name).trim()
}

/// What the exceptions mean.
const KINDS: [(&str, FailureKind); 25] = [
    ("UnrecognizedClientException", FailureKind::Authentication),
    ("InvalidSignatureException", FailureKind::Authentication),
    ("SignatureDoesNotMatch", FailureKind::Authentication),
    ("IncompleteSignature", FailureKind::Authentication),
    ("IncompleteSignatureException", FailureKind::Authentication),
    ("MissingAuthenticationToken", FailureKind::Authentication),
    ("MissingAuthenticationTokenException", FailureKind::Authentication),
    ("InvalidClientTokenId", FailureKind::Authentication),
    ("ExpiredToken", FailureKind::Authentication),
    ("ExpiredTokenException", FailureKind::Authentication),
    ("RequestExpired", FailureKind::Authentication),
    ("AccessDeniedException", FailureKind::Permission),
    ("ResourceNotFoundException", FailureKind::NotFound),
    ("UnknownOperationException", FailureKind::NotFound),
    ("ThrottlingException", FailureKind::RateLimit),
    ("TooManyRequestsException", FailureKind::RateLimit),
    ("ServiceQuotaExceededException", FailureKind::Quota),
    ("ModelNotReadyException", FailureKind::Overloaded),
    ("ServiceUnavailableException", FailureKind::Overloaded),
    ("ModelTimeoutException", FailureKind::Timeout),
    ("ModelErrorException", FailureKind::Server),
    ("ModelStreamErrorException", FailureKind::Server),
    ("InternalServerException", FailureKind::Server),
    ("InternalFailure", FailureKind::Server),
    ("ValidationException", FailureKind::InvalidRequest),
];

/// The kind, by the exception's name and its words.
fn sharpen(failure: &mut Failure) {
    let message = failure.message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let code = failure.code.as_deref().unwrap_or_default();
    let mut kind = KINDS.iter().find(|(name, _)| *name == code).map_or(failure.kind, |(_, kind)| *kind);
    if kind == FailureKind::Permission && says(&["authentication failed", "api key", "bearer token", "security token"]) {
        kind = FailureKind::Authentication;
    }
    failure.kind = match kind {
        // Models say it in their own words, and some in the middle of a stream.
        FailureKind::InvalidRequest | FailureKind::Server
            if says(&[
                "input is too long",
                "prompt is too long",
                "exceed context limit",
                "maximum context length",
                "context window",
                "context length",
                "too many input tokens",
                "too many total text bytes",
                "exceeds the maximum number of tokens",
            ]) =>
        {
            FailureKind::ContextLength
        }
        FailureKind::InvalidRequest if says(&["model identifier is invalid"]) => FailureKind::NotFound,
        kind => kind,
    };
    if failure.kind == FailureKind::Quota {
        failure.retryable = Some(false);
    }
}
