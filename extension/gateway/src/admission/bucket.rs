//! How much of a rate is left: a token bucket that holds a minute's worth, kept as one number (the generic cell rate algorithm).

use super::Nanos;

/// What a rate counts in.
const MINUTE: Nanos = 60_000_000_000;
/// No correction, and no clock that went backwards, keeps a bucket from being full for longer than this.
const FURTHEST: Nanos = 5 * MINUTE;

/// A bucket. All zeroes are a full one.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    /// When it is full again.
    full_at: Nanos,
}

impl Bucket {
    /// How long until `amount` may be taken once `ahead` has been taken by others; 0: at once. More than a bucket holds is let through by a full one.
    pub(super) fn wait(self, amount: u64, ahead: u64, per_minute: u32, now: Nanos) -> Nanos {
        let wanted = time_of(amount.min(u64::from(per_minute)), per_minute).saturating_add(time_of(ahead, per_minute));
        self.backlog(now).saturating_add(wanted).saturating_sub(MINUTE)
    }

    /// Takes `amount`, of which a bucket can hold at most a minute's worth. Gives what was taken.
    pub(super) fn take(&mut self, amount: u32, per_minute: u32, now: Nanos) -> u32 {
        let amount = amount.min(per_minute);
        self.add(u64::from(amount), per_minute, now);
        amount
    }

    /// What was taken for `taken` was in truth `real`.
    pub(super) fn correct(&mut self, taken: u32, real: u64, per_minute: u32, now: Nanos) {
        let taken = u64::from(taken);
        if real > taken {
            self.add(real - taken, per_minute, now);
        } else {
            self.full_at = self.full_at.saturating_sub(time_of(taken - real, per_minute));
        }
    }

    /// What may be taken now.
    pub(super) fn left(self, per_minute: u32, now: Nanos) -> u32 {
        let room = MINUTE.saturating_sub(self.backlog(now));
        u32::try_from(u128::from(room) * u128::from(per_minute) / u128::from(MINUTE)).unwrap_or(u32::MAX)
    }

    /// Whether nothing was taken that has not come in again.
    pub(super) fn is_full(self, now: Nanos) -> bool {
        self.backlog(now) == 0
    }

    fn add(&mut self, amount: u64, per_minute: u32, now: Nanos) {
        self.full_at = now.saturating_add(self.backlog(now).saturating_add(time_of(amount, per_minute)).min(FURTHEST));
    }

    fn backlog(self, now: Nanos) -> Nanos {
        self.full_at.saturating_sub(now).min(FURTHEST)
    }
}

/// How long it takes until so much has come in.
fn time_of(amount: u64, per_minute: u32) -> Nanos {
    let nanos = u128::from(amount) * u128::from(MINUTE) / u128::from(per_minute.max(1));
    Nanos::try_from(nanos).unwrap_or(Nanos::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Nanos = 1_000 * MINUTE;

    /// How many of one can be taken at `now`.
    fn taken_at_once(bucket: &mut Bucket, rate: u32, now: Nanos) -> u32 {
        let mut taken = 0;
        while bucket.wait(1, 0, rate, now) == 0 && taken < 10_000_000 {
            bucket.take(1, rate, now);
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_full_bucket_holds_exactly_a_minutes_worth() {
        for rate in [1, 2, 3, 7, 59, 60, 61, 1_000, 100_003] {
            let mut bucket = Bucket::default();
            assert_eq!(bucket.left(rate, NOW), rate);
            assert_eq!(taken_at_once(&mut bucket, rate, NOW), rate, "{rate}");
            assert_eq!(bucket.left(rate, NOW), 0);
            assert_eq!(taken_at_once(&mut bucket, rate, NOW + MINUTE), rate, "{rate}, a minute later");
        }
    }

    #[test]
    fn it_fills_evenly() {
        let mut bucket = Bucket::default();
        taken_at_once(&mut bucket, 60, NOW);
        let second = 1_000_000_000;
        assert_eq!(bucket.wait(1, 0, 60, NOW), second);
        assert_eq!(bucket.wait(1, 3, 60, NOW), 4 * second, "three others are first");
        assert_eq!(bucket.wait(1, 0, 60, NOW + second / 2), second / 2);
        assert_eq!(taken_at_once(&mut bucket, 60, NOW + 10 * second), 10);
    }

    #[test]
    fn more_than_it_holds_needs_a_full_one_and_leaves_it_empty() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.wait(1_000_000, 0, 100, NOW), 0);
        assert_eq!(bucket.take(1_000_000, 100, NOW), 100);
        assert_eq!(bucket.left(100, NOW), 0);
        assert_eq!(bucket.wait(1_000_000, 0, 100, NOW), MINUTE);
    }

    #[test]
    fn what_was_taken_too_much_comes_back_and_what_was_too_little_is_owed() {
        let mut bucket = Bucket::default();
        let taken = bucket.take(50, 100, NOW);
        bucket.correct(taken, 10, 100, NOW);
        assert_eq!(bucket.left(100, NOW), 90);
        let taken = bucket.take(10, 100, NOW);
        bucket.correct(taken, 130, 100, NOW);
        assert_eq!(bucket.left(100, NOW), 0);
        assert_eq!(bucket.wait(1, 0, 100, NOW), MINUTE / 100 * 41);
        bucket.correct(130, 0, 100, NOW);
        assert!(bucket.left(100, NOW) > 80);
    }

    #[test]
    fn a_usage_that_cannot_be_true_stops_nobody_for_long() {
        let mut bucket = Bucket::default();
        bucket.correct(0, u64::MAX, 1, NOW);
        assert!(bucket.wait(1, 0, 1, NOW) <= FURTHEST);
        bucket.correct(u32::MAX, 0, 1, NOW);
        assert_eq!(bucket.left(1, NOW), 1, "nor does a correction overfill it");
        assert_eq!(bucket.wait(u64::MAX, u64::MAX, u32::MAX, u64::MAX), Nanos::MAX - MINUTE);
    }

    #[test]
    fn a_clock_that_goes_backwards_stops_nobody_for_long() {
        let mut bucket = Bucket::default();
        taken_at_once(&mut bucket, 60, NOW);
        assert!(bucket.wait(1, 0, 60, 0) <= FURTHEST);
        bucket.take(1, 60, 0);
        assert!(bucket.full_at <= FURTHEST);
    }
}
