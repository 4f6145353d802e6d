//! What the transaction that we are in allows, and what is done at its end.

#![allow(clippy::cast_possible_wrap, reason = "Postgres's small constants, in the type that bindgen gives them")]

use std::ffi::c_void;
use std::path::PathBuf;
use std::ptr;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use pgrx::pg_sys;

/// Whether this server replays another's log: unlogged tables cannot be read there.
pub(crate) fn in_recovery() -> bool {
    // SAFETY: reads the server's state.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// Whether it can write rows: not when it is read-only, and not while parallel workers run, in them as in their leader.
pub(crate) fn may_write() -> bool {
    // SAFETY: reads the transaction's state.
    unsafe { !pg_sys::XactReadOnly && !pg_sys::IsInParallelMode() && !pg_sys::RecoveryInProgress() }
}

/// When the client's statement came, in microseconds since 2000: the same in all that it runs.
pub(crate) fn statement_began() -> i64 {
    // SAFETY: reads the transaction's state.
    unsafe { pg_sys::GetCurrentStatementStartTimestamp() }
}

/// What it sees of other transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Each statement all that is committed.
    ReadCommitted,
    /// What was committed when it began; changing what another has changed since is an error.
    RepeatableRead,
    /// The same, and what it has read counts as well.
    Serializable,
}

/// The level of the current transaction.
pub(crate) fn isolation() -> Isolation {
    // SAFETY: reads the transaction's state.
    match unsafe { pg_sys::XactIsoLevel } {
        level if level == pg_sys::XACT_SERIALIZABLE as i32 => Isolation::Serializable,
        level if level == pg_sys::XACT_REPEATABLE_READ as i32 => Isolation::RepeatableRead,
        _ => Isolation::ReadCommitted,
    }
}

/// A file to delete, and the subtransaction that wants it.
struct Doomed {
    subtransaction: pg_sys::SubTransactionId,
    path: PathBuf,
}

static DOOMED: Mutex<Vec<Doomed>> = Mutex::new(Vec::new());

fn doomed() -> MutexGuard<'static, Vec<Doomed>> {
    DOOMED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Deletes a file when the transaction commits, unless it goes back to a savepoint before. For files that are no loss where they are missing.
pub(crate) fn delete_at_commit(path: PathBuf) {
    static LISTENING: Once = Once::new();
    // SAFETY: on the main thread, in a transaction. The callbacks live as long as the process.
    let subtransaction = unsafe {
        LISTENING.call_once(|| {
            pg_sys::RegisterXactCallback(Some(ended), ptr::null_mut());
            pg_sys::RegisterSubXactCallback(Some(subtransaction_ended), ptr::null_mut());
        });
        pg_sys::GetCurrentSubTransactionId()
    };
    doomed().push(Doomed { subtransaction, path });
}

/// Called by Postgres at the end of every transaction: it must not fail.
unsafe extern "C-unwind" fn ended(event: pg_sys::XactEvent::Type, _: *mut c_void) {
    match event {
        pg_sys::XactEvent::XACT_EVENT_COMMIT => {
            for Doomed { path, .. } in std::mem::take(&mut *doomed()) {
                let _ = std::fs::remove_file(path);
            }
        }
        // Who commits a prepared transaction knows nothing of ours.
        pg_sys::XactEvent::XACT_EVENT_ABORT | pg_sys::XactEvent::XACT_EVENT_PREPARE => doomed().clear(),
        _ => {}
    }
}

/// The same of a subtransaction. Those within it, and none before it, have higher numbers.
unsafe extern "C-unwind" fn subtransaction_ended(
    event: pg_sys::SubXactEvent::Type,
    own: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _: *mut c_void,
) {
    if event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        doomed().retain(|doomed| doomed.subtransaction < own);
    }
}
