//! The ledger of this process's calls.

use std::sync::{Arc, OnceLock};

use pg_llm_gateway::ledger::{Ledger, NoLedger};
use pgrx::pg_sys::Oid;

/// That of calls that `role` makes. On the main thread.
pub(crate) fn of(_role: Oid) -> Arc<dyn Ledger> {
    static NONE: OnceLock<Arc<dyn Ledger>> = OnceLock::new();
    Arc::clone(NONE.get_or_init(|| Arc::new(NoLedger)))
}
