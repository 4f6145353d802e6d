//! `pg_llm_list_models`: what an endpoint offers.

use super::model_call;
use crate::backend::calls::{Args, Returned};
use crate::backend::errors::{Failure, SqlError};
use crate::backend::rows::{Rows, ready, sql_set_functions};

sql_set_functions! {
    pg_llm_list_models_wrapper, pg_finfo_pg_llm_list_models_wrapper => list_models;
}

/// `(instance_name)`: asked with that model's endpoint and key.
fn list_models(args: &Args<'_>) -> Result<Option<Box<dyn Rows>>, Failure> {
    let route = model_call::resolve(args)?;
    let outcome = model_call::run(|interrupt| pg_llm_gateway::list_models(&route, interrupt))?;
    model_call::log(&route, &outcome, |(_, log)| log);
    let (models, _) = outcome.map_err(SqlError::from)?;
    let tokens = |count: Option<u64>| count.and_then(|count| i64::try_from(count).ok()).map_or(Returned::Null, Returned::Long);
    let row = |model: pg_llm_sandbox::types::ModelInfo| {
        vec![
            Returned::Text(model.id),
            model.display_name.map_or(Returned::Null, Returned::Text),
            tokens(model.context_window),
            tokens(model.max_output_tokens),
            model.raw.and_then(|raw| serde_json::from_str(&raw).ok()).map_or(Returned::Null, Returned::Json),
        ]
    };
    Ok(ready(models.into_iter().map(row).collect()))
}
