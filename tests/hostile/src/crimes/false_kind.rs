//! Fails with a kind that is the host's to say.

use pg_llm_guest::prelude::*;

/// `prompt` is the kind.
pub(crate) fn commit(prompt: &str) -> Result<Answer, Failure> {
    let kind = match prompt {
        "cancelled" => FailureKind::Cancelled,
        "timeout" => FailureKind::Timeout,
        "rate-limit" => FailureKind::RateLimit,
        _ => FailureKind::Server,
    };
    Err(Failure {
        // Wait for half a billion years, or not at all, and by all means try again.
        retry_after_ms: Some(u64::MAX),
        retryable: Some(true),
        status: Some(65535),
        ..Failure::new(kind, "as the guest says")
    })
}
