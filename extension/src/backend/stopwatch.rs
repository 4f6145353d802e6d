//! A time limit of our own on what Postgres executes, beside the statement's.

use std::ffi::c_int;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgrx::pg_sys;

// utils/timeout.h, which pgrx does not bind. None of these raises an ERROR.
unsafe extern "C" {
    fn RegisterTimeout(id: c_int, handler: unsafe extern "C" fn()) -> c_int;
    fn enable_timeout_after(id: c_int, delay_ms: c_int);
    fn disable_timeout(id: c_int, keep_indicator: bool);
    fn get_timeout_active(id: c_int) -> bool;
}

/// `STATEMENT_TIMEOUT` of all versions.
const OF_STATEMENTS: c_int = 3;
/// `USER_TIMEOUT`: from here on numbers are given out.
const FIRST_OF_EXTENSIONS: c_int = if cfg!(feature = "pg14") {
    10
} else if cfg!(any(feature = "pg15", feature = "pg16")) {
    12
} else {
    13
};

static OVER: AtomicBool = AtomicBool::new(false);

/// In the handler of SIGALRM, which wakes whoever waits on the latch.
unsafe extern "C" fn over() {
    OVER.store(true, Ordering::Relaxed);
    // SAFETY: flags that signal handlers may set.
    unsafe {
        ptr::write_volatile(&raw mut pg_sys::QueryCancelPending, 1);
        ptr::write_volatile(&raw mut pg_sys::InterruptPending, 1);
    }
}

fn number() -> c_int {
    static NUMBER: OnceLock<c_int> = OnceLock::new();
    // SAFETY: on the main thread of a backend; a process has ten numbers to give, and we take one.
    *NUMBER.get_or_init(|| unsafe { RegisterTimeout(FIRST_OF_EXTENSIONS, over) })
}

/// While it lives, what runs is cancelled after some time.
pub(super) struct Stopwatch {
    /// The statement had a limit of its own.
    statement: bool,
}

impl Stopwatch {
    pub(super) fn start(limit: Duration) -> Self {
        OVER.store(false, Ordering::Relaxed);
        let milliseconds = c_int::try_from(limit.as_millis()).unwrap_or(c_int::MAX).max(1);
        // SAFETY: on the main thread; the number is ours.
        unsafe {
            let statement = get_timeout_active(OF_STATEMENTS);
            enable_timeout_after(number(), milliseconds);
            Self { statement }
        }
    }
}

impl Stopwatch {
    /// Whether a cancellation was this one's: its time is over, and the statement's is not.
    pub(super) fn has_cancelled(&self) -> bool {
        // SAFETY: reads the backend's state.
        OVER.load(Ordering::Relaxed) && !(self.statement && unsafe { !get_timeout_active(OF_STATEMENTS) })
    }
}

impl Drop for Stopwatch {
    fn drop(&mut self) {
        // SAFETY: on the main thread; the number is ours.
        unsafe {
            disable_timeout(number(), false);
            // It went off after the last look at the interrupts: nobody else is to be cancelled by it.
            if self.has_cancelled() && ptr::read_volatile(&raw const pg_sys::QueryCancelPending) != 0 {
                ptr::write_volatile(&raw mut pg_sys::QueryCancelPending, 0);
            }
        }
    }
}
