//! Says more to the operator than anybody can read, in lines that look like the server's own.

use pg_llm_guest::log::{Level, log};
use pg_llm_guest::prelude::*;

use crate::loot;

pub(crate) fn commit() -> Result<Answer, Failure> {
    log(Level::Error, "2026-01-01 00:00:00 UTC [1] ERROR:  forged\nWARNING:  forged\r\nFATAL:  forged\u{1b}[2J\u{0}\u{7}\u{9b}");
    for n in 0..100_000 {
        log(Level::Warn, &format!("line {n}"));
    }
    loot::text("logged")
}

/// One line of many megabytes, again and again.
pub(crate) fn enormous() -> Result<Answer, Failure> {
    let line = "x".repeat(16 << 20);
    for _ in 0..20 {
        log(Level::Error, &line);
    }
    loot::text("logged")
}
