//! The tables of the ledger.

use pgrx::pg_sys::{BOOLOID, BYTEAOID, INT8OID, OIDOID, Oid, TEXTOID};

use super::query::{Param, Row, Statement};
use crate::backend::errors::SqlError;
use crate::backend::privileges;

/// Entries, an array of objects as [`pg_llm_gateway::ledger::Entry::write_json`] makes them, with `role` and `sqlstate`.
static INSERT: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.ledger \
         (request_id, attempt, final, began_at, operation, via, role, role_name, instance_name, provider, module_digest, model_name, session_id, job_id, \
          parent_request_id, input_tokens, output_tokens, cached_input_tokens, cache_write_tokens, reasoning_tokens, cost, currency, queue_us, filter_us, guest_us, \
          connect_us, first_byte_us, total_us, outcome, error_kind, sqlstate, http_status, finish_reason, confidence, filters, streamed, fallback_from) \
     SELECT e.request_id, e.attempt, e.final, pg_catalog.to_timestamp(e.began_us::pg_catalog.float8 OPERATOR(pg_catalog./) 1000000::pg_catalog.float8), \
            e.operation, e.via, e.role, pg_catalog.pg_get_userbyid(e.role), e.instance_name, e.provider, pg_catalog.decode(e.module_digest, 'hex'), e.model_name, \
            e.session_id, e.job_id, e.parent_request_id, e.input_tokens, e.output_tokens, e.cached_input_tokens, e.cache_write_tokens, e.reasoning_tokens, \
            e.cost_nano OPERATOR(pg_catalog./) 1000000000::pg_catalog.numeric, e.currency, e.queue_us, e.filter_us, e.guest_us, e.connect_us, e.first_byte_us, \
            e.total_us, e.outcome, e.error_kind, e.sqlstate, e.http_status, e.finish_reason, e.confidence, e.filters, e.streamed, e.fallback_from \
       FROM pg_catalog.json_to_recordset($1::pg_catalog.json) AS e( \
            request_id pg_catalog.uuid, attempt pg_catalog.int4, final pg_catalog.bool, began_us pg_catalog.int8, operation pg_catalog.text, via pg_catalog.text, \
            role pg_catalog.oid, instance_name pg_catalog.text, provider pg_catalog.text, module_digest pg_catalog.text, model_name pg_catalog.text, \
            session_id pg_catalog.text, job_id pg_catalog.uuid, parent_request_id pg_catalog.uuid, input_tokens pg_catalog.int8, output_tokens pg_catalog.int8, \
            cached_input_tokens pg_catalog.int8, cache_write_tokens pg_catalog.int8, reasoning_tokens pg_catalog.int8, cost_nano pg_catalog.numeric, \
            currency pg_catalog.text, queue_us pg_catalog.int8, filter_us pg_catalog.int8, guest_us pg_catalog.int8, connect_us pg_catalog.int8, \
            first_byte_us pg_catalog.int8, total_us pg_catalog.int8, outcome pg_catalog.text, error_kind pg_catalog.text, sqlstate pg_catalog.text, \
            http_status pg_catalog.int4, finish_reason pg_catalog.text, confidence pg_catalog.float8, filters pg_catalog.jsonb, streamed pg_catalog.bool, \
            fallback_from pg_catalog.text)",
    &[TEXTOID],
);

static INSERT_TRACES: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.traces (request_id, attempt, instance_name, at, prompt, answer) \
     SELECT e.request_id, e.attempt, e.instance_name, \
            pg_catalog.to_timestamp(e.began_us::pg_catalog.float8 OPERATOR(pg_catalog./) 1000000::pg_catalog.float8), e.prompt, e.answer \
       FROM pg_catalog.json_to_recordset($1::pg_catalog.json) AS e( \
            request_id pg_catalog.uuid, attempt pg_catalog.int4, instance_name pg_catalog.text, began_us pg_catalog.int8, traced pg_catalog.bool, \
            prompt pg_catalog.text, answer pg_catalog.text) \
      WHERE e.traced",
    &[TEXTOID],
);

static DELETE_OLD: Statement = Statement::new(
    "WITH gone AS (DELETE FROM _pg_llm_catalog.ledger WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY( \
             SELECT l.ctid FROM _pg_llm_catalog.ledger l \
              WHERE l.began_at OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) pg_catalog.make_interval(mins => $1::pg_catalog.int4)) \
              ORDER BY l.began_at LIMIT $2)) RETURNING 1) \
     SELECT pg_catalog.count(*) FROM gone",
    &[INT8OID, INT8OID],
);

static DELETE_OLD_TRACES: Statement = Statement::new(
    "WITH gone AS (DELETE FROM _pg_llm_catalog.traces WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY( \
             SELECT t.ctid FROM _pg_llm_catalog.traces t \
              WHERE t.at OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) pg_catalog.make_interval(mins => $1::pg_catalog.int4)) \
              ORDER BY t.at LIMIT $2)) RETURNING 1) \
     SELECT pg_catalog.count(*) FROM gone",
    &[INT8OID, INT8OID],
);

