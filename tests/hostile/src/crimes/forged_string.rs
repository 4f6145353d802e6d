//! Strings and lists whose length is a lie.

use pg_llm_guest::prelude::*;

use crate::loot;

/// Says that a string goes far beyond the memory's end.
pub(crate) fn beyond_memory() -> Result<Answer, Failure> {
    loot::text(forged(16, 0x7fff_0000))
}

/// The same with a list, whose elements would be read one after the other.
pub(crate) fn list_beyond_memory() -> Result<Answer, Failure> {
    let message = forged(0x7fff_fff0, 0x7fff_fff0);
    Err(Failure { raw: Some(message), ..Failure::new(FailureKind::Server, "see the body") })
}

/// A string of this address and length; capacity and length are equal, so that nothing is moved before the host looks.
fn forged(address: usize, length: usize) -> String {
    if cfg!(not(target_arch = "wasm32")) {
        return String::new();
    }
    // SAFETY: none; it is a forgery that the host has to see through.
    unsafe { String::from_raw_parts(std::hint::black_box(address) as *mut u8, length, length) }
}
