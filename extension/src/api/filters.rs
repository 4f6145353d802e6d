//! Filters: adding, removing, and what the view shows of the built-in ones.

use std::sync::Arc;
use std::time::Instant;

use pg_llm_sandbox::interrupt::Interrupt;
use pg_llm_sandbox::{CallError, Digest, Filter, Grant};
use serde_json::{Map, Value};

use super::{check_name, model_call, providers, required};
use crate::backend::calls::{Args, Returned, sql_functions};
use crate::backend::errors::{Failure, SqlError, State};
use crate::backend::interrupts::{self, MainThread};
use crate::backend::{gucs, privileges, runtime, stack};
use crate::catalog::filters::Component;
use crate::catalog::{builtin_filters, filters, modules};

sql_functions! {
    pg_llm_add_filter_wrapper, pg_finfo_pg_llm_add_filter_wrapper => add_filter;
    pg_llm_remove_filter_wrapper, pg_finfo_pg_llm_remove_filter_wrapper => remove_filter;
    pg_llm_builtin_filters_wrapper, pg_finfo_pg_llm_builtin_filters_wrapper => builtin_filters;
}

/// Longest configuration, in bytes: every call hands it to an instance.
const CONFIG_BYTES: usize = 256 << 10;

/// `(name, module, config, sha256, filter_type)`.
fn add_filter(args: &Args<'_>) -> Result<Returned, Failure> {
    let name = required(args.text(0)?, "name")?;
    check_name(&name, "name")?;
    if builtin_filters::names().any(|builtin| builtin == name) {
        return Err(SqlError::new(State::Duplicate, format!("pg_llm: \"{name}\" is a built-in filter"))
            .hint("Take another name, and this one as filter_type.")
            .into());
    }
    let config = config_text(args.json(2)?)?;
    let (module, sha256, filter_type) = (args.bytes(1), args.text(3)?, args.text(4)?);
    let role = privileges::current_role();
    let (filter_type, component) = match (module, filter_type) {
        (Some(module), None) => upload(&name, &module, sha256.as_deref(), &config)?,
        (None, _) if sha256.is_some() => {
            return Err(SqlError::new(State::InvalidArgument, "pg_llm: sha256 is given without a module").into());
        }
        (None, Some(filter_type)) => reuse(&name, &filter_type, &config)?,
        (module, _) => {
            let given = if module.is_some() { "both" } else { "neither" };
            return Err(SqlError::new(
                State::InvalidArgument,
                format!("pg_llm: one of module and filter_type is needed, and {given} is given"),
            )
            .hint("module is a component that is uploaded; filter_type names a filter that there is: SELECT name FROM pg_llm_filters.")
            .into());
        }
    };
    filters::set(&name, &filter_type, component, &config, role)?;
    Ok(Returned::Bool(true))
}

fn remove_filter(args: &Args<'_>) -> Result<Returned, Failure> {
    let name = required(args.text(0)?, "name")?;
    let removed = filters::remove(&name, privileges::current_role())?;
    if !removed && builtin_filters::names().any(|builtin| builtin == name) {
        return Err(SqlError::new(State::Forbidden, format!("pg_llm: filter \"{name}\" is part of the extension")).into());
    }
    Ok(Returned::Bool(removed))
}

fn config_text(config: Option<Value>) -> Result<String, SqlError> {
    let config = config.unwrap_or_else(|| Value::Object(Map::new()));
    if !config.is_object() {
        return Err(SqlError::new(State::InvalidArgument, "pg_llm: config must be a JSON object"));
    }
    let text = config.to_string();
    if text.len() > CONFIG_BYTES {
        return Err(SqlError::new(
            State::TooLarge,
            format!("pg_llm: config has {} bytes, and a filter's may have {CONFIG_BYTES}", text.len()),
        ));
    }
    Ok(text)
}

