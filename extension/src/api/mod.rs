//! The SQL functions: decode, call, encode. One file a capability; the SQL side is in `sql/`.

mod batch;
mod cache;
mod chat;
mod chat_batch;
mod chat_stream;
mod default_privileges;
mod doctor;
mod embeddings;
mod limits;
mod map;
mod map_embeddings;
mod model_call;
mod model_list;
mod models;
mod parallel_chat;
mod providers;

use crate::backend::errors::{SqlError, State};

/// An argument that may not be NULL.
fn required<T>(argument: Option<T>, name: &str) -> Result<T, SqlError> {
    argument.ok_or_else(|| SqlError::new(State::InvalidArgument, format!("pg_llm: {name} must not be NULL")))
}
