//! Where names without a schema are looked up.

use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

/// The schemas of the current `search_path` that there are, in its order; without those that are searched whatever it says, and without the system's.
pub(crate) fn schemas() -> Vec<Oid> {
    // SAFETY: a list of oids that is ours; as many elements as it says.
    let listed: Vec<Oid> = unsafe {
        let list = pg_sys::fetch_search_path(false);
        let Some(found) = list.as_ref() else { return Vec::new() };
        let count = usize::try_from(found.length).unwrap_or(0);
        (0..count).map(|at| (*found.elements.add(at)).oid_value).collect()
    };
    listed.into_iter().filter(|schema| schema.to_u32() != pg_sys::PG_CATALOG_NAMESPACE).collect()
}
