//! Options of an analysis: those of every chat, and what the query may cost.

use serde_json::Value;

use crate::error::ConfigError;
use crate::members::Members;
use crate::options::ChatOptions;
use crate::query_bounds::{self, QueryBounds};

/// Options, checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnalysisOptions {
    /// Of the request to the model.
    pub chat: ChatOptions,
    /// Of the query.
    pub bounds: QueryBounds,
    /// The plan says what the execution took.
    pub analyze: bool,
    /// The query is planned, and not run.
    pub dry_run: bool,
    /// The language of the model's words.
    pub language: Option<String>,
}

impl AnalysisOptions {
    /// Reads `options jsonb`.
    ///
    /// # Errors
    /// As [`ChatOptions::parse`], and for options that have no meaning here.
    pub fn parse(options: &Value) -> Result<Self, ConfigError> {
        let (chat, bounds) = query_bounds::read_beside(options, &["analyze", "dry_run", "language"])?;
        let members = Members::of("option", options)?;
        let flag = |name| Ok::<_, ConfigError>(members.get(name, "true or false")?.unwrap_or(false));
        let (analyze, dry_run) = (flag("analyze")?, flag("dry_run")?);
        if analyze && dry_run {
            return Err(ConfigError::invalid("options \"analyze\" and \"dry_run\" exclude each other", "To analyze is to run.".to_owned()));
        }
        Ok(Self { chat, bounds, analyze, dry_run, language: members.get("language", "a string")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_has_no_meaning_or_no_sense_is_refused() {
        for (bad, words) in [
            (json!({"response_format": "json"}), "form of its own"),
            (json!({"analyse": true}), "unknown option"),
            (json!({"analyze": true, "dry_run": true}), "exclude each other"),
            (json!({"max_cost": 0}), "positive"),
            (json!({"sample_rows": 1}), "unknown option"),
        ] {
            let error = AnalysisOptions::parse(&bad).unwrap_err();
            assert!(error.message.contains(words), "{bad}: {error}");
        }
        assert_eq!(AnalysisOptions::parse(&json!({})).unwrap(), AnalysisOptions::default());
    }
}
