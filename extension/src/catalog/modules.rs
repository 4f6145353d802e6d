//! Uploaded components, each stored once, and the providers that they are. Filters, which are uploaded too, have a file of their own.

use pg_llm_sandbox::report::Report;
use pg_llm_sandbox::{Digest, hex};
use pgrx::pg_sys::{BYTEAOID, OIDOID, Oid, TEXTOID};

use super::query::{Param, Row, Statement};
use super::{module_state, provider_versions};
use crate::backend::compiler_process::Compiled;
use crate::backend::errors::{SqlError, State};
use crate::backend::{privileges, runtime};

static INSERT_MODULE: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.modules (digest, wasm, report, uploaded_by, compile_ms) VALUES ($1, $2, $3::pg_catalog.jsonb, $4, $5::pg_catalog.int4) \
     ON CONFLICT (digest) DO NOTHING",
    &[BYTEAOID, BYTEAOID, TEXTOID, TEXTOID, TEXTOID],
);
// Held by who is about to refer to it, and by who would remove it: one waits for the other.
static HOLD_MODULE: Statement =
    Statement::new("SELECT enabled FROM _pg_llm_catalog.modules WHERE digest OPERATOR(pg_catalog.=) $1 FOR KEY SHARE", &[BYTEAOID]);
static REPORT: Statement =
    Statement::new("SELECT report::pg_catalog.text FROM _pg_llm_catalog.modules WHERE digest OPERATOR(pg_catalog.=) $1", &[BYTEAOID]);
static WASM: Statement = Statement::new("SELECT wasm FROM _pg_llm_catalog.modules WHERE digest OPERATOR(pg_catalog.=) $1", &[BYTEAOID]);
static ENABLED: Statement =
    Statement::new("SELECT enabled FROM _pg_llm_catalog.modules WHERE digest OPERATOR(pg_catalog.=) $1", &[BYTEAOID]);
static LOCK_MODULE: Statement =
    Statement::new("SELECT true FROM _pg_llm_catalog.modules WHERE digest OPERATOR(pg_catalog.=) $1 FOR UPDATE", &[BYTEAOID]);
