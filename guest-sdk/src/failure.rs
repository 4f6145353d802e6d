//! Failures: made from an HTTP status, from the host's transport errors, from bytes that are not what they should be.

use serde_json::Value;

use crate::http::{HttpError, HttpResponse};
use crate::json::{self, ValueExt};
use crate::retry;
use crate::types::{Failure, FailureKind};

/// At most this much of a body is kept in [`Failure::raw`].
pub const MAX_RAW: usize = 16 * 1024;

/// At most this many bytes of a provider's words become [`Failure::message`].
const MAX_MESSAGE: usize = 4 * 1024;

impl Failure {
    /// A failure of this kind, with nothing else known of it.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, status: None, code: None, message: message.into(), retry_after_ms: None, retryable: None, request_id: None, raw: None }
    }

    /// The provider's bytes are not what its wire format allows; `body` is what they were, of which the beginning is kept.
    pub fn protocol(message: impl Into<String>, body: &[u8]) -> Self {
        Self::new(FailureKind::Protocol, message).with_raw(body)
    }

    /// This adapter or provider cannot do what was asked.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Unsupported, message)
    }

    /// What was asked is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(FailureKind::InvalidRequest, message)
    }

    /// Keeps the beginning of `body`, at most [`MAX_RAW`] bytes.
    #[must_use]
    pub fn with_raw(mut self, body: &[u8]) -> Self {
        self.raw = (!body.is_empty()).then(|| beginning(&String::from_utf8_lossy(&body[..body.len().min(MAX_RAW)]), MAX_RAW).to_owned());
        self
    }

    /// What an HTTP status outside 200..=299 means, with the provider's words, code and hints where they are in the usual places.
    pub fn of_response(response: &HttpResponse) -> Self {
        let head = &response.head;
        let words = json::parse(&response.body).map(|body| ErrorWords::of(&body)).unwrap_or_default();
        let message = words.message.unwrap_or_else(|| match head.status {
            300..400 => format!(
                "HTTP status {}: a redirect to {}, which is not followed",
                head.status,
                beginning(head.headers.get("location").unwrap_or("nowhere"), 200)
            ),
            status => format!("HTTP status {status}"),
        });
        let hints = retry::hints(&head.headers);
        Self {
            kind: kind_of_status(head.status),
            status: Some(head.status),
            code: words.code,
            message,
            retry_after_ms: hints.after_ms,
            retryable: hints.retryable,
            request_id: head.request_id().map(str::to_owned).or(words.request_id),
            raw: None,
        }
        .with_raw(&response.body)
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Refused(why) => Self::new(FailureKind::Refused, why),
            HttpError::Key(why) => Self::new(FailureKind::Authentication, why),
            HttpError::Connect(why) => Self::new(FailureKind::Connect, why),
            HttpError::Timeout => Self::new(FailureKind::Timeout, "no answer in time"),
            HttpError::Broken(why) => Self::new(FailureKind::Broken, why),
            HttpError::TooLarge(why) => Self::new(FailureKind::TooLarge, why),
            HttpError::Cancelled => Self::new(FailureKind::Cancelled, "cancelled"),
        }
    }
}

/// What an HTTP status alone says.
pub fn kind_of_status(status: u16) -> FailureKind {
    match status {
        401 => FailureKind::Authentication,
        402 => FailureKind::Quota,
        403 => FailureKind::Permission,
        404 => FailureKind::NotFound,
        408 => FailureKind::Timeout,
        429 => FailureKind::RateLimit,
        503 | 529 => FailureKind::Overloaded,
        500..=599 => FailureKind::Server,
        400..=499 => FailureKind::InvalidRequest,
        _ => FailureKind::Protocol,
    }
}

/// An error's words, code and request id, from the places where providers put them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorWords {
    /// The provider's words.
    pub message: Option<String>,
    /// Its code, or else its type.
    pub code: Option<String>,
    /// Its id of the request.
    pub request_id: Option<String>,
}

impl ErrorWords {
    /// Reads `{"error": {...}}`, `{"error": "..."}`, `{"message": ...}`, `{"detail": ...}`, `{"errors": [...]}`, and a list whose first item is one of these.
    pub fn of(body: &Value) -> Self {
        let body = body.get(0).unwrap_or(body);
        let error = match body.get("error").or_else(|| body.get("errors").and_then(|errors| errors.get(0))) {
            Some(error) if !error.is_null() => error,
            _ => body,
        };
        let message = [error, body]
            .into_iter()
            .flat_map(|place| [Some(place), place.get("message"), place.get("detail"), place.get("msg"), place.get("error_message")])
            .flatten()
            .find_map(|value| match value {
                Value::String(text) if !text.trim_ascii().is_empty() => Some(text.clone()),
                Value::Array(items) if !items.is_empty() => Some(json::text(value)),
                Value::Object(members) if value.get("message").is_none() && value.get("detail").is_none() && !std::ptr::eq(value, body) => {
                    (!members.is_empty()).then(|| json::text(value))
                }
                _ => None,
            });
        let code =
            [error, body].into_iter().flat_map(|place| [place.get("code"), place.get("type"), place.get("status")]).flatten().find_map(
                |value| match value {
                    Value::String(text) if !text.is_empty() => Some(text.clone()),
                    Value::Number(number) => Some(number.to_string()),
                    _ => None,
                },
            );
        let request_id = ["request_id", "requestId", "RequestId"].iter().find_map(|name| body.text_at(name));
        Self {
            message: message.map(|text| beginning(&text, MAX_MESSAGE).to_owned()),
            code: code.map(|text| beginning(&text, 200).to_owned()),
            request_id: request_id.map(|text| beginning(text, 200).to_owned()),
        }
    }
}

/// Words put together. The standard library's `concat` and `format!` are ten times its size in a guest.
#[inline(never)]
pub fn words(pieces: &[&str]) -> String {
    let mut words = String::new();
    for piece in pieces {
        words.push_str(piece);
    }
    words
}

/// As much of `text` as fits `max` bytes, cut between code points.
pub fn beginning(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
