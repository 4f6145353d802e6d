//! The client's connection, for functions whose rows are to leave while the function still runs.
//!
//! Postgres collects what it sends in a buffer of 8 kB and sends that when it is full or the statement over. A function that is about to wait sends it
//! earlier. Complete messages stand in that buffer, so that it may be sent at any time.

use std::ffi::c_int;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;

use super::errors::{Failure, SqlError, State};

/// The first members of Postgres's `PQcommMethods` (libpq/libpq.h), the same in all supported versions.
#[repr(C)]
struct CommMethods {
    comm_reset: unsafe extern "C" fn(),
    flush: unsafe extern "C" fn() -> c_int,
    flush_if_writable: unsafe extern "C" fn() -> c_int,
    is_send_pending: unsafe extern "C" fn() -> bool,
}

unsafe extern "C" {
    /// Where this process's messages go. Not in pgrx's bindings.
    #[link_name = "PqCommMethods"]
    static COMM_METHODS: *const CommMethods;
}

/// The client's socket; none in parallel and background workers.
pub(super) fn socket() -> Option<RawFd> {
    // SAFETY: MyProcPort is NULL or points to a live Port, whose first member is the socket in every supported version (bindgen sees it as opaque in some).
    unsafe {
        if pg_sys::MyProcPort.is_null() || pg_sys::whereToSendOutput != pg_sys::CommandDest::DestRemote {
            return None;
        }
        Some(pg_sys::MyProcPort.cast::<c_int>().read()).filter(|fd| *fd >= 0)
    }
}

/// Sends what is ready for the client, as far as its socket takes it now: a client that does not read is not waited for, so that a cancel is still heard. True
/// when something is left.
///
/// What a broken connection means Postgres decides at its next look at the interrupts.
pub(super) fn send_ready() -> Result<bool, Failure> {
    if socket().is_none() {
        return Ok(false);
    }
    // SAFETY: set before any client is served; plain functions of the backend, on its main thread. The first only compares two integers.
    let pending = || unsafe { ((*COMM_METHODS).is_send_pending)() };
    if !pending() {
        return Ok(false);
    }
    // SAFETY: as above. In its non-blocking mode it looks at no interrupt and reports a lost client to the log; the guard is for an ERROR of that report.
    let sent = catch_unwind(AssertUnwindSafe(|| unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| ((*COMM_METHODS).flush_if_writable)());
    }));
    match sent {
        Ok(()) => Ok(pending()),
        Err(payload) => Err(payload
            .downcast::<CaughtError>()
            .map_or_else(|_| SqlError::new(State::Internal, "pg_llm: internal error: rows could not be sent").into(), Failure::Postgres)),
    }
}
