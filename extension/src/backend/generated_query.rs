//! Runs a query that a model wrote, as the caller and without effect.
//!
//! Nothing of what the text says is believed: Postgres's parser says how many statements it is, the analysed query and its plan what kind, the [`guard`] what it calls, and it all
//! happens in a subtransaction that is read-only and is always rolled back. The rows are copied out before.
//!
//! What a function kept from an earlier call in the same transaction (PL/pgSQL keeps expressions that are ready to run) would pass no hook again. So all cached plans are made anew.

#![allow(
    clippy::cast_possible_wrap,
    clippy::cast_possible_truncation,
    reason = "Postgres's small constants, in the type that bindgen gives them"
)]

use std::ffi::{CStr, CString, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use std::{ptr, slice};

use pgrx::pg_sys;
use pgrx::pg_sys::Oid;
use pgrx::pg_sys::panic::{CaughtError, ErrorReportWithLevel};
use serde_json::Value;

use super::errors::{Failure, SqlError, State, sqlstate};
use super::generated_rows::{Column, Received, Receiver};
use super::guard::{self, Guard};
use super::plan_reads::{self, Read};
use super::stopwatch::Stopwatch;
use super::{encoding, gucs, query_tree, subtransaction};

/// Longest text of a query, in bytes.
const MOST_TEXT: usize = 256 << 10;
/// Temporary files of one query, in kB.
const MOST_TEMPORARY_KB: i32 = 1 << 20;
/// What a query must be.
const HINT: &str = "One SELECT, VALUES, TABLE, or WITH ... SELECT that changes nothing.";

/// What a query may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Of its execution.
    pub(crate) time: Duration,
    /// Rows that are given back.
    pub(crate) rows: usize,
    /// Bytes of their values as JSON.
    pub(crate) bytes: usize,
    /// The planner's estimate; 0: any.
    pub(crate) cost: f64,
}

/// What is wanted of it.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "wishes, each of its own")]
pub(crate) struct Wanted {
    /// Its rows.
    pub(crate) rows: bool,
    /// Its plan, as EXPLAIN shows it.
    pub(crate) plan: bool,
    /// What the execution took is in the plan, as EXPLAIN ANALYZE shows it. For a query that is run.
    pub(crate) analyze: bool,
    /// The plan comes of an EXPLAIN, so that extensions have their say in it (hypopg has no other way in). For a query that is not run.
    pub(crate) by_statement: bool,
}

/// What it gave.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) columns: Vec<Column>,
    /// Values as `to_jsonb` makes them.
    pub(crate) rows: Vec<Vec<Value>>,
    /// There was more.
    pub(crate) truncated: bool,
    pub(crate) plan: Option<Value>,
    /// What it reads with the caller's rights.
    pub(crate) reads: Vec<Read>,
    /// The statement alone, without what stood around it.
    pub(crate) statement: String,
    /// The tables and views that it reads, however it comes to them.
    pub(crate) relations: Vec<Oid>,
    /// Of the execution.
    pub(crate) took: Duration,
}

impl Answer {
    /// The planner's estimate of the whole, where the plan was wanted.
    pub(crate) fn cost(&self) -> Option<f64> {
        self.plan.as_ref()?["Plan"]["Total Cost"].as_f64()
    }

    /// Rows as objects.
    pub(crate) fn objects(&self) -> Vec<Value> {
        let names = || self.columns.iter().map(|column| column.name.clone());
        self.rows.iter().map(|row| Value::Object(names().zip(row.iter().cloned()).collect())).collect()
    }
}

/// Why it gave nothing.
#[derive(Debug)]
pub(crate) struct QueryError {
    pub(crate) sqlstate: String,
    pub(crate) message: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
    /// The character of the text, from 1.
    pub(crate) position: Option<usize>,
    /// To be raised.
    pub(crate) cause: Failure,
}

