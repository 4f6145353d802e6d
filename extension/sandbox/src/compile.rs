//! Checking and compiling a component: for the compiler process and for builds, never in the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmparser::{Encoding, Parser, Payload, Validator, WasmFeatures};
use wasmtime::component::Component;

use crate::SandboxError;
use crate::call::{CallError, Grant, Outcome};
use crate::code_cache::{hex, sha256};
use crate::engine::Runtime;
use crate::filter::Filter;
use crate::interrupt::StopSwitch;
use crate::limits::Limits;
use crate::provider::Provider;
use crate::report::{Description, FilterDescription, Refusal, Report};
use crate::transport::Agents;
use crate::wasi;

/// The package of the contract.
pub(crate) const PACKAGE: &str = "pg-llm:guest/";
/// The versions that this host speaks.
const WIT_VERSION: &str = "1.0.0";
/// A world of the contract, as an upload is checked against it.
pub(crate) struct World {
    /// What a component of it is called.
    pub(crate) what: &'static str,
    /// What it may import, and nothing else.
    imports: &'static [&'static str],
    /// What it must export.
    exports: &'static [&'static str],
    /// What it may export besides.
    optional_exports: &'static [&'static str],
}

pub(crate) const PROVIDER: World = World {
    what: "provider",
    imports: &["types", "http", "keys", "log"],
    exports: &["describe", "chat"],
    optional_exports: &["embeddings", "rerank", "batches", "fine-tuning", "models"],
};
pub(crate) const FILTER: World =
    World { what: "filter", imports: &["types", "log"], exports: &["describe-filter", "prompt", "response"], optional_exports: &[] };

/// Checks a provider and compiles it.
///
/// # Errors
/// Whatever makes it no provider of ours: it is refused with a reason that names the cause.
pub fn compile(wasm: &[u8]) -> Result<(Report, Vec<u8>), Refusal> {
    let compiled = check_and_compile(wasm, &PROVIDER).and_then(|compiled| {
        let provider = Provider::link(&compiled.runtime, &Arc::new(Agents::new(None)), &compiled.component).map_err(unfit)?;
        let description = described(provider.describe(grant()?))?;
        Ok((compiled.report(Description::from_guest(description)?), compiled.artefact))
    });
    compiled.map_err(Refusal::clipped)
}

/// Checks a filter and compiles it.
///
/// # Errors
/// As [`compile`], when it is no filter.
pub fn compile_filter(wasm: &[u8]) -> Result<(Report<FilterDescription>, Vec<u8>), Refusal> {
    let compiled = check_and_compile(wasm, &FILTER).and_then(|compiled| {
        let filter = Filter::link(&compiled.runtime, &Arc::new(Agents::new(None)), &compiled.component).map_err(unfit)?;
        let description = described(filter.describe(grant()?))?;
        Ok((compiled.report(FilterDescription::from_guest(description)?), compiled.artefact))
    });
    compiled.map_err(Refusal::clipped)
}

/// A component that keeps to its world's imports and exports.
struct Compiled<'a> {
    wasm: &'a [u8],
    surface: Surface,
    world: &'static World,
    runtime: Runtime,
    component: Component,
    artefact: Vec<u8>,
}

fn check_and_compile<'a>(wasm: &'a [u8], world: &'static World) -> Result<Compiled<'a>, Refusal> {
    let surface = Surface::read(wasm)?;
    surface.check(world)?;
    let broken = |e: wasmtime::Error| refuse(format!("the component cannot be compiled: {e:#}"), None);
    let runtime = Runtime::for_compiling().map_err(broken)?;
    let artefact = runtime.engine.precompile_component(wasm).map_err(broken)?;
    // SAFETY: the bytes that the engine has just made.
    let component = unsafe { crate::code_cache::deserialize(&runtime.engine, &artefact) }.map_err(broken)?;
    Ok(Compiled { wasm, surface, world, runtime, component, artefact })
}

impl Compiled<'_> {
    fn report<D>(&self, description: D) -> Report<D> {
        Report {
            sha256: hex(&sha256(self.wasm)),
            size: self.wasm.len() as u64,
            wit_version: WIT_VERSION.to_owned(),
            description,
            exports: self.surface.contract_exports(self.world),
            imports: self.surface.imports.clone(),
        }
    }
}

/// What `describe` may use.
fn grant() -> Result<Grant, Refusal> {
    let interrupt = StopSwitch::new().map_err(|e| refuse(format!("no descriptor is left: {e}"), None))?;
    Ok(Grant::without_network(
        Limits { cpu: Duration::from_secs(5), ..Limits::default() },
        Instant::now() + Duration::from_secs(10),
        Arc::new(interrupt),
    ))
}

fn described<T>(outcome: Outcome<T>) -> Result<T, Refusal> {
    outcome.result.map_err(|e| match e {
        CallError::TimedOut => refuse("the component's describe() did not return in time".to_owned(), None),
        e => refuse(format!("the component's describe() failed: {e}"), None),
    })
}

