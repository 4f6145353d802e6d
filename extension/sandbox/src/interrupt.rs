//! How a call waits, and how it hears that it must stop.
//!
//! Everything in a call that blocks does so in [`Interrupt::wait`]: connecting, TLS, the first byte, the body, a retry's sleep.
//! Guest code is asked through [`Interrupt::stopped`] at every epoch tick. So one implementation decides what ends a call: in a backend's
//! main thread it is Postgres's interrupts (`extension/src/backend/interrupts.rs`), elsewhere a [`StopSwitch`].

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// What a wait waits for on its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Bytes to read, or the end of them.
    Read,
    /// Room to write, or the end of a connect.
    Write,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The descriptor is ready (or in error: the next operation tells).
    Ready,
    /// The deadline passed.
    TimedOut,
    /// The call is to end now. Once said, it is said for ever.
    Stopped,
}

/// What ends a call from outside. One a call.
pub trait Interrupt: Send + Sync {
    /// Blocks until `on` is ready, `deadline` passes, or the call is to end. Without `on` it is a sleep.
    fn wait(&self, on: Option<(BorrowedFd<'_>, Interest)>, deadline: Instant) -> Wake;

    /// Whether the call is to end. Cheap; called from guest code's epoch ticks.
    fn stopped(&self) -> bool;
}

/// A switch that any thread may throw: for calls outside a backend's main thread.
#[derive(Clone, Debug)]
pub struct StopSwitch(Arc<SwitchState>);

#[derive(Debug)]
struct SwitchState {
    thrown: AtomicBool,
    event: OwnedFd,
}

impl StopSwitch {
    /// A switch that nobody has thrown.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> std::io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(SwitchState { thrown: AtomicBool::new(false), event })))
    }

    /// Ends every call that watches this switch.
    pub fn throw(&self) {
        self.0.thrown.store(true, Ordering::Release);
        // A full counter already wakes the waiters.
        let _ = rustix::io::write(&self.0.event, &1_u64.to_ne_bytes());
    }
}

impl Interrupt for StopSwitch {
    fn wait(&self, on: Option<(BorrowedFd<'_>, Interest)>, deadline: Instant) -> Wake {
        loop {
            if self.stopped() {
                return Wake::Stopped;
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return Wake::TimedOut };
            let mut fds = vec![PollFd::from_borrowed_fd(self.0.event.as_fd(), PollFlags::IN)];
            if let Some((fd, interest)) = on {
                fds.push(PollFd::from_borrowed_fd(fd, interest.flags()));
            }
            let left = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::from(i32::MAX), tv_nsec: 0 });
            match poll(&mut fds, Some(&left)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) if self.stopped() => return Wake::Stopped,
                // An error of poll itself: let the operation on the descriptor say what is wrong.
                Ok(_) | Err(_) => return Wake::Ready,
            }
        }
    }

    fn stopped(&self) -> bool {
        self.0.thrown.load(Ordering::Acquire)
    }
}

impl Interest {
    /// The same for poll(2).
    pub fn flags(self) -> PollFlags {
        match self {
            Self::Read => PollFlags::IN,
            Self::Write => PollFlags::OUT,
        }
    }
}
