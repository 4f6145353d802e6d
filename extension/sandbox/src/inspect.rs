//! What a component is, whether or not it would be accepted: for whoever wants to know before uploading it, or why it was refused.

use std::collections::BTreeMap;
use std::time::Instant;

use wasmparser::{KnownCustom, Parser, Payload};

use crate::code_cache::{hex, sha256};
use crate::compile::{FILTER, PACKAGE, PROVIDER, Surface, World, compile, compile_filter};
use crate::report::{Inspection, Refusal};

/// Most names of a list that are shown, and bytes of a name: a component may have any number, of any length.
const MOST_NAMES: usize = 256;
const NAME_BYTES: usize = 256;

/// Looks at a component as an upload would, and keeps nothing.
pub fn inspect(wasm: &[u8]) -> Inspection {
    let mut inspection = Inspection { sha256: hex(&sha256(wasm)), size: wasm.len() as u64, ..Inspection::default() };
    let surface = match Surface::unchecked(wasm) {
        Ok(surface) => surface,
        Err(refusal) => return refused(inspection, refusal.clipped()),
    };
    let worlds: Vec<&World> = [&PROVIDER, &FILTER].into_iter().filter(|world| surface.is(world)).collect();
    // What is nothing at all is measured as a provider.
    let world = worlds.first().copied().unwrap_or(&PROVIDER);
    inspection.worlds = worlds.iter().map(|world| world.what.to_owned()).collect();
    inspection.imports = shown(surface.imports.iter());
    inspection.refused_imports = shown(surface.imports.iter().filter(|import| !world.grants(import)));
    inspection.exports = shown(surface.exports.iter());
    inspection.wit_version = wit_version(&surface);
    inspection.producers = producers(wasm);
    let started = Instant::now();
    let verdict = if world.what == FILTER.what {
        compile_filter(wasm).map(|(report, code)| (serde_json::to_value(report.description).ok(), code.len()))
    } else {
        compile(wasm).map(|(report, code)| (serde_json::to_value(report.description).ok(), code.len()))
    };
    match verdict {
        Ok((description, code)) => Inspection {
            accepted: true,
            description,
            compiled_bytes: Some(code as u64),
            compile_ms: u64::try_from(started.elapsed().as_millis()).ok(),
            ..inspection
        },
        Err(refusal) => refused(inspection, refusal),
    }
}

fn refused(inspection: Inspection, refusal: Refusal) -> Inspection {
    Inspection { reason: Some(refusal.reason), hint: refusal.hint, ..inspection }
}

fn shown<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    names.take(MOST_NAMES).map(|name| clipped(name)).collect()
}

fn clipped(name: &str) -> String {
    if name.len() <= NAME_BYTES {
        return name.to_owned();
    }
    let end = (0..=NAME_BYTES).rev().find(|&i| name.is_char_boundary(i)).unwrap_or(0);
    format!("{}...", &name[..end])
}

/// What stands behind the `@` of the contract's interfaces; where that differs, all of it.
fn wit_version(surface: &Surface) -> Option<String> {
    let of = |name: &String| Some(name.strip_prefix(PACKAGE)?.split_once('@')?.1.to_owned());
    let mut versions: Vec<String> = surface.imports.iter().chain(&surface.exports).filter_map(of).collect();
    versions.sort();
    versions.dedup();
    (!versions.is_empty()).then(|| clipped(&versions.join(", ")))
}

/// Of the component and all that is nested in it, as far as they can be read.
fn producers(wasm: &[u8]) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut producers = BTreeMap::<String, BTreeMap<String, String>>::new();
    let mut left = MOST_NAMES;
    for payload in Parser::new(0).parse_all(wasm) {
        let Ok(Payload::CustomSection(section)) = payload else {
            if payload.is_err() {
                break;
            }
            continue;
        };
        let KnownCustom::Producers(fields) = section.as_known() else { continue };
        for field in fields.into_iter().map_while(Result::ok) {
            for value in field.values.into_iter().map_while(Result::ok) {
                if left == 0 {
                    return producers;
                }
                left -= 1;
                producers.entry(clipped(field.name)).or_default().insert(clipped(value.name), clipped(value.version));
            }
        }
    }
    producers
}
