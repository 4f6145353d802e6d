//! Set-returning functions that give their rows one by one, as Postgres asks for them (value per call).
//!
//! Between two rows the function is suspended and Postgres runs other things, perhaps for ever: a LIMIT is reached, a cursor is closed, a transaction is rolled
//! back, the process ends. Then nobody calls the function again. What it keeps is dropped with its memory context, whose callback runs in all of these cases:
//! `init_MultiFuncCall` makes the context a child of the executor's, which an abort deletes, and deletes it by itself when the plan ends or is rescanned.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pgrx::pg_sys;
use pgrx::pg_sys::Datum;

use super::calls::{Args, Returned};
use super::errors::{Failure, SqlError, State, or_raise};

/// The rows of one call of a function.
pub(crate) trait Rows {
    /// The next row: its columns, of which a function that returns no composite type has one. None after the last.
    ///
    /// # Errors
    /// Any; it is raised, and nothing is asked after it.
    fn next(&mut self) -> Result<Option<Vec<Returned>>, Failure>;

    /// Nothing more is asked, and Postgres goes on: what it lent is to be given back. Not called where an error ends the statement, after which Postgres takes
    /// back everything by itself.
    ///
    /// # Errors
    /// Any; it is raised.
    fn close(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// Begins a call: decodes the arguments and gives the rows. None: there are none.
pub(crate) type Open = fn(&Args<'_>) -> Result<Option<Box<dyn Rows>>, Failure>;

impl Rows for std::vec::IntoIter<Vec<Returned>> {
    fn next(&mut self) -> Result<Option<Vec<Returned>>, Failure> {
        Ok(Iterator::next(self))
    }
}

/// Rows that are all there.
#[allow(clippy::unnecessary_wraps, reason = "what an `Open` gives")]
pub(crate) fn ready(rows: Vec<Vec<Returned>>) -> Option<Box<dyn Rows>> {
    Some(Box::new(rows.into_iter()))
}

/// What is kept from row to row.
struct Kept {
    /// Out of its place while it is asked for a row: what ends the process in the midst of that must not drop it under its own feet.
    rows: Option<Box<dyn Rows>>,
    shape: Shape,
}

/// A row's.
#[derive(Clone, Copy)]
enum Shape {
    /// Of these columns.
    Composite(pg_sys::TupleDesc),
    /// One value of this type.
    Scalar(pg_sys::Oid),
}

/// Gives the next row of a set-returning function.
///
/// # Safety
/// `fcinfo` must be Postgres's, and its function declared to return a set.
pub(crate) unsafe fn serve(fcinfo: pg_sys::FunctionCallInfo, open: Open) -> Datum {
    let datum = or_raise(|| {
        // SAFETY: the caller's promise.
        let call = unsafe { SetCall::of(fcinfo, open) }?;
        let kept = call.kept()?;
        let Some(mut rows) = kept.rows.take() else { return Ok(call.end()) };
        let Some(row) = rows.next()? else {
            rows.close()?;
            drop(rows);
            return Ok(call.end());
        };
        let datum = form(row, kept.shape)?;
        kept.rows = Some(rows);
        call.more();
        Ok(datum)
    });
    // SAFETY: as above.
    unsafe { (*fcinfo).isnull = datum.is_none() };
    datum.unwrap_or(Datum::null())
}

/// One of the calls by which Postgres gets the rows.
struct SetCall {
    fcinfo: pg_sys::FunctionCallInfo,
    context: *mut pg_sys::FuncCallContext,
}

impl SetCall {
    /// # Safety
    /// As [`serve`].
    unsafe fn of(fcinfo: pg_sys::FunctionCallInfo, open: Open) -> Result<Self, Failure> {
        // SAFETY: fcinfo is live, and so is its flinfo. init_MultiFuncCall raises where no set can be taken.
        unsafe {
            if (*(*fcinfo).flinfo).fn_extra.is_null() {
                let context = pg_sys::init_MultiFuncCall(fcinfo);
                let call = Self { fcinfo, context };
                call.keep(Kept { rows: None, shape: shape(fcinfo, (*context).multi_call_memory_ctx)? });
                call.kept()?.rows = open(&Args::of(fcinfo, (*context).multi_call_memory_ctx))?;
                return Ok(call);
            }
            Ok(Self { fcinfo, context: pg_sys::per_MultiFuncCall(fcinfo) })
        }
    }

    /// Keeps this until the memory context goes.
    ///
    /// # Safety
    /// For a context that was just made.
    unsafe fn keep(&self, kept: Kept) {
        // SAFETY: the context is live; the callback is in its memory, as Postgres wants it, and owns the box from here on.
        unsafe {
            let memory = (*self.context).multi_call_memory_ctx;
            let callback =
                pg_sys::MemoryContextAlloc(memory, size_of::<pg_sys::MemoryContextCallback>()).cast::<pg_sys::MemoryContextCallback>();
            let kept = Box::into_raw(Box::new(kept));
            callback.write(pg_sys::MemoryContextCallback { func: Some(let_go), arg: kept.cast(), next: ptr::null_mut() });
            (*self.context).user_fctx = kept.cast();
            pg_sys::MemoryContextRegisterResetCallback(memory, callback);
            // Called before init_MultiFuncCall's own, which was registered before it and deletes the context.
            pg_sys::RegisterExprContextCallback(self.expressions(), Some(no_more), Datum::from(kept));
        }
    }

    #[allow(clippy::cast_ptr_alignment, reason = "Postgres allocates its nodes aligned to the widest type")]
    fn expressions(&self) -> *mut pg_sys::ExprContext {
        // SAFETY: init_MultiFuncCall has seen that it is a ReturnSetInfo.
        unsafe { (*(*self.fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>()).econtext }
    }

    #[allow(clippy::mut_from_ref, reason = "the pointer is the only way to it, and a call has one such reference at a time")]
    fn kept(&self) -> Result<&mut Kept, SqlError> {
        // SAFETY: null, or the box of `keep`, which lives as long as the context.
        unsafe { (*self.context).user_fctx.cast::<Kept>().as_mut() }
            .ok_or_else(|| SqlError::new(State::Internal, "pg_llm: internal error: a set-returning function without its rows"))
    }

    fn more(&self) {
        self.set_done(pg_sys::ExprDoneCond::ExprMultipleResult);
        // SAFETY: a live context.
        unsafe { (*self.context).call_cntr += 1 }
    }

    /// There are no more rows; the context goes.
    fn end(&self) -> Option<Datum> {
        // SAFETY: as in C's SRF_RETURN_DONE. `kept` is not used any more.
        unsafe {
            pg_sys::UnregisterExprContextCallback(self.expressions(), Some(no_more), Datum::from((*self.context).user_fctx));
            pg_sys::end_MultiFuncCall(self.fcinfo, self.context);
        }
        self.set_done(pg_sys::ExprDoneCond::ExprEndResult);
        None
    }

    #[allow(clippy::cast_ptr_alignment, reason = "Postgres allocates its nodes aligned to the widest type")]
    fn set_done(&self, done: pg_sys::ExprDoneCond::Type) {
        // SAFETY: init_MultiFuncCall has seen that it is a ReturnSetInfo.
        unsafe { (*(*self.fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>()).isDone = done }
    }
}

/// What the function is declared to return, in `memory`.
///
/// # Safety
/// As [`serve`]; `memory` must be live.
unsafe fn shape(fcinfo: pg_sys::FunctionCallInfo, memory: pg_sys::MemoryContext) -> Result<Shape, SqlError> {
    let (mut declared, mut description) = (pg_sys::InvalidOid, ptr::null_mut());
    // SAFETY: the description is made in the current memory context, which is put back on every way out but an ERROR, after which Postgres sets its own.
    let class = unsafe {
        let before = pg_sys::MemoryContextSwitchTo(memory);
        let class = pg_sys::get_call_result_type(fcinfo, &raw mut declared, &raw mut description);
        if class == pg_sys::TypeFuncClass::TYPEFUNC_COMPOSITE {
            description = pg_sys::BlessTupleDesc(description);
        }
        pg_sys::MemoryContextSwitchTo(before);
        class
    };
    match class {
        pg_sys::TypeFuncClass::TYPEFUNC_COMPOSITE => Ok(Shape::Composite(description)),
        pg_sys::TypeFuncClass::TYPEFUNC_SCALAR => Ok(Shape::Scalar(declared)),
        _ => Err(SqlError::new(State::Internal, "pg_llm: internal error: a set-returning function of a type that it does not have")),
    }
}

/// A row as a datum in the current memory context, which lives as long as the row does.
fn form(row: Vec<Returned>, shape: Shape) -> Result<Option<Datum>, SqlError> {
    let description = match shape {
        Shape::Composite(description) => description,
        Shape::Scalar(declared) => return row.into_iter().next().map_or(Ok(None), |value| value.into_datum(declared)),
    };
    let (mut values, mut nulls) = (Vec::with_capacity(row.len()), Vec::with_capacity(row.len()));
    // SAFETY: made by `shape`, and live as long as what is kept. SPI_gettypeid only looks, and gives InvalidOid beyond the last column.
    let (wanted, declared) = unsafe { ((*description).natts, |at| pg_sys::SPI_gettypeid(description, at)) };
    for (at, value) in (1..).zip(row) {
        let datum = value.into_datum(declared(at))?;
        nulls.push(datum.is_none());
        values.push(datum.unwrap_or(Datum::null()));
    }
    if usize::try_from(wanted) != Ok(values.len()) {
        return Err(SqlError::new(State::Internal, "pg_llm: internal error: a row of another number of columns"));
    }
    // SAFETY: as many values as columns, of the types that SQL declares.
    unsafe {
        let tuple = pg_sys::heap_form_tuple(description, values.as_mut_ptr(), nulls.as_mut_ptr());
        Ok(Some(pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data)))
    }
}

/// The plan ends or begins anew before the rows did. Not called in an abort.
unsafe extern "C-unwind" fn no_more(kept: Datum) {
    // SAFETY: the box of `keep`, whose context still lives. There is nothing with a destructor above this frame.
    unsafe {
        ::pgrx::pgrx_extern_c_guard(move || {
            or_raise(|| match kept.cast_mut_ptr::<Kept>().as_mut().and_then(|kept| kept.rows.take()) {
                Some(mut rows) => rows.close(),
                None => Ok(()),
            });
        });
    }
}

/// The memory context goes, wherever Postgres is: at the end of a plan, in an abort, at the end of the process. Nothing may be raised here.
unsafe extern "C-unwind" fn let_go(kept: *mut c_void) {
    // SAFETY: the box of `keep`; Postgres calls this once.
    let kept = unsafe { Box::from_raw(kept.cast::<Kept>()) };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(kept))) {
        // Its own drop might panic too.
        std::mem::forget(payload);
    }
}

/// Makes C functions that `CREATE FUNCTION ... RETURNS SETOF ... LANGUAGE c` can bind: `symbol, info => open`.
macro_rules! sql_set_functions {
    ($($symbol:ident, $info:ident => $open:path;)*) => {$(
        /// Bound by `sql/`.
        ///
        /// # Safety
        /// For Postgres's function manager.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C-unwind" fn $symbol(fcinfo: ::pgrx::pg_sys::FunctionCallInfo) -> ::pgrx::pg_sys::Datum {
            // SAFETY: there is nothing with a destructor above this frame, and Postgres's fcinfo is handed on as it came.
            unsafe { ::pgrx::pgrx_extern_c_guard(move || $crate::backend::rows::serve(fcinfo, $open)) }
        }

        /// Says which calling convention the function has.
        #[unsafe(no_mangle)]
        pub(crate) extern "C" fn $info() -> &'static ::pgrx::pg_sys::Pg_finfo_record {
            const VERSION_1: ::pgrx::pg_sys::Pg_finfo_record = ::pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
            &VERSION_1
        }
    )*};
}
pub(crate) use sql_set_functions;
