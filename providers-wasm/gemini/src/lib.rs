//! Google's Gemini API, also on Vertex AI.
//!
//! | ours | theirs |
//! |---|---|
//! | system messages | `systemInstruction`, all of them, text only |
//! | user, assistant | contents of role `user`, `model` |
//! | tool results | `functionResponse`s in one content of role `user`: `{"output": text}`, or `{"error": text}`; the name is found in the call |
//! | tool calls | `functionCall`; an id that we invented (`call-0`) is not sent back, and none to version 1 of Vertex AI, which has no ids |
//! | [`ToolCall::signature`] | `thoughtSignature` of the call's part |
//! | [`Thinking`] | part with `thought: true`; sent back only with its signature |
//! | [`Thinking`] without text | `thoughtSignature` of the text before it, else of the next |
//! | bytes, `data:` addresses | `inlineData` |
//! | other addresses | `fileData`; the type is read off the address where none is said |
//! | `detail` | `generationConfig.mediaResolution`, the finest that is asked for |
//! | tools, with `strict` | `functionDeclarations[].parametersJsonSchema`, mode `VALIDATED` |
//! | tool choice | `AUTO` or `VALIDATED`, `NONE`, `ANY`, `ANY` with `allowedFunctionNames` |
//! | response format | `responseMimeType`, `responseJsonSchema` |
//! | effort | `thinkingLevel`; `thinkingBudget` for Gemini 2.5, as Google's OpenAI-compatible endpoint counts it; `none` is a budget of 0 |
//! | input tokens | `promptTokenCount` + `toolUsePromptTokenCount`; `cachedContentTokenCount` is inside |
//! | output tokens | `candidatesTokenCount` + `thoughtsTokenCount` |
//! | `STOP` with a call | tool-calls |
//! | `SAFETY`, `RECITATION`, `BLOCKLIST`, `PROHIBITED_CONTENT`, `SPII`, `MODEL_ARMOR`, `IMAGE_...` of these | content-filter |
//! | blocked prompt, which has no candidate | an empty answer with content-filter, or with the setting `blocked_prompt` a failure with the provider's words |
//! | any other finish reason | as it is |
//! | purpose of embeddings | `taskType`; for Gemini Embedding 2, which ignores that, the words before the text that Google documents |
//! | `RESOURCE_EXHAUSTED` | rate-limit; quota when the limit is 0, or when no time to come back is given and a day's quota or the bill is named |
//!
//! The finish reason is told at the end of the body: older models repeat `STOP` in every chunk, and nothing else ends a stream.
//!
//! A call that another provider's model made has no signature, and Gemini 3 refuses it within the current turn. Google documents the signature
//! `skip_thought_signature_validator` for that; it is the caller's to set.
//!
//! Parts that are neither text nor call (code that Google ran, its output, media that the model made) are only in the raw response.
//!
//! No real endpoint has confirmed: Vertex AI with an API key (express mode), its `embedContent`, its list of models; `VALIDATED`; the numbers for
//! finish reasons; addresses in `fileData` that are not Google's own; `[DONE]` and bare JSON between events beyond what Google's clients expect.

mod arguments;
mod contents;
mod decode;
mod describe;
mod embeddings;
mod encode;
mod errors;
mod media;
mod models;
mod settings;
mod stream;
mod turn;
mod usage;
mod values;

use pg_llm_guest::prelude::*;

pub use decode::decode;
pub use describe::describe;
pub use encode::encode;
pub use settings::SETTINGS_SCHEMA;
pub use stream::{ChatStream, decoder};

/// The adapter.
pub struct Gemini;

impl Provider for Gemini {
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

    fn refine(_request: &ChatRequest, response: &HttpResponse, failure: &mut Failure) {
        errors::refine(response, failure);
    }
}

impl Embeddings for Gemini {
    fn max_inputs(model: &str, settings: &str) -> u32 {
        embeddings::max_inputs(model, settings)
    }

    fn encode_embed(request: &EmbedRequest) -> Result<HttpRequest, Failure> {
        embeddings::encode(request)
    }

    fn decode_embed(request: &EmbedRequest, response: &HttpResponse) -> Result<EmbedAnswer, Failure> {
        embeddings::decode(request, response)
    }

    fn refine_embed(_request: &EmbedRequest, response: &HttpResponse, failure: &mut Failure) {
        errors::refine(response, failure);
    }
}

impl Models for Gemini {
    fn encode_list(settings: &str, cursor: Option<&str>) -> Result<HttpRequest, Failure> {
        models::encode(settings, cursor)
    }

    fn decode_list(_settings: &str, response: &HttpResponse) -> Result<(Vec<ModelInfo>, Option<String>), Failure> {
        models::decode(response)
    }

    fn refine_list(_settings: &str, response: &HttpResponse, failure: &mut Failure) {
        errors::refine(response, failure);
    }
}

#[cfg(feature = "component")]
pg_llm_guest::provider!(Gemini, embeddings, models);
