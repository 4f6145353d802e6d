//! A subtransaction that leaves nothing behind.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;

use pgrx::pg_sys;
use pgrx::pg_sys::panic::{CaughtError, ErrorReportWithLevel};

/// Runs `body` in a subtransaction, with memory of its own, and rolls it back in any case. An ERROR in it is a result.
///
/// # Safety
/// On the main thread, in a transaction. `body` must not give out pointers to what it has allocated.
pub(super) unsafe fn rolled_back<T>(body: impl FnOnce() -> T) -> Result<T, Box<CaughtError>> {
    // SAFETY: the way of PL/pgSQL's exception blocks: the memory context and the resource owner are put back after the subtransaction has ended, whichever way.
    let outcome = unsafe {
        let (memory, owner) = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        let own = pg_sys::AllocSetContextCreateInternal(memory, c"pg_llm subtransaction".as_ptr(), 0, 8 << 10, 8 << 20);
        pg_sys::BeginInternalSubTransaction(ptr::null());
        pg_sys::MemoryContextSwitchTo(own);
        let outcome = catch_unwind(AssertUnwindSafe(body));
        pg_sys::MemoryContextSwitchTo(memory);
        pg_sys::RollbackAndReleaseCurrentSubTransaction();
        pg_sys::MemoryContextSwitchTo(memory);
        pg_sys::CurrentResourceOwner = owner;
        pg_sys::MemoryContextDelete(own);
        outcome
    };
    outcome.map_err(|payload| match payload.downcast::<CaughtError>() {
        Ok(caught) => caught,
        Err(payload) => match payload.downcast::<ErrorReportWithLevel>() {
            Ok(report) => Box::new(CaughtError::ErrorReport(*report)),
            Err(payload) => resume_unwind(payload),
        },
    })
}
