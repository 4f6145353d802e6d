//! News of the catalog: what makes it certain that something read from its tables is still so.
//!
//! Every change of a table's rows announces itself by a trigger ([`pg_llm_announce_change_wrapper`]): it has Postgres invalidate the table's entry in the relation cache,
//! of this session at once, and of all others when the change commits. Postgres announces by itself, in the same way, whatever changes a table as a whole:
//! TRUNCATE, ALTER, DROP. Such messages reach the sessions of a standby too, and undo themselves where the change is rolled back, a savepoint included.
//! They come after the change can be seen, and before its COMMIT returns. So does the message of a trigger that is disabled.
//!
//! We count them all, of whatever relation: there are few, and one too many costs one query.

#![allow(clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "Postgres's small constants in the types that bindgen gives them")]

use std::ffi::CStr;
use std::slice;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use pgrx::pg_sys;
use pgrx::pg_sys::{Datum, Oid};

use super::errors::{Failure, SqlError, or_raise};
use super::{privileges, row_guard};

/// How many messages have come.
static HEARD: AtomicU64 = AtomicU64::new(0);

/// The transaction of this session that last changed rows of the catalog.
static CHANGED_BY: AtomicU32 = AtomicU32::new(0);

/// The triggers' name, in `sql/01-catalog.sql`.
const TRIGGER: &CStr = c"announce_change";

/// A number that is another one after each message. What was read while it was the same is still so, as far as others have committed.
pub(crate) fn number() -> u64 {
    static LISTENING: Once = Once::new();
    // SAFETY: on the main thread, in a transaction. The callback lives as long as the process.
    unsafe {
        LISTENING.call_once(|| pg_sys::CacheRegisterRelcacheCallback(Some(heard), Datum::from(0)));
        pg_sys::AcceptInvalidationMessages();
    }
    HEARD.load(Ordering::Relaxed)
}

/// Whether this transaction has changed rows of the catalog, which others do not see yet, and itself no more after a rollback.
pub(crate) fn is_ours() -> bool {
    // SAFETY: reads the transaction's state.
    let transaction = unsafe { pg_sys::GetTopTransactionIdIfAny() };
    transaction != pg_sys::InvalidTransactionId && u32::from(transaction) == CHANGED_BY.load(Ordering::Relaxed)
}

/// Whether this process has part in a parallel query: it sees what the leader's statement sees, and can look at nothing newer.
pub(crate) fn is_in_parallel() -> bool {
    // SAFETY: reads the transaction's state.
    unsafe { pg_sys::IsInParallelMode() }
}

/// Whether each of these tables of the catalog announces every change of its rows, whatever `session_replication_role` is.
pub(crate) fn is_announced(tables: &[&CStr]) -> bool {
    // SAFETY: look-ups by NUL-terminated names; an open relation's triggers are an array of that length, in which a name is NUL-terminated.
    unsafe {
        let schema = pg_sys::get_namespace_oid(privileges::SCHEMA.as_ptr(), true);
        tables.iter().all(|table| {
            let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
            let relation = pg_sys::try_relation_open(pg_sys::get_relname_relid(table.as_ptr(), schema), lock);
            if relation.is_null() {
                return false;
            }
            let triggers = match (*relation).trigdesc.as_ref() {
                Some(all) => slice::from_raw_parts(all.triggers, usize::try_from(all.numtriggers).unwrap_or(0)),
                None => &[],
            };
            let always = |trigger: &pg_sys::Trigger| trigger.tgenabled as u8 == pg_sys::TRIGGER_FIRES_ALWAYS;
            let announced = triggers.iter().any(|trigger| CStr::from_ptr(trigger.tgname) == TRIGGER && always(trigger));
            pg_sys::relation_close(relation, lock);
            announced
        })
    }
}

/// Called by Postgres for each message, perhaps in the midst of an abort: it must not fail.
unsafe extern "C-unwind" fn heard(_: Datum, _relation: Oid) {
    HEARD.fetch_add(1, Ordering::Relaxed);
}

/// The function of the triggers, which fire before each row that is inserted, updated or deleted. Bound by `sql/`.
///
/// # Safety
/// For Postgres's function manager.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C-unwind" fn pg_llm_announce_change_wrapper(fcinfo: pg_sys::FunctionCallInfo) -> Datum {
    // SAFETY: there is nothing with a destructor above this frame. A trigger's context is a live TriggerData.
    unsafe { pgrx::pgrx_extern_c_guard(move || or_raise(|| announce((*fcinfo).context).map_err(Failure::from))) }
}

/// Says which calling convention the function has.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn pg_finfo_pg_llm_announce_change_wrapper() -> &'static pg_sys::Pg_finfo_record {
    const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &VERSION_1
}

/// # Safety
/// What a function was called with as its context.
unsafe fn announce(context: pg_sys::fmNodePtr) -> Result<Datum, SqlError> {
    // SAFETY: the caller's promise.
    unsafe {
        let trigger = row_guard::trigger_data(context)?;
        row_guard::check_writer(trigger)?;
        // First, and not when the change is made: functions in the same statement may run in between.
        CHANGED_BY.store(pg_sys::GetTopTransactionId().into(), Ordering::Relaxed);
        pg_sys::CacheInvalidateRelcache(trigger.tg_relation);
        Ok(row_guard::row_of(trigger))
    }
}
