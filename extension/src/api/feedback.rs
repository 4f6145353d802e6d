//! `pg_llm_record_feedback`.

use std::time::Duration;

use pg_llm_gateway::ledger::Uuid;
use pgrx::pg_sys::Oid;
use serde_json::json;

use super::required;
use crate::backend::calls::{Args, Returned, sql_functions};
use crate::backend::errors::{Failure, SqlError, State};
use crate::backend::{ledger, privileges, transaction};
use crate::catalog::feedback::{self, Answerer, Rating};
use crate::catalog::notes;

sql_functions! {
    pg_llm_record_feedback_wrapper, pg_finfo_pg_llm_record_feedback_wrapper => record;
}

/// How long a row of the ledger is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// `(request_id, rating, feedback, metadata)`.
fn record(args: &Args<'_>) -> Result<Returned, Failure> {
    let request_id = required(args.uuid(0), "request_id")?;
    let rating = required(args.int(1), "rating")?;
    if !(1..=5).contains(&rating) {
        return Err(invalid(format!("rating must be from 1 to 5, not {rating}")).hint("1 is of no use, 5 is just right.").into());
    }
    let words = args.text(2)?;
    let metadata = args.json(3)?.unwrap_or_else(|| json!({}));
    if !metadata.is_object() {
        return Err(invalid("metadata must be a JSON object").into());
    }
    if !transaction::may_write() {
        return Err(SqlError::new(State::ReadOnly, "pg_llm: feedback cannot be recorded in a read-only transaction").into());
    }
    let (role, request_id) = (privileges::current_role(), Uuid::from_bytes(request_id).to_string());
    let answerer = answerer(&request_id, role)?;
    let rating = Rating { stars: rating, words: words.as_deref(), metadata: &metadata };
    let id = feedback::record(&request_id, role, &answerer, &rating)?;
    // A question in words that was answered well is an example for the next ones.
    notes::rated(role, &request_id, rating.stars)?;
    Ok(Returned::Long(id))
}

/// Who answered this call. Its row may be written in this moment.
fn answerer(request_id: &str, role: Oid) -> Result<Answerer, Failure> {
    if let Some(answerer) = feedback::answerer(request_id, role)? {
        return Ok(answerer);
    }
    if ledger::counts().is_none() {
        return Err(SqlError::new(State::SetUp, "pg_llm: no ledger is kept, so that it is not known whose call this is")
            .hint("The server's administrator adds pg_llm to shared_preload_libraries.")
            .into());
    }
    ledger::flush(PATIENCE)?;
    feedback::answerer(request_id, role)?.ok_or_else(|| {
        SqlError::new(State::Undefined, format!("pg_llm: there is no call {request_id} of yours in the ledger"))
            .hint("It is the request_id of a call that you made, until the ledger forgets it.")
            .into()
    })
}

fn invalid(what: impl std::fmt::Display) -> SqlError {
    SqlError::new(State::InvalidArgument, format!("pg_llm: {what}"))
}
