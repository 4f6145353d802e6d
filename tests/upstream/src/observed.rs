//! What an upstream has seen so far, and waiting for it to see more.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant},
};

use crate::Received;

/// The end of one connection.
#[derive(Debug, Clone, Copy)]
pub struct Closed {
    /// Which one: 1 for the upstream's first.
    pub connection: u64,
    /// When the upstream noticed, or closed it by itself.
    pub at: Instant,
}

/// Everything that an upstream has seen since it started (or since `forget`, for the lists).
#[derive(Debug, Default)]
pub struct Observed {
    /// The requests, in the order in which they were complete. Empty for an unrecorded upstream.
    pub requests: Vec<Received>,
    /// The connections that have ended, in order.
    pub closed: Vec<Closed>,
    /// How many requests were received, recorded or not.
    pub requests_total: u64,
    /// How many connections were accepted.
    pub connections_total: u64,
    /// How many connections are open now.
    pub open_connections: usize,
    /// The most connections that were open at one time.
    pub max_connections: usize,
    /// How many requests are being answered now.
    pub answering: usize,
    /// The most requests that were being answered at one time.
    pub max_concurrent: usize,
    /// TLS handshakes that failed, in the words of the library; an alert of the client's is among them.
    pub handshake_failures: Vec<String>,
}

/// The observations, shared by the threads of an upstream.
#[derive(Debug, Default)]
pub(crate) struct Observatory {
    observed: Mutex<Observed>,
    changed: Condvar,
    /// Bytes of replies handed to the kernel, over all connections.
    pub(crate) bytes_sent: AtomicU64,
}

impl Observatory {
    /// Reads without changing; a thread that panicked in a wait's predicate has changed nothing either.
    pub(crate) fn read(&self) -> MutexGuard<'_, Observed> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Observed)) {
        change(&mut self.read());
        self.changed.notify_all();
    }

    pub(crate) fn wait_for(&self, mut happened: impl FnMut(&Observed) -> bool, deadline: Duration) -> bool {
        let (_guard, timeout) =
            self.changed.wait_timeout_while(self.read(), deadline, |observed| !happened(observed)).unwrap_or_else(PoisonError::into_inner);
        !timeout.timed_out()
    }
}
