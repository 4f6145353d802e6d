//! When a failed call is made again.
//!
//! | failure | again? | when |
//! |---|---|---|
//! | no connection (`connect`) | yes: nothing was sent | back-off |
//! | 408, 409, 429, 500, 502, 503, 504, 529 | yes: the provider answered that it did not do it | the provider's hint, else back-off |
//! | any of these with `x-should-retry: false`, or `quota` | no | |
//! | any with `x-should-retry: true` | yes | the provider's hint, else back-off |
//! | broken off, timed out, no valid answer | no: it may have been processed, and paid for | |
//! | anything else | no | |
//!
//! Never when the wait would end after the call's deadline.

use std::time::Duration;

use pg_llm_sandbox::types::{Failure, FailureKind};

/// Attempts where neither options nor model say a number.
pub const DEFAULT_ATTEMPTS: u32 = 3;

const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LONGEST_BACKOFF: Duration = Duration::from_secs(8);

/// How long to wait before the next attempt; none when there is to be none.
///
/// `attempt` counts from 1 and is the one that failed; `jitter` is in 0..=1; `left` is the time until the deadline.
pub fn wait_before_retry(failure: &Failure, attempt: u32, jitter: f64, left: Duration) -> Option<Duration> {
    if !is_retryable(failure) {
        return None;
    }
    let wait = match failure.retry_after_ms {
        Some(ms) => Duration::from_millis(ms),
        None => backoff(attempt).mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0)),
    };
    (wait < left).then_some(wait)
}

fn is_retryable(failure: &Failure) -> bool {
    use FailureKind as F;
    if let Some(said) = failure.retryable {
        return said && !matches!(failure.kind, F::Cancelled | F::Refused | F::TooLarge);
    }
    match failure.kind {
        F::Connect => true,
        F::RateLimit | F::Overloaded | F::Server => {
            failure.status.is_none_or(|s| matches!(s, 408 | 409 | 429 | 500 | 502 | 503 | 504 | 529))
        }
        _ => matches!(failure.status, Some(408 | 409)),
    }
}

/// Doubles from 250 ms to 8 s.
fn backoff(attempt: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(LONGEST_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: FailureKind, status: Option<u16>) -> Failure {
        Failure { kind, status, code: None, message: String::new(), retry_after_ms: None, retryable: None, request_id: None, raw: None }
    }

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn what_the_provider_did_not_do_is_tried_again() {
        use FailureKind as F;
        for (kind, status) in
            [(F::RateLimit, Some(429)), (F::Overloaded, Some(503)), (F::Overloaded, Some(529)), (F::Server, Some(500)), (F::Connect, None)]
        {
            assert!(wait_before_retry(&failure(kind, status), 1, 0.5, HOUR).is_some(), "{kind:?}");
        }
    }

    #[test]
    fn what_may_have_been_done_is_not() {
        use FailureKind as F;
        for (kind, status) in [
            (F::Broken, None),
            (F::Timeout, None),
            (F::Protocol, Some(200)),
            (F::InvalidRequest, Some(400)),
            (F::Authentication, Some(401)),
            (F::Quota, Some(429)),
            (F::Server, Some(501)),
            (F::Cancelled, None),
            (F::Refused, None),
        ] {
            assert_eq!(wait_before_retry(&failure(kind, status), 1, 0.5, HOUR), None, "{kind:?}");
        }
    }

    #[test]
    fn the_providers_word_counts_and_the_deadline_more() {
        let mut f = failure(FailureKind::RateLimit, Some(429));
        f.retry_after_ms = Some(2000);
        assert_eq!(wait_before_retry(&f, 1, 0.0, HOUR), Some(Duration::from_secs(2)));
        assert_eq!(wait_before_retry(&f, 1, 0.0, Duration::from_secs(2)), None);
        f.retryable = Some(false);
        assert_eq!(wait_before_retry(&f, 1, 0.0, HOUR), None);
        let mut f = failure(FailureKind::InvalidRequest, Some(400));
        f.retryable = Some(true);
        assert!(wait_before_retry(&f, 1, 0.0, HOUR).is_some());
    }

    #[test]
    fn backing_off_doubles_up_to_a_bound() {
        let f = failure(FailureKind::Server, Some(500));
        let waits: Vec<_> = (1..=8).filter_map(|n| wait_before_retry(&f, n, 1.0, HOUR)).map(|w| w.as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
        assert_eq!(wait_before_retry(&f, 1, 0.0, HOUR), Some(Duration::from_millis(125)));
    }
}
