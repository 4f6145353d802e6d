//! Grows page by page, each time a reason for the host to move all that there is, and goes on asking when it is refused.

use pg_llm_guest::prelude::*;

use super::memory;

pub(crate) fn commit() -> Result<Answer, Failure> {
    let mut refused = 0_u32;
    while refused < 100_000 {
        if !memory::grow(1) {
            refused += 1;
        }
        // Far beyond any memory: the arithmetic of the host must not overflow.
        refused += u32::from(!memory::grow(usize::MAX >> 16));
    }
    crate::loot::text(memory::pages().to_string())
}
