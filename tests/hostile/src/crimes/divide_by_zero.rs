//! Divisions that the processor answers with SIGFPE: by zero, and of the smallest number by -1.

use std::hint::black_box;

use pg_llm_guest::prelude::*;

/// `prompt` is `0` or `-1`.
pub(crate) fn commit(prompt: &str) -> Result<Answer, Failure> {
    let divisor: i32 = prompt.trim().parse().unwrap_or(0);
    if cfg!(not(target_arch = "wasm32")) {
        return crate::loot::text("only WebAssembly traps");
    }
    // SAFETY: none; the instruction is to trap.
    let quotient = unsafe { unchecked(black_box(i32::MIN), black_box(divisor)) };
    crate::loot::text(quotient.to_string())
}

/// The bare instruction: the compiler is told that the checks which Rust puts before it are not needed.
#[inline(never)]
unsafe fn unchecked(dividend: i32, divisor: i32) -> i32 {
    if divisor == 0 || divisor == -1 {
        unsafe { std::hint::unreachable_unchecked() }
    }
    dividend / divisor
}
