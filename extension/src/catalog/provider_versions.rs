//! The components that a provider has stood for.

use pg_llm_sandbox::Digest;
use pgrx::pg_sys::{BYTEAOID, Oid, TEXTOID};

use super::modules::digest_at;
use super::query::{Param, Statement};
use crate::backend::errors::SqlError;
use crate::backend::privileges;

static PUT_IN_FORCE: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.provider_versions (model_type, digest, profile, uploaded_by, in_force_by) VALUES ($1, $2, $3, $4, $4) \
     ON CONFLICT (model_type, digest) DO UPDATE SET profile = EXCLUDED.profile, in_force_by = EXCLUDED.in_force_by, in_force_since = EXCLUDED.in_force_since",
    &[TEXTOID, BYTEAOID, TEXTOID, TEXTOID],
);
static PROFILE: Statement = Statement::new(
    "SELECT profile FROM _pg_llm_catalog.provider_versions WHERE model_type OPERATOR(pg_catalog.=) $1 AND digest OPERATOR(pg_catalog.=) $2",
    &[TEXTOID, BYTEAOID],
);
static DELETE_OF_PROVIDER: Statement =
    Statement::new("DELETE FROM _pg_llm_catalog.provider_versions WHERE model_type OPERATOR(pg_catalog.=) $1 RETURNING digest", &[TEXTOID]);
static DELETE_OF_MODULE: Statement =
    Statement::new("DELETE FROM _pg_llm_catalog.provider_versions WHERE digest OPERATOR(pg_catalog.=) $1", &[BYTEAOID]);

/// Remembers who put a component in force for a provider whose row is locked.
pub(super) fn put_in_force(model_type: &str, digest: &Digest, profile: &str, role: Oid) -> Result<(), SqlError> {
    let name = privileges::role_name(role);
    PUT_IN_FORCE.write(&[Param::Text(model_type), Param::Bytes(digest), Param::Text(profile), Param::Text(&name)]).map(|_| ())
}

/// Which of the component's profiles a version of a provider is; none when it is no version of it.
pub(super) fn profile(model_type: &str, digest: &Digest) -> Result<Option<String>, SqlError> {
    PROFILE.write(&[Param::Text(model_type), Param::Bytes(digest)])?.first().map_or(Ok(None), |row| row.text(0))
}

/// Forgets the versions of a provider. Gives back what they were.
pub(super) fn remove_all(model_type: &str) -> Result<Vec<Digest>, SqlError> {
    DELETE_OF_PROVIDER.write(&[Param::Text(model_type)])?.iter().map(|row| digest_at(row, 0)).collect()
}

/// Forgets that a component is a version of any provider.
pub(super) fn remove_module(digest: &Digest) -> Result<(), SqlError> {
    DELETE_OF_MODULE.write(&[Param::Bytes(digest)]).map(|_| ())
}
