//! A query of the caller's own, drawn row by row, while the rows that came before are worked on.
//!
//! It runs as Postgres runs the last query of an SQL function that returns a set (executor/functions.c): an executor of its own inside the statement's, asked
//! for one row at a time. A portal would be the other way, and the worse one: whoever knows its name can close it, and at COMMIT a holdable cursor is run to
//! its end perhaps after the portal under it was dropped. What this one holds belongs to whatever runs the statement, and lives and dies with that: a
//! subtransaction in which it was begun may be rolled back, and a cursor above it goes on.
//!
//! It sees what the statement sees, and not what the statement does: rows that it inserts are not drawn again.

use std::ffi::{CStr, CString};
use std::ptr;

use pgrx::pg_sys;
use pgrx::pg_sys::{Datum, Oid};

use super::encoding;
use super::errors::{SqlError, State};
use super::privileges::Caller;

/// A running query.
pub(crate) struct Cursor {
    query: *mut pg_sys::QueryDesc,
    /// Its address is what the executor knows.
    receiver: Box<Receiver>,
    /// Lives as long as the query.
    memory: pg_sys::MemoryContext,
    /// Who began it: whoever draws the next row, it runs with these rights.
    caller: Caller,
    types: Vec<Oid>,
    /// What gives each column's text, and its jsonb, once it was asked for.
    output: Vec<Oid>,
    to_jsonb: Option<Box<pg_sys::FmgrInfo>>,
    done: bool,
}

/// A `DestReceiver` that keeps one row.
#[repr(C)]
struct Receiver {
    head: pg_sys::DestReceiver,
    /// Of one row.
    memory: pg_sys::MemoryContext,
    row: pg_sys::HeapTuple,
}

/// What a query must be.
const HINT: &str = "One SELECT, VALUES, TABLE, or WITH ... SELECT that changes nothing by itself.";

fn refused(why: &str) -> SqlError {
    SqlError::new(State::InvalidArgument, format!("pg_llm: {why}")).hint(HINT)
}

impl Cursor {
    /// Begins `sql` with the rights and the `search_path` of the current role. `memory` has to live until the query is closed, or the transaction fails.
    ///
    /// # Errors
    /// 22023 when it is not one query that only reads. What Postgres says of it is raised.
    pub(crate) fn open(sql: &str, memory: pg_sys::MemoryContext) -> Result<Self, SqlError> {
        let text = CString::new(encoding::to_server(sql).into_owned()).map_err(|_| refused("query has a NUL byte"))?;
        // SAFETY: SPI as its manual has it; what outlives it is copied into `memory`. An ERROR in between unwinds us, and the transaction's end cleans up.
        let (plan, text) = unsafe {
            check(pg_sys::SPI_connect())?;
            let planned = plan(&text);
            let before = pg_sys::MemoryContextSwitchTo(memory);
            let copied = planned.map(|plan| (pg_sys::copyObjectImpl(plan.cast()).cast(), pg_sys::pstrdup(text.as_ptr())));
            pg_sys::MemoryContextSwitchTo(before);
            check(pg_sys::SPI_finish())?;
            copied?
        };
        // SAFETY: a plan just made, under the statement's own snapshot, in memory that lives as long. Triggers have nothing to do where nothing is written, and
        // their level must not stay open between two rows.
        unsafe {
            let mut receiver = Box::new(Receiver::new(memory));
            let before = pg_sys::MemoryContextSwitchTo(memory);
            let query = pg_sys::CreateQueryDesc(
                plan,
                text,
                pg_sys::GetActiveSnapshot(),
                ptr::null_mut(),
                &raw mut receiver.head,
                ptr::null_mut(),
                ptr::null_mut(),
                0,
            );
            pg_sys::ExecutorStart(query, i32::try_from(pg_sys::EXEC_FLAG_SKIP_TRIGGERS).unwrap_or(0));
            pg_sys::MemoryContextSwitchTo(before);
            let row = (*query).tupDesc;
            let types: Vec<Oid> = (1..=(*row).natts).map(|column| pg_sys::SPI_gettypeid(row, column)).collect();
            let output = types.iter().map(|declared| output_function(*declared)).collect();
            Ok(Self { query, receiver, memory, caller: Caller::now(), types, output, to_jsonb: None, done: false })
        }
    }

    /// The types of its columns.
    pub(crate) fn types(&self) -> &[Oid] {
        &self.types
    }

