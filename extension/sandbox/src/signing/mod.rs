//! How a request proves who sends it, one scheme a file: pure functions of the time, the credentials and the request as it goes out.
//!
//! | scheme | specification | what it makes |
//! |---|---|---|
//! | `aws-sigv4` | AWS Signature Version 4 | a signature over method, path, query, body and the headers `host`, `content-type`, `x-amz-*` |
//! | `tencent-tc3` | Tencent Cloud API 3.0, signature v3 | a signature over method, query, body and the headers `content-type`, `host`, `x-tc-action` |
//! | `oauth2-client-credentials` | RFC 6749, 4.4 | a request for an access token |
//! | `gcp-jwt` | RFC 7523, 2.1, with RS256 | a request for an access token |
//!
//! Fetching tokens is [`crate::capabilities::tokens`]'s.

pub(crate) mod aws_sigv4;
mod derived_key;
pub(crate) mod encoding;
pub(crate) mod gcp_jwt;
pub(crate) mod oauth2;
pub(crate) mod tencent_tc3;
mod timestamp;
pub(crate) mod token_cache;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::request::Parts;
use zeroize::Zeroizing;

/// Why a request cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SigningError {
    /// What the guest asks for is not what may be signed.
    #[error("{0}")]
    Request(String),
    /// A key is not what the scheme needs. Never quotes the key.
    #[error("{0}")]
    Credentials(String),
}

/// Longest name of a region or a service, in bytes.
const SCOPE_BYTES: usize = 64;

/// Longest key that stands in a header, in bytes: a line must fit the transport's buffer.
const HEADER_BYTES: usize = 16 << 10;

/// A region or a service: it becomes a part of what is signed, between slashes.
fn check_scope(what: &str, word: &str) -> Result<(), SigningError> {
    let fits = (1..=SCOPE_BYTES).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    fits.then_some(())
        .ok_or_else(|| SigningError::Request(format!("the {what} must have 1 to {SCOPE_BYTES} letters, digits, \"-\", \"_\" or \".\"")))
}

/// The public half of a pair of keys: it stands in a header, between separators.
fn identifier(id: &[u8]) -> Result<&str, SigningError> {
    std::str::from_utf8(id)
        .ok()
        .filter(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b',' | b'=')))
        .ok_or_else(|| SigningError::Credentials("the key's id has characters that no id has, such as a space or a line break".to_owned()))
}

/// Puts the host where the signature covers it: as it will be sent, with the port where that is not the scheme's own.
fn set_host(head: &mut Parts) -> Result<(), SigningError> {
    let authority = head.uri.authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok());
    let authority = authority.ok_or_else(|| SigningError::Request("the request has no host".to_owned()))?;
    head.headers.insert(HOST, authority);
    Ok(())
}

/// Sets a header that only the host may set.
fn set(headers: &mut HeaderMap, name: &'static str, value: &[u8]) -> Result<(), SigningError> {
    if headers.contains_key(name) {
        return Err(SigningError::Request(format!("header \"{name}\" is set by the host alone")));
    }
    if value.len() > HEADER_BYTES {
        return Err(SigningError::Credentials(format!("a key is longer than {HEADER_BYTES} bytes")));
    }
    let value = secret_value(Zeroizing::new(value.to_vec()))
        .ok_or_else(|| SigningError::Credentials("a key has bytes that no HTTP header can carry, such as a line break".to_owned()))?;
    headers.insert(HeaderName::from_static(name), value);
    Ok(())
}

/// A header's value that is wiped when the last of those who share it drops it. None where a header cannot carry it.
pub(crate) fn secret_value(bytes: Zeroizing<Vec<u8>>) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(bytes)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The header's values as one text, as they are sent.
fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect::<Vec<_>>().join(",")
}

/// The one content type.
fn content_type(headers: &HeaderMap) -> Result<Option<&HeaderValue>, SigningError> {
    let mut all = headers.get_all(CONTENT_TYPE).iter();
    match (all.next(), all.next()) {
        (first, None) => Ok(first),
        _ => Err(SigningError::Request("a request with two content types".to_owned())),
    }
}
