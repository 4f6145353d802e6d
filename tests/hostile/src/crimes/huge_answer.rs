//! An answer of so many megabytes (`prompt`), of a character that JSON writes with six.

use pg_llm_guest::prelude::*;

pub(crate) fn commit(prompt: &str) -> Result<Answer, Failure> {
    let mebibytes: usize = prompt.trim().parse().unwrap_or(1);
    crate::loot::text("\u{1}".repeat(mebibytes << 20))
}
