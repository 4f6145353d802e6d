//! The budgets of roles, remembered as models are ([`super::known_models`]), so that a call where there are none asks no table.

use std::ffi::CStr;
use std::sync::{Arc, Mutex, PoisonError};

use super::budgets::{self, RoleBudget};
use crate::backend::errors::SqlError;
use crate::backend::news;

/// With the news number that they were read under.
static KNOWN: Mutex<Option<(u64, Arc<[RoleBudget]>)>> = Mutex::new(None);

const TABLES: [&CStr; 1] = [c"budgets"];

/// Those that are committed now, and as this transaction has changed them.
pub(super) fn all() -> Result<Arc<[RoleBudget]>, SqlError> {
    let number = news::number();
    let ours = news::is_ours();
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((as_of, budgets)) = &*known()
        && *as_of == number
        && !ours
    {
        return Ok(Arc::clone(budgets));
    }
    let lasting = !ours && !news::is_in_parallel() && news::is_announced(&TABLES);
    let budgets: Arc<[RoleBudget]> = budgets::read()?.into();
    *known() = (lasting && news::number() == number).then(|| (number, Arc::clone(&budgets)));
    Ok(budgets)
}
