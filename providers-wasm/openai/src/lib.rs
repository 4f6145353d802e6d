//! OpenAI's Chat Completions, and everything that speaks it: one adapter, whose profiles say as data where endpoints differ. Beside chat it has embeddings,
//! reranking and the list of models; with the setting `api` a chat goes by Responses instead.
//!
//! [`OpenAi`] is the provider. A crate for a further endpoint takes this library with `default-features = false` and calls [`encode`], [`decode`],
//! [`decoder`] and [`refine`] from a [`Provider`] of its own (`guest-sdk/examples/acme.rs` does it in less than 60 lines).
//!
//! How each endpoint reports usage, and what [`usage`](mod@usage) makes of it:
//!
//! | endpoint | input | output | cached | reasoning |
//! |---|---|---|---|---|
//! | OpenAI, Azure, Groq, most | `prompt_tokens` | `completion_tokens` | `prompt_tokens_details.cached_tokens`, inside | `completion_tokens_details.reasoning_tokens`, inside |
//! | DeepSeek | `prompt_tokens` | `completion_tokens` | `prompt_cache_hit_tokens`, inside | as OpenAI |
//! | Moonshot | `prompt_tokens` | `completion_tokens` | `cached_tokens`, inside | as OpenAI |
//! | xAI | `prompt_tokens` | `completion_tokens` **plus** reasoning (then `total_tokens` says so) | as OpenAI | as OpenAI |
//! | Groq's streams | in `x_groq.usage` | | | |
//!
//! | Responses, of all | `input_tokens` | `output_tokens` | `input_tokens_details.cached_tokens`, inside | `output_tokens_details.reasoning_tokens`, inside |
//! | embeddings, reranking | `prompt_tokens`, else `total_tokens` | | | |
//!
//! Not confirmed by a recorded answer of a real endpoint (†): Responses' `response.failed` and `error` events, log probabilities and refusals; embeddings of
//! Hunyuan, Zhipu, xAI and llama.cpp; reranking but OpenRouter's; lists of models but Perplexity's; Azure's paths of Responses and of models.
//!
//! To add an endpoint: a row in `profiles.rs`; if it differs in a new way, a setting in `settings.rs` and its line in the schema there; a golden file of what
//! is sent (`tests/sent.rs`); its answers in `tests/answers.rs`.

mod content;
mod decode;
mod embeddings;
mod encode;
mod errors;
mod messages;
mod models;
mod profiles;
mod rerank;
mod responses;
mod settings;
mod stream;
pub mod usage;

use pg_llm_guest::prelude::*;

pub use decode::decode;
pub use encode::encode;
pub use errors::refine;
pub use profiles::describe;
pub use settings::{SETTINGS_SCHEMA, Wire};
pub use stream::{ChatStream, decoder};

/// The adapter.
pub struct OpenAi;

impl Provider for OpenAi {
    type Stream = ChatStream;

    fn describe() -> Description {
        describe()
    }

    fn encode(request: &ChatRequest, mode: Mode) -> Result<HttpRequest, Failure> {
        encode(request, mode)
    }

    fn decode(request: &ChatRequest, response: &HttpResponse) -> Result<Answer, Failure> {
        decode(request, response)
    }

    fn decoder(request: &ChatRequest, head: &ResponseHead) -> Result<ChatStream, Failure> {
        decoder(request, head)
    }

    fn refine(request: &ChatRequest, response: &HttpResponse, failure: &mut Failure) {
        refine(request, response, failure);
    }
}

#[cfg(feature = "component")]
pg_llm_guest::provider!(OpenAi, embeddings, rerank, models);
