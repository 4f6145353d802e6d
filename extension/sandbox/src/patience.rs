//! The call that the current thread is in: how its waits end.
//!
//! ureq keeps connections beyond a call, so a transport cannot hold the call's interrupt and deadline. A call stays on one thread; it leaves them here.

use std::cell::{Cell, RefCell};
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::interrupt::{Interest, Interrupt, Wake};

/// Why the host itself ended a wait or a connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Stopped,
    TimedOut,
    /// The resolved address is not allowed.
    Refused(String),
    /// The system has none left of what a connection needs.
    Exhausted(&'static str),
}

/// One call's patience.
pub(crate) struct Patience {
    pub(crate) interrupt: Arc<dyn Interrupt>,
    pub(crate) deadline: Cell<Instant>,
    /// Addresses that are not public are allowed: by the request at hand.
    pub(crate) private_ok: Cell<bool>,
    cause: RefCell<Option<Cause>>,
    /// Since when a connection is being made, while it is: nothing of the request has been sent.
    pub(crate) connecting: Cell<Option<Instant>>,
    /// How long making connections took.
    pub(crate) connect_time: Cell<Duration>,
    /// Only what is there at once is wanted.
    pub(crate) no_waiting: Cell<bool>,
}

impl Patience {
    pub(crate) fn new(interrupt: Arc<dyn Interrupt>, deadline: Instant, private_ok: bool) -> Rc<Self> {
        Rc::new(Self {
            interrupt,
            deadline: Cell::new(deadline),
            private_ok: Cell::new(private_ok),
            cause: RefCell::new(None),
            connecting: Cell::new(None),
            connect_time: Cell::new(Duration::ZERO),
            no_waiting: Cell::new(false),
        })
    }

    /// Waits, and remembers why the wait failed.
    pub(crate) fn wait(&self, on: Option<(BorrowedFd<'_>, Interest)>, until: Option<Instant>) -> Wake {
        let own = self.deadline.get();
        let deadline = until.map_or(own, |u| u.min(own));
        match self.interrupt.wait(on, deadline) {
            Wake::Stopped => {
                self.set_cause(Cause::Stopped);
                Wake::Stopped
            }
            Wake::TimedOut if deadline == own => {
                self.set_cause(Cause::TimedOut);
                Wake::TimedOut
            }
            other => other,
        }
    }

    pub(crate) fn set_cause(&self, cause: Cause) {
        self.cause.borrow_mut().get_or_insert(cause);
    }

    /// The first cause, if there was one.
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.cause.borrow().clone()
    }

    /// Forgets a refusal, which concerns one request only. The others concern the whole call and stay.
    pub(crate) fn clear_refusal(&self) {
        let mut cause = self.cause.borrow_mut();
        if matches!(*cause, Some(Cause::Refused(_))) {
            *cause = None;
        }
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Patience>>> = const { RefCell::new(None) };
}

/// Puts `patience` in force on this thread until the guard is dropped.
pub(crate) fn enter(patience: &Rc<Patience>) -> Entered {
    Entered(CURRENT.with(|c| c.replace(Some(Rc::clone(patience)))))
}

/// See [`enter`].
pub(crate) struct Entered(Option<Rc<Patience>>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.with(|c| *c.borrow_mut() = self.0.take());
    }
}

/// The call that this thread is in.
pub(crate) fn current() -> Option<Rc<Patience>> {
    CURRENT.with(|c| c.borrow().clone())
}
