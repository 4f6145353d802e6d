//! Tencent Hunyuan in its native format: actions of Tencent Cloud's API 3.0, signed with TC3-HMAC-SHA256 by the host.
//!
//! Hunyuan has an OpenAI-compatible endpoint too (model type `hunyuan`), which knows more: this one is for accounts that have a pair of access keys and no
//! API key. What maps to what († : written from documentation, confirmed by no real endpoint; that is all of it, for there are no public recordings):
//!
//! | ours | theirs † |
//! |---|---|
//! | a chat | action `ChatCompletions` of version 2023-09-01, `POST /` |
//! | keys | `access_key_id` and `access_key_secret` (SecretId and SecretKey) |
//! | messages | `Messages`: `Content`, or with images `Contents` of `text` and `image_url` (an address or a `data:` URL) |
//! | tools, tool choice | `Tools`, whose `Parameters` are a text; `auto`, `none`, `custom` with `CustomTool`. `required` only where one tool is offered |
//! | sampling | `Temperature`, `TopP`, `Stop` (the answer ends behind the sequence, not before it), `Seed` in 1..=10000. No other: no bound of output tokens |
//! | response format | none |
//! | reasoning | `EnableThinking`, which `hunyuan-a13b` alone regards. Thinking comes as `ReasoningContent`, and must not be sent back |
//! | documents, logprobs | none |
//! | finish reason | `stop`, `tool_calls`, `sensitive` (content filter: what came before it is to be withdrawn); empty while the answer goes on |
//! | usage | `PromptTokens`, `CompletionTokens` (both all-inclusive), `PromptTokensDetails.CachedTokens` |
//! | errors | under status 200: `Response.Error {Code, Message}`; in a stream `ErrorMsg {Code, Msg}` |
//! | embeddings | action `GetEmbedding`: `Input`, or `InputList` of 50 texts. The model is always the same one and is not sent; 1024 numbers, of one kind for all purposes |
//!
//! A stream has no `[DONE]`: its body ends after the frame with the finish reason. Temporary keys (with a token) cannot be used.

mod content;
mod decode;
mod embeddings;
mod encode;
mod errors;
mod messages;
mod settings;
mod stream;

use pg_llm_guest::prelude::*;

pub use decode::decode;
pub use encode::encode;
pub use errors::refine;
pub use settings::describe;
pub use stream::{ChatStream, decoder};

/// The adapter.
pub struct Hunyuan;

impl Provider for Hunyuan {
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

    fn decoder(_request: &ChatRequest, head: &ResponseHead) -> Result<ChatStream, Failure> {
        Ok(decoder(head))
    }

    fn refine(_request: &ChatRequest, response: &HttpResponse, failure: &mut Failure) {
        refine(response, failure);
    }
}

#[cfg(feature = "component")]
pg_llm_guest::provider!(Hunyuan, embeddings);
