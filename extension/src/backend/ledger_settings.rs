//! Settings of the ledger.
//!
//! What is recorded is the administrator's, `SUSET`: a role that could turn it off would leave no trace of what it spends. `SUSET` and not `SIGHUP`, so that it can
//! differ by database and role. How much memory waits for the writers is the server's, and fixed when it starts.

use std::sync::OnceLock;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

static AUDIT_ENABLED: GucSetting<bool> = GucSetting::<bool>::new(true);
static AUDIT_SAMPLE_RATE: GucSetting<f64> = GucSetting::<f64>::new(1.0);
static TRACE_ENABLED: GucSetting<bool> = GucSetting::<bool>::new(false);
static REDACT_SENSITIVE: GucSetting<bool> = GucSetting::<bool>::new(true);
static LEDGER_QUEUE_MB: GucSetting<i32> = GucSetting::<i32>::new(4);
static LEDGER_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(90 * 24 * 60);
static TRACE_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(7 * 24 * 60);

pub(super) fn define() {
    GucRegistry::define_bool_guc(
        c"pg_llm.audit_enabled",
        c"Whether requests of providers are written into the ledger.",
        c"Affects all calls: off, they leave no row, and no cost. Ignored where pg_llm is not in shared_preload_libraries: there no ledger is kept. Default: on.",
        &AUDIT_ENABLED,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_float_guc(
        c"pg_llm.audit_sample_rate",
        c"The part of the calls that is written into the ledger.",
        c"Decided for each call as a whole. Below 1, sums over the ledger are too low by that. Default: 1, all.",
        &AUDIT_SAMPLE_RATE,
        0.0,
        1.0,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"pg_llm.trace_enabled",
        c"Whether the ledger keeps prompts and answers.",
        c"Affects calls that are written into the ledger. Who called sees them with pg_llm_get_trace(), and superusers in their table. Default: off.",
        &TRACE_ENABLED,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"pg_llm.redact_sensitive",
        c"Whether prompts and answers are kept without what looks like a secret.",
        c"Affects what pg_llm.trace_enabled keeps, and nothing that is sent: keys, tokens, e-mail addresses, and numbers as those of cards, accounts and telephones are \
          replaced by patterns. Default: on.",
        &REDACT_SENSITIVE,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pg_llm.ledger_queue_mb",
        c"Shared memory for entries of the ledger that are not written yet.",
        c"Takes effect when the server starts. An entry takes about 1 kB. Where there is no room, a call waits up to 100 ms for some, and its entry is dropped then, which pg_llm_ledger_state() counts. Default: \
          4 MB.",
        &LEDGER_QUEUE_MB,
        1,
        1024,
        GucContext::Sighup,
        GucFlags::UNIT_MB,
    );
    let define = |name, short, long, setting| {
        GucRegistry::define_int_guc(name, short, long, setting, 0, i32::MAX, GucContext::Suset, GucFlags::UNIT_MIN);
    };
    define(
        c"pg_llm.ledger_retention",
        c"How long rows of the ledger are kept.",
        c"Older ones are deleted by the database's writer, some at a time, while there are calls. Set it in the configuration file or for a database. 0: for ever. Default: 90 \
          days.",
        &LEDGER_RETENTION,
    );
    define(
        c"pg_llm.trace_retention",
        c"How long prompts and answers are kept.",
        c"As pg_llm.ledger_retention. Default: 7 days.",
        &TRACE_RETENTION,
    );
}

/// `pg_llm.audit_enabled`.
pub(super) fn audit_enabled() -> bool {
    AUDIT_ENABLED.get()
}

/// `pg_llm.audit_sample_rate`.
pub(super) fn audit_sample_rate() -> f64 {
    AUDIT_SAMPLE_RATE.get()
}

/// `pg_llm.trace_enabled`.
pub(super) fn trace_enabled() -> bool {
    TRACE_ENABLED.get()
}

/// `pg_llm.redact_sensitive`.
pub(super) fn redact_sensitive() -> bool {
    REDACT_SENSITIVE.get()
}

/// `pg_llm.ledger_queue_mb`, in bytes, as it was when the server started.
pub(super) fn queue_bytes() -> usize {
    // Asked for in the postmaster first, whose children inherit it.
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| usize::try_from(LEDGER_QUEUE_MB.get()).unwrap_or(1) << 20)
}

/// `pg_llm.ledger_retention`, in minutes; 0: for ever.
pub(crate) fn ledger_retention() -> i64 {
    i64::from(LEDGER_RETENTION.get())
}

/// `pg_llm.trace_retention`, likewise.
pub(crate) fn trace_retention() -> i64 {
    i64::from(TRACE_RETENTION.get())
}
