//! Takes memory until it is refused, and touches all of it; then takes more.

use pg_llm_guest::prelude::*;

use super::memory;

pub(crate) fn commit() -> Result<Answer, Failure> {
    let mut taken = Vec::new();
    loop {
        // An allocation that is refused ends in a trap.
        taken.push(vec![1_u8; 1 << 20]);
        std::hint::black_box(&taken);
        if taken.len() > 1 << 16 {
            return crate::loot::text(format!("{} pages", memory::pages()));
        }
    }
}