    /// The next row, as `read` sees it; none after the last.
    ///
    /// # Errors
    /// Those of `read`. What Postgres says is raised.
    pub(crate) fn next<T>(&mut self, read: impl FnOnce(&mut Row<'_>) -> Result<T, SqlError>) -> Result<Option<T>, SqlError> {
        if self.done {
            return Ok(None);
        }
        let _caller = self.caller.again();
        // SAFETY: a started query and its registered snapshot, which is taken off again unless an ERROR ends the transaction that has it.
        unsafe {
            pg_sys::MemoryContextReset(self.receiver.memory);
            self.receiver.row = ptr::null_mut();
            pg_sys::PushActiveSnapshot((*self.query).snapshot);
            run_for_one_row(self.query);
            let read = if self.receiver.row.is_null() {
                self.done = true;
                Ok(None)
            } else {
                read(&mut Row(self)).map(Some)
            };
            pg_sys::PopActiveSnapshot();
            read
        }
    }

    /// Gives back what it holds. Not for transactions that have failed, which take it by themselves.
    pub(crate) fn close(&mut self) {
        if self.query.is_null() {
            return;
        }
        let query = std::mem::replace(&mut self.query, ptr::null_mut());
        self.done = true;
        let _caller = self.caller.again();
        // SAFETY: a started query, ended once.
        unsafe {
            pg_sys::PushActiveSnapshot((*query).snapshot);
            pg_sys::ExecutorFinish(query);
            pg_sys::ExecutorEnd(query);
            pg_sys::PopActiveSnapshot();
            pg_sys::FreeQueryDesc(query);
        }
    }
}

/// The row that a cursor is at.
pub(crate) struct Row<'a>(&'a mut Cursor);

impl Row<'_> {
    /// None for NULL.
    fn datum(&self, column: usize) -> Option<Datum> {
        let mut null = true;
        // SAFETY: the row that was just received, of this description. Beyond the last column nothing is found.
        let datum = unsafe {
            pg_sys::SPI_getbinval(self.0.receiver.row, (*self.0.query).tupDesc, i32::try_from(column + 1).unwrap_or(0), &raw mut null)
        };
        (!null).then_some(datum)
    }

    /// A column as its type's output function writes it; none for NULL. Columns count from 0.
    pub(crate) fn text(&self, column: usize) -> Result<Option<String>, SqlError> {
        let (Some(datum), Some(output)) = (self.datum(column), self.0.output.get(column)) else { return Ok(None) };
        // SAFETY: the output function of the column's type. What it leaves is in the memory of this row.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo(self.0.receiver.memory);
            let text = pg_sys::OidOutputFunctionCall(*output, datum);
            pg_sys::MemoryContextSwitchTo(before);
            encoding::from_server(CStr::from_ptr(text).to_bytes()).map(Some)
        }
    }

    /// A column as `to_jsonb` makes it: the bytes of the jsonb. None for NULL. Always of the same column.
    pub(crate) fn jsonb(&mut self, column: usize) -> Option<Vec<u8>> {
        let datum = self.datum(column)?;
        let declared = *self.0.types.get(column)?;
        let memory = self.0.memory;
        // SAFETY: the function finds the argument's type in the expression, both of which live as long as the query; the result is in the memory of this row.
        unsafe {
            let function = self.0.to_jsonb.get_or_insert_with(|| Box::new(to_jsonb_of(declared, memory)));
            let before = pg_sys::MemoryContextSwitchTo(self.0.receiver.memory);
            let made = pg_sys::FunctionCall1Coll(&raw mut **function, pg_sys::InvalidOid, datum);
            let jsonb = pg_sys::pg_detoast_datum(made.cast_mut_ptr());
            pg_sys::MemoryContextSwitchTo(before);
            Some(std::slice::from_raw_parts(jsonb.cast::<u8>(), pgrx::varsize(jsonb)).to_vec())
        }
    }
}

