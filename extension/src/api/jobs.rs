//! `pg_llm_submit` and its like: jobs, which [`super::job_runner`] runs.

use pg_llm_gateway::JobOptions;
use pg_llm_gateway::ledger::Uuid;
use serde_json::{Value, json};

use super::batch::{Drawn, Source};
use super::map::{Query, check_shape};
use super::model_call;
use crate::backend::calls::{Args, Returned, sql_functions};
use crate::backend::errors::{Failure, SqlError, State};
use crate::backend::{gucs, interrupts, job_worker, privileges, transaction};
use crate::catalog::jobs::{self, NewJob, NewRow};
use crate::catalog::route;

sql_functions! {
    pg_llm_submit_wrapper, pg_finfo_pg_llm_submit_wrapper => submit;
    pg_llm_submit_batch_wrapper, pg_finfo_pg_llm_submit_batch_wrapper => submit_batch;
    pg_llm_submit_map_wrapper, pg_finfo_pg_llm_submit_map_wrapper => submit_map;
    pg_llm_job_wrapper, pg_finfo_pg_llm_job_wrapper => job;
    pg_llm_cancel_job_wrapper, pg_finfo_pg_llm_cancel_job_wrapper => cancel_job;
    pg_llm_delete_job_wrapper, pg_finfo_pg_llm_delete_job_wrapper => delete_job;
}

/// `(instance_name, prompt, options)`.
fn submit(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(prompt) = args.text(1)? else { return Ok(Returned::Null) };
    submitted(args, false, |job| Ok(job.add(1, &NewRow { key: None, prompt: Some(&prompt), options: None })?))
}

/// `(instance_name, prompts, options)`.
fn submit_batch(args: &Args<'_>) -> Result<Returned, Failure> {
    if args.as_it_came(1).is_none() {
        return Ok(Returned::Null);
    }
    submitted(args, true, |job| job.add_all(args, 1).map(drop).map_err(Failure::from))
}

/// `(instance_name, query, options)`.
fn submit_map(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(query) = args.text(1)? else { return Ok(Returned::Null) };
    submitted(args, true, |job| {
        let mut query = Query::open(&query, args, check_shape)?;
        let mut ord = 0;
        while let Some(Drawn { key, prompt, options }) = query.draw()? {
            interrupts::check();
            ord += 1;
            let key = match &key {
                Returned::Jsonb(bytes) => Some(bytes.as_slice()),
                _ => None,
            };
            job.add(ord, &NewRow { key, prompt: prompt.as_deref(), options: options.as_ref() })?;
        }
        query.close()
    })
}

/// Checks all that can be known before the calls, as they would, and writes the job with the rows that `add` gives it.
fn submitted(args: &Args<'_>, many: bool, add: impl FnOnce(&NewJob<'_>) -> Result<(), Failure>) -> Result<Returned, Failure> {
    if transaction::in_recovery() {
        let error = SqlError::new(State::SetUp, "pg_llm: a job cannot be submitted on a standby, which has no job worker");
        return Err(error.hint("Submit it on the primary server; its results are seen here too.").into());
    }
    let options = args.json(2)?.unwrap_or_else(|| json!({}));
    let (own, chat) = JobOptions::parse(&options, many).map_err(SqlError::from)?;
    let instance = model_call::named(args)?;
    let role = privileges::current_role();
    route::resolve_chat(&instance, role, &chat)?;
    let id = Uuid::now_v7();
    let text = id.to_string();
    let settings = gucs::callers_own().into_iter().map(|(name, value)| (name, Value::String(value))).collect();
    let job = NewJob {
        id: &text,
        role,
        instance: &instance,
        options: &own.chat,
        settings: &Value::Object(settings),
        concurrency: own.concurrency,
        channel: own.channel.as_deref(),
    };
    job.insert()?;
    add(&job)?;
    job.finish()?;
    job_worker::wake_at_commit();
    Ok(Returned::Uuid(id.into_bytes()))
}

/// The job that the first argument names, in its text form.
fn named(args: &Args<'_>) -> Option<String> {
    args.uuid(0).map(|id| Uuid::from_bytes(id).to_string())
}

/// `(job_id)`.
fn job(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(id) = named(args) else { return Ok(Returned::Null) };
    let (shown, open) = jobs::show(&id, privileges::current_role())?
        .ok_or_else(|| SqlError::new(State::Undefined, format!("pg_llm: job {id} does not exist, or is not yours")))?;
    // Whoever looks brings back a worker for which there was no room, or that ended with a server that does not preload the library.
    if open && !transaction::in_recovery() {
        job_worker::wake_at_commit();
    }
    Ok(Returned::Json(shown))
}

/// `(job_id)`.
fn cancel_job(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(id) = named(args) else { return Ok(Returned::Null) };
    let cancelled = jobs::cancel(&id, privileges::current_role())?;
    if cancelled {
        job_worker::wake_at_commit();
    }
    Ok(Returned::Bool(cancelled))
}

/// `(job_id)`.
fn delete_job(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(id) = named(args) else { return Ok(Returned::Null) };
    Ok(Returned::Bool(jobs::delete(&id, privileges::current_role())?))
}
