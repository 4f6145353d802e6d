//! What a request that is over says of its model.

use pg_llm_sandbox::CallError;
use pg_llm_sandbox::types::{Failure, FailureKind, Usage};

use super::Nanos;
use crate::price::Cost;

/// A call whose time was over sooner than this says more of its caller's patience than of the model.
const SILENCE: Nanos = 10_000_000_000;

/// Whether the model works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answered, be it that the request was wrong.
    Alive,
    /// It could not be reached, broke off, or failed.
    Failed,
    /// Nothing is known.
    Undecided,
}

/// What a request that is over leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// For the breaker.
    pub verdict: Verdict,
    /// The tokens that it took, where that is known.
    pub tokens: Option<u64>,
    /// What it cost, likewise.
    pub cost: Option<Cost>,
    /// For so long the provider does not want to be asked.
    pub hold_back: Option<Nanos>,
    /// Nothing reached the provider.
    pub unsent: bool,
}

impl Settlement {
    /// The provider answered.
    pub fn alive(tokens: Option<u64>) -> Self {
        Self { verdict: Verdict::Alive, tokens, ..Self::undecided() }
    }

    /// It failed.
    pub fn failed() -> Self {
        Self { verdict: Verdict::Failed, ..Self::undecided() }
    }

    /// Nobody knows.
    pub fn undecided() -> Self {
        Self { verdict: Verdict::Undecided, tokens: None, cost: None, hold_back: None, unsent: false }
    }

    /// The request was not made after all.
    pub fn unsent() -> Self {
        Self { tokens: Some(0), cost: Some(Cost::ZERO), unsent: true, ..Self::undecided() }
    }

    /// The provider answered with this usage.
    pub fn answered(usage: Option<&Usage>) -> Self {
        let tokens = usage.filter(|u| u.input_tokens.is_some() || u.output_tokens.is_some());
        Self::alive(tokens.map(|u| u.input_tokens.unwrap_or(0).saturating_add(u.output_tokens.unwrap_or(0))))
    }

    /// What an error after so long says.
    pub fn of(error: &CallError, lasted: Nanos) -> Self {
        match error {
            CallError::Failed(failure) => Self::of_failure(failure, lasted),
            CallError::TimedOut if lasted >= SILENCE => Self::failed(),
            _ => Self::undecided(),
        }
    }

    fn of_failure(failure: &Failure, lasted: Nanos) -> Self {
        use FailureKind as F;
        let verdict = match failure.kind {
            F::Connect | F::Broken | F::Server | F::Overloaded => Verdict::Failed,
            F::Timeout if failure.status.is_none() && lasted >= SILENCE => Verdict::Failed,
            _ if failure.status.is_some_and(|s| s >= 400) => Verdict::Alive,
            _ => Verdict::Undecided,
        };
        let asks_for_time = matches!(failure.kind, F::RateLimit | F::Overloaded) || matches!(failure.status, Some(429 | 503));
        let unsent = matches!(failure.kind, F::Connect | F::Refused | F::Unsupported);
        // An error costs nothing. What broke off may have cost as much as was thought.
        let free = unsent || failure.status.is_some_and(|s| s >= 400);
        Self {
            verdict,
            tokens: free.then_some(0),
            cost: free.then_some(Cost::ZERO),
            hold_back: failure.retry_after_ms.filter(|_| asks_for_time).map(|ms| ms.saturating_mul(1_000_000)),
            unsent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: FailureKind, status: Option<u16>, retry_after_ms: Option<u64>) -> CallError {
        let message = String::new();
        CallError::Failed(Failure { kind, status, code: None, message, retry_after_ms, retryable: None, request_id: None, raw: None })
    }

    fn verdict(kind: FailureKind, status: Option<u16>) -> Verdict {
        Settlement::of(&failed(kind, status, None), SILENCE).verdict
    }

    #[test]
    fn what_fails_by_itself_counts_against_a_model_and_what_the_caller_did_wrong_does_not() {
        use FailureKind as F;
        for (kind, status) in [
            (F::Connect, None),
            (F::Broken, None),
            (F::Timeout, None),
            (F::Server, Some(500)),
            (F::Overloaded, Some(503)),
            (F::Overloaded, Some(529)),
        ] {
            assert_eq!(verdict(kind, status), Verdict::Failed, "{kind:?}");
        }
        for (kind, status) in [
            (F::InvalidRequest, 400),
            (F::Authentication, 401),
            (F::Permission, 403),
            (F::NotFound, 404),
            (F::RateLimit, 429),
            (F::Quota, 429),
            (F::Timeout, 408),
        ] {
            assert_eq!(verdict(kind, Some(status)), Verdict::Alive, "{kind:?}");
        }
        for kind in [F::Refused, F::TooLarge, F::Unsupported, F::Cancelled, F::Authentication, F::Protocol] {
            assert_eq!(verdict(kind, None), Verdict::Undecided, "{kind:?}");
        }
        assert_eq!(Settlement::of(&CallError::Stopped, SILENCE), Settlement::undecided());
    }

    #[test]
    fn an_impatient_caller_says_nothing_of_the_model() {
        assert_eq!(Settlement::of(&CallError::TimedOut, SILENCE - 1).verdict, Verdict::Undecided);
        assert_eq!(Settlement::of(&CallError::TimedOut, SILENCE).verdict, Verdict::Failed);
    }

    #[test]
    fn only_who_asks_for_time_gets_it() {
        use FailureKind as F;
        let hold = |kind, status| Settlement::of(&failed(kind, status, Some(2_000)), 0).hold_back;
        assert_eq!(hold(F::RateLimit, Some(429)), Some(2_000_000_000));
        assert_eq!(hold(F::Overloaded, Some(503)), Some(2_000_000_000));
        assert_eq!(hold(F::Server, Some(500)), None);
        assert_eq!(Settlement::of(&failed(F::RateLimit, Some(429), Some(u64::MAX)), 0).hold_back, Some(u64::MAX));
    }

    #[test]
    fn tokens_are_what_the_usage_says_none_for_an_error_and_unknown_where_it_broke_off() {
        use FailureKind as F;
        assert_eq!(Settlement::of(&failed(F::InvalidRequest, Some(400), None), 0).tokens, Some(0));
        assert_eq!(Settlement::of(&failed(F::Connect, None, None), 0), Settlement { verdict: Verdict::Failed, ..Settlement::unsent() });
        assert_eq!(Settlement::of(&failed(F::Broken, None, None), 0).tokens, None);
        assert_eq!(Settlement::answered(None).tokens, None);
    }
}