impl Receiver {
    /// # Safety
    /// `memory` must be live.
    unsafe fn new(memory: pg_sys::MemoryContext) -> Self {
        // SAFETY: as C's AllocSetContextCreate with ALLOCSET_DEFAULT_SIZES.
        let memory = unsafe { pg_sys::AllocSetContextCreateInternal(memory, c"pg_llm row".as_ptr(), 0, 8 << 10, 8 << 20) };
        let head = pg_sys::DestReceiver {
            receiveSlot: Some(receive),
            rStartup: Some(begin),
            rShutdown: Some(end),
            rDestroy: Some(end),
            mydest: pg_sys::CommandDest::DestNone,
        };
        Self { head, memory, row: ptr::null_mut() }
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn receive(slot: *mut pg_sys::TupleTableSlot, receiver: *mut pg_sys::DestReceiver) -> bool {
    let receiver = receiver.cast::<Receiver>();
    let mut own = false;
    // SAFETY: the executor calls this with the receiver of `Cursor::open`, alive in its box, and a row. A row that stays the slot's is copied.
    unsafe {
        let before = pg_sys::MemoryContextSwitchTo((*receiver).memory);
        let row = pg_sys::ExecFetchSlotHeapTuple(slot, false, &raw mut own);
        (*receiver).row = if own { row } else { pg_sys::heap_copytuple(row) };
        pg_sys::MemoryContextSwitchTo(before);
    }
    true
}

unsafe extern "C-unwind" fn begin(_: *mut pg_sys::DestReceiver, _: i32, _: pg_sys::TupleDesc) {}

unsafe extern "C-unwind" fn end(_: *mut pg_sys::DestReceiver) {}

/// A plan for the one query that `text` is, in SPI's memory.
///
/// # Safety
/// Connected to SPI.
unsafe fn plan(text: &CStr) -> Result<*mut pg_sys::PlannedStmt, SqlError> {
    // SAFETY: SPI analyses and rewrites, and says where in the query an error is. What it made of each statement is a list of queries.
    unsafe {
        let prepared = pg_sys::SPI_prepare(text.as_ptr(), 0, ptr::null_mut());
        if prepared.is_null() {
            check(pg_sys::SPI_result)?;
            return Err(refused("query cannot be prepared"));
        }
        let source: *mut pg_sys::CachedPlanSource = match only(pg_sys::SPI_plan_get_plan_sources(prepared)) {
            Ok(source) => source.cast(),
            Err(0) => return Err(refused("query is empty")),
            Err(_) => return Err(refused("query is more than one statement")),
        };
        match only((*source).query_list).map(<*mut std::ffi::c_void>::cast::<pg_sys::Query>) {
            Ok(query) if (*query).commandType == pg_sys::CmdType::CMD_SELECT && !(*query).hasModifyingCTE => {
                Ok(pg_sys::pg_plan_query(query, text.as_ptr(), 0, ptr::null_mut()))
            }
            _ => Err(refused("query is not one that only returns rows")),
        }
    }
}

/// The only member of a list; else how many there are.
///
/// # Safety
/// A list of pointers, or NIL.
unsafe fn only(list: *mut pg_sys::List) -> Result<*mut std::ffi::c_void, i32> {
    // SAFETY: NIL is NULL; a list has as many elements as it says.
    unsafe {
        match list.as_ref() {
            None => Err(0),
            Some(list) if list.length == 1 => Ok((*list.elements).ptr_value),
            Some(list) => Err(list.length),
        }
    }
}

/// # Safety
/// A started query.
unsafe fn run_for_one_row(query: *mut pg_sys::QueryDesc) {
    let forward = pg_sys::ScanDirection::ForwardScanDirection;
    // SAFETY: the caller's promise. It may be asked again: no parallel plan was allowed.
    #[cfg(feature = "pg18")]
    unsafe {
        pg_sys::ExecutorRun(query, forward, 1);
    }
    #[cfg(not(feature = "pg18"))]
    // SAFETY: as above.
    unsafe {
        pg_sys::ExecutorRun(query, forward, 1, false);
    }
}

fn output_function(declared: Oid) -> Oid {
    let (mut function, mut varlena) = (pg_sys::InvalidOid, false);
    // SAFETY: a look-up in Postgres's caches.
    unsafe { pg_sys::getTypeOutputInfo(declared, &raw mut function, &raw mut varlena) };
    function
}

/// `to_jsonb`, for an argument of this type.
///
/// # Safety
/// `memory` must outlive the function's use.
pub(super) unsafe fn to_jsonb_of(declared: Oid, memory: pg_sys::MemoryContext) -> pg_sys::FmgrInfo {
    let function = Oid::from(pg_sys::F_TO_JSONB);
    let mut info = pg_sys::FmgrInfo::default();
    // SAFETY: the expression is only looked at for its argument's type, as `get_fn_expr_argtype` does.
    unsafe {
        let before = pg_sys::MemoryContextSwitchTo(memory);
        pg_sys::fmgr_info_cxt(function, &raw mut info, memory);
        let argument = pg_sys::makeNullConst(declared, -1, pg_sys::InvalidOid);
        let call = pg_sys::makeFuncExpr(
            function,
            pg_sys::JSONBOID,
            pg_sys::lappend(ptr::null_mut(), argument.cast()),
            pg_sys::InvalidOid,
            pg_sys::InvalidOid,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
        );
        info.fn_expr = call.cast();
        pg_sys::MemoryContextSwitchTo(before);
    }
    info
}

fn check(code: i32) -> Result<(), SqlError> {
    if code < 0 { Err(SqlError::new(State::Internal, format!("pg_llm: query cannot be run (SPI error {code})"))) } else { Ok(()) }
}
