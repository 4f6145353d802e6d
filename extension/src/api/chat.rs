//! `pg_llm_chat` and `pg_llm_chat_json`.

use std::sync::Arc;

use pg_llm_gateway::{CallError, ChatOptions, ChatOutcome, OnError, chat as call_model};
use pg_llm_sandbox::LogLine;
use pg_llm_sandbox::interrupt::Interrupt;
use serde_json::{Value, json};

use crate::backend::calls::{Args, Returned, sql_functions};
use crate::backend::errors::{self, Failure, SqlError, State};
use crate::backend::interrupts::{self, MainThread};
use crate::backend::{gucs, privileges, stack};
use crate::catalog::route;

sql_functions! {
    pg_llm_chat_wrapper, pg_finfo_pg_llm_chat_wrapper => chat;
    pg_llm_chat_json_wrapper, pg_finfo_pg_llm_chat_json_wrapper => chat_json;
}

/// A call that went all the way, or failed beyond Postgres.
struct Called {
    outcome: Result<ChatOutcome, CallError>,
    instance: String,
    on_error: OnError,
}

/// `(instance_name, prompt)` and `(instance_name, prompt, options)`.
fn chat(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(prompt) = args.text(1)? else { return Ok(Returned::Null) };
    let options = options(args)?;
    if options.on_error == Some(OnError::Object) {
        return Err(SqlError::new(State::InvalidArgument, "pg_llm: on_error \"object\" is for functions that return JSON")
            .hint("Use pg_llm_chat_json(), or \"null\": an error is never text in the answer.")
            .into());
    }
    let called = call(args, &prompt, options)?;
    match called.outcome {
        Ok(outcome) => Ok(Returned::Text(outcome.text())),
        Err(_) if called.on_error == OnError::Null => Ok(Returned::Null),
        Err(error) => Err(SqlError::from(error).into()),
    }
}

fn chat_json(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(prompt) = args.text(1)? else { return Ok(Returned::Null) };
    let called = call(args, &prompt, options(args)?)?;
    match called.outcome {
        Ok(outcome) => Ok(Returned::Json(outcome.to_json())),
        Err(error) => match called.on_error {
            OnError::Error => Err(SqlError::from(error).into()),
            OnError::Null => Ok(Returned::Null),
            OnError::Object => Ok(Returned::Json(error_object(&called.instance, error))),
        },
    }
}

fn options(args: &Args<'_>) -> Result<ChatOptions, SqlError> {
    match args.json(2)? {
        Some(options) => Ok(ChatOptions::parse(&options)?),
        None => Ok(ChatOptions::default()),
    }
}

fn call(args: &Args<'_>, prompt: &str, options: ChatOptions) -> Result<Called, Failure> {
    let instance = args.text(0)?.or_else(gucs::default_model).ok_or_else(|| {
        SqlError::new(State::InvalidArgument, "pg_llm: no model is named").hint("Give instance_name, or set pg_llm.default_model.")
    })?;
    stack::check_room()?;
    interrupts::check();
    let route = route::resolve(&instance, privileges::current_role())?;
    let on_error = options.on_error.or(route.spec.defaults.on_error).unwrap_or_else(|| gucs::on_error().into());

    let interrupt = MainThread::new();
    let outcome = call_model(&route, prompt, options, &(Arc::clone(&interrupt) as Arc<dyn Interrupt>));
    interrupt.settle()?;
    log(
        &instance,
        match &outcome {
            Ok(outcome) => &outcome.log,
            Err(error) => &error.log,
        },
    );
    Ok(Called { outcome, instance, on_error })
}

/// What the adapter logged, for who asks for it with `log_min_messages` or `client_min_messages`.
fn log(instance: &str, lines: &[LogLine]) {
    if !lines.is_empty() && errors::guest_logs_wanted() {
        for line in lines {
            errors::emit(errors::GUEST_LOG_LEVEL, &format!("pg_llm: provider of model \"{instance}\": {:?}: {}", line.level, line.text));
        }
    }
}

fn error_object(instance: &str, error: CallError) -> Value {
    let attempts = error.attempts;
    let error = SqlError::from(error);
    json!({
        "instance_name": instance,
        "response": null,
        "attempts": attempts,
        "error": { "sqlstate": error.state.sqlstate(), "message": error.message, "detail": error.detail, "hint": error.hint },
    })
}
