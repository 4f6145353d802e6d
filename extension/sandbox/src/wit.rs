//! The guest contract's host side, generated from `guest-sdk/wit`.

#![allow(missing_docs, clippy::all, clippy::pedantic)]

wasmtime::component::bindgen!({
    path: "../../guest-sdk/wit/1.0.0",
    world: "provider",
    with: { "pg-llm:guest/http.response": crate::capabilities::http::Response },
    imports: { default: trappable },
    additional_derives: [PartialEq],
});
