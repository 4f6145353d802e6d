//! Waiting to be let in, and the permit that comes of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pg_llm_sandbox::interrupt::{Interest, Interrupt, Wake};

use super::bells::hush;
use super::queue::Waiter;
use super::{Admission, Answer, Denied, Limit, Limits, Nanos, Pass, Request, Settlement};
use crate::budget::{Budget, Reservation};
use crate::price::{Cost, Currency};

/// Who waits looks again after so long, whether its bell rang or not.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The same where no bell will ring.
const LOOK_AGAIN_SOON: Duration = Duration::from_millis(5);

/// The right to one request. Dropping it gives it back.
pub(crate) struct Permit {
    admission: Arc<dyn Admission>,
    limits: Limits,
    pass: Pass,
    /// What is said of the request when nobody says more.
    settlement: Settlement,
    /// What it holds of budgets, where there are some.
    reservation: Option<Reservation>,
}

impl Permit {
    /// The same for a request that its budgets have room for, at this estimate.
    ///
    /// # Errors
    /// When one has not: the request is not made.
    pub(crate) fn within(mut self, budgets: &Arc<[Budget]>, cost: Option<(Cost, Currency)>, tokens: u32) -> Result<Self, Denied> {
        match Reservation::hold(budgets, cost, tokens.into()) {
            Ok(reservation) => {
                self.reservation = Some(reservation);
                Ok(self)
            }
            Err(refused) => {
                self.settle(Settlement::unsent());
                Err(Denied::Budget(refused))
            }
        }
    }

    /// The provider has answered. What it took is not known yet.
    pub(crate) fn answered(&mut self) {
        self.settlement = Settlement::alive(None);
    }

    /// The request is over.
    pub(crate) fn settle(mut self, settlement: Settlement) {
        self.settlement = settlement;
    }

    /// How long it has been held.
    pub(crate) fn lasted(&self) -> Nanos {
        self.admission.now().saturating_sub(self.pass.since)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            reservation.settle(&self.settlement);
        }
        self.admission.leave(&self.limits, self.pass, &self.settlement);
    }
}

/// Somebody who waits. Dropping it takes it out of the queue.
struct Waiting<'a> {
    admission: &'a dyn Admission,
    waiter: Waiter,
    turned_away: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // First out of the queue: nobody rings a bell that is another's by then.
        if self.waiter.ticket != 0 || self.turned_away {
            self.admission.give_up(self.waiter.ticket, self.turned_away);
        }
        if let Some(bell) = self.waiter.bell {
            self.admission.release_bell(bell);
        }
    }
}

/// Lets a request in that will take about so many `tokens`. Waits where that is needed, until `deadline` at most.
///
/// # Errors
/// When it is turned away, or the interrupt ends the wait.
pub(crate) fn enter(
    admission: &Arc<dyn Admission>,
    limits: &Limits,
    tokens: u32,
    deadline: Instant,
    interrupt: &Arc<dyn Interrupt>,
) -> Result<Permit, Denied> {
    let mut waiting = Waiting { admission: admission.as_ref(), waiter: Waiter { tokens, ..Waiter::default() }, turned_away: false };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let request = Request { waiter: waiting.waiter, until: admission.now().saturating_add(nanos(left)) };
        let (limit, least) = match admission.ask(limits, &request) {
            Answer::Enter(pass, _) => {
                // Its place in the queue is given up already.
                waiting.waiter.ticket = 0;
                return Ok(Permit {
                    admission: Arc::clone(admission),
                    limits: *limits,
                    pass,
                    settlement: Settlement::undecided(),
                    reservation: None,
                });
            }
            Answer::Broken { failures, retry_in } => {
                waiting.waiter.ticket = 0;
                return Err(Denied::Broken { failures, retry_in: Duration::from_nanos(retry_in) });
            }
            Answer::Wait { ticket, limit, least } => {
                waiting.waiter.ticket = ticket;
                (limit, least.map(Duration::from_nanos))
            }
        };
        if left.is_zero() || least.is_some_and(|least| least > left) {
            waiting.turned_away = true;
            return Err(Denied::Limit { limit, least });
        }
        if waiting.waiter.bell.is_none() {
            waiting.waiter.bell = admission.claim_bell();
            if waiting.waiter.bell.is_some() {
                // Asks once more, now that it can be woken.
                continue;
            }
        }
        let bell = waiting.waiter.bell.and_then(|number| admission.bell(number));
        let pause = if bell.is_none() || limit == Limit::Server { LOOK_AGAIN_SOON } else { LOOK_AGAIN };
        let until = Instant::now() + pause.min(left).min(least.unwrap_or(pause));
        if interrupt.wait(bell.map(|fd| (fd, Interest::Read)), until) == Wake::Stopped {
            return Err(Denied::Stopped);
        }
        if let Some(bell) = bell {
            hush(bell);
        }
    }
}

fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::Local;
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    use pg_llm_sandbox::interrupt::StopSwitch;

    fn admission() -> Arc<dyn Admission> {
        Arc::new(Local::new())
    }

    fn interrupt() -> Arc<dyn Interrupt> {
        Arc::new(StopSwitch::new().unwrap())
    }

    fn far() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    const ONE: Limits = Limits {
        max_concurrency: 1,
        rpm: 0,
        tpm: 0,
        server: 0,
        breaker: super::super::BreakerPolicy { failures: 0, pause: 0 },
        generation: 0,
    };

    #[test]
    fn never_more_than_the_limit_are_in_and_all_get_in() {
        let (admission, limits) = (admission(), Limits { max_concurrency: 3, ..ONE });
        let (inside, most) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..24 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let permit = enter(&admission, &limits, 0, far(), &interrupt()).map_err(|_| ()).unwrap();
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                    }
                });
            }
        });
        assert_eq!(most.into_inner(), 3);
        let shown = admission.show(&limits).unwrap();
        assert_eq!((shown.in_flight, shown.waiting, shown.admitted), (0, 0, 24 * 50));
    }

    #[test]
    fn a_wait_ends_with_the_deadline_and_leaves_nothing_behind() {
        let admission = admission();
        let held = enter(&admission, &ONE, 0, far(), &interrupt()).map_err(|_| ()).unwrap();
        let soon = Instant::now() + Duration::from_millis(20);
        assert!(matches!(enter(&admission, &ONE, 0, soon, &interrupt()), Err(Denied::Limit { limit: Limit::Concurrency, least: None })));
        let shown = admission.show(&ONE).unwrap();
        assert_eq!((shown.waiting, shown.rejected), (0, 1));
        drop(held);
        assert!(enter(&admission, &ONE, 0, far(), &interrupt()).is_ok());
    }

    #[test]
    fn what_cannot_be_in_time_is_not_waited_for() {
        let (admission, limits) = (admission(), Limits { max_concurrency: 0, rpm: 1, ..ONE });
        drop(enter(&admission, &limits, 0, far(), &interrupt()));
        let before = admission.show(&limits).unwrap().admitted;
        // A permit that was settled with nothing known keeps its charge, so the next one is a minute away.
        let denied = enter(&admission, &limits, 0, Instant::now() + Duration::from_secs(30), &interrupt());
        assert!(matches!(denied, Err(Denied::Limit { limit: Limit::Requests, least: Some(_) })));
        assert_eq!(admission.show(&limits).unwrap().admitted, before);
    }

    #[test]
    fn an_interrupt_ends_a_wait() {
        let admission = admission();
        let _held = enter(&admission, &ONE, 0, far(), &interrupt());
        let switch = StopSwitch::new().unwrap();
        let interrupt: Arc<dyn Interrupt> = Arc::new(switch.clone());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| enter(&admission, &ONE, 0, far(), &interrupt));
            while admission.show(&ONE).unwrap().waiting == 0 {
                std::thread::yield_now();
            }
            switch.throw();
            assert!(matches!(waiting.join().unwrap(), Err(Denied::Stopped)));
        });
        let shown = admission.show(&ONE).unwrap();
        assert_eq!((shown.waiting, shown.rejected), (0, 0));
    }
}