/// Runs `sql`.
///
/// # Errors
/// What is not the query's: a cancellation, a server that is out of something. The query's own errors are a result.
pub(crate) fn run(sql: &str, bounds: Bounds, wanted: Wanted) -> Result<Result<Answer, QueryError>, Failure> {
    if sql.len() > MOST_TEXT {
        let error = SqlError::new(State::TooLarge, format!("pg_llm: the generated query has more than {MOST_TEXT} bytes"));
        return Ok(Err(error.into()));
    }
    let text = CString::new(encoding::to_server(sql).into_owned())
        .map_err(|_| SqlError::new(State::Internal, "pg_llm: internal error: text with a NUL byte"))?;
    let mut position = 0;
    let mut timed_out = false;
    // SAFETY: nothing with a destructor outlives an ERROR in it: what was caught is a value here.
    let outcome = unsafe { subtransaction::rolled_back(|| under_guard(&text, bounds, wanted, &mut position, &mut timed_out)) };
    let refused = Guard::refused();
    let failure = match outcome {
        Ok(Ok(answer)) => match refused {
            None => return Ok(Ok(answer)),
            // The query's own functions caught the error.
            Some(why) => return Ok(Err(guard::refuse(&why).into())),
        },
        Ok(Err(error)) => return Ok(Err(error.into())),
        Err(caught) => caught,
    };
    if timed_out {
        let limit = bounds.time.as_millis();
        let error = SqlError::new(State::Cancelled, format!("pg_llm: the generated query took longer than {limit} ms"))
            .hint("Raise the option sql_timeout_ms, or pg_llm.text2sql_timeout_ms above it.");
        return Ok(Err(error.into()));
    }
    of_postgres(failure, usize::try_from(position).ok().filter(|position| *position > 0))
}

impl From<SqlError> for QueryError {
    fn from(error: SqlError) -> Self {
        Self {
            sqlstate: error.state.sqlstate(),
            message: error.message.clone(),
            detail: error.detail.clone(),
            hint: error.hint.clone(),
            position: None,
            cause: error.into(),
        }
    }
}

/// What Postgres said, unless it is not about the query.
fn of_postgres(caught: Box<CaughtError>, position: Option<usize>) -> Result<Result<Answer, QueryError>, Failure> {
    let (CaughtError::PostgresError(report) | CaughtError::ErrorReport(report)) = &*caught else {
        return Err(Failure::Postgres(caught));
    };
    if is_servers(report) {
        return Err(Failure::Postgres(caught));
    }
    let state = sqlstate(report.sql_error_code());
    let error = (report.message().to_owned(), report.detail().map(str::to_owned), report.hint().map(str::to_owned));
    let (message, detail, hint) = error;
    Ok(Err(QueryError { sqlstate: state, message, detail, hint, position, cause: Failure::Postgres(caught) }))
}

/// Whether an error is not about what was executed: cancelled, going down, out of memory or disk, files that cannot be read.
pub(super) fn is_servers(report: &ErrorReportWithLevel) -> bool {
    let state = sqlstate(report.sql_error_code());
    ["57", "58"].iter().any(|class| state.starts_with(class)) || (state.starts_with("53") && state != "53400")
}

/// Everything from the parser to the last row.
fn under_guard(text: &CStr, bounds: Bounds, wanted: Wanted, position: &mut i32, timed_out: &mut bool) -> Result<Answer, SqlError> {
    let guard = Guard::begin(gucs::text2sql_allowed_functions())?;
    let stopwatch = Stopwatch::start(bounds.time);
    let done = catch_unwind(AssertUnwindSafe(|| {
        restrict()?;
        let _positions = Positions::into(position);
        // SAFETY: in a subtransaction of its own, with the memory of this query.
        unsafe { execute(text, bounds, wanted) }
    }));
    *timed_out = done.is_err() && stopwatch.has_cancelled();
    drop(stopwatch);
    drop(guard);
    done.unwrap_or_else(|payload| std::panic::resume_unwind(payload))
}

