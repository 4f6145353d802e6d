//! Calls that are in flight at the same time, seen from the thread that waits for them.
//!
//! Each runs on a thread of a [`crate::pool`], in the order in which they were started. The waiting thread, in a backend the main one, sleeps in its own [`Interrupt`] on an eventfd that a call
//! writes when it is over, so that it wakes at once for an answer and for what ends the statement. When that comes, or when nobody wants the rest, a
//! switch stops all calls, which closes their connections.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pg_llm_sandbox::interrupt::{Interest, Interrupt, StopSwitch, Wake};
use rayon::ThreadPool;
use rustix::event::{EventfdFlags, eventfd};

use crate::error::CallError;
use crate::pool;

/// How long a stopped call is waited for: it ends in well under this, unless it is in a name look-up, whose thread is left to itself.
const GRACE: Duration = Duration::from_millis(50);

/// Sleeps without a deadline are cut into these.
const FOR_EVER: Duration = Duration::from_hours(24);

/// Calls in flight whose results are a `T` or an error. Dropping it ends them.
pub struct InFlight<T> {
    /// None once it is given back.
    pool: Option<ThreadPool>,
    interrupt: Arc<dyn Interrupt>,
    switch: StopSwitch,
    landed: Arc<Landed<T>>,
    /// Threads that it uses at most; its pool may have more.
    most: usize,
    /// Started, and its result not yet handed on.
    open: usize,
}

/// One call that is over: the number it was started with, and what came of it.
pub type Landing<T> = (usize, Result<T, CallError>);

/// What calls leave behind for the waiting thread.
struct Landed<T> {
    state: Mutex<LandedState<T>>,
    /// Readable while there are results.
    event: OwnedFd,
    /// Signalled with the last call's end.
    empty: Condvar,
}

struct LandedState<T> {
    results: VecDeque<Landing<T>>,
    /// Calls that wait for a thread.
    waiting: VecDeque<Waiting<T>>,
    /// Threads that make calls.
    threads: usize,
}

/// A call that is to be made, and its number.
type Waiting<T> = (usize, Box<dyn FnOnce(&Arc<dyn Interrupt>) -> Result<T, CallError> + Send>);

impl<T: Send + 'static> InFlight<T> {
    /// Room for `threads` calls at the same time, at most [`pool::MOST_THREADS`]; more wait for one of these to end. `interrupt` is the waiting thread's own.
    ///
    /// # Errors
    /// When the process has no thread or no descriptor left.
    pub fn new(threads: usize, interrupt: Arc<dyn Interrupt>) -> Result<Self, CallError> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|e| CallError::no_resources(&e))?;
        let switch = StopSwitch::new().map_err(|e| CallError::no_resources(&e))?;
        let state = Mutex::new(LandedState { results: VecDeque::new(), waiting: VecDeque::new(), threads: 0 });
        let landed = Arc::new(Landed { state, event, empty: Condvar::new() });
        let pool = pool::take(threads).map_err(|e| CallError::no_resources(&e))?;
        Ok(Self { pool: Some(pool), interrupt, switch, landed, most: threads.clamp(1, pool::MOST_THREADS), open: 0 })
    }

    /// Starts a call. `number` says which one it is when it has landed.
    pub fn start(&mut self, number: usize, call: impl FnOnce(&Arc<dyn Interrupt>) -> Result<T, CallError> + Send + 'static) {
        self.open += 1;
        let Some(pool) = &self.pool else { return };
        let mut state = self.landed.lock();
        state.waiting.push_back((number, Box::new(call)));
        if state.threads < self.most {
            state.threads += 1;
            let landed = Arc::clone(&self.landed);
            let interrupt = Arc::new(self.switch.clone()) as Arc<dyn Interrupt>;
            pool.spawn(move || landed.make_calls(&interrupt));
        }
    }

    /// Puts a result beside those of calls, as if a call had just landed with it: what was known before.
    pub fn land(&mut self, number: usize, result: Result<T, CallError>) {
        self.open += 1;
        self.landed.add((number, result));
    }

    /// Calls whose results have not been handed on.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Readable while there are results, for who waits for other things besides.
    pub fn event(&self) -> BorrowedFd<'_> {
        self.landed.event.as_fd()
    }

    /// A result that is there.
    pub fn ready(&mut self) -> Option<Landing<T>> {
        let landing = self.landed.take()?;
        self.open -= 1;
        Some(landing)
    }

    /// The next result, in the order of the calls' ends; none when no call is open. Waits for it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Cancelled`] when the waiting thread's interrupt ends the wait. Then all calls are ended.
    pub fn wait(&mut self) -> Result<Option<Landing<T>>, CallError> {
        if self.open == 0 {
            return Ok(None);
        }
        loop {
            if let Some(landing) = self.ready() {
                return Ok(Some(landing));
            }
            let deadline = Instant::now() + FOR_EVER;
            if self.interrupt.wait(Some((self.landed.event.as_fd(), Interest::Read)), deadline) == Wake::Stopped {
                self.switch.throw();
                return Err(CallError::cancelled());
            }
        }
    }
}

