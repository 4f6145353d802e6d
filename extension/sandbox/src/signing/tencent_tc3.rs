//! Tencent Cloud API 3.0, signature v3 (TC3-HMAC-SHA256, <https://www.tencentcloud.com/document/api/213/33224>).

use http::header::{CONTENT_TYPE, HOST, HeaderName};
use http::request::Parts;

use super::derived_key::DerivedKey;
use super::timestamp::Timestamp;
use super::{SigningError, check_scope, content_type, identifier, joined, set, set_host};
use crate::code_cache::{hex, sha256};

/// Who signs, and for which service.
pub(crate) struct Signer<'a> {
    pub(crate) secret_id: &'a [u8],
    pub(crate) secret_key: &'a [u8],
    pub(crate) service: &'a str,
}

const ACTION: HeaderName = HeaderName::from_static("x-tc-action");

impl Signer<'_> {
    /// Adds the headers that sign a request, at `unix` seconds since 1970.
    pub(crate) fn sign(&self, head: &mut Parts, body: &[u8], unix: u64) -> Result<(), SigningError> {
        check_scope("service", self.service)?;
        if content_type(&head.headers)?.is_none() || !head.headers.contains_key(ACTION) {
            return Err(SigningError::Request(
                "tencent-tc3 signs the headers \"content-type\" and \"x-tc-action\", and one is missing".to_owned(),
            ));
        }
        set_host(head)?;
        set(&mut head.headers, "x-tc-timestamp", unix.to_string().as_bytes())?;
        let headers = [CONTENT_TYPE, HOST, ACTION].map(|name| (name.as_str().to_owned(), joined(&head.headers, &name)));
        let request = canonical_request(head.method.as_str(), head.uri.query().unwrap_or_default(), &headers, body);
        let signed = headers.map(|(name, _)| name).join(";");
        let value = self.authorization(&request, &signed, unix)?;
        set(&mut head.headers, "authorization", value.as_bytes())
    }

    fn authorization(&self, canonical_request: &str, signed_headers: &str, unix: u64) -> Result<String, SigningError> {
        let (id, date) = (identifier(self.secret_id)?, Timestamp::new(unix).date("-"));
        let scope = format!("{date}/{}/tc3_request", self.service);
        let to_sign = format!("TC3-HMAC-SHA256\n{unix}\n{scope}\n{}", hex(&sha256(canonical_request.as_bytes())));
        let key = DerivedKey::new("TC3", self.secret_key, &[&date, self.service, "tc3_request"]);
        Ok(format!("TC3-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={signed_headers}, Signature={}", key.sign(&to_sign)))
    }
}

/// The path of API 3.0 is always `/`, also behind a proxy that puts it elsewhere. `headers` in the order of their names.
fn canonical_request(method: &str, query: &str, headers: &[(String, String)], body: &[u8]) -> String {
    let mut text = format!("{method}\n/\n{query}\n");
    for (name, value) in headers {
        text.extend([name, ":", &value.trim().to_lowercase(), "\n"]);
    }
    let names = headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
    text.extend(["\n", &names, "\n", &hex(&sha256(body))]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of the documentation, in its older form, which signs two headers, and in the present one.
    const BODY: &[u8] = br#"{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}"#;
    const TIME: u64 = 1_551_113_065;

    fn example() -> Parts {
        http::Request::post("https://cvm.tencentcloudapi.com/")
            .header("content-type", "application/json; charset=utf-8")
            .header("x-tc-action", "DescribeInstances")
            .header("x-tc-version", "2017-03-12")
            .header("x-tc-region", "ap-guangzhou")
            .body(())
            .unwrap()
            .into_parts()
            .0
    }

    fn value<'a>(head: &'a Parts, name: &str) -> &'a str {
        head.headers[name].to_str().unwrap()
    }

    #[test]
    fn the_documented_example_has_the_documented_signature() {
        let (id, key) = (format!("AKID{}", "*".repeat(32)), "*".repeat(32));
        let mut head = example();
        Signer { secret_id: id.as_bytes(), secret_key: key.as_bytes(), service: "cvm" }.sign(&mut head, BODY, TIME).unwrap();
        assert_eq!(
            value(&head, "authorization"),
            format!(
                "TC3-HMAC-SHA256 Credential={id}/2019-02-25/cvm/tc3_request, SignedHeaders=content-type;host;x-tc-action, \
                 Signature=10b1a37a7301a02ca19a647ad722d5e43b4b3cff309d421d85b46093f6ab6c4f"
            )
        );
        assert_eq!((value(&head, "x-tc-timestamp"), value(&head, "host")), ("1551113065", "cvm.tencentcloudapi.com"));
    }

    #[test]
    fn the_older_example_has_its_signature() {
        let signer =
            Signer { secret_id: b"AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE", secret_key: b"Gu5t9xGARNpq86cd98joQYCN3EXAMPLE", service: "cvm" };
        let headers = [("content-type", "application/json; charset=utf-8"), ("host", "cvm.tencentcloudapi.com")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let said = signer.authorization(&canonical_request("POST", "", &headers, BODY), "content-type;host", TIME).unwrap();
        assert!(
            said.ends_with("SignedHeaders=content-type;host, Signature=72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168"),
            "{said}"
        );
    }

    #[test]
    fn what_a_guest_may_not_have_signed_is_refused() {
        let long = "x".repeat(65);
        let signer = |service| Signer { secret_id: b"id", secret_key: b"key", service };
        for service in ["", "a/b", "a\nb", "a b", "ä", &long] {
            assert!(matches!(signer(service).sign(&mut example(), b"", TIME), Err(SigningError::Request(_))), "{service}");
        }
        for name in ["content-type", "x-tc-action"] {
            let mut head = example();
            head.headers.remove(name);
            assert!(matches!(signer("cvm").sign(&mut head, b"", TIME), Err(SigningError::Request(_))), "without {name}");
        }
        for (name, value) in [("x-tc-timestamp", "1"), ("content-type", "text/plain"), ("authorization", "x")] {
            let mut head = example();
            head.headers.append(name, http::HeaderValue::from_static(value));
            assert!(matches!(signer("cvm").sign(&mut head, b"", TIME), Err(SigningError::Request(_))), "with another {name}");
        }
        for id in ["", "a/b", "a,b", "a b", "a\n"] {
            let signer = Signer { secret_id: id.as_bytes(), ..signer("cvm") };
            assert!(matches!(signer.sign(&mut example(), b"", TIME), Err(SigningError::Credentials(_))), "{id:?}");
        }
    }
}
