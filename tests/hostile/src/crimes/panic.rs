//! A panic, whose words the SDK logs before the trap.

use pg_llm_guest::prelude::*;

pub(crate) fn commit() -> Result<Answer, Failure> {
    panic!("the criminal panicked\r\nERROR:  and forged a line \u{1b}[31m");
}
