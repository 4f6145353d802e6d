//! Where the account of a budget is: in shared memory, else in this process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pg_llm_gateway::budget::Period;
use pg_llm_gateway::price::Currency;
use pgrx::pg_sys::Oid;
use pgrx::{PgLogLevel, pg_sys};

use super::admission_table::Key;
pub(crate) use super::budget_table::{SharedAccount, now};
use super::{budget_table, errors, shared_memory};

/// Whose spending a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope<'a> {
    /// On a model, by all.
    Model(&'a str),
    /// Of a role, on one model or on all. 0: of all roles together.
    Role(Oid, Option<&'a str>),
    /// Of a role, for `pg_llm.token_budget`.
    Setting(Oid),
}

/// In a static, and so never dropped: what a session knows of its own spending must not be forgotten between two calls.
static KNOWN: Mutex<Option<HashMap<Key, Arc<SharedAccount>>>> = Mutex::new(None);
/// Beyond this many budgets those are forgotten that nobody uses.
const MOST_KNOWN: usize = 4096;

/// The account of a budget of this database. On the main thread.
pub(crate) fn account(scope: Scope<'_>, period: Period, currency: Currency) -> Arc<SharedAccount> {
    // No name has a control character.
    let word = period.word();
    let text = match scope {
        Scope::Model(instance) => format!("model\0{instance}\0{word}\0{currency}"),
        Scope::Role(role, instance) => format!("role\0{}\0{}\0{word}\0{currency}", role.to_u32(), instance.unwrap_or_default()),
        Scope::Setting(role) => format!("setting\0{}\0{word}", role.to_u32()),
    };
    // SAFETY: reads the backend's state, set when it connected.
    let key = Key::new(unsafe { pg_sys::MyDatabaseId }.to_u32(), &text);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    if let Some(account) = known.get(&key) {
        return Arc::clone(account);
    }
    let account = Arc::new(SharedAccount::new(key));
    if shared_memory::is_there() {
        shared_memory::at_exit();
        if !account.is_shared() {
            warn_once();
        }
    }
    if known.len() >= MOST_KNOWN {
        known.retain(|_, account| Arc::strong_count(account) > 1);
    }
    known.insert(key, Arc::clone(&account));
    account
}

fn warn_once() {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        let text = format!(
            "pg_llm: more than {} budgets cannot be shared at the same time; others count in this session, and what the ledger has of all",
            budget_table::SLOTS
        );
        errors::emit(PgLogLevel::WARNING, &text);
    }
}
