//! The entries of requests that are in flight in this process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Entry, Ledger};

/// In a static: a process may end in the midst of a call, on whatever thread.
static OPEN: Mutex<Open> = Mutex::new(Open { closed: false, next: 1, entries: Vec::new() });

struct Open {
    /// The process is ending.
    closed: bool,
    next: u64,
    entries: Vec<Kept>,
}

struct Kept {
    number: u64,
    ledger: Arc<dyn Ledger>,
    entry: Box<Entry>,
}

fn open() -> MutexGuard<'static, Open> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds an entry, and gives back what it is known by.
pub(super) fn add(ledger: &Arc<dyn Ledger>, entry: Box<Entry>) -> u64 {
    let mut open = open();
    let number = open.next;
    open.next += 1;
    if !open.closed {
        open.entries.push(Kept { number, ledger: Arc::clone(ledger), entry });
    }
    number
}

/// Changes an entry that is still open.
pub(super) fn change(number: u64, change: impl FnOnce(&mut Entry)) {
    if let Some(kept) = open().entries.iter_mut().find(|kept| kept.number == number) {
        change(&mut kept.entry);
    }
}

/// Takes an entry out.
pub(super) fn take(number: u64) -> Option<Box<Entry>> {
    let mut open = open();
    let at = open.entries.iter().position(|kept| kept.number == number)?;
    Some(open.entries.swap_remove(at).entry)
}

/// Puts the entries of all requests in flight, as they stand. For a process that ends: none is put by anybody else from here on.
pub fn end_process() {
    let entries = {
        let mut open = open();
        open.closed = true;
        std::mem::take(&mut open.entries)
    };
    for mut kept in entries {
        kept.entry.last = true;
        kept.ledger.put(&kept.entry);
    }
}
