//! Models: names, types, configurations.

use std::sync::Arc;

use pg_llm_gateway::KeyReference;
use pg_llm_sandbox::{Digest, Terms};
use pgrx::pg_sys::{BOOLOID, OIDOID, Oid, TEXTOID};

use super::module_state;
use super::query::{Param, Row, Statement};
use crate::backend::errors::{SqlError, State};
use crate::backend::privileges;

/// All that a call needs of the catalog, from one query.
pub(crate) struct StoredModel {
    pub(crate) model_type: String,
    /// JSON without secrets.
    pub(crate) config: String,
    pub(crate) endpoint_trusted: bool,
    /// None when `model_type` is built in.
    pub(crate) uploaded: Option<UploadedModule>,
    pub(crate) keys: Vec<StoredKey>,
    users: Vec<Oid>,
}

/// The uploaded component of a model.
pub(crate) struct UploadedModule {
    pub(crate) digest: Digest,
    pub(crate) profile: String,
    pub(crate) enabled: bool,
    pub(crate) terms: Arc<Terms>,
}

/// A key as it is stored.
pub(crate) struct StoredKey {
    pub(crate) name: String,
    pub(crate) value: KeyValue,
}

/// See [`super::keys`].
pub(crate) enum KeyValue {
    Sealed {
        master_key_id: String,
        sealed: Vec<u8>,
    },
    /// None: what is stored is no reference.
    Reference(Option<KeyReference>),
}

/// A model before it was changed.
pub(crate) struct Former {
    pub(crate) model_type: String,
    pub(crate) config: String,
    pub(crate) endpoint_trusted: bool,
}

// One row a key, or one row with NULLs. 0 is PUBLIC.
static ROUTE: Statement = Statement::new(
    "SELECT m.model_type, m.config::pg_catalog.text, m.endpoint_trusted, p.digest, p.profile, \
            (SELECT pg_catalog.string_agg(g.role::pg_catalog.oid::pg_catalog.text, ' ') FROM _pg_llm_catalog.grants g \
              WHERE g.instance_name OPERATOR(pg_catalog.=) m.instance_name), \
            k.key_name, k.master_key_id, k.sealed, k.reference::pg_catalog.text, o.enabled, o.limits::pg_catalog.text \
       FROM _pg_llm_catalog.models m \
       LEFT JOIN _pg_llm_catalog.providers p ON p.model_type OPERATOR(pg_catalog.=) m.model_type \
       LEFT JOIN _pg_llm_catalog.modules o ON o.digest OPERATOR(pg_catalog.=) p.digest \
       LEFT JOIN _pg_llm_catalog.keys k ON k.instance_name OPERATOR(pg_catalog.=) m.instance_name \
      WHERE m.instance_name OPERATOR(pg_catalog.=) $1",
    &[TEXTOID],
);
// By name in the order of bytes, which no collation changes.
static USABLE: Statement = Statement::new(
    "SELECT m.instance_name FROM _pg_llm_catalog.models m \
      WHERE $2 OR EXISTS (SELECT FROM _pg_llm_catalog.grants g \
             WHERE g.instance_name OPERATOR(pg_catalog.=) m.instance_name \
               AND (g.role::pg_catalog.oid OPERATOR(pg_catalog.=) 0::pg_catalog.oid \
                    OR pg_catalog.pg_has_role($1, g.role::pg_catalog.oid, 'USAGE'))) \
      ORDER BY m.instance_name COLLATE pg_catalog.\"C\" USING OPERATOR(pg_catalog.<) LIMIT $3::pg_catalog.int8",
    &[OIDOID, BOOLOID, TEXTOID],
);
static FALLBACK: Statement = Statement::new(
    "SELECT m.config OPERATOR(pg_catalog.->>) 'fallback_instance'::pg_catalog.text FROM _pg_llm_catalog.models m \
      WHERE m.instance_name OPERATOR(pg_catalog.=) $1",
    &[TEXTOID],
);
static INSERT: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.models (instance_name, model_type, config, endpoint_trusted, local_model) \
     VALUES ($1, $2, $3::pg_catalog.jsonb, $4, $5) ON CONFLICT (instance_name) DO NOTHING RETURNING instance_name",
    &[TEXTOID, TEXTOID, TEXTOID, BOOLOID, BOOLOID],
);
static UPDATE: Statement = Statement::new(
    "UPDATE _pg_llm_catalog.models SET model_type = $2, config = $3::pg_catalog.jsonb, endpoint_trusted = $4, local_model = $5, \
            updated_at = pg_catalog.now() \
      WHERE instance_name OPERATOR(pg_catalog.=) $1",
    &[TEXTOID, TEXTOID, TEXTOID, BOOLOID, BOOLOID],
);
static LOCK: Statement = Statement::new(
    "SELECT m.model_type, m.config::pg_catalog.text, m.endpoint_trusted, \
            (SELECT g.role::pg_catalog.oid FROM _pg_llm_catalog.grants g WHERE g.instance_name OPERATOR(pg_catalog.=) m.instance_name AND g.is_owner) \
       FROM _pg_llm_catalog.models m WHERE m.instance_name OPERATOR(pg_catalog.=) $1 FOR UPDATE OF m",
    &[TEXTOID],
);
// All three, though foreign keys cascade: not where triggers are off (session_replication_role), and a key that stayed would be the next model's of that name.
static DELETE: Statement = Statement::new(
    "WITH without_keys AS (DELETE FROM _pg_llm_catalog.keys WHERE instance_name OPERATOR(pg_catalog.=) $1), \
          without_grants AS (DELETE FROM _pg_llm_catalog.grants WHERE instance_name OPERATOR(pg_catalog.=) $1) \
     DELETE FROM _pg_llm_catalog.models WHERE instance_name OPERATOR(pg_catalog.=) $1",
    &[TEXTOID],
);

