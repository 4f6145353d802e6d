//! Settings of questions in words.

use std::ffi::CString;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

use super::{milliseconds, text, unsigned};
use crate::backend::generated_query::Bounds;

static TEXT2SQL_ALLOWED_FUNCTIONS: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static TEXT2SQL_MAX_COST: GucSetting<f64> = GucSetting::<f64>::new(10_000_000.0);
static TEXT2SQL_MAX_ROWS: GucSetting<i32> = GucSetting::<i32>::new(1000);
static TEXT2SQL_MAX_BYTES: GucSetting<i32> = GucSetting::<i32>::new(4 << 20);
static TEXT2SQL_TIMEOUT_MS: GucSetting<i32> = GucSetting::<i32>::new(30_000);
static TEXT2SQL_REMEMBERED_REQUESTS: GucSetting<i32> = GucSetting::<i32>::new(1000);
static TEXT2SQL_EMBEDDING_MODEL: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));

/// What a query that a model wrote may cost and call. Who runs it may bound it further by options; lifting the bounds is the administrator's.
pub(super) fn define() {
    GucRegistry::define_string_guc(
        c"pg_llm.text2sql_allowed_functions",
        c"Functions that generated queries may call though they are VOLATILE or SECURITY DEFINER.",
        c"Entries schema.function, separated by commas, without quotes. What such a function calls itself is checked as ever, nothing can be written, and \
          functions that reach files, other servers or sessions stay refused. Default: empty.",
        &TEXT2SQL_ALLOWED_FUNCTIONS,
        GucContext::Suset,
        GucFlags::NOT_WHILE_SEC_REST,
    );
    GucRegistry::define_float_guc(
        c"pg_llm.text2sql_max_cost",
        c"Estimated cost above which a generated query is not run.",
        c"In the planner's units. The option max_cost goes below it. Default: 10 million; 0: no bound.",
        &TEXT2SQL_MAX_COST,
        0.0,
        f64::MAX,
        GucContext::Suset,
        GucFlags::NOT_WHILE_SEC_REST,
    );
    let define = |name, short, long, setting, unit| {
        GucRegistry::define_int_guc(name, short, long, setting, 1, i32::MAX, GucContext::Suset, unit | GucFlags::NOT_WHILE_SEC_REST);
    };
    define(
        c"pg_llm.text2sql_max_rows",
        c"Rows of a generated query that are given back.",
        c"The option max_rows goes below it. The result says whether there were more. Default: 1000.",
        &TEXT2SQL_MAX_ROWS,
        GucFlags::default(),
    );
    define(
        c"pg_llm.text2sql_max_bytes",
        c"Size of the rows of a generated query that are given back.",
        c"Of their values as JSON. The result says whether there were more. Default: 4 MB.",
        &TEXT2SQL_MAX_BYTES,
        GucFlags::UNIT_BYTE,
    );
    define(
        c"pg_llm.text2sql_timeout_ms",
        c"Time that a generated query may run.",
        c"Beside statement_timeout, and without the model's time. The option sql_timeout_ms goes below it. Default: 30 s.",
        &TEXT2SQL_TIMEOUT_MS,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"pg_llm.text2sql_remembered_requests",
        c"Answered questions that are kept of each role.",
        c"With their queries and without rows, so that pg_llm_record_feedback() can make examples of them. Default: 1000; 0: none is kept.",
        &TEXT2SQL_REMEMBERED_REQUESTS,
        0,
        1_000_000,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"pg_llm.text2sql_embedding_model",
        c"Model whose embeddings help to choose the tables that a question is about.",
        c"Where a schema is too large to be told as a whole. The caller needs the right to use it. Default: empty, none.",
        &TEXT2SQL_EMBEDDING_MODEL,
        GucContext::Userset,
        GucFlags::default(),
    );
}

/// `pg_llm.text2sql_allowed_functions`.
pub(crate) fn text2sql_allowed_functions() -> Vec<String> {
    let listed = text(&TEXT2SQL_ALLOWED_FUNCTIONS).unwrap_or_default();
    listed.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// What a generated query may cost.
pub(crate) fn text2sql_bounds() -> Bounds {
    Bounds {
        time: milliseconds(&TEXT2SQL_TIMEOUT_MS),
        rows: unsigned(&TEXT2SQL_MAX_ROWS),
        bytes: unsigned(&TEXT2SQL_MAX_BYTES),
        cost: TEXT2SQL_MAX_COST.get(),
    }
}

/// `pg_llm.text2sql_remembered_requests`.
pub(crate) fn text2sql_remembered_requests() -> i64 {
    i64::from(TEXT2SQL_REMEMBERED_REQUESTS.get())
}

/// `pg_llm.text2sql_embedding_model`.
pub(crate) fn text2sql_embedding_model() -> Option<String> {
    text(&TEXT2SQL_EMBEDDING_MODEL)
}
