//! File descriptors that are not Postgres's own, told to it.
//!
//! Postgres keeps files open up to a limit of its own, close to the process's. It leaves room for what it is told of, so that calls in flight find sockets.

use pgrx::pg_sys;

use super::errors::{SqlError, State};

/// So many descriptors are left to us until this is dropped.
#[derive(Debug)]
pub(crate) struct Descriptors(usize);

impl Descriptors {
    /// Makes room for `count` descriptors.
    ///
    /// # Errors
    /// 53000 when Postgres, which gives away a third of its own, has no more.
    pub(crate) fn reserve(count: usize) -> Result<Self, SqlError> {
        let mut reserved = Self(0);
        for _ in 0..count {
            // SAFETY: on the main thread; it closes files that Postgres can open again, and says false instead of raising.
            if !unsafe { pg_sys::AcquireExternalFD() } {
                return Err(SqlError::new(
                    State::NoResources,
                    format!("pg_llm: this server has no room for {count} calls at the same time in one backend"),
                )
                .hint("Lower max_concurrency, or raise max_files_per_process and the server's limit of open files."));
            }
            reserved.0 += 1;
        }
        Ok(reserved)
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        for _ in 0..self.0 {
            // SAFETY: one for each that was acquired; it only counts.
            unsafe { pg_sys::ReleaseExternalFD() }
        }
    }
}
