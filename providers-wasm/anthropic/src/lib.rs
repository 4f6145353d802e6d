//! Anthropic's Messages API, for Claude and for servers that speak the same format.
//!
//! | of a request | on the wire |
//! |---|---|
//! | system messages | `system`, as one text or as a list of texts; after the first message of another role still there, or in their place with `system_in_place` |
//! | user messages, tool results | `user` messages, consecutive ones merged; a result is a `tool_result` block with `is_error` |
//! | images | `image` blocks, base64 or `url` |
//! | documents | `document` blocks: PDF as base64, text as text, `url` |
//! | thinking | `thinking` and `redacted_thinking` blocks, byte for byte as they came; without a signature (from another provider) left out |
//! | `max_tokens` | `max_tokens`, which the wire requires: else the setting of this name, plus the budget of thinking |
//! | `tools`, `tool_choice` | `tools[{name, description, input_schema, strict}]`, `tool_choice{auto, any, tool, none}` |
//! | a JSON schema | `output_config.format`, or with `schema_style` `tool` a tool that must be called, whose input is then the answer's text |
//! | reasoning: effort | `output_config.effort` and `thinking{adaptive}`; `none` is `thinking{disabled}` |
//! | reasoning: budget | `thinking{enabled, budget_tokens}`; 0 is `thinking{disabled}` |
//! | seed, penalties, logprobs, a JSON object without a schema | refused: the wire has no place for them |
//! | the hint `detail` of an image, `strict` of a JSON schema | not sent: a hint, and always so |
//!
//! | of an answer | becomes |
//! |---|---|
//! | `text`, `thinking`, `redacted_thinking`, `tool_use` blocks | parts in the order of the wire, neighbouring texts joined |
//! | blocks of tools that run at the provider, citations | nothing: they are in `raw` of a whole answer |
//! | `usage` | input = `input_tokens` + `cache_creation_input_tokens` + `cache_read_input_tokens`; of a stream, `message_start`'s with `message_delta`'s over it |
//! | `end_turn`, `stop_sequence` | stop |
//! | `max_tokens`, `model_context_window_exceeded` | length |
//! | `tool_use` | tool-calls |
//! | `refusal` | content-filter |
//! | `pause_turn` and words that are not known | other |
//!
//! The default endpoint is the host alone, and paths begin with `/v1`. For an endpoint that ends in `/v1` already set `path_prefix` to an empty text.
//!
//! Not confirmed by a recorded answer of a real endpoint (†): `redacted_thinking`, citations, `pause_turn`, `model_context_window_exceeded`,
//! `billing_error`, errors in the middle of a stream, the list of models, documents, `cache_control`, system messages in place. They are as the
//! provider's reference and client libraries have them.

mod decode;
mod encode;
mod errors;
mod messages;
mod models;
mod settings;
mod stream;

use pg_llm_guest::prelude::*;

pub use decode::{decode, usage};
pub use encode::encode;
pub use errors::refine;
pub use settings::{SETTINGS_SCHEMA, Wire};
pub use stream::{MessageStream, decoder};

/// The adapter.
pub struct Anthropic;

impl Provider for Anthropic {
    type Stream = MessageStream;

    fn describe() -> Description {
        let profile = Profile::new("anthropic")
            .endpoint("https://api.anthropic.com")
            .key("default", true, "API key, from https://platform.claude.com/settings/keys")
            .capabilities(
                Capabilities::STREAM
                    | Capabilities::TOOLS
                    | Capabilities::JSON_SCHEMA
                    | Capabilities::VISION
                    | Capabilities::DOCUMENTS
                    | Capabilities::THINKING
                    | Capabilities::LIST_MODELS,
            );
        Description::new("anthropic", env!("CARGO_PKG_VERSION"), "Anthropic's Messages API.")
            .profile(Profile { aliases: vec!["claude".to_owned()], ..profile })
            .settings_schema(SETTINGS_SCHEMA)
    }

    fn encode(request: &ChatRequest, mode: Mode) -> Result<HttpRequest, Failure> {
        encode(request, mode)
    }

    fn decode(request: &ChatRequest, response: &HttpResponse) -> Result<Answer, Failure> {
        decode(request, response)
    }

    fn decoder(request: &ChatRequest, _head: &ResponseHead) -> Result<MessageStream, Failure> {
        decoder(request)
    }

    fn refine(_request: &ChatRequest, _response: &HttpResponse, failure: &mut Failure) {
        refine(failure);
    }
}

#[cfg(feature = "component")]
pg_llm_guest::provider!(Anthropic, models);
