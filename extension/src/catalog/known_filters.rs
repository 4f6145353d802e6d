//! Filters that this backend has called, so that a warm call asks no table. They count as long as the models of [`known_models`](super::known_models) do.

use std::collections::HashMap;
use std::ffi::CStr;
use std::sync::{Arc, Mutex, PoisonError};

use pg_llm_gateway::filters::FilterStep;
use pg_llm_sandbox::{Digest, Filter, Terms};

use super::builtin_filters::{self, BuiltinFilter};
use super::filters::{self, Component, StoredFilter};
use super::modules;
use crate::backend::errors::{Failure, SqlError, State};
use crate::backend::{news, runtime};

/// A filter as it was read.
struct KnownFilter {
    component: KnownComponent,
    config: Arc<str>,
    prompt: bool,
    response: bool,
    /// The news number that it was read under; none: it counts for one call.
    as_of: Option<u64>,
}

enum KnownComponent {
    Builtin(&'static BuiltinFilter),
    Uploaded { digest: Digest, enabled: bool, terms: Arc<Terms> },
}

static KNOWN: Mutex<Option<HashMap<String, Arc<KnownFilter>>>> = Mutex::new(None);
/// More filters than this are forgotten, and read again when they are called.
const MOST_KNOWN: usize = 256;

/// The tables that an entry comes from.
const TABLES: [&CStr; 2] = [c"filters", c"modules"];

/// The filter of this name, loaded, as one step of a chain.
pub(super) fn step(name: &str) -> Result<FilterStep, Failure> {
    let known = find(name)?;
    let (code, component) = known.component.load(name)?;
    Ok(FilterStep {
        name: name.to_owned(),
        code,
        component,
        config: Arc::clone(&known.config),
        prompt: known.prompt,
        response: known.response,
    })
}

fn find(name: &str) -> Result<Arc<KnownFilter>, SqlError> {
    let number = news::number();
    let ours = news::is_ours();
    if let Some(known) = with_known(|known| known.get(name).cloned())
        && known.as_of == Some(number)
        && !ours
    {
        return Ok(known);
    }
    // In this order: whatever changes behind the triggers' back first disables one, and we hear of that.
    let lasting = !ours && !news::is_in_parallel() && news::is_announced(&TABLES);
    let mut known = match filters::read(name)? {
        Some(stored) => stored_filter(&stored)?,
        None => match builtin_filters::find(name)? {
            Some(builtin) => builtin_filter(builtin, "{}"),
            None => return Err(filters::unknown(name)),
        },
    };
    known.as_of = (lasting && news::number() == number).then_some(number);
    let known = Arc::new(known);
    with_known(|all| {
        if all.len() >= MOST_KNOWN {
            all.clear();
        }
        all.insert(name.to_owned(), Arc::clone(&known));
    });
    Ok(known)
}

fn stored_filter(stored: &StoredFilter) -> Result<KnownFilter, SqlError> {
    match stored.component {
        Component::Builtin => match builtin_filters::find(&stored.filter_type)? {
            Some(builtin) => Ok(builtin_filter(builtin, &stored.config)),
            None => Err(SqlError::new(State::SetUp, format!("pg_llm: this version has no built-in filter \"{}\"", stored.filter_type))),
        },
        Component::Uploaded(digest) => {
            let sides = stored.report()?.description.sides;
            let component = KnownComponent::Uploaded { digest, enabled: stored.enabled, terms: stored.terms(&digest)? };
            Ok(known_filter(component, &sides, &stored.config))
        }
    }
}

fn builtin_filter(builtin: &'static BuiltinFilter, config: &str) -> KnownFilter {
    known_filter(KnownComponent::Builtin(builtin), &builtin.report.description.sides, config)
}

fn known_filter(component: KnownComponent, sides: &[String], config: &str) -> KnownFilter {
    let has = |side| sides.iter().any(|named| named == side);
    KnownFilter { component, config: as_checked(config), prompt: has("prompt"), response: has("response"), as_of: None }
}

/// Letter for letter what the filter has seen when it was added: Postgres writes JSON with spaces of its own.
fn as_checked(config: &str) -> Arc<str> {
    serde_json::from_str(config).map_or_else(|_| config.into(), |config: serde_json::Value| config.to_string().into())
}

impl KnownComponent {
    /// The code of the filter `name`, and the digest of the component that it was made from.
    fn load(&self, name: &str) -> Result<(Filter, Digest), Failure> {
        match self {
            Self::Builtin(builtin) => Ok((runtime::builtin_filter(builtin)?, builtin.digest)),
            Self::Uploaded { digest, enabled: false, .. } => {
                Err(modules::disabled(digest, &format!("the module of filter \"{name}\" is disabled")).into())
            }
            Self::Uploaded { digest, terms, .. } => Ok((runtime::uploaded::<Filter>(digest, || modules::wasm(digest))?.on(terms), *digest)),
        }
    }
}

fn with_known<T>(work: impl FnOnce(&mut HashMap<String, Arc<KnownFilter>>) -> T) -> T {
    work(KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}
