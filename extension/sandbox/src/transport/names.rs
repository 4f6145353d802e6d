//! Names to addresses, interruptibly.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use crate::interrupt::{Interest, Wake};
use crate::patience::Patience;
use crate::threads::spawn_quiet;

/// Whether `host` is an address, and no name.
pub(super) fn is_address(host: &str) -> bool {
    address(host).is_some()
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Addresses of `host`, by the system's resolver.
///
/// getaddrinfo(3) cannot be interrupted, so it runs on a thread of its own, which is left behind when the call ends first. There are at most
/// [`MOST_LOOKUPS`] of these: whoever cancels call after call while the name server is silent must not fill the process with threads.
pub(super) fn resolve(host: &str, port: u16, patience: &Patience) -> io::Result<Vec<SocketAddr>> {
    if let Some(ip) = address(host) {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let slot = Slot::take().ok_or_else(|| io::Error::other("too many name look-ups are still waiting for the name server"))?;
    let lookup = Arc::new(Lookup { answer: Mutex::new(None), done: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)? });
    let (theirs, name) = (Arc::clone(&lookup), host.to_owned());
    spawn_quiet("pg_llm resolver", 512 * 1024, move || {
        let _slot = slot;
        let answer = (name.as_str(), port).to_socket_addrs().map(Iterator::collect);
        *theirs.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        let _ = rustix::io::write(&theirs.done, &1_u64.to_ne_bytes());
    })?;
    match patience.wait(Some((lookup.done.as_fd(), Interest::Read)), None) {
        Wake::Ready => {}
        Wake::TimedOut => return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer from the name server in time")),
        Wake::Stopped => return Err(io::Error::other("cancelled")),
    }
    let answer = lookup.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
    answer.unwrap_or_else(|| Err(io::Error::other("the name look-up ended without an answer")))
}

/// Most look-ups of a process at one time, abandoned ones included.
const MOST_LOOKUPS: usize = 32;

static LOOKUPS: AtomicUsize = AtomicUsize::new(0);

/// A look-up's place among [`MOST_LOOKUPS`].
struct Slot;

impl Slot {
    fn take() -> Option<Self> {
        let taken = LOOKUPS.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < MOST_LOOKUPS).then_some(n + 1));
        // Not then_some: it would make a slot to drop, and so give back what was not taken.
        taken.is_ok().then(|| Self)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        LOOKUPS.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Lookup {
    answer: Mutex<Option<io::Result<Vec<SocketAddr>>>>,
    done: OwnedFd,
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::interrupt::StopSwitch;

    #[test]
    fn look_ups_that_nobody_waits_for_any_more_are_bounded() {
        let patience = Patience::new(Arc::new(StopSwitch::new().unwrap()), Instant::now() + Duration::from_secs(30), true);
        let abandoned: Vec<Slot> = std::iter::from_fn(Slot::take).collect();
        assert_eq!(abandoned.len(), MOST_LOOKUPS);
        assert!(resolve("localhost", 80, &patience).unwrap_err().to_string().contains("too many"));
        assert_eq!(resolve("127.0.0.1", 80, &patience).unwrap().len(), 1, "an address needs no look-up");
        drop(abandoned);
        assert!(!resolve("localhost", 80, &patience).unwrap().is_empty());
    }
}
