//! When a failed request is made again, as a table ([`RULES`]) that `docs/fallback.md` shows too.
//!
//! The official clients of OpenAI and Anthropic agree on statuses (408, 409, 429, 5xx), on `x-should-retry` and on `Retry-After`. They also repeat every
//! request that timed out or broke off, and every gateway's time-out. Here those are repeated only where that is harmless: an answer may have been paid for.

use std::time::Duration;

use pg_llm_sandbox::types::{Failure, FailureKind as F};

use crate::error::kind_name;

/// Attempts where neither options nor model say a number.
pub const DEFAULT_ATTEMPTS: u32 = 3;

/// The shortest wait where the provider names none.
const SHORTEST_WAIT: Duration = Duration::from_millis(250);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// Whether a request may be made twice without harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idempotence {
    /// A second time costs little and changes nothing: embeddings, reranking, a list of models.
    Idempotent,
    /// A second time may cost as much again, and say something else: a chat.
    NotIdempotent,
}

/// One row of the policy. It applies where all of `kinds`, `statuses` and `says` do; the first that applies decides.
#[derive(Debug)]
pub struct Rule {
    /// Of these kinds; empty: of any.
    pub kinds: &'static [F],
    /// With this HTTP status.
    pub statuses: Statuses,
    /// Where the provider says this of a repetition.
    pub says: Says,
    /// The verdict.
    pub again: Again,
    /// Its reason.
    pub why: &'static str,
}

/// HTTP statuses that a [`Rule`] is for.
#[derive(Clone, Copy, Debug)]
pub enum Statuses {
    /// Any, or none.
    Any,
    /// Any: there was an answer.
    Some,
    /// None, or one of success: the error stood in an answer or in its stream.
    NoError,
    /// One of these.
    Of(&'static [u16]),
}

/// What the provider says of a repetition.
#[derive(Clone, Copy, Debug)]
pub enum Says {
    /// Whatever.
    Anything,
    /// `x-should-retry: true`.
    Yes,
    /// `x-should-retry: false`, or the adapter knows it from the body.
    No,
    /// `Retry-After`, or its like.
    When,
}

/// Whether a request is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// It is where that is harmless ([`Idempotence`]).
    IfIdempotent,
}

/// The policy.
pub const RULES: &[Rule] = &[
    rule(&[F::Cancelled, F::Refused, F::TooLarge], Statuses::Any, Says::Anything, Again::No, "this server's own word, which stands"),
    rule(&[], Statuses::Any, Says::No, Again::No, "the provider says so"),
    rule(&[], Statuses::Some, Says::Yes, Again::Yes, "the provider says so"),
    rule(&[F::Quota], Statuses::Any, Says::Anything, Again::No, "credit does not come back by waiting"),
    rule(&[F::Connect], Statuses::Any, Says::Anything, Again::Yes, "nothing was sent: no address, no connection, no TLS"),
    rule(&[F::RateLimit, F::Overloaded], Statuses::Any, Says::Anything, Again::Yes, "the provider turned it away"),
    rule(&[F::Server], Statuses::Some, Says::When, Again::Yes, "the provider says when"),
    rule(&[F::Server], Statuses::NoError, Says::Anything, Again::Yes, "the provider says that it failed"),
    rule(&[F::Server], Statuses::Of(&[500, 502, 503, 521, 522, 523, 529]), Says::Anything, Again::Yes, "the provider says that it failed"),
    rule(&[F::Server], Statuses::Of(&[504, 520, 524]), Says::Anything, Again::IfIdempotent, "a proxy gave up: it may have been done"),
    rule(&[], Statuses::Of(&[408, 409]), Says::Anything, Again::Yes, "the provider did not take it up"),
    rule(&[F::Broken, F::Timeout], Statuses::Any, Says::Anything, Again::IfIdempotent, "it may have been done, and paid for"),
    rule(&[], Statuses::Any, Says::Anything, Again::No, "it would fail again"),
];

const fn rule(kinds: &'static [F], statuses: Statuses, says: Says, again: Again, why: &'static str) -> Rule {
    Rule { kinds, statuses, says, again, why }
}

