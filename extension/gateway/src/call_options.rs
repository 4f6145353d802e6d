//! Options that every call of a provider has.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::ConfigError;
use crate::members::Members;
use crate::options::{ChatOptions, MAX_ATTEMPTS, OnError};

/// Their names.
pub(crate) const NAMES: [&str; 4] = ["extra_body", "timeout_ms", "max_attempts", "on_error"];

/// What is absent is left to the model, then to the settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallOptions {
    /// Merged over the request's body.
    pub extra_body: Option<Map<String, Value>>,
    /// Time for everything, retries and further requests included.
    pub timeout: Option<Duration>,
    /// Attempts of one request at most.
    pub max_attempts: Option<u32>,
    /// What a failure becomes.
    pub on_error: Option<OnError>,
}

impl CallOptions {
    pub(crate) fn read(m: &Members<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            extra_body: m.get("extra_body", "an object")?,
            timeout: m.get_if("timeout_ms", "a positive number of milliseconds", |v: &u64| *v > 0)?.map(Duration::from_millis),
            max_attempts: m.get_if("max_attempts", &format!("an integer from 1 to {MAX_ATTEMPTS}"), |v| (1..=MAX_ATTEMPTS).contains(v))?,
            on_error: m.get::<String>("on_error", crate::options::ON_ERROR)?.map(|v| OnError::parse(&v)).transpose()?,
        })
    }

    /// These over the defaults of the model's calls.
    pub(crate) fn over(self, defaults: &ChatOptions) -> Self {
        Self {
            extra_body: match (self.extra_body, &defaults.extra_body) {
                (Some(own), Some(theirs)) => Some(theirs.clone().into_iter().chain(own).collect()),
                (own, theirs) => own.or_else(|| theirs.clone()),
            },
            timeout: self.timeout.or(defaults.timeout),
            max_attempts: self.max_attempts.or(defaults.max_attempts),
            on_error: self.on_error.or(defaults.on_error),
        }
    }

    pub(crate) fn extra_body_text(&self) -> Option<String> {
        self.extra_body.as_ref().map(|body| Value::Object(body.clone()).to_string())
    }
}
