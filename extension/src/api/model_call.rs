//! What every call of a model has in common: who is called, the interrupt that ends it, what the adapter logged.

use std::sync::{Arc, Mutex, PoisonError};

use pg_llm_gateway::{CallError, CallLog, ChatOptions, OnError, Route};
use pg_llm_sandbox::LogLine;
use pg_llm_sandbox::interrupt::Interrupt;
use pgrx::PgLogLevel;
use serde_json::{Value, json};

use crate::backend::calls::Args;
use crate::backend::errors::{self, Failure, SqlError, State};
use crate::backend::interrupts::{self, MainThread};
use crate::backend::{gucs, privileges, stack, transaction};
use crate::catalog::route;

/// The model that the function's first argument names, else the one of `pg_llm.default_model`, for the current role.
pub(super) fn resolve(args: &Args<'_>) -> Result<Route, Failure> {
    let instance = named(args)?;
    route::resolve(&instance, privileges::current_role())
}

/// The same for a chat, with the models that it falls back to.
pub(super) fn resolve_chat(args: &Args<'_>, options: &ChatOptions) -> Result<Route, Failure> {
    let instance = named(args)?;
    route::resolve_chat(&instance, privileges::current_role(), options)
}

pub(super) fn named(args: &Args<'_>) -> Result<String, Failure> {
    let instance = args.text(0)?.or_else(gucs::default_model).ok_or_else(|| {
        SqlError::new(State::InvalidArgument, "pg_llm: no model is named").hint("Give instance_name, or set pg_llm.default_model.")
    })?;
    stack::check_room()?;
    interrupts::check();
    Ok(instance)
}

/// Runs `call` where Postgres's interrupts end it.
///
/// # Errors
/// What Postgres raised meanwhile. What the provider failed with is a result, which [`log`] wants to see.
pub(super) fn run<T>(call: impl FnOnce(&Arc<dyn Interrupt>) -> Result<T, CallError>) -> Result<Result<T, CallError>, Failure> {
    let interrupt = MainThread::new();
    let outcome = call(&(Arc::clone(&interrupt) as Arc<dyn Interrupt>));
    interrupt.settle()?;
    Ok(outcome)
}

/// What the adapter logged, for who asks for it with `log_min_messages` or `client_min_messages`.
pub(super) fn log<T>(route: &Route, outcome: &Result<T, CallError>, of_success: impl FnOnce(&T) -> &CallLog) {
    log_of(&route.instance, outcome, of_success);
}

/// The same for the model of this name.
pub(super) fn log_of<T>(instance: &str, outcome: &Result<T, CallError>, of_success: impl FnOnce(&T) -> &CallLog) {
    log_lines(
        instance,
        match outcome {
            Ok(success) => of_success(success),
            Err(error) => &error.log,
        },
    );
}

/// The same of a log that is there. What filters have not let through is for the server's log alone.
pub(super) fn log_lines(instance: &str, log: &CallLog) {
    warn(log.warnings());
    log_guest("provider of model", instance, log.lines());
    if !log.private().is_empty() && errors::guest_logs_kept() {
        for line in log.private() {
            errors::emit(PgLogLevel::LOG_SERVER_ONLY, &said("provider of model", instance, line));
        }
    }
}

/// What a filter logged.
pub(super) fn log_filter(name: &str, lines: &[LogLine]) {
    log_guest("filter", name, lines);
}

fn log_guest(what: &str, name: &str, lines: &[LogLine]) {
    if !lines.is_empty() && errors::guest_logs_wanted() {
        for line in lines {
            errors::emit(errors::GUEST_LOG_LEVEL, &said(what, name, line));
        }
    }
}

fn said(what: &str, name: &str, line: &LogLine) -> String {
    format!("pg_llm: {what} \"{name}\": {:?}: {}", line.level, line.text)
}

/// What the caller has to know though the call goes on. Once a statement: each row may say the same.
pub(super) fn warn(warnings: &[String]) {
    static SAID: Mutex<(i64, Vec<String>)> = Mutex::new((0, Vec::new()));
    if warnings.is_empty() {
        return;
    }
    let statement = transaction::statement_began();
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.0 != statement {
        *said = (statement, Vec::new());
    }
    let fresh: Vec<&String> = warnings.iter().filter(|warning| !said.1.contains(warning)).collect();
    said.1.extend(fresh.iter().map(|warning| (*warning).clone()));
    drop(said);
    for warning in fresh {
        errors::emit(PgLogLevel::WARNING, &format!("pg_llm: {warning}"));
    }
}

/// What a failure is to become: as the call says, else its model, else the setting.
pub(super) fn on_error(called: Option<OnError>, route: &Route) -> OnError {
    called.or(route.spec.defaults.call.on_error).unwrap_or_else(|| gucs::on_error().into())
}

/// 22023 for functions that have no column for an error.
pub(super) fn refuse_error_objects(called: Option<OnError>, instead: &str) -> Result<(), SqlError> {
    if called != Some(OnError::Object) {
        return Ok(());
    }
    Err(SqlError::new(State::InvalidArgument, "pg_llm: on_error \"object\" is for functions that return JSON").hint(instead))
}

/// A failure as the result of a function that returns JSON.
pub(super) fn error_object(instance: &str, error: CallError) -> Value {
    let attempts = error.attempts;
    json!({ "instance_name": instance, "response": null, "attempts": attempts, "error": error_json(error) })
}

/// A failure in SQL's terms.
pub(super) fn error_json(error: CallError) -> Value {
    let kind = error.kind.name();
    let mut members = error_members(&SqlError::from(error));
    members["kind"] = json!(kind);
    members
}

/// An error as an object.
pub(super) fn error_members(error: &SqlError) -> Value {
    json!({ "sqlstate": error.state.sqlstate(), "message": error.message, "detail": error.detail, "hint": error.hint })
}
