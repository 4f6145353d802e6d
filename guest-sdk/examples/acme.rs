//! A provider for an endpoint that speaks OpenAI's wire format, with a header of its own and an error code that OpenAI does not know. This is all of it.
//!
//! ```sh
//! cd providers-wasm && cargo build --release --target wasm32-unknown-unknown -p pg-llm-guest --example acme
//! pg_llm_componentize target/wasm32-unknown-unknown/release/examples/acme.wasm acme.wasm
//! ```

use pg_llm_guest::prelude::*;
use pg_llm_provider_openai as openai;

/// The adapter.
pub struct Acme;

impl Provider for Acme {
    type Stream = openai::ChatStream;

    fn describe() -> Description {
        Description::new("acme", "1.0.0", "Models of Acme Corporation.")
            .profile(
                Profile::new("acme")
                    .endpoint("https://models.acme.example/v1")
                    .key("default", true, "API key, from https://acme.example/keys")
                    .capabilities(Capabilities::STREAM | Capabilities::TOOLS)
                    .settings(&json!({ "max_tokens_field": "max_tokens" })),
            )
            .settings_schema(openai::SETTINGS_SCHEMA)
    }

    fn encode(request: &ChatRequest, mode: Mode) -> Result<HttpRequest, Failure> {
        Ok(openai::encode(request, mode)?.header("x-acme-client", "pg_llm"))
    }

    fn decode(request: &ChatRequest, response: &HttpResponse) -> Result<Answer, Failure> {
        openai::decode(request, response)
    }

    fn decoder(request: &ChatRequest, head: &ResponseHead) -> Result<openai::ChatStream, Failure> {
        openai::decoder(request, head)
    }

    fn refine(request: &ChatRequest, response: &HttpResponse, failure: &mut Failure) {
        openai::refine(request, response, failure);
        if failure.code.as_deref() == Some("anvils_are_out") {
            failure.kind = FailureKind::Overloaded;
        }
    }
}

pg_llm_guest::provider!(Acme);
