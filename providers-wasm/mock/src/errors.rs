//! Failures on demand.

use pg_llm_guest::prelude::*;

/// Every kind by its name in the WIT.
pub(crate) const KINDS: [(&str, FailureKind); 18] = [
    ("invalid-request", FailureKind::InvalidRequest),
    ("authentication", FailureKind::Authentication),
    ("permission", FailureKind::Permission),
    ("not-found", FailureKind::NotFound),
    ("context-length", FailureKind::ContextLength),
    ("content-filter", FailureKind::ContentFilter),
    ("rate-limit", FailureKind::RateLimit),
    ("quota", FailureKind::Quota),
    ("overloaded", FailureKind::Overloaded),
    ("server", FailureKind::Server),
    ("timeout", FailureKind::Timeout),
    ("connect", FailureKind::Connect),
    ("broken", FailureKind::Broken),
    ("protocol", FailureKind::Protocol),
    ("unsupported", FailureKind::Unsupported),
    ("refused", FailureKind::Refused),
    ("too-large", FailureKind::TooLarge),
    ("cancelled", FailureKind::Cancelled),
];

/// The failure that `mock_error` asks for.
pub(crate) fn failure(name: &str) -> Failure {
    match KINDS.iter().find(|(known, _)| *known == name) {
        Some((_, kind)) => Failure { code: Some("mock".to_owned()), ..Failure::new(*kind, format!("the mock was asked to fail: {name}")) },
        None => Failure::invalid(format!("setting \"mock_error\" is no kind of failure: {name}")),
    }
}
