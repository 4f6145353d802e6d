//! Which functions a query that a model wrote may reach.
//!
//! What Postgres declares of a function decides: VOLATILE ones may do anything, SECURITY DEFINER ones do it with another's rights, and those of untrusted
//! languages do it outside of Postgres. Some built-in ones are declared harmless and are not, and some the other way round: these are listed by name. The
//! administrator's own list (`pg_llm.text2sql_allowed_functions`) goes over the declaration, and never over the names.

#![allow(clippy::cast_possible_wrap, reason = "Postgres's small constants, in the type that bindgen gives them")]

use std::ffi::{CStr, c_char};
use std::ptr;
use std::slice;

use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

use super::encoding;

/// Declared VOLATILE by Postgres, for what they read or because they differ at each call, and without effect on anything.
const HARMLESS: [&str; 13] = [
    "clock_timestamp",
    "gen_random_uuid",
    "pg_database_size",
    "pg_indexes_size",
    "pg_relation_size",
    "pg_table_size",
    "pg_tablespace_size",
    "pg_total_relation_size",
    "random",
    "random_normal",
    "timeofday",
    "uuidv4",
    "uuidv7",
];

/// Beginnings of names of functions in C, built-in or an extension's, that reach files, other servers, other sessions or the session's state, or run SQL that is
/// their argument, however they are declared. Functions in other languages can do only what these can.
const DENIED: [&str; 45] = [
    "binary_upgrade_",
    "connectby",
    "crosstab",
    "currval",
    "cursor_to_xml",
    "database_to_xml",
    "dblink",
    "lastval",
    "lo_",
    "loread",
    "lowrite",
    "nextval",
    "pg_advisory_",
    "pg_backup_",
    "pg_cancel_backend",
    "pg_copy_",
    "pg_create_",
    "pg_current_xact_id",
    "pg_drop_",
    "pg_export_snapshot",
    "pg_file_",
    "pg_hba_",
    "pg_ident_",
    "pg_import_",
    "pg_llm_",
    "pg_logical_",
    "pg_ls_",
    "pg_notify",
    "pg_promote",
    "pg_read_",
    "pg_reload_conf",
    "pg_replication_",
    "pg_rotate_",
    "pg_sleep",
    "pg_stat_file",
    "pg_stat_reset",
    "pg_switch_wal",
    "pg_terminate_backend",
    "pg_try_advisory_",
    "query_to_xml",
    "schema_to_xml",
    "set_config",
    "setval",
    "table_to_xml",
    "ts_stat",
];
/// The same for names that others begin with.
const DENIED_NAMES: [&str; 3] = ["setseed", "txid_current", "xpath_table"];

/// `internal` and `c`.
const IN_C: [u32; 2] = [12, 13];
/// The column of `pg_language`.
const LANPLTRUSTED: i16 = 5;

#[allow(clippy::struct_excessive_bools, reason = "each is a column of the catalog, or made of some")]
struct Function {
    schema: String,
    name: String,
    volatile: bool,
    definer: bool,
    builtin: bool,
    in_c: bool,
    trusted_language: bool,
    /// It takes or gives what SQL has no values for: only Postgres itself can call it.
    internal: bool,
}

/// How a function came to be called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Called {
    /// By an expression.
    ByExpression,
    /// By its address: as a type's input or output, as a support function, by another function in C.
    Directly,
}

/// Why a generated query may not reach this function; none where it may. `allowed` are names as `schema.function`.
pub(super) fn objection(function: Oid, called: Called, allowed: &[String]) -> Option<String> {
    let function = look_up(function)?;
    if called == Called::Directly && function.internal {
        return None;
    }
    let Function { schema, name, .. } = &function;
    let shown = format!("{schema}.{name}");
    let ours = schema.as_bytes() == super::privileges::SCHEMA.to_bytes();
    let denied = DENIED.iter().any(|beginning| name.starts_with(beginning)) || DENIED_NAMES.contains(&name.as_str());
    if ours || (function.in_c && denied) {
        return Some(format!("function {shown}() is on the list of those that a generated query may not call"));
    }
    if allowed.contains(&shown) || (function.builtin && HARMLESS.contains(&name.as_str())) {
        return None;
    }
    if function.definer {
        return Some(format!("function {shown}() is SECURITY DEFINER: it has other rights than the caller"));
    }
    if function.volatile {
        return Some(format!("function {shown}() is VOLATILE: it may have effects"));
    }
    if !function.trusted_language {
        return Some(format!("function {shown}() is in an untrusted language"));
    }
    None
}

