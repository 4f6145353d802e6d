//! Settings of jobs. All bound what a role can have the server do while it is away, and are read by the worker alone, from the server's configuration and that
//! of its database: `SUSET`, so that it can differ by database, and so that no role lifts it.

use std::time::Duration;

use pg_llm_gateway::MOST_THREADS;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

static JOB_CONCURRENCY: GucSetting<i32> = GucSetting::<i32>::new(16);
static JOB_ATTEMPTS: GucSetting<i32> = GucSetting::<i32>::new(3);
static JOB_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(7 * 24 * 60 * 60);

pub(super) fn define() {
    let define = |name, short, long, setting, min, max, unit| {
        GucRegistry::define_int_guc(name, short, long, setting, min, max, GucContext::Suset, unit);
    };
    define(
        c"pg_llm.job_concurrency",
        c"Calls of jobs that a database has in flight at the same time.",
        c"Of all jobs of all roles together. Read by the job worker, from the server's configuration or its database's: SET in a session changes nothing. \
          Models' max_concurrency and pg_llm.max_concurrency count besides. Default: 16.",
        &JOB_CONCURRENCY,
        1,
        i32::try_from(MOST_THREADS).unwrap_or(i32::MAX),
        GucFlags::default(),
    );
    define(
        c"pg_llm.job_attempts",
        c"How often the call of a job's row is begun at most.",
        c"A call that was in flight when the job worker ended may have been paid for, and is begun again unless it was begun so often; then its row fails. 1: \
          never again. Read by the job worker. Retries within a call are max_attempts. Default: 3.",
        &JOB_ATTEMPTS,
        1,
        100,
        GucFlags::default(),
    );
    define(
        c"pg_llm.job_retention",
        c"How long a job is kept after its end, with its prompts and answers.",
        c"The job worker deletes older ones, a thousand rows at a time, whenever it runs. -1: keep them. Default: 7 days.",
        &JOB_RETENTION,
        -1,
        i32::MAX,
        GucFlags::UNIT_S,
    );
}

/// `pg_llm.job_concurrency`.
pub(crate) fn job_concurrency() -> usize {
    usize::try_from(JOB_CONCURRENCY.get()).unwrap_or(1)
}

/// `pg_llm.job_attempts`.
pub(crate) fn job_attempts() -> i64 {
    i64::from(JOB_ATTEMPTS.get())
}

/// `pg_llm.job_retention`; none: for ever.
pub(crate) fn job_retention() -> Option<Duration> {
    u64::try_from(JOB_RETENTION.get()).ok().map(Duration::from_secs)
}
