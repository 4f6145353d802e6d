//! What a backend keeps between calls: the sandbox and the code that it has loaded. Made when first needed, never in the postmaster.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pg_llm_sandbox::report::{Description, FilterDescription};
use pg_llm_sandbox::{CodeCache, Digest, Filter, Provider, Sandbox, SandboxError, Terms};
use pgrx::PgLogLevel;

use super::compiler_process::Compiled;
use super::errors::{Failure, SqlError, State, emit};
use super::{compiler_process, data_directory, gucs, key_file, module_statistics, transaction};
use crate::catalog::builtin::Builtin;
use crate::catalog::builtin_filters::BuiltinFilter;

/// In a static, and so never dropped: a process may end in the midst of a call.
static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);

struct Runtime {
    ca_file: Option<PathBuf>,
    sandbox: Sandbox,
    providers: Loaded<Provider>,
    filters: Loaded<Filter>,
}

/// Code of one world.
struct Loaded<C> {
    builtin: HashMap<*const u8, C>,
    uploaded: HashMap<Digest, C>,
}

impl<C> Default for Loaded<C> {
    fn default() -> Self {
        Self { builtin: HashMap::new(), uploaded: HashMap::new() }
    }
}

// SAFETY: the raw pointers are keys, addresses of embedded code, and never followed.
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
        *runtime = Some(Runtime { ca_file, sandbox, providers: Loaded::default(), filters: Loaded::default() });
    }
    match runtime.as_mut() {
        Some(runtime) => Ok(work(runtime)),
        None => Err(SqlError::new(State::Internal, "pg_llm: internal error: no sandbox")),
    }
}

/// What a component is loaded as: a provider or a filter.
pub(crate) trait Code: Clone + Sized {
    /// What a component of this world says of itself.
    type Description;

    /// Compiles a component of this world, in a process of its own.
    fn compile(wasm: &[u8]) -> Result<Compiled<Self::Description>, Failure>;

    /// Where loaded ones are.
    #[allow(private_interfaces, reason = "implemented here alone")]
    fn loaded(runtime: &mut Runtime) -> &mut Loaded<Self>;

    /// From the code cache.
    fn cached(sandbox: &Sandbox, cache: &CodeCache, digest: &Digest) -> Result<Self, SandboxError>;

