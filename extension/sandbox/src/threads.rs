//! Threads inside a Postgres backend.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread with every signal blocked that Postgres handles: its handlers must run on the main thread only.
///
/// The mask is set around the spawn and not in the thread, which would leave a window. Signals that tell of the thread's own faults stay open.
pub fn spawn_quiet<T: Send + 'static>(name: &str, stack: usize, work: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    let _blocked = SignalsBlocked::new();
    Builder::new().name(name.to_owned()).stack_size(stack).spawn(work)
}

/// While this lives, the calling thread takes no signals, and threads that it starts never will.
#[derive(Debug)]
pub struct SignalsBlocked {
    before: libc::sigset_t,
}

impl SignalsBlocked {
    /// Blocks all signals but those that report a fault of the thread itself.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        // SAFETY: the sets are plain data that sigfillset and pthread_sigmask initialise; neither fails with valid arguments.
        unsafe {
            let mut all = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            for fault in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGABRT, libc::SIGSYS] {
                libc::sigdelset(&raw mut all, fault);
            }
            let mut before = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            Self { before }
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: `before` came from pthread_sigmask.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut());
        }
    }
}
