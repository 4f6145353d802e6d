//! What is decided about an uploaded component as a whole: whether it may run, with which limits, and that it goes.

use std::sync::Arc;
use std::time::Duration;

use pg_llm_gateway::ModelLimits;
use pg_llm_sandbox::{Digest, Terms, hex};
use pgrx::pg_sys::{BOOLOID, BYTEAOID, Oid, TEXTOID};
use serde_json::Value;

use super::query::{Param, Statement};
use super::{builtin, builtin_filters, modules, provider_versions};
use crate::backend::errors::{SqlError, State};
use crate::backend::{module_statistics, privileges};

// Owners of all that it is or was, without gaps: 0 stands for one that is no more.
static LOCK: Statement = Statement::new(
    "SELECT m.enabled, m.limits::pg_catalog.text, m.held, \
            (SELECT pg_catalog.string_agg(owners.role, ' ') FROM \
               (SELECT CASE WHEN o.role IS NULL THEN '0' ELSE o.role::pg_catalog.oid::pg_catalog.text END AS role \
                  FROM _pg_llm_catalog.provider_versions v \
                  LEFT JOIN _pg_llm_catalog.provider_owners o ON o.model_type OPERATOR(pg_catalog.=) v.model_type \
                 WHERE v.digest OPERATOR(pg_catalog.=) m.digest \
                UNION ALL \
                SELECT CASE WHEN o.role IS NULL THEN '0' ELSE o.role::pg_catalog.oid::pg_catalog.text END \
                  FROM _pg_llm_catalog.filters f \
                  LEFT JOIN _pg_llm_catalog.filter_owners o ON o.name OPERATOR(pg_catalog.=) f.name \
                 WHERE f.digest OPERATOR(pg_catalog.=) m.digest) AS owners) \
       FROM _pg_llm_catalog.modules m WHERE m.digest OPERATOR(pg_catalog.=) $1 FOR UPDATE OF m",
    &[BYTEAOID],
);
static SET_ENABLED: Statement = Statement::new(
    "UPDATE _pg_llm_catalog.modules SET enabled = $2, held = $3 WHERE digest OPERATOR(pg_catalog.=) $1",
    &[BYTEAOID, BOOLOID, BOOLOID],
);
static SET_LIMITS: Statement = Statement::new(
    "UPDATE _pg_llm_catalog.modules SET limits = $2::pg_catalog.jsonb, held = $3 WHERE digest OPERATOR(pg_catalog.=) $1",
    &[BYTEAOID, TEXTOID, BOOLOID],
);
static INHERIT_LIMITS: Statement = Statement::new(
    "UPDATE _pg_llm_catalog.modules m SET limits = f.limits, held = m.held OR f.held FROM _pg_llm_catalog.modules f \
      WHERE f.digest OPERATOR(pg_catalog.=) $1 AND m.digest OPERATOR(pg_catalog.=) $2 \
        AND m.limits OPERATOR(pg_catalog.=) '{}'::pg_catalog.jsonb AND f.limits OPERATOR(pg_catalog.<>) '{}'::pg_catalog.jsonb",
    &[BYTEAOID, BYTEAOID],
);
static IN_FORCE: Statement = Statement::new(
    "SELECT 'provider', model_type FROM _pg_llm_catalog.providers WHERE digest OPERATOR(pg_catalog.=) $1 \
     UNION ALL SELECT 'filter', name FROM _pg_llm_catalog.filters WHERE digest OPERATOR(pg_catalog.=) $1 LIMIT 1",
    &[BYTEAOID],
);

/// A stored component, locked until the transaction ends.
struct Locked {
    enabled: bool,
    limits: Value,
}

/// What holds for the calls of a component with these limits, which are JSON.
pub(super) fn terms(digest: &Digest, stored: Option<&str>) -> Result<Arc<Terms>, SqlError> {
    let value = serde_json::from_str(stored.unwrap_or("{}")).map_err(|_| damaged())?;
    Ok(Arc::new(Terms { meter: Some(module_statistics::meter(digest)), ..limits(&value)? }))
}

/// The same, of calls that nobody counts.
pub(crate) fn limits(stored: &Value) -> Result<Terms, SqlError> {
    let limits = ModelLimits::parse(stored).map_err(|_| damaged())?;
    Ok(Terms {
        memory_bytes: limits.memory_mb.map(|mb| (mb as usize) << 20),
        cpu: limits.cpu_ms.map(|ms| Duration::from_millis(u64::from(ms))),
        response_bytes: limits.response_bytes,
        meter: None,
    })
}

