//! `pg_llm_chat` and `pg_llm_chat_json`.

use pg_llm_gateway::{CallError, ChatCall, ChatOptions, ChatOutcome, OnError};

use super::model_call;
use crate::backend::calls::{Args, Returned, sql_functions};
use crate::backend::errors::{Failure, SqlError};
use crate::catalog::response_cache;

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
    model_call::refuse_error_objects(options.call.on_error, "Use pg_llm_chat_json(), or \"null\": an error is never text in the answer.")?;
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
            OnError::Object => Ok(Returned::Json(model_call::error_object(&called.instance, error))),
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
    let route = model_call::resolve_chat(args, &options)?;
    let on_error = model_call::on_error(options.call.on_error, &route);
    let call = ChatCall::new(route, prompt, options);
    let outcome = answered(&call)?;
    Ok(Called { outcome, instance: call.route().instance.clone(), on_error })
}

/// The answer that is kept, or the model's.
///
/// # Errors
/// What Postgres raised meanwhile. A call that failed is a result.
pub(super) fn answered(call: &ChatCall) -> Result<Result<ChatOutcome, CallError>, Failure> {
    if let Some(kept) = response_cache::find(call)? {
        return Ok(Ok(kept));
    }
    let outcome = model_call::run(|interrupt| call.run(interrupt))?;
    let answering = outcome.as_ref().map_or(&call.route().instance, |outcome| &outcome.instance);
    model_call::log_of(answering, &outcome, |outcome| &outcome.log);
    if let Ok(outcome) = &outcome {
        response_cache::keep(call, outcome)?;
    }
    Ok(outcome)
}
