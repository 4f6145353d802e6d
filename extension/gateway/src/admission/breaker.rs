//! The circuit breaker: a model that fails again and again is left alone for a while, and then tried by one call.

use super::Nanos;

/// A pause is doubled with every probe that fails, up to this.
const LONGEST_PAUSE: Nanos = 120_000_000_000;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Failures in a row; 0: it never opens.
    pub failures: u32,
    /// The first pause.
    pub pause: Nanos,
}

impl Default for Policy {
    fn default() -> Self {
        Self { failures: 10, pause: 2_000_000_000 }
    }
}

/// A breaker. All zeroes are a closed one without failures.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Breaker {
    /// In a row.
    failures: u32,
    /// Whether somebody is trying it.
    probing: u32,
    /// The pause that it is in, or was in last; 0: closed.
    pause: Nanos,
    opened_at: Nanos,
    /// When it may be tried again.
    next_probe: Nanos,
    /// The probe's own end; a probe that has not come back by then is taken for lost.
    probe_until: Nanos,
}

/// Whom a breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lets {
    /// Closed: everybody.
    All,
    /// Half open: the one who asks, as its probe.
    Probe,
    /// Nobody.
    Nobody {
        /// When it may be tried again, from now; 0: it is being tried.
        retry_in: Nanos,
    },
}

/// As it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Everybody is let through.
    Closed,
    /// Nobody is.
    Open,
    /// One is, or would be.
    HalfOpen,
}

impl Breaker {
    /// Whom it lets through now.
    pub(super) fn lets(&mut self, policy: Policy, now: Nanos) -> Lets {
        if self.pause == 0 || policy.failures == 0 {
            return Lets::All;
        }
        // After a clock that went backwards.
        self.next_probe = self.next_probe.min(now.saturating_add(LONGEST_PAUSE));
        let retry_in = self.next_probe.saturating_sub(now);
        if retry_in > 0 {
            return Lets::Nobody { retry_in };
        }
        if self.probing != 0 && now < self.probe_until && self.opened_at <= now {
            return Lets::Nobody { retry_in: 0 };
        }
        Lets::Probe
    }

    /// The one who was let through as a probe goes; it comes back by `until`, or never.
    pub(super) fn begin_probe(&mut self, until: Nanos) {
        self.probing = 1;
        self.probe_until = until;
    }

    /// A call succeeded, or was answered in another way that shows that somebody is there.
    pub(super) fn alive(&mut self, probe: bool) {
        // A call that began before the breaker opened says nothing of what is now.
        if probe || self.pause == 0 {
            *self = Self::default();
        }
    }

    /// A call failed.
    pub(super) fn failed(&mut self, probe: bool, policy: Policy, now: Nanos) {
        self.failures = self.failures.saturating_add(1);
        let pause = match self.pause {
            0 if policy.failures > 0 && self.failures >= policy.failures => policy.pause,
            pause if probe && pause > 0 => pause.saturating_mul(2),
            _ => return,
        };
        self.pause = pause.clamp(1, LONGEST_PAUSE);
        self.probing = 0;
        self.opened_at = now;
        self.next_probe = now.saturating_add(self.pause);
    }

    /// A call ended in a way that says nothing of the model. Its probe, if it was one, is another's.
    pub(super) fn undecided(&mut self, probe: bool) {
        if probe {
            self.probing = 0;
        }
    }

    /// As it is shown.
    pub(super) fn phase(&self, now: Nanos) -> Phase {
        match (self.pause, self.next_probe > now) {
            (0, _) => Phase::Closed,
            (_, true) => Phase::Open,
            (_, false) => Phase::HalfOpen,
        }
    }

    /// When it opened, if it is not closed.
    pub(super) fn opened_at(&self) -> Option<Nanos> {
        (self.pause > 0).then_some(self.opened_at)
    }

    /// Failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Nanos = 1_000_000_000_000;
    const POLICY: Policy = Policy { failures: 3, pause: 1_000 };

