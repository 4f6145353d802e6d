//! The clock that guest code is interrupted by.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::EngineWeak;

use crate::threads::spawn_quiet;

/// How often running guest code is asked whether it may go on.
pub(crate) const TICK: Duration = Duration::from_millis(2);

/// Ticks without guest code after which the thread goes to sleep: calls in quick succession find it awake and need not wake it.
const LINGER: u32 = 50;

/// Raises the engine's epoch while guest code runs, and sleeps while none does: waiting for an upstream costs no wake-ups.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    engine: EngineWeak,
    thread: OnceLock<Thread>,
    /// Held by who starts it.
    beginning: Mutex<()>,
}

#[derive(Default)]
struct Shared {
    /// Threads that are in guest code now.
    running: AtomicUsize,
    asleep: AtomicBool,
    /// There is no engine any more.
    over: AtomicBool,
}

impl Ticker {
    pub(crate) fn new(engine: EngineWeak) -> Self {
        Self { shared: Arc::default(), engine, thread: OnceLock::new(), beginning: Mutex::new(()) }
    }

    /// Guest code runs until the guard is dropped. None when the clock could not be started: then nothing would ever stop the guest.
    pub(crate) fn watch(&self) -> Option<Watched<'_>> {
        self.start().then(|| Watched(self))
    }

    fn start(&self) -> bool {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        let Some(thread) = self.thread.get().or_else(|| self.begin()) else {
            self.stop();
            return false;
        };
        if self.shared.asleep.swap(false, Ordering::SeqCst) {
            thread.unpark();
        }
        true
    }

    /// The thread. Where there is none to be had, the next call tries again: that passes.
    fn begin(&self) -> Option<&Thread> {
        let _one = self.beginning.lock().unwrap_or_else(PoisonError::into_inner);
        if self.thread.get().is_none() {
            let (shared, engine) = (Arc::clone(&self.shared), self.engine.clone());
            let handle = spawn_quiet("pg_llm ticker", 64 * 1024, move || tick(&shared, &engine)).ok()?;
            let _ = self.thread.set(handle.thread().clone());
        }
        self.thread.get()
    }

    fn stop(&self) {
        self.shared.running.fetch_sub(1, Ordering::SeqCst);
    }

    /// Runs `wait`, which is not guest code, in the midst of guest code.
    pub(crate) fn pause<R>(&self, wait: impl FnOnce() -> R) -> R {
        struct Resume<'a>(&'a Ticker);
        impl Drop for Resume<'_> {
            fn drop(&mut self) {
                self.0.start();
            }
        }
        self.stop();
        let _resume = Resume(self);
        wait()
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// See [`Ticker::watch`].
pub(crate) struct Watched<'a>(&'a Ticker);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn tick(shared: &Shared, engine: &EngineWeak) {
    let mut idle = 0;
    loop {
        thread::sleep(TICK);
        if shared.running.load(Ordering::SeqCst) > 0 {
            let Some(engine) = engine.upgrade() else { return };
            engine.increment_epoch();
            idle = 0;
            continue;
        }
        idle += 1;
        if idle < LINGER {
            continue;
        }
        shared.asleep.store(true, Ordering::SeqCst);
        // Whoever starts after this store sees it and wakes us; whoever started before is seen here.
        while shared.asleep.load(Ordering::SeqCst) {
            if shared.over.load(Ordering::SeqCst) {
                return;
            }
            if shared.running.load(Ordering::SeqCst) > 0 {
                shared.asleep.store(false, Ordering::SeqCst);
                break;
            }
            thread::park();
        }
        idle = 0;
    }
}
