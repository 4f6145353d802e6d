//! The providers that are part of the library.

use std::sync::OnceLock;

use pg_llm_sandbox::egress::Endpoint;
use pg_llm_sandbox::report::{Description, Profile};

use super::embedded::{self, Embedded, Library, OnAPage, embedded};
use crate::backend::errors::SqlError;

/// A provider of ours.
pub(crate) type Builtin = embedded::Builtin<Description>;

/// Every provider that has a folder in `providers-wasm/` (build.rs).
static EMBEDDED: &[Embedded] = include!(concat!(env!("OUT_DIR"), "/providers.rs"));
static PROVIDERS: Library<Description> = Library::new(EMBEDDED);

/// All of them.
pub(crate) fn all() -> Result<Vec<&'static Builtin>, SqlError> {
    PROVIDERS.all()
}

/// The component and the profile of a built-in `model_type`, by name or alias. Reads no more reports than it must: a backend's first call waits for it.
pub(crate) fn find(model_type: &str) -> Result<Option<(&'static Builtin, &'static Profile)>, SqlError> {
    let in_report = |builtin: &'static Builtin| Some((builtin, builtin.report.description.profile(model_type)?));
    if let Some(found) = PROVIDERS.known().find_map(in_report) {
        return Ok(Some(found));
    }
    let quoted = format!("\"{model_type}\"");
    for (place, provider) in EMBEDDED.iter().enumerate() {
        // A report spells out every type that it has.
        if std::str::from_utf8(provider.report).is_ok_and(|report| report.contains(&quoted))
            && let Some(found) = in_report(PROVIDERS.at(place)?)
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Whether `endpoint` is on the host of a built-in profile.
pub(crate) fn knows_host(endpoint: &Endpoint) -> Result<bool, SqlError> {
    static ENDPOINTS: OnceLock<Vec<Endpoint>> = OnceLock::new();
    let all = all()?;
    let endpoints = ENDPOINTS.get_or_init(|| {
        let profiles = all.iter().flat_map(|b| &b.report.description.profiles);
        profiles.filter_map(|p| Endpoint::parse(p.default_endpoint.as_deref()?).ok()).collect()
    });
    Ok(endpoints.iter().any(|e| e.is_tls() == endpoint.is_tls() && e.host() == endpoint.host() && e.port() == endpoint.port()))
}
