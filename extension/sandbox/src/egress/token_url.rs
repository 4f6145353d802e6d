//! Where an access token is fetched.

use std::fmt;

use url::Url;

use super::{Endpoint, EndpointError};

/// A token endpoint: an absolute URL, which may have a query (RFC 6749, 3.2). Normalised as an [`Endpoint`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenUrl {
    /// Without a path.
    origin: Endpoint,
    /// Path and query.
    target: String,
}

/// Longest URL that is taken, in bytes.
const URL_BYTES: usize = 2048;

impl TokenUrl {
    /// Reads a URL such as `https://login.example/tenant/oauth2/v2.0/token`.
    ///
    /// # Errors
    /// As an endpoint's, but that there may be a query.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        if text.len() > URL_BYTES {
            return Err(EndpointError::NotAUrl(format!("longer than {URL_BYTES} bytes")));
        }
        let mut url = Url::parse(text).map_err(|e| EndpointError::NotAUrl(e.to_string()))?;
        let mut target = url.path().to_owned();
        if let Some(query) = url.query() {
            target.extend(["?", query]);
        }
        url.set_query(None);
        if !url.cannot_be_a_base() {
            url.set_path("");
        }
        Ok(Self { origin: Endpoint::parse(url.as_str())?, target })
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &Endpoint {
        &self.origin
    }
}

impl fmt::Display for TokenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_url_keeps_its_path_and_query_and_normalises_its_host() {
        for (text, normal) in [
            ("https://login.example/tenant/oauth2/v2.0/token", "https://login.example/tenant/oauth2/v2.0/token"),
            ("https://LOGIN.example.:443/token/?api-version=1.0", "https://login.example/token/?api-version=1.0"),
            ("http://0x7f.1:8080", "http://127.0.0.1:8080/"),
            ("https://login.example/a/../b\\c d", "https://login.example/b/c%20d"),
        ] {
            assert_eq!(TokenUrl::parse(text).unwrap().to_string(), normal);
        }
        for bad in ["", "login.example/token", "ftp://x/token", "data:,x", "https://user:pw@x/token", "https://x/token#f", "http://x:0/"] {
            assert!(TokenUrl::parse(bad).is_err(), "{bad}");
        }
        assert!(TokenUrl::parse(&format!("https://x/{}", "y".repeat(3000))).is_err());
    }
}
