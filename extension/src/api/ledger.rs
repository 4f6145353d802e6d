//! `pg_llm_get_audit_log`, `pg_llm_get_trace`, `pg_llm_flush_ledger` and `pg_llm_ledger_state`.

use std::time::Duration;

use pg_llm_gateway::ledger::Uuid;
use serde_json::{Value, json};

use crate::backend::calls::{Args, Returned, sql_functions};
use crate::backend::errors::{Failure, SqlError, State};
use crate::backend::rows::{Rows, ready, sql_set_functions};
use crate::backend::{ledger, privileges, transaction};
use crate::catalog::ledger::{self as table, Wanted};

sql_functions! {
    pg_llm_get_trace_wrapper, pg_finfo_pg_llm_get_trace_wrapper => get_trace;
    pg_llm_flush_ledger_wrapper, pg_finfo_pg_llm_flush_ledger_wrapper => flush;
}
sql_set_functions! {
    pg_llm_get_audit_log_wrapper, pg_finfo_pg_llm_get_audit_log_wrapper => audit_log;
    pg_llm_ledger_state_wrapper, pg_finfo_pg_llm_ledger_state_wrapper => state;
}

/// Rows that are given where nobody says.
const ROWS: i64 = 100;
const MOST_ROWS: i64 = 100_000;
const OPTIONS: [&str; 8] = ["instance_name", "session_id", "event_type", "outcome", "request_id", "since", "until", "limit"];

fn invalid(message: String) -> SqlError {
    SqlError::new(State::InvalidArgument, message)
}

fn options(given: &Value) -> Result<Wanted, SqlError> {
    let Some(given) = given.as_object() else { return Err(invalid("pg_llm: options must be an object".to_owned())) };
    let mut wanted = Wanted { most: ROWS, ..Wanted::default() };
    for (name, value) in given {
        if value.is_null() {
            continue;
        }
        let place = match name.as_str() {
            "instance_name" => &mut wanted.instance,
            "session_id" => &mut wanted.session,
            "event_type" => &mut wanted.event_type,
            "outcome" => &mut wanted.outcome,
            "request_id" => &mut wanted.request,
            "since" => &mut wanted.since,
            "until" => &mut wanted.until,
            "limit" => {
                wanted.most = value
                    .as_i64()
                    .filter(|most| (1..=MOST_ROWS).contains(most))
                    .ok_or_else(|| invalid(format!("pg_llm: option \"limit\" must be an integer from 1 to {MOST_ROWS}")))?;
                continue;
            }
            other => {
                let known = OPTIONS.map(|name| format!("\"{name}\"")).join(", ");
                return Err(invalid(format!("pg_llm: unknown option \"{}\"", pg_llm_gateway::clip(other, 50)))
                    .hint(format!("Options are {known}.")));
            }
        };
        let Some(text) = value.as_str() else { return Err(invalid(format!("pg_llm: option \"{name}\" must be a string"))) };
        *place = Some(text.to_owned());
    }
    Ok(wanted)
}

/// `(options)`.
fn audit_log(args: &Args<'_>) -> Result<Option<Box<dyn Rows>>, Failure> {
    let wanted = options(&args.json(0)?.unwrap_or_else(|| json!({})))?;
    let rows = table::audit_log(privileges::current_role(), &wanted)?;
    let text = |text: Option<String>| text.map_or(Returned::Null, Returned::Text);
    let mut shown = Vec::with_capacity(rows.len());
    for row in rows {
        let id: [u8; 16] = row.bytes(0).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
        let confidence = row.text(5)?.and_then(|text| text.parse().ok());
        shown.push(vec![
            Returned::Uuid(id),
            text(row.text(1)?),
            text(row.text(2)?),
            text(row.text(3)?),
            Returned::Bool(row.boolean(4)),
            confidence.map_or(Returned::Null, Returned::Float),
            Returned::Json(object(&row.required_text(6)?)?),
        ]);
    }
    Ok(ready(shown))
}

fn object(text: &str) -> Result<Value, SqlError> {
    serde_json::from_str(text).map_err(|_| SqlError::new(State::Internal, "pg_llm: a row of the ledger cannot be read"))
}

/// `(request_id)`; NULL where there is none that the current role may see.
fn get_trace(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(id) = args.uuid(0) else { return Ok(Returned::Null) };
    let mut events = Vec::new();
    for row in table::trace(&id, privileges::current_role())? {
        events.push(object(&row.required_text(0)?)?);
    }
    if events.is_empty() {
        return Ok(Returned::Null);
    }
    Ok(Returned::Json(json!({ "request_id": Uuid::from_bytes(id), "events": events })))
}

/// `(timeout_ms)`.
fn flush(args: &Args<'_>) -> Result<Returned, Failure> {
    let timeout = args
        .int(0)
        .and_then(|ms| u64::try_from(ms).ok())
        .ok_or_else(|| invalid("pg_llm: timeout_ms must not be negative or NULL".to_owned()))?;
    Ok(Returned::Bool(ledger::flush(Duration::from_millis(timeout))?))
}

/// What becomes of entries here, and how many there were.
#[allow(clippy::unnecessary_wraps, reason = "as all functions of its kind")]
fn state(_: &Args<'_>) -> Result<Option<Box<dyn Rows>>, Failure> {
    let kept = match (ledger::counts(), transaction::in_recovery()) {
        (None, _) => "nowhere",
        (Some(_), false) => "table",
        (Some(_), true) => "log",
    };
    let counts = ledger::counts();
    let long = |count: Option<u64>| count.map_or(Returned::Null, |count| Returned::Long(i64::try_from(count).unwrap_or(i64::MAX)));
    Ok(ready(vec![vec![
        Returned::Text(kept.to_owned()),
        long(counts.as_ref().map(|counts| counts.written)),
        long(counts.as_ref().map(|counts| counts.dropped)),
        counts.map_or(Returned::Null, |counts| Returned::Bool(counts.waiting)),
    ]]))
}
