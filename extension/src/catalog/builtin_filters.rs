//! The filters that are part of the library. Nothing of them is read before one is named.

use pg_llm_sandbox::report::FilterDescription;

use super::embedded::{self, Embedded, Library, OnAPage, embedded};
use crate::backend::errors::SqlError;

/// A filter of ours.
pub(crate) type BuiltinFilter = embedded::Builtin<FilterDescription>;

/// Every filter that has a folder in `providers-wasm/filters/` (build.rs), which is named as the filter is.
static EMBEDDED: &[Embedded] = include!(concat!(env!("OUT_DIR"), "/filters.rs"));
static FILTERS: Library<FilterDescription> = Library::new(EMBEDDED);

/// All of them.
pub(crate) fn all() -> Result<Vec<&'static BuiltinFilter>, SqlError> {
    FILTERS.all()
}

/// Their names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    EMBEDDED.iter().map(|filter| filter.name)
}

/// The filter of this name.
pub(crate) fn find(name: &str) -> Result<Option<&'static BuiltinFilter>, SqlError> {
    names().position(|known| known == name).map(|place| FILTERS.at(place)).transpose()
}
