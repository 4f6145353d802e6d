//! Uploaded components, each stored once, and the providers that they are. Filters, which are uploaded too, have a file of their own.

use pg_llm_sandbox::Digest;
use pg_llm_sandbox::report::Report;
use pgrx::pg_sys::{BYTEAOID, OIDOID, Oid, TEXTOID};

use super::query::{Param, Statement};
use crate::backend::errors::{SqlError, State};
use crate::backend::privileges;

static INSERT_MODULE: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.modules (digest, wasm, report, uploaded_by) VALUES ($1, $2, $3::pg_catalog.jsonb, $4) ON CONFLICT (digest) DO NOTHING",
    &[BYTEAOID, BYTEAOID, TEXTOID, TEXTOID],
);
static REPORT: Statement =
    Statement::new("SELECT report::pg_catalog.text FROM _pg_llm_catalog.modules WHERE digest OPERATOR(pg_catalog.=) $1", &[BYTEAOID]);
static WASM: Statement = Statement::new("SELECT wasm FROM _pg_llm_catalog.modules WHERE digest OPERATOR(pg_catalog.=) $1", &[BYTEAOID]);
// Held by who is about to refer to it, and by who would remove it: one waits for the other.
static HOLD_MODULE: Statement =
    Statement::new("SELECT true FROM _pg_llm_catalog.modules WHERE digest OPERATOR(pg_catalog.=) $1 FOR KEY SHARE", &[BYTEAOID]);
static LOCK_MODULE: Statement =
    Statement::new("SELECT true FROM _pg_llm_catalog.modules WHERE digest OPERATOR(pg_catalog.=) $1 FOR UPDATE", &[BYTEAOID]);
static MODULE_USED: Statement = Statement::new(
    "SELECT true FROM _pg_llm_catalog.providers WHERE digest OPERATOR(pg_catalog.=) $1 \
     UNION ALL SELECT true FROM _pg_llm_catalog.filters WHERE digest OPERATOR(pg_catalog.=) $1 LIMIT 1",
    &[BYTEAOID],
);
static DELETE_MODULE: Statement = Statement::new("DELETE FROM _pg_llm_catalog.modules WHERE digest OPERATOR(pg_catalog.=) $1", &[BYTEAOID]);
static INSERT_PROVIDER: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.providers (model_type, digest, profile) VALUES ($1, $2, $3) ON CONFLICT (model_type) DO NOTHING RETURNING true",
    &[TEXTOID, BYTEAOID, TEXTOID],
);
static UPDATE_PROVIDER: Statement = Statement::new(
    "UPDATE _pg_llm_catalog.providers SET digest = $2, profile = $3 WHERE model_type OPERATOR(pg_catalog.=) $1",
    &[TEXTOID, BYTEAOID, TEXTOID],
);
static SET_OWNER: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.provider_owners (model_type, role) VALUES ($1, $2::pg_catalog.regrole)",
    &[TEXTOID, OIDOID],
);
static LOCK_PROVIDER: Statement = Statement::new(
    "SELECT p.digest, p.profile, \
            (SELECT o.role::pg_catalog.oid FROM _pg_llm_catalog.provider_owners o WHERE o.model_type OPERATOR(pg_catalog.=) p.model_type) \
       FROM _pg_llm_catalog.providers p WHERE p.model_type OPERATOR(pg_catalog.=) $1 FOR UPDATE OF p",
    &[TEXTOID],
);
static FIND_PROVIDER: Statement = Statement::new(
    "SELECT digest, profile FROM _pg_llm_catalog.providers WHERE model_type OPERATOR(pg_catalog.=) $1 FOR SHARE",
    &[TEXTOID],
);
static USERS: Statement =
    Statement::new("SELECT instance_name FROM _pg_llm_catalog.models WHERE model_type OPERATOR(pg_catalog.=) $1 LIMIT 1", &[TEXTOID]);
static DELETE_PROVIDER: Statement = Statement::new(
    "WITH without_owner AS (DELETE FROM _pg_llm_catalog.provider_owners WHERE model_type OPERATOR(pg_catalog.=) $1) \
     DELETE FROM _pg_llm_catalog.providers WHERE model_type OPERATOR(pg_catalog.=) $1",
    &[TEXTOID],
);
// The extension's own function: others of its name may stand beside it in the same schema, made by anybody who may create there.
static MAY_UPLOAD: Statement = Statement::new(
    "SELECT pg_catalog.bool_and(pg_catalog.has_function_privilege($1, p.oid, 'EXECUTE')) FROM pg_catalog.pg_extension e \
       JOIN pg_catalog.pg_depend d ON d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass::pg_catalog.oid \
            AND d.refobjid OPERATOR(pg_catalog.=) e.oid AND d.deptype OPERATOR(pg_catalog.=) 'e' \
            AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid \
       JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.objid \
      WHERE e.extname OPERATOR(pg_catalog.=) 'pg_llm' AND p.proname OPERATOR(pg_catalog.=) 'pg_llm_add_provider'",
    &[OIDOID],
);

/// An uploaded provider.
pub(crate) struct Uploaded {
    pub(crate) digest: Digest,
    pub(crate) profile: String,
}

/// How often storing a component gives way to sessions that remove it.
const MOST_ROUNDS: u32 = 100;

