//! Reads or writes beyond its memory.

use pg_llm_guest::prelude::*;

/// `prompt` is `read` or `write`.
pub(crate) fn commit(prompt: &str) -> Result<Answer, Failure> {
    let beyond = std::hint::black_box(0xffff_fff0_usize) as *mut u64;
    // SAFETY: none; the access is to trap. Natively it is not made.
    let got = unsafe {
        if cfg!(not(target_arch = "wasm32")) {
            0
        } else if prompt == "write" {
            beyond.write_volatile(0x6b6e_7566);
            1
        } else {
            beyond.read_volatile()
        }
    };
    crate::loot::text(got.to_string())
}
