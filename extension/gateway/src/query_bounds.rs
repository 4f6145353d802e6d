//! Options that bound a query of the caller's, below the settings.

use std::time::Duration;

use crate::error::ConfigError;
use crate::members::Members;
use crate::options::ChatOptions;

/// What a query may cost; none: what the settings say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct QueryBounds {
    /// Rows that are read at most.
    pub max_rows: Option<usize>,
    /// Time that one execution may take.
    pub sql_timeout: Option<Duration>,
    /// Estimated cost, in the planner's units.
    pub max_cost: Option<f64>,
}

/// What the functions that answer in a form of their own decide themselves.
const MEANINGLESS: [&str; 3] = ["response_format", "tools", "tool_choice"];

impl QueryBounds {
    /// Their names.
    pub(crate) const NAMES: [&'static str; 3] = ["max_rows", "sql_timeout_ms", "max_cost"];

    pub(crate) fn read(members: &Members<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            max_rows: members.get_if("max_rows", "a positive integer", |v| *v > 0)?,
            sql_timeout: members
                .get_if("sql_timeout_ms", "a positive number of milliseconds", |v: &u64| *v > 0)?
                .map(Duration::from_millis),
            max_cost: members.get_if("max_cost", "a positive number", |v: &f64| *v > 0.0)?,
        })
    }
}

/// The options of a chat whose answer has a form of its own, beside others, and the bounds of its query.
pub(crate) fn read_beside(options: &serde_json::Value, others: &[&str]) -> Result<(ChatOptions, QueryBounds), ConfigError> {
    let members = Members::of("option", options)?;
    if let Some(name) = MEANINGLESS.into_iter().find(|name| members.raw(name).is_some()) {
        return Err(ConfigError::invalid(
            format!("option \"{name}\" is for chats: here the answer has a form of its own"),
            "Leave it out.".to_owned(),
        ));
    }
    let names: Vec<&str> = QueryBounds::NAMES.iter().chain(others).copied().collect();
    Ok((ChatOptions::parse_beside(options, &names)?, QueryBounds::read(&members)?))
}
