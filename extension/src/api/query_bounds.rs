//! The caller's own bounds of a query, below the settings; and the query as it ran.

use pg_llm_gateway::QueryBounds;
use serde_json::{Value, json};

use crate::backend::errors::{Failure, SqlError, State};
use crate::backend::generated_query::{self, Answer, Bounds, QueryError, Wanted};
use crate::backend::gucs;

pub(super) fn below_settings(own: &QueryBounds) -> Bounds {
    let most = gucs::text2sql_bounds();
    Bounds {
        time: own.sql_timeout.map_or(most.time, |time| time.min(most.time)),
        rows: own.max_rows.map_or(most.rows, |rows| rows.min(most.rows)),
        bytes: most.bytes,
        cost: match own.max_cost {
            Some(cost) if most.cost > 0.0 => cost.min(most.cost),
            Some(cost) => cost,
            None => most.cost,
        },
    }
}

/// Runs the caller's own query. Its errors are the caller's.
pub(super) fn run(sql: &str, bounds: Bounds, wanted: Wanted) -> Result<Answer, Failure> {
    if sql.contains('\0') {
        return Err(SqlError::new(State::InvalidArgument, "pg_llm: the query has a NUL character").into());
    }
    generated_query::run(sql, bounds, wanted)?.map_err(|error| error.cause)
}

/// `execution` of a result.
pub(super) fn execution(answer: &Answer, dry_run: bool) -> Value {
    let Answer { columns, rows, truncated, plan, took, .. } = answer;
    json!({
        "success": true,
        "dry_run": dry_run,
        "columns": columns.iter().map(|column| &column.name).collect::<Vec<_>>(),
        "column_types": columns.iter().map(|column| &column.type_name).collect::<Vec<_>>(),
        "rows": answer.objects(),
        "row_count": rows.len(),
        "truncated": truncated,
        "explain": plan,
        "execution_ms": (!dry_run).then(|| (took.as_secs_f64() * 1e6).round() / 1e3),
        "error": null,
    })
}

pub(super) fn error_json(error: &QueryError) -> Value {
    let QueryError { sqlstate, message, detail, hint, position, .. } = error;
    json!({ "sqlstate": sqlstate, "message": message, "detail": detail, "hint": hint, "position": position })
}
