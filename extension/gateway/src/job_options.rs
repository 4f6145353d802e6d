//! Options of a job: those of the chats that it is made of, and its own.

use serde_json::Value;

use crate::batch;
use crate::error::ConfigError;
use crate::members::Members;
use crate::options::ChatOptions;

/// Where the end of a job is told unless it says otherwise.
pub const JOBS_CHANNEL: &str = "pg_llm_jobs";

/// Longest name of a channel, in bytes: Postgres's.
const CHANNEL_BYTES: usize = 63;

const NOTIFY: &str = "notify";
const CONCURRENCY: &str = "max_concurrency";

/// What a job has besides its chats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobOptions {
    /// Calls at the same time, 1 to [`crate::MOST_THREADS`]; none: as many as there are places.
    pub concurrency: Option<usize>,
    /// Where its end is told; none: nowhere.
    pub channel: Option<String>,
    /// The chats', checked, as they are to be kept.
    pub chat: Value,
}

impl JobOptions {
    /// Reads `options jsonb` of a job, of many rows or of one.
    ///
    /// # Errors
    /// For unknown keys, wrong types and values out of range, and what a call that nobody waits for cannot have.
    pub fn parse(options: &Value, many: bool) -> Result<(Self, ChatOptions), ConfigError> {
        let names: &[&str] = if many { &[NOTIFY, CONCURRENCY] } else { &[NOTIFY] };
        let chat = ChatOptions::parse_beside(options, names)?;
        if chat.call.on_error.is_some() {
            return Err(ConfigError::invalid(
                "option \"on_error\" is for calls that give their answer back",
                "A job keeps the error of each row that fails.".to_owned(),
            ));
        }
        let members = Members::of("option", options)?;
        let mut kept = options.as_object().cloned().unwrap_or_default();
        kept.retain(|name, _| !names.contains(&name.as_str()));
        Ok((Self { concurrency: batch::concurrency(&members)?, channel: channel(&members)?, chat: Value::Object(kept) }, chat))
    }
}

fn channel(members: &Members<'_>) -> Result<Option<String>, ConfigError> {
    match members.raw(NOTIFY) {
        None | Some(Value::Bool(true)) => Ok(Some(JOBS_CHANNEL.to_owned())),
        Some(Value::Bool(false)) => Ok(None),
        Some(Value::String(name)) if (1..=CHANNEL_BYTES).contains(&name.len()) => Ok(Some(name.clone())),
        Some(other) => Err(members.wrong(NOTIFY, &format!("true, false or the name of a channel of 1 to {CHANNEL_BYTES} bytes"), other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_jobs_own_options_are_parted_from_those_of_its_chats() {
        let given = json!({"temperature": 0, "notify": "my channel", "max_concurrency": 3});
        let (job, chat) = JobOptions::parse(&given, true).unwrap();
        assert_eq!(job, JobOptions { concurrency: Some(3), channel: Some("my channel".to_owned()), chat: json!({"temperature": 0}) });
        assert_eq!(chat.sampling.temperature, Some(0.0));
        let (job, _) = JobOptions::parse(&json!({}), false).unwrap();
        assert_eq!(job, JobOptions { concurrency: None, channel: Some(JOBS_CHANNEL.to_owned()), chat: json!({}) });
        let (job, _) = JobOptions::parse(&json!({"notify": false}), false).unwrap();
        assert_eq!(job.channel, None);
    }

    #[test]
    fn what_a_job_cannot_have_is_refused() {
        for bad in [
            json!({"notify": ""}),
            json!({"notify": "x".repeat(64)}),
            json!({"notify": 1}),
            json!({"on_error": "null"}),
            json!({"order": "ord"}),
            json!({"max_concurrency": 0}),
            json!({"temprature": 1}),
            json!([]),
        ] {
            assert!(JobOptions::parse(&bad, true).is_err(), "{bad}");
        }
        assert!(JobOptions::parse(&json!({"max_concurrency": 1}), false).is_err(), "one call has nobody beside it");
    }
}
