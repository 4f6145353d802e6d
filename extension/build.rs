//! Finds the built-in components that the library embeds: every provider that has a folder in `providers-wasm/`.

#![allow(clippy::print_stdout, reason = "this is how a build script speaks")]

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let providers = root.join("providers-wasm");
    println!("cargo::rerun-if-env-changed=PG_LLM_COMPONENTS");
    println!("cargo::rerun-if-changed={}", providers.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&providers)? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    let directory = env::var("PG_LLM_COMPONENTS").unwrap_or_else(|_| root.join("target/components").display().to_string());
    for name in &names {
        for extension in ["cwasm", "json"] {
            let path = Path::new(&directory).join(name).with_extension(extension);
            println!("cargo::rerun-if-changed={}", path.display());
            if !path.is_file() {
                println!("cargo::error={} is missing: run `make components` first, which builds the providers", path.display());
            }
        }
    }
    println!("cargo::rustc-env=PG_LLM_COMPONENTS={directory}");
    let list = names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(Path::new(&out).join("components.rs"), format!("embedded!({list})"))
}
