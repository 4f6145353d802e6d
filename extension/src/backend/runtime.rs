//! What a backend keeps between calls: the sandbox and the code that it has loaded. Made when first needed, never in the postmaster.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pg_llm_sandbox::{CodeCache, Digest, Provider, Sandbox, SandboxError};
use pgrx::PgLogLevel;

use super::errors::{Failure, SqlError, State, emit};
use super::{compiler_process, data_directory, gucs, key_file};
use crate::catalog::builtin::Builtin;

/// In a static, and so never dropped: a process may end in the midst of a call.
static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);

struct Runtime {
    ca_file: Option<PathBuf>,
    sandbox: Sandbox,
    builtin: HashMap<*const u8, Provider>,
    uploaded: HashMap<Digest, Provider>,
}

// SAFETY: the raw pointer is a key, the address of embedded code, and never followed.
unsafe impl Send for Runtime {}

/// More loaded modules than this are forgotten, and loaded again when they are called.
const MOST_MODULES: usize = 64;

fn lock() -> MutexGuard<'static, Option<Runtime>> {
    RUNTIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn with_runtime<T>(work: impl FnOnce(&mut Runtime) -> T) -> Result<T, SqlError> {
    let ca_file = gucs::ca_file();
    let mut runtime = lock();
    if runtime.as_ref().is_none_or(|r| r.ca_file != ca_file) {
        let sandbox = Sandbox::new(ca_file.clone()).map_err(unusable)?;
        *runtime = Some(Runtime { ca_file, sandbox, builtin: HashMap::new(), uploaded: HashMap::new() });
    }
    match runtime.as_mut() {
        Some(runtime) => Ok(work(runtime)),
        None => Err(SqlError::new(State::Internal, "pg_llm: internal error: no sandbox")),
    }
}

/// A provider that is part of the library.
pub(crate) fn builtin(builtin: &'static Builtin) -> Result<Provider, SqlError> {
    with_runtime(|runtime| {
        let key = builtin.artefact.as_ptr();
        if let Some(provider) = runtime.builtin.get(&key) {
            return Ok(provider.clone());
        }
        // SAFETY: embedded at build time, as the compiler made it.
        let provider = unsafe { runtime.sandbox.load_embedded(builtin.artefact) }.map_err(unusable)?;
        runtime.builtin.insert(key, provider.clone());
        Ok(provider)
    })?
}

/// An uploaded provider: from memory, from the code cache, or, where that has no sound file, compiled anew from what `wasm` gives.
pub(crate) fn uploaded(digest: &Digest, wasm: impl FnOnce() -> Result<Vec<u8>, SqlError>) -> Result<Provider, Failure> {
    if let Some(provider) = with_runtime(|runtime| runtime.uploaded.get(digest).cloned())? {
        return Ok(provider);
    }
    let cache = code_cache()?;
    match with_runtime(|runtime| runtime.load(&cache, digest))? {
        Err(SandboxError::NotCached) => {}
        loaded => return Ok(loaded.map_err(unusable)?),
    }
    emit(PgLogLevel::LOG, "pg_llm: the code cache has no usable file of a module; compiling it again");
    let compiled = compiler_process::compile(&wasm()?)?;
    keep_compiled(&cache, digest, &compiled.artefact);
    let provider = with_runtime(|runtime| {
        // SAFETY: the compiler process that this server has just run made it.
        let provider = unsafe { runtime.sandbox.load_artefact(&compiled.artefact) }.map_err(unusable)?;
        runtime.remember(digest, &provider);
        Ok::<_, SqlError>(provider)
    })??;
    Ok(provider)
}

/// Writes freshly compiled code into the cache. Only a warning when that fails: it can be made again.
pub(crate) fn keep_compiled(cache: &CodeCache, digest: &Digest, artefact: &[u8]) {
    if let Err(e) = cache.store(digest, artefact) {
        emit(PgLogLevel::WARNING, &format!("pg_llm: the code cache cannot be written: {e}"));
    }
}

/// Its name begins as those of Postgres's temporary files do, which base backups and pg_rewind leave out: compiled code is each machine's own, can be made
/// again, and its file names are longer than a tar archive of a backup can hold.
const CODE_DIRECTORY: &str = "pgsql_tmp_code";

/// The code cache of this server.
pub(crate) fn code_cache() -> Result<CodeCache, SqlError> {
    let directory = data_directory::ours()
        .map_err(|e| SqlError::new(State::Io, format!("pg_llm: its directory in the data directory cannot be used: {e}")))?;
    let key = key_file::code_cache_key()?;
    Ok(CodeCache::new(directory.join(CODE_DIRECTORY), &key))
}

/// Whether this server can keep compiled code.
pub(crate) fn code_cache_works() -> Result<(), SqlError> {
    code_cache()?.check().map_err(|e| SqlError::new(State::Io, format!("pg_llm: the code cache cannot be written: {e}")))
}

impl Runtime {
    fn load(&mut self, cache: &CodeCache, digest: &Digest) -> Result<Provider, SandboxError> {
        let provider = self.sandbox.load(cache, digest)?;
        self.remember(digest, &provider);
        Ok(provider)
    }

    fn remember(&mut self, digest: &Digest, provider: &Provider) {
        if self.uploaded.len() >= MOST_MODULES {
            self.uploaded.clear();
        }
        self.uploaded.insert(*digest, provider.clone());
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn unusable(error: SandboxError) -> SqlError {
    let state = match error {
        SandboxError::Engine(_) => State::SetUp,
        SandboxError::NotCached | SandboxError::Link(_) => State::Guest,
    };
    SqlError::new(state, format!("pg_llm: {error}"))
}
