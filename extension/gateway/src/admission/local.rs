//! Admission for one process: where nothing is shared with others.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::{Admission, Answer, Bells, Limits, Nanos, Pass, Request, Ring, Settlement, Shown, State};

/// Of this process, over all models.
static IN_FLIGHT: AtomicU32 = AtomicU32::new(0);
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// None where there is no descriptor for them: then who waits looks again and again.
static OWN: OnceLock<Option<Bells>> = OnceLock::new();

/// A model's state in this process.
#[derive(Debug, Default)]
pub struct Local(Mutex<State>);

impl Local {
    /// A model that nobody has called.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bells() -> Option<&'static Bells> {
    OWN.get_or_init(|| Bells::new().ok()).as_ref()
}

fn ring(whom: Ring) {
    if let (Some(number), Some(bells)) = (whom, bells()) {
        bells.ring(number);
    }
}

impl Admission for Local {
    fn now(&self) -> Nanos {
        static BEGIN: OnceLock<Instant> = OnceLock::new();
        // Not 0 at the begin: a time of 0 is none.
        u64::try_from(BEGIN.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn ask(&self, limits: &Limits, request: &Request) -> Answer {
        let now = self.now();
        let answer = self.state().ask(limits, request, &IN_FLIGHT, now);
        if let Answer::Enter(_, whom) = answer {
            ring(whom);
        }
        answer
    }

    fn leave(&self, limits: &Limits, pass: Pass, settlement: &Settlement) {
        let now = self.now();
        let whom = self.state().leave(limits, pass, settlement, &IN_FLIGHT, now);
        ring(whom);
    }

    fn give_up(&self, ticket: u64, turned_away: bool) {
        self.state().give_up(ticket, turned_away);
    }

    fn claim_bell(&self) -> Option<u16> {
        bells()?.claim(&TAKEN)
    }

    fn bell(&self, number: u16) -> Option<BorrowedFd<'_>> {
        bells()?.get(number)
    }

    fn release_bell(&self, number: u16) {
        Bells::release(&TAKEN, number);
    }

    fn show(&self, limits: &Limits) -> Option<Shown> {
        Some(self.state().show(limits, self.now()))
    }

    fn is_shared(&self) -> bool {
        false
    }
}
