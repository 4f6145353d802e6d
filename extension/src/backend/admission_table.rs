//! The states of models in shared memory: a table of slots, each with a lock of its own.
//!
//! Calls come from threads too, so nothing here is Postgres's: no LWLock, no ereport; the locks are those of [`super::spin_lock`].

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pg_llm_gateway::admission::{Admission, Answer, Bells, Limit, Limits, Nanos, Pass, Request, Ring, Settlement, Shown, State};

use super::shared_memory;
use super::spin_lock::{Locked, Slot, SpinLock};

/// Models, of all databases, whose limits count over all sessions at the same time.
pub(crate) const SLOTS: usize = 256;

/// All zeroes are an empty one.
#[repr(C)]
pub(super) struct Table {
    /// Held while a slot gets another model.
    directory: SpinLock,
    /// Requests in flight of all models.
    in_flight: AtomicU32,
    /// Which bells somebody has.
    bells: AtomicU64,
    slots: [Slot<Content>; SLOTS],
}

#[repr(C)]
struct Content {
    key: Key,
    /// When somebody was let in, or turned away, last.
    used: Nanos,
    state: State,
}

/// A model, or another thing with a name, of a database. All zeroes are none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Key {
    name: [u64; 2],
    database: u64,
}

impl Key {
    pub(super) fn new(database: u32, name: &str) -> Self {
        let digest = pg_llm_sandbox::sha256(name.as_bytes());
        let half = |at: usize| digest[at..at + 8].iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        Self { name: [half(0), half(8)], database: u64::from(database) }
    }
}

impl Table {
    /// The slot of a model, if it has one.
    fn find(&self, key: Key) -> Option<usize> {
        self.slots.iter().position(|slot| slot.lock().key == key)
    }

    /// The slot of a model, and one that nobody needs where it has none. None: all are needed.
    fn find_or_take(&self, key: Key, now: Nanos) -> Option<usize> {
        self.directory.take();
        let at = self.find(key).or_else(|| self.take(key, now));
        self.directory.release();
        at
    }

    /// With the directory held.
    fn take(&self, key: Key, now: Nanos) -> Option<usize> {
        let none = Key::default();
        // What is empty first, then what says nothing that is not said by an empty one, then what was used least recently.
        let candidates = self.slots.iter().enumerate().filter_map(|(at, slot)| {
            let content = slot.lock();
            content.state.is_idle().then(|| (content.key != none, !content.state.is_blank(now), content.used, at))
        });
        let (.., at) = candidates.min()?;
        let mut content = self.slots[at].lock();
        // Somebody may have come in meanwhile.
        if !content.state.is_idle() {
            return None;
        }
        *content = Content { key, used: now, state: State::default() };
        Some(at)
    }
}

/// What this process has of the shared memory.
struct Held {
    /// The process is ending: nobody touches the memory any more.
    closed: bool,
    /// Requests in flight, by slot.
    requests: [u32; SLOTS],
    /// A slot's probe is among them.
    probes: [bool; SLOTS],
    /// Slots and tickets of those who wait.
    waiting: Vec<(usize, u64)>,
    bells: u64,
}

impl Held {
    fn waits(&mut self, at: usize, ticket: u64) {
        if !self.waiting.contains(&(at, ticket)) {
            self.waiting.push((at, ticket));
        }
    }

    fn waits_no_more(&mut self, at: usize, ticket: u64) {
        if ticket != 0 {
            self.waiting.retain(|waiting| *waiting != (at, ticket));
        }
    }
}

static HELD: Mutex<Held> = Mutex::new(Held { closed: false, requests: [0; SLOTS], probes: [false; SLOTS], waiting: Vec::new(), bells: 0 });

fn held() -> MutexGuard<'static, Held> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives back all that this process holds, and keeps its threads out from here on.
pub(super) fn close() {
    let mut held = held();
    let Some(table) = shared_memory::table().filter(|_| !held.closed) else { return };
    held.closed = true;
    for (at, ticket) in std::mem::take(&mut held.waiting) {
        table.slots[at].lock().state.give_up(ticket, false);
    }
    let mut next = Vec::new();
    for (at, slot) in table.slots.iter().enumerate() {
        if held.requests[at] > 0 {
            let ring = slot.lock().state.vacate(held.requests[at], held.probes[at], &table.in_flight);
            next.extend(ring);
        }
    }
    table.bells.fetch_and(!held.bells, Ordering::AcqRel);
    drop(held);
    for bell in next {
        ring(Some(bell));
    }
}

fn ring(whom: Ring) {
    if let (Some(number), Some(bells)) = (whom, shared_memory::bells()) {
        bells.ring(number);
    }
}

/// The state of one model, found by its key. Where the table has no room for it, a state of this process alone.
pub(super) struct SharedModel {
    key: Key,
    /// Where it was last.
    slot: AtomicUsize,
    own: Mutex<State>,
}

