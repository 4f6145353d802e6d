//! Uploaded providers, and what the views show of all.

use pg_llm_sandbox::report::{Report, is_model_type};
use pg_llm_sandbox::{Digest, Provider, hex, sha256};
use serde_json::json;

use super::required;
use crate::backend::calls::{Args, Returned, sql_functions};
use crate::backend::compiler_process::Compiled;
use crate::backend::errors::{Failure, SqlError, State};
use crate::backend::runtime::Code;
use crate::backend::{gucs, privileges, runtime};
use crate::catalog::{builtin, module_state, modules};

sql_functions! {
    pg_llm_add_provider_wrapper, pg_finfo_pg_llm_add_provider_wrapper => add_provider;
    pg_llm_remove_provider_wrapper, pg_finfo_pg_llm_remove_provider_wrapper => remove_provider;
    pg_llm_builtin_providers_wrapper, pg_finfo_pg_llm_builtin_providers_wrapper => builtin_providers;
    pg_llm_call_limits_wrapper, pg_finfo_pg_llm_call_limits_wrapper => call_limits;
}

fn add_provider(args: &Args<'_>) -> Result<Returned, Failure> {
    let model_type = required(args.text(0)?, "model_type")?;
    let module = required(args.bytes(1), "module")?;
    let limits = args.json(3)?;
    upload(&model_type, &module, args.text(2)?.as_deref())?;
    if let Some(limits) = limits {
        module_state::set_limits(&sha256(&module), &limits, privileges::current_role())?;
    }
    Ok(Returned::Bool(true))
}

fn remove_provider(args: &Args<'_>) -> Result<Returned, Failure> {
    let model_type = required(args.text(0)?, "model_type")?;
    if builtin::find(&model_type)?.is_some() {
        return Err(SqlError::new(State::Forbidden, format!("pg_llm: provider \"{model_type}\" is part of the extension")).into());
    }
    Ok(Returned::Bool(modules::remove_provider(&model_type, privileges::current_role())?))
}

/// Checks and compiles a component, stores it, and makes it the provider `model_type`.
pub(super) fn upload(model_type: &str, module: &[u8], expected: Option<&str>) -> Result<(), Failure> {
    if !is_model_type(model_type) {
        return Err(SqlError::new(State::InvalidArgument, format!("pg_llm: \"{model_type}\" cannot name a provider"))
            .hint("Names have 1 to 63 lower-case letters, digits and hyphens.")
            .into());
    }
    if builtin::find(model_type)?.is_some() {
        return Err(SqlError::new(State::Duplicate, format!("pg_llm: \"{model_type}\" is a built-in provider"))
            .hint("Upload the module under another name.")
            .into());
    }
    let role = privileges::current_role();
    let (digest, compiled) = compiled::<Provider>(module, expected)?;
    modules::insert(&digest, module, &compiled, role)?;
    modules::set_provider(model_type, &digest, profile_name(&compiled.report, model_type)?, role)?;
    Ok(())
}

/// Checks and compiles a component. Its code is in the cache before anything is written: code that nothing refers to does no harm, rows without code would.
pub(super) fn compiled<C: Code>(module: &[u8], expected: Option<&str>) -> Result<(Digest, Compiled<C::Description>), Failure> {
    check_size(module)?;
    let digest = sha256(module);
    check_digest(&digest, expected)?;
    modules::refuse_disabled(&digest)?;
    let cache = runtime::code_cache()?;
    let compiled = C::compile(module)?;
    runtime::keep_compiled(&cache, &digest, &compiled.artefact);
    Ok((digest, compiled))
}

/// Fails for a component that is larger than the setting allows.
pub(super) fn check_size(module: &[u8]) -> Result<(), SqlError> {
    if module.len() <= gucs::max_module_bytes() {
        return Ok(());
    }
    let message = format!("pg_llm: the module has {} bytes, and {} are allowed", module.len(), gucs::max_module_bytes());
    Err(SqlError::new(State::TooLarge, message).hint("A superuser can raise pg_llm.max_module_bytes."))
}

/// The profile that an uploaded provider has: the one of its name, else its first.
fn profile_name<'a>(report: &'a Report, model_type: &str) -> Result<&'a str, SqlError> {
    let description = &report.description;
    let profile = description.profile(model_type).or(description.profiles.first());
    profile.map(|p| p.name.as_str()).ok_or_else(|| SqlError::new(State::Guest, "pg_llm: the module describes no profile"))
}

fn check_digest(digest: &Digest, expected: Option<&str>) -> Result<(), SqlError> {
    let Some(expected) = expected else { return Ok(()) };
    let wanted = expected.trim().trim_start_matches("\\x").to_ascii_lowercase();
    if wanted == hex(digest) {
        return Ok(());
    }
    Err(SqlError::new(State::InvalidArgument, "pg_llm: the module does not have the sha256 that was given")
        .detail(format!("It has {}.", hex(digest)))
        .hint("sha256 is written as 64 hexadecimal digits."))
}

fn builtin_providers(_: &Args<'_>) -> Result<Returned, Failure> {
    let reports = builtin::all()?.iter().map(|b| serde_json::to_value(&b.report)).collect::<Result<Vec<_>, _>>();
    let reports = reports.map_err(|e| SqlError::new(State::Internal, format!("pg_llm: a report cannot be shown: {e}")))?;
    Ok(Returned::Json(reports.into()))
}

/// `(of_module)`.
fn call_limits(args: &Args<'_>) -> Result<Returned, Failure> {
    let mut limits = gucs::limits_now();
    if let Some(of_module) = args.json(0)? {
        module_state::limits(&of_module)?.tighten(&mut limits);
    }
    Ok(Returned::Json(json!({
        "memory_bytes": limits.memory_bytes,
        "table_elements": limits.table_elements,
        "instances": limits.instances,
        "cpu_ms": u64::try_from(limits.cpu.as_millis()).unwrap_or(u64::MAX),
        "request_bytes": limits.request_bytes,
        "response_bytes": limits.response_bytes,
        "log_bytes": limits.log_bytes,
        "http_requests": limits.http_requests,
        "timeout_ms": u64::try_from(gucs::timeout().as_millis()).unwrap_or(u64::MAX),
    })))
}