impl Rule {
    fn applies(&self, failure: &Failure) -> bool {
        let kind = self.kinds.is_empty() || self.kinds.contains(&failure.kind);
        let status = match self.statuses {
            Statuses::Any => true,
            Statuses::Some => failure.status.is_some(),
            Statuses::NoError => failure.status.is_none_or(|status| (200..300).contains(&status)),
            Statuses::Of(list) => failure.status.is_some_and(|status| list.contains(&status)),
        };
        let says = match self.says {
            Says::Anything => true,
            Says::Yes => failure.retryable == Some(true),
            Says::No => failure.retryable == Some(false),
            Says::When => failure.retry_after_ms.is_some(),
        };
        kind && status && says
    }

    /// As a row of the table in the documentation.
    pub fn row(&self) -> String {
        let kinds = if self.kinds.is_empty() {
            "any".to_owned()
        } else {
            self.kinds.iter().map(|kind| format!("`{}`", kind_name(*kind))).collect::<Vec<_>>().join(", ")
        };
        let statuses = match self.statuses {
            Statuses::Any => "any or none".to_owned(),
            Statuses::Some => "any".to_owned(),
            Statuses::NoError => "none, 2xx".to_owned(),
            Statuses::Of(list) => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        let says = match self.says {
            Says::Anything => "",
            Says::Yes => "`x-should-retry: true`",
            Says::No => "`x-should-retry: false`",
            Says::When => "`Retry-After`",
        };
        let again = match self.again {
            Again::Yes => "yes",
            Again::No => "no",
            Again::IfIdempotent => "if idempotent",
        };
        format!("| {kinds} | {statuses} | {says} | {again} | {} |", self.why)
    }
}

/// The rule for a failure. The last one is for every failure.
pub fn rule_for(failure: &Failure) -> &'static Rule {
    RULES.iter().find(|rule| rule.applies(failure)).unwrap_or(&RULES[RULES.len() - 1])
}

/// How long to wait before the next attempt; none when there is to be none, as when the wait would end after the deadline.
///
/// `previous` is the last such wait of this request, zero before the first; `jitter` is in 0..=1; `left` is the time until the deadline.
pub fn wait_before_retry(failure: &Failure, idempotence: Idempotence, previous: Duration, jitter: f64, left: Duration) -> Option<Duration> {
    let again = match rule_for(failure).again {
        Again::Yes => true,
        Again::No => false,
        Again::IfIdempotent => idempotence == Idempotence::Idempotent,
    };
    let wait = || failure.retry_after_ms.map_or_else(|| backoff(previous, jitter), Duration::from_millis);
    again.then(wait).filter(|wait| *wait < left)
}

