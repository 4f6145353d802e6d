//! Cohere's API, version 2 (`cohere-openapi.yaml` of cohere-ai/cohere-developer-experience).
//!
//! | ours | Cohere's |
//! |---|---|
//! | chat, stream | `POST /v2/chat`; a stream is SSE whose data say their `type`; it ends with `message-end`, and mostly with `[DONE]` |
//! | user's images | `image_url` parts, with an address or a `data:` URL |
//! | user's documents | texts become the request's `documents`, whichever message they are in; others are unsupported |
//! | thinking | `thinking` parts, both ways. There is no signature; what another provider encrypted is left out |
//! | thinking with the signature `tool_plan` | `tool_plan`: what a model says it is going to do with its tools. It goes back as such, beside the tool calls |
//! | tool result | a message of role `tool`: a text; that it is an error, the text has to say |
//! | tool choice | `REQUIRED`, `NONE`; a name: `REQUIRED`, with this tool alone |
//! | a tool's `strict` | `strict_tools`, for all of them: some yes and some no is unsupported |
//! | `top_p`, `top_k`, `stop` | `p`, `k`, `stop_sequences` |
//! | `logprobs` | `logprobs`: of the chosen tokens only; alternatives are unsupported. A piece of several tokens counts as one, with the sum |
//! | response format | `response_format` of type `json_object`, with `json_schema`, which is always enforced |
//! | reasoning | `thinking{type, token_budget}`: disabled for `none` and a budget of 0, else enabled, for there are no levels |
//! | finish | `COMPLETE`, `STOP_SEQUENCE`, `MAX_TOKENS`, `TOOL_CALL`; `ERROR` and `TIMEOUT` are failures |
//! | usage | `usage.tokens` (what was counted), else `billed_units` (far less: 12 tokens of 507); `cached_tokens` are inside the input, `reasoning_tokens` inside the output |
//! | error | `{"message": "...", "id", "error_type"}` by status, under 200, as an event, or in `message-end` |
//! | embeddings | `POST /v2/embed`, 96 texts a request; `input_type` by purpose, `search_document` where none is said, for the wire needs one |
//! | rerank | `POST /v2/rerank`; its usage is `search_units`, in the raw object only |
//! | models | `GET /v1/models`, page by page |
//!
//! Citations are left in the raw answer; a stream's are not delivered (the setting `citation_mode` turns them off, which is faster).
//!
//! † Confirmed by no real endpoint, only by the specification: documents, images, log probabilities, a budget of thinking, embeddings, the list of models,
//! every error but those for too many tokens and for a model that is gone. Compared with recorded answers: chats whole and streamed with text, tools, plans,
//! thinking and citations, a schema, rerank.

mod decode;
mod embeddings;
mod encode;
mod errors;
mod messages;
mod models;
mod rerank;
mod settings;
mod stream;

use pg_llm_guest::prelude::*;

pub use decode::decode;
pub use encode::encode;
pub use settings::{SETTINGS_SCHEMA, describe};
pub use stream::{ChatStream, decoder};

/// Signature of thinking that is a `tool_plan` on the wire.
pub const TOOL_PLAN: &str = "tool_plan";

/// The adapter.
pub struct Cohere;

impl Provider for Cohere {
    type Stream = ChatStream;

    fn describe() -> Description {
        describe()
    }

    fn encode(request: &ChatRequest, mode: Mode) -> Result<HttpRequest, Failure> {
        encode(request, mode)
    }

    fn decode(_request: &ChatRequest, response: &HttpResponse) -> Result<Answer, Failure> {
        decode(&response.body)
    }

    fn decoder(_request: &ChatRequest, _head: &ResponseHead) -> Result<ChatStream, Failure> {
        Ok(decoder())
    }

    fn refine(_request: &ChatRequest, response: &HttpResponse, failure: &mut Failure) {
        errors::refine(response, failure);
    }
}

#[cfg(feature = "component")]
pg_llm_guest::provider!(Cohere, embeddings, rerank, models);
