//! The life of uploaded modules: inspection, versions, switch, limits, statistics, removal.

use pg_llm_sandbox::{Digest, unhex};
use serde_json::{Value, json};

use super::{providers, required};
use crate::backend::calls::{Args, Returned, sql_functions};
use crate::backend::errors::{Failure, SqlError, State};
use crate::backend::{compiler_process, module_statistics, privileges, shared_memory};
use crate::catalog::{builtin, module_state, modules};

sql_functions! {
    pg_llm_inspect_module_wrapper, pg_finfo_pg_llm_inspect_module_wrapper => inspect;
    pg_llm_set_provider_version_wrapper, pg_finfo_pg_llm_set_provider_version_wrapper => set_provider_version;
    pg_llm_remove_module_wrapper, pg_finfo_pg_llm_remove_module_wrapper => remove;
    pg_llm_enable_module_wrapper, pg_finfo_pg_llm_enable_module_wrapper => enable;
    pg_llm_set_module_limits_wrapper, pg_finfo_pg_llm_set_module_limits_wrapper => set_limits;
    pg_llm_module_statistics_wrapper, pg_finfo_pg_llm_module_statistics_wrapper => statistics;
    pg_llm_reset_module_statistics_wrapper, pg_finfo_pg_llm_reset_module_statistics_wrapper => reset_statistics;
}

/// `(module)`.
fn inspect(args: &Args<'_>) -> Result<Returned, Failure> {
    modules::check_may_upload(privileges::current_role())?;
    let Some(module) = args.bytes(0) else { return Ok(Returned::Null) };
    let inspection = match providers::check_size(&module) {
        Ok(()) => compiler_process::inspect(&module)?,
        Err(error) => compiler_process::not_accepted(&module, error),
    };
    let shown = serde_json::to_value(&inspection);
    Ok(Returned::Json(shown.map_err(|e| SqlError::new(State::Internal, format!("pg_llm: an inspection cannot be shown: {e}")))?))
}

/// `(model_type, sha256)`.
fn set_provider_version(args: &Args<'_>) -> Result<Returned, Failure> {
    let model_type = required(args.text(0)?, "model_type")?;
    let digest = digest(args, 1)?;
    if builtin::find(&model_type)?.is_some() {
        return Err(SqlError::new(State::Forbidden, format!("pg_llm: provider \"{model_type}\" is part of the extension")).into());
    }
    Ok(Returned::Bool(modules::set_version(&model_type, &digest, privileges::current_role())?))
}

/// `(sha256)`.
fn remove(args: &Args<'_>) -> Result<Returned, Failure> {
    Ok(Returned::Bool(module_state::remove(&digest(args, 0)?, privileges::current_role())?))
}

/// `(sha256, enabled)`.
fn enable(args: &Args<'_>) -> Result<Returned, Failure> {
    let digest = digest(args, 0)?;
    let enabled = required(args.boolean(1), "enabled")?;
    Ok(Returned::Bool(module_state::set_enabled(&digest, enabled, privileges::current_role())?))
}

/// `(sha256, limits)`.
fn set_limits(args: &Args<'_>) -> Result<Returned, Failure> {
    let digest = digest(args, 0)?;
    let limits = args.json(1)?.unwrap_or_else(|| json!({}));
    Ok(Returned::Bool(module_state::set_limits(&digest, &limits, privileges::current_role())?))
}

fn digest(args: &Args<'_>, index: usize) -> Result<Digest, SqlError> {
    let text = required(args.text(index)?, "sha256")?;
    unhex(text.trim().trim_start_matches("\\x")).ok_or_else(|| {
        SqlError::new(State::InvalidArgument, "pg_llm: sha256 must have 64 hexadecimal digits")
            .hint("pg_llm_modules, pg_llm_providers and pg_llm_provider_versions show it as digest.")
    })
}

/// `(sha256)`: who may see it is the view's business.
fn statistics(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(digest) = args.text(0)?.as_deref().and_then(unhex) else { return Ok(Returned::Null) };
    let shared = shared_memory::is_there();
    let Some(counts) = module_statistics::show(&digest) else {
        return Ok(Returned::Json(json!({ "calls": 0, "failures": 0, "cpu_ms": 0, "shared": shared })));
    };
    let called = |value: Value| if counts.calls > 0 { value } else { Value::Null };
    Ok(Returned::Json(json!({
        "calls": counts.calls,
        "failures": counts.faults,
        "cpu_ms": millis(counts.cpu),
        "max_cpu_ms": called(json!(millis(counts.most_cpu))),
        "max_memory_bytes": called(json!(counts.peak_memory)),
        "last_call_at": called(json!(seconds(counts.last))),
        "counted_since": seconds(counts.since),
        "shared": shared,
    })))
}

#[allow(clippy::cast_precision_loss, reason = "nanoseconds of less than a hundred days fit")]
fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

#[allow(clippy::cast_precision_loss, reason = "microseconds since 1970 fit until 2255")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// `(sha256)`. Who may is a matter of EXECUTE.
fn reset_statistics(args: &Args<'_>) -> Result<Returned, Failure> {
    let wanted = args.text(0)?.is_some().then(|| digest(args, 0)).transpose()?;
    Ok(Returned::Long(i64::try_from(module_statistics::reset(wanted.as_ref())).unwrap_or(i64::MAX)))
}
