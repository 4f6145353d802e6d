//! The native test kit: a provider's requests and answers against files, without a host.

mod golden;
pub mod mutation;
pub mod recordings;
mod replay;

pub use golden::{golden, pretty};
pub use replay::{Outcome, Script, assemble, decode_embed, decode_list, decode_rerank, decode_stream, decode_whole, every_cut, in_chunks};
