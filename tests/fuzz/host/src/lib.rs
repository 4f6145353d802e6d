//! What must hold of all that the host reads: from callers (options, configurations, schemas), from upstreams (texts to redact), from uploads, and from guests
//! (records). A target is a function of bytes that panics where something does not hold.
//!
//! `tests/seeded.rs` runs each on mutations of `../seeds`, the same ones in every run; `make fuzz` runs each under libFuzzer.

#![allow(clippy::expect_used, clippy::missing_panics_doc, reason = "a target fails by panicking")]

mod callers;
mod guests;
mod hosts;

pub use callers::{configurations, options, schemas};
pub use guests::{echo, records, uploads};
pub use hosts::{endpoints, redaction};

/// A target, by its name and that of its seeds' folder.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 7] = [
    ("options", options),
    ("configurations", configurations),
    ("schemas", schemas),
    ("endpoints", endpoints),
    ("redaction", redaction),
    ("uploads", uploads),
    ("records", records),
];

/// The target of this name.
pub fn target(name: &str) -> fn(&[u8]) {
    TARGETS.iter().find(|(known, _)| *known == name).expect("a target's name").1
}
