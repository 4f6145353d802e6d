//! AWS Signature Version 4 in the `authorization` header
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).

use http::header::{CONTENT_TYPE, HOST, HeaderName};
use http::request::Parts;

use super::derived_key::DerivedKey;
use super::encoding::{is_unreserved, percent_decode, percent_encode};
use super::timestamp::Timestamp;
use super::{SigningError, check_scope, content_type, identifier, joined, set, set_host};
use crate::code_cache::{hex, sha256};

/// Who signs, and for which service.
pub(crate) struct Signer<'a> {
    pub(crate) access_key_id: &'a [u8],
    pub(crate) secret_access_key: &'a [u8],
    /// Of temporary credentials.
    pub(crate) session_token: Option<&'a [u8]>,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

/// The one service whose paths are signed as they are sent, and that wants the body's hash in a header.
const S3: &str = "s3";

impl Signer<'_> {
    /// Adds the headers that sign a request, at `unix` seconds since 1970. Covers `host`, `content-type` and every `x-amz-*`: what stands in other headers
    /// may be changed on the way.
    pub(crate) fn sign(&self, head: &mut Parts, body: &[u8], unix: u64) -> Result<(), SigningError> {
        check_scope("region", self.region)?;
        check_scope("service", self.service)?;
        identifier(self.access_key_id)?;
        content_type(&head.headers)?;
        let time = Timestamp::new(unix);
        let body_hash = hex(&sha256(body));
        set_host(head)?;
        set(&mut head.headers, "x-amz-date", time.basic().as_bytes())?;
        // Refused even where it is not used: unsigned, it would be the guest's to choose.
        if let (None, true) = (self.session_token, head.headers.contains_key("x-amz-security-token")) {
            return Err(SigningError::Request("header \"x-amz-security-token\" is set by the host alone".to_owned()));
        }
        if let Some(token) = self.session_token {
            set(&mut head.headers, "x-amz-security-token", token)?;
        }
        if self.service == S3 {
            set(&mut head.headers, "x-amz-content-sha256", body_hash.as_bytes())?;
        }
        let mut names: Vec<&HeaderName> =
            head.headers.keys().filter(|name| [HOST, CONTENT_TYPE].contains(name) || name.as_str().starts_with("x-amz-")).collect();
        names.sort_unstable_by_key(|name| name.as_str());
        let headers: Vec<(&str, String)> = names.into_iter().map(|name| (name.as_str(), joined(&head.headers, name))).collect();
        let request = canonical_request(
            head.method.as_str(),
            &canonical_path(head.uri.path(), self.service != S3),
            &canonical_query(head.uri.query().unwrap_or_default()),
            &headers,
            &body_hash,
        );
        let signed = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let value = self.authorization(&request, &signed, &time)?;
        set(&mut head.headers, "authorization", value.as_bytes())
    }

    fn authorization(&self, canonical_request: &str, signed_headers: &str, time: &Timestamp) -> Result<String, SigningError> {
        let (id, date) = (identifier(self.access_key_id)?, time.date(""));
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", time.basic(), hex(&sha256(canonical_request.as_bytes())));
        let key = DerivedKey::new("AWS4", self.secret_access_key, &[&date, self.region, self.service, "aws4_request"]);
        Ok(format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={signed_headers}, Signature={}", key.sign(&to_sign)))
    }
}

/// `headers` in the order of their names, which are in lower case.
fn canonical_request(method: &str, path: &str, query: &str, headers: &[(&str, String)], body_hash: &str) -> String {
    let mut text = format!("{method}\n{path}\n{query}\n");
    for (name, value) in headers {
        let words = value.split([' ', '\t']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        text.extend([name, ":", &words, "\n"]);
    }
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    text.extend(["\n", &names, "\n", body_hash]);
    text
}

/// The path as it is sent, normalised and percent-encoded once more: AWS's services see it decoded once. S3 signs it as it is sent.
fn canonical_path(path: &str, again: bool) -> String {
    if !again {
        return path.to_owned();
    }
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    let mut text = b"/".to_vec();
    percent_encode(segments.join("/").as_bytes(), |b| is_unreserved(b) || b == b'/', &mut text);
    if !segments.is_empty() && ["/", "/.", "/.."].iter().any(|end| path.ends_with(end)) {
        text.push(b'/');
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The parameters, each encoded in the one right way, in the order of their names and then of their values.
fn canonical_query(query: &str) -> String {
    let encoded = |text: &str| {
        let mut bytes = Vec::with_capacity(text.len());
        percent_encode(&percent_decode(text.as_bytes()), is_unreserved, &mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut pairs: Vec<_> = pairs.map(|(name, value)| (encoded(name), encoded(value))).collect();
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
#[path = "aws_sigv4_tests.rs"]
mod tests;