/// Nothing of this outlives the subtransaction.
fn restrict() -> Result<(), SqlError> {
    // SAFETY: state of the subtransaction, which its end sets back: the transaction's being read-only, the role's context, the settings.
    unsafe {
        pg_sys::XactReadOnly = true;
        let (mut role, mut context) = (pg_sys::InvalidOid, 0);
        pg_sys::GetUserIdAndSecContext(&raw mut role, &raw mut context);
        pg_sys::SetUserIdAndSecContext(role, context | pg_sys::SECURITY_RESTRICTED_OPERATION as i32);
        pg_sys::ResetPlanCache();
        let temporary = match pg_sys::temp_file_limit {
            limit @ 0..MOST_TEMPORARY_KB => limit,
            _ => MOST_TEMPORARY_KB,
        };
        set(c"temp_file_limit", &temporary.to_string())?;
        // Other processes have no guard.
        set(c"max_parallel_workers", "0")
    }
}

/// # Safety
/// In a subtransaction.
unsafe fn set(name: &CStr, value: &str) -> Result<(), SqlError> {
    let failed = || SqlError::new(State::Internal, format!("pg_llm: {} cannot be set", name.to_string_lossy()));
    let value = CString::new(value).map_err(|_| failed())?;
    // SAFETY: the caller's promise.
    let done = unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_LOCAL,
            true,
            0,
            false,
        )
    };
    if done == 1 { Ok(()) } else { Err(failed()) }
}

/// While it lives, the place in the text that an error is about is kept: what catches errors for Rust loses it.
struct Positions {
    callback: Box<pg_sys::ErrorContextCallback>,
}

impl Positions {
    fn into(position: &mut i32) -> Self {
        unsafe extern "C-unwind" fn keep(position: *mut c_void) {
            // SAFETY: Postgres calls this while an error is reported; the place outlives the callback.
            unsafe { *position.cast::<i32>() = pg_sys::geterrposition() }
        }
        // SAFETY: on top of the stack of callbacks until it is dropped.
        unsafe {
            let callback = Box::new(pg_sys::ErrorContextCallback {
                previous: pg_sys::error_context_stack,
                callback: Some(keep),
                arg: ptr::from_mut(position).cast(),
            });
            pg_sys::error_context_stack = ptr::from_ref(&*callback).cast_mut();
            Self { callback }
        }
    }
}

impl Drop for Positions {
    fn drop(&mut self) {
        // SAFETY: what was there before.
        unsafe { pg_sys::error_context_stack = self.callback.previous }
    }
}

/// # Safety
/// In a subtransaction, with memory that goes after it.
unsafe fn execute(text: &CStr, bounds: Bounds, wanted: Wanted) -> Result<Answer, SqlError> {
    // SAFETY: the caller's promise. The snapshot is the newest that the transaction may have, and is taken off again; an ERROR ends the subtransaction that has it.
    unsafe {
        let statement = only_statement(text)?;
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        let query = analysed(statement, text)?;
        let plan = pg_sys::pg_plan_query(query, text.as_ptr(), 0, ptr::null_mut());
        guard::check_plan(plan)?;
        let cost = (*(*plan).planTree).total_cost;
        if bounds.cost > 0.0 && cost > bounds.cost {
            return Err(SqlError::new(
                State::TooLarge,
                format!("pg_llm: the generated query is too dear: its estimated cost is {cost:.0}"),
            )
            .detail(format!("{:.0} is allowed.", bounds.cost))
            .hint("Select fewer rows, or raise pg_llm.text2sql_max_cost."));
        }
        let reads = plan_reads::of(plan);
        let statement = encoding::from_server(text_of(statement, text))?;
        let relations = relations_of(plan);
        let mut receiver = Receiver::new(bounds.rows, bounds.bytes);
        let running = pg_sys::CreateQueryDesc(
            plan,
            text.as_ptr(),
            pg_sys::GetActiveSnapshot(),
            ptr::null_mut(),
            receiver.as_destination(),
            ptr::null_mut(),
            ptr::null_mut(),
            if wanted.analyze { (pg_sys::InstrumentOption::INSTRUMENT_ALL) as i32 } else { 0 },
        );
        let flags = pg_sys::EXEC_FLAG_SKIP_TRIGGERS | if wanted.rows { 0 } else { pg_sys::EXEC_FLAG_EXPLAIN_ONLY };
        pg_sys::ExecutorStart(running, flags as i32);
        receiver.describe((*running).tupDesc)?;
        let begun = Instant::now();
        if wanted.rows {
            run_for(running, bounds.rows as u64 + 1);
            pg_sys::ExecutorFinish(running);
        }
        let took = begun.elapsed();
        // What the execution took is known after it.
        let plan = if wanted.plan && !wanted.by_statement { explained(running, wanted.analyze && wanted.rows)? } else { None };
        pg_sys::ExecutorEnd(running);
        pg_sys::FreeQueryDesc(running);
        let plan = if wanted.by_statement { explained_by_statement(&statement)? } else { plan };
        pg_sys::PopActiveSnapshot();
        let Received { columns, rows, truncated } = receiver.take()?;
        Ok(Answer { columns, rows, truncated, plan, reads, statement, relations, took })
    }
}

