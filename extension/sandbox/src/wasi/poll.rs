//! Waiting: `wasi:io/poll`, and the clock that a guest can sleep by. The wait is the call's own, so that a cancel, a deadline and the end of the server end it.

use std::time::{Duration, Instant};

use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::clocks::WasiClocksView as _;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::bindings::sync::io::poll;

use crate::call::CallState;
use crate::interrupt::Wake;

/// For a time beyond what the clock can tell: longer than any call.
const FAR_OFF: Duration = Duration::from_hours(24 * 365);

/// What stands in the table for a pollable.
pub(super) enum Readiness {
    /// A stream: there is always room, or nothing ever to come.
    Now,
    /// A clock.
    At(Instant),
}

impl Readiness {
    /// As a pollable. Its type is wasmtime-wasi's, since interfaces that are wasmtime-wasi's own name it; what is in the table is ours.
    pub(super) fn push(self, table: &mut ResourceTable) -> wasmtime::Result<Resource<DynPollable>> {
        Ok(Resource::new_own(table.push(self)?.rep()))
    }

    fn of<'a>(table: &'a ResourceTable, pollable: &Resource<DynPollable>) -> wasmtime::Result<&'a Self> {
        Ok(table.get(&Resource::new_borrow(pollable.rep()))?)
    }

    /// When, if it is not yet.
    fn pending(&self, now: Instant) -> Option<Instant> {
        match self {
            Self::Now => None,
            Self::At(at) => Some(*at).filter(|at| *at > now),
        }
    }
}

impl CallState {
    /// Sleeps until `at`; an error when the call ends first.
    fn sleep(&self, at: Instant) -> wasmtime::Result<()> {
        match self.ticker.pause(|| self.patience.wait(None, Some(at))) {
            Wake::Stopped => Err(wasmtime::Error::msg("stopped in its sleep")),
            Wake::TimedOut | Wake::Ready if self.patience.cause().is_some() => Err(wasmtime::Error::msg("its time ran out in its sleep")),
            Wake::TimedOut | Wake::Ready => Ok(()),
        }
    }
}

impl poll::Host for CallState {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        if pollables.is_empty() {
            return Err(wasmtime::Error::msg("it polls nothing"));
        }
        loop {
            let (mut ready, mut next) = (Vec::new(), None::<Instant>);
            let now = Instant::now();
            let table = &self.wasi().table;
            for (index, pollable) in (0..).zip(&pollables) {
                match Readiness::of(table, pollable)?.pending(now) {
                    None => ready.push(index),
                    Some(at) => next = Some(next.map_or(at, |next| next.min(at))),
                }
            }
            match next {
                Some(at) if ready.is_empty() => self.sleep(at)?,
                _ => return Ok(ready),
            }
        }
    }
}

impl poll::HostPollable for CallState {
    fn ready(&mut self, this: Resource<DynPollable>) -> wasmtime::Result<bool> {
        Ok(Readiness::of(&self.wasi().table, &this)?.pending(Instant::now()).is_none())
    }

    fn block(&mut self, this: Resource<DynPollable>) -> wasmtime::Result<()> {
        poll::Host::poll(self, vec![this]).map(drop)
    }

    fn drop(&mut self, this: Resource<DynPollable>) -> wasmtime::Result<()> {
        self.wasi().table.delete(Resource::<Readiness>::new_own(this.rep()))?;
        Ok(())
    }
}

impl monotonic_clock::Host for CallState {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.wasi().clocks().now()
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        self.wasi().clocks().resolution()
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let now = monotonic_clock::Host::now(self)?;
        self.subscribe_duration(when.saturating_sub(now))
    }

    fn subscribe_duration(&mut self, nanoseconds: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let now = Instant::now();
        let at = now.checked_add(Duration::from_nanos(nanoseconds)).unwrap_or(now + FAR_OFF);
        Readiness::At(at).push(&mut self.wasi().table)
    }
}
