//! The accounts of budgets in shared memory: a table of slots, each with a lock of its own. Where there is none, or no slot is free, an account is of this process alone.
//!
//! Calls come from threads too, so nothing here is Postgres's: no LWLock, no ereport; the locks are those of [`super::spin_lock`].

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use pg_llm_gateway::budget::{Account, Accounting, Period, Shown, Sum, Terms};

use super::admission_table::Key;
use super::shared_memory;
use super::spin_lock::{Locked, Slot, SpinLock};

/// Budgets, of all databases, that count over all sessions at the same time.
pub(crate) const SLOTS: usize = 512;

/// An account of this process alone is held against the ledger again after so many seconds; one that is shared, as long as it is [`YOUNG`].
const LOOK_AGAIN: i64 = 5;
/// For so many seconds after an account has begun, the ledger may still be told of what was before.
const YOUNG: i64 = 60;

/// All zeroes are an empty one.
#[repr(C)]
pub(super) struct BudgetTable {
    /// Held while a slot gets another budget.
    directory: SpinLock,
    slots: [Slot<Content>; SLOTS],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Content {
    key: Key,
    /// When its period is over, in seconds since 1970.
    end: i64,
    /// When the account was begun, and held against the ledger last, likewise.
    begun: i64,
    looked: i64,
    account: Account,
}

impl BudgetTable {
    fn find(&self, key: Key) -> Option<usize> {
        self.slots.iter().position(|slot| slot.lock().key == key)
    }

    /// The slot of a budget, and one that is empty or whose period is over where it has none. None: all are needed.
    fn find_or_take(&self, key: Key, now: i64) -> Option<usize> {
        self.directory.take();
        let at = self.find(key).or_else(|| self.take(key, now));
        self.directory.release();
        at
    }

    /// With the directory held.
    fn take(&self, key: Key, now: i64) -> Option<usize> {
        let candidates = self.slots.iter().enumerate().filter_map(|(at, slot)| {
            let content = slot.lock();
            let empty = content.key == Key::default();
            (empty || content.account.is_over(content.end, now)).then_some((!empty, content.end, at))
        });
        let (.., at) = candidates.min()?;
        let mut content = self.slots[at].lock();
        // Somebody may have come in meanwhile.
        if content.key != Key::default() && !content.account.is_over(content.end, now) {
            return None;
        }
        *content = Content { key, end: i64::MAX, begun: now, looked: 0, account: Account::default() };
        Some(at)
    }
}

/// What requests of this process hold, by slot.
struct Held {
    /// The process is ending: nobody touches the memory any more.
    closed: bool,
    sums: Vec<(usize, Sum, u32)>,
}

static HELD: Mutex<Held> = Mutex::new(Held { closed: false, sums: Vec::new() });

fn held() -> MutexGuard<'static, Held> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Held {
    fn add(&mut self, at: usize, sum: Sum) {
        match self.sums.iter_mut().find(|(slot, ..)| *slot == at) {
            Some((_, held, count)) => (*held, *count) = (held.plus(sum), *count + 1),
            None => self.sums.push((at, sum, 1)),
        }
    }

    fn take(&mut self, at: usize, sum: Sum) {
        if let Some(place) = self.sums.iter().position(|(slot, ..)| *slot == at) {
            let (_, held, count) = &mut self.sums[place];
            (*held, *count) = (held.minus(sum), count.saturating_sub(1));
            if *count == 0 {
                self.sums.swap_remove(place);
            }
        }
    }
}

/// Settles all that this process holds, and keeps its threads out from here on.
pub(super) fn close() {
    let mut held = held();
    held.closed = true;
    let Some(table) = shared_memory::budgets() else { return };
    for (at, sum, count) in std::mem::take(&mut held.sums) {
        if let Some(slot) = table.slots.get(at) {
            slot.lock().account.vacate(sum, count);
        }
    }
}

/// The account of one budget, found by its key.
pub(crate) struct SharedAccount {
    key: Key,
    /// Where it was last.
    slot: AtomicUsize,
    own: Mutex<Account>,
    /// When what is its own was held against the ledger last.
    looked: AtomicI64,
}

impl SharedAccount {
    pub(super) fn new(key: Key) -> Self {
        Self { key, slot: AtomicUsize::new(SLOTS), own: Mutex::default(), looked: AtomicI64::new(0) }
    }

    /// Whether other sessions share it.
    pub(crate) fn is_shared(&self) -> bool {
        self.locked().is_some()
    }

    /// Whether somebody has to say what was spent, with [`Self::begin`].
    pub(crate) fn wants_ledger(&self) -> bool {
        let now = now();
        let looked = match self.locked() {
            Some((_, content)) if !content.account.is_begun() => return true,
            Some((_, content)) if now.saturating_sub(content.begun) > YOUNG => return false,
            Some((_, content)) => content.looked,
            None => self.looked.load(Ordering::Relaxed),
        };
        !(0..LOOK_AGAIN).contains(&now.saturating_sub(looked))
    }

    /// Says what was spent in the period that began at `begin`, as far as it is the present one.
    pub(crate) fn begin(&self, period: Period, begin: i64, spent: Sum) {
        let locked = self.locked();
        let now = now();
        let spent = if period.bounds(now).0 == begin { spent } else { Sum::default() };
        if let Some((_, mut content)) = locked {
            content.account.begin(period, spent, true, now);
            content.looked = now;
            content.end = content.account.show(period, now).end.unwrap_or(i64::MAX);
        } else {
            self.own().begin(period, spent, true, now);
            self.looked.store(now, Ordering::Relaxed);
        }
    }

    /// As it is shown.
    pub(crate) fn show(&self, period: Period) -> Shown {
        match self.locked() {
            Some((_, content)) => content.account.show(period, now()),
            None => self.own().show(period, now()),
        }
    }

    /// Its slot, locked; none where it has none.
    fn locked(&self) -> Option<(usize, Locked<'static, Content>)> {
        let table = shared_memory::budgets()?;
        // Once more where another budget gets the slot between the finding and the locking.
        for _ in 0..3 {
            let at = self.slot.load(Ordering::Relaxed);
            if let Some(slot) = table.slots.get(at) {
                let content = slot.lock();
                if content.key == self.key {
                    return Some((at, content));
                }
            }
            self.slot.store(table.find_or_take(self.key, now())?, Ordering::Relaxed);
        }
        None
    }

    fn own(&self) -> MutexGuard<'_, Account> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl Accounting for SharedAccount {
    fn hold(&self, terms: &Terms, wanted: Sum) -> Result<(), Shown> {
        let mut held = held();
        if held.closed {
            return Err(Shown::default());
        }
        match self.locked() {
            Some((at, mut content)) => {
                let result = content.account.hold(terms, wanted, now());
                content.end = content.account.show(terms.period, now()).end.unwrap_or(i64::MAX);
                drop(content);
                if result.is_ok() {
                    held.add(at, wanted);
                }
                result
            }
            None => self.own().hold(terms, wanted, now()),
        }
    }

    fn settle(&self, terms: &Terms, sum: Sum, real: Sum) {
        let mut held = held();
        if held.closed {
            return;
        }
        // A slot in which somebody is stays its budget's.
        match self.locked() {
            Some((at, mut content)) => {
                content.account.settle(terms.period, sum, real, now());
                drop(content);
                held.take(at, sum);
            }
            None => self.own().settle(terms.period, sum, real, now()),
        }
    }
}
