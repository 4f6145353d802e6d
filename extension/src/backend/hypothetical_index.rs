//! Indexes that a model suggests: whether the text is one, and, with [hypopg](https://hypopg.readthedocs.io), whether the planner would use it. None is ever made.

use std::ffi::{CStr, CString};
use std::{ptr, slice};

use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::pg_sys::{Datum, Oid};

use super::calls::text_datum;
use super::errors::Failure;
use super::{encoding, subtransaction};

/// An index that is well formed.
#[derive(Debug)]
pub(crate) struct Described {
    /// Of columns alone: no expression, no condition, so that planning with it evaluates nothing.
    pub(crate) is_plain: bool,
}

/// Reads `sql` as one CREATE INDEX on one of these tables. Else says why it is none.
///
/// # Errors
/// Cancellation and the like.
pub(crate) fn described(sql: &str, tables: &[Oid]) -> Result<Result<Described, String>, Failure> {
    let Ok(text) = CString::new(encoding::to_server(sql).into_owned()) else { return Ok(Err("it has a NUL byte".to_owned())) };
    // SAFETY: the parser looks at the text, and names are looked up; nothing is executed.
    let read = unsafe { subtransaction::rolled_back(|| read(&text, tables)) };
    read.map_or_else(words_of, Ok)
}

/// What Postgres said, unless it is not about the text.
fn words_of<T>(caught: Box<CaughtError>) -> Result<Result<T, String>, Failure> {
    match &*caught {
        CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) if !super::generated_query::is_servers(report) => {
            Ok(Err(report.message().to_owned()))
        }
        _ => Err(Failure::Postgres(caught)),
    }
}

/// # Safety
/// In a subtransaction.
unsafe fn read(text: &CStr, tables: &[Oid]) -> Result<Described, String> {
    // SAFETY: a list has as many elements as it says; the nodes are of the types that their tags say; names are NUL-terminated or NULL.
    unsafe {
        let Some(list) = pg_sys::pg_parse_query(text.as_ptr()).as_ref() else { return Err("it is empty".to_owned()) };
        if list.length != 1 {
            return Err(format!("it is {} statements", list.length));
        }
        let statement: *mut pg_sys::RawStmt = (*list.elements).ptr_value.cast();
        let tree = (*statement).stmt;
        if (*tree).type_ != pg_sys::NodeTag::T_IndexStmt {
            let name = CStr::from_ptr(pg_sys::GetCommandTagName(pg_sys::CreateCommandTag(tree))).to_string_lossy();
            return Err(format!("it is {name} and no CREATE INDEX"));
        }
        let index: *mut pg_sys::IndexStmt = tree.cast();
        if (*index).unique || (*index).primary || (*index).isconstraint {
            return Err("a UNIQUE index restricts what the table can hold".to_owned());
        }
        let missing_ok = pg_sys::RVROption::RVR_MISSING_OK;
        let table = pg_sys::RangeVarGetRelidExtended((*index).relation, 0, missing_ok, None, ptr::null_mut());
        if table == pg_sys::InvalidOid || !tables.contains(&table) {
            return Err("it is on no table of the query".to_owned());
        }
        if pg_sys::get_index_am_oid((*index).accessMethod, true) == pg_sys::InvalidOid {
            return Err("there is no such kind of index here".to_owned());
        }
        let mut is_plain = (*index).whereClause.is_null();
        for columns in [(*index).indexParams, (*index).indexIncludingParams] {
            let Some(columns) = columns.as_ref() else { continue };
            for element in slice::from_raw_parts(columns.elements, usize::try_from(columns.length).unwrap_or(0)) {
                let column: *const pg_sys::IndexElem = element.ptr_value.cast();
                if (*column).name.is_null() {
                    is_plain = false;
                } else if pg_sys::get_attnum(table, (*column).name) == 0 {
                    return Err(format!("the table has no column \"{}\"", CStr::from_ptr((*column).name).to_string_lossy()));
                }
            }
        }
        Ok(Described { is_plain })
    }
}

/// An index that exists in hypopg's memory of this session alone, until it is dropped.
pub(crate) struct Hypothetical {
    index: Oid,
    schema: String,
}

impl Hypothetical {
    /// Has hypopg, whose functions are in `schema` (quoted), imagine a described index. Else says why it does not.
    ///
    /// # Errors
    /// Cancellation and the like.
    pub(crate) fn imagine(schema: &str, sql: &str) -> Result<Result<Self, String>, Failure> {
        let call = format!("SELECT h.indexrelid FROM {schema}.hypopg_create_index($1) AS h");
        let argument = text_datum(&encoding::to_server(sql));
        // SAFETY: hypopg keeps what it makes outside of the transaction.
        let made = unsafe { subtransaction::rolled_back(|| value_of(&call, pg_sys::TEXTOID, argument)) };
        match made {
            Ok(Some(index)) => Ok(Ok(Self { index: Oid::from(u32::try_from(index.value()).unwrap_or(0)), schema: schema.to_owned() })),
            Ok(None) => Ok(Err("hypopg did not take it".to_owned())),
            Err(caught) => words_of(caught),
        }
    }
}

impl Drop for Hypothetical {
    fn drop(&mut self) {
        let call = format!("SELECT {}.hypopg_drop_index($1)", self.schema);
        // SAFETY: as above. What fails here leaves a thought behind, in this session.
        let _ = unsafe { subtransaction::rolled_back(|| value_of(&call, pg_sys::OIDOID, Datum::from(self.index))) };
    }
}

/// The one value, passed by value, of a statement with one parameter.
///
/// # Safety
/// In a subtransaction. The datum is of the type.
unsafe fn value_of(sql: &str, of_type: Oid, parameter: Datum) -> Option<Datum> {
    let sql = CString::new(encoding::to_server(sql).into_owned()).ok()?;
    // SAFETY: SPI as its manual has it; the caller's promise.
    unsafe {
        if pg_sys::SPI_connect() < 0 {
            return None;
        }
        let (mut types, mut values) = ([of_type], [parameter]);
        let done = pg_sys::SPI_execute_with_args(sql.as_ptr(), 1, types.as_mut_ptr(), values.as_mut_ptr(), ptr::null(), false, 1);
        let table = pg_sys::SPI_tuptable;
        let mut is_null = true;
        let found = (done >= 0 && !table.is_null() && pg_sys::SPI_processed == 1)
            .then(|| pg_sys::SPI_getbinval(*(*table).vals, (*table).tupdesc, 1, &raw mut is_null))
            .filter(|_| !is_null);
        pg_sys::SPI_finish();
        found
    }
}