impl SharedModel {
    pub(super) fn new(key: Key) -> Self {
        Self { key, slot: AtomicUsize::new(SLOTS), own: Mutex::default() }
    }

    /// Whether the table has room for it.
    pub(super) fn has_slot(&self) -> bool {
        shared_memory::table().is_some_and(|table| self.locked(table, clock()).is_some())
    }

    /// Its slot, locked.
    fn locked<'t>(&self, table: &'t Table, now: Nanos) -> Option<(usize, Locked<'t, Content>)> {
        // Once more where another model gets the slot between the finding and the locking.
        for _ in 0..3 {
            let at = self.slot.load(Ordering::Relaxed);
            if let Some(slot) = table.slots.get(at) {
                let content = slot.lock();
                if content.key == self.key {
                    return Some((at, content));
                }
            }
            self.slot.store(table.find_or_take(self.key, now)?, Ordering::Relaxed);
        }
        None
    }

    fn own(&self) -> MutexGuard<'_, State> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nanoseconds of a clock that all processes share.
fn clock() -> Nanos {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to `time`; with this clock it cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

impl Admission for SharedModel {
    fn now(&self) -> Nanos {
        clock()
    }

    fn ask(&self, limits: &Limits, request: &Request) -> Answer {
        let now = clock();
        let mut held = held();
        let Some(table) = shared_memory::table().filter(|_| !held.closed) else {
            return Answer::Wait { ticket: 0, limit: Limit::Concurrency, least: None };
        };
        let answer = match self.locked(table, now) {
            None => self.own().ask(limits, request, &table.in_flight, now),
            Some((at, mut content)) => {
                content.used = now;
                let mut answer = content.state.ask(limits, request, &table.in_flight, now);
                drop(content);
                match &mut answer {
                    Answer::Wait { ticket, .. } => held.waits(at, *ticket),
                    Answer::Broken { .. } => held.waits_no_more(at, request.waiter.ticket),
                    Answer::Enter(pass, _) => {
                        held.waits_no_more(at, request.waiter.ticket);
                        pass.place = u32::try_from(at + 1).unwrap_or(0);
                        held.requests[at] += 1;
                        held.probes[at] |= pass.probe;
                    }
                }
                answer
            }
        };
        drop(held);
        if let Answer::Enter(_, whom) = answer {
            ring(whom);
        }
        answer
    }

    fn leave(&self, limits: &Limits, pass: Pass, settlement: &Settlement) {
        let now = clock();
        let mut held = held();
        let Some(table) = shared_memory::table().filter(|_| !held.closed) else { return };
        let place = usize::try_from(pass.place).ok().and_then(|place| place.checked_sub(1));
        let whom = match place.and_then(|at| Some((at, table.slots.get(at)?))) {
            None => self.own().leave(limits, pass, settlement, &table.in_flight, now),
            // A slot in which somebody is stays its model's.
            Some((at, slot)) => {
                held.requests[at] = held.requests[at].saturating_sub(1);
                held.probes[at] &= !pass.probe;
                slot.lock().state.leave(limits, pass, settlement, &table.in_flight, now)
            }
        };
        drop(held);
        ring(whom);
    }

    fn give_up(&self, ticket: u64, turned_away: bool) {
        let mut held = held();
        let Some(table) = shared_memory::table().filter(|_| !held.closed) else { return };
        match self.locked(table, clock()) {
            Some((at, mut content)) => {
                content.state.give_up(ticket, turned_away);
                drop(content);
                held.waits_no_more(at, ticket);
            }
            None => self.own().give_up(ticket, turned_away),
        }
    }

    fn claim_bell(&self) -> Option<u16> {
        let mut held = held();
        let table = shared_memory::table().filter(|_| !held.closed)?;
        let number = shared_memory::bells()?.claim(&table.bells)?;
        held.bells |= 1 << number;
        Some(number)
    }

    fn bell(&self, number: u16) -> Option<BorrowedFd<'_>> {
        shared_memory::bells()?.get(number)
    }

    fn release_bell(&self, number: u16) {
        let mut held = held();
        if let Some(table) = shared_memory::table().filter(|_| !held.closed) {
            held.bells &= !(1 << number);
            Bells::release(&table.bells, number);
        }
    }

    fn show(&self, limits: &Limits) -> Option<Shown> {
        let table = shared_memory::table()?;
        // Looking takes no slot.
        match table.find(self.key) {
            Some(at) => {
                let content = table.slots.get(at)?.lock();
                (content.key == self.key).then(|| content.state.show(limits, clock()))
            }
            None => Some(self.own().show(limits, clock())).filter(|shown| shown.admitted + shown.rejected > 0),
        }
    }

    fn is_shared(&self) -> bool {
        shared_memory::table().is_some_and(|table| table.find(self.key).is_some())
    }
}
