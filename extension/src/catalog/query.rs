//! Queries on the extension's tables: parameters only, plans kept for the backend's life, run as the tables' owner.
//!
//! Every name and operator in these queries is qualified, so that the caller's `search_path` has no say.

use std::cell::Cell;
use std::ffi::{CString, c_char};
use std::ptr;
use std::slice;

use pgrx::pg_sys;
use pgrx::pg_sys::{Datum, Oid};

use crate::backend::calls::{by_reference, text_datum};
use crate::backend::encoding;
use crate::backend::errors::{SqlError, State};
use crate::backend::news;
use crate::backend::privileges::AsOwner;

/// A query and its plan, which is made when it is first needed and revalidated by Postgres when a table changes.
pub(crate) struct Statement {
    sql: &'static str,
    types: &'static [Oid],
    plan: Cell<pg_sys::SPIPlanPtr>,
}

// SAFETY: used on the backend's main thread only; every use goes through Postgres functions that check it.
unsafe impl Sync for Statement {}

/// What a query sees.
#[derive(Clone, Copy, PartialEq, Eq)]
enum View {
    /// What the statement does that it is run in.
    Statement,
    /// What is committed now, and what this transaction has changed itself.
    Latest,
    /// As a statement of its own in this transaction. It may change something.
    Transaction,
}

/// A parameter.
#[derive(Clone, Copy)]
pub(crate) enum Param<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
    Bool(bool),
    Long(i64),
    Role(Oid),
    /// The bytes of a jsonb as Postgres keeps it.
    Jsonb(&'a [u8]),
    /// An argument of the function that is called, of the type that SQL declares.
    Argument(Datum),
    Null,
}

/// A row of the result, copied out of Postgres's memory.
pub(crate) struct Row(Vec<Option<Value>>);

enum Value {
    Bytes(Vec<u8>),
    Word(usize),
}

impl Statement {
    pub(crate) const fn new(sql: &'static str, types: &'static [Oid]) -> Self {
        Self { sql, types, plan: Cell::new(ptr::null_mut()) }
    }

