//! What the transaction that we are in allows.

#![allow(clippy::cast_possible_wrap, reason = "Postgres's small constants, in the type that bindgen gives them")]

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
