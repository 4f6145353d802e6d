//! Components that are part of the library: made from `providers-wasm/` by the build, compiled for the baseline of the processor family.

use std::sync::OnceLock;

use pg_llm_sandbox::report::Report;
use pg_llm_sandbox::{Digest, unhex};
use serde::de::DeserializeOwned;

use crate::backend::errors::{SqlError, State};

/// A component of ours.
pub(crate) struct Builtin<D> {
    /// Compiled code, for this version of the engine.
    pub(crate) artefact: &'static [u8],
    pub(crate) report: Report<D>,
    /// What the report says of the component.
    pub(crate) digest: Digest,
}

/// A component as the build embeds it.
pub(super) struct Embedded {
    /// Of its folder.
    pub(super) name: &'static str,
    pub(super) artefact: &'static [u8],
    /// JSON.
    pub(super) report: &'static [u8],
}

/// Begins on a page of its own, so that code can run where the loader mapped the library, shared by all backends.
#[repr(C, align(4096))]
pub(super) struct OnAPage<T: ?Sized>(pub(super) T);

/// `embedded!("PREFIX": "NAME", ...)`, which `build.rs` writes.
macro_rules! embedded {
    ($prefix:literal: $($name:literal),*) => {
        &[$(Embedded {
            name: $name,
            artefact: {
                static CODE: &OnAPage<[u8]> = &OnAPage(*include_bytes!(concat!(env!("PG_LLM_COMPONENTS"), "/", $prefix, $name, ".cwasm")));
                &CODE.0
            },
            report: include_bytes!(concat!(env!("PG_LLM_COMPONENTS"), "/", $prefix, $name, ".json")).as_slice(),
        }),*]
    };
}
pub(super) use embedded;

/// Embedded components, each read when it is first asked for.
pub(super) struct Library<D: 'static> {
    embedded: &'static [Embedded],
    read: OnceLock<Vec<OnceLock<Option<Builtin<D>>>>>,
}

impl<D: DeserializeOwned> Library<D> {
    pub(super) const fn new(embedded: &'static [Embedded]) -> Self {
        Self { embedded, read: OnceLock::new() }
    }

    fn slots(&self) -> &[OnceLock<Option<Builtin<D>>>] {
        self.read.get_or_init(|| self.embedded.iter().map(|_| OnceLock::new()).collect())
    }

    /// Those that have been read.
    pub(super) fn known(&'static self) -> impl Iterator<Item = &'static Builtin<D>> {
        self.slots().iter().filter_map(|slot| slot.get()?.as_ref())
    }

    /// The component at this place of `embedded`.
    pub(super) fn at(&'static self, place: usize) -> Result<&'static Builtin<D>, SqlError> {
        let read = self.slots().get(place).zip(self.embedded.get(place)).and_then(|(slot, embedded)| {
            slot.get_or_init(|| {
                let report: Report<D> = serde_json::from_slice(embedded.report).ok()?;
                let digest = unhex(&report.sha256)?;
                Some(Builtin { artefact: embedded.artefact, report, digest })
            })
            .as_ref()
        });
        read.ok_or_else(|| SqlError::new(State::Internal, "pg_llm: this library was built with damaged components"))
    }

    /// All of them.
    pub(super) fn all(&'static self) -> Result<Vec<&'static Builtin<D>>, SqlError> {
        (0..self.embedded.len()).map(|place| self.at(place)).collect()
    }
}
