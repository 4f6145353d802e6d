//! The worker that runs jobs: when it is woken.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;
use std::sync::Once;

use pgrx::pg_sys;

use super::worker::Kind;

/// One in each database that has jobs.
pub(crate) static JOBS: Kind = Kind { name: c"pg_llm jobs", function: c"pg_llm_job_worker", number: 1 };

thread_local! {
    /// This transaction has something for the worker.
    static WAKE: Cell<bool> = const { Cell::new(false) };
}

/// Wakes the worker of this database when this transaction commits: it finds there what the transaction wrote. (Not when it is prepared, and then committed by
/// whomever: the next who asks for a job wakes it.)
pub(crate) fn wake_at_commit() {
    static LISTENING: Once = Once::new();
    // SAFETY: on the main thread, in a transaction. The callback lives as long as the process.
    LISTENING.call_once(|| unsafe { pg_sys::RegisterXactCallback(Some(ended), ptr::null_mut()) });
    WAKE.set(true);
}

/// Called by Postgres at the end of every transaction: it must not fail.
unsafe extern "C-unwind" fn ended(event: pg_sys::XactEvent::Type, _: *mut c_void) {
    match event {
        pg_sys::XactEvent::XACT_EVENT_COMMIT if WAKE.take() => JOBS.wake(),
        pg_sys::XactEvent::XACT_EVENT_ABORT | pg_sys::XactEvent::XACT_EVENT_PREPARE => WAKE.set(false),
        _ => {}
    }
}
