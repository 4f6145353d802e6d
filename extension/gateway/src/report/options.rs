//! Options of a report: those of every chat, what the query may cost, and what the model is shown.

use serde_json::Value;

use crate::error::ConfigError;
use crate::members::Members;
use crate::options::ChatOptions;
use crate::query_bounds::{self, QueryBounds};

/// Options, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportOptions {
    /// Of the request to the model.
    pub chat: ChatOptions,
    /// Of each execution of the query.
    pub bounds: QueryBounds,
    /// Rows that the model is shown; 0: none.
    pub sample_rows: usize,
    /// Whether the model is shown values of the statistics: least and greatest, frequent ones.
    pub send_values: bool,
    /// Statistics are of the rows that were read, and not of the whole result.
    pub of_rows_read: bool,
    /// What the report is about, in the caller's words.
    pub focus: Option<String>,
    /// The language of its words.
    pub language: Option<String>,
    /// Whether it is kept for [`super::page`].
    pub store: bool,
}

const OWN: [&str; 6] = ["sample_rows", "send_values", "statistics", "focus", "language", "store"];
const MOST_SAMPLE_ROWS: usize = 100;

impl ReportOptions {
    /// Reads `options jsonb`.
    ///
    /// # Errors
    /// As [`ChatOptions::parse`], and for options that have no meaning here.
    pub fn parse(options: &Value) -> Result<Self, ConfigError> {
        let (chat, bounds) = query_bounds::read_beside(options, &OWN)?;
        let members = Members::of("option", options)?;
        let sample = format!("an integer from 0 to {MOST_SAMPLE_ROWS}");
        let scope: Option<String> =
            members.get_if("statistics", "\"whole\" or \"rows\"", |v: &String| matches!(v.as_str(), "whole" | "rows"))?;
        Ok(Self {
            chat,
            bounds,
            sample_rows: members.get_if("sample_rows", &sample, |v| *v <= MOST_SAMPLE_ROWS)?.unwrap_or(0),
            send_values: members.get("send_values", "true or false")?.unwrap_or(true),
            of_rows_read: scope.as_deref() == Some("rows"),
            focus: members.get("focus", "a string")?,
            language: members.get("language", "a string")?,
            store: members.get("store", "true or false")?.unwrap_or(true),
        })
    }
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self {
            chat: ChatOptions::default(),
            bounds: QueryBounds::default(),
            sample_rows: 0,
            send_values: true,
            of_rows_read: false,
            focus: None,
            language: None,
            store: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_absent_is_the_default_and_no_row_is_sent() {
        let options = ReportOptions::parse(&json!({})).unwrap();
        assert_eq!((options.sample_rows, &options), (0, &ReportOptions::default()));
    }

    #[test]
    fn what_has_no_meaning_or_no_sense_is_refused() {
        for (bad, words) in [
            (json!({"response_format": "json"}), "form of its own"),
            (json!({"tools": []}), "form of its own"),
            (json!({"sample_row": 1}), "unknown option"),
            (json!({"sample_rows": 101}), "from 0 to 100"),
            (json!({"sample_rows": -1}), "from 0 to 100"),
            (json!({"statistics": "all"}), "\"whole\" or \"rows\""),
            (json!({"max_rows": 0}), "positive"),
            (json!({"store": 1}), "true or false"),
            (json!({"analyze": true}), "unknown option"),
        ] {
            let error = ReportOptions::parse(&bad).unwrap_err();
            assert!(error.message.contains(words), "{bad}: {error}");
        }
    }
}
