//! Names to addresses, interruptibly.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use crate::interrupt::{Interest, Wake};
use crate::patience::Patience;
use crate::threads::spawn_quiet;

/// Addresses of `host`, by the system's resolver.
///
/// getaddrinfo(3) cannot be interrupted, so it runs on a thread of its own, which is left behind when the call ends first.
pub(super) fn resolve(host: &str, port: u16, patience: &Patience) -> io::Result<Vec<SocketAddr>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let lookup = Arc::new(Lookup { answer: Mutex::new(None), done: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)? });
    let (theirs, name) = (Arc::clone(&lookup), host.to_owned());
    spawn_quiet("pg_llm resolver", 512 * 1024, move || {
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

struct Lookup {
    answer: Mutex<Option<io::Result<Vec<SocketAddr>>>>,
    done: OwnedFd,
}
