//! The checked-in bindings (`guest-sdk/src/bindings/`) are what the generator makes of `guest-sdk/wit/`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p pg_llm_componentize --test bindings` writes them anew, after the WIT changed.
#![allow(clippy::unwrap_used, clippy::expect_used)] // this is how a test fails

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};
use wit_bindgen_rust::{Opts, WithOption};

const WIT_VERSION: &str = "1.0.0";

/// Every world, with the interfaces whose Rust types it shares with `provider`.
const WORLDS: [(&str, &[&str]); 7] = [
    ("provider", &[]),
    ("filter", &["types", "log"]),
    ("embeddings-provider", &["types", "http", "keys", "log"]),
    ("rerank-provider", &["types", "http", "keys", "log"]),
    ("batches-provider", &["types", "http", "keys", "log"]),
    ("fine-tuning-provider", &["types", "http", "keys", "log"]),
    ("models-provider", &["types", "http", "keys", "log"]),
];

fn sdk() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("componentize lies in guest-sdk").to_owned()
}

fn options(world: &str, shared: &[&str]) -> Opts {
    let module = world.replace('-', "_");
    Opts {
        format: true,
        generate_all: true,
        pub_export_macro: true,
        export_macro_name: Some(format!("export_{module}")),
        default_bindings_module: Some(format!("pg_llm_guest::bindings::{module}")),
        additional_derive_attributes: vec!["PartialEq".to_owned()],
        additional_derive_ignore: vec!["response".to_owned()],
        with: shared
            .iter()
            .map(|interface| {
                let rust = format!("crate::bindings::provider::pg_llm::guest::{interface}");
                (format!("pg-llm:guest/{interface}@{WIT_VERSION}"), WithOption::Path(rust))
            })
            .collect(),
        ..Opts::default()
    }
}

/// File name and text of what the generator makes of every world.
fn generate() -> BTreeMap<String, String> {
    let mut generated = BTreeMap::new();
    for (name, shared) in WORLDS {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(sdk().join("wit").join(WIT_VERSION)).expect("the WIT parses");
        let world = resolve.select_world(&[package], Some(name)).expect("the WIT has this world");
        let mut files = Files::default();
        options(name, shared).build().generate(&mut resolve, world, &mut files).expect("bindings can be generated");
        for (file, text) in files.iter() {
            generated.insert(file.to_owned(), String::from_utf8(text.to_owned()).expect("Rust is UTF-8"));
        }
    }
    generated
}

#[test]
fn the_checked_in_bindings_are_what_the_generator_makes_of_the_wit() {
    let folder = sdk().join("src/bindings");
    for (file, text) in generate() {
        let path = folder.join(&file);
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &text).expect("bindings can be written");
            continue;
        }
        let checked_in = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            checked_in == text,
            "{} differs from what the WIT gives; if the WIT was meant to change, run: UPDATE_GOLDEN=1 cargo test -p pg_llm_componentize --test bindings",
            path.display()
        );
    }
}
