//! Reports that were made, in `_pg_llm_catalog.reports`. Each belongs to its role, and nobody else reaches it.

use pgrx::pg_sys::{INT8OID, OIDOID, TEXTOID};
use serde_json::Value;

use super::query::{Param, Statement};
use crate::backend::errors::SqlError;
use crate::backend::{gucs, privileges, transaction};

static INSERT: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.reports (request_id, role, instance_name, title, sql, page, created_at) \
     VALUES ($1::pg_catalog.uuid, $2::pg_catalog.regrole, $3, $4, $5, $6::pg_catalog.jsonb, pg_catalog.clock_timestamp())",
    &[TEXTOID, OIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID],
);
static FIND: Statement = Statement::new(
    "SELECT r.title, r.sql, r.page::pg_catalog.text, r.instance_name, pg_catalog.to_char(pg_catalog.timezone('UTC', r.created_at), 'YYYY-MM-DD HH24:MI') \
       FROM _pg_llm_catalog.reports r \
      WHERE (r.request_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid) AND (r.role::pg_catalog.oid OPERATOR(pg_catalog.=) $2)",
    &[TEXTOID, OIDOID],
);
static DELETE: Statement = Statement::new(
    "WITH gone AS (DELETE FROM _pg_llm_catalog.reports r WHERE (r.request_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid) \
        AND (r.role::pg_catalog.oid OPERATOR(pg_catalog.=) $2) RETURNING 1) SELECT pg_catalog.count(*) FROM gone",
    &[TEXTOID, OIDOID],
);
// What another session is deleting is left to it.
static DELETE_OLD: Statement = Statement::new(
    "DELETE FROM _pg_llm_catalog.reports WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY( \
        SELECT r.ctid FROM _pg_llm_catalog.reports r \
         WHERE r.created_at OPERATOR(pg_catalog.<) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => $1)) \
         LIMIT 100 FOR UPDATE SKIP LOCKED))",
    &[INT8OID],
);

/// What a page is made of.
pub(crate) struct Kept {
    pub(crate) title: String,
    pub(crate) sql: String,
    /// What `api/reports.rs` put there.
    pub(crate) page: Value,
    pub(crate) instance: String,
    /// In UTC.
    pub(crate) made_at: String,
}

/// A report that is to be kept.
pub(crate) struct Made<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) instance: &'a str,
    pub(crate) title: &'a str,
    pub(crate) sql: &'a str,
    pub(crate) page: &'a Value,
}

/// Keeps a report of the current role's, if the transaction may write, and deletes some of those that are too old.
pub(crate) fn keep(made: &Made<'_>) -> Result<bool, SqlError> {
    if !transaction::may_write() {
        return Ok(false);
    }
    let seconds = gucs::report_retention_s();
    // In other isolations deleting what was deleted since is an error.
    if seconds > 0 && transaction::isolation() == transaction::Isolation::ReadCommitted {
        DELETE_OLD.write(&[Param::Long(seconds)])?;
    }
    let page = made.page.to_string();
    INSERT.write(&[
        Param::Text(made.request_id),
        Param::Role(privileges::current_role()),
        Param::Text(made.instance),
        Param::Text(made.title),
        Param::Text(made.sql),
        Param::Text(&page),
    ])?;
    Ok(true)
}

/// A report of the current role's.
pub(crate) fn find(request_id: &str) -> Result<Option<Kept>, SqlError> {
    let rows = FIND.read(&[Param::Text(request_id), Param::Role(privileges::current_role())])?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(Kept {
        title: row.required_text(0)?,
        sql: row.required_text(1)?,
        page: serde_json::from_str(&row.required_text(2)?).unwrap_or_default(),
        instance: row.required_text(3)?,
        made_at: row.required_text(4)?,
    }))
}

/// Whether there was such a report of the current role's.
pub(crate) fn delete(request_id: &str) -> Result<bool, SqlError> {
    let rows = DELETE.write(&[Param::Text(request_id), Param::Role(privileges::current_role())])?;
    Ok(rows.first().and_then(|row| row.long(0)) == Some(1))
}
