//! Alibaba Cloud Model Studio in its native format (DashScope): text and multimodal generation, text embeddings, rerank, the list of models.
//!
//! What maps to what († : written from documentation, confirmed by no real endpoint):
//!
//! | ours | theirs |
//! |---|---|
//! | a chat | `POST /api/v1/services/aigc/text-generation/generation`; with images, or as the setting `multimodal` says, `.../multimodal-generation/generation` |
//! | a stream | `X-DashScope-SSE: enable`, `parameters.incremental_output`; events `result` and `error` |
//! | messages | `input.messages`; content is a text, at the multimodal endpoint a list of `{text}` and `{image}` (an address or a `data:` URL) |
//! | sampling | `parameters`: `temperature`, `top_p` (kept off 0 and 1), `top_k`, `max_tokens`, `stop`, `seed`, `presence_penalty`; no `frequency_penalty` |
//! | logprobs | `logprobs`, `top_logprobs`; the choice's `logprobs.content` |
//! | tools, tool choice | `tools`; `auto`, `none`, one by name. `required` only where one tool is offered |
//! | response format | `response_format`: `json_object`, `json_schema` † |
//! | reasoning | `enable_thinking`, `thinking_budget`; `reasoning_effort` where the setting of that name says so †. Thinking comes as `reasoning_content` |
//! | documents | not at all: `qwen-long` takes file ids, in texts of the form `fileid://...` |
//! | usage | `input_tokens`, `output_tokens` (both all-inclusive), `prompt_tokens_details.cached_tokens`, `output_tokens_details.reasoning_tokens`; embeddings and rerank only have `total_tokens`, which is the input's |
//! | `extra_body` | over the body member by member; `parameters` and `input` are themselves merged member by member |
//! | embeddings | `POST /api/v1/services/embeddings/text-embedding/text-embedding`: `text_type` (query or document), `dimension` |
//! | rerank | `POST /api/v1/services/rerank/text-rerank/text-rerank` |
//! | models | `GET /api/v1/models` † |
//!
//! A stream's frames hold increments, or each the whole so far, whatever was asked: [`increments`](mod@increments) tells them apart.
//! `finish_reason` is the text `null` while the answer goes on. `insufficient_quota` and `Throttling.*` are throttles of a minute, and no lack of credit.

mod content;
mod decode;
mod embeddings;
mod encode;
mod errors;
pub mod increments;
mod messages;
mod models;
mod profiles;
mod rerank;
mod settings;
mod stream;
mod usage;

use pg_llm_guest::prelude::*;

pub use decode::decode;
pub use encode::encode;
pub use errors::refine;
pub use profiles::describe;
pub use stream::{ChatStream, decoder};

/// The adapter.
pub struct DashScope;

impl Provider for DashScope {
    type Stream = ChatStream;

    fn describe() -> Description {
        describe()
    }

    fn encode(request: &ChatRequest, mode: Mode) -> Result<HttpRequest, Failure> {
        encode(request, mode)
    }

    fn decode(_request: &ChatRequest, response: &HttpResponse) -> Result<Answer, Failure> {
        decode(response)
    }

    fn decoder(request: &ChatRequest, _head: &ResponseHead) -> Result<ChatStream, Failure> {
        decoder(request)
    }

    fn refine(_request: &ChatRequest, _response: &HttpResponse, failure: &mut Failure) {
        refine(failure);
    }
}

#[cfg(feature = "component")]
pg_llm_guest::provider!(DashScope, embeddings, rerank, models);
