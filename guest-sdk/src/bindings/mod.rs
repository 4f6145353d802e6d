//! Bindings of `guest-sdk/wit`, made by wit-bindgen's generator and checked in, so that a guest build needs no generator.
//! `guest-sdk/componentize/tests/bindings.rs` compares them with the WIT, and writes them anew.
//!
//! One module a world. The worlds beside `provider` share its types. Only the world whose `export_*!` macro is invoked ends in the component's type,
//! so a provider exports what it has and nothing else.
#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::pedantic,
    clippy::panic,
    clippy::unwrap_used
)]

#[rustfmt::skip]
pub mod batches_provider;
#[rustfmt::skip]
pub mod embeddings_provider;
#[rustfmt::skip]
pub mod filter;
#[rustfmt::skip]
pub mod fine_tuning_provider;
#[rustfmt::skip]
pub mod models_provider;
#[rustfmt::skip]
pub mod provider;
#[rustfmt::skip]
pub mod rerank_provider;
