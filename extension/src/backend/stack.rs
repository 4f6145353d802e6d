//! Room on the native stack.
//!
//! Running out of stack inside a guest or below it kills the process, and with it the server. So a call begins only where enough is left, and Rust code below
//! Postgres, which may already be deep in a recursive function, looks before it enters wasm.

use std::mem::MaybeUninit;
use std::sync::OnceLock;

use pg_llm_sandbox::STACK_HEADROOM_BYTES;
use pgrx::pg_sys;

use super::errors::{SqlError, State};

/// Fails when a guest could exhaust the main thread's stack.
pub(crate) fn check_room() -> Result<(), SqlError> {
    // SAFETY: on the main thread; raises Postgres's own ERROR, as a panic.
    unsafe { pg_sys::check_stack_depth() };
    let here = 0_u8;
    let left = lowest_address().map_or(usize::MAX, |lowest| (&raw const here as usize).saturating_sub(lowest));
    if left >= STACK_HEADROOM_BYTES {
        return Ok(());
    }
    Err(SqlError::new(State::StackDepth, "pg_llm: not enough stack is left to run a provider")
        .detail(format!("{} kB are left, {} kB are needed.", left / 1024, STACK_HEADROOM_BYTES / 1024))
        .hint("Call from less deeply nested functions, or raise the server's stack limit (ulimit -s)."))
}

/// Where the main thread's stack ends. None when the system does not say: then only Postgres's own limit holds.
fn lowest_address() -> Option<usize> {
    static LOWEST: OnceLock<Option<usize>> = OnceLock::new();
    *LOWEST.get_or_init(|| {
        let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
        let mut address = std::ptr::null_mut();
        let mut size = 0;
        // SAFETY: pthread_getattr_np initialises the attributes when it succeeds, and they are destroyed once.
        unsafe {
            if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
                return None;
            }
            let known = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut address, &raw mut size) == 0;
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
            known.then_some(address as usize)
        }
    })
}
