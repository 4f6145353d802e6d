//! Options of a question: those of every chat, and what the query may cost.

use serde_json::Value;

use crate::error::ConfigError;
use crate::members::Members;
use crate::options::ChatOptions;
use crate::query_bounds::{QueryBounds, read_beside};

/// Options, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Text2SqlOptions {
    /// Of each request to the model.
    pub chat: ChatOptions,
    /// Schemas that the model is told of; none: those of the search path.
    pub schemas: Option<Vec<String>>,
    /// Queries that the model may write, repairs included.
    pub max_attempts: usize,
    /// What a query may cost.
    pub bounds: QueryBounds,
    /// Tokens that the description of the schema may take, roughly.
    pub schema_tokens: usize,
    /// The query is checked and planned, and not run.
    pub dry_run: bool,
    /// Its plan is wanted.
    pub explain: bool,
    /// Rows of each table that the model is shown.
    pub sample_rows: usize,
    /// The model that knows which tables are alike in meaning; none: the setting's.
    pub embedding_instance: Option<String>,
}

const OWN: [&str; 7] = ["schemas", "max_attempts", "schema_tokens", "dry_run", "explain", "sample_rows", "embedding_instance"];
const ATTEMPTS: usize = 3;
const MOST_ATTEMPTS: usize = 10;
const SCHEMA_TOKENS: usize = 8_000;
const MOST_SAMPLE_ROWS: usize = 5;

impl Text2SqlOptions {
    /// Reads `options jsonb`.
    ///
    /// # Errors
    /// As [`ChatOptions::parse`], and for options that have no meaning here.
    pub fn parse(options: &Value) -> Result<Self, ConfigError> {
        let members = Members::of("option", options)?;
        let (mut chat, bounds) = read_beside(options, &OWN)?;
        // Here it counts queries; requests are the model's configuration's.
        chat.call.max_attempts = None;
        let attempts = format!("an integer from 1 to {MOST_ATTEMPTS}");
        Ok(Self {
            chat,
            schemas: members.get_if("schemas", "an array of names of schemas", |names: &Vec<String>| !names.is_empty())?,
            max_attempts: members.get_if("max_attempts", &attempts, |v| (1..=MOST_ATTEMPTS).contains(v))?.unwrap_or(ATTEMPTS),
            bounds,
            schema_tokens: members
                .get_if("schema_tokens", "an integer from 100 to 1000000", |v| (100..=1_000_000).contains(v))?
                .unwrap_or(SCHEMA_TOKENS),
            dry_run: members.get("dry_run", "true or false")?.unwrap_or(false),
            explain: members.get("explain", "true or false")?.unwrap_or(false),
            sample_rows: members
                .get_if("sample_rows", &format!("an integer from 0 to {MOST_SAMPLE_ROWS}"), |v| (0..=MOST_SAMPLE_ROWS).contains(v))?
                .unwrap_or(0),
            embedding_instance: members.get_if("embedding_instance", "the name of a model", |name: &String| !name.is_empty())?,
        })
    }
}

impl Default for Text2SqlOptions {
    fn default() -> Self {
        Self {
            chat: ChatOptions::default(),
            schemas: None,
            max_attempts: ATTEMPTS,
            bounds: QueryBounds::default(),
            schema_tokens: SCHEMA_TOKENS,
            dry_run: false,
            explain: false,
            sample_rows: 0,
            embedding_instance: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_absent_is_the_default_and_a_chats_options_stand_beside() {
        assert_eq!(Text2SqlOptions::parse(&json!({})).unwrap(), Text2SqlOptions::default());
        let options = Text2SqlOptions::parse(&json!({"max_attempts": 1, "temperature": 0, "schemas": ["a"], "dry_run": true})).unwrap();
        assert_eq!((options.max_attempts, options.chat.sampling.temperature, options.dry_run), (1, Some(0.0), true));
        assert_eq!(options.chat.call.max_attempts, None, "requests are not queries");
    }

    #[test]
    fn what_has_no_meaning_or_no_sense_is_refused() {
        for (bad, words) in [
            (json!({"response_format": "json"}), "is for chats"),
            (json!({"tools": []}), "is for chats"),
            (json!({"strategy": "vote"}), "unknown option"),
            (json!({"max_row": 5}), "unknown option"),
            (json!({"max_rows": 0}), "must be a positive integer"),
            (json!({"max_cost": -1}), "must be a positive number"),
            (json!({"max_attempts": 11}), "from 1 to 10"),
            (json!({"schemas": []}), "array of names"),
            (json!({"schemas": "public"}), "array of names"),
            (json!({"sql_timeout_ms": 0}), "milliseconds"),
            (json!({"schema_tokens": 1}), "from 100"),
            (json!({"dry_run": 1}), "true or false"),
            (json!({"sample_rows": 6}), "from 0 to 5"),
            (json!({"embedding_instance": ""}), "the name of a model"),
            (json!([]), "must be a JSON object"),
        ] {
            let error = Text2SqlOptions::parse(&bad).unwrap_err();
            assert!(error.message.contains(words), "{bad}: {error}");
        }
        let near = Text2SqlOptions::parse(&json!({"max_row": 5})).unwrap_err();
        assert_eq!(near.hint.as_deref(), Some("Perhaps you meant \"max_rows\"."));
    }
}
