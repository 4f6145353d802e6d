//! The providers that are part of the library: made from `providers-wasm/` by the build, compiled for the baseline of the processor family.

use std::sync::OnceLock;

use pg_llm_sandbox::egress::Endpoint;
use pg_llm_sandbox::report::{Profile, Report};

use crate::backend::errors::{SqlError, State};

/// A component of ours.
pub(crate) struct Builtin {
    /// Compiled code, for this version of the engine.
    pub(crate) artefact: &'static [u8],
    pub(crate) report: Report,
}

/// Begins on a page of its own, so that code can run where the loader mapped the library, shared by all backends.
#[repr(C, align(4096))]
struct OnAPage<T: ?Sized>(T);

macro_rules! embedded {
    ($($name:literal),*) => {
        &[$((
            {
                static CODE: &OnAPage<[u8]> = &OnAPage(*include_bytes!(concat!(env!("PG_LLM_COMPONENTS"), "/", $name, ".cwasm")));
                &CODE.0
            },
            include_bytes!(concat!(env!("PG_LLM_COMPONENTS"), "/", $name, ".json")).as_slice(),
        )),*]
    };
}

/// Compiled code and report of every provider that has a folder in `providers-wasm/` (build.rs).
static EMBEDDED: &[(&[u8], &[u8])] = include!(concat!(env!("OUT_DIR"), "/components.rs"));

/// All of them.
pub(crate) fn all() -> Result<&'static [Builtin], SqlError> {
    static ALL: OnceLock<Option<Vec<Builtin>>> = OnceLock::new();
    ALL.get_or_init(|| {
        EMBEDDED.iter().map(|(artefact, report)| Some(Builtin { artefact, report: serde_json::from_slice(report).ok()? })).collect()
    })
    .as_deref()
    .ok_or_else(|| SqlError::new(State::Internal, "pg_llm: this library was built with damaged components"))
}

/// The component and the profile of a built-in `model_type`, by name or alias.
pub(crate) fn find(model_type: &str) -> Result<Option<(&'static Builtin, &'static Profile)>, SqlError> {
    Ok(all()?.iter().find_map(|builtin| Some((builtin, builtin.report.description.profile(model_type)?))))
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
