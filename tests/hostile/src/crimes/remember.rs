//! Keeps state in its memory for the next call, which must not find it.

use std::sync::atomic::{AtomicU32, Ordering};

use pg_llm_guest::prelude::*;

pub(crate) fn commit() -> Result<Answer, Failure> {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    crate::loot::text((CALLS.fetch_add(1, Ordering::Relaxed) + 1).to_string())
}
