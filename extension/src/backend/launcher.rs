//! Starts background workers, one of each kind for a database that has work for it.
//!
//! Under preload there is one process, the launcher, which connects to no database. Whoever has work for a database says so in shared memory and rings a bell that the
//! launcher inherited: any thread may. It starts a worker for that, or wakes the one that runs: a worker that runs has a [`Lane`]. Workers that find nothing to do end.

use std::collections::HashMap;
use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, BgWorkerStartTime, SignalWakeFlags};
use pgrx::pg_sys::Oid;
use pgrx::{PgLogLevel, pg_sys};

use super::{errors, ledger, ledger_file, shared_memory};

/// What a worker is for.
#[allow(dead_code, reason = "jobs come with their worker")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Writes the ledger's entries into their table.
    Ledger = 1,
    /// Runs jobs.
    Jobs = 2,
}

/// Workers that run at the same time, of all kinds and databases.
const LANES: usize = 64;
/// How long the launcher lets entries gather before it wakes their writer.
const GATHER: Duration = Duration::from_millis(50);
/// A worker that has not begun after so long is started again, and the next time after twice as long.
const START: Duration = Duration::from_secs(1);
/// After so many starts a database's entries are given up: it was dropped, or nobody may connect to it.
const STARTS: u32 = 7;
/// The launcher looks again after so long, whether its bell rang or not.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long the launcher waits for processes that still put entries in, when the server stops.
const LAST_ENTRIES: Duration = Duration::from_secs(10);

/// In shared memory. All zeroes are an empty one.
#[repr(C)]
pub(super) struct Board {
    /// The bell was rung, and the launcher has not looked since.
    rung: AtomicU32,
    /// Somebody waits for entries to be written.
    hurry: AtomicU32,
    /// Databases and kinds that are asked for ([`number`]); 0: none.
    requests: [AtomicU64; LANES],
    lanes: [Lane; LANES],
}

/// A worker that runs.
#[repr(C)]
struct Lane {
    /// Its database and kind; 0: nobody.
    whose: AtomicU64,
    pid: AtomicI32,
    /// What wakes it.
    latch: AtomicPtr<c_void>,
}

fn number(database: u32, kind: Kind) -> u64 {
    u64::from(database) << 8 | kind as u64
}

impl Kind {
    const ALL: [Self; 2] = [Self::Ledger, Self::Jobs];

    /// What Postgres calls its processes, and the function that they run. None: there is no such worker.
    fn worker(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Ledger => Some(("pg_llm ledger writer", "pg_llm_ledger_writer_main")),
            Self::Jobs => None,
        }
    }
}

impl Board {
    /// Tells the launcher that there is something. From any thread.
    pub(super) fn ring(&self) {
        if self.rung.swap(1, Ordering::AcqRel) == 0
            && let Some(bell) = shared_memory::launcher_bell()
        {
            // A full counter is readable as well.
            let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
        }
    }

    /// The same, without a delay.
    pub(super) fn ring_at_once(&self) {
        self.hurry.store(1, Ordering::Release);
        self.rung.store(0, Ordering::Release);
        self.ring();
    }

    fn lane(&self, whose: u64) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.whose.load(Ordering::Acquire) == whose)
    }
}

/// Asks for a worker of this kind in this database: one that runs is woken, else one is started soon. From any thread; it does not wait, and where the library is
/// not preloaded it does nothing. A worker that finds nothing to do ends.
#[allow(dead_code, reason = "jobs come with their worker")]
pub(crate) fn wake(database: Oid, kind: Kind) {
    let Some(board) = shared_memory::board() else { return };
    let wanted = number(database.to_u32(), kind);
    if !board.requests.iter().any(|request| request.load(Ordering::Acquire) == wanted) {
        // Where all places are taken, the launcher is behind; who waits for the work asks again.
        let _ = board.requests.iter().find(|request| request.compare_exchange(0, wanted, Ordering::AcqRel, Ordering::Relaxed).is_ok());
    }
    board.ring_at_once();
}

/// The right to be the worker of this kind in this database. It is given back when it is dropped, and when the process ends.
pub(super) struct Claim(&'static Lane);

impl Claim {
    /// None: there is one, or too many others. On the main thread of a background worker.
    pub(super) fn take(database: u32, kind: Kind) -> Option<Self> {
        let board = shared_memory::board()?;
        let wanted = number(database, kind);
        // One at a time: two that begin together must not both find nobody.
        let lane = board.lanes.iter().find(|lane| lane.whose.compare_exchange(0, u64::MAX, Ordering::AcqRel, Ordering::Relaxed).is_ok())?;
        // SAFETY: this process's own, set at its start, in memory that all share.
        let (pid, latch) = unsafe { (pg_sys::MyProcPid, pg_sys::MyLatch) };
        lane.pid.store(pid, Ordering::Release);
        lane.latch.store(latch.cast(), Ordering::Release);
        lane.whose.store(wanted, Ordering::Release);
        let claim = Self(lane);
        let first = board.lanes.iter().find(|lane| lane.whose.load(Ordering::Acquire) == wanted);
        if first.is_some_and(|first| !ptr::eq(first, lane)) {
            drop(claim);
            return None;
        }
        // SAFETY: the callback stays loaded; the lane is in memory that stays.
        unsafe { pg_sys::before_shmem_exit(Some(leave), pg_sys::Datum::from(ptr::from_ref(lane).cast_mut())) }
        Some(claim)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        give_up(self.0);
    }
}

/// Must not raise: the process is ending.
unsafe extern "C-unwind" fn leave(_: std::ffi::c_int, lane: pg_sys::Datum) {
    let lane: *const Lane = lane.cast_mut_ptr();
    // SAFETY: as it was registered.
    give_up(unsafe { &*lane });
}

fn give_up(lane: &Lane) {
    // SAFETY: reads this process's own number.
    let us = unsafe { pg_sys::MyProcPid };
    if lane.pid.compare_exchange(us, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
        lane.latch.store(ptr::null_mut(), Ordering::Release);
        lane.whose.store(0, Ordering::Release);
    }
}

/// Called from `_PG_init` under `shared_preload_libraries`.
pub(super) fn register() {
    BackgroundWorkerBuilder::new("pg_llm launcher")
        .set_library("pg_llm")
        .set_function("pg_llm_launcher_main")
        .enable_shmem_access(None)
        // On a standby too: what cannot be written there is logged.
        .set_start_time(BgWorkerStartTime::ConsistentState)
        .set_restart_time(Some(Duration::from_secs(5)))
        .load();
}

/// The launcher.
#[pgrx::pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_llm_launcher_main(_argument: pg_sys::Datum) {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    let Some(board) = shared_memory::board() else { return };
    ledger_file::load();
    let mut started = HashMap::new();
    let mut again = false;
    loop {
        sleep(Some(board), if again { GATHER } else { LOOK_AGAIN });
        if BackgroundWorker::sigterm_received() {
            break;
        }
        if board.hurry.swap(0, Ordering::AcqRel) == 0 {
            sleep(None, GATHER);
        }
        // In this order: what comes from here on rings again.
        board.rung.store(0, Ordering::Release);
        again = serve(board, &mut started);
        if BackgroundWorker::sigterm_received() {
            break;
        }
    }
    stop(board);
}

