//! Rows of the catalog are changed by the extension's functions, which act as its owner, and by no other role.
//!
//! Nothing in the catalog is granted to anybody, and yet a member of `pg_write_all_data` may write every table, of every schema. It could lead a model whose key it cannot
//! read to a host of its own. So every table has a trigger that looks who writes: by row, as logical replication fires no other triggers, and always, where
//! `session_replication_role` turns triggers off. Superusers restore dumps, and may.

#![allow(clippy::cast_ptr_alignment, reason = "Postgres's nodes, which are aligned as what they are")]

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::pg_sys::Datum;

use super::encoding;
use super::errors::{Failure, SqlError, State, or_raise};
use super::privileges::{current_role, has_rights_of, is_superuser};

/// What a trigger's function is called with.
///
/// # Errors
/// 22023 where it is called by something else than a trigger.
///
/// # Safety
/// `context` is what Postgres called the function with, and lives as long as the result.
pub(super) unsafe fn trigger_data<'a>(context: pg_sys::fmNodePtr) -> Result<&'a pg_sys::TriggerData, SqlError> {
    // SAFETY: the caller's promise; the node's tag is looked at before more of it.
    unsafe {
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
            return Err(SqlError::new(State::InvalidArgument, "pg_llm: this function is for triggers only"));
        }
        Ok(&*context.cast::<pg_sys::TriggerData>())
    }
}

/// The row that a trigger before a row lets through, as it is to be.
pub(super) fn row_of(trigger: &pg_sys::TriggerData) -> Datum {
    let updates = trigger.tg_event & pg_sys::TRIGGER_EVENT_OPMASK == pg_sys::TRIGGER_EVENT_UPDATE;
    Datum::from(if updates { trigger.tg_newtuple } else { trigger.tg_trigtuple })
}

/// Whether the current role may change rows of the trigger's table.
///
/// # Errors
/// 42501.
///
/// # Safety
/// `trigger` is Postgres's, and its relation is open.
pub(super) unsafe fn check_writer(trigger: &pg_sys::TriggerData) -> Result<(), SqlError> {
    // SAFETY: the caller's promise; a relation's name is NUL-terminated.
    let (owner, name) = unsafe {
        let table = &*(*trigger.tg_relation).rd_rel;
        (table.relowner, CStr::from_ptr(table.relname.data.as_ptr()))
    };
    let role = current_role();
    if has_rights_of(role, owner) || is_superuser(role) {
        return Ok(());
    }
    let name = encoding::from_server(name.to_bytes()).unwrap_or_default();
    Err(SqlError::new(State::Forbidden, format!("pg_llm: permission denied to change rows of table \"{name}\""))
        .hint("The functions of pg_llm change them."))
}

/// The function of the triggers of those tables that announce no changes. Bound by `sql/`.
///
/// # Safety
/// For Postgres's function manager.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C-unwind" fn pg_llm_guard_row_wrapper(fcinfo: pg_sys::FunctionCallInfo) -> Datum {
    // SAFETY: there is nothing with a destructor above this frame. A trigger's context is a live TriggerData.
    unsafe {
        pgrx::pgrx_extern_c_guard(move || {
            or_raise(|| {
                let trigger = trigger_data((*fcinfo).context)?;
                check_writer(trigger)?;
                Ok::<_, Failure>(row_of(trigger))
            })
        })
    }
}

/// Says which calling convention the function has.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn pg_finfo_pg_llm_guard_row_wrapper() -> &'static pg_sys::Pg_finfo_record {
    const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &VERSION_1
}
