//! Amazon Bedrock: chat by the Converse API, which is one for the models of many makers; embeddings and reranking by `InvokeModel`.
//!
//! | of a request | on the wire |
//! |---|---|
//! | model: an id, an inference profile, an ARN | `POST /model/{percent-encoded}/converse`, `/converse-stream` |
//! | keys | `default` as a Bearer token (a Bedrock API key), or `access_key_id`, `access_key_secret`, `session_token` by AWS signature version 4 (setting `auth`) |
//! | system messages | `system[]`, wherever they stood |
//! | other messages | `messages[]` of alternating roles: neighbours of one role become one; results of tools are the user's; blank texts are left out |
//! | images, documents | bytes in base64, `data:` URLs, or `s3Location` for `s3://`; a document gets a name that the wire allows |
//! | thinking with a signature, or encrypted | `reasoningContent`; without a signature it is not sent back |
//! | temperature, top_p, max_tokens, stop | `inferenceConfig` |
//! | top_k | `additionalModelRequestFields`: `top_k`, for Nova `inferenceConfig.topK`, for Cohere `k` |
//! | seed, penalties, logprobs | unsupported |
//! | tools, tool choice | `toolConfig`; `none` leaves the tools out, and is unsupported in a conversation that has tool calls |
//! | response format: a schema | `outputConfig.textFormat`, or a tool that must be called (setting `schema_style`); JSON without a schema is unsupported |
//! | reasoning: effort | Claude `thinking{adaptive}` and `output_config.effort`, Nova `reasoningConfig`, GPT `reasoning.effort`†, gpt-oss and Kimi `reasoning_effort`, each in `additionalModelRequestFields` |
//! | reasoning: budget | Claude `thinking{enabled, budget_tokens}`; else unsupported |
//!
//! | of an answer | from the wire |
//! |---|---|
//! | id | `x-amzn-requestid`: there is no other |
//! | input tokens | `inputTokens` plus `cacheReadInputTokens` plus `cacheWriteInputTokens`, which stand beside it, unless `totalTokens` shows them inside |
//! | output tokens | `outputTokens`; reasoning is in it and not told apart |
//! | calls of tools that the provider runs itself | left out; the raw answer has them |
//! | stream | binary messages ([`pg_llm_guest::event_stream`]); the usage comes after the end of the message |
//!
//! | embeddings | request | answer |
//! |---|---|---|
//! | Titan | `inputText, dimensions, normalize`; multimodal: `embeddingConfig.outputEmbeddingLength`† | `embedding, inputTextTokenCount` |
//! | Cohere, up to 96 | `texts, input_type, output_dimension` | `embeddings[]`, or `embeddings.float[]`; tokens in a header |
//! | Nova† | `taskType, singleEmbeddingParams` | `embeddings[].embedding` |
//!
//! The models' list is another endpoint's, and so not to be had. † No recorded answer of a real endpoint has confirmed this, nor reranking, nor caching's
//! counts, nor a stream's exceptions; they are written from the API's published model and documentation.

mod content;
mod decode;
mod embeddings;
mod encode;
mod errors;
mod media;
mod messages;
mod refusal;
mod rerank;
mod settings;
mod stream;

use pg_llm_guest::prelude::*;

pub use decode::decode;
pub use encode::encode;
pub use errors::refine;
pub use settings::{SETTINGS_SCHEMA, Wire};
pub use stream::{ConverseStream, decoder};

/// The adapter.
pub struct Bedrock;

impl Provider for Bedrock {
    type Stream = ConverseStream;

    fn describe() -> Description {
        let mut profile = Profile::new("bedrock")
            .key("default", false, "Bedrock API key, from the Bedrock console; or access_key_id and access_key_secret")
            .key("access_key_id", false, "access key of an IAM user or role, to sign requests instead of sending a key")
            .key("access_key_secret", false, "its secret")
            .key("session_token", false, "its session token, for temporary credentials")
            .capabilities(
                Capabilities::STREAM
                    | Capabilities::TOOLS
                    | Capabilities::JSON_SCHEMA
                    | Capabilities::VISION
                    | Capabilities::DOCUMENTS
                    | Capabilities::THINKING
                    | Capabilities::EMBEDDINGS
                    | Capabilities::RERANK,
            );
        profile.aliases = vec!["aws-bedrock".to_owned()];
        Description::new(
            "bedrock",
            env!("CARGO_PKG_VERSION"),
            "Amazon Bedrock's Converse API; api_endpoint is https://bedrock-runtime.REGION.amazonaws.com.",
        )
        .profile(profile)
        .settings_schema(SETTINGS_SCHEMA)
    }

    fn encode(request: &ChatRequest, mode: Mode) -> Result<HttpRequest, Failure> {
        encode(request, mode)
    }

    fn decode(request: &ChatRequest, response: &HttpResponse) -> Result<Answer, Failure> {
        decode(request, response)
    }

    fn decoder(request: &ChatRequest, head: &ResponseHead) -> Result<ConverseStream, Failure> {
        decoder(request, head)
    }

    fn refine(_request: &ChatRequest, response: &HttpResponse, failure: &mut Failure) {
        refine(response, failure);
    }
}

impl Embeddings for Bedrock {
    fn max_inputs(model: &str, settings: &str) -> u32 {
        embeddings::max_inputs(model, settings)
    }

    fn encode_embed(request: &EmbedRequest) -> Result<HttpRequest, Failure> {
        embeddings::encode(request)
    }

    fn decode_embed(_request: &EmbedRequest, response: &HttpResponse) -> Result<EmbedAnswer, Failure> {
        embeddings::decode(response)
    }

    fn refine_embed(_request: &EmbedRequest, response: &HttpResponse, failure: &mut Failure) {
        refine(response, failure);
    }
}

impl Rerank for Bedrock {
    fn encode_rerank(request: &RerankRequest) -> Result<HttpRequest, Failure> {
        rerank::encode(request)
    }

    fn decode_rerank(_request: &RerankRequest, response: &HttpResponse) -> Result<RerankAnswer, Failure> {
        rerank::decode(response)
    }

    fn refine_rerank(_request: &RerankRequest, response: &HttpResponse, failure: &mut Failure) {
        refine(response, failure);
    }
}

#[cfg(feature = "component")]
pg_llm_guest::provider!(Bedrock, embeddings, rerank);
