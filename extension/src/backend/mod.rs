//! What is the business of a Postgres process. `unsafe` lives here, in small modules, and in `catalog/query.rs`.

mod admission_table;
pub(crate) mod admissions;
pub(crate) mod calls;
mod child_process;
mod client;
pub(crate) mod compiler_process;
pub(crate) mod cursor;
pub(crate) mod data_directory;
pub(crate) mod descriptors;
pub(crate) mod egress;
pub(crate) mod elements;
pub(crate) mod encoding;
pub(crate) mod errors;
pub(crate) mod gucs;
pub(crate) mod interrupts;
pub(crate) mod key_file;
pub(crate) mod news;
pub(crate) mod privileges;
mod row_guard;
pub(crate) mod rows;
pub(crate) mod runtime;
pub(crate) mod shared_memory;
pub(crate) mod stack;
pub(crate) mod transaction;
mod vectors;
