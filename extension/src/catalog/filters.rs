//! Filters: names, components, configurations.

use std::sync::Arc;

use pg_llm_sandbox::report::{FilterDescription, Report};
use pg_llm_sandbox::{Digest, Terms};
use pgrx::pg_sys::{BYTEAOID, OIDOID, Oid, TEXTOID};

use super::query::{Param, Row, Statement};
use super::{builtin_filters, module_state, modules};
use crate::backend::errors::{SqlError, State};
use crate::backend::privileges;

static READ: Statement = Statement::new(
    "SELECT f.filter_type, f.digest, f.config::pg_catalog.text, m.report::pg_catalog.text, m.enabled, m.limits::pg_catalog.text FROM _pg_llm_catalog.filters f \
       LEFT JOIN _pg_llm_catalog.modules m ON m.digest OPERATOR(pg_catalog.=) f.digest \
      WHERE f.name OPERATOR(pg_catalog.=) $1",
    &[TEXTOID],
);
static INSERT: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.filters (name, filter_type, digest, config) VALUES ($1, $2, $3, $4::pg_catalog.jsonb) \
     ON CONFLICT (name) DO NOTHING RETURNING true",
    &[TEXTOID, TEXTOID, BYTEAOID, TEXTOID],
);
static UPDATE: Statement = Statement::new(
    "UPDATE _pg_llm_catalog.filters SET filter_type = $2, digest = $3, config = $4::pg_catalog.jsonb WHERE name OPERATOR(pg_catalog.=) $1",
    &[TEXTOID, TEXTOID, BYTEAOID, TEXTOID],
);
static SET_OWNER: Statement =
    Statement::new("INSERT INTO _pg_llm_catalog.filter_owners (name, role) VALUES ($1, $2::pg_catalog.regrole)", &[TEXTOID, OIDOID]);
// Whoever names a filter in a model holds it as well (HOLD): one waits for the other.
static LOCK: Statement = Statement::new(
    "SELECT f.digest, (SELECT o.role::pg_catalog.oid FROM _pg_llm_catalog.filter_owners o WHERE o.name OPERATOR(pg_catalog.=) f.name) \
       FROM _pg_llm_catalog.filters f WHERE f.name OPERATOR(pg_catalog.=) $1 FOR UPDATE OF f",
    &[TEXTOID],
);
static HOLD: Statement =
    Statement::new("SELECT true FROM _pg_llm_catalog.filters WHERE name OPERATOR(pg_catalog.=) $1 FOR KEY SHARE", &[TEXTOID]);
static USERS: Statement = Statement::new(
    "SELECT instance_name FROM _pg_llm_catalog.models \
      WHERE (config OPERATOR(pg_catalog.->) 'filters'::pg_catalog.text) OPERATOR(pg_catalog.?) $1 LIMIT 1",
    &[TEXTOID],
);
static DELETE: Statement = Statement::new(
    "WITH without_owner AS (DELETE FROM _pg_llm_catalog.filter_owners WHERE name OPERATOR(pg_catalog.=) $1) \
     DELETE FROM _pg_llm_catalog.filters WHERE name OPERATOR(pg_catalog.=) $1",
    &[TEXTOID],
);

/// How often adding a filter gives way to sessions that add and remove one of its name.
const MOST_ROUNDS: u32 = 100;

/// What a filter runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Component {
    /// The built-in filter of its type.
    Builtin,
    /// An uploaded module.
    Uploaded(Digest),
}

/// A filter as it is stored.
pub(crate) struct StoredFilter {
    pub(crate) filter_type: String,
    pub(crate) component: Component,
    /// JSON.
    pub(crate) config: String,
    /// Of an uploaded component.
    report: Option<String>,
    /// An uploaded component may be called.
    pub(super) enabled: bool,
    /// Limits of an uploaded component: JSON.
    limits: Option<String>,
}

impl StoredFilter {
    fn from_row(row: &Row) -> Result<Self, SqlError> {
        Ok(Self {
            filter_type: row.required_text(0)?,
            component: component(row, 1)?,
            config: row.required_text(2)?,
            report: row.text(3)?,
            enabled: row.boolean(4),
            limits: row.text(5)?,
        })
    }

    /// What holds for the calls of its uploaded component.
    pub(super) fn terms(&self, digest: &Digest) -> Result<Arc<Terms>, SqlError> {
        module_state::terms(digest, self.limits.as_deref())
    }