/// Decorrelated jitter: evenly between 250 ms and three times the wait before, at most 8 s. Never next to nothing, which would waste one of few attempts as
/// full jitter does, and spread so wide that sessions that failed together do not come back together.
fn backoff(previous: Duration, jitter: f64) -> Duration {
    let most = previous.max(SHORTEST_WAIT).saturating_mul(3).min(LONGEST_WAIT);
    SHORTEST_WAIT + most.saturating_sub(SHORTEST_WAIT).mul_f64(jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    const KINDS: [F; 18] = [
        F::InvalidRequest,
        F::Authentication,
        F::Permission,
        F::NotFound,
        F::ContextLength,
        F::ContentFilter,
        F::RateLimit,
        F::Quota,
        F::Overloaded,
        F::Server,
        F::Timeout,
        F::Connect,
        F::Broken,
        F::Protocol,
        F::Unsupported,
        F::Refused,
        F::TooLarge,
        F::Cancelled,
    ];

    fn failure(kind: F, status: Option<u16>, retryable: Option<bool>, retry_after_ms: Option<u64>) -> Failure {
        Failure { status, retryable, retry_after_ms, ..Failure::new(kind, "") }
    }

    fn again(failure: &Failure, idempotence: Idempotence) -> bool {
        wait_before_retry(failure, idempotence, Duration::ZERO, 0.5, HOUR).is_some()
    }

    /// The policy once more, in other words than the table's: by what is known to have happened.
    fn expected(f: &Failure, idempotence: Idempotence) -> bool {
        let ours = matches!(f.kind, F::Cancelled | F::Refused | F::TooLarge);
        let turned_away = matches!(f.kind, F::RateLimit | F::Overloaded | F::Connect) || matches!(f.status, Some(408 | 409));
        let failed = f.kind == F::Server
            && (f.retry_after_ms.is_some() || f.status.is_none_or(|s| matches!(s, 200..=299 | 500 | 502 | 503 | 521 | 522 | 523 | 529)));
        let in_the_dark = matches!(f.kind, F::Broken | F::Timeout) || f.kind == F::Server && matches!(f.status, Some(504 | 520 | 524));
        match f.retryable {
            _ if ours => false,
            Some(false) => false,
            Some(true) if f.status.is_some() => true,
            _ if f.kind == F::Quota => false,
            _ => turned_away || failed || in_the_dark && idempotence == Idempotence::Idempotent,
        }
    }

    #[test]
    fn every_kind_with_every_status_and_every_hint_is_judged_as_meant() {
        let statuses = std::iter::once(None).chain((100..=599).map(Some));
        let mut judged = 0;
        for status in statuses {
            for kind in KINDS {
                for retryable in [None, Some(false), Some(true)] {
                    for retry_after_ms in [None, Some(0), Some(1000)] {
                        for idempotence in [Idempotence::Idempotent, Idempotence::NotIdempotent] {
                            let f = failure(kind, status, retryable, retry_after_ms);
                            assert_eq!(again(&f, idempotence), expected(&f, idempotence), "{f:?} {idempotence:?}: {:?}", rule_for(&f));
                            judged += 1;
                        }
                    }
                }
            }
        }
        assert_eq!(judged, 501 * 18 * 3 * 3 * 2);
    }

    #[test]
    fn every_rule_is_the_first_that_applies_to_some_failure() {
        let mut used = vec![false; RULES.len()];
        for status in std::iter::once(None).chain((200..=599).map(Some)) {
            for kind in KINDS {
                for retryable in [None, Some(false), Some(true)] {
                    for retry_after_ms in [None, Some(0)] {
                        let f = failure(kind, status, retryable, retry_after_ms);
                        used[RULES.iter().position(|rule| rule.applies(&f)).expect("a rule for every failure")] = true;
                    }
                }
            }
        }
        assert!(used.iter().all(|used| *used), "{used:?}");
    }

    #[test]
    fn the_documentation_has_the_table() {
        let page = include_str!("../../../docs/fallback.md");
        let table: String = RULES.iter().map(|rule| rule.row() + "\n").collect();
        assert!(page.contains(&table), "docs/fallback.md is to have these rows:\n{table}");
    }

    #[test]
    fn a_chat_that_may_have_been_done_is_not_repeated_and_an_embedding_is() {
        for (kind, status) in [(F::Broken, None), (F::Timeout, None), (F::Server, Some(504))] {
            let f = failure(kind, status, None, None);
            assert!(!again(&f, Idempotence::NotIdempotent), "{kind:?}");
            assert!(again(&f, Idempotence::Idempotent), "{kind:?}");
        }
        let claimed = failure(F::Broken, None, Some(true), None);
        assert!(!again(&claimed, Idempotence::NotIdempotent), "no provider can have said so without an answer");
    }

    #[test]
    fn the_providers_time_counts_and_the_deadline_more() {
        let f = failure(F::RateLimit, Some(429), None, Some(2000));
        let wait = |left| wait_before_retry(&f, Idempotence::NotIdempotent, Duration::ZERO, 0.0, left);
        assert_eq!(wait(HOUR), Some(Duration::from_secs(2)));
        assert_eq!(wait(Duration::from_secs(2)), None);
        let never = failure(F::RateLimit, Some(429), None, Some(u64::MAX));
        assert_eq!(wait_before_retry(&never, Idempotence::NotIdempotent, Duration::ZERO, 0.0, HOUR), None);
    }

    #[test]
    fn backing_off_grows_by_chance_between_its_bounds() {
        let mut longest = Duration::ZERO;
        let waits: Vec<_> = (0..6)
            .map(|_| {
                longest = backoff(longest, 1.0);
                longest.as_millis()
            })
            .collect();
        assert_eq!(waits, [750, 2250, 6750, 8000, 8000, 8000]);
        for previous in [Duration::ZERO, SHORTEST_WAIT, LONGEST_WAIT, Duration::MAX] {
            assert_eq!(backoff(previous, 0.0), SHORTEST_WAIT);
            assert!(backoff(previous, 2.0) <= LONGEST_WAIT);
        }
    }
}
