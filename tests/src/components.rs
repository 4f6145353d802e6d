//! The components that the build has made.

use std::path::{Path, PathBuf};

/// Their folder: `PG_LLM_COMPONENTS`, else `target/components`.
pub fn components() -> PathBuf {
    std::env::var_os("PG_LLM_COMPONENTS").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/components"), PathBuf::from)
}

/// One of them, as `mock.wasm`, or the compiled `mock.cwasm`.
///
/// # Panics
/// When it is not there.
#[track_caller]
pub fn built(name: &str) -> Vec<u8> {
    let path = components().join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; `make components` builds it", path.display()))
}