/// Stores a component, once. It stays until the transaction ends.
pub(crate) fn insert<D: serde::Serialize>(digest: &Digest, wasm: &[u8], report: &Report<D>, role: Oid) -> Result<(), SqlError> {
    let report =
        serde_json::to_string(report).map_err(|e| SqlError::new(State::Internal, format!("pg_llm: a report cannot be stored: {e}")))?;
    for _ in 0..MOST_ROUNDS {
        INSERT_MODULE.write(&[
            Param::Bytes(digest),
            Param::Bytes(wasm),
            Param::Text(&report),
            Param::Text(&privileges::role_name(role)),
        ])?;
        if hold(digest)? {
            return Ok(());
        }
    }
    Err(SqlError::new(State::Duplicate, "pg_llm: this module is being added and removed by other sessions"))
}

/// Whether there is this component. If so, it stays until the transaction ends.
pub(crate) fn hold(digest: &Digest) -> Result<bool, SqlError> {
    Ok(!HOLD_MODULE.write(&[Param::Bytes(digest)])?.is_empty())
}

/// Removes a component if nothing refers to it any more.
pub(crate) fn remove_unused(digest: &Digest) -> Result<(), SqlError> {
    LOCK_MODULE.write(&[Param::Bytes(digest)])?;
    // Whatever the age of this transaction's snapshot is: who was about to refer to it has committed.
    if MODULE_USED.read_latest(&[Param::Bytes(digest)])?.is_empty() {
        DELETE_MODULE.write(&[Param::Bytes(digest)])?;
    }
    Ok(())
}

/// What the compiler said of a stored provider's component.
pub(crate) fn report(digest: &Digest) -> Result<Report, SqlError> {
    let rows = REPORT.read_latest(&[Param::Bytes(digest)])?;
    let text = rows.first().map(|row| row.required_text(0)).transpose()?.ok_or_else(damaged_report)?;
    serde_json::from_str(&text).map_err(|_| damaged_report())
}

/// 55000.
pub(super) fn damaged_report() -> SqlError {
    SqlError::new(State::SetUp, "pg_llm: an uploaded module is missing or its report is damaged").hint("Upload it again.")
}

/// A stored component.
pub(crate) fn wasm(digest: &Digest) -> Result<Vec<u8>, SqlError> {
    WASM.read_latest(&[Param::Bytes(digest)])?
        .first()
        .and_then(|row| row.bytes(0))
        .ok_or_else(|| SqlError::new(State::SetUp, "pg_llm: an uploaded module is missing").hint("Upload it again."))
}

/// Whether `role` may upload components.
pub(crate) fn may_upload(role: Oid) -> Result<bool, SqlError> {
    Ok(MAY_UPLOAD.read(&[Param::Role(role)])?.first().is_some_and(|row| row.boolean(0)))
}

/// Finds an uploaded provider, and keeps it until the transaction ends.
pub(crate) fn provider(model_type: &str) -> Result<Option<Uploaded>, SqlError> {
    FIND_PROVIDER.write(&[Param::Text(model_type)])?.first().map(uploaded).transpose()
}

/// Makes a stored component the provider `model_type`, or puts it in the place of one that `role` owns.
pub(crate) fn set_provider(model_type: &str, digest: &Digest, profile: &str, role: Oid) -> Result<(), SqlError> {
    let params = [Param::Text(model_type), Param::Bytes(digest), Param::Text(profile)];
    if !INSERT_PROVIDER.write(&params)?.is_empty() {
        return SET_OWNER.write(&[Param::Text(model_type), Param::Role(role)]).map(|_| ());
    }
    let Some(former) = owned_provider(model_type, role)? else {
        return Err(SqlError::new(State::Duplicate, format!("pg_llm: provider \"{model_type}\" is being changed by another session")));
    };
    UPDATE_PROVIDER.write(&params)?;
    if former.digest != *digest {
        remove_unused(&former.digest)?;
    }
    Ok(())
}

/// Removes a provider that `role` owns and no model uses. False when there is none.
pub(crate) fn remove_provider(model_type: &str, role: Oid) -> Result<bool, SqlError> {
    let Some(former) = owned_provider(model_type, role)? else { return Ok(false) };
    if let Some(user) = USERS.write(&[Param::Text(model_type)])?.first() {
        return Err(SqlError::new(State::InUse, format!("pg_llm: provider \"{model_type}\" is in use"))
            .detail(format!("Model \"{}\" is of this type.", user.required_text(0)?))
            .hint("Remove the models of this type first, with pg_llm_remove_model()."));
    }
    DELETE_PROVIDER.write(&[Param::Text(model_type)])?;
    remove_unused(&former.digest)?;
    Ok(true)
}

fn owned_provider(model_type: &str, role: Oid) -> Result<Option<Uploaded>, SqlError> {
    let rows = LOCK_PROVIDER.write(&[Param::Text(model_type)])?;
    let Some(row) = rows.first() else { return Ok(None) };
    if !privileges::is_superuser(role) && !row.oid(2).is_some_and(|owner| privileges::has_rights_of(role, owner)) {
        return Err(SqlError::new(State::Forbidden, format!("pg_llm: must be owner of provider \"{model_type}\"")));
    }
    uploaded(row).map(Some)
}

fn uploaded(row: &super::query::Row) -> Result<Uploaded, SqlError> {
    let digest = row.bytes(0).and_then(|d| Digest::try_from(d).ok());
    Ok(Uploaded {
        digest: digest.ok_or_else(|| SqlError::new(State::Internal, "pg_llm: a digest has the wrong length"))?,
        profile: row.required_text(1)?,
    })
}
