//! Where a model's access tokens may be fetched.

use super::{AllowList, Grant, TokenUrl};

/// What the model's owner and the administrator say of token endpoints. A guest has no say: it would have the model's keys sent where it likes.
#[derive(Clone, Debug, Default)]
pub struct TokenHosts {
    /// Named by the model's configuration. A client's secret is sent to these and to no others.
    pub configured: Vec<TokenUrl>,
    /// Those were named by somebody who may decide where calls go: any host, at any address.
    pub trusted: bool,
    /// Hosts that the administrator allows.
    pub allowed: AllowList,
    /// A host that `allowed` names literally may have an address that is not public.
    pub named_private: bool,
    /// So may every host that is allowed.
    pub private_networks: bool,
}

impl TokenHosts {
    /// Whether a token may be fetched at `url` (none: it may not), and if so, whether at an address that is not public.
    pub fn private_ok(&self, url: &TokenUrl) -> Option<bool> {
        if self.trusted && self.configured.contains(url) {
            return Some(true);
        }
        match self.allowed.permits(url.origin()) {
            Grant::Named => Some(self.named_private || self.private_networks),
            Grant::Public => Some(self.private_networks && !url.origin().is_metadata()),
            Grant::No => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_allowed_by_the_list_and_urls_by_trust() {
        let url = |text: &str| TokenUrl::parse(text).unwrap();
        let (named, wild, other) =
            (url("https://login.example/token"), url("https://a.corp.example/token"), url("https://evil.example/token"));
        let mut hosts = TokenHosts {
            configured: vec![other.clone()],
            allowed: AllowList::parse("login.example *.corp.example").unwrap(),
            ..TokenHosts::default()
        };
        assert_eq!([&named, &wild, &other].map(|u| hosts.private_ok(u)), [Some(false), Some(false), None]);
        hosts.named_private = true;
        assert_eq!([&named, &wild, &other].map(|u| hosts.private_ok(u)), [Some(true), Some(false), None]);
        hosts.private_networks = true;
        assert_eq!([&named, &wild, &other].map(|u| hosts.private_ok(u)), [Some(true), Some(true), None]);
        hosts.trusted = true;
        assert_eq!(hosts.private_ok(&other), Some(true));
        assert_eq!(hosts.private_ok(&url("https://evil.example/other")), None, "trust is for one URL");
        assert_eq!(TokenHosts::default().private_ok(&named), None);
    }
}
