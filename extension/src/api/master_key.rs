//! `pg_llm_rotate_master_key`, and what `pg_llm_master_keys` shows.

use serde_json::{Value, json};

use crate::backend::calls::{Args, Returned, sql_functions};
use crate::backend::errors::{Failure, SqlError};
use crate::backend::master_key::{self, Known};
use crate::catalog::keys;

sql_functions! {
    pg_llm_rotate_master_key_wrapper, pg_finfo_pg_llm_rotate_master_key_wrapper => rotate;
    pg_llm_master_keys_wrapper, pg_finfo_pg_llm_master_keys_wrapper => known;
}

/// `(new_key)`. Who may is the function's own privilege.
fn rotate(args: &Args<'_>) -> Result<Returned, Failure> {
    Ok(Returned::Long(keys::rotate(args.boolean(0).unwrap_or(true))?))
}

/// An array of objects.
fn known(_: &Args<'_>) -> Result<Returned, Failure> {
    let shown = |known: Known| {
        let (id, error) = match known.key.and_then(|key| key.id()) {
            Ok(id) => (Some(id), None),
            Err(SqlError { message, .. }) => (None, Some(message)),
        };
        json!({"id": id, "source": known.source, "is_current": known.is_current, "error": error})
    };
    Ok(Returned::Json(Value::Array(master_key::known()?.into_iter().map(shown).collect())))
}
