//! The `unreachable` instruction, without a word before it.

use pg_llm_guest::prelude::*;

pub(crate) fn commit() -> Result<Answer, Failure> {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    crate::loot::text("only WebAssembly traps")
}
