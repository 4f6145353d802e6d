//! A background worker of one database: its start, its transactions, its waits, its end.
//!
//! Such a worker is started by whoever has work for it, and ends by itself when there is none: a session that stays would keep the database from being dropped
//! or copied. Of several that are started for the same work one goes on ([`Turn`]).

#![allow(
    clippy::cast_possible_wrap,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "Postgres's small constants, in the type that bindgen gives them"
)]

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::time::Duration;

use pgrx::pg_sys;
use pgrx::pg_sys::Datum;
use pgrx::pg_sys::panic::CaughtError;

use super::errors::{Failure, SqlError, State};

/// Seconds until Postgres starts a worker again that has failed or was terminated.
const RESTART_S: c_int = 1;

thread_local! {
    /// The worker that this session asked for last, and its kind.
    static ASKED_FOR: Cell<Option<(u16, *mut pg_sys::BackgroundWorkerHandle)>> = const { Cell::new(None) };
}

/// What a kind of worker is known by.
pub(crate) struct Kind {
    /// In `pg_stat_activity.backend_type`, and in the server's log.
    pub(crate) name: &'static CStr,
    /// The C function that Postgres calls.
    pub(crate) function: &'static CStr,
    /// Another one for each kind: what its workers lock.
    pub(crate) number: u16,
}

impl Kind {
    /// Sees to it that what others have committed by now is seen by a worker of this kind in this database: wakes the one that there is, or starts one. For
    /// the end of a transaction: it raises nothing.
    pub(crate) fn wake(&self) {
        // SAFETY: reads and writes the backend's state, on its main thread. An ERROR, caught, has let go of interrupts that Postgres holds here.
        unsafe {
            let held = pg_sys::InterruptHoldoffCount;
            if catch_unwind(AssertUnwindSafe(|| self.wake_or_start())).is_err() {
                pg_sys::InterruptHoldoffCount = held;
            }
        }
    }

    /// First those are woken that are there, then it is looked whether one has the turn. A worker that ends gives its turn back before it looks for work once
    /// more: so it finds what was committed before we woke it, or we find its turn free.
    ///
    /// # Safety
    /// On the main thread of a backend.
    unsafe fn wake_or_start(&self) {
        // SAFETY: the caller's promise. A process's entry stays where it is, and a latch may be set though nobody waits for it.
        unsafe {
            let processes = &*pg_sys::ProcGlobal;
            for at in 0..processes.allProcCount as usize {
                let process = processes.allProcs.add(at);
                // Workers act for no role that logged in.
                if process != pg_sys::MyProc
                    && (*process).pid != 0
                    && (*process).databaseId == pg_sys::MyDatabaseId
                    && ((*process).roleId == pg_sys::InvalidOid || (*process).roleId.to_u32() == pg_sys::BOOTSTRAP_SUPERUSERID)
                {
                    pg_sys::SetLatch(&raw mut (*process).procLatch);
                }
            }
            let tag = self.tag();
            if pg_sys::LockAcquire(&raw const tag, pg_sys::ShareLock as i32, true, true) == pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
            {
                return;
            }
            pg_sys::LockRelease(&raw const tag, pg_sys::ShareLock as i32, true);
            // One that this session has asked for and that has not begun will find what was committed now, too.
            let mut pid = 0;
            if let Some((kind, asked_for)) = ASKED_FOR.get() {
                let status = pg_sys::GetBackgroundWorkerPid(asked_for, &raw mut pid);
                if kind == self.number && status == pg_sys::BgwHandleStatus::BGWH_NOT_YET_STARTED {
                    return;
                }
                ASKED_FOR.set(None);
                pg_sys::pfree(asked_for.cast());
            }
            self.start();
        }
    }

    /// Starts a worker in this database, if the server has room for one.
    ///
    /// # Safety
    /// As above.
    unsafe fn start(&self) {
        // SAFETY: all zeroes are a value of the struct; the strings end within their arrays, or the worker is not started.
        unsafe {
            let mut worker = pg_sys::BackgroundWorker::default();
            let database = CStr::from_ptr(pg_sys::DatabasePath);
            if !copy(self.name, &mut worker.bgw_name)
                || !copy(self.name, &mut worker.bgw_type)
                || !copy(c"pg_llm", &mut worker.bgw_library_name)
                || !copy(self.function, &mut worker.bgw_function_name)
                || !copy(database, &mut worker.bgw_extra)
            {
                return;
            }
            worker.bgw_flags = (pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION) as c_int;
            worker.bgw_start_time = pg_sys::BgWorkerStartTime::BgWorkerStart_RecoveryFinished;
            worker.bgw_restart_time = RESTART_S;
            worker.bgw_main_arg = Datum::from(pg_sys::MyDatabaseId);
            let mut handle = ptr::null_mut();
            let before = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
            let registered = pg_sys::RegisterDynamicBackgroundWorker(&raw mut worker, &raw mut handle);
            pg_sys::MemoryContextSwitchTo(before);
            if registered {
                ASKED_FOR.set(Some((self.number, handle)));
            } else {
                super::errors::emit(
                    pgrx::PgLogLevel::LOG,
                    "pg_llm: there is no room for a background worker; raise max_worker_processes. What waits for it begins when it is asked for again.",
                );
            }
        }
    }