    /// From the library itself.
    ///
    /// # Safety
    /// `artefact` is embedded at build time, as the compiler made it.
    unsafe fn embedded(sandbox: &Sandbox, artefact: &'static [u8]) -> Result<Self, SandboxError>;

    /// From memory.
    ///
    /// # Safety
    /// `artefact` is what the compiler process gave that this server has just run.
    unsafe fn compiled(sandbox: &Sandbox, artefact: &[u8]) -> Result<Self, SandboxError>;

    /// The same on these terms.
    fn on_terms(&self, terms: &Arc<Terms>) -> Self;
}

/// The two worlds differ in names alone.
macro_rules! code {
    ($code:ty, $description:ty, $loaded:ident, $compile:ident, $cached:ident, $embedded:ident, $compiled:ident) => {
        impl Code for $code {
            type Description = $description;

            fn compile(wasm: &[u8]) -> Result<Compiled<$description>, Failure> {
                compiler_process::$compile(wasm)
            }

            #[allow(private_interfaces, reason = "as the trait has it")]
            fn loaded(runtime: &mut Runtime) -> &mut Loaded<Self> {
                &mut runtime.$loaded
            }

            fn cached(sandbox: &Sandbox, cache: &CodeCache, digest: &Digest) -> Result<Self, SandboxError> {
                sandbox.$cached(cache, digest)
            }

            unsafe fn embedded(sandbox: &Sandbox, artefact: &'static [u8]) -> Result<Self, SandboxError> {
                // SAFETY: the caller's promise.
                unsafe { sandbox.$embedded(artefact) }
            }

            unsafe fn compiled(sandbox: &Sandbox, artefact: &[u8]) -> Result<Self, SandboxError> {
                // SAFETY: the caller's promise.
                unsafe { sandbox.$compiled(artefact) }
            }

            fn on_terms(&self, terms: &Arc<Terms>) -> Self {
                self.on(terms)
            }
        }
    };
}
code!(Provider, Description, providers, compile, load, load_embedded, load_artefact);
code!(Filter, FilterDescription, filters, compile_filter, load_filter, load_embedded_filter, load_filter_artefact);

/// A provider that is part of the library.
pub(crate) fn builtin(builtin: &'static Builtin) -> Result<Provider, SqlError> {
    embedded(builtin.artefact, &builtin.digest)
}

/// A filter that is part of the library.
pub(crate) fn builtin_filter(builtin: &'static BuiltinFilter) -> Result<Filter, SqlError> {
    embedded(builtin.artefact, &builtin.digest)
}

fn embedded<C: Code>(artefact: &'static [u8], digest: &Digest) -> Result<C, SqlError> {
    with_runtime(|runtime| {
        let key = artefact.as_ptr();
        if let Some(code) = C::loaded(runtime).builtin.get(&key) {
            return Ok(code.clone());
        }
        // SAFETY: what the catalog has as built in is embedded at build time, as the compiler made it.
        let code = unsafe { C::embedded(&runtime.sandbox, artefact) }.map_err(unusable)?;
        let code = code.on_terms(&Arc::new(Terms { meter: Some(module_statistics::meter(digest)), ..Terms::default() }));
        C::loaded(runtime).builtin.insert(key, code.clone());
        Ok(code)
    })?
}

/// Uploaded code: from memory, from the code cache, or, where that has no sound file, compiled anew from what `wasm` gives.
pub(crate) fn uploaded<C: Code>(digest: &Digest, wasm: impl FnOnce() -> Result<Vec<u8>, SqlError>) -> Result<C, Failure> {
    if let Some(code) = with_runtime(|runtime| C::loaded(runtime).uploaded.get(digest).cloned())? {
        return Ok(code);
    }
    let cache = code_cache()?;
    match with_runtime(|runtime| runtime.load(&cache, digest))? {
        Err(SandboxError::NotCached) => {}
        loaded => return Ok(loaded.map_err(unusable)?),
    }
    emit(PgLogLevel::LOG, "pg_llm: the code cache has no usable file of a module; compiling it again");
    let compiled = C::compile(&wasm()?)?;
    keep_compiled(&cache, digest, &compiled.artefact);
    Ok(just_compiled(digest, &compiled)?)
}

/// Code that the compiler process has just made.
pub(crate) fn just_compiled<C: Code>(digest: &Digest, compiled: &Compiled<C::Description>) -> Result<C, SqlError> {
    with_runtime(|runtime| {
        // SAFETY: nothing else makes such a value than the compiler process that this server has just run.
        let code = unsafe { C::compiled(&runtime.sandbox, &compiled.artefact) }.map_err(unusable)?;
        runtime.remember(digest, &code);
        Ok(code)
    })?
}

/// Writes freshly compiled code into the cache. Only a warning when that fails: it can be made again.
pub(crate) fn keep_compiled(cache: &CodeCache, digest: &Digest, artefact: &[u8]) {
    if let Err(e) = cache.store(digest, artefact) {
        emit(PgLogLevel::WARNING, &format!("pg_llm: the code cache cannot be written: {e}"));
    }
}

/// Deletes the code of a component from the cache when this transaction commits. Where another database has the same component, it is compiled again there.
pub(crate) fn forget_code(digest: &Digest) {
    if let Ok(cache) = code_cache() {
        transaction::delete_at_commit(cache.path(digest));
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
    fn load<C: Code>(&mut self, cache: &CodeCache, digest: &Digest) -> Result<C, SandboxError> {
        let code = C::cached(&self.sandbox, cache, digest)?;
        self.remember(digest, &code);
        Ok(code)
    }

    fn remember<C: Code>(&mut self, digest: &Digest, code: &C) {
        let uploaded = &mut C::loaded(self).uploaded;
        if uploaded.len() >= MOST_MODULES {
            uploaded.clear();
        }
        uploaded.insert(*digest, code.clone());
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
