//! The ledger of this process's calls: a ring in shared memory, where the library is preloaded ([`super::ledger_queue`]). Without, none is kept.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use pg_llm_gateway::ledger::{Entry, Ledger, NoLedger, end_process};
use pg_llm_sandbox::interrupt::{Interrupt, Wake};
use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

use super::errors::{self, Failure, State};
use super::interrupts::MainThread;
use super::ledger_queue::{Put, Ring, Wanted};
use super::{interrupts, ledger_settings, shared_memory, transaction};

/// How long an entry waits for room.
const FOR_ROOM: Duration = Duration::from_millis(100);

/// This process is counted among those that put entries in.
static ATTACHED: AtomicBool = AtomicBool::new(false);

/// The entries of one role's calls.
struct Queue {
    ring: Ring,
    database: u32,
    role: u32,
    content: bool,
    redact: bool,
}

type Known = (u32, bool, bool, Arc<dyn Ledger>);
static KNOWN: Mutex<Option<Known>> = Mutex::new(None);

/// That of calls that `role` makes. On the main thread.
pub(crate) fn of(role: Oid) -> Arc<dyn Ledger> {
    static NONE: OnceLock<Arc<dyn Ledger>> = OnceLock::new();
    let Some(ring) = shared_memory::ring().filter(|_| is_wanted()) else { return Arc::clone(NONE.get_or_init(|| Arc::new(NoLedger))) };
    let (role, content, redact) = (role.to_u32(), ledger_settings::trace_enabled(), ledger_settings::redact_sensitive());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((of, with, without, ledger)) = known.as_ref()
        && (*of, *with, *without) == (role, content, redact)
    {
        return Arc::clone(ledger);
    }
    if !ATTACHED.swap(true, Ordering::AcqRel) {
        ring.head().attached.fetch_add(1, Ordering::AcqRel);
        shared_memory::at_exit();
    }
    let ledger: Arc<dyn Ledger> = Arc::new(Queue { ring, database: database(), role, content, redact });
    *known = Some((role, content, redact, Arc::clone(&ledger)));
    ledger
}

fn database() -> u32 {
    // SAFETY: reads the backend's state, set when it connected.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

/// As the settings have it, and chance.
fn is_wanted() -> bool {
    let rate = ledger_settings::audit_sample_rate();
    if !ledger_settings::audit_enabled() || rate <= 0.0 {
        return false;
    }
    // Each state has keys of its own.
    rate >= 1.0 || f64::from(u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or(0)) < rate * f64::from(u32::MAX)
}

/// The process ends: calls that it is in are over. Must not raise.
pub(super) fn close() {
    end_process();
    if ATTACHED.swap(false, Ordering::AcqRel)
        && let Some(ring) = shared_memory::ring()
    {
        ring.head().attached.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Ledger for Queue {
    fn put(&self, entry: &Entry) {
        thread_local! {
            static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        LINE.with_borrow_mut(|line| {
            line.clear();
            entry.write_json(line);
            line.extend_from_slice(format!(",\"role\":{}", self.role).as_bytes());
            if let Some(kind) = entry.error {
                line.extend_from_slice(format!(",\"sqlstate\":\"{}\"", State::of(kind).sqlstate()).as_bytes());
            }
            put(self.ring, self.database, line);
            // What was said is not kept for longer than it must be.
            if self.content {
                *line = Vec::new();
            }
        });
    }

    fn wants_content(&self) -> bool {
        self.content
    }

    fn redacts(&self) -> bool {
        self.redact
    }
}

/// Puts a record in, and waits for a moment where there is no room, unless this process is to do something else.
fn put(ring: Ring, database: u32, record: &[u8]) {
    let board = shared_memory::board();
    let mut until = None;
    loop {
        match ring.put(database, record) {
            Put::Done => {
                if let Some(board) = board {
                    if ring.is_half_full() { board.ring_at_once() } else { board.ring() }
                }
                return;
            }
            Put::Full if !interrupts::is_pending() && *until.get_or_insert_with(|| Instant::now() + FOR_ROOM) > Instant::now() => {
                if let Some(board) = board {
                    board.ring_at_once();
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Put::Full | Put::TooLarge => {
                ring.head().dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
    }
}

/// A record of a server that has stopped since.
pub(super) fn put_again(database: u32, record: &[u8]) {
    if let Some(ring) = shared_memory::ring() {
        put(ring, database, record);
    }
}

/// Records that nobody has written.
pub(super) fn rest() -> Vec<(u32, Vec<u8>)> {
    shared_memory::ring().map_or_else(Vec::new, |ring| ring.rest())
}

/// Drops the entries of a database that has no writer.
pub(super) fn give_up(database: u32) {
    let Some(ring) = shared_memory::ring() else { return };
    let records = ring.read(Wanted { database, logged: false }, usize::MAX, usize::MAX);
    ring.done(&records);
    ring.head().dropped.fetch_add(records.len() as u64, Ordering::Relaxed);
    let text = format!("pg_llm: {} entries of the ledger are given up: nobody can write them in database {database}", records.len());
    errors::emit(pgrx::PgLogLevel::LOG, &text);
}

/// Whether some process may still put entries in.
pub(super) fn is_attached() -> bool {
    shared_memory::ring().is_some_and(|ring| ring.head().attached.load(Ordering::Acquire) > 0)
}

/// Databases whose entries are to be written.
pub(super) fn databases_with_entries() -> Vec<u32> {
    shared_memory::ring().map_or_else(Vec::new, |ring| ring.databases(!transaction::in_recovery()))
}

/// What is counted of the ledger, of all databases since the server has started.
pub(crate) struct Counts {
    /// Rows that were written.
    pub(crate) written: u64,
    /// Entries that are lost: there was no room, or they could not be written.
    pub(crate) dropped: u64,
    /// Entries of this database wait to be written.
    pub(crate) waiting: bool,
}

/// None where no ledger is kept.
pub(crate) fn counts() -> Option<Counts> {
    let ring = shared_memory::ring()?;
    let (written, dropped) = (ring.head().written.load(Ordering::Relaxed), ring.head().dropped.load(Ordering::Relaxed));
    Some(Counts { written, dropped, waiting: ring.has_before(wanted(), u64::MAX) })
}

fn wanted() -> Wanted {
    Wanted { database: database(), logged: !transaction::in_recovery() }
}

/// Waits until the entries of this database that are there by now are written; on a standby, until they are in the server's log. False: they were not within this time.
///
/// # Errors
/// What Postgres raised meanwhile.
pub(crate) fn flush(timeout: Duration) -> Result<bool, Failure> {
    let (Some(ring), Some(board)) = (shared_memory::ring(), shared_memory::board()) else { return Ok(true) };
    let (end, until) = (ring.end(), Instant::now() + timeout);
    let interrupt = MainThread::new();
    let mut pause = Duration::from_millis(1);
    loop {
        if !ring.has_before(wanted(), end) {
            return Ok(true);
        }
        let now = Instant::now();
        if now >= until {
            return Ok(false);
        }
        board.ring_at_once();
        if interrupt.wait(None, (now + pause).min(until)) == Wake::Stopped {
            interrupt.settle()?;
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