    fn open() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            breaker.failed(false, POLICY, NOW);
        }
        breaker
    }

    #[test]
    fn it_opens_after_so_many_failures_in_a_row_and_not_before() {
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            breaker.failed(false, POLICY, NOW);
            breaker.failed(false, POLICY, NOW);
            assert_eq!(breaker.lets(POLICY, NOW), Lets::All);
            breaker.alive(false);
        }
        assert_eq!(open().lets(POLICY, NOW), Lets::Nobody { retry_in: 1_000 });
        assert_eq!(open().phase(NOW), Phase::Open);
    }

    #[test]
    fn after_its_pause_one_probe_and_no_other_is_let_through() {
        let mut breaker = open();
        let then = NOW + 1_000;
        assert_eq!((breaker.lets(POLICY, then), breaker.phase(then)), (Lets::Probe, Phase::HalfOpen));
        breaker.begin_probe(then + 50);
        assert_eq!(breaker.lets(POLICY, then), Lets::Nobody { retry_in: 0 });
        breaker.alive(true);
        assert_eq!(breaker, Breaker::default());
    }

    #[test]
    fn its_pause_doubles_up_to_a_bound() {
        let (mut breaker, mut now) = (open(), NOW);
        let mut pauses = Vec::new();
        for _ in 0..40 {
            let Lets::Nobody { retry_in } = breaker.lets(POLICY, now) else { panic!("open") };
            pauses.push(retry_in);
            now += retry_in;
            assert_eq!(breaker.lets(POLICY, now), Lets::Probe);
            breaker.begin_probe(now + 1);
            breaker.failed(true, POLICY, now);
        }
        assert_eq!(pauses[..4], [1_000, 2_000, 4_000, 8_000]);
        assert_eq!(pauses.last(), Some(&LONGEST_PAUSE));
    }

    #[test]
    fn a_probe_that_is_lost_or_says_nothing_gives_way_to_another() {
        let mut breaker = open();
        let then = NOW + 1_000;
        breaker.begin_probe(then + 50);
        breaker.undecided(true);
        assert_eq!(breaker.lets(POLICY, then), Lets::Probe);
        breaker.begin_probe(then + 50);
        breaker.undecided(false);
        assert_eq!(breaker.lets(POLICY, then), Lets::Nobody { retry_in: 0 });
        assert_eq!(breaker.lets(POLICY, then + 50), Lets::Probe);
    }

    #[test]
    fn calls_that_began_before_it_opened_change_nothing() {
        let mut breaker = open();
        let before = breaker;
        breaker.alive(false);
        breaker.undecided(false);
        assert_eq!(breaker, before);
        breaker.failed(false, POLICY, NOW + 500);
        assert_eq!(breaker.lets(POLICY, NOW + 500), Lets::Nobody { retry_in: 500 });
    }

    #[test]
    fn a_clock_that_goes_backwards_keeps_nobody_out_for_long() {
        let mut breaker = open();
        assert_eq!(breaker.lets(POLICY, 5), Lets::Nobody { retry_in: LONGEST_PAUSE });
        assert_eq!(breaker.lets(POLICY, 5 + LONGEST_PAUSE), Lets::Probe);
        breaker.begin_probe(u64::MAX);
        assert_eq!(breaker.lets(POLICY, 6 + LONGEST_PAUSE), Lets::Probe, "whoever began it at another time is taken for lost");
    }

    #[test]
    fn where_it_is_switched_off_it_lets_everybody_through() {
        let off = Policy { failures: 0, pause: 1_000 };
        let mut breaker = Breaker::default();
        for _ in 0..1_000 {
            breaker.failed(false, off, NOW);
        }
        assert_eq!(breaker.lets(off, NOW), Lets::All);
        assert_eq!(open().lets(off, NOW), Lets::All);
        assert_eq!(breaker.failures(), 1_000);
        let wild = Policy { failures: 1, pause: u64::MAX };
        breaker.failed(false, wild, u64::MAX);
        assert_eq!(breaker.lets(wild, u64::MAX), Lets::Probe, "time does not run over");
    }
}
