//! The administrator's list of hosts.

use std::sync::Arc;

use url::Host;

use super::Endpoint;

/// What the list says of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Not in the list.
    No,
    /// Allowed at public addresses, through a wildcard.
    Public,
    /// Named literally: the administrator knows this host, wherever it is.
    Named,
}

/// Entries separated by commas or white space: `[SCHEME://]HOST[:PORT]`. `*.example.com` stands for every name below `example.com`
/// (not for itself), and `*` for every host. Without a scheme both are meant, without a port all. Nothing else stands in an entry: no path, no user, no `*` elsewhere.
/// Hosts are normalised as an endpoint's are. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(Arc<[Entry]>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    tls: Option<bool>,
    /// Normalised; what is behind `*` for a wildcard.
    host: String,
    wildcard: bool,
    port: Option<u16>,
}

impl AllowList {
    /// Reads the list. The error is the first entry that cannot be understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.split([',', ' ', '\t', '\n', '\r'])
            .filter(|e| !e.is_empty())
            .map(|e| Entry::parse(e).ok_or_else(|| e.to_owned()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// What the list says of `endpoint`: its strongest matching entry.
    pub fn permits(&self, endpoint: &Endpoint) -> Grant {
        self.0
            .iter()
            .filter(|e| e.matches(endpoint))
            .map(|e| if e.wildcard { Grant::Public } else { Grant::Named })
            .max_by_key(|g| matches!(g, Grant::Named))
            .unwrap_or(Grant::No)
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        let (tls, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Some(true), rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Some(false), rest),
            Some(_) => return None,
            None => (None, text),
        };
        let (host, port) = match rest.rsplit_once(':') {
            // Not the colon inside a bracketed IPv6 address.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port_number(port)?)),
            _ => (rest, None),
        };
        let (wildcard, name) = match host.strip_prefix('*') {
            Some("") => return Some(Self { tls, host: String::new(), wildcard: true, port }),
            Some(rest) => (true, rest.strip_prefix('.')?),
            None => (false, host),
        };
        // A name could hold one, and no name that somebody means does: such an entry would allow less than it seems to.
        if name.contains('*') {
            return None;
        }
        let host = match Host::parse(name).ok()? {
            Host::Domain(name) => name.trim_end_matches('.').to_owned(),
            Host::Ipv4(_) | Host::Ipv6(_) if wildcard => return None,
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => format!("[{ip}]"),
        };
        if host.is_empty() {
            return None;
        }
        let host = if wildcard { format!(".{host}") } else { host };
        Some(Self { tls, host, wildcard, port })
    }

    fn matches(&self, endpoint: &Endpoint) -> bool {
        self.tls.is_none_or(|tls| tls == endpoint.is_tls())
            && self.port.is_none_or(|port| port == endpoint.port())
            && if self.wildcard { endpoint.host().ends_with(&self.host) } else { endpoint.host() == self.host }
    }
}

/// 1 to 65535, in digits and nothing else.
fn port_number(text: &str) -> Option<u16> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_name_hosts_ports_schemes_and_wildcards() {
        let list = AllowList::parse("api.openai.com, https://*.example.com\n127.0.0.1:8080 [::1]").unwrap();
        let says = |e: &str| list.permits(&Endpoint::parse(e).unwrap());
        assert_eq!(says("https://api.openai.com/v1"), Grant::Named);
        assert_eq!(says("https://a.example.com"), Grant::Public);
        assert_eq!(says("https://example.com"), Grant::No);
        assert_eq!(says("http://a.example.com"), Grant::No);
        assert_eq!(says("https://notexample.com"), Grant::No);
        assert_eq!(says("http://127.0.0.1:8080"), Grant::Named);
        assert_eq!(says("http://127.0.0.1:8081"), Grant::No);
        assert_eq!(says("http://[::1]:9"), Grant::Named);
        assert_eq!(says("https://api.openai.com.evil.example"), Grant::No);
        assert_eq!(AllowList::parse("*").unwrap().permits(&Endpoint::parse("http://x").unwrap()), Grant::Public);
        for bad in ["ftp://x", "x:0", "x:y", "*x", "*.1.2.3.4", "a b://"] {
            assert!(AllowList::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_entry_that_is_no_host_is_refused() {
        for bad in [
            ".",
            "*.",
            "*..",
            ":443",
            "x:",
            "x:+80",
            "x:-1",
            "x:65536",
            "x:80:80",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[fe80::1%eth0]",
            "api.*.com",
            "a*.com",
            "*.*.com",
            "*.*",
            "**",
            "*com",
            "https://",
            "https://*x",
            "//x",
            "x/v1",
            "x/",
            "https://x/",
            "user@x",
            "user:pw@x",
            "x?y",
            "x#y",
            "x\\y",
            "a<b",
            "999.1.1.1",
            "1.2.3.4.5",
            "*.0x7f",
            "\u{0}",
        ] {
            assert!(AllowList::parse(bad).is_err(), "{bad:?}: {:?}", AllowList::parse(bad));
        }
    }

    #[test]
    fn an_entry_means_a_host_however_it_is_spelt() {
        for (entry, endpoint, granted) in [
            ("EXAMPLE.com", "https://example.COM", Grant::Named),
            ("example.com.", "https://example.com", Grant::Named),
            ("example.com", "https://example.com.", Grant::Named),
            ("HTTPS://example.com", "https://example.com", Grant::Named),
            ("https://example.com", "http://example.com", Grant::No),
            ("http://example.com", "https://example.com", Grant::No),
            ("example.com:443", "https://example.com", Grant::Named),
            ("example.com:443", "http://example.com:443", Grant::Named),
            ("example.com:80", "https://example.com", Grant::No),
            ("example.com", "https://example.com:8443", Grant::Named),
            ("example.com:08443", "https://example.com:8443", Grant::Named),
            ("b\u{fc}cher.example", "https://xn--bcher-kva.example", Grant::Named),
            ("xn--bcher-kva.example", "https://B\u{dc}CHER.example", Grant::Named),
            ("*.b\u{fc}cher.example", "https://a.xn--bcher-kva.example", Grant::Public),
            ("127.1", "http://127.0.0.1", Grant::Named),
            ("0x7f000001", "http://2130706433", Grant::Named),
            ("[0:0:0:0:0:0:0:1]", "http://[::1]", Grant::Named),
            ("127.0.0.1", "http://[::ffff:127.0.0.1]", Grant::No),
            ("example.com", "https://example.com.evil.test", Grant::No),
            ("example.com", "https://www.example.com", Grant::No),
            ("*.example.com", "https://a.b.example.com", Grant::Public),
            ("*.example.com", "https://A.EXAMPLE.COM.", Grant::Public),
            ("*.example.com", "https://example.com", Grant::No),
            ("*.example.com", "https://notexample.com", Grant::No),
            ("*.example.com", "https://example.com.evil.test", Grant::No),
            ("https://*.example.com:8443", "https://a.example.com:8443", Grant::Public),
            ("https://*.example.com:8443", "https://a.example.com", Grant::No),
            ("*:8443", "http://anything.test:8443", Grant::Public),
            ("*:8443", "http://anything.test", Grant::No),
            ("https://*", "https://1.1.1.1", Grant::Public),
            ("https://*", "http://1.1.1.1", Grant::No),
            ("*, example.com", "https://example.com", Grant::Named),
            ("example.com, *", "https://example.com", Grant::Named),
            ("", "https://example.com", Grant::No),
            (" ,\t\r\n,", "https://example.com", Grant::No),
        ] {
            let list = AllowList::parse(entry).unwrap_or_else(|bad| panic!("{bad}"));
            assert_eq!(list.permits(&Endpoint::parse(endpoint).unwrap()), granted, "{entry} and {endpoint}");
        }
    }
}
