//! Where models may talk to: the administrator's settings applied to an endpoint.
//!
//! Decided when a model is added, so that the mistake shows at once, and again at every call, so that a changed setting holds at once. The address that
//! the host's name resolves to is the sandbox's to check, at connect.

use std::sync::{Mutex, OnceLock, PoisonError};

use pg_llm_sandbox::egress::{AllowList, Endpoint, Grant, TokenHosts, TokenUrl};

use super::errors::{SqlError, State};
use super::gucs;
use crate::catalog::builtin;

/// Whether a model may talk to `endpoint`, and whether its address may be one that is not public.
///
/// `trusted`: a superuser chose it.
pub(crate) fn private_ok(instance: &str, endpoint: &Endpoint, trusted: bool) -> Result<bool, SqlError> {
    let grant = match allow_list()? {
        Some(list) => list.permits(endpoint),
        None if trusted => Grant::Named,
        None if builtin::knows_host(endpoint)? => Grant::Public,
        None => Grant::No,
    };
    match grant {
        Grant::Named => Ok(true),
        Grant::Public => Ok(gucs::allow_private_networks() && !endpoint.is_metadata()),
        Grant::No => Err(forbidden(instance, endpoint)),
    }
}

/// Hosts whose access tokens the built-in providers use: Microsoft Entra, of all its clouds, and Google.
const TOKEN_HOSTS: &str = "https://login.microsoftonline.com https://login.microsoftonline.us https://login.partner.microsoftonline.cn \
                           https://oauth2.googleapis.com";

/// Where a model may fetch access tokens. `trusted`: a superuser chose the configured URLs.
pub(crate) fn token_hosts(configured: Vec<TokenUrl>, trusted: bool) -> Result<TokenHosts, SqlError> {
    static KNOWN: OnceLock<AllowList> = OnceLock::new();
    let private_networks = gucs::allow_private_networks();
    if let Some(allowed) = allow_list()? {
        return Ok(TokenHosts { configured, trusted: false, allowed, named_private: true, private_networks });
    }
    let allowed = KNOWN.get_or_init(|| AllowList::parse(TOKEN_HOSTS).unwrap_or_default()).clone();
    Ok(TokenHosts { configured, trusted, allowed, named_private: false, private_networks })
}

/// Whether a model may fetch access tokens where its configuration says.
pub(crate) fn check_token_urls(instance: &str, configured: &[TokenUrl], trusted: bool) -> Result<(), SqlError> {
    let hosts = token_hosts(configured.to_vec(), trusted)?;
    match configured.iter().find(|url| hosts.private_ok(url).is_none()) {
        Some(url) => Err(forbidden(instance, url.origin())),
        None => Ok(()),
    }
}

/// The administrator's list; none where it is empty.
pub(crate) fn allow_list() -> Result<Option<AllowList>, SqlError> {
    /// The setting as it was read last.
    static READ: Mutex<Option<(String, AllowList)>> = Mutex::new(None);
    let Some(text) = gucs::allowed_hosts() else { return Ok(None) };
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, list)) = read.as_ref().filter(|(former, _)| *former == text) {
        return Ok(Some(list.clone()));
    }
    let list = AllowList::parse(&text).map_err(|entry| {
        SqlError::new(State::SetUp, format!("pg_llm: the setting pg_llm.allowed_hosts has an entry that cannot be understood: \"{entry}\""))
            .hint("Entries are [SCHEME://]HOST[:PORT]; *.example.com stands for every name below example.com.")
    })?;
    *read = Some((text, list.clone()));
    Ok(Some(list))
}

fn forbidden(instance: &str, endpoint: &Endpoint) -> SqlError {
    let (host, port) = (endpoint.host(), endpoint.port());
    SqlError::new(State::Forbidden, format!("pg_llm: model \"{instance}\" may not talk to host \"{host}:{port}\""))
        .hint("An administrator can add it to pg_llm.allowed_hosts, or, while that is empty, add the model.")
}
