//! The rows of a generated query, taken as JSON while it runs, up to a number of rows and bytes.

use std::ffi::CStr;
use std::ptr;

use pgrx::pg_sys;
use pgrx::pg_sys::{Datum, Oid};
use serde_json::Value;

use super::cursor::to_jsonb_of;
use super::encoding;
use super::errors::{SqlError, State};

/// A column of the result.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// Different from those before it.
    pub(crate) name: String,
    /// As SQL writes it.
    pub(crate) type_name: String,
    /// Of a domain what it is made of.
    pub(crate) base_type: Oid,
    /// That is an enumeration.
    pub(crate) is_enum: bool,
}

/// The rows of a query.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Value>>,
    /// There were more.
    pub(super) truncated: bool,
}

/// A `DestReceiver` that keeps rows.
#[repr(C)]
struct Destination {
    head: pg_sys::DestReceiver,
    row: pg_sys::TupleDesc,
    /// `to_jsonb` of each column.
    functions: Vec<pg_sys::FmgrInfo>,
    columns: Vec<Column>,
    /// Of one row.
    memory: pg_sys::MemoryContext,
    rows: Vec<Vec<Value>>,
    most_rows: usize,
    bytes_left: usize,
    truncated: bool,
    failed: Option<SqlError>,
}

/// Its address is what the executor knows.
pub(super) struct Receiver(Box<Destination>);

impl Receiver {
    /// In the current memory context, which must outlive it.
    pub(super) fn new(most_rows: usize, most_bytes: usize) -> Self {
        // SAFETY: as C's AllocSetContextCreate with ALLOCSET_DEFAULT_SIZES.
        let memory =
            unsafe { pg_sys::AllocSetContextCreateInternal(pg_sys::CurrentMemoryContext, c"pg_llm row".as_ptr(), 0, 8 << 10, 8 << 20) };
        let head = pg_sys::DestReceiver {
            receiveSlot: Some(receive),
            rStartup: Some(begin),
            rShutdown: Some(end),
            rDestroy: Some(end),
            mydest: pg_sys::CommandDest::DestNone,
        };
        Self(Box::new(Destination {
            head,
            row: ptr::null_mut(),
            functions: Vec::new(),
            columns: Vec::new(),
            memory,
            rows: Vec::new(),
            most_rows,
            bytes_left: most_bytes,
            truncated: false,
            failed: None,
        }))
    }

    pub(super) fn as_destination(&mut self) -> *mut pg_sys::DestReceiver {
        &raw mut self.0.head
    }

    /// Tells it what the rows are, before the first.
    ///
    /// # Safety
    /// The description of a started query, in whose memory context we are.
    pub(super) unsafe fn describe(&mut self, row: pg_sys::TupleDesc) -> Result<(), SqlError> {
        let Destination { columns, functions, .. } = &mut *self.0;
        // SAFETY: the caller's promise; names and types are NUL-terminated texts.
        unsafe {
            for at in 1..=(*row).natts {
                let declared = pg_sys::SPI_gettypeid(row, at);
                let name = encoding::from_server(CStr::from_ptr(pg_sys::SPI_fname(row, at)).to_bytes())?;
                let type_name = encoding::from_server(CStr::from_ptr(pg_sys::format_type_be(declared)).to_bytes())?;
                let taken = |name: &str| columns.iter().any(|column| column.name == name);
                let mut different = name.clone();
                let mut number = 1;
                while taken(&different) {
                    number += 1;
                    different = format!("{name}_{number}");
                }
                let base_type = pg_sys::getBaseType(declared);
                columns.push(Column { name: different, type_name, base_type, is_enum: pg_sys::type_is_enum(base_type) });
                functions.push(to_jsonb_of(declared, pg_sys::CurrentMemoryContext));
            }
        }
        self.0.row = row;
        Ok(())
    }

    /// What came.
    pub(super) fn take(self) -> Result<Received, SqlError> {
        let Destination { columns, rows, truncated, failed, .. } = *self.0;
        failed.map_or(Ok(Received { columns, rows, truncated }), Err)
    }
}

impl Destination {
    /// Whether there is to be another row.
    ///
    /// # Safety
    /// In the executor, with a row of the description.
    unsafe fn take(&mut self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        if self.rows.len() >= self.most_rows {
            self.truncated = true;
            return false;
        }
        // SAFETY: the caller's promise. What is made of a row is in its memory, which the next one empties.
        let row = unsafe {
            pg_sys::MemoryContextReset(self.memory);
            let before = pg_sys::MemoryContextSwitchTo(self.memory);
            let row = self.values(slot);
            pg_sys::MemoryContextSwitchTo(before);
            row
        };
        match row {
            Ok(Some(row)) => {
                self.rows.push(row);
                true
            }
            Ok(None) => {
                self.truncated = true;
                false
            }
            Err(error) => {
                self.failed = Some(error);
                false
            }
        }
    }

    /// None where there is no room for them.
    ///
    /// # Safety
    /// As [`Self::take`].
    unsafe fn values(&mut self, slot: *mut pg_sys::TupleTableSlot) -> Result<Option<Vec<Value>>, SqlError> {
        let mut own = false;
        // SAFETY: the caller's promise; `own` or not, the row is looked at here only.
        let tuple = unsafe { pg_sys::ExecFetchSlotHeapTuple(slot, false, &raw mut own) };
        let mut values = Vec::with_capacity(self.functions.len());
        for (at, function) in (1..).zip(&mut self.functions) {
            let mut null = true;
            // SAFETY: a column of this row, and `to_jsonb` for its type. jsonb's output is a NUL-terminated text.
            let text = unsafe {
                let datum: Datum = pg_sys::SPI_getbinval(tuple, self.row, at, &raw mut null);
                if null {
                    values.push(Value::Null);
                    continue;
                }
                let made = pg_sys::FunctionCall1Coll(ptr::from_mut(function), pg_sys::InvalidOid, datum);
                CStr::from_ptr(pg_sys::OidOutputFunctionCall(pg_sys::Oid::from(pg_sys::F_JSONB_OUT), made)).to_bytes()
            };
            let Some(left) = self.bytes_left.checked_sub(text.len()) else { return Ok(None) };
            self.bytes_left = left;
            let text = encoding::from_server(text)?;
            values.push(serde_json::from_str(&text).map_err(|error| {
                SqlError::new(State::TooLarge, format!("pg_llm: a value of the generated query's result cannot be shown: {error}"))
            })?);
        }
        Ok(Some(values))
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn receive(slot: *mut pg_sys::TupleTableSlot, receiver: *mut pg_sys::DestReceiver) -> bool {
    // SAFETY: the executor calls this with the receiver that it was given, alive in its box, and a row.
    unsafe { (*receiver.cast::<Destination>()).take(slot) }
}

unsafe extern "C-unwind" fn begin(_: *mut pg_sys::DestReceiver, _: i32, _: pg_sys::TupleDesc) {}

unsafe extern "C-unwind" fn end(_: *mut pg_sys::DestReceiver) {}
