//! What holds while a query that a model wrote runs: only queries that read, and only functions that [`function_rules`] lets pass, however deep.
//!
//! Reading the query's tree ([`query_tree`]) cannot find all that it does: a default, a cast that a function looks for, the body of an SQL or PL/pgSQL function that is called by one
//! that is called. Postgres itself passes all of these on its way to them, and asks whoever has a hook:
//! - `object_access_hook`, at each function that an expression calls, when the expression is made ready and nothing has run (built-in ones too; operators, aggregates,
//!   window functions and what the planner evaluates are such expressions);
//! - `needs_fmgr_hook`, at each function that is not built in and is looked up by its address, such as a type's input and output, or a cast that `to_json` finds;
//!   `fmgr_hook`, at those that change the role or settings;
//! - `ExecutorStart_hook`, at each query, those inside functions included;
//! - `ProcessUtility_hook`, at everything that is no query.
//!
//! The hooks are in place only while such a query runs, so that all others have their errors and their speed unchanged.
//!
//! [`function_rules`]: super::function_rules
//! [`query_tree`]: super::query_tree

use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_int, c_void};

use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

use super::errors::{Failure, SqlError, State, or_raise};
use super::function_rules::{self, Called};

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
    /// An EXPLAIN of ours may run, of a query that has passed all checks.
    static EXPLAINING: Cell<bool> = const { Cell::new(false) };
    static ALLOWED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// The first thing that was refused: a function that catches the error does not make it undone.
    static REFUSED: RefCell<Option<String>> = const { RefCell::new(None) };
    static FORMER: Cell<Hooks> = const { Cell::new(Hooks::NONE) };
    /// A library that was loaded meanwhile has ours as its former: they stay, and pass everything on.
    static STUCK: Cell<bool> = const { Cell::new(false) };
}

#[derive(Clone, Copy)]
struct Hooks {
    access: pg_sys::object_access_hook_type,
    needs: pg_sys::needs_fmgr_hook_type,
    call: pg_sys::fmgr_hook_type,
    start: pg_sys::ExecutorStart_hook_type,
    utility: pg_sys::ProcessUtility_hook_type,
}

impl Hooks {
    const NONE: Self = Self { access: None, needs: None, call: None, start: None, utility: None };
    const OURS: Self = Self {
        access: Some(function_in_expression),
        needs: Some(function_by_address),
        call: Some(function_called),
        start: Some(query_starts),
        utility: Some(utility_runs),
    };

    fn now() -> Self {
        // SAFETY: the backend's variables, on its main thread.
        unsafe {
            Self {
                access: pg_sys::object_access_hook,
                needs: pg_sys::needs_fmgr_hook,
                call: pg_sys::fmgr_hook,
                start: pg_sys::ExecutorStart_hook,
                utility: pg_sys::ProcessUtility_hook,
            }
        }
    }

    fn set(self) {
        // SAFETY: as above.
        unsafe {
            pg_sys::object_access_hook = self.access;
            pg_sys::needs_fmgr_hook = self.needs;
            pg_sys::fmgr_hook = self.call;
            pg_sys::ExecutorStart_hook = self.start;
            pg_sys::ProcessUtility_hook = self.utility;
        }
    }

    fn addresses(self) -> [Option<usize>; 5] {
        [
            self.access.map(|hook| hook as usize),
            self.needs.map(|hook| hook as usize),
            self.call.map(|hook| hook as usize),
            self.start.map(|hook| hook as usize),
            self.utility.map(|hook| hook as usize),
        ]
    }
}

/// While it lives, the rules hold.
pub(super) struct Guard(());

impl Guard {
    /// `allowed` are functions, as `schema.function`, that are let pass though they are declared VOLATILE or SECURITY DEFINER.
    ///
    /// # Errors
    /// Where a query of a model's runs already.
    pub(super) fn begin(allowed: Vec<String>) -> Result<Self, SqlError> {
        if ON.replace(true) {
            return Err(SqlError::new(State::Forbidden, "pg_llm: a generated query cannot have another one generated"));
        }
        ALLOWED.replace(allowed);
        REFUSED.replace(None);
        if !STUCK.get() {
            FORMER.set(Hooks::now());
            Hooks::OURS.set();
        }
        Ok(Self(()))
    }

    /// What was refused, if anything was.
    pub(super) fn refused() -> Option<String> {
        REFUSED.take()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        ON.set(false);
        if !STUCK.get() {
            if Hooks::now().addresses() == Hooks::OURS.addresses() {
                FORMER.get().set();
            } else {
                STUCK.set(true);
            }
        }
    }
}

/// Lets one EXPLAIN run in `body`, of which the caller knows that what is in it is a query that the rules let pass. What the planner calls is still checked.
pub(super) fn letting_explain<T>(body: impl FnOnce() -> T) -> T {
    struct Ended;
    impl Drop for Ended {
        fn drop(&mut self) {
            EXPLAINING.set(false);
        }
    }
    EXPLAINING.set(true);
    let _ended = Ended;
    body()
}

/// The error of something that a generated query may not do.
pub(super) fn refuse(why: &str) -> SqlError {
    if ON.get() {
        REFUSED.with_borrow_mut(|refused| {
            refused.get_or_insert_with(|| why.to_owned());
        });
    }
    SqlError::new(State::Forbidden, format!("pg_llm: a generated query was refused: {why}"))
}

