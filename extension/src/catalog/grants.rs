//! Who may use a model.

use pgrx::pg_sys::{OIDOID, Oid, TEXTOID};

use super::query::{Param, Statement};
use crate::backend::errors::SqlError;

static OWNER: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.grants (instance_name, role, is_owner) VALUES ($1, $2::pg_catalog.regrole, true)",
    &[TEXTOID, OIDOID],
);
static GRANT: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.grants (instance_name, role) VALUES ($1, $2::pg_catalog.regrole) ON CONFLICT (instance_name, role) DO NOTHING RETURNING true",
    &[TEXTOID, OIDOID],
);
static REVOKE: Statement = Statement::new(
    "DELETE FROM _pg_llm_catalog.grants WHERE instance_name OPERATOR(pg_catalog.=) $1 AND role::pg_catalog.oid OPERATOR(pg_catalog.=) $2 AND NOT is_owner RETURNING true",
    &[TEXTOID, OIDOID],
);

/// Makes `role` the owner of a new model.
pub(crate) fn set_owner(instance: &str, role: Oid) -> Result<(), SqlError> {
    OWNER.write(&[Param::Text(instance), Param::Role(role)]).map(|_| ())
}

/// Lets `role` use a model. False when it could already.
pub(crate) fn grant(instance: &str, role: Oid) -> Result<bool, SqlError> {
    Ok(!GRANT.write(&[Param::Text(instance), Param::Role(role)])?.is_empty())
}

/// Takes a grant back; ownership is none. False when there was none.
pub(crate) fn revoke(instance: &str, role: Oid) -> Result<bool, SqlError> {
    Ok(!REVOKE.write(&[Param::Text(instance), Param::Role(role)])?.is_empty())
}
