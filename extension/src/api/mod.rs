//! The SQL functions: decode, call, encode. One file a capability; the SQL side is in `sql/`.

mod analysis;
mod batch;
mod budgets;
mod cache;
mod chat;
mod chat_batch;
mod chat_stream;
mod default_privileges;
mod doctor;
mod embeddings;
mod feedback;
mod filters;
mod job_runner;
mod jobs;
mod ledger;
mod limits;
mod map;
mod map_embeddings;
mod master_key;
mod model_call;
mod model_list;
mod models;
mod modules;
mod notes;
mod parallel_chat;
mod providers;
mod query_bounds;
mod reports;
mod schema_context;
mod schema_vectors;
mod session_chat;
mod sessions;
mod text2sql;

use crate::backend::errors::{SqlError, State};

/// An argument that may not be NULL.
fn required<T>(argument: Option<T>, name: &str) -> Result<T, SqlError> {
    argument.ok_or_else(|| SqlError::new(State::InvalidArgument, format!("pg_llm: {name} must not be NULL")))
}

/// Longest name of a model, a key or a filter, in bytes.
const NAME_BYTES: usize = 255;

fn check_name(name: &str, what: &str) -> Result<(), SqlError> {
    if (1..=NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(SqlError::new(State::InvalidArgument, format!("pg_llm: {what} must have 1 to {NAME_BYTES} bytes and no control characters")))
}