fn look_up(oid: Oid) -> Option<Function> {
    // SAFETY: look-ups in the system cache; what is read of a tuple is copied before it is released.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::PROCOID as i32, pg_sys::Datum::from(oid));
        if tuple.is_null() {
            return None;
        }
        let form: *const pg_sys::FormData_pg_proc = struct_of(tuple);
        let (language, namespace) = ((*form).prolang, (*form).pronamespace);
        let name = text((*form).proname.data.as_ptr());
        let volatile = (*form).provolatile.to_ne_bytes() == [b'v'];
        let definer = (*form).prosecdef;
        let builtin = oid.to_u32() < pg_sys::FirstGenbkiObjectId && namespace == Oid::from(pg_sys::PG_CATALOG_NAMESPACE);
        pg_sys::ReleaseSysCache(tuple);
        let in_c = IN_C.contains(&language.to_u32());
        let schema = pg_sys::get_namespace_name(namespace);
        let schema = if schema.is_null() { String::new() } else { text(schema) };
        Some(Function {
            schema,
            name,
            volatile,
            definer,
            builtin,
            in_c,
            trusted_language: in_c || is_trusted(language),
            internal: is_internal(oid),
        })
    }
}

/// # Safety
/// A tuple of a catalog whose rows begin with this structure.
#[allow(clippy::cast_ptr_alignment, reason = "Postgres aligns the data of a tuple to the widest type")]
unsafe fn struct_of<T>(tuple: pg_sys::HeapTuple) -> *const T {
    // SAFETY: the caller's promise.
    unsafe { pg_sys::GETSTRUCT(tuple).cast() }
}

/// # Safety
/// A NUL-terminated text of the server's.
unsafe fn text(name: *const c_char) -> String {
    // SAFETY: the caller's promise.
    let bytes = unsafe { CStr::from_ptr(name) }.to_bytes();
    encoding::from_server(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned())
}

fn is_trusted(language: Oid) -> bool {
    // SAFETY: a look-up in the system cache.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::LANGOID as i32, pg_sys::Datum::from(language));
        if tuple.is_null() {
            return false;
        }
        let mut null = true;
        let trusted = pg_sys::SysCacheGetAttr(pg_sys::SysCacheIdentifier::LANGOID as i32, tuple, LANPLTRUSTED, &raw mut null);
        pg_sys::ReleaseSysCache(tuple);
        // SQL itself is trusted too.
        !null && trusted.value() & 1 != 0
    }
}

fn is_internal(function: Oid) -> bool {
    const INTERNAL: [Oid; 5] = [
        pg_sys::INTERNALOID,
        pg_sys::INDEX_AM_HANDLEROID,
        pg_sys::TABLE_AM_HANDLEROID,
        pg_sys::TSM_HANDLEROID,
        pg_sys::LANGUAGE_HANDLEROID,
    ];
    let (mut arguments, mut count) = (ptr::null_mut(), 0);
    // SAFETY: a function that was just found; its arguments are a palloc'd copy of that many.
    unsafe {
        let returned = pg_sys::get_func_signature(function, &raw mut arguments, &raw mut count);
        let count = usize::try_from(count).unwrap_or(0);
        let arguments: &[Oid] = if count == 0 || arguments.is_null() { &[] } else { slice::from_raw_parts(arguments, count) };
        INTERNAL.contains(&returned) || arguments.iter().any(|argument| INTERNAL.contains(argument))
    }
}
