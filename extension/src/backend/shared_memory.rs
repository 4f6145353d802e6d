//! Memory that all processes of the server share, where the library is preloaded: asked for and laid out in the postmaster, which does nothing else with it.
//!
//! A process that is killed takes the whole server with it, and the memory is made anew. A process that ends in another way, be it by FATAL in the midst of a
//! call, gives back what it holds in [`at_exit`]'s callback, after which its threads find the memory closed ([`super::admission_table`]).

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use pg_llm_gateway::admission::Bells;
use pgrx::pg_sys;
use rustix::event::{EventfdFlags, eventfd};

use super::admission_table::{self, Table};
use super::budget_table::{self, BudgetTable};
use super::launcher::{self, Board};
use super::ledger_queue::{self, Ring};
use super::module_statistics::{self, ModuleTable};
use super::{ledger, ledger_settings};

/// Null where the library is not preloaded.
static TABLE: AtomicPtr<Table> = AtomicPtr::new(ptr::null_mut());
/// The same.
static MODULES: AtomicPtr<ModuleTable> = AtomicPtr::new(ptr::null_mut());
/// The same.
static BUDGETS: AtomicPtr<BudgetTable> = AtomicPtr::new(ptr::null_mut());
/// The same.
static BOARD: AtomicPtr<Board> = AtomicPtr::new(ptr::null_mut());
/// The same: a ring and its bytes.
static RING: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
/// Wakes the launcher. Made in the postmaster, inherited by all.
static LAUNCHER_BELL: OnceLock<Option<OwnedFd>> = OnceLock::new();
/// Made in the postmaster, inherited by all.
static BELLS: OnceLock<Option<Bells>> = OnceLock::new();

/// Postgres's, of which all processors' are a part.
const CACHE_LINE: usize = 128;

type Hook = Option<unsafe extern "C-unwind" fn()>;
static FORMER_STARTUP: OnceLock<Hook> = OnceLock::new();
#[cfg(not(feature = "pg14"))]
static FORMER_REQUEST: OnceLock<Hook> = OnceLock::new();

/// The table of models; none where the library is not preloaded.
pub(super) fn table() -> Option<&'static Table> {
    // SAFETY: null, or memory that stays as long as the process does, and that `Table` lets be shared.
    unsafe { TABLE.load(Ordering::Acquire).as_ref() }
}

/// The statistics of modules; none where the library is not preloaded.
pub(super) fn modules() -> Option<&'static ModuleTable> {
    // SAFETY: as above.
    unsafe { MODULES.load(Ordering::Acquire).as_ref() }
}

/// The accounts of budgets; none where the library is not preloaded.
pub(super) fn budgets() -> Option<&'static BudgetTable> {
    // SAFETY: as above.
    unsafe { BUDGETS.load(Ordering::Acquire).as_ref() }
}

/// What workers there are, and are to be; none where the library is not preloaded.
pub(super) fn board() -> Option<&'static Board> {
    // SAFETY: as above.
    unsafe { BOARD.load(Ordering::Acquire).as_ref() }
}

/// Entries of the ledger on their way; none where the library is not preloaded.
pub(super) fn ring() -> Option<Ring> {
    let memory = RING.load(Ordering::Acquire);
    // SAFETY: not null, it is memory for a ring of this size, which was all zeroes at first.
    (!memory.is_null()).then(|| unsafe { Ring::at(memory, ledger_settings::queue_bytes()) })
}

/// What wakes the launcher.
pub(super) fn launcher_bell() -> Option<BorrowedFd<'static>> {
    LAUNCHER_BELL.get()?.as_ref().map(AsFd::as_fd)
}

/// What wakes waiters in other processes.
pub(super) fn bells() -> Option<&'static Bells> {
    BELLS.get()?.as_ref()
}

/// Whether limits count over all sessions.
pub(crate) fn is_there() -> bool {
    !TABLE.load(Ordering::Acquire).is_null()
}