/// Rows of a role: its number and its name are both what they were.
/// Parameters: who asks, whether that is enough to see all, and filters that are NULL where there is none.
static AUDIT_LOG: Statement = Statement::new(
    "SELECT pg_catalog.uuid_send(l.request_id), l.via, l.instance_name, l.session_id, l.outcome OPERATOR(pg_catalog.=) ANY ('{ok,cached}'::pg_catalog.text[]), \
            l.confidence::pg_catalog.text, \
            (pg_catalog.to_jsonb(l.*) OPERATOR(pg_catalog.-) '{request_id,via,instance_name,session_id,confidence,role}'::pg_catalog.text[])::pg_catalog.text \
       FROM _pg_llm_catalog.ledger l \
      WHERE ($2 OR (l.role OPERATOR(pg_catalog.=) $1 AND l.role_name OPERATOR(pg_catalog.=) pg_catalog.pg_get_userbyid($1)::pg_catalog.text)) \
        AND ($3 IS NULL OR l.instance_name OPERATOR(pg_catalog.=) $3) \
        AND ($4 IS NULL OR l.session_id OPERATOR(pg_catalog.=) $4) \
        AND ($5 IS NULL OR l.via OPERATOR(pg_catalog.=) $5) \
        AND ($6 IS NULL OR l.outcome OPERATOR(pg_catalog.=) $6) \
        AND ($7 IS NULL OR l.request_id OPERATOR(pg_catalog.=) $7::pg_catalog.uuid OR l.parent_request_id OPERATOR(pg_catalog.=) $7::pg_catalog.uuid) \
        AND ($8 IS NULL OR l.began_at OPERATOR(pg_catalog.>=) $8::pg_catalog.timestamptz) \
        AND ($9 IS NULL OR l.began_at OPERATOR(pg_catalog.<) $9::pg_catalog.timestamptz) \
      ORDER BY l.began_at DESC, l.request_id DESC, l.attempt DESC LIMIT $10",
    &[OIDOID, BOOLOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID],
);

/// Requests of a call and of its parts; what was said is for who said it.
static TRACE: Statement = Statement::new(
    "SELECT (pg_catalog.to_jsonb(l.*) OPERATOR(pg_catalog.-) '{role}'::pg_catalog.text[] OPERATOR(pg_catalog.||) COALESCE( \
              (SELECT pg_catalog.jsonb_build_object('prompt', t.prompt, 'answer', t.answer) FROM _pg_llm_catalog.traces t \
                WHERE t.request_id OPERATOR(pg_catalog.=) l.request_id AND t.attempt OPERATOR(pg_catalog.=) l.attempt \
                  AND t.instance_name OPERATOR(pg_catalog.=) l.instance_name AND l.role OPERATOR(pg_catalog.=) $2 \
                  AND l.role_name OPERATOR(pg_catalog.=) pg_catalog.pg_get_userbyid($2)::pg_catalog.text LIMIT 1), '{}'))::pg_catalog.text \
       FROM _pg_llm_catalog.ledger l, pg_catalog.encode($1, 'hex') AS hex \
      WHERE (l.request_id OPERATOR(pg_catalog.=) hex::pg_catalog.uuid OR l.parent_request_id OPERATOR(pg_catalog.=) hex::pg_catalog.uuid) \
        AND ($3 OR (l.role OPERATOR(pg_catalog.=) $2 AND l.role_name OPERATOR(pg_catalog.=) pg_catalog.pg_get_userbyid($2)::pg_catalog.text)) \
      ORDER BY l.began_at, l.request_id, l.attempt",
    &[BYTEAOID, OIDOID, BOOLOID],
);

/// Writes these. Only where nobody else's transaction is.
pub(crate) fn insert(entries: &str) -> Result<(), SqlError> {
    INSERT.write(&[Param::Text(entries)])?;
    if entries.contains("\"traced\":true") {
        INSERT_TRACES.write(&[Param::Text(entries)])?;
    }
    Ok(())
}

fn number(rows: &[Row]) -> i64 {
    rows.first().and_then(|row| row.long(0)).unwrap_or(0)
}

/// Deletes at most so many rows that are older than so many minutes, 0: none. Says how many those were.
pub(crate) fn delete_old(minutes: i64, most: i64) -> Result<i64, SqlError> {
    if minutes == 0 { Ok(0) } else { Ok(number(&DELETE_OLD.write(&[Param::Long(minutes), Param::Long(most)])?)) }
}

/// The same for what was said.
pub(crate) fn delete_old_traces(minutes: i64, most: i64) -> Result<i64, SqlError> {
    if minutes == 0 { Ok(0) } else { Ok(number(&DELETE_OLD_TRACES.write(&[Param::Long(minutes), Param::Long(most)])?)) }
}

/// Which rows are wanted; what is absent is all.
#[derive(Default)]
pub(crate) struct Wanted {
    pub(crate) instance: Option<String>,
    pub(crate) session: Option<String>,
    pub(crate) event_type: Option<String>,
    pub(crate) outcome: Option<String>,
    pub(crate) request: Option<String>,
    pub(crate) since: Option<String>,
    pub(crate) until: Option<String>,
    pub(crate) most: i64,
}

/// Rows that `role` may see, the latest first: `request_id` as bytes, `via`, `instance_name`, `session_id`, success, confidence as text, all else as JSON.
pub(crate) fn audit_log(role: Oid, wanted: &Wanted) -> Result<Vec<Row>, SqlError> {
    fn text(text: Option<&String>) -> Param<'_> {
        text.map_or(Param::Null, |text| Param::Text(text))
    }
    AUDIT_LOG.read(&[
        Param::Role(role),
        Param::Bool(privileges::sees_all_statistics(role)),
        text(wanted.instance.as_ref()),
        text(wanted.session.as_ref()),
        text(wanted.event_type.as_ref()),
        text(wanted.outcome.as_ref()),
        text(wanted.request.as_ref()),
        text(wanted.since.as_ref()),
        text(wanted.until.as_ref()),
        Param::Long(wanted.most),
    ])
}

/// The requests of a call and of its parts that `role` may see, in their order: each as JSON, with what was said where that is its own.
pub(crate) fn trace(request: &[u8], role: Oid) -> Result<Vec<Row>, SqlError> {
    TRACE.read(&[Param::Bytes(request), Param::Role(role), Param::Bool(privileges::sees_all_statistics(role))])
}
