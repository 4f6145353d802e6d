//! What the calls of each module came to: counted in shared memory where the library is preloaded, else in this process.
//!
//! Threads count too, so nothing here is Postgres's, and the locks are those of [`super::spin_lock`].

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use pg_llm_sandbox::{Digest, Meter, Sample};
use pgrx::pg_sys;

use super::shared_memory;
use super::spin_lock::{Locked, Slot, SpinLock};

/// Modules, of all databases, that are counted at the same time; the one that was called least recently makes room.
const SLOTS: usize = 256;

/// All zeroes are an empty one.
#[repr(C)]
pub(super) struct ModuleTable {
    /// Held while a slot gets another module.
    directory: SpinLock,
    slots: [Line; SLOTS],
}

/// A cache line or two of its own: sessions that call different modules do not wait for each other.
#[repr(C, align(64))]
struct Line(Slot<Content>);

#[repr(C)]
#[derive(Clone, Copy)]
struct Content {
    key: Key,
    counts: Counts,
}

/// A module of a database. All zeroes are none.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    digest: [u64; 4],
    database: u64,
}

/// Statistics of a module.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Calls that are over.
    pub(crate) calls: u64,
    /// Those among them in which the guest misbehaved.
    pub(crate) faults: u64,
    /// CPU time of all, in nanoseconds.
    pub(crate) cpu: u64,
    /// The same of the one that needed most.
    pub(crate) most_cpu: u64,
    /// Most linear memory of one call, in bytes.
    pub(crate) peak_memory: u64,
    /// When the last one ended, in microseconds since 1970.
    pub(crate) last: u64,
    /// Since when they are counted, likewise.
    pub(crate) since: u64,
}

impl Counts {
    const NONE: Self = Self { calls: 0, faults: 0, cpu: 0, most_cpu: 0, peak_memory: 0, last: 0, since: 0 };

    fn add(&mut self, sample: &Sample, now: u64) {
        let cpu = u64::try_from(sample.cpu.as_nanos()).unwrap_or(u64::MAX);
        self.calls += 1;
        self.faults += u64::from(sample.fault);
        self.cpu = self.cpu.saturating_add(cpu);
        self.most_cpu = self.most_cpu.max(cpu);
        self.peak_memory = self.peak_memory.max(sample.peak_memory as u64);
        self.last = now;
    }
}

impl Key {
    const NONE: Self = Self { digest: [0; 4], database: 0 };

    fn of(digest: &Digest) -> Self {
        let mut key = Self { database: u64::from(database()), ..Self::NONE };
        for (word, bytes) in key.digest.iter_mut().zip(digest.chunks_exact(8)) {
            *word = bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        }
        key
    }
}

fn database() -> u32 {
    // SAFETY: reads the backend's state, set when it connected.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

impl ModuleTable {
    #[allow(clippy::large_stack_arrays, reason = "of a static, and never on a stack")]
    const fn new() -> Self {
        Self { directory: SpinLock::new(), slots: [const { Line(Slot::new(Content { key: Key::NONE, counts: Counts::NONE })) }; SLOTS] }
    }

    fn find(&self, key: Key) -> Option<usize> {
        self.slots.iter().position(|line| line.0.lock().key == key)
    }

    fn find_or_take(&self, key: Key, now: u64) -> Option<usize> {
        self.directory.take();
        let at = self.find(key).or_else(|| {
            let (.., at) = self.slots.iter().enumerate().map(|(at, line)| (line.0.lock().counts.last, at)).min()?;
            *self.slots[at].0.lock() = Content { key, counts: Counts { since: now, last: now, ..Counts::NONE } };
            Some(at)
        });
        self.directory.release();
        at
    }
}

/// Of this process alone.
static OWN: ModuleTable = ModuleTable::new();

/// The process is ending: nobody touches the memory any more.
static CLOSED: RwLock<bool> = RwLock::new(false);

fn table() -> &'static ModuleTable {
    shared_memory::modules().unwrap_or(&OWN)
}

/// Keeps this process's threads out from here on.
pub(super) fn close() {
    *CLOSED.write().unwrap_or_else(PoisonError::into_inner) = true;
}

/// Counts the calls of one module of this database.
struct ModuleMeter {
    key: Key,
    /// Where it was last.
    slot: AtomicUsize,
}

/// What counts the calls of a module. On the main thread.
pub(crate) fn meter(digest: &Digest) -> Arc<dyn Meter> {
    if shared_memory::is_there() {
        shared_memory::at_exit();
    }
    Arc::new(ModuleMeter { key: Key::of(digest), slot: AtomicUsize::new(SLOTS) })
}

impl ModuleMeter {
    fn locked<'t>(&self, table: &'t ModuleTable, now: u64) -> Option<Locked<'t, Content>> {
        // Once more where another module gets the slot between the finding and the locking.
        for _ in 0..3 {
            if let Some(line) = table.slots.get(self.slot.load(Ordering::Relaxed)) {
                let content = line.0.lock();
                if content.key == self.key {
                    return Some(content);
                }
            }
            self.slot.store(table.find_or_take(self.key, now)?, Ordering::Relaxed);
        }
        None
    }
}

impl Meter for ModuleMeter {
    fn record(&self, sample: &Sample) {
        let now = wall_clock();
        let closed = CLOSED.read().unwrap_or_else(PoisonError::into_inner);
        if !*closed && let Some(mut content) = self.locked(table(), now) {
            content.counts.add(sample, now);
        }
    }
}

/// Microseconds since 1970.
fn wall_clock() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// What is counted of a module of this database; none before its first call. Looking takes no room.
pub(crate) fn show(digest: &Digest) -> Option<Counts> {
    let (table, key) = (table(), Key::of(digest));
    let content = *table.slots.get(table.find(key)?)?.0.lock();
    (content.key == key).then_some(content.counts)
}

/// Begins anew, for one module of this database or for all. Gives back how many there were.
pub(crate) fn reset(digest: Option<&Digest>) -> u64 {
    let (wanted, database, now) = (digest.map(Key::of), u64::from(database()), wall_clock());
    let mut begun = 0;
    for line in &table().slots {
        let mut content = line.0.lock();
        if content.key.database == database && wanted.is_none_or(|key| key == content.key) {
            content.counts = Counts { since: now, last: content.counts.last, ..Counts::NONE };
            begun += 1;
        }
    }
    begun
}
