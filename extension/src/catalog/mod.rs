//! Typed access to the extension's tables, and the providers and filters that are part of the library.

pub(crate) mod budgets;
pub(crate) mod builtin;
pub(crate) mod builtin_filters;
pub(crate) mod default_privileges;
mod embedded;
pub(crate) mod feedback;
pub(crate) mod filters;
pub(crate) mod grants;
pub(crate) mod jobs;
pub(crate) mod keys;
mod known_budgets;
mod known_filters;
mod known_models;
pub(crate) mod ledger;
pub(crate) mod models;
pub(crate) mod module_state;
pub(crate) mod modules;
pub(crate) mod notes;
mod provider_versions;
mod query;
pub(crate) mod response_cache;
pub(crate) mod route;
pub(crate) mod schema_vectors;
pub(crate) mod sessions;
pub(crate) mod user_tables;
pub(crate) mod vector_type;
