//! Settings of reports.

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

static REPORT_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(90 * 24 * 60 * 60);

pub(super) fn define() {
    GucRegistry::define_int_guc(
        c"pg_llm.report_retention",
        c"How long reports are kept.",
        c"Reports of all roles of the database that are older are deleted when the next one is made. 0: for ever. Default: 90 days.",
        &REPORT_RETENTION,
        0,
        i32::MAX,
        // It decides what becomes of everybody's.
        GucContext::Suset,
        GucFlags::UNIT_S,
    );
}

/// `pg_llm.report_retention`, in seconds.
pub(crate) fn report_retention_s() -> i64 {
    i64::from(REPORT_RETENTION.get())
}