/// # Safety
/// As [`execute`].
unsafe fn only_statement(text: &CStr) -> Result<*mut pg_sys::RawStmt, SqlError> {
    // SAFETY: the parser looks at the text alone. A list has as many elements as it says.
    unsafe {
        let statement: *mut pg_sys::RawStmt = match pg_sys::pg_parse_query(text.as_ptr()).as_ref() {
            None => return Err(guard::refuse("it is empty").hint(HINT)),
            Some(list) if list.length == 1 => (*list.elements).ptr_value.cast(),
            Some(list) => return Err(guard::refuse(&format!("it is {} statements", list.length)).hint(HINT)),
        };
        let tree = (*statement).stmt;
        if (*tree).type_ != pg_sys::NodeTag::T_SelectStmt {
            let name = CStr::from_ptr(pg_sys::GetCommandTagName(pg_sys::CreateCommandTag(tree))).to_string_lossy();
            return Err(guard::refuse(&format!("it is {name} and no query")).hint(HINT));
        }
        Ok(statement)
    }
}

/// The part of the text that is the statement: no semicolon, no comment before it.
///
/// # Safety
/// A statement of this text.
unsafe fn text_of(statement: *const pg_sys::RawStmt, text: &CStr) -> &[u8] {
    let bytes = text.to_bytes();
    // SAFETY: the caller's promise. A length of 0 is all the rest.
    let (from, length) = unsafe { ((*statement).stmt_location, (*statement).stmt_len) };
    let from = usize::try_from(from).unwrap_or(0).min(bytes.len());
    match usize::try_from(length) {
        Ok(length @ 1..) => &bytes[from..bytes.len().min(from + length)],
        _ => &bytes[from..],
    }
}

/// # Safety
/// Of the planner.
unsafe fn relations_of(plan: *const pg_sys::PlannedStmt) -> Vec<Oid> {
    // SAFETY: the caller's promise; a list has as many elements as it says, and this one is of oids.
    unsafe {
        let Some(list) = (*plan).relationOids.as_ref() else { return Vec::new() };
        let elements = slice::from_raw_parts(list.elements, usize::try_from(list.length).unwrap_or(0));
        let mut relations: Vec<Oid> = Vec::new();
        for element in elements {
            if !relations.contains(&element.oid_value) {
                relations.push(element.oid_value);
            }
        }
        relations
    }
}

