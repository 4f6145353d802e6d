//! `pg_llm_cache_clear`.

use crate::backend::calls::{Args, Returned, sql_functions};
use crate::backend::errors::Failure;
use crate::backend::privileges;
use crate::catalog::response_cache;

sql_functions! {
    pg_llm_cache_clear_wrapper, pg_finfo_pg_llm_cache_clear_wrapper => clear;
}

/// `(instance_name)`; NULL for all.
fn clear(args: &Args<'_>) -> Result<Returned, Failure> {
    let deleted = response_cache::clear(args.text(0)?.as_deref(), privileges::current_role())?;
    Ok(Returned::Long(deleted))
}