/// Finds a model as it is now.
pub(super) fn read(instance: &str) -> Result<StoredModel, SqlError> {
    let rows = ROUTE.read_latest(&[Param::Text(instance)])?;
    let Some(first) = rows.first() else { return Err(unknown(instance)) };
    let mut model = StoredModel::from_row(first)?;
    for row in &rows {
        let Some(name) = row.text(6)? else { continue };
        let value = match row.bytes(8) {
            Some(sealed) => KeyValue::Sealed { master_key_id: row.required_text(7)?, sealed },
            None => KeyValue::Reference(row.text(9)?.and_then(|text| KeyReference::parse(&serde_json::from_str(&text).ok()?).ok())),
        };
        model.keys.push(StoredKey { name, value });
    }
    Ok(model)
}

/// The model that the configuration of this one names as its fallback.
pub(crate) fn fallback_of(instance: &str) -> Result<Option<String>, SqlError> {
    FALLBACK.read(&[Param::Text(instance)])?.first().map_or(Ok(None), |row| row.text(0))
}

/// The names of the models that `role` may use, at most this many, in the order of their bytes.
pub(crate) fn usable_names(role: Oid, most: usize) -> Result<Vec<String>, SqlError> {
    let rows = USABLE.read_latest(&[Param::Role(role), Param::Bool(privileges::is_superuser(role)), Param::Text(&most.to_string())])?;
    rows.iter().map(|row| row.required_text(0)).collect()
}

impl StoredModel {
    /// Whether both are of the same type with the same configuration.
    pub(super) fn is_configured_as(&self, other: &Self) -> bool {
        let module = |model: &Self| model.uploaded.as_ref().map(|module| (module.digest, module.profile.clone()));
        (&self.model_type, &self.config) == (&other.model_type, &other.config) && module(self) == module(other)
    }

    /// Fails unless `role` may use the model, which is named `instance`.
    pub(super) fn check_use(&self, instance: &str, role: Oid) -> Result<(), SqlError> {
        if self.users.iter().any(|user| user.to_u32() == 0 || privileges::has_rights_of(role, *user)) || privileges::is_superuser(role) {
            return Ok(());
        }
        Err(SqlError::new(State::Forbidden, format!("pg_llm: permission denied for model \"{instance}\""))
            .hint("Its owner can grant it to you: SELECT pg_llm_grant_model(...)."))
    }

    fn from_row(row: &Row) -> Result<Self, SqlError> {
        let digest = row.bytes(3).and_then(|d| Digest::try_from(d).ok());
        let module = |digest| {
            Ok::<_, SqlError>(UploadedModule {
                digest,
                profile: row.required_text(4)?,
                enabled: row.boolean(10),
                terms: module_state::terms(&digest, row.text(11)?.as_deref())?,
            })
        };
        Ok(Self {
            model_type: row.required_text(0)?,
            config: row.required_text(1)?,
            endpoint_trusted: row.boolean(2),
            uploaded: digest.map(module).transpose()?,
            users: row.oids(5),
            keys: Vec::new(),
        })
    }
}

/// Inserts a model that belongs to `role`. False when the name is taken.
pub(crate) fn insert(
    instance: &str,
    role: Oid,
    model_type: &str,
    config: &str,
    endpoint_trusted: bool,
    local: bool,
) -> Result<bool, SqlError> {
    let inserted = INSERT.write(&[
        Param::Text(instance),
        Param::Text(model_type),
        Param::Text(config),
        Param::Bool(endpoint_trusted),
        Param::Bool(local),
    ])?;
    if inserted.is_empty() {
        return Ok(false);
    }
    super::grants::set_owner(instance, role)?;
    Ok(true)
}

/// Changes a model that [`owned`] has locked.
pub(crate) fn update(instance: &str, model_type: &str, config: &str, endpoint_trusted: bool, local: bool) -> Result<(), SqlError> {
    UPDATE
        .write(&[Param::Text(instance), Param::Text(model_type), Param::Text(config), Param::Bool(endpoint_trusted), Param::Bool(local)])
        .map(|_| ())
}

/// Locks a model until the transaction ends, if there is one, and checks that `role` has its owner's rights.
pub(crate) fn owned(instance: &str, role: Oid) -> Result<Option<Former>, SqlError> {
    let rows = LOCK.write(&[Param::Text(instance)])?;
    let Some(row) = rows.first() else { return Ok(None) };
    if !privileges::is_superuser(role) && !row.oid(3).is_some_and(|owner| privileges::has_rights_of(role, owner)) {
        return Err(SqlError::new(State::Forbidden, format!("pg_llm: must be owner of model \"{instance}\"")));
    }
    Ok(Some(Former { model_type: row.required_text(0)?, config: row.required_text(1)?, endpoint_trusted: row.boolean(2) }))
}

/// Removes a model with its keys and grants.
pub(crate) fn delete(instance: &str) -> Result<(), SqlError> {
    DELETE.write(&[Param::Text(instance)]).map(|_| ())
}

/// 42704.
pub(crate) fn unknown(instance: &str) -> SqlError {
    SqlError::new(State::Undefined, format!("pg_llm: model \"{instance}\" does not exist"))
        .hint("Models that you may use: SELECT instance_name FROM pg_llm_models.")
}
