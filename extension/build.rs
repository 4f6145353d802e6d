//! Finds the built-in components that the library embeds.

#![allow(clippy::print_stdout, reason = "this is how a build script speaks")]

use std::path::Path;

fn main() {
    const FILES: [&str; 4] = ["openai.cwasm", "openai.json", "mock.cwasm", "mock.json"];
    println!("cargo::rerun-if-env-changed=PG_LLM_COMPONENTS");
    let directory =
        std::env::var("PG_LLM_COMPONENTS").unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../target/components").to_owned());
    for file in FILES {
        let path = Path::new(&directory).join(file);
        println!("cargo::rerun-if-changed={}", path.display());
        if !path.is_file() {
            println!("cargo::error={} is missing: run `make components` first, which builds the providers", path.display());
        }
    }
    println!("cargo::rustc-env=PG_LLM_COMPONENTS={directory}");
}
