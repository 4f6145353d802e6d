//! How a call on the backend's main thread waits, and how Postgres's interrupts end it.
//!
//! A wait is one `ppoll` on the call's descriptor, the client's socket and the postmaster's death pipe. The signals whose handlers set
//! `InterruptPending` are blocked from the moment that it is looked at until `ppoll` opens them again, so that none can slip in between: a handler runs
//! inside `ppoll`, which then returns `EINTR`.
//!
//! Postgres's own `ProcessInterrupts` decides what an interrupt means. What it raises is caught here, at once: wasm, TLS and HTTP frames are
//! above us on the stack, and no longjmp may cross them. The call is told to stop and unwinds; [`MainThread::settle`] then hands the very same error on.
//! (FATAL does not return: the process ends inside `ProcessInterrupts`, as it would anywhere else.)

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pg_llm_sandbox::interrupt::{Interest, Interrupt, Wake};
use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;

use super::client;
use super::errors::{Failure, SqlError, State};

/// Where an interrupt stays pending though Postgres has been asked (a cancel that must wait until the protocol is in step), how soon to ask again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// The signals whose handlers Postgres makes known through `InterruptPending`.
const SIGNALS: [libc::c_int; 5] = [libc::SIGINT, libc::SIGTERM, libc::SIGALRM, libc::SIGUSR1, libc::SIGHUP];

/// The interrupt of one call on the main thread. Used from no other thread.
#[derive(Debug, Default)]
pub(crate) struct MainThread {
    stopped: AtomicBool,
    raised: Mutex<Option<Failure>>,
    /// What is ready for the client is sent before each wait.
    sends_rows: bool,
}

impl MainThread {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// For a call between whose waits rows are made: those leave before it waits.
    pub(crate) fn sending_rows() -> Arc<Self> {
        Arc::new(Self { sends_rows: true, ..Self::default() })
    }

    /// Once the call has unwound: the error that stopped it, if it was stopped.
    pub(crate) fn settle(&self) -> Result<(), Failure> {
        if !self.stopped.load(Ordering::Acquire) {
            return Ok(());
        }
        let raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner).take();
        Err(raised.unwrap_or_else(|| SqlError::new(State::Internal, "pg_llm: internal error: a call was settled twice").into()))
    }

    /// Lets Postgres decide about what is pending. True when the call is to end.
    fn process(&self) -> bool {
        // SAFETY: on the main thread; bindgen's wrapper turns an ERROR into a panic below any frame that is not ours.
        let outcome = catch_unwind(AssertUnwindSafe(|| unsafe { pg_sys::ProcessInterrupts() }));
        let Err(payload) = outcome else { return false };
        let failure = payload.downcast::<CaughtError>().map_or_else(
            |_| SqlError::new(State::Internal, "pg_llm: internal error: an interrupt could not be understood").into(),
            Failure::Postgres,
        );
        self.stop(failure);
        true
    }

    fn stop(&self, failure: Failure) {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        self.stopped.store(true, Ordering::Release);
    }

    /// Sends rows that are ready. What to wait for at the client's socket: its end, and, where it did not take everything, that it takes more.
    fn send_rows(&self) -> libc::c_short {
        match if self.sends_rows { client::send_ready() } else { Ok(false) } {
            Ok(false) => libc::POLLRDHUP,
            Ok(true) => libc::POLLRDHUP | libc::POLLOUT,
            Err(failure) => {
                self.stop(failure);
                libc::POLLRDHUP
            }
        }
    }
}

