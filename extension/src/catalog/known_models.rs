//! Models that this backend has called, so that a warm call asks no table.
//!
//! An entry is what one query found: type, configuration, sealed keys, who may use the model. It counts
//! - until the next news of the catalog ([`news`]): whatever anybody commits makes an entry of before useless, in every session of every server;
//! - for what is committed: in a transaction that has itself changed the catalog each call asks the tables;
//! - where every table that it comes from announces its changes: with a trigger disabled (`pg_restore --disable-triggers`), each call asks the tables.
//!
//! It is read with a snapshot of the moment, so that a transaction of an older view leaves nothing stale behind; processes of a parallel query, which cannot take one,
//! keep nothing. Nothing is kept of a model that does not exist. What else decides about a call is asked at each: the role's memberships, the settings. Keys are kept
//! as they are stored, encrypted.

use std::collections::HashMap;
use std::ffi::CStr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use pg_llm_gateway::ModelSpec;

use super::models::{self, StoredModel};
use crate::backend::errors::SqlError;
use crate::backend::news;

/// A model as it was read.
pub(super) struct KnownModel {
    pub(super) model: StoredModel,
    /// What its configuration says, once somebody has wanted to know.
    pub(super) spec: OnceLock<Arc<ModelSpec>>,
    /// The news number that it was read under; none: it counts for one call.
    as_of: Option<u64>,
}

static KNOWN: Mutex<Option<HashMap<String, Arc<KnownModel>>>> = Mutex::new(None);
/// More models than this are forgotten, and read again when they are called.
const MOST_KNOWN: usize = 256;

/// Tables that a model's entry comes from.
const TABLES: [&CStr; 5] = [c"models", c"providers", c"modules", c"grants", c"keys"];

/// The model `instance` as it is committed now, and as this transaction has changed it.
pub(super) fn find(instance: &str) -> Result<Arc<KnownModel>, SqlError> {
    let number = news::number();
    let ours = news::is_ours();
    let former = with_known(|known| known.get(instance).cloned());
    if let Some(known) = &former
        && known.as_of == Some(number)
        && !ours
    {
        return Ok(Arc::clone(known));
    }
    // In this order: whatever changes behind the triggers' back first disables one, and we hear of that.
    let lasting = !ours && !news::is_in_parallel() && news::is_announced(&TABLES);
    let model = models::read(instance)?;
    let spec = former.filter(|former| former.model.is_configured_as(&model)).map_or_else(OnceLock::new, |former| former.spec.clone());
    let known = Arc::new(KnownModel { model, spec, as_of: (lasting && news::number() == number).then_some(number) });
    with_known(|all| {
        if all.len() >= MOST_KNOWN {
            all.clear();
        }
        all.insert(instance.to_owned(), Arc::clone(&known));
    });
    Ok(known)
}

fn with_known<T>(work: impl FnOnce(&mut HashMap<String, Arc<KnownModel>>) -> T) -> T {
    work(KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}
