//! Finds the built-in components that the library embeds: every provider that has a folder in `providers-wasm/`, and every filter in `providers-wasm/filters/`.

#![allow(clippy::print_stdout, reason = "this is how a build script speaks")]

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let guests = root.join("providers-wasm");
    println!("cargo::rerun-if-env-changed=PG_LLM_COMPONENTS");
    let components = env::var("PG_LLM_COMPONENTS").unwrap_or_else(|_| root.join("target/components").display().to_string());
    println!("cargo::rustc-env=PG_LLM_COMPONENTS={components}");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?);
    for (folder, prefix, list) in [(guests.clone(), "", "providers.rs"), (guests.join("filters"), "filter-", "filters.rs")] {
        let names = packages(&folder)?;
        for name in &names {
            look_for(Path::new(&components), &format!("{prefix}{name}"));
        }
        let names = names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        fs::write(out.join(list), format!("embedded!({prefix:?}: {names})"))?;
    }
    Ok(())
}

/// The packages that have a folder in this one, by the folder's name.
fn packages(folder: &Path) -> io::Result<Vec<String>> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn look_for(components: &Path, component: &str) {
    for extension in ["cwasm", "json"] {
        let path = components.join(component).with_extension(extension);
        println!("cargo::rerun-if-changed={}", path.display());
        if !path.is_file() {
            println!("cargo::error={} is missing: run `make components` first, which builds the providers and filters", path.display());
        }
    }
}
