//! The native test kit: a provider's requests and answers against files, without a host.

mod golden;
mod replay;

pub use golden::{golden, pretty};
pub use replay::{Outcome, Script, assemble, decode_stream, decode_whole, every_cut, in_chunks};
