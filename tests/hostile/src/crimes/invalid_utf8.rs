//! Returns a string that is not UTF-8.

use pg_llm_guest::prelude::*;

pub(crate) fn commit() -> Result<Answer, Failure> {
    // SAFETY: none; the host has to refuse it.
    crate::loot::text(unsafe { String::from_utf8_unchecked(std::hint::black_box(vec![b'a', 0xff, 0xfe, 0xc0, 0x80])) })
}
