//! Where models may talk to: the administrator's settings applied to an endpoint.
//!
//! Decided when a model is added, so that the mistake shows at once, and again at every call, so that a changed setting holds at once. The address that
//! the host's name resolves to is the sandbox's to check, at connect.

use pg_llm_sandbox::egress::{AllowList, Endpoint, Grant};

use super::errors::{SqlError, State};
use super::gucs;
use crate::catalog::builtin;

/// Whether a model may talk to `endpoint`, and whether its address may be one that is not public.
///
/// `trusted`: a superuser chose it.
pub(crate) fn private_ok(instance: &str, endpoint: &Endpoint, trusted: bool) -> Result<bool, SqlError> {
    let grant = match gucs::allowed_hosts() {
        Some(list) => AllowList::parse(&list)
            .map_err(|entry| {
                SqlError::new(
                    State::SetUp,
                    format!("pg_llm: the setting pg_llm.allowed_hosts has an entry that cannot be understood: \"{entry}\""),
                )
                .hint("Entries are [SCHEME://]HOST[:PORT]; *.example.com stands for every name below example.com.")
            })?
            .permits(endpoint),
        None if trusted => Grant::Named,
        None if builtin::knows_host(endpoint)? => Grant::Public,
        None => Grant::No,
    };
    match grant {
        Grant::Named => Ok(true),
        Grant::Public => Ok(gucs::allow_private_networks()),
        Grant::No => {
            let port = endpoint.port();
            Err(SqlError::new(
                State::Forbidden,
                format!("pg_llm: model \"{instance}\" may not talk to host \"{}:{port}\"", endpoint.host()),
            )
            .hint("An administrator can add it to pg_llm.allowed_hosts, or, while that is empty, add the model."))
        }
    }
}