impl<T> Drop for InFlight<T> {
    fn drop(&mut self) {
        self.switch.throw();
        let state = self.landed.lock();
        let (state, _) =
            self.landed.empty.wait_timeout_while(state, GRACE, |state| state.threads > 0).unwrap_or_else(PoisonError::into_inner);
        let idle = state.threads == 0;
        drop(state);
        // The threads of a pool that is let go end as soon as they can; what a call of it leaves later goes with the last reference.
        if let Some(pool) = self.pool.take().filter(|_| idle) {
            pool::give_back(pool);
        }
    }
}

impl<T> Landed<T> {
    fn lock(&self) -> MutexGuard<'_, LandedState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does: one call after another, as long as one waits.
    fn make_calls(&self, interrupt: &Arc<dyn Interrupt>) {
        loop {
            let mut state = self.lock();
            let Some((number, call)) = state.waiting.pop_front() else {
                state.threads -= 1;
                if state.threads == 0 {
                    self.empty.notify_all();
                }
                return;
            };
            drop(state);
            // One that was still waiting for its thread is not begun any more.
            let result = if interrupt.stopped() {
                Err(CallError::cancelled())
            } else {
                catch_unwind(AssertUnwindSafe(|| call(interrupt))).unwrap_or_else(|panic| {
                    // Its own drop might panic too.
                    std::mem::forget(panic);
                    Err(CallError::internal("a call failed by a fault of pg_llm itself"))
                })
            };
            self.add((number, result));
        }
    }

