//! Ollama's native API (`docs/api.md` and `api/types.go` of ollama/ollama): a server of one's own, or its cloud at `https://ollama.com`.
//!
//! | ours | Ollama's |
//! |---|---|
//! | chat, stream | `POST /api/chat` with `stream` (which defaults to true: always sent); a stream is NDJSON |
//! | system, user, assistant | one message each: `content` is one text, `images` stand beside it, `thinking` and `tool_calls` too |
//! | tool result | a message of role `tool` with `tool_name` (looked up in the calls before it when the caller gave none) and `tool_call_id` |
//! | tool call | `function{name, arguments}`: arguments are an object both ways; an id that is missing is invented |
//! | image | base64; an address is unsupported, and so are documents |
//! | `temperature`, `top_p`, `top_k`, `seed`, `stop`, penalties | in `options` |
//! | `max_tokens` | `options.num_predict` |
//! | `logprobs` | `logprobs`, `top_logprobs` (0 to 20) |
//! | response format | `format`: `"json"` or the schema, which is always enforced |
//! | reasoning | `think`: false for `none` and a budget of 0, else the word (`low`, `medium`, `high`, `max`); a budget is unsupported |
//! | tool choice | `none`: no tools are sent; `required` and a name are unsupported |
//! | finish | `done_reason`: `stop` (`tool-calls` when there were any), `length`, else its word (`load`, `unload`); `done: true` without a reason is `stop` |
//! | usage | `prompt_eval_count` (older servers leave it out when the whole prompt was cached: unknown) and `eval_count`; raw: all counts and durations (ns) |
//! | error | `{"error": "..."}` by status, under 200, or as a line of the stream |
//! | embeddings | `POST /api/embed`; a purpose has no place on the wire, and needs none: these models' prefixes are part of the text |
//! | models | `GET /api/tags` |
//!
//! `extra_body` is merged member by member, and within `options` too: there Ollama keeps all of its parameters.
//!
//! Answers of `/api/generate` (`response` instead of `message`) are understood as well, for servers in between that use it.
//!
//! † Confirmed by no real endpoint, only by the sources of the server. So are log probabilities, `max` as a level of thinking, errors of the cloud, embeddings
//! and the list of models; chats whole, and `/api/generate` whole and streamed, were compared with recorded answers.

mod decode;
mod embeddings;
mod encode;
mod errors;
mod messages;
mod models;
mod settings;
mod stream;

use pg_llm_guest::prelude::*;

pub use decode::decode;
pub use encode::encode;
pub use errors::refine;
pub use settings::{SETTINGS_SCHEMA, describe};
pub use stream::{ChatStream, decoder};

/// The adapter.
pub struct Ollama;

impl Provider for Ollama {
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

    fn refine(_request: &ChatRequest, _response: &HttpResponse, failure: &mut Failure) {
        refine(failure);
    }
}

#[cfg(feature = "component")]
pg_llm_guest::provider!(Ollama, embeddings, models);
