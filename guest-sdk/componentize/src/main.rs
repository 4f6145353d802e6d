//! `pg_llm_componentize IN.wasm OUT.wasm`: turns a core WebAssembly module that was linked with `pg-llm-guest` (or with any other bindings
//! that embed the WIT as `component-type` sections) into a component that `pg_llm_add_model(module => ...)` takes.
//!
//! No other tool is needed: no `wasm-tools`, no adapter module. What the component imports and exports is printed, because that is what the host checks.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pg_llm_componentize::{Component, componentize};

const USAGE: &str = "usage: pg_llm_componentize IN.wasm OUT.wasm

Turns the core WebAssembly module IN.wasm into the component OUT.wasm, and prints what it imports and exports.";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        return say(&mut io::stdout(), USAGE, ExitCode::SUCCESS);
    }
    let [input, output] = arguments.as_slice() else {
        return say(&mut io::stderr(), USAGE, ExitCode::from(2));
    };
    match run(Path::new(input), Path::new(output)) {
        Ok(report) => say(&mut io::stdout(), &report, ExitCode::SUCCESS),
        Err(message) => say(&mut io::stderr(), &format!("pg_llm_componentize: {message}"), ExitCode::FAILURE),
    }
}

fn run(input: &Path, output: &Path) -> Result<String, String> {
    let module = fs::read(input).map_err(|error| format!("cannot read {}: {error}", input.display()))?;
    let Component { bytes, imports, exports } = componentize(&module).map_err(|error| format!("{}: {error}", input.display()))?;
    write_atomically(output, &bytes).map_err(|error| format!("cannot write {}: {error}", output.display()))?;
    Ok(format!("{}: {} bytes\n  imports {}\n  exports {}", output.display(), bytes.len(), imports.join(", "), exports.join(", ")))
}

/// A reader of `path` sees the old file or the new one, whole.
fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().map(OsString::from).ok_or_else(|| io::Error::other("not a file name"))?;
    name.push(format!(".{}.new", std::process::id()));
    let temporary: PathBuf = path.with_file_name(name);
    let written = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one worth telling; a file that was never made cannot be removed either.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// A reader that has closed its end is no failure of ours.
fn say(to: &mut dyn Write, text: &str, code: ExitCode) -> ExitCode {
    let _ = writeln!(to, "{text}");
    code
}
