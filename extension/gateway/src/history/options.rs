//! Options of a turn.

use serde_json::Value;

use crate::error::ConfigError;
use crate::members::Members;
use crate::options::ChatOptions;

/// A chat's, and what only sessions have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionOptions {
    /// The chat's own.
    pub chat: ChatOptions,
    /// What is left out of the conversation is summarized by the model.
    pub summarize: bool,
}

impl SessionOptions {
    /// Reads `options jsonb`.
    ///
    /// # Errors
    /// As [`ChatOptions::parse`], for a stream as [`ChatOptions::parse_for_stream`].
    pub fn parse(options: &Value, streamed: bool) -> Result<Self, ConfigError> {
        let summarize = Members::of("option", options)?.get("summarize", "true or false")?.unwrap_or(false);
        Ok(Self { chat: ChatOptions::parse_of_session(options, streamed)?, summarize })
    }
}
