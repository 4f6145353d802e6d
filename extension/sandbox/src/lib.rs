//! wasmtime inside a Postgres backend: the engine, the compiled-code cache, the limits of a call, its cancellation, and the host side of the guest
//! contract `pg-llm:guest` (http, keys, log).
//!
//! Knows nothing of Postgres and nothing of LLM policy. A [`Sandbox`] is made once a process; a [`Provider`] is code that has been loaded; every call gets
//! a fresh instance, its own limits and a [`Grant`] that says where it may go and which keys it may use.

mod call;
mod capabilities;
mod code_cache;
mod code_memory;
#[cfg(feature = "compile")]
mod compile;
#[cfg(feature = "compile")]
mod described;
pub mod egress;
mod engine;
mod filter;
#[cfg(feature = "compile")]
mod inspect;
pub mod interrupt;
pub mod keys;
mod limits;
mod patience;
mod provider;
mod redact;
pub mod report;
mod signing;
mod terms;
pub mod threads;
mod ticker;
mod transport;
mod wasi;
mod wit;

use std::path::PathBuf;
use std::sync::Arc;

pub use call::{CallError, Grant, GuestFault, Outcome, Usage};
pub use capabilities::log::{LogLevel, LogLine};
pub use code_cache::{CodeCache, Digest, hex, sha256, unhex};
#[cfg(feature = "compile")]
pub use compile::{compile, compile_filter};
pub use engine::ENGINE_ID;
pub use filter::{Filter, FilterStream};
#[cfg(feature = "compile")]
pub use inspect::inspect;
pub use limits::{Limits, STACK_HEADROOM_BYTES, WASM_STACK_BYTES};
pub use provider::{ChatStream, Provider, logprob_bytes};
pub use redact::Redactor;
pub use terms::{Meter, Sample, Terms};

/// The records of the contract, as the host sees them.
pub mod types {
    pub use crate::wit::embeddings::exports::pg_llm::guest::embeddings::{EmbedAnswer, EmbedRequest, Purpose};
    pub use crate::wit::filter::exports::pg_llm::guest::prompt::PromptVerdict;
    pub use crate::wit::filter::exports::pg_llm::guest::response::{Channel, Verdict};
    pub use crate::wit::models::exports::pg_llm::guest::models::ModelInfo;
    pub use crate::wit::pg_llm::guest::types::*;
    pub use crate::wit::rerank::exports::pg_llm::guest::rerank::{Ranked, RerankAnswer, RerankRequest};
}

/// What can go wrong before there is a call.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// wasmtime refuses the configuration or the machine.
    #[error("WebAssembly cannot run here: {0}")]
    Engine(String),
    /// The code is not in the cache, or not soundly.
    #[error("the compiled code is not in the cache")]
    NotCached,
    /// The code is not what the host links.
    #[error("the component does not fit the contract: {0}")]
    Link(String),
}

/// Whether there are certificates to trust: those of `ca_file`, else the system's. Opens no connection.
///
/// # Errors
/// In words for the administrator.
pub fn check_trust_anchors(ca_file: Option<&std::path::Path>) -> Result<(), String> {
    transport::check_trust_anchors(ca_file)
}

/// The sandbox of one process.
#[derive(Clone)]
pub struct Sandbox {
    runtime: engine::Runtime,
    agents: Arc<transport::Agents>,
}

impl Sandbox {
    /// `ca_file`: PEM certificates that are trusted instead of the system's. Starts no thread and opens nothing.
    pub fn new(ca_file: Option<PathBuf>) -> Result<Self, SandboxError> {
        let runtime = engine::Runtime::new().map_err(|e| SandboxError::Engine(format!("{e:#}")))?;
        Ok(Self { runtime, agents: Arc::new(transport::Agents::new(ca_file)) })
    }

    /// Loads a component's code from the cache.
    pub fn load(&self, cache: &CodeCache, digest: &Digest) -> Result<Provider, SandboxError> {
        let component = cache.load(&self.runtime.engine, digest).ok_or(SandboxError::NotCached)?;
        Provider::link(&self.runtime, &self.agents, &component)
    }

    /// Loads code that is part of this program, without a copy where it is aligned to a page.
    ///
    /// # Safety
    /// As [`Self::load_artefact`].
    pub unsafe fn load_embedded(&self, artefact: &'static [u8]) -> Result<Provider, SandboxError> {
        // SAFETY: the caller's promise.
        let component = unsafe { code_cache::deserialize_in_place(&self.runtime.engine, artefact) }
            .map_err(|e| SandboxError::Link(format!("{e:#}")))?;
        Provider::link(&self.runtime, &self.agents, &component)
    }

    /// Loads code that [`compile`](fn@crate::compile) made, from memory.
    ///
    /// # Safety
    /// `artefact` must be the unchanged output of the compiler: embedded at build time, or from the compiler process that this server has just run.
    pub unsafe fn load_artefact(&self, artefact: &[u8]) -> Result<Provider, SandboxError> {
        // SAFETY: the caller's promise.
        let component =
            unsafe { code_cache::deserialize(&self.runtime.engine, artefact) }.map_err(|e| SandboxError::Link(format!("{e:#}")))?;
        Provider::link(&self.runtime, &self.agents, &component)
    }
}