    /// Of no object that there is: nobody else locks it.
    fn tag(&self) -> pg_sys::LOCKTAG {
        pg_sys::LOCKTAG {
            // SAFETY: reads the backend's state.
            locktag_field1: unsafe { pg_sys::MyDatabaseId }.to_u32(),
            locktag_field2: pg_sys::NamespaceRelationId.to_u32(),
            locktag_field3: 0,
            locktag_field4: self.number,
            locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
            // What a session holds of the other method, outside of transactions, outlives it.
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        }
    }
}

/// Copies a string with its end, if it fits.
fn copy(from: &CStr, to: &mut [c_char]) -> bool {
    let bytes = from.to_bytes_with_nul();
    if bytes.len() > to.len() {
        return false;
    }
    for (to, from) in to.iter_mut().zip(bytes) {
        *to = c_char::from_ne_bytes([*from]);
    }
    true
}

/// The right to do the work of its kind in this database. Given back when dropped, and by the end of the process.
pub(crate) struct Turn(pg_sys::LOCKTAG);

impl Turn {
    /// None where another worker has it.
    pub(crate) fn take(kind: &Kind) -> Option<Self> {
        let tag = kind.tag();
        // Who looks whether there is a worker holds it for an instant.
        for _ in 0..10 {
            // SAFETY: on the worker's main thread. A lock of the session's, which is not waited for.
            let taken = unsafe { pg_sys::LockAcquire(&raw const tag, pg_sys::ExclusiveLock as i32, true, true) };
            if taken != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL {
                return Some(Self(tag));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // SAFETY: the lock that `take` has taken.
        unsafe { pg_sys::LockRelease(&raw const self.0, pg_sys::ExclusiveLock as i32, true) };
    }
}

/// Runs a worker from its start to its end, which is this function's too.
///
/// # Safety
/// For Postgres, as a background worker's main function, with what [`Kind::start`] has given it.
pub(crate) unsafe fn serve(database: Datum, work: fn() -> Result<(), Failure>) {
    // SAFETY: the caller's promise: one thread, in a process that Postgres has just made. Handlers only set what is read later.
    unsafe {
        set_handler(pg_sys::SIGTERM as c_int, on_terminate);
        set_handler(pg_sys::SIGHUP as c_int, on_reload);
        set_handler(pg_sys::SIGINT as c_int, on_cancel);
        pg_sys::BackgroundWorkerUnblockSignals();
        // Connecting to a database that is gone is FATAL, and Postgres would start us again and again. Its folder says so before.
        let folder = CStr::from_ptr((*pg_sys::MyBgworkerEntry).bgw_extra.as_ptr()).to_string_lossy().into_owned();
        if !std::path::Path::new(&folder).join("PG_VERSION").exists() {
            return;
        }
        let oid = pg_sys::Oid::from(u32::try_from(database.value()).unwrap_or(0));
        pg_sys::BackgroundWorkerInitializeConnectionByOid(oid, pg_sys::InvalidOid, pg_sys::BGWORKER_BYPASS_ALLOWCONN);
        // What the database's settings say is meant for others.
        for (name, value) in [
            (c"default_transaction_read_only", c"off"),
            (c"default_transaction_isolation", c"read committed"),
            (c"session_replication_role", c"origin"),
            (c"lock_timeout", c"0"),
        ] {
            set(name, value);
        }
        // What is lost in a crash here has been paid for.
        if pg_sys::synchronous_commit == pg_sys::SyncCommitLevel::SYNCHRONOUS_COMMIT_OFF as c_int {
            set(c"synchronous_commit", c"local");
        }
    }
    if let Err(failure) = work() {
        super::errors::or_raise::<()>(|| Err(failure));
    }
}

/// Sets a setting for the rest of the session, or, within [`Settings`], until that ends. A value that cannot be is left out, and the log says so.
pub(crate) fn set(name: &CStr, value: &CStr) {
    // SAFETY: NUL-terminated strings, which are copied.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_SESSION,
            if pg_sys::IsTransactionState() { pg_sys::GucAction::GUC_ACTION_SAVE } else { pg_sys::GucAction::GUC_ACTION_SET },
            true,
            pg_sys::LOG as c_int,
            false,
        );
    }
}

/// While it lives, settings are others; then they are as before.
pub(crate) struct Settings(c_int);

impl Settings {
    /// In a transaction.
    pub(crate) fn begin() -> Self {
        // SAFETY: counts levels of the backend's settings.
        Self(unsafe { pg_sys::NewGUCNestLevel() })
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        // SAFETY: the level of `begin`. Where an abort has undone it already, there is nothing at this level.
        unsafe { pg_sys::AtEOXact_GUC(true, self.0) }
    }
}