/// Sees to it that each database has the workers that it needs. True: not all of them have begun.
fn serve(board: &Board, started: &mut HashMap<u64, Started>) -> bool {
    let mut wanted: Vec<u64> = ledger::databases_with_entries().into_iter().map(|database| number(database, Kind::Ledger)).collect();
    wanted.extend(board.requests.iter().map(|request| request.swap(0, Ordering::AcqRel)).filter(|request| *request != 0));
    let mut open = false;
    for whose in wanted {
        if let Some(lane) = board.lane(whose) {
            let latch: *mut pg_sys::Latch = lane.latch.load(Ordering::Acquire).cast();
            if !latch.is_null() {
                // SAFETY: in shared memory, where it stays whether its process does or not.
                unsafe { pg_sys::SetLatch(latch) }
            }
            continue;
        }
        let before = started.get(&whose).map_or(0, |before| before.times);
        if started.get(&whose).is_some_and(|before| before.at.elapsed() < START * 2_u32.pow(before.times.saturating_sub(1))) {
            open = true;
            continue;
        }
        if before >= STARTS {
            started.remove(&whose);
            if whose & 0xff == Kind::Ledger as u64 {
                ledger::give_up(u32::try_from(whose >> 8).unwrap_or(0));
            }
            continue;
        }
        open = true;
        if start(whose) {
            started.insert(whose, Started { at: Instant::now(), times: before + 1 });
        } else if whose & 0xff != Kind::Ledger as u64 {
            // Entries say by themselves that they are still there; of others it is remembered.
            let _ = board.requests.iter().find(|request| request.compare_exchange(0, whose, Ordering::AcqRel, Ordering::Relaxed).is_ok());
        }
    }
    if !open {
        started.clear();
    }
    open
}

/// When a worker was started last, and how many times without one that had its work done.
struct Started {
    at: Instant,
    times: u32,
}

/// False: there is no room for another worker.
fn start(whose: u64) -> bool {
    let Some((name, function)) = Kind::ALL.iter().find(|kind| **kind as u64 == whose & 0xff).and_then(|kind| kind.worker()) else {
        return true;
    };
    let Ok(database) = u32::try_from(whose >> 8) else { return true };
    let begun = BackgroundWorkerBuilder::new(name)
        .set_library("pg_llm")
        .set_function(function)
        .enable_shmem_access(None)
        .enable_spi_access()
        .set_start_time(BgWorkerStartTime::ConsistentState)
        .set_restart_time(None)
        .set_argument(Some(pg_sys::Datum::from(Oid::from(database))))
        .load_dynamic();
    if begun.is_err() {
        static SAID: AtomicU32 = AtomicU32::new(0);
        if SAID.fetch_add(1, Ordering::Relaxed).is_multiple_of(60) {
            errors::emit(PgLogLevel::LOG, "pg_llm: a background worker cannot be started: raise max_worker_processes");
        }
    }
    begun.is_ok()
}

/// The server stops: what nobody has written by the time that all have gone is kept in a file.
fn stop(board: &Board) {
    let until = Instant::now() + LAST_ENTRIES;
    let busy = || ledger::is_attached() || board.lanes.iter().any(|lane| lane.whose.load(Ordering::Acquire) != 0);
    while busy() && Instant::now() < until {
        sleep(None, Duration::from_millis(5));
    }
    ledger_file::save();
}

/// Sleeps until the latch is set, the bell of `board` rings, or the time is over.
fn sleep(board: Option<&Board>, most: Duration) {
    let bell = board.and_then(|_| shared_memory::launcher_bell());
    let timeout = std::ffi::c_long::try_from(most.as_millis()).unwrap_or(1000);
    let mut events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    if bell.is_some() {
        events |= pg_sys::WL_SOCKET_READABLE;
    }
    // SAFETY: this process's latch, and a descriptor that stays open.
    unsafe {
        pg_sys::WaitLatchOrSocket(
            pg_sys::MyLatch,
            i32::try_from(events).unwrap_or(0),
            bell.map_or(-1, |bell| bell.as_fd().as_raw_fd()),
            timeout,
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    if let Some(bell) = bell {
        let _ = rustix::io::read(bell, &mut [0; 8]);
    }
    pgrx::check_for_interrupts!();
}
