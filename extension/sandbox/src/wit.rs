//! The guest contract's host side, generated from `guest-sdk/wit`.

#![allow(missing_docs, clippy::all, clippy::pedantic)]

wasmtime::component::bindgen!({
    path: "../../guest-sdk/wit/1.0.0",
    world: "provider",
    with: { "pg-llm:guest/http.response": crate::capabilities::http::Response },
    imports: { default: trappable },
    additional_derives: [PartialEq],
});

/// The optional capabilities: each a world of its own, with the records and the host functions of `provider`.
macro_rules! optional {
    ($module:ident, $world:literal) => {
        pub(crate) mod $module {
            wasmtime::component::bindgen!({
                path: "../../guest-sdk/wit/1.0.0",
                world: $world,
                with: {
                    "pg-llm:guest/types": crate::wit::pg_llm::guest::types,
                    "pg-llm:guest/keys": crate::wit::pg_llm::guest::keys,
                    "pg-llm:guest/http": crate::wit::pg_llm::guest::http,
                    "pg-llm:guest/log": crate::wit::pg_llm::guest::log,
                },
                imports: { default: trappable },
                additional_derives: [PartialEq],
            });
        }
    };
}
optional!(embeddings, "embeddings-provider");
optional!(rerank, "rerank-provider");
optional!(models, "models-provider");

pub(crate) mod filter {
    wasmtime::component::bindgen!({
        path: "../../guest-sdk/wit/1.0.0",
        world: "filter",
        with: {
            "pg-llm:guest/types": crate::wit::pg_llm::guest::types,
            "pg-llm:guest/log": crate::wit::pg_llm::guest::log,
        },
        imports: { default: trappable },
        additional_derives: [PartialEq],
    });
}
