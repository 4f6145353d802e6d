//! Which tables and columns a query reads with the rights of whoever runs it.
//!
//! What a view reads with its owner's rights is the view's business: the caller reads the view.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};

use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

use super::encoding;

/// Of a table.
const MOST_COLUMNS: i32 = 1600;
/// How the names of columns begin that were dropped.
const DROPPED: &str = "........pg.dropped.";

/// A table, by its name in the catalog.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) schema: String,
    pub(crate) table: String,
    /// Of which values are read.
    pub(crate) columns: Vec<String>,
}

/// What a plan reads, without the system's own tables.
///
/// # Safety
/// Of the planner.
pub(super) unsafe fn of(plan: *mut pg_sys::PlannedStmt) -> Vec<Read> {
    let mut found: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    // SAFETY: the caller's promise.
    for (relation, columns) in unsafe { checked(plan) } {
        // SAFETY: look-ups in Postgres's caches.
        let (schema_oid, schema, table) = unsafe {
            let schema = pg_sys::get_rel_namespace(relation);
            (schema, text(pg_sys::get_namespace_name(schema)), text(pg_sys::get_rel_name(relation)))
        };
        let (Some(schema), Some(table)) = (schema, table) else { continue };
        if schema_oid == Oid::from(pg_sys::PG_CATALOG_NAMESPACE) || schema == "information_schema" {
            continue;
        }
        // SAFETY: a set that the plan owns, or NULL, which is the empty one.
        let named = unsafe { names(relation, columns) };
        let known = found.entry((schema, table)).or_default();
        for name in named {
            if !known.contains(&name) {
                known.push(name);
            }
        }
    }
    found.into_iter().map(|((schema, table), columns)| Read { schema, table, columns }).collect()
}

/// Tables that the caller's own rights are checked for, and the columns.
///
/// # Safety
/// Of the planner.
#[cfg(any(feature = "pg16", feature = "pg17", feature = "pg18"))]
unsafe fn checked(plan: *mut pg_sys::PlannedStmt) -> Vec<(Oid, *mut pg_sys::Bitmapset)> {
    // SAFETY: the caller's promise.
    unsafe {
        elements::<pg_sys::RTEPermissionInfo>((*plan).permInfos)
            .into_iter()
            .filter(|info| (**info).checkAsUser == pg_sys::InvalidOid && (**info).requiredPerms != 0)
            .map(|info| ((*info).relid, (*info).selectedCols))
            .collect()
    }
}

/// # Safety
/// Of the planner.
#[cfg(not(any(feature = "pg16", feature = "pg17", feature = "pg18")))]
unsafe fn checked(plan: *mut pg_sys::PlannedStmt) -> Vec<(Oid, *mut pg_sys::Bitmapset)> {
    // SAFETY: the caller's promise.
    unsafe {
        elements::<pg_sys::RangeTblEntry>((*plan).rtable)
            .into_iter()
            .filter(|entry| {
                (**entry).checkAsUser == pg_sys::InvalidOid && (**entry).requiredPerms != 0 && (**entry).relid != pg_sys::InvalidOid
            })
            .map(|entry| ((*entry).relid, (*entry).selectedCols))
            .collect()
    }
}

/// # Safety
/// A list of such nodes, or NULL.
unsafe fn elements<T>(list: *mut pg_sys::List) -> Vec<*mut T> {
    // SAFETY: a list has as many elements as it says.
    unsafe {
        let Some(list) = list.as_ref() else { return Vec::new() };
        let count = usize::try_from(list.length).unwrap_or(0);
        (0..count).map(|at| (*list.elements.add(at)).ptr_value.cast()).collect()
    }
}

/// # Safety
/// A table, and a set of the numbers of its columns as rights are checked for.
unsafe fn names(relation: Oid, columns: *mut pg_sys::Bitmapset) -> Vec<String> {
    let mut names = Vec::new();
    let mut member = -1;
    loop {
        // SAFETY: the caller's promise.
        member = unsafe { pg_sys::bms_next_member(columns, member) };
        if member < 0 {
            return names;
        }
        let number = member + pg_sys::FirstLowInvalidHeapAttributeNumber;
        // The whole row is all of its columns.
        let numbers = if number == 0 { 1..=MOST_COLUMNS } else { number..=number };
        for number in numbers.filter_map(|number| i16::try_from(number).ok()).filter(|number| *number > 0) {
            // SAFETY: a look-up in Postgres's caches.
            let name = text(unsafe { pg_sys::get_attname(relation, number, true) });
            names.extend(name.filter(|name| !name.starts_with(DROPPED)));
        }
    }
}

fn text(name: *mut c_char) -> Option<String> {
    if name.is_null() {
        return None;
    }
    // SAFETY: a NUL-terminated text of the server's.
    encoding::from_server(unsafe { CStr::from_ptr(name) }.to_bytes()).ok()
}