/// Why an expression may not call this function.
pub(super) fn objection(function: Oid) -> Option<String> {
    ALLOWED.with_borrow(|allowed| function_rules::objection(function, Called::ByExpression, allowed))
}

fn check(function: Oid, called: Called) -> Result<(), Failure> {
    let objection = ALLOWED.with_borrow(|allowed| function_rules::objection(function, called, allowed));
    objection.map_or(Ok(()), |why| Err(refuse(&why).into()))
}

/// That a plan only reads, and only what is in this database.
///
/// # Safety
/// Of the planner.
pub(super) unsafe fn check_plan(plan: *mut pg_sys::PlannedStmt) -> Result<(), SqlError> {
    // SAFETY: the caller's promise; a list has as many elements as it says.
    unsafe {
        if (*plan).commandType != pg_sys::CmdType::CMD_SELECT || (*plan).hasModifyingCTE {
            return Err(refuse("it changes data"));
        }
        if !(*plan).rowMarks.is_null() {
            return Err(refuse("it locks rows (FOR UPDATE, FOR SHARE)"));
        }
        if let Some(tables) = (*plan).rtable.as_ref() {
            for at in 0..usize::try_from(tables.length).unwrap_or(0) {
                let table: *mut pg_sys::RangeTblEntry = (*tables.elements.add(at)).ptr_value.cast();
                if (*table).rtekind == pg_sys::RTEKind::RTE_RELATION && (*table).relkind.to_ne_bytes() == [pg_sys::RELKIND_FOREIGN_TABLE] {
                    return Err(refuse("it reads a foreign table, and what that does is decided elsewhere"));
                }
            }
        }
        Ok(())
    }
}

#[pgrx::pg_guard]
#[allow(ffi_unwind_calls, reason = "the boundary turns an ERROR into a panic")]
unsafe extern "C-unwind" fn function_in_expression(
    access: pg_sys::ObjectAccessType::Type,
    class: Oid,
    object: Oid,
    part: c_int,
    argument: *mut c_void,
) {
    if let Some(former) = FORMER.get().access {
        // SAFETY: the hook that was there before, with what it was to be given.
        unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| former(access, class, object, part, argument)) }
    }
    if ON.get() && access == pg_sys::ObjectAccessType::OAT_FUNCTION_EXECUTE {
        or_raise(|| check(object, Called::ByExpression));
    }
}

#[pgrx::pg_guard]
#[allow(ffi_unwind_calls, reason = "the boundary turns an ERROR into a panic")]
unsafe extern "C-unwind" fn function_by_address(function: Oid) -> bool {
    if ON.get() {
        or_raise(|| check(function, Called::Directly));
    }
    // SAFETY: as above.
    FORMER.get().needs.is_some_and(|former| unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| former(function)) })
}

#[pgrx::pg_guard]
#[allow(ffi_unwind_calls, reason = "the boundary turns an ERROR into a panic")]
unsafe extern "C-unwind" fn function_called(
    event: pg_sys::FmgrHookEventType::Type,
    function: *mut pg_sys::FmgrInfo,
    argument: *mut pg_sys::Datum,
) {
    if ON.get() && event == pg_sys::FmgrHookEventType::FHET_START {
        // SAFETY: Postgres gives the function that it is about to call.
        let function = unsafe { (*function).fn_oid };
        or_raise(|| check(function, Called::Directly));
    }
    if let Some(former) = FORMER.get().call {
        // SAFETY: as above.
        unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| former(event, function, argument)) }
    }
}

#[pgrx::pg_guard]
#[allow(ffi_unwind_calls, reason = "the boundary turns an ERROR into a panic")]
unsafe extern "C-unwind" fn query_starts(query: *mut pg_sys::QueryDesc, flags: c_int) {
    if ON.get() {
        // SAFETY: Postgres gives a query with its plan.
        or_raise(|| unsafe { Ok(check_plan((*query).plannedstmt)?) });
    }
    // SAFETY: as above, or what Postgres would call without a hook.
    unsafe {
        match FORMER.get().start {
            Some(former) => pg_sys::ffi::pg_guard_ffi_boundary(|| former(query, flags)),
            None => pg_sys::standard_ExecutorStart(query, flags),
        }
    }
}

#[pgrx::pg_guard]
#[allow(ffi_unwind_calls, reason = "the boundary turns an ERROR into a panic")]
#[allow(clippy::too_many_arguments, reason = "Postgres's")]
unsafe extern "C-unwind" fn utility_runs(
    statement: *mut pg_sys::PlannedStmt,
    text: *const c_char,
    read_only_tree: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    parameters: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    receiver: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: Postgres gives a utility statement.
    let is_explain = unsafe { (*(*statement).utilityStmt).type_ == pg_sys::NodeTag::T_ExplainStmt };
    if ON.get() && !(is_explain && EXPLAINING.take()) {
        or_raise(|| Err::<(), _>(refuse("it runs what is no query").into()));
    }
    // SAFETY: as above.
    unsafe {
        match FORMER.get().utility {
            Some(former) => pg_sys::ffi::pg_guard_ffi_boundary(|| {
                former(statement, text, read_only_tree, context, parameters, environment, receiver, completion);
            }),
            None => {
                pg_sys::standard_ProcessUtility(statement, text, read_only_tree, context, parameters, environment, receiver, completion);
            }
        }
    }
}
