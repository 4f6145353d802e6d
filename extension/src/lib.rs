//! `pg_llm`: language models callable from SQL. This crate is the PostgreSQL side: functions, catalog, settings, roles, interrupts, SQLSTATEs.
//!
//! What is called is in `pg_llm_gateway` (LLM policy) and `pg_llm_sandbox` (WebAssembly, HTTP, keys), which know nothing of Postgres.
//!
//! Errors travel as values; Postgres's own come as panics and are only raised again at the very top, in `backend::errors`. That needs unwinding:
#![deny(ffi_unwind_calls)]

#[cfg(not(panic = "unwind"))]
compile_error!("pg_llm needs panic = \"unwind\": an error must unwind Rust's frames before Postgres raises it");

mod api;
mod backend;
mod catalog;

pgrx::pg_module_magic!(name, version);

/// Called when the library is loaded, under `shared_preload_libraries` in the postmaster. Registers settings and
/// shared memory; starts nothing.
#[allow(non_snake_case)]
#[pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    backend::errors::install_panic_hook();
    backend::gucs::define();
    backend::shared_memory::register();
    backend::job_starter::register();
}