/// Runs `work` in a transaction of its own. What it fails with has undone it.
pub(crate) fn transaction<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let done = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: on the worker's main thread, outside of transactions.
        unsafe {
            pg_sys::SetCurrentStatementStartTimestamp();
            pg_sys::StartTransactionCommand();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        }
        let value = work()?;
        // SAFETY: the transaction and the snapshot of above.
        unsafe {
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
        }
        Ok(value)
    }));
    let failure = match done {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(failure)) => failure,
        Err(payload) => payload
            .downcast::<CaughtError>()
            .map_or_else(|_| SqlError::new(State::Internal, "pg_llm: internal error in a background worker").into(), Failure::Postgres),
    };
    // SAFETY: whatever the transaction's state is.
    unsafe { pg_sys::AbortCurrentTransaction() };
    Err(failure)
}

/// Tells Postgres what the transactions did, so that tables are vacuumed.
pub(crate) fn report_statistics() {
    // SAFETY: outside of transactions.
    unsafe {
        let _ = pg_sys::pgstat_report_stat(false);
    }
}

/// Waits until the worker is woken, `fd` is readable, or so much time is over. Settings that have changed are read then. True when there is nothing but what
/// `fd` has.
pub(crate) fn wait(fd: Option<BorrowedFd<'_>>, most: Duration) -> bool {
    let mut events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    if fd.is_some() {
        events |= pg_sys::WL_SOCKET_READABLE;
    }
    // SAFETY: the process's own latch, and a live descriptor.
    unsafe {
        let came = pg_sys::WaitLatchOrSocket(
            pg_sys::MyLatch,
            events as c_int,
            fd.map_or(-1, |fd| fd.as_raw_fd()),
            i64::try_from(most.as_millis()).unwrap_or(i64::MAX),
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
        if ptr::read_volatile(&raw const pg_sys::ConfigReloadPending) != 0 {
            ptr::write_volatile(&raw mut pg_sys::ConfigReloadPending, 0);
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
        came == pg_sys::WL_SOCKET_READABLE as c_int
    }
}

/// Lets Postgres do what others ask of this process: it may end here. That somebody cancels a statement, where there is none, is nothing.
pub(crate) fn check() {
    let _ = catch_unwind(super::interrupts::check);
}

/// Whether it is to end: the server stops, or somebody terminates it.
pub(crate) fn is_to_end() -> bool {
    // SAFETY: a flag that this process's handler writes.
    unsafe { ptr::read_volatile(&raw const pg_sys::ProcDiePending) != 0 }
}

/// Lets the last thing be done before the end: what it waits for at a lock, it waits for a second at most.
pub(crate) fn before_the_end(last: impl FnOnce() -> Result<(), Failure>) {
    // SAFETY: flags of this process, on its main thread.
    unsafe { ptr::write_volatile(&raw mut pg_sys::ProcDiePending, 0) };
    let done = transaction(|| {
        set(c"lock_timeout", c"1s");
        last()
    });
    if let Err(failure) = done {
        super::errors::emit(
            pgrx::PgLogLevel::LOG,
            &format!("pg_llm: a background worker ends without its last transaction: {}", failure.words()),
        );
    }
    // SAFETY: as above.
    unsafe {
        ptr::write_volatile(&raw mut pg_sys::ProcDiePending, 1);
        ptr::write_volatile(&raw mut pg_sys::InterruptPending, 1);
    }
}

/// What Postgres's own handler does, which cannot be had as an address here.
unsafe extern "C-unwind" fn on_terminate(_: c_int) {
    // SAFETY: sets flags that only the main thread reads, on it; a latch may be set in a handler.
    unsafe {
        ptr::write_volatile(&raw mut pg_sys::ProcDiePending, 1);
        ptr::write_volatile(&raw mut pg_sys::InterruptPending, 1);
        pg_sys::SetLatch(pg_sys::MyLatch);
    }
}

/// Nobody waits for the worker's own statements: to cancel one would only end its turn.
unsafe extern "C-unwind" fn on_cancel(_: c_int) {}

unsafe extern "C-unwind" fn on_reload(_: c_int) {
    // SAFETY: as above.
    unsafe {
        ptr::write_volatile(&raw mut pg_sys::ConfigReloadPending, 1);
        pg_sys::SetLatch(pg_sys::MyLatch);
    }
}

/// # Safety
/// `handler` does only what a handler may.
unsafe fn set_handler(signal: c_int, handler: unsafe extern "C-unwind" fn(c_int)) {
    // SAFETY: the caller's promise.
    #[cfg(feature = "pg18")]
    unsafe {
        pg_sys::pqsignal_be(signal, Some(handler));
    }
    #[cfg(not(feature = "pg18"))]
    // SAFETY: as above.
    unsafe {
        pg_sys::pqsignal(signal, Some(handler));
    }
}

/// Makes a C function that Postgres can start as a background worker: `symbol => work`.
macro_rules! worker_function {
    ($symbol:ident => $work:path) => {
        /// Named by [`Kind::function`](crate::backend::worker::Kind).
        ///
        /// # Safety
        /// For Postgres's background workers.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C-unwind" fn $symbol(database: ::pgrx::pg_sys::Datum) {
            // SAFETY: there is nothing with a destructor above this frame.
            unsafe { ::pgrx::pgrx_extern_c_guard(move || $crate::backend::worker::serve(database, $work)) }
        }
    };
}
pub(crate) use worker_function;