/// # Safety
/// As [`execute`], with a snapshot.
unsafe fn analysed(statement: *mut pg_sys::RawStmt, text: &CStr) -> Result<*mut pg_sys::Query, SqlError> {
    // SAFETY: what the parser made of this text.
    unsafe {
        #[cfg(feature = "pg14")]
        let queries = pg_sys::pg_analyze_and_rewrite(statement, text.as_ptr(), ptr::null_mut(), 0, ptr::null_mut());
        #[cfg(not(feature = "pg14"))]
        let queries = pg_sys::pg_analyze_and_rewrite_fixedparams(statement, text.as_ptr(), ptr::null(), 0, ptr::null_mut());
        let query: *mut pg_sys::Query = match queries.as_ref() {
            Some(list) if list.length == 1 => (*list.elements).ptr_value.cast(),
            _ => return Err(guard::refuse("it is rewritten to something else").hint(HINT)),
        };
        query_tree::check(query).map_err(|error| error.hint(HINT))?;
        Ok(query)
    }
}

/// # Safety
/// A started query.
unsafe fn run_for(running: *mut pg_sys::QueryDesc, rows: u64) {
    let forward = pg_sys::ScanDirection::ForwardScanDirection;
    // SAFETY: the caller's promise.
    #[cfg(feature = "pg18")]
    unsafe {
        pg_sys::ExecutorRun(running, forward, rows);
    }
    #[cfg(not(feature = "pg18"))]
    // SAFETY: as above.
    unsafe {
        pg_sys::ExecutorRun(running, forward, rows, true);
    }
}

/// The plan as EXPLAIN (FORMAT JSON) shows it, as `auto_explain` gets it.
///
/// # Safety
/// A started query; one that has run with instruments, where `analyze`.
unsafe fn explained(running: *mut pg_sys::QueryDesc, analyze: bool) -> Result<Option<Value>, SqlError> {
    // SAFETY: the caller's promise. The text is NUL-terminated.
    let text = unsafe {
        let state = pg_sys::NewExplainState();
        (*state).costs = true;
        (*state).analyze = analyze;
        (*state).timing = analyze;
        (*state).buffers = analyze;
        (*state).format = pg_sys::ExplainFormat::EXPLAIN_FORMAT_JSON;
        pg_sys::ExplainBeginOutput(state);
        pg_sys::ExplainPrintPlan(state, running);
        pg_sys::ExplainEndOutput(state);
        encoding::from_server(CStr::from_ptr((*(*state).str_).data).to_bytes())?
    };
    // It is made for a list of plans, whose brackets stand around the members of one.
    let members = text.trim().trim_start_matches('[').trim_end_matches(']');
    Ok(serde_json::from_str(&format!("{{{members}}}")).ok())
}

/// The plan of a statement that has passed all checks, by EXPLAIN.
///
/// # Safety
/// As [`execute`].
unsafe fn explained_by_statement(statement: &str) -> Result<Option<Value>, SqlError> {
    let failed = || SqlError::new(State::Internal, "pg_llm: the query cannot be explained");
    let command = format!("EXPLAIN (FORMAT JSON) {statement}");
    let command = CString::new(encoding::to_server(&command).into_owned()).map_err(|_| failed())?;
    // SAFETY: SPI as its manual has it. Of an ERROR the subtransaction takes care.
    let text = unsafe {
        if pg_sys::SPI_connect() < 0 {
            return Err(failed());
        }
        let done = guard::letting_explain(|| pg_sys::SPI_execute(command.as_ptr(), false, 1));
        let table = pg_sys::SPI_tuptable;
        if done < 0 || table.is_null() || pg_sys::SPI_processed < 1 {
            return Err(failed());
        }
        let shown = pg_sys::SPI_getvalue(*(*table).vals, (*table).tupdesc, 1);
        let text = if shown.is_null() { String::new() } else { encoding::from_server(CStr::from_ptr(shown).to_bytes())? };
        pg_sys::SPI_finish();
        text
    };
    let plans: Option<Vec<Value>> = serde_json::from_str(&text).ok();
    Ok(plans.and_then(|plans| plans.into_iter().next()))
}