// What a superuser has disabled counts as used: it stays disabled.
static MODULE_USED: Statement = Statement::new(
    "SELECT true FROM _pg_llm_catalog.providers WHERE digest OPERATOR(pg_catalog.=) $1 \
     UNION ALL SELECT true FROM _pg_llm_catalog.provider_versions WHERE digest OPERATOR(pg_catalog.=) $1 \
     UNION ALL SELECT true FROM _pg_llm_catalog.filters WHERE digest OPERATOR(pg_catalog.=) $1 \
     UNION ALL SELECT true FROM _pg_llm_catalog.modules WHERE digest OPERATOR(pg_catalog.=) $1 AND held AND NOT enabled LIMIT 1",
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
pub(crate) fn insert<D: serde::Serialize>(digest: &Digest, wasm: &[u8], compiled: &Compiled<D>, role: Oid) -> Result<(), SqlError> {
    let report = serde_json::to_string(&compiled.report)
        .map_err(|e| SqlError::new(State::Internal, format!("pg_llm: a report cannot be stored: {e}")))?;
    let uploader = privileges::role_name(role);
    let millis = i32::try_from(compiled.elapsed.as_millis()).unwrap_or(i32::MAX).to_string();
    let row = [Param::Bytes(digest), Param::Bytes(wasm), Param::Text(&report), Param::Text(&uploader), Param::Text(&millis)];
    for _ in 0..MOST_ROUNDS {
        INSERT_MODULE.write(&row)?;
        if hold(digest)? {
            return Ok(());
        }
    }
    Err(SqlError::new(State::Duplicate, "pg_llm: this module is being added and removed by other sessions"))
}

/// Whether there is this component. If so, it stays until the transaction ends.
///
/// # Errors
/// When it is disabled.
pub(crate) fn hold(digest: &Digest) -> Result<bool, SqlError> {
    match HOLD_MODULE.write(&[Param::Bytes(digest)])?.first() {
        None => Ok(false),
        Some(row) if row.boolean(0) => Ok(true),
        Some(_) => Err(disabled(digest, "the module is disabled")),
    }
}

/// Fails for a stored component that is disabled.
pub(crate) fn refuse_disabled(digest: &Digest) -> Result<(), SqlError> {
    match ENABLED.read_latest(&[Param::Bytes(digest)])?.first() {
        Some(row) if !row.boolean(0) => Err(disabled(digest, "the module is disabled")),
        _ => Ok(()),
    }
}

/// 55000, for a module that is switched off.
pub(super) fn disabled(digest: &Digest, what: &str) -> SqlError {
    SqlError::new(State::Disabled, format!("pg_llm: {what}"))
        .detail(format!("Its sha256 is {}.", hex(digest)))
        .hint("Its owner can enable it, or, where a superuser has disabled it, a superuser: SELECT pg_llm_enable_module(sha256, true).")
}

/// Removes a component if nothing refers to it any more, and its code when the transaction commits.
pub(crate) fn remove_unused(digest: &Digest) -> Result<(), SqlError> {
    LOCK_MODULE.write(&[Param::Bytes(digest)])?;
    // Whatever the age of this transaction's snapshot is: who was about to refer to it has committed.
    if MODULE_USED.read_latest(&[Param::Bytes(digest)])?.is_empty() {
        delete(digest)?;
    }
    Ok(())
}

/// Removes a component that nothing refers to.
pub(super) fn delete(digest: &Digest) -> Result<(), SqlError> {
    DELETE_MODULE.write(&[Param::Bytes(digest)])?;
    runtime::forget_code(digest);
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

/// Fails unless `role` may upload components.
pub(crate) fn check_may_upload(role: Oid) -> Result<(), SqlError> {
    if MAY_UPLOAD.read(&[Param::Role(role)])?.first().is_some_and(|row| row.boolean(0)) {
        return Ok(());
    }
    Err(SqlError::new(State::Forbidden, "pg_llm: permission denied to upload a module")
        .hint("A superuser can grant it: GRANT EXECUTE ON FUNCTION pg_llm_add_provider TO ..."))
}

/// Finds an uploaded provider, and keeps it until the transaction ends.
pub(crate) fn provider(model_type: &str) -> Result<Option<Uploaded>, SqlError> {
    FIND_PROVIDER.write(&[Param::Text(model_type)])?.first().map(uploaded).transpose()
}

/// Makes a stored component the provider `model_type`, or puts it in the place of one that `role` owns, which is kept as an earlier version.
pub(crate) fn set_provider(model_type: &str, digest: &Digest, profile: &str, role: Oid) -> Result<(), SqlError> {
    let params = [Param::Text(model_type), Param::Bytes(digest), Param::Text(profile)];
    if !INSERT_PROVIDER.write(&params)?.is_empty() {
        SET_OWNER.write(&[Param::Text(model_type), Param::Role(role)])?;
        return provider_versions::put_in_force(model_type, digest, profile, role);
    }
    let Some(former) = owned_provider(model_type, role)? else {
        return Err(SqlError::new(State::Duplicate, format!("pg_llm: provider \"{model_type}\" is being changed by another session")));
    };
    replace_provider(model_type, &former, digest, profile, role)
}

/// Puts a component in the place of another that [`owned_provider`] has locked.
fn replace_provider(model_type: &str, former: &Uploaded, digest: &Digest, profile: &str, role: Oid) -> Result<(), SqlError> {
    UPDATE_PROVIDER.write(&[Param::Text(model_type), Param::Bytes(digest), Param::Text(profile)])?;
    if former.digest != *digest {
        module_state::inherit_limits(&former.digest, digest)?;
    }
    provider_versions::put_in_force(model_type, digest, profile, role)
}

/// Puts another version of a provider that `role` owns in force. False when it was already.
pub(crate) fn set_version(model_type: &str, digest: &Digest, role: Oid) -> Result<bool, SqlError> {
    let Some(former) = owned_provider(model_type, role)? else {
        return Err(SqlError::new(State::Undefined, format!("pg_llm: provider \"{model_type}\" does not exist"))
            .hint("Yours: SELECT model_type FROM pg_llm_provider_versions."));
    };
    let profile = match provider_versions::profile(model_type, digest)? {
        Some(profile) if hold(digest)? => profile,
        _ => {
            return Err(SqlError::new(State::Undefined, format!("pg_llm: provider \"{model_type}\" has no version {}", hex(digest)))
                .hint("There are: SELECT digest FROM pg_llm_provider_versions WHERE model_type = ..."));
        }
    };
    if former.digest == *digest {
        return Ok(false);
    }
    replace_provider(model_type, &former, digest, &profile, role)?;
    Ok(true)
}

/// Removes a provider that `role` owns and no model uses, with its versions. False when there is none.
pub(crate) fn remove_provider(model_type: &str, role: Oid) -> Result<bool, SqlError> {
    let Some(former) = owned_provider(model_type, role)? else { return Ok(false) };
    if let Some(user) = USERS.write(&[Param::Text(model_type)])?.first() {
        return Err(SqlError::new(State::InUse, format!("pg_llm: provider \"{model_type}\" is in use"))
            .detail(format!("Model \"{}\" is of this type.", user.required_text(0)?))
            .hint("Remove the models of this type first, with pg_llm_remove_model()."));
    }
    let mut digests = provider_versions::remove_all(model_type)?;
    if !digests.contains(&former.digest) {
        digests.push(former.digest);
    }
    DELETE_PROVIDER.write(&[Param::Text(model_type)])?;
    digests.iter().try_for_each(remove_unused)?;
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

fn uploaded(row: &Row) -> Result<Uploaded, SqlError> {
    Ok(Uploaded { digest: digest_at(row, 0)?, profile: row.required_text(1)? })
}

/// A column that holds a digest.
pub(super) fn digest_at(row: &Row, column: usize) -> Result<Digest, SqlError> {
    let digest = row.bytes(column).and_then(|d| Digest::try_from(d).ok());
    digest.ok_or_else(|| SqlError::new(State::Internal, "pg_llm: a digest has the wrong length"))
}
