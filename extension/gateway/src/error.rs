//! Errors in words for the caller. The extension gives each kind its SQLSTATE.

use std::fmt::Write;
use std::time::Duration;

use pg_llm_sandbox::types::{Failure, FailureKind};
use pg_llm_sandbox::{CallError as SandboxCallError, GuestFault};

use crate::call_log::CallLog;
use crate::fallback;
use crate::filters::Side;

/// What is wrong with a configuration or with options.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    /// What kind of wrong.
    pub kind: ConfigErrorKind,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Kinds of [`ConfigError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigErrorKind {
    /// Unknown key, wrong type, out of range.
    Invalid,
    /// Known, but not in this version.
    NotSupported,
}

impl ConfigError {
    pub(crate) fn invalid(message: impl Into<String>, hint: impl Into<Option<String>>) -> Self {
        Self { kind: ConfigErrorKind::Invalid, message: message.into(), hint: hint.into() }
    }
}

/// Kinds of [`CallError`]; see the SQLSTATEs in the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The interrupt ended the call: the caller raises what the interrupt was.
    Cancelled,
    /// The call's own time is over (`timeout_ms`), with a connection.
    TimedOut,
    /// No connection.
    Connect,
    /// The connection broke off.
    Broken,
    /// The provider's error, or an answer that is none.
    Provider,
    /// The provider cannot do what was asked.
    Unsupported,
    /// Refused by the egress policy.
    Refused,
    /// Rate limit of the provider, after all attempts.
    RateLimited,
    /// A budget has no room for it.
    OverBudget,
    /// The process has no thread or no descriptor left.
    NoResources,
    /// A size limit of ours.
    TooLarge,
    /// The guest misbehaved.
    Guest,
    /// A filter does not let it through.
    Blocked,
    /// A filter failed.
    Filter,
    /// The host could not do its part.
    Internal,
}

impl ErrorKind {
    /// As JSON shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::Connect => "connect",
            Self::Broken => "broken",
            Self::Provider => "provider",
            Self::Unsupported => "unsupported",
            Self::Refused => "refused",
            Self::RateLimited => "rate_limited",
            Self::OverBudget => "over_budget",
            Self::NoResources => "no_resources",
            Self::TooLarge => "too_large",
            Self::Guest => "guest",
            Self::Blocked => "blocked",
            Self::Filter => "filter",
            Self::Internal => "internal",
        }
    }
}

/// Why a call failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// What happened, with the model's name.
    pub message: String,
    /// The provider's words.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// How often the provider was called.
    pub attempts: u32,
    /// Another model may do better ([`crate::fallback`]).
    pub may_fall_back: bool,
    /// What the guests logged, and warnings.
    pub log: CallLog,
}

/// Longest quotation of a provider in a message and in a detail, in bytes.
const MESSAGE_BYTES: usize = 400;
const BODY_BYTES: usize = 1000;

impl CallError {
    /// The interrupt ended the call.
    pub(crate) fn cancelled() -> Self {
        Self::plain(ErrorKind::Cancelled, "the call was cancelled".to_owned())
    }

    /// The host could not do its part.
    pub(crate) fn internal(what: &str) -> Self {
        Self::plain(ErrorKind::Internal, what.to_owned())
    }

    /// The process has no `what` left.
    pub(crate) fn no_resources(what: &dyn std::fmt::Display) -> Self {
        Self::plain(ErrorKind::NoResources, format!("calls cannot run at the same time here: {what}"))
    }

    /// The same for a stream that gave nothing within `patience`.
    pub(crate) fn no_first_token(self, instance: &str, patience: Duration) -> Self {
        Self {
            message: format!("model \"{instance}\" did not begin to answer within {} ms", patience.as_millis()),
            hint: Some("Raise first_token_timeout_ms: the option, or the model's configuration.".to_owned()),
            ..self
        }
    }

    fn plain(kind: ErrorKind, message: String) -> Self {
        Self { kind, message, detail: None, hint: None, attempts: 0, may_fall_back: false, log: CallLog::default() }
    }

    pub(crate) fn new(instance: &str, timeout_ms: u128, error: &SandboxCallError) -> Self {
        let plain = |kind, what: String, detail: Option<String>, hint: Option<&str>| Self {
            kind,
            message: format!("model \"{instance}\" {what}"),
            detail,
            hint: hint.map(str::to_owned),
            attempts: 0,
            may_fall_back: matches!(kind, ErrorKind::TimedOut | ErrorKind::Guest),
            log: CallLog::default(),
        };
        match error {
            SandboxCallError::Failed(failure) => Self::from_failure(instance, failure),
            SandboxCallError::Stopped => plain(ErrorKind::Cancelled, "was cancelled".to_owned(), None, None),
            SandboxCallError::TimedOut => plain(
                ErrorKind::TimedOut,
                format!("did not answer within {timeout_ms} ms"),
                None,
                Some("Raise timeout_ms: the option, the model's configuration, or pg_llm.timeout_ms."),
            ),
            SandboxCallError::Guest(fault) => plain(
                ErrorKind::Guest,
                "failed: its provider module misbehaved".to_owned(),
                Some(clip(&format!("{fault}"), BODY_BYTES)),
                Some("This is a fault of the module, or one of its limits is too low for this request."),
            ),
            SandboxCallError::Host(what) => plain(ErrorKind::Internal, format!("cannot be called: {what}"), None, None),
            SandboxCallError::Exhausted(what) => plain(ErrorKind::NoResources, format!("cannot be called: {what}"), None, None),
        }
    }

    /// A filter does not let a prompt or an answer through. `reason` is all that is said of it.
    pub(crate) fn blocked(instance: &str, filter: &str, side: Side, reason: &str) -> Self {
        let said = clip(reason.trim(), MESSAGE_BYTES);
        let message = format!("filter \"{filter}\" blocked the {} of model \"{instance}\"", of(side));
        Self {
            detail: Some(format!("filter: {filter}, side: {}", side.name())),
            ..Self::plain(ErrorKind::Blocked, if said.is_empty() { message } else { format!("{message}: {said}") })
        }
    }

    /// The call's `extra_body` would replace what filters have let through.
    pub(crate) fn past_filters(instance: &str) -> Self {
        Self {
            hint: Some("The model's owner can put it into the configuration of the model.".to_owned()),
            ..Self::plain(ErrorKind::Blocked, format!("option \"extra_body\" would go past the filters of model \"{instance}\""))
        }
    }

    /// A filter failed, or the call was over while it ran.
    pub(crate) fn of_filter(instance: &str, filter: &str, side: Side, timeout_ms: u128, error: &SandboxCallError) -> Self {
        let failed = || format!("filter \"{filter}\" failed on the {} of model \"{instance}\"", of(side));
        let place = format!("filter: {filter}, side: {}", side.name());
        let fault = |what: &str| Self {
            detail: Some(format!("{place}\n{}", clip(what, BODY_BYTES))),
            hint: Some(
                "What cannot be filtered is not handed on: mend the filter or its configuration, or raise the limit that it met."
                    .to_owned(),
            ),
            ..Self::plain(ErrorKind::Filter, failed())
        };
        match error {
            SandboxCallError::Failed(failure) => fault(failure.message.trim()),
            // Not its last words: a panic's quote the text that the filter was at.
            SandboxCallError::Guest(GuestFault::Trap(what)) => {
                fault(&format!("it trapped: {}", what.split(" (").next().unwrap_or_default()))
            }
            SandboxCallError::Guest(other) => fault(&other.to_string()),
            SandboxCallError::Stopped => Self::cancelled(),
            SandboxCallError::TimedOut => Self {
                detail: Some(place),
                hint: Some("Raise timeout_ms: the option, the model's configuration, or pg_llm.timeout_ms.".to_owned()),
                ..Self::plain(
                    ErrorKind::TimedOut,
                    format!("filter \"{filter}\" was not done with the {} of model \"{instance}\" within {timeout_ms} ms", of(side)),
                )
            },
            SandboxCallError::Exhausted(what) => {
                Self { detail: Some(place), ..Self::plain(ErrorKind::NoResources, format!("filter \"{filter}\" cannot run: {what}")) }
            }
            SandboxCallError::Host(what) => {
                Self { detail: Some(place), ..Self::plain(ErrorKind::Internal, format!("filter \"{filter}\" cannot run: {what}")) }
            }
        }
    }

    fn from_failure(instance: &str, failure: &Failure) -> Self {
        use FailureKind as F;
        let kind = match failure.kind {
            F::Connect => ErrorKind::Connect,
            F::Broken => ErrorKind::Broken,
            // HTTP 408 is the provider's answer, and no silence.
            F::Timeout if failure.status.is_none() => ErrorKind::TimedOut,
            F::Refused => ErrorKind::Refused,
            F::TooLarge => ErrorKind::TooLarge,
            F::Unsupported => ErrorKind::Unsupported,
            // A guest has no say in whether the statement was cancelled: the host would have said so.
            F::Cancelled => ErrorKind::Guest,
            F::RateLimit => ErrorKind::RateLimited,
            _ => ErrorKind::Provider,
        };
        let said = clip(failure.message.trim(), MESSAGE_BYTES);
        let verb = match failure.kind {
            F::Connect => "cannot be reached",
            F::Broken => "broke off",
            F::Refused => "was not called",
            F::Unsupported => "cannot do this",
            F::TooLarge => "exceeded a size limit",
            F::Protocol => "gave no valid answer",
            _ => "failed",
        };
        let message = if said.is_empty() { format!("model \"{instance}\" {verb}") } else { format!("model \"{instance}\" {verb}: {said}") };
        let may_fall_back = fallback::may_help(failure.kind);
        Self {
            kind,
            message,
            detail: Some(detail(failure)),
            hint: hint(instance, failure),
            attempts: 0,
            may_fall_back,
            log: CallLog::default(),
        }
    }
}

fn of(side: Side) -> &'static str {
    match side {
        Side::Prompt => "prompt",
        Side::Response => "answer",
    }
}

fn detail(failure: &Failure) -> String {
    let mut text = format!("Kind: {}", kind_name(failure.kind));
    if let Some(status) = failure.status {
        let _ = write!(text, ", status: {status}");
    }
    if let Some(code) = &failure.code {
        let _ = write!(text, ", code: {}", clip(code, 100));
    }
    if let Some(id) = &failure.request_id {
        let _ = write!(text, ", provider's request id: {}", clip(id, 100));
    }
    text.push('.');
    if let Some(raw) = failure.raw.as_deref().map(str::trim).filter(|r| !r.is_empty()) {
        let _ = write!(text, "\nBody: {raw}");
    }
    clip(&text, BODY_BYTES)
}

fn hint(instance: &str, failure: &Failure) -> Option<String> {
    use FailureKind as F;
    Some(match failure.kind {
        // The host's own word, of any of the model's keys.
        F::Authentication if failure.status.is_none() => {
            format!("Check the model's keys, whose names pg_llm_models shows: SELECT pg_llm_set_key({}, 'NAME', '...').", quoted(instance))
        }
        F::Authentication | F::Permission => {
            format!("Check the key and what it may do: SELECT pg_llm_set_key({}, 'default', '...').", quoted(instance))
        }
        F::NotFound => "Check model_name and api_endpoint, which is the base URL without the path of the call.".to_owned(),
        F::ContextLength => "Shorten the prompt or the history, or take a model with a larger context window.".to_owned(),
        F::RateLimit => match failure.retry_after_ms {
            Some(ms) => format!("The provider asks to wait {ms} ms. Raise timeout_ms or max_attempts to wait for it."),
            None => "Call less often, or raise max_attempts.".to_owned(),
        },
        F::Quota => "The account at the provider has no credit or quota left.".to_owned(),
        F::Refused => "An administrator decides where calls may go: pg_llm.allowed_hosts and pg_llm.allow_private_networks.".to_owned(),
        F::Connect => "Check api_endpoint, the network, and for https the certificate (pg_llm.ca_file).".to_owned(),
        F::Protocol => "Check that api_endpoint is the base URL of an API that this model type speaks.".to_owned(),
        _ => return None,
    })
}

fn quoted(name: &str) -> String {
    format!("'{}'", name.replace('\'', "''"))
}

pub(crate) fn kind_name(kind: FailureKind) -> &'static str {
    use FailureKind as F;
    match kind {
        F::InvalidRequest => "invalid_request",
        F::Authentication => "authentication",
        F::Permission => "permission",
        F::NotFound => "not_found",
        F::ContextLength => "context_length",
        F::ContentFilter => "content_filter",
        F::RateLimit => "rate_limit",
        F::Quota => "quota",
        F::Overloaded => "overloaded",
        F::Server => "server",
        F::Timeout => "timeout",
        F::Connect => "connect",
        F::Broken => "broken",
        F::Protocol => "protocol",
        F::Unsupported => "unsupported",
        F::Refused => "refused",
        F::TooLarge => "too_large",
        F::Cancelled => "cancelled",
    }
}

/// At most `bytes` of a text, cut between characters, without control characters other than line breaks.
pub fn clip(text: &str, bytes: usize) -> String {
    let clean = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    if text.len() <= bytes {
        return text.chars().map(clean).collect();
    }
    let mut end = bytes.saturating_sub(3);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].chars().map(clean).chain("...".chars()).collect()
}