/// Called from `_PG_init`: registers, under `shared_preload_libraries`, and else does nothing.
pub(crate) fn register() {
    // SAFETY: in the postmaster while it loads libraries: one thread, hooks are for us to chain. On version 14 memory is asked for right here.
    unsafe {
        if !pg_sys::process_shared_preload_libraries_in_progress {
            return;
        }
        #[cfg(feature = "pg14")]
        ask();
        #[cfg(not(feature = "pg14"))]
        {
            FORMER_REQUEST.get_or_init(|| pg_sys::shmem_request_hook);
            pg_sys::shmem_request_hook = Some(request);
        }
        launcher::register();
        FORMER_STARTUP.get_or_init(|| pg_sys::shmem_startup_hook);
        pg_sys::shmem_startup_hook = Some(startup);
    }
}

/// # Safety
/// Where memory may be asked for.
unsafe fn ask() {
    // SAFETY: the caller's promise. Each is aligned to a cache line.
    unsafe {
        pg_sys::RequestAddinShmemSpace(size_of::<Table>() + CACHE_LINE);
        pg_sys::RequestAddinShmemSpace(size_of::<ModuleTable>() + CACHE_LINE);
        pg_sys::RequestAddinShmemSpace(size_of::<BudgetTable>() + CACHE_LINE);
        pg_sys::RequestAddinShmemSpace(size_of::<Board>() + CACHE_LINE);
        pg_sys::RequestAddinShmemSpace(ledger_queue::size_for(ledger_settings::queue_bytes()) + CACHE_LINE);
    }
}

/// # Safety
/// In a hook of that kind.
#[allow(ffi_unwind_calls, reason = "the boundary turns an ERROR into a panic")]
unsafe fn chain(former: &OnceLock<Hook>) {
    if let Some(Some(former)) = former.get() {
        // SAFETY: the caller's promise.
        unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| former()) }
    }
}

#[cfg(not(feature = "pg14"))]
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn request() {
    // SAFETY: as Postgres calls the hook.
    unsafe {
        chain(&FORMER_REQUEST);
        ask();
    }
}

/// # Safety
/// In the start-up hook, for a type of which all zeroes are a value.
unsafe fn made<T>(name: &CStr) -> *mut T {
    // SAFETY: the caller's promise.
    unsafe { made_of(name, size_of::<T>()).cast() }
}

/// # Safety
/// In the start-up hook.
unsafe fn made_of(name: &CStr, size: usize) -> *mut u8 {
    let mut found = false;
    // SAFETY: as large as asked for, and aligned to a cache line.
    unsafe {
        let memory = pg_sys::ShmemInitStruct(name.as_ptr(), size, &raw mut found).cast::<u8>();
        if !found && !memory.is_null() {
            ptr::write_bytes(memory, 0, size);
        }
        memory
    }
}

/// Runs at start-up, and again after a crash, with the memory made anew. In one process, so no lock is needed.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn startup() {
    // SAFETY: as Postgres calls the hook. All zeroes are an empty table.
    unsafe {
        chain(&FORMER_STARTUP);
        let table = made(c"pg_llm models");
        let modules = made(c"pg_llm modules");
        let budgets = made(c"pg_llm budgets");
        let board = made(c"pg_llm workers");
        let ring = made_of(c"pg_llm ledger", ledger_queue::size_for(ledger_settings::queue_bytes()));
        // Without them waiters look again every few milliseconds.
        LAUNCHER_BELL.get_or_init(|| eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok());
        BELLS.get_or_init(|| Bells::new().ok());
        TABLE.store(table, Ordering::Release);
        MODULES.store(modules, Ordering::Release);
        BUDGETS.store(budgets, Ordering::Release);
        BOARD.store(board, Ordering::Release);
        RING.store(ring, Ordering::Release);
    }
}

/// Sees to it that what this process holds is given back when it ends. On the main thread, once a process; never in the postmaster.
pub(super) fn at_exit() {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    if !REGISTERED.swap(true, Ordering::Relaxed) {
        // SAFETY: the callback stays loaded as long as the process does. There are few such callbacks in a process; one too many is a FATAL of Postgres's.
        unsafe { pg_sys::before_shmem_exit(Some(exit), pg_sys::Datum::null()) }
    }
}

/// Must not raise: the process is ending.
unsafe extern "C-unwind" fn exit(_: std::ffi::c_int, _: pg_sys::Datum) {
    ledger::close();
    admission_table::close();
    module_statistics::close();
    budget_table::close();
}