#[allow(clippy::needless_pass_by_value, reason = "as map_err wants it")]
fn unfit(e: SandboxError) -> Refusal {
    refuse(e.to_string(), Some("Build it against the pg-llm:guest package of this version."))
}

impl World {
    /// Whether a component of it may import this.
    pub(crate) fn grants(&self, import: &str) -> bool {
        self.imports.iter().any(|name| import == contract(name)) || wasi::is_granted(import)
    }
}

/// What a component shows at its outside.
pub(crate) struct Surface {
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
}

impl Surface {
    fn read(wasm: &[u8]) -> Result<Self, Refusal> {
        let surface = Self::unchecked(wasm)?;
        Validator::new_with_features(features()).validate_all(wasm).map_err(invalid)?;
        Ok(surface)
    }

    /// What bytes say that they are, which need not be valid.
    pub(crate) fn unchecked(wasm: &[u8]) -> Result<Self, Refusal> {
        if wasm.starts_with(b"\x7fELF") {
            return Err(refuse(
                "this is machine code, which is never accepted".to_owned(),
                Some("Upload the WebAssembly component that it was compiled from."),
            ));
        }
        if !wasm.starts_with(b"\0asm") {
            return Err(refuse(
                "this is not a WebAssembly component in its binary form".to_owned(),
                Some("Text (WAT) must be assembled first."),
            ));
        }
        let mut surface = Self { imports: Vec::new(), exports: Vec::new() };
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.map_err(invalid)? {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                    return Err(refuse(
                        "this is a core WebAssembly module, not a component".to_owned(),
                        Some("Make a component of it, for instance with pg_llm_componentize or `wasm-tools component new`."),
                    ));
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        surface.imports.push(import.map_err(invalid)?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        surface.exports.push(export.map_err(invalid)?.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(surface)
    }

    fn check(&self, world: &World) -> Result<(), Refusal> {
        // What it is tells more than what it lacks.
        let other = if world.what == PROVIDER.what { &FILTER } else { &PROVIDER };
        if self.is(other) {
            let hint = format!("A {} exports {}.", world.what, and(world.exports));
            return Err(if self.is(world) {
                // A stored component is one of them, and described as that.
                refuse("the component is a provider and a filter at once".to_owned(), Some("Make two components of it."))
            } else {
                let reason = format!("the component is a {}, not a {}", other.what, world.what);
                Refusal { of_other_world: true, ..refuse(reason, Some(&hint)) }
            });
        }
        for import in &self.imports {
            if world.grants(import) {
                continue;
            }
            let named =
                import.strip_prefix(PACKAGE).and_then(|name| name.strip_suffix(WIT_VERSION)).and_then(|name| name.strip_suffix('@'));
            let hint = if import.starts_with("wasi:") {
                wasi::REFUSED.to_owned()
            } else if import.starts_with(PACKAGE) && !named.is_some_and(|name| PROVIDER.imports.contains(&name)) {
                format!("This server speaks {PACKAGE}*@{WIT_VERSION}.")
            } else {
                let imports: Vec<String> = world.imports.iter().map(|name| contract(name)).collect();
                format!("A {} may import {} and nothing else.", world.what, imports.join(", "))
            };
            return Err(Refusal {
                reason: format!("the component imports \"{}\", which is not granted", import.escape_default()),
                hint: Some(hint),
                of_other_world: false,
            });
        }
        for export in world.exports {
            if !self.exports.contains(&contract(export)) {
                return Err(refuse(
                    format!("the component does not export \"{}\"", contract(export)),
                    Some(&format!("A {} exports {}: see guest-sdk/wit.", world.what, and(world.exports))),
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn is(&self, world: &World) -> bool {
        world.exports.iter().all(|name| self.exports.contains(&contract(name)))
    }

    fn contract_exports(&self, world: &World) -> Vec<String> {
        let all = world.exports.iter().chain(world.optional_exports);
        all.filter(|name| self.exports.contains(&contract(name))).map(|name| (*name).to_owned()).collect()
    }
}

/// A list as it is spoken.
fn and(names: &[&str]) -> String {
    match names {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        names => names.concat(),
    }
}

fn contract(interface: &str) -> String {
    format!("{PACKAGE}{interface}@{WIT_VERSION}")
}

/// The proposals that the engine runs (`engine::config`).
fn features() -> WasmFeatures {
    let off = WasmFeatures::THREADS
        | WasmFeatures::GC
        | WasmFeatures::EXCEPTIONS
        | WasmFeatures::MEMORY64
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::CM_ASYNC;
    (WasmFeatures::default() | WasmFeatures::COMPONENT_MODEL).difference(off)
}

#[allow(clippy::needless_pass_by_value, reason = "as map_err wants it")]
fn invalid(e: wasmparser::BinaryReaderError) -> Refusal {
    refuse(format!("this is not a valid WebAssembly component: {e}"), None)
}

fn refuse(reason: String, hint: Option<&str>) -> Refusal {
    Refusal { reason, hint: hint.map(str::to_owned), of_other_world: false }
}
