//! From a core module to a component, as a function: [`componentize`].

use std::fmt;

use wasmparser::{Encoding, Parser, Payload};
use wit_component::ComponentEncoder;

/// A component, and what it says of itself.
#[derive(Debug)]
pub struct Component {
    /// The component's binary.
    pub bytes: Vec<u8>,
    /// Names of what it imports, such as `pg-llm:guest/http@1.0.0`.
    pub imports: Vec<String>,
    /// Names of what it exports.
    pub exports: Vec<String>,
}

/// Why no component came of an input.
#[derive(Debug)]
pub enum Error {
    /// Not WebAssembly at all, or damaged.
    NotWasm(String),
    /// A component already: there is nothing to do.
    AlreadyComponent,
    /// A core module without a `component-type` section: it was not linked with the SDK, or registers no provider.
    NoWorld,
    /// The module does not fit the world that it names; the encoder's words.
    Encoder(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWasm(why) => write!(f, "not a WebAssembly module: {why}"),
            Self::AlreadyComponent => write!(f, "is a component already"),
            Self::NoWorld => write!(
                f,
                "has no component-type section; does it link pg-llm-guest and register itself with provider!(...), adapter!(...) or filter!(...)?"
            ),
            Self::Encoder(why) => write!(f, "{why}"),
        }
    }
}

impl std::error::Error for Error {}

/// Wraps the core module into a component and validates the result.
///
/// # Errors
/// When `module` is no core module, names no WIT world, or does not fit the world that it names.
pub fn componentize(module: &[u8]) -> Result<Component, Error> {
    check_module(module)?;
    let bytes = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(ComponentEncoder::encode)
        .map_err(|error| Error::Encoder(format!("{error:#}")))?;
    let bytes = without_names(&bytes).map_err(|error| Error::Encoder(error.to_string()))?;
    let (imports, exports) = surface(&bytes).map_err(|error| Error::Encoder(error.to_string()))?;
    Ok(Component { bytes, imports, exports })
}

fn check_module(module: &[u8]) -> Result<(), Error> {
    if !module.starts_with(b"\0asm") {
        return Err(Error::NotWasm("it does not begin with \\0asm".to_owned()));
    }
    let mut has_world = false;
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(|error| Error::NotWasm(error.to_string()))? {
            Payload::Version { encoding: Encoding::Component, .. } => return Err(Error::AlreadyComponent),
            Payload::CustomSection(section) if section.name().starts_with("component-type") => has_world = true,
            _ => {}
        }
    }
    if has_world { Ok(()) } else { Err(Error::NoWorld) }
}

/// The same component without what it calls its types and instances: two or three kilobytes for debuggers, which nothing else reads.
fn without_names(component: &[u8]) -> Result<Vec<u8>, wasmparser::BinaryReaderError> {
    let mut kept = Vec::with_capacity(component.len());
    let (mut end, mut depth) = (0, 0_u32);
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        match &payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 && section.name() == "component-name" => {
                // A section begins where the one before it ended.
                end = section.range().end;
                continue;
            }
            _ => {}
        }
        let next = match &payload {
            Payload::Version { range, .. } => range.end,
            other => other.as_section().map_or(end, |(_, range)| range.end),
        };
        if next > end {
            kept.extend_from_slice(&component[end..next]);
            end = next;
        }
    }
    Ok(kept)
}

/// Names of the outermost component's imports and exports.
fn surface(component: &[u8]) -> Result<(Vec<String>, Vec<String>), wasmparser::BinaryReaderError> {
    let (mut imports, mut exports, mut depth) = (Vec::new(), Vec::new(), 0_u32);
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}