/// What a component of the caller's calls itself, and the component, once it is stored.
fn upload(name: &str, module: &[u8], sha256: Option<&str>, config: &str) -> Result<(String, Component), Failure> {
    let role = privileges::current_role();
    modules::check_may_upload(role)?;
    let (digest, compiled) = providers::compiled::<Filter>(module, sha256)?;
    check_config(name, &runtime::just_compiled(&digest, &compiled)?, config)?;
    modules::insert(&digest, module, &compiled, role)?;
    Ok((compiled.report.description.name, Component::Uploaded(digest)))
}

/// The component of a filter that there is, under what it calls itself.
fn reuse(name: &str, filter_type: &str, config: &str) -> Result<(String, Component), Failure> {
    let stored = filters::read(filter_type)?;
    if let Some((Component::Uploaded(digest), its_type)) = stored.as_ref().map(|stored| (stored.component, &stored.filter_type)) {
        // Its owner may have given it another one meanwhile.
        if !modules::hold(&digest)? {
            let message = format!("pg_llm: filter \"{filter_type}\" has just been changed by another session");
            return Err(SqlError::new(State::Undefined, message).into());
        }
        check_config(name, &uploaded(&digest)?, config)?;
        return Ok((its_type.clone(), Component::Uploaded(digest)));
    }
    let builtin = stored.as_ref().map_or(filter_type, |stored| &stored.filter_type);
    let component = builtin_filters::find(builtin)?.ok_or_else(|| filters::unknown(builtin))?;
    check_config(name, &runtime::builtin_filter(component)?, config)?;
    Ok((builtin.to_owned(), Component::Builtin))
}

fn uploaded(digest: &Digest) -> Result<Filter, Failure> {
    runtime::uploaded(digest, || modules::wasm(digest))
}

/// Asks the filter itself what it makes of a configuration, under the limits of a call.
fn check_config(name: &str, filter: &Filter, config: &str) -> Result<(), Failure> {
    stack::check_room()?;
    interrupts::check();
    let interrupt = MainThread::new();
    let deadline = Instant::now() + gucs::timeout();
    let grant = Grant::without_network(gucs::limits_now(), deadline, Arc::clone(&interrupt) as Arc<dyn Interrupt>);
    let outcome = filter.prompt(grant, config, &[]);
    interrupt.settle()?;
    model_call::log_filter(name, &outcome.log);
    let misbehaved = |detail: String| {
        SqlError::new(State::Guest, format!("pg_llm: filter \"{name}\" could not check its configuration: its module misbehaved"))
            .detail(detail)
    };
    match outcome.result {
        Ok(_) => Ok(()),
        Err(CallError::Failed(failure)) => {
            let words = pg_llm_gateway::clip(failure.message.trim(), 400);
            Err(SqlError::new(State::InvalidArgument, format!("pg_llm: filter \"{name}\" refuses its configuration: {words}"))
                .hint("What it takes: SELECT name, config_schema FROM pg_llm_filters.")
                .into())
        }
        Err(CallError::Guest(fault)) => Err(misbehaved(pg_llm_gateway::clip(&fault.to_string(), 1000)).into()),
        Err(CallError::TimedOut) => Err(misbehaved("It did not return in time.".to_owned()).into()),
        Err(CallError::Stopped) => Err(SqlError::new(State::Internal, "pg_llm: internal error: stopped without a cause").into()),
        Err(CallError::Host(what)) => {
            Err(SqlError::new(State::Internal, format!("pg_llm: filter \"{name}\" cannot be called: {what}")).into())
        }
        Err(CallError::Exhausted(what)) => {
            Err(SqlError::new(State::NoResources, format!("pg_llm: filter \"{name}\" cannot be called: {what}")).into())
        }
    }
}

fn builtin_filters(_: &Args<'_>) -> Result<Returned, Failure> {
    let reports = builtin_filters::all()?.iter().map(|b| serde_json::to_value(&b.report)).collect::<Result<Vec<_>, _>>();
    let reports = reports.map_err(|e| SqlError::new(State::Internal, format!("pg_llm: a report cannot be shown: {e}")))?;
    Ok(Returned::Json(reports.into()))
}