    /// Runs a query that changes nothing: on a standby, in a read-only transaction and in a parallel worker too.
    pub(crate) fn read(&self, params: &[Param<'_>]) -> Result<Vec<Row>, SqlError> {
        // What this transaction has itself written is seen only through a new snapshot.
        self.run(params, if has_written() { View::Transaction } else { View::Statement })
    }

    /// The same on what is committed now, however old the transaction's snapshot is: a right that was revoked is revoked. Processes of a parallel query
    /// see what its leader's statement sees.
    pub(crate) fn read_latest(&self, params: &[Param<'_>]) -> Result<Vec<Row>, SqlError> {
        self.run(params, if news::is_in_parallel() { View::Statement } else { View::Latest })
    }

    /// Runs a query that changes something, and gives back what it returns.
    pub(crate) fn write(&self, params: &[Param<'_>]) -> Result<Vec<Row>, SqlError> {
        self.run(params, View::Transaction)
    }

    fn run(&self, params: &[Param<'_>], view: View) -> Result<Vec<Row>, SqlError> {
        let _owner = AsOwner::become_owner()?;
        // SAFETY: SPI as its manual has it: connect, plan, execute, copy the rows, finish. A Postgres ERROR in between unwinds us and ends the
        // transaction's SPI state with it.
        unsafe {
            check(pg_sys::SPI_connect())?;
            if self.plan.get().is_null() {
                self.prepare()?;
            }
            let mut values: Vec<Datum> = params.iter().map(Param::datum).collect();
            let nulls: Vec<c_char> = params.iter().map(Param::null_flag).collect();
            if view == View::Latest {
                if has_written() {
                    pg_sys::CommandCounterIncrement();
                }
                pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
            }
            let done = pg_sys::SPI_execute_plan(self.plan.get(), values.as_mut_ptr(), nulls.as_ptr(), view != View::Transaction, 0);
            if view == View::Latest {
                pg_sys::PopActiveSnapshot();
            }
            check(done)?;
            let rows = copy_rows();
            check(pg_sys::SPI_finish())?;
            Ok(rows)
        }
    }

    /// # Safety
    /// Connected to SPI.
    unsafe fn prepare(&self) -> Result<(), SqlError> {
        let sql = CString::new(self.sql).map_err(|_| spi_failed(0))?;
        let mut types = self.types.to_vec();
        // SAFETY: the caller's promise; the kept plan lives in a context of its own.
        unsafe {
            let plan = pg_sys::SPI_prepare(sql.as_ptr(), i32::try_from(types.len()).unwrap_or(0), types.as_mut_ptr());
            if plan.is_null() {
                return Err(spi_failed(pg_sys::SPI_result));
            }
            check(pg_sys::SPI_keepplan(plan))?;
            self.plan.set(plan);
        }
        Ok(())
    }
}

impl Param<'_> {
    fn datum(&self) -> Datum {
        match self {
            Self::Text(text) => text_datum(&encoding::to_server(text)),
            // bytea and text are laid out alike.
            Self::Bytes(bytes) => text_datum(bytes),
            Self::Bool(value) => Datum::from(*value),
            Self::Long(value) => Datum::from(*value),
            Self::Role(oid) => Datum::from(*oid),
            Self::Jsonb(bytes) => by_reference(bytes),
            Self::Argument(datum) => *datum,
            Self::Null => Datum::null(),
        }
    }

    /// As SPI has it.
    fn null_flag(&self) -> c_char {
        let flag = if matches!(self, Self::Null) { b'n' } else { b' ' };
        c_char::from_ne_bytes([flag])
    }
}

impl Row {
    fn bytes_at(&self, column: usize) -> Option<&[u8]> {
        match self.0.get(column)? {
            Some(Value::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// A text; none for NULL.
    pub(crate) fn text(&self, column: usize) -> Result<Option<String>, SqlError> {
        self.bytes_at(column).map(encoding::from_server).transpose()
    }

    /// A text that the query cannot give as NULL.
    pub(crate) fn required_text(&self, column: usize) -> Result<String, SqlError> {
        self.text(column)?.ok_or_else(|| SqlError::new(State::Internal, "pg_llm: a catalog column is unexpectedly NULL"))
    }

    /// A bytea; none for NULL.
    pub(crate) fn bytes(&self, column: usize) -> Option<Vec<u8>> {
        self.bytes_at(column).map(<[u8]>::to_vec)
    }

    /// A boolean; NULL counts as false.
    pub(crate) fn boolean(&self, column: usize) -> bool {
        matches!(self.0.get(column), Some(Some(Value::Word(word))) if word & 1 != 0)
    }

    /// A bigint; none for NULL.
    pub(crate) fn long(&self, column: usize) -> Option<i64> {
        match self.0.get(column)? {
            Some(Value::Word(word)) => Some(i64::from_ne_bytes((*word as u64).to_ne_bytes())),
            _ => None,
        }
    }

    /// An oid; none for NULL.
    pub(crate) fn oid(&self, column: usize) -> Option<Oid> {
        match self.0.get(column)? {
            Some(Value::Word(word)) => u32::try_from(*word).ok().map(Oid::from),
            _ => None,
        }
    }

    /// Oids in their text form, separated by spaces.
    pub(crate) fn oids(&self, column: usize) -> Vec<Oid> {
        let text = self.bytes_at(column).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or_default();
        text.split(' ').filter_map(|word| word.parse().ok()).map(|n: u32| Oid::from(n)).collect()
    }
}

/// Runs a statement that is made of names and literals of the catalog, quoted, such as DDL.
pub(crate) fn execute(sql: &str) -> Result<(), SqlError> {
    let _owner = AsOwner::become_owner()?;
    let sql = CString::new(encoding::to_server(sql).into_owned()).map_err(|_| spi_failed(0))?;
    // SAFETY: as in `Statement::run`.
    unsafe {
        check(pg_sys::SPI_connect())?;
        check(pg_sys::SPI_execute(sql.as_ptr(), false, 0))?;
        check(pg_sys::SPI_finish())
    }
}

/// # Safety
/// Right after a successful execution.
unsafe fn copy_rows() -> Vec<Row> {
    // SAFETY: the caller's promise: the table holds SPI_processed tuples that its descriptor describes.
    unsafe {
        let table = pg_sys::SPI_tuptable;
        if table.is_null() {
            return Vec::new();
        }
        let (descriptor, tuples) =
            ((*table).tupdesc, slice::from_raw_parts((*table).vals, usize::try_from(pg_sys::SPI_processed).unwrap_or(0)));
        tuples.iter().map(|tuple| Row((1..=(*descriptor).natts).map(|column| copy_value(*tuple, descriptor, column)).collect())).collect()
    }
}

/// # Safety
/// `column` counts from 1 and exists in `descriptor`, which describes `tuple`.
unsafe fn copy_value(tuple: pg_sys::HeapTuple, descriptor: pg_sys::TupleDesc, column: i32) -> Option<Value> {
    // SAFETY: the caller's promise. A variable-length value is detoasted before its bytes are read.
    unsafe {
        let mut isnull = false;
        let datum = pg_sys::SPI_getbinval(tuple, descriptor, column, &raw mut isnull);
        if isnull {
            return None;
        }
        match pg_sys::SPI_gettypeid(descriptor, column) {
            pg_sys::TEXTOID | pg_sys::BYTEAOID => {
                let varlena = pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr());
                Some(Value::Bytes(slice::from_raw_parts(pgrx::vardata_any(varlena).cast(), pgrx::varsize_any_exhdr(varlena)).to_vec()))
            }
            _ => Some(Value::Word(datum.value())),
        }
    }
}

fn has_written() -> bool {
    // SAFETY: reads the transaction's state.
    unsafe { pg_sys::GetTopTransactionIdIfAny() != pg_sys::InvalidTransactionId }
}

fn check(code: i32) -> Result<(), SqlError> {
    if code < 0 { Err(spi_failed(code)) } else { Ok(()) }
}

fn spi_failed(code: i32) -> SqlError {
    SqlError::new(State::Internal, format!("pg_llm: the catalog cannot be queried (SPI error {code})"))
}