    /// What the compiler said of its uploaded component.
    pub(crate) fn report(&self) -> Result<Report<FilterDescription>, SqlError> {
        let report = self.report.as_deref().and_then(|report| serde_json::from_str(report).ok());
        report.ok_or_else(modules::damaged_report)
    }
}

/// The filter of this name as it is now. The built-in ones are not here.
pub(crate) fn read(name: &str) -> Result<Option<StoredFilter>, SqlError> {
    READ.read_latest(&[Param::Text(name)])?.first().map(StoredFilter::from_row).transpose()
}

/// Whether there is a filter of this name. An added one stays until the transaction ends.
pub(crate) fn hold(name: &str) -> Result<(), SqlError> {
    if HOLD.write(&[Param::Text(name)])?.is_empty() && builtin_filters::find(name)?.is_none() {
        return Err(unknown(name));
    }
    Ok(())
}

/// Makes a filter that belongs to `role`, or changes the one of this name that `role` owns.
pub(crate) fn set(name: &str, filter_type: &str, component: Component, config: &str, role: Oid) -> Result<(), SqlError> {
    let digest = match &component {
        Component::Builtin => Param::Null,
        Component::Uploaded(digest) => Param::Bytes(digest),
    };
    let params = [Param::Text(name), Param::Text(filter_type), digest, Param::Text(config)];
    for _ in 0..MOST_ROUNDS {
        if !INSERT.write(&params)?.is_empty() {
            return SET_OWNER.write(&[Param::Text(name), Param::Role(role)]).map(|_| ());
        }
        if let Some(former) = owned(name, role)? {
            UPDATE.write(&params)?;
            if let (Component::Uploaded(former), Component::Uploaded(latter)) = (former, component) {
                module_state::inherit_limits(&former, &latter)?;
            }
            return if former == component { Ok(()) } else { forget(former) };
        }
    }
    Err(SqlError::new(State::Duplicate, format!("pg_llm: filter \"{name}\" is being added and removed by other sessions")))
}

/// Removes a filter that `role` owns and no model names. False when there is none.
pub(crate) fn remove(name: &str, role: Oid) -> Result<bool, SqlError> {
    let Some(former) = owned(name, role)? else { return Ok(false) };
    // Whatever the age of this transaction's snapshot is: nobody can name it any more, and who has done so has committed.
    if let Some(user) = USERS.read_latest(&[Param::Text(name)])?.first() {
        return Err(SqlError::new(State::InUse, format!("pg_llm: filter \"{name}\" is in use"))
            .detail(format!("Model \"{}\" names it.", user.required_text(0)?))
            .hint("Take it out of the configuration of the models first, with pg_llm_add_model()."));
    }
    DELETE.write(&[Param::Text(name)])?;
    forget(former)?;
    Ok(true)
}

/// Locks a filter until the transaction ends, if there is one, and checks that `role` has its owner's rights.
fn owned(name: &str, role: Oid) -> Result<Option<Component>, SqlError> {
    let rows = LOCK.write(&[Param::Text(name)])?;
    let Some(row) = rows.first() else { return Ok(None) };
    if !privileges::is_superuser(role) && !row.oid(1).is_some_and(|owner| privileges::has_rights_of(role, owner)) {
        return Err(SqlError::new(State::Forbidden, format!("pg_llm: must be owner of filter \"{name}\"")));
    }
    component(row, 0).map(Some)
}

fn forget(component: Component) -> Result<(), SqlError> {
    match component {
        Component::Builtin => Ok(()),
        Component::Uploaded(digest) => modules::remove_unused(&digest),
    }
}

fn component(row: &Row, column: usize) -> Result<Component, SqlError> {
    let Some(digest) = row.bytes(column) else { return Ok(Component::Builtin) };
    let digest = Digest::try_from(digest).map_err(|_| SqlError::new(State::Internal, "pg_llm: a digest has the wrong length"))?;
    Ok(Component::Uploaded(digest))
}

/// 42704, with the filters that there are.
pub(crate) fn unknown(name: &str) -> SqlError {
    let known: Vec<_> = builtin_filters::names().collect();
    SqlError::new(State::Undefined, format!("pg_llm: filter \"{name}\" does not exist"))
        .hint(format!("Built in: {}. Others: SELECT name FROM pg_llm_filters WHERE NOT builtin.", known.join(", ")))
}
