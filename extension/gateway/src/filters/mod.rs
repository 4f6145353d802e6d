//! Filters between a call and its model: what goes there, and what comes back.

use std::sync::Arc;

use pg_llm_sandbox::{Digest, Filter};
use serde_json::Value;

use crate::error::{ConfigError, clip};
use crate::members::Members;

/// Most names that a list of filters may have.
pub const MOST_FILTERS: usize = 16;

/// A filter with its configuration.
#[derive(Clone)]
pub struct FilterStep {
    /// Its name in SQL.
    pub name: String,
    /// Its code.
    pub code: Filter,
    /// SHA-256 of the component that it was compiled from.
    pub component: Digest,
    /// JSON that it is given with every call.
    pub config: Arc<str>,
    /// It looks at prompts.
    pub prompt: bool,
    /// It looks at answers.
    pub response: bool,
}

/// The filters of one model's calls: an onion. A prompt goes through them in this order, and the answer in the other.
#[derive(Clone, Default)]
pub struct FilterChain {
    /// Those of the call first, then those of the model: its owner's see last what leaves, and first what comes.
    pub steps: Vec<FilterStep>,
    /// What becomes of a call whose filter fails.
    pub on_error: OnFilterError,
}

/// What becomes of a call whose filter fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFilterError {
    /// It fails.
    #[default]
    Block,
    /// It goes on without that filter, with a warning.
    Pass,
}

/// The names in an option or a config key `filters`, in their order.
pub(crate) fn names(m: &Members<'_>) -> Result<Vec<String>, ConfigError> {
    let valid = |names: &Vec<String>| names.len() <= MOST_FILTERS && names.iter().all(|name| !name.is_empty());
    let expected = format!("an array of at most {MOST_FILTERS} names of filters");
    Ok(m.get_if("filters", &expected, valid)?.unwrap_or_default())
}

/// The config key `on_filter_error`.
pub(crate) fn on_error(m: &Members<'_>) -> Result<OnFilterError, ConfigError> {
    const EXPECTED: &str = "\"block\" or \"pass\"";
    match m.raw("on_filter_error") {
        None => Ok(OnFilterError::Block),
        Some(Value::String(word)) if word == "block" => Ok(OnFilterError::Block),
        Some(Value::String(word)) if word == "pass" => Ok(OnFilterError::Pass),
        Some(Value::String(other)) => {
            Err(ConfigError::invalid(format!("config key \"on_filter_error\" must be {EXPECTED}, not \"{}\"", clip(other, 50)), None))
        }
        Some(other) => Err(m.wrong("on_filter_error", EXPECTED, other)),
    }
}