impl Interrupt for MainThread {
    fn wait(&self, on: Option<(BorrowedFd<'_>, Interest)>, deadline: Instant) -> Wake {
        let mut blocked = Blocked::new();
        let client = client::socket();
        loop {
            let mut again = None;
            let of_client = self.send_rows();
            if self.stopped.load(Ordering::Acquire) {
                return Wake::Stopped;
            }
            if interrupt_pending() {
                drop(blocked);
                if self.process() {
                    return Wake::Stopped;
                }
                blocked = Blocked::new();
                again = interrupt_pending().then_some(ASK_AGAIN);
            }
            let Some(mut left) = deadline.checked_duration_since(Instant::now()) else { return Wake::TimedOut };
            if let Some(again) = again {
                left = left.min(again);
            }
            let mut fds = [
                pollfd(on.map(|(fd, _)| fd.as_raw_fd()), on.map_or(0, |(_, interest)| events(interest))),
                pollfd(Some(postmaster_pipe()), libc::POLLIN),
                pollfd(client, of_client),
            ];
            if !blocked.poll(&mut fds, left) {
                continue;
            }
            if fds[1].revents != 0 {
                postmaster_died();
            }
            if fds[2].revents & !libc::POLLOUT != 0 && interrupts_allowed() {
                client_lost();
                continue;
            }
            // An error of the descriptor itself is for the next operation on it to tell.
            if fds[0].revents != 0 {
                return Wake::Ready;
            }
        }
    }

    fn stopped(&self) -> bool {
        if self.stopped.load(Ordering::Acquire) {
            return true;
        }
        // Guest code that computes waits for nothing, and so would not hear that there is nobody left to compute for.
        let mut fds = [pollfd(Some(postmaster_pipe()), libc::POLLIN), pollfd(client::socket(), libc::POLLRDHUP)];
        // SAFETY: `fds` is a valid array of that length.
        if unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, 0) } > 0 {
            if fds[0].revents != 0 {
                postmaster_died();
            }
            if fds[1].revents != 0 && interrupts_allowed() {
                client_lost();
            }
        }
        interrupt_pending() && self.process()
    }
}

/// Runs Postgres's interrupts now, where no call is on the stack.
pub(crate) fn check() {
    pgrx::check_for_interrupts!();
}

/// Whether Postgres wants this process to look at something. From any thread.
pub(super) fn is_pending() -> bool {
    interrupt_pending()
}

fn interrupts_allowed() -> bool {
    // SAFETY: plain integers of the backend, on its main thread.
    unsafe { pg_sys::InterruptHoldoffCount == 0 && pg_sys::CritSectionCount == 0 }
}

fn interrupt_pending() -> bool {
    // SAFETY: a sig_atomic_t that this process's handlers write; volatile, so that it is read anew each time.
    unsafe { ptr::read_volatile(&raw const pg_sys::InterruptPending) != 0 && interrupts_allowed() }
}

fn postmaster_pipe() -> RawFd {
    // SAFETY: set before the first backend is forked, and never changed.
    unsafe { pg_sys::postmaster_alive_fds[0] }
}

/// What Postgres does itself when `client_connection_check_interval` finds the client gone: FATAL, at the next look at the interrupts.
fn client_lost() {
    // SAFETY: flags of the backend, set on its main thread as its signal handlers do.
    unsafe {
        pg_sys::ClientConnectionLost = 1;
        pg_sys::InterruptPending = 1;
    }
}

/// As every wait of Postgres with `WL_EXIT_ON_PM_DEATH`.
fn postmaster_died() -> ! {
    // SAFETY: ends the process the way Postgres does.
    #[allow(unreachable_code)]
    unsafe {
        pg_sys::proc_exit(1);
        std::process::abort()
    }
}

fn events(interest: Interest) -> libc::c_short {
    match interest {
        Interest::Read => libc::POLLIN,
        Interest::Write => libc::POLLOUT,
    }
}

/// poll(2) ignores an entry whose descriptor is negative.
fn pollfd(fd: Option<RawFd>, events: libc::c_short) -> libc::pollfd {
    libc::pollfd { fd: fd.unwrap_or(-1), events, revents: 0 }
}

/// Postgres's interrupt signals, blocked on this thread until the guard is dropped.
struct Blocked {
    before: libc::sigset_t,
}

impl Blocked {
    fn new() -> Self {
        let mut set = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the set and pthread_sigmask the former mask; with valid arguments neither fails.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in SIGNALS {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), before.as_mut_ptr());
            Self { before: before.assume_init() }
        }
    }

    /// Polls with the signals open. True when a descriptor is ready.
    fn poll(&self, fds: &mut [libc::pollfd], most: Duration) -> bool {
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(most.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(most.subsec_nanos()),
        };
        // SAFETY: `fds` is a valid array of that length, the other pointers are to live values.
        unsafe { libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, &raw const timeout, &raw const self.before) > 0 }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: `before` came from pthread_sigmask.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut());
        }
    }
}
