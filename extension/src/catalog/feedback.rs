//! Ratings of answers.

use pgrx::pg_sys::{INT8OID, OIDOID, Oid, TEXTOID};
use serde_json::Value;

use super::query::{Param, Statement};
use crate::backend::errors::{SqlError, State};

// Of the call itself the request that was answered, else the last one.
static OF_CALL: Statement = Statement::new(
    "SELECT l.instance_name, l.model_name FROM _pg_llm_catalog.ledger l \
      WHERE l.request_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid AND l.role OPERATOR(pg_catalog.=) $2 \
        AND l.role_name OPERATOR(pg_catalog.=) pg_catalog.pg_get_userbyid($2)::pg_catalog.text \
      ORDER BY l.outcome OPERATOR(pg_catalog.=) ANY ('{ok,cached}'::pg_catalog.text[]) DESC, l.began_at DESC LIMIT 1",
    &[TEXTOID, OIDOID],
);
// Of a call that has only parts: the models that these asked, where that is one.
static OF_PARTS: Statement = Statement::new(
    "SELECT CASE WHEN pg_catalog.min(l.instance_name) OPERATOR(pg_catalog.=) pg_catalog.max(l.instance_name) THEN pg_catalog.min(l.instance_name) END, \
            CASE WHEN pg_catalog.min(l.model_name) OPERATOR(pg_catalog.=) pg_catalog.max(l.model_name) THEN pg_catalog.min(l.model_name) END \
       FROM _pg_llm_catalog.ledger l \
      WHERE l.parent_request_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid AND l.role OPERATOR(pg_catalog.=) $2 \
        AND l.role_name OPERATOR(pg_catalog.=) pg_catalog.pg_get_userbyid($2)::pg_catalog.text \
     HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0",
    &[TEXTOID, OIDOID],
);
static RECORD: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.feedback (request_id, role, rating, feedback, metadata, instance_name, model_name) \
     VALUES ($1::pg_catalog.uuid, $2::pg_catalog.regrole, $3::pg_catalog.int4, $4, $5::pg_catalog.jsonb, $6, $7) \
     ON CONFLICT (request_id, role) DO UPDATE \
        SET rating = EXCLUDED.rating, feedback = EXCLUDED.feedback, metadata = EXCLUDED.metadata, at = EXCLUDED.at \
     RETURNING id",
    &[TEXTOID, OIDOID, INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID],
);

/// Who answered a call.
pub(crate) struct Answerer {
    instance: Option<String>,
    model: Option<String>,
}

/// Who answered this call of `role`; none where its ledger has no such call. What was written since the transaction began counts.
pub(crate) fn answerer(request_id: &str, role: Oid) -> Result<Option<Answerer>, SqlError> {
    let parameters = [Param::Text(request_id), Param::Role(role)];
    let mut rows = OF_CALL.read_latest(&parameters)?;
    if rows.is_empty() {
        rows = OF_PARTS.read_latest(&parameters)?;
    }
    rows.first().map(|row| Ok(Answerer { instance: row.text(0)?, model: row.text(1)? })).transpose()
}

/// A rating.
pub(crate) struct Rating<'r> {
    /// 1 to 5.
    pub(crate) stars: i32,
    pub(crate) words: Option<&'r str>,
    /// An object.
    pub(crate) metadata: &'r Value,
}

/// Records it, in place of a former one of the same role, and gives back its id.
pub(crate) fn record(request_id: &str, role: Oid, answerer: &Answerer, rating: &Rating<'_>) -> Result<i64, SqlError> {
    fn text(text: Option<&str>) -> Param<'_> {
        text.map_or(Param::Null, Param::Text)
    }
    let metadata = rating.metadata.to_string();
    let rows = RECORD.write(&[
        Param::Text(request_id),
        Param::Role(role),
        Param::Long(rating.stars.into()),
        text(rating.words),
        Param::Text(&metadata),
        text(answerer.instance.as_deref()),
        text(answerer.model.as_deref()),
    ])?;
    rows.first()
        .and_then(|row| row.long(0))
        .ok_or_else(|| SqlError::new(State::Internal, "pg_llm: internal error: a rating without its id"))
}
