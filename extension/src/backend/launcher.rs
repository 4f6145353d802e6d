//! Starts the ledger's writers, one for each database that has entries for it.
//!
//! Under preload there is one process, the launcher, which connects to no database. Whoever has work for a database says so in shared memory and rings a bell that the
//! launcher inherited: any thread may. It starts a worker for that, or wakes the one that runs: a worker that runs has a [`Lane`]. Workers that find nothing to do end.

use std::collections::HashMap;
use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, BgWorkerStartTime, SignalWakeFlags};
use pgrx::pg_sys::Oid;
use pgrx::{PgLogLevel, pg_sys};

use super::{errors, ledger, ledger_file, shared_memory};

/// Workers that run at the same time, in all databases.
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
    lanes: [Lane; LANES],
}

/// A worker that runs.
#[repr(C)]
struct Lane {
    /// Its database; 0: nobody.
    whose: AtomicU32,
    pid: AtomicI32,
    /// What wakes it.
    latch: AtomicPtr<c_void>,
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

    fn lane(&self, whose: u32) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.whose.load(Ordering::Acquire) == whose)
    }
}

/// The right to be the writer of this database. It is given back when it is dropped, and when the process ends.
pub(super) struct Claim(&'static Lane);

impl Claim {
    /// None: there is one, or too many others. On the main thread of a background worker.
    pub(super) fn take(database: u32) -> Option<Self> {
        let board = shared_memory::board()?;
        // One at a time: two that begin together must not both find nobody.
        let lane = board.lanes.iter().find(|lane| lane.whose.compare_exchange(0, u32::MAX, Ordering::AcqRel, Ordering::Relaxed).is_ok())?;
        // SAFETY: this process's own, set at its start, in memory that all share.
        let (pid, latch) = unsafe { (pg_sys::MyProcPid, pg_sys::MyLatch) };
        lane.pid.store(pid, Ordering::Release);
        lane.latch.store(latch.cast(), Ordering::Release);
        lane.whose.store(database, Ordering::Release);
        let claim = Self(lane);
        let first = board.lanes.iter().find(|lane| lane.whose.load(Ordering::Acquire) == database);
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

/// Sees to it that each database with entries has a writer. True: not all of them have begun.
fn serve(board: &Board, started: &mut HashMap<u32, Started>) -> bool {
    let mut open = false;
    for whose in ledger::databases_with_entries() {
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
            ledger::give_up(whose);
            continue;
        }
        open = true;
        if start(whose) {
            started.insert(whose, Started { at: Instant::now(), times: before + 1 });
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
fn start(database: u32) -> bool {
    let begun = BackgroundWorkerBuilder::new("pg_llm ledger writer")
        .set_library("pg_llm")
        .set_function("pg_llm_ledger_writer_main")
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
