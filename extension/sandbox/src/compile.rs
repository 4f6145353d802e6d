//! Checking and compiling a component: for the compiler process and for builds, never in the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmparser::{Encoding, Parser, Payload, Validator, WasmFeatures};
use wasmtime::component::Component;

use crate::call::{CallError, Grant};
use crate::code_cache::{hex, sha256};
use crate::engine::Runtime;
use crate::interrupt::StopSwitch;
use crate::keys::KeyRing;
use crate::limits::Limits;
use crate::provider::Provider;
use crate::report::{Description, Refusal, Report};
use crate::transport::Agents;

/// The package of the contract.
const PACKAGE: &str = "pg-llm:guest/";
/// The versions that this host speaks.
const WIT_VERSION: &str = "1.0.0";
/// What a provider may import, and nothing else.
const IMPORTS: [&str; 4] = ["types", "http", "keys", "log"];
/// What a provider must export.
const EXPORTS: [&str; 2] = ["describe", "chat"];
/// What it may export besides.
const OPTIONAL_EXPORTS: [&str; 5] = ["embeddings", "rerank", "batches", "fine-tuning", "models"];

/// Checks a component and compiles it.
///
/// # Errors
/// Whatever makes it no provider of ours: it is refused with a reason that names the cause.
pub fn compile(wasm: &[u8]) -> Result<(Report, Vec<u8>), Refusal> {
    check_and_compile(wasm).map_err(Refusal::clipped)
}

fn check_and_compile(wasm: &[u8]) -> Result<(Report, Vec<u8>), Refusal> {
    let surface = Surface::read(wasm)?;
    surface.check()?;
    let broken = |e: wasmtime::Error| refuse(format!("the component cannot be compiled: {e:#}"), None);
    let runtime = Runtime::for_compiling().map_err(broken)?;
    let artefact = runtime.engine.precompile_component(wasm).map_err(broken)?;
    // SAFETY: the bytes that the engine has just made.
    let component = unsafe { crate::code_cache::deserialize(&runtime.engine, &artefact) }.map_err(broken)?;
    let report = Report {
        sha256: hex(&sha256(wasm)),
        size: wasm.len() as u64,
        wit_version: WIT_VERSION.to_owned(),
        description: describe(&runtime, &component)?,
        exports: surface.contract_exports(),
        imports: surface.imports,
    };
    Ok((report, artefact))
}

fn describe(runtime: &Runtime, component: &Component) -> Result<Description, Refusal> {
    let provider = Provider::link(runtime, &Arc::new(Agents::new(None)), component)
        .map_err(|e| refuse(e.to_string(), Some("Build it against the pg-llm:guest package of this version.")))?;
    let interrupt = StopSwitch::new().map_err(|e| refuse(format!("no descriptor is left: {e}"), None))?;
    let grant = Grant {
        token_hosts: Arc::default(),
        endpoint: None,
        private_ok: false,
        keys: Arc::new(KeyRing::new()),
        limits: Limits { cpu: Duration::from_secs(5), ..Limits::default() },
        deadline: Instant::now() + Duration::from_secs(10),
        interrupt: Arc::new(interrupt),
    };
    match provider.describe(grant).result {
        Ok(description) => Description::from_guest(description),
        Err(CallError::TimedOut) => Err(refuse("the component's describe() did not return in time".to_owned(), None)),
        Err(e) => Err(refuse(format!("the component's describe() failed: {e}"), None)),
    }
}

/// What a component shows at its outside.
struct Surface {
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Surface {
    fn read(wasm: &[u8]) -> Result<Self, Refusal> {
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
        let invalid = |e: wasmparser::BinaryReaderError| refuse(format!("this is not a valid WebAssembly component: {e}"), None);
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
        Validator::new_with_features(features()).validate_all(wasm).map_err(invalid)?;
        Ok(surface)
    }

    fn check(&self) -> Result<(), Refusal> {
        for import in &self.imports {
            if IMPORTS.iter().any(|name| *import == contract(name)) {
                continue;
            }
            let hint = if import.starts_with(PACKAGE) {
                format!("This server speaks {PACKAGE}*@{WIT_VERSION}.")
            } else if import.starts_with("wasi:") {
                "A provider runs without WASI: build it for wasm32-unknown-unknown, or stub WASI out.".to_owned()
            } else {
                format!("A provider may import {} and nothing else.", IMPORTS.map(contract).join(", "))
            };
            return Err(Refusal {
                reason: format!("the component imports \"{}\", which is not granted", import.escape_default()),
                hint: Some(hint),
            });
        }
        for export in EXPORTS {
            if !self.exports.contains(&contract(export)) {
                return Err(refuse(
                    format!("the component does not export \"{}\"", contract(export)),
                    Some("A provider exports describe and chat: see guest-sdk/wit."),
                ));
            }
        }
        Ok(())
    }

    fn contract_exports(&self) -> Vec<String> {
        EXPORTS
            .iter()
            .chain(&OPTIONAL_EXPORTS)
            .filter(|name| self.exports.contains(&contract(name)))
            .map(|name| (*name).to_owned())
            .collect()
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

fn refuse(reason: String, hint: Option<&str>) -> Refusal {
    Refusal { reason, hint: hint.map(str::to_owned) }
}
