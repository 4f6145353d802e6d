//! HTTP as a provider sees it: a request to build, the head of a response, a response that was read to its end.

use std::fmt;

use serde_json::Value;

use crate::bindings::provider::pg_llm::guest::{http, keys};
use crate::json;
use crate::types::Failure;

pub use http::{Error as HttpError, Header, Method, Request as HttpRequest};
pub use keys::{Auth, AwsSigv4Auth, GcpJwtAuth, HeaderAuth, Oauth2ClientCredentialsAuth, TencentTc3Auth};

impl HttpRequest {
    /// A request to `path`, which is relative to the model's endpoint and begins with `/`.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path_with_query: path.into(), headers: Vec::new(), body: Vec::new(), auth: None }
    }

    /// A GET.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::Get, path)
    }

    /// A POST.
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::Post, path)
    }

    /// Adds `name=value` to the query, percent-encoded.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.path_with_query.push(if self.path_with_query.contains('?') { '&' } else { '?' });
        percent_encode(name, &mut self.path_with_query);
        self.path_with_query.push('=');
        percent_encode(value, &mut self.path_with_query);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(Header { name: name.into(), value: value.into() });
        self
    }

    /// Sets the body to this JSON, and `content-type`.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.body = json::text(body).into_bytes();
        self.header("content-type", "application/json")
    }

    /// `authorization: Bearer` with the key of this name.
    #[must_use]
    pub fn bearer(self, key: impl Into<String>) -> Self {
        self.auth(Auth::Header(HeaderAuth {
            key: key.into(),
            name: "authorization".to_owned(),
            prefix: "Bearer ".to_owned(),
            optional: false,
        }))
    }

    /// Sets how the host proves who asks.
    #[must_use]
    pub fn auth(mut self, auth: Auth) -> Self {
        self.auth = Some(auth);
        self
    }
}

/// Appends `text` with everything but RFC 3986's unreserved characters percent-encoded: fit for a path segment and for a query.
pub fn percent_encode(text: &str, to: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            to.push(char::from(byte));
        } else {
            to.push('%');
            to.push(char::from(HEX[usize::from(byte >> 4)]));
            to.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// The fields of a response's head.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Headers(pub Vec<Header>);

impl Headers {
    /// The first value of this name, whatever its case, without surrounding white space.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value.trim_ascii())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        Self(fields.into_iter().map(|(name, value)| Header { name: name.into(), value: value.into() }).collect())
    }
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq)]
pub struct ResponseHead {
    /// HTTP status.
    pub status: u16,
    /// Header fields.
    pub headers: Headers,
}

impl ResponseHead {
    /// A head without header fields.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Headers::default() }
    }

    /// Whether the status is in 200..=299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The media type of `content-type`, in lower case and without parameters; empty when there is none.
    pub fn media_type(&self) -> String {
        let value = self.headers.get("content-type").unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase()
    }

    /// The provider's id of the request, under the names that are in use for it.
    pub fn request_id(&self) -> Option<&str> {
        const NAMES: [&str; 8] = [
            "x-request-id",
            "request-id",
            "apim-request-id",
            "x-amzn-requestid",
            "x-goog-request-id",
            "x-tc-requestid",
            "x-correlation-id",
            "cf-ray",
        ];
        NAMES.iter().find_map(|name| self.headers.get(name)).filter(|id| !id.is_empty())
    }
}

/// A response that was read to its end.
#[derive(Clone, PartialEq)]
pub struct HttpResponse {
    /// Its head.
    pub head: ResponseHead,
    /// Its body.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// A response without header fields.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { head: ResponseHead::new(status), body: body.into() }
    }

    /// The body as JSON; a failure of kind `protocol` that carries the beginning of the body when it is none.
    pub fn json(&self) -> Result<Value, Failure> {
        json::parse(&self.body)
    }
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponse").field("head", &self.head).field("body", &String::from_utf8_lossy(&self.body)).finish()
    }
}
