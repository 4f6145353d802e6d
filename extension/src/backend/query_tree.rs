//! Looks through a query that was analysed and rewritten, views and policies included: all of its parts only read, and call only what they may.
//!
//! What Postgres adds and finds later (bodies of functions, defaults, casts inside of functions) passes the [`guard`](super::guard). What this sees is refused before the planner
//! looks at it, though it may never run.

use std::ffi::c_void;
use std::ptr;

use pgrx::pg_sys;
use pgrx::pg_sys::{Node, Oid};

use super::errors::SqlError;
use super::guard;

/// # Safety
/// A query, analysed and rewritten.
pub(super) unsafe fn check(query: *mut pg_sys::Query) -> Result<(), SqlError> {
    let mut refused: Option<String> = None;
    // SAFETY: the caller's promise; the walk ends before `refused` does.
    unsafe { visit(query.cast(), ptr::from_mut(&mut refused).cast()) };
    refused.map_or(Ok(()), |why| Err(guard::refuse(&why)))
}

/// True ends the walk.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn visit(node: *mut Node, refused: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: Postgres's walkers give the nodes of a tree one by one, and hand on what `check` gave.
    unsafe {
        if (*node).type_ == pg_sys::NodeTag::T_Query {
            let query: *mut pg_sys::Query = node.cast();
            if let Some(why) = objection(query) {
                *refused.cast::<Option<String>>() = Some(why.to_owned());
                return true;
            }
            return pg_sys::query_tree_walker(query, Some(visit), refused, 0);
        }
        pg_sys::check_functions_in_node(node, Some(calls), refused) || pg_sys::expression_tree_walker(node, Some(visit), refused)
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn calls(function: Oid, refused: *mut c_void) -> bool {
    let objection = guard::objection(function);
    let found = objection.is_some();
    if found {
        // SAFETY: as above.
        unsafe { *refused.cast::<Option<String>>() = objection };
    }
    found
}

/// # Safety
/// A query.
unsafe fn objection(query: *mut pg_sys::Query) -> Option<&'static str> {
    // SAFETY: the caller's promise.
    unsafe {
        if (*query).commandType == pg_sys::CmdType::CMD_UTILITY {
            Some("it is SELECT INTO, or else no query")
        } else if (*query).commandType != pg_sys::CmdType::CMD_SELECT || (*query).hasModifyingCTE {
            Some("it changes data")
        } else if (*query).hasForUpdate || !(*query).rowMarks.is_null() {
            Some("it locks rows (FOR UPDATE, FOR SHARE)")
        } else {
            None
        }
    }
}