fn damaged() -> SqlError {
    SqlError::new(State::SetUp, "pg_llm: the limits of a module are damaged").hint("Set them with pg_llm_set_module_limits().")
}

/// Switches a component on or off. False when it was so already.
pub(crate) fn set_enabled(digest: &Digest, enabled: bool, role: Oid) -> Result<bool, SqlError> {
    let module = owned(digest, role)?.ok_or_else(|| unknown(digest))?;
    if module.enabled == enabled {
        return Ok(false);
    }
    let held = privileges::is_superuser(role) && (!enabled || !is_empty(&module.limits));
    SET_ENABLED.write(&[Param::Bytes(digest), Param::Bool(enabled), Param::Bool(held)])?;
    Ok(true)
}

/// Sets the limits of a component, which are an object. False when they were the same.
pub(crate) fn set_limits(digest: &Digest, limits: &Value, role: Oid) -> Result<bool, SqlError> {
    ModelLimits::parse(limits)?;
    let module = owned(digest, role)?.ok_or_else(|| unknown(digest))?;
    if module.limits == *limits {
        return Ok(false);
    }
    let held = privileges::is_superuser(role) && (!module.enabled || !is_empty(limits));
    SET_LIMITS.write(&[Param::Bytes(digest), Param::Text(&limits.to_string()), Param::Bool(held)])?;
    Ok(true)
}

/// A version that has no limits of its own gets those of the one whose place it takes.
pub(super) fn inherit_limits(former: &Digest, latter: &Digest) -> Result<(), SqlError> {
    INHERIT_LIMITS.write(&[Param::Bytes(former), Param::Bytes(latter)]).map(|_| ())
}

/// Removes a component that nothing uses, as a version of whatever it is one. False when there is none.
pub(crate) fn remove(digest: &Digest, role: Oid) -> Result<bool, SqlError> {
    if owned(digest, role)?.is_none() {
        return Ok(false);
    }
    // Whatever the age of this transaction's snapshot is: who was about to refer to it has committed.
    if let Some(user) = IN_FORCE.read_latest(&[Param::Bytes(digest)])?.first() {
        return Err(SqlError::new(State::InUse, "pg_llm: the module is in use")
            .detail(format!("It is in force as {} \"{}\".", user.required_text(0)?, user.required_text(1)?))
            .hint("Put another version in force first, or remove what uses it: pg_llm_set_provider_version(), pg_llm_remove_provider(), pg_llm_remove_filter()."));
    }
    provider_versions::remove_module(digest)?;
    modules::delete(digest)?;
    Ok(true)
}

/// Locks a component, and checks that `role` decides about it. None when there is none.
fn owned(digest: &Digest, role: Oid) -> Result<Option<Locked>, SqlError> {
    let rows = LOCK.write(&[Param::Bytes(digest)])?;
    let Some(row) = rows.first() else {
        let digests = builtin::all()?.into_iter().map(|b| b.digest).chain(builtin_filters::all()?.into_iter().map(|b| b.digest));
        return if digests.into_iter().any(|builtin| builtin == *digest) {
            Err(SqlError::new(State::Forbidden, "pg_llm: the module is part of the extension"))
        } else {
            Ok(None)
        };
    };
    let (held, owners) = (row.boolean(2), row.oids(3));
    if !privileges::is_superuser(role) {
        if owners.is_empty() || !owners.iter().all(|owner| privileges::has_rights_of(role, *owner)) {
            return Err(SqlError::new(
                State::Forbidden,
                "pg_llm: must be owner of every provider and filter that the module is a version of",
            ));
        }
        if held {
            return Err(SqlError::new(
                State::Forbidden,
                "pg_llm: a superuser has disabled or limited the module, and only superusers change that",
            ));
        }
    }
    let limits = row.text(1)?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    Ok(Some(Locked { enabled: row.boolean(0), limits }))
}

fn is_empty(limits: &Value) -> bool {
    limits.as_object().is_none_or(serde_json::Map::is_empty)
}

/// 42704.
fn unknown(digest: &Digest) -> SqlError {
    SqlError::new(State::Undefined, format!("pg_llm: there is no module with the sha256 {}", hex(digest)))
        .hint("Yours: SELECT digest FROM pg_llm_modules.")
}
