//! A model's endpoint, and how a guest's path is joined to it.

use std::fmt;

use url::{Host, Url};

use super::{AddressClass, classify};

/// Scheme, host, port and path prefix of a model: the only place that its calls can reach.
///
/// The host is normalised as the WHATWG URL standard does it: lower case, IDNA, and the decimal, octal and hexadecimal spellings of an
/// IPv4 address are that address; a trailing dot is dropped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    tls: bool,
    host: String,
    port: u16,
    /// Without a `/` at its end; empty at the root.
    base_path: String,
}

/// Why an endpoint cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not an absolute URL.
    #[error("it is not a URL: {0}")]
    NotAUrl(String),
    /// Another scheme than http or https.
    #[error("its scheme is \"{0}\", and only https and http are spoken")]
    Scheme(String),
    /// `user:password@host`.
    #[error("it holds a user name or password, which belongs into api_key")]
    Credentials,
    /// `?...` or `#...`.
    #[error("it holds a query or a fragment")]
    QueryOrFragment,
    /// Port 0, or no host.
    #[error("it has no usable host and port")]
    NoHost,
}

/// Why a guest's path is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("path refused: {0}")]
pub struct PathError(&'static str);

impl Endpoint {
    /// Reads an endpoint such as `https://api.openai.com/v1`.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let url = Url::parse(text).map_err(|e| EndpointError::NotAUrl(e.to_string()))?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            other => return Err(EndpointError::Scheme(other.to_owned())),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(EndpointError::QueryOrFragment);
        }
        let host = match url.host() {
            // One dot may end a name. After two, what stands before them was not looked at: `0177.0.0.1..` would be another way to write an address.
            Some(Host::Domain(name)) => match name.strip_suffix('.').unwrap_or(name) {
                name if name.split('.').any(str::is_empty) => String::new(),
                name => name.to_owned(),
            },
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => format!("[{ip}]"),
            None => String::new(),
        };
        let port = url.port_or_known_default().unwrap_or(0);
        if host.is_empty() || port == 0 {
            return Err(EndpointError::NoHost);
        }
        Ok(Self { tls, host, port, base_path: url.path().trim_end_matches('/').to_owned() })
    }

    /// Lower case; an IPv6 address stands in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the host is the address of a cloud's metadata service, or link-local.
    pub fn is_metadata(&self) -> bool {
        let address = self.host.trim_start_matches('[').trim_end_matches(']').parse();
        address.is_ok_and(|address| matches!(classify(address), AddressClass::Metadata(_)))
    }

    /// The port, also where the URL did not say it.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether calls are encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// The URL of `path_with_query` at this endpoint.
    ///
    /// # Errors
    /// For whatever could lead elsewhere, or make two parsers disagree: no `/` at the start, `//`, `.` and `..` segments in any spelling
    /// (percent-encoded, between encoded separators, with `;` parameters), backslash, fragment, spaces, control characters, non-ASCII.
    pub fn join(&self, path_with_query: &str) -> Result<String, PathError> {
        if !path_with_query.starts_with('/') {
            return Err(PathError("it does not begin with /"));
        }
        if !path_with_query
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'#' | b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'|' | b'^'))
        {
            return Err(PathError("it has a character that must be percent-encoded"));
        }
        let path = path_with_query.split('?').next().unwrap_or_default();
        let mut segments = path[1..].split('/').peekable();
        while let Some(segment) = segments.next() {
            if segment.is_empty() && segments.peek().is_some() {
                return Err(PathError("it has an empty segment"));
            }
            if !segment.contains(['.', '%']) {
                continue;
            }
            let plain = segment.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/").replace("%3b", ";");
            if plain.split('/').any(|part| matches!(part.split(';').next(), Some("." | ".."))) {
                return Err(PathError("it has a dot segment"));
            }
        }
        Ok(format!("{self}{path_with_query}"))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.host)?;
        if self.port != if self.tls { 443 } else { 80 } {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(&self.base_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_normalised() {
        for (text, normal) in [
            ("https://API.OpenAI.com/v1/", "https://api.openai.com/v1"),
            ("https://api.openai.com.:443", "https://api.openai.com"),
            ("http://2130706433:8080/x", "http://127.0.0.1:8080/x"),
            ("http://0x7f.1", "http://127.0.0.1"),
            ("http://0177.0.0.1", "http://127.0.0.1"),
            ("http://[::FFFF:127.0.0.1]", "http://[::ffff:127.0.0.1]"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), normal);
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "",
            "api.openai.com",
            "ftp://x",
            "file:///etc/passwd",
            "https://user:pw@x",
            "https://x?y",
            "https://x#y",
            "http://x:0",
            "https://",
            "http://0177.0.0.1..",
            "http://x.example../v1",
            "http://.x.example",
            "http://x..example",
        ] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_cannot_leave_the_endpoint() {
        let endpoint = Endpoint::parse("https://x.example/v1").unwrap();
        assert_eq!(endpoint.join("/chat?a=b/../c").unwrap(), "https://x.example/v1/chat?a=b/../c");
        assert_eq!(endpoint.join("/a/").unwrap(), "https://x.example/v1/a/");
        for path in [
            "",
            "chat",
            "//evil.example/",
            "/a//b",
            "/../x",
            "/a/..",
            "/%2e%2E/x",
            "/.%2e/x",
            "/a\\b",
            "/a#b",
            "/a b",
            "/a\r\nHost: x",
            "/ä",
            "@evil.example/",
            "/./x",
            "\t/x",
            "https://evil.example/",
            "/a/..%2fx",
            "/%2e%2e%5Cx",
            "/..;/x",
            "/a%2f%2E%2e%2fx",
            "/.;a=b",
        ] {
            assert!(endpoint.join(path).is_err(), "{path}");
        }
    }
}
