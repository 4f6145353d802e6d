//! Options that every call of a provider has.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::ConfigError;
use crate::members::Members;
use crate::options::{MAX_ATTEMPTS, OnError};

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
            extra_body: extra_body(m)?,
            timeout: m.get_if("timeout_ms", "a positive number of milliseconds", |v: &u64| *v > 0)?.map(Duration::from_millis),
            max_attempts: m.get_if("max_attempts", &format!("an integer from 1 to {MAX_ATTEMPTS}"), |v| (1..=MAX_ATTEMPTS).contains(v))?,
            on_error: m.get::<String>("on_error", crate::options::ON_ERROR)?.map(|v| OnError::parse(&v)).transpose()?,
        })
    }

    /// These over `defaults`.
    pub(crate) fn over(self, defaults: &Self) -> Self {
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

/// Numbers in it must be such that an adapter can read them.
fn extra_body(m: &Members<'_>) -> Result<Option<Map<String, Value>>, ConfigError> {
    fn finite(value: &Value) -> bool {
        match value {
            Value::Number(number) => number.as_f64().is_some_and(f64::is_finite),
            Value::Array(items) => items.iter().all(finite),
            Value::Object(members) => members.values().all(finite),
            _ => true,
        }
    }
    let body: Option<Map<String, Value>> = m.get("extra_body", "an object")?;
    match body {
        Some(body) if !body.values().all(finite) => {
            Err(ConfigError::invalid("option \"extra_body\" has a number beyond the range of doubles", None))
        }
        body => Ok(body),
    }
}

#[cfg(test)]
mod tests {
    use crate::{ChatOptions, EmbedOptions, RerankOptions};

    #[test]
    fn a_number_that_no_adapter_can_read_is_refused_in_every_kind_of_call() {
        let options = serde_json::from_str(r#"{"extra_body": {"deep": [{"x": 1e400}]}}"#).unwrap();
        assert!(ChatOptions::parse(&options).is_err() && EmbedOptions::parse(&options).is_err() && RerankOptions::parse(&options).is_err());
    }
}
