//! Embeddings of what is said of tables (`_pg_llm_catalog.schema_vectors`).
//!
//! A vector is found by the fingerprint of the text that it was made of. So a changed comment or column is a text without a vector yet, and a role finds vectors only of
//! texts that it has.

use std::collections::HashMap;

use pg_llm_sandbox::{hex, sha256};
use pgrx::pg_sys::{BYTEAOID, TEXTOID};

use super::query::{Param, Statement};
use crate::backend::errors::SqlError;
use crate::backend::transaction::{self, Isolation};

/// They are made anew after some time: endpoints change models behind a name.
static FIND: Statement = Statement::new(
    "SELECT w.digest, v.vector FROM pg_catalog.unnest(pg_catalog.string_to_array($2, ' ')) AS w (digest) \
       JOIN _pg_llm_catalog.schema_vectors v ON v.model OPERATOR(pg_catalog.=) $1 AND v.digest OPERATOR(pg_catalog.=) pg_catalog.decode(w.digest, 'hex') \
      WHERE v.created_at OPERATOR(pg_catalog.>) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) '30 days'::pg_catalog.interval)",
    &[TEXTOID, TEXTOID],
);
static KEEP: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.schema_vectors (model, digest, vector, created_at) VALUES ($1, $2, $3, pg_catalog.clock_timestamp())",
    &[TEXTOID, BYTEAOID, BYTEAOID],
);
static FORGET: Statement = Statement::new(
    "DELETE FROM _pg_llm_catalog.schema_vectors WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY( \
        SELECT v.ctid FROM _pg_llm_catalog.schema_vectors v \
         WHERE v.created_at OPERATOR(pg_catalog.<) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) '30 days'::pg_catalog.interval) LIMIT 10000 FOR UPDATE SKIP LOCKED))",
    &[],
);

/// The vectors that there are of these texts, in bytes, by the text's place.
pub(crate) fn find(model: &str, texts: &[String]) -> Result<HashMap<usize, Vec<u8>>, SqlError> {
    // Unlogged tables have nothing on a standby.
    if transaction::in_recovery() || texts.is_empty() {
        return Ok(HashMap::new());
    }
    let digests: Vec<String> = texts.iter().map(|text| hex(&sha256(text.as_bytes()))).collect();
    let mut found: HashMap<String, Vec<u8>> = HashMap::new();
    for row in FIND.read(&[Param::Text(model), Param::Text(&digests.join(" "))])? {
        if let Some(vector) = row.bytes(1) {
            found.insert(row.required_text(0)?, vector);
        }
    }
    Ok(digests.iter().enumerate().filter_map(|(at, digest)| Some((at, found.get(digest)?.clone()))).collect())
}

/// Whether vectors can be kept.
pub(crate) fn can_keep() -> bool {
    transaction::may_write()
}

/// Keeps the vectors of some texts.
pub(crate) fn keep(model: &str, vectors: &[(&str, Vec<u8>)]) -> Result<(), SqlError> {
    for (text, vector) in vectors {
        KEEP.write(&[Param::Text(model), Param::Bytes(&sha256(text.as_bytes())), Param::Bytes(vector)])?;
    }
    if !vectors.is_empty() && transaction::isolation() == Isolation::ReadCommitted {
        FORGET.write(&[])?;
    }
    Ok(())
}
