//! The models that an endpoint offers.

use std::sync::Arc;

use pg_llm_sandbox::interrupt::Interrupt;
use pg_llm_sandbox::types::ModelInfo;

use crate::attempts::Attempts;
use crate::call_log::CallLog;
use crate::error::CallError;
use crate::ledger::Operation;
use crate::route::Route;

/// Asks the provider which models there are, with the model's endpoint and key.
///
/// # Errors
/// As [`crate::ChatCall::run`].
pub fn list_models(route: &Route, interrupt: &Arc<dyn Interrupt>) -> Result<(Vec<ModelInfo>, CallLog), CallError> {
    let mut attempts = Attempts::begin(route, &route.spec.defaults.call).idempotent().asking_for(Operation::Models);
    let settings = route.spec.settings_text();
    let models = attempts.run(route, interrupt, |grant| route.provider.list_models(grant, &settings))?;
    attempts.answered(None);
    Ok((models, attempts.into_log()))
}
