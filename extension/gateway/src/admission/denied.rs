//! A request that was not made, in words for its caller.

use std::fmt::Write;
use std::time::Duration;

use super::{Limit, Limits};
use crate::budget::Refused;
use crate::call_log::CallLog;
use crate::error::{CallError, ErrorKind};

/// Why a request was not let in.
#[derive(Debug)]
pub(crate) enum Denied {
    /// A limit, and how long the wait would have been where that is known.
    Limit { limit: Limit, least: Option<Duration> },
    /// The model fails.
    Broken {
        failures: u32,
        /// Zero: somebody is trying it.
        retry_in: Duration,
    },
    /// A budget has no room for it.
    Budget(Box<Refused>),
    /// The interrupt ended the wait.
    Stopped,
}

impl Denied {
    /// The call's error. `timeout` is the whole time that it had.
    pub(crate) fn error(&self, instance: &str, limits: &Limits, timeout: Duration) -> CallError {
        let error = |kind, what: &str, detail: String, hint: &str| CallError {
            kind,
            message: format!("model \"{instance}\" was not called: {what}"),
            detail: Some(detail),
            hint: Some(hint.to_owned()),
            attempts: 0,
            may_fall_back: true,
            log: CallLog::default(),
        };
        match self {
            Self::Budget(refused) => error(ErrorKind::OverBudget, &refused.what(), refused.detail(), &refused.hint()),
            Self::Stopped => CallError::cancelled(),
            Self::Broken { failures, retry_in } => {
                let when = if retry_in.is_zero() {
                    "Another call is trying it now.".to_owned()
                } else {
                    format!("It is tried again in {} ms.", ms(*retry_in))
                };
                let detail = format!("Its circuit breaker is open. {when}");
                let hint = "What went wrong is in the errors of the calls before. SELECT * FROM pg_llm_stat_limits shows the breaker.";
                error(ErrorKind::Connect, &format!("its last {failures} requests failed"), detail, hint)
            }
            Self::Limit { limit, least } => {
                let (what, setting, hint) = match limit {
                    Limit::Concurrency => (
                        "as many requests as it may have are in flight",
                        format!("max_concurrency is {}", limits.max_concurrency),
                        "Raise timeout_ms to wait longer, or the model's max_concurrency.",
                    ),
                    Limit::Server => (
                        "as many requests as the server may have are in flight",
                        format!("pg_llm.max_concurrency is {}", limits.server),
                        "Raise timeout_ms to wait longer. An administrator can raise pg_llm.max_concurrency.",
                    ),
                    Limit::Requests => (
                        "its requests a minute are used up",
                        format!("rate_limit.rpm is {}", limits.rpm),
                        "Raise timeout_ms to wait longer, or the model's rate_limit.",
                    ),
                    Limit::Tokens => (
                        "its tokens a minute are used up",
                        format!("rate_limit.tpm is {}", limits.tpm),
                        "Raise timeout_ms to wait longer, or the model's rate_limit.",
                    ),
                    Limit::HeldBack => (
                        "its provider has asked not to be called",
                        "The provider answered with Retry-After".to_owned(),
                        "Raise timeout_ms to wait longer, or call less often.",
                    ),
                };
                let mut detail = setting;
                if let Some(least) = least {
                    let _ = write!(detail, "; the wait would be {} ms", ms(*least));
                }
                let _ = write!(detail, ", of the {} ms that the call has.", timeout.as_millis());
                error(ErrorKind::RateLimited, what, detail, hint)
            }
        }
    }
}

/// Rounded up.
fn ms(duration: Duration) -> u128 {
    duration.as_nanos().div_ceil(1_000_000)
}
