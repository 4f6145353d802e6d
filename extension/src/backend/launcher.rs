//! Starts background workers, one of each kind for a database that has work for it.

use pgrx::pg_sys::Oid;

/// What a worker is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "jobs come with their worker")]
pub(crate) enum Kind {
    /// Writes the ledger's entries into their table.
    Ledger,
    /// Runs jobs.
    Jobs,
}

/// Asks for a worker of this kind in this database: one that runs is woken, else one is started soon. On the main thread; it does not wait. A worker that finds
/// nothing to do ends.
#[allow(dead_code, reason = "of use once there is a worker")]
pub(crate) fn wake(_database: Oid, _kind: Kind) {}
