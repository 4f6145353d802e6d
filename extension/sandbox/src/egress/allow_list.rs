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
/// (not for itself), and `*` for every host. Cheap to clone.
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
            Some(("https", rest)) => (Some(true), rest),
            Some(("http", rest)) => (Some(false), rest),
            Some(_) => return None,
            None => (None, text),
        };
        let (host, port) = match rest.rsplit_once(':') {
            // Not the colon inside a bracketed IPv6 address.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok().filter(|p| *p != 0)?)),
            _ => (rest, None),
        };
        let (wildcard, name) = match host.strip_prefix('*') {
            Some("") => return Some(Self { tls, host: String::new(), wildcard: true, port }),
            Some(rest) => (true, rest.strip_prefix('.')?),
            None => (false, host),
        };
        let host = match Host::parse(name).ok()? {
            Host::Domain(name) => name.trim_end_matches('.').to_owned(),
            Host::Ipv4(_) | Host::Ipv6(_) if wildcard => return None,
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => format!("[{ip}]"),
        };
        let host = if wildcard { format!(".{host}") } else { host };
        Some(Self { tls, host, wildcard, port })
    }

    fn matches(&self, endpoint: &Endpoint) -> bool {
        self.tls.is_none_or(|tls| tls == endpoint.is_tls())
            && self.port.is_none_or(|port| port == endpoint.port())
            && if self.wildcard { endpoint.host().ends_with(&self.host) } else { endpoint.host() == self.host }
    }
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
}
