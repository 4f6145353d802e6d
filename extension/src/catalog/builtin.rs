//! The providers that are part of the library: made from `providers-wasm/` by the build, compiled for the baseline of the processor family.

use std::sync::OnceLock;

use pg_llm_sandbox::egress::Endpoint;
use pg_llm_sandbox::report::{Profile, Report};
use pg_llm_sandbox::{Digest, unhex};

use crate::backend::errors::{SqlError, State};

/// A component of ours.
pub(crate) struct Builtin {
    /// Compiled code, for this version of the engine.
    pub(crate) artefact: &'static [u8],
    pub(crate) report: Report,
    /// What the report says of the component.
    pub(crate) digest: Digest,
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

/// What has been read of them, by their place in [`EMBEDDED`].
fn read() -> &'static [OnceLock<Option<Builtin>>] {
    static READ: OnceLock<Vec<OnceLock<Option<Builtin>>>> = OnceLock::new();
    READ.get_or_init(|| EMBEDDED.iter().map(|_| OnceLock::new()).collect())
}

fn at(place: usize) -> Result<&'static Builtin, SqlError> {
    let read = read().get(place).zip(EMBEDDED.get(place)).and_then(|(slot, (artefact, report))| {
        slot.get_or_init(|| {
            let report: Report = serde_json::from_slice(report).ok()?;
            let digest = unhex(&report.sha256)?;
            Some(Builtin { artefact, report, digest })
        })
        .as_ref()
    });
    read.ok_or_else(|| SqlError::new(State::Internal, "pg_llm: this library was built with damaged components"))
}

/// All of them.
pub(crate) fn all() -> Result<Vec<&'static Builtin>, SqlError> {
    (0..EMBEDDED.len()).map(at).collect()
}

/// The component and the profile of a built-in `model_type`, by name or alias. Reads no more reports than it must: a backend's first call waits for it.
pub(crate) fn find(model_type: &str) -> Result<Option<(&'static Builtin, &'static Profile)>, SqlError> {
    let in_report = |builtin: &'static Builtin| Some((builtin, builtin.report.description.profile(model_type)?));
    if let Some(found) = read().iter().filter_map(|slot| slot.get()?.as_ref()).find_map(in_report) {
        return Ok(Some(found));
    }
    let quoted = format!("\"{model_type}\"");
    for (place, (_, report)) in EMBEDDED.iter().enumerate() {
        // A report spells out every type that it has.
        if std::str::from_utf8(report).is_ok_and(|report| report.contains(&quoted))
            && let Some(found) = in_report(at(place)?)
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
