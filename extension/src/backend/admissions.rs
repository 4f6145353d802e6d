//! Where the callers of a model meet: in shared memory, else in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pg_llm_gateway::admission::{Admission, Limits, Local, Shown};
use pgrx::{PgLogLevel, pg_sys};

use super::admission_table::{Key, SLOTS, SharedModel};
use super::{errors, shared_memory};

/// In a static, and so never dropped: a process may end in the midst of a call. What a session knows of its own limits must not be forgotten between two calls.
static KNOWN: Mutex<Option<HashMap<String, Arc<dyn Admission>>>> = Mutex::new(None);
/// Beyond this many models those are forgotten that nobody calls.
const MOST_KNOWN: usize = 4096;

/// That of the model `instance` of this database. On the main thread.
pub(crate) fn of(instance: &str) -> Arc<dyn Admission> {
    if let Some(known) = with_known(|known| known.get(instance).cloned()) {
        return known;
    }
    let admission: Arc<dyn Admission> = if shared_memory::is_there() {
        shared_memory::at_exit();
        let model = shared_model(instance);
        if !model.has_slot() {
            warn_once();
        }
        Arc::new(model)
    } else {
        Arc::new(Local::new())
    };
    with_known(|known| {
        if known.len() >= MOST_KNOWN {
            known.retain(|_, admission| Arc::strong_count(admission) > 1);
        }
        known.insert(instance.to_owned(), Arc::clone(&admission));
    });
    admission
}

/// The state of the model `instance` of this database, the time by its clock, and whether all sessions share it. Takes no room for a model that nobody has called.
pub(crate) fn show(instance: &str, limits: &Limits) -> (Option<Shown>, u64, bool) {
    let admission = with_known(|known| known.get(instance).cloned()).unwrap_or_else(|| Arc::new(shared_model(instance)));
    let shown = admission.show(limits);
    let shared = shared_memory::is_there() && (shown.is_none() || admission.is_shared());
    (shown, admission.now(), shared)
}

fn shared_model(instance: &str) -> SharedModel {
    // SAFETY: reads the backend's state, set when it connected.
    SharedModel::new(Key::new(unsafe { pg_sys::MyDatabaseId }.to_u32(), instance))
}

fn with_known<T>(work: impl FnOnce(&mut HashMap<String, Arc<dyn Admission>>) -> T) -> T {
    work(KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

fn warn_once() {
    use std::sync::atomic::{AtomicBool, Ordering};
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        let text = format!(
            "pg_llm: limits of more than {SLOTS} models cannot be shared at the same time; those of others count in this session alone"
        );
        errors::emit(PgLogLevel::WARNING, &text);
    }
}
