//! Threads on which calls run beside each other.
//!
//! Whoever makes calls at the same time has a pool of its own, so that no call waits for another one's thread. The threads come from rayon, with every
//! signal blocked that Postgres handles. A small pool is kept for the next statement; threads of a large one end with it.

use std::sync::{Mutex, PoisonError};

use pg_llm_sandbox::STACK_HEADROOM_BYTES;
use pg_llm_sandbox::threads::spawn_quiet;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Most calls that one statement can have in flight.
pub const MOST_THREADS: usize = 256;

/// A pool of more threads is not kept: a server has many backends, and each would keep its own.
const MOST_KEPT: usize = 16;

/// Guest code, what the host does below it, and what is done with the answer.
const STACK: usize = STACK_HEADROOM_BYTES + (1 << 20);

static KEPT: Mutex<Option<ThreadPool>> = Mutex::new(None);

/// A pool of at least `threads` threads, 1 to [`MOST_THREADS`], that nobody else uses.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn take(threads: usize) -> Result<ThreadPool, String> {
    let threads = threads.clamp(1, MOST_THREADS);
    let kept = kept().take().filter(|pool| pool.current_num_threads() >= threads);
    match kept {
        Some(pool) => Ok(pool),
        None => ThreadPoolBuilder::new()
            .num_threads(threads)
            .spawn_handler(|thread| {
                spawn_quiet("pg_llm call", STACK, || thread.run())?;
                Ok(())
            })
            // A call that panics is its own failure; without a handler it would be the process's.
            .panic_handler(drop)
            .build()
            .map_err(|e| e.to_string()),
    }
}

/// Takes a pool back whose threads are idle.
pub(crate) fn give_back(pool: ThreadPool) {
    let mut kept = kept();
    if pool.current_num_threads() <= MOST_KEPT && kept.as_ref().is_none_or(|k| k.current_num_threads() < pool.current_num_threads()) {
        *kept = Some(pool);
    }
}

fn kept() -> std::sync::MutexGuard<'static, Option<ThreadPool>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}