    fn add(&self, landing: Landing<T>) {
        let mut state = self.lock();
        state.results.push_back(landing);
        // Under the lock, so that it is readable if and only if there are results. A full counter is readable as well.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    fn take(&self) -> Option<Landing<T>> {
        let mut state = self.lock();
        let landing = state.results.pop_front()?;
        if state.results.is_empty() {
            let _ = rustix::io::read(&self.event, &mut [0; 8]);
        }
        Some(landing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::mpsc::channel;

    use crate::error::ErrorKind;

    fn switch() -> StopSwitch {
        StopSwitch::new().unwrap()
    }

    fn in_flight<T: Send + 'static>(threads: usize, interrupt: &StopSwitch) -> InFlight<T> {
        InFlight::new(threads, Arc::new(interrupt.clone())).unwrap()
    }

    #[test]
    fn all_calls_run_at_the_same_time() {
        let all = Arc::new(Barrier::new(8));
        let mut calls = in_flight(8, &switch());
        for number in 0..8 {
            let all = Arc::clone(&all);
            calls.start(number, move |_| {
                all.wait();
                Ok(number)
            });
        }
        let mut landed: Vec<_> = std::iter::from_fn(|| calls.wait().unwrap()).map(|(n, result)| (n, result.unwrap())).collect();
        landed.sort_unstable();
        assert_eq!(landed, (0..8).map(|n| (n, n)).collect::<Vec<_>>());
    }

    #[test]
    fn results_come_in_the_order_of_their_ends() {
        let (go, wait) = channel::<()>();
        let mut calls = in_flight(2, &switch());
        calls.start(0, move |_| {
            let _ = wait.recv();
            Ok("slow")
        });
        calls.start(1, |_| Ok("quick"));
        assert_eq!(calls.wait().unwrap().unwrap().1.unwrap(), "quick");
        go.send(()).unwrap();
        assert_eq!(calls.wait().unwrap().unwrap().1.unwrap(), "slow");
        assert!(calls.wait().unwrap().is_none());
    }

    #[test]
    fn dropping_it_stops_its_calls() {
        let (stopped, was_stopped) = channel();
        let (began, has_begun) = channel();
        let mut calls = in_flight(1, &switch());
        calls.start(0, move |interrupt| {
            let _ = began.send(());
            let wake = interrupt.wait(None, Instant::now() + Duration::from_mins(1));
            let _ = stopped.send(wake);
            Ok(())
        });
        calls.start(1, |_| unreachable!("there is no thread for it"));
        has_begun.recv().unwrap();
        drop(calls);
        assert_eq!(was_stopped.recv(), Ok(Wake::Stopped));
    }

    #[test]
    fn an_interrupt_of_the_waiting_thread_ends_the_wait_and_the_calls() {
        let interrupt = switch();
        let mut calls = in_flight::<()>(2, &interrupt);
        for number in 0..2 {
            calls.start(number, |interrupt| {
                interrupt.wait(None, Instant::now() + Duration::from_mins(1));
                Err(CallError::cancelled())
            });
        }
        interrupt.throw();
        assert_eq!(calls.wait().unwrap_err().kind, ErrorKind::Cancelled);
    }

    #[test]
    fn a_call_that_panics_is_a_failure_of_its_own() {
        let mut calls = in_flight(1, &switch());
        calls.start(0, |_| panic!("by itself"));
        calls.start(1, |_| Ok(1));
        assert_eq!(calls.wait().unwrap().unwrap().1.unwrap_err().kind, ErrorKind::Internal);
        assert_eq!(calls.wait().unwrap().unwrap().1.unwrap(), 1);
    }

    #[test]
    fn no_more_calls_run_than_there_is_room_for_though_the_pool_kept_has_more_threads() {
        let mut many = in_flight(8, &switch());
        (0..8).for_each(|number| many.start(number, |_| Ok(())));
        while many.wait().unwrap().is_some() {}
        drop(many);
        let running = Arc::new(Mutex::new((0, 0)));
        let mut calls = in_flight(2, &switch());
        for number in 0..50 {
            let running = Arc::clone(&running);
            calls.start(number, move |_| {
                let mut count = running.lock().unwrap();
                count.0 += 1;
                count.1 = count.1.max(count.0);
                drop(count);
                std::thread::yield_now();
                running.lock().unwrap().0 -= 1;
                Ok(())
            });
        }
        while calls.wait().unwrap().is_some() {}
        assert!(running.lock().unwrap().1 <= 2);
    }

    #[test]
    fn what_was_known_lands_without_a_thread() {
        let mut calls = in_flight(1, &switch());
        calls.land(7, Ok("known"));
        assert_eq!(calls.open(), 1);
        let (number, result) = calls.wait().unwrap().unwrap();
        assert_eq!((number, result.unwrap()), (7, "known"));
    }

    #[test]
    fn a_statement_within_a_statement_has_threads_of_its_own() {
        let (go, wait) = channel::<()>();
        let mut outer = in_flight(1, &switch());
        outer.start(0, move |_| {
            let _ = wait.recv();
            Ok(())
        });
        let mut inner = in_flight(1, &switch());
        inner.start(0, |_| Ok(()));
        assert!(inner.wait().unwrap().is_some());
        go.send(()).unwrap();
        assert!(outer.wait().unwrap().is_some());
    }
}
