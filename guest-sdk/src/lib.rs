//! SDK for guests of `pg_llm`: model providers and filters, written in Rust, run as WebAssembly components in a sandbox.
//!
//! A provider says what it is and translates: a [`ChatRequest`] into an HTTP request, bytes into an [`Answer`] or into [`Event`]s. It does no I/O, so
//! that all of it is tested natively with files ([`testing`]); the SDK sends, reads, maps HTTP errors to [`Failure`]s and keeps what it buffers bounded.
//!
//! ```
//! use pg_llm_guest::prelude::*;
//!
//! struct Parrot;
//!
//! impl Provider for Parrot {
//!     type Stream = ParrotStream;
//!
//!     fn describe() -> Description {
//!         Description::new("parrot", "1.0.0", "Repeats what it hears.").profile(Profile::new("parrot").endpoint("https://parrot.example"))
//!     }
//!
//!     fn encode(request: &ChatRequest, _mode: Mode) -> Result<HttpRequest, Failure> {
//!         let heard = request.messages.last().map(Message::text).unwrap_or_default();
//!         Ok(HttpRequest::post("/say").json(&json!({ "text": heard })).bearer("default"))
//!     }
//!
//!     fn decode(_request: &ChatRequest, response: &HttpResponse) -> Result<Answer, Failure> {
//!         let body = response.json()?;
//!         Ok(Answer { parts: vec![Part::Text(body.text_at("text").unwrap_or_default().to_owned())], ..Answer::default() })
//!     }
//!
//!     fn decoder(_request: &ChatRequest, _head: &ResponseHead) -> Result<ParrotStream, Failure> {
//!         Ok(ParrotStream::default())
//!     }
//! }
//!
//! #[derive(Default)]
//! struct ParrotStream(NdjsonDecoder);
//!
//! impl StreamDecoder for ParrotStream {
//!     fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<Progress, Failure> {
//!         for line in self.0.push(bytes)? {
//!             events.push(Event::Text(line));
//!         }
//!         Ok(Progress::More)
//!     }
//!
//!     fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), Failure> {
//!         events.push(Event::Finish(FinishReason::Stop));
//!         Ok(())
//!     }
//! }
//!
//! pg_llm_guest::provider!(Parrot);
//! ```
//!
//! Build it with `crate-type = ["cdylib"]` for `wasm32-unknown-unknown`, turn the module into a component with `pg_llm_componentize`, and
//! upload that with `pg_llm_add_model(module => ...)`.

pub mod adapter;
pub mod bindings;
mod component;
pub mod embeddings;
pub mod event_stream;
pub mod exchange;
pub mod failure;
pub mod filter;
pub mod http;
pub mod json;
pub mod log;
pub mod media;
pub mod models;
pub mod ndjson;
pub mod provider;
mod records;
pub mod rerank;
pub mod retry;
pub mod settings;
pub mod sse;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use base64;
pub use serde_json;

pub use adapter::{Adapter, EventStream};
pub use bindings::provider::exports::pg_llm::guest::describe::{Capabilities, Description, KeySpec, Profile};
pub use bindings::provider::pg_llm::guest::{keys, types};
pub use embeddings::{EmbedAnswer, EmbedRequest, Embeddings, Purpose};
pub use filter::Filter;
pub use http::{Headers, HttpRequest, HttpResponse, Method, ResponseHead};
pub use models::{ModelInfo, Models};
pub use provider::{Mode, Progress, Provider, StreamDecoder};
pub use rerank::{Ranked, Rerank, RerankAnswer, RerankRequest};
pub use types::{
    Answer, ChatRequest, Event, Failure, FailureKind, FinishReason, JsonSchemaFormat, Media, MediaSource, Message, Part, Reasoning,
    ResponseFormat, Role, Sampling, Started, Thinking, TokenLogprob, Tool, ToolCall, ToolCallDelta, ToolChoice, ToolResult, TopLogprob,
    Usage,
};

/// What macros of this crate reach through `$crate`.
#[doc(hidden)]
pub use component::{FilterComponent, ProviderComponent};

/// Everything that a provider usually names.
pub mod prelude {
    pub use crate::adapter::{Adapter, EventStream};
    pub use crate::embeddings::{EmbedAnswer, EmbedRequest, Embeddings, Purpose};
    pub use crate::event_stream::{EventStreamDecoder, EventStreamMessage};
    pub use crate::filter::Filter;
    pub use crate::http::{Headers, HttpRequest, HttpResponse, Method, ResponseHead};
    pub use crate::json::ValueExt;
    pub use crate::models::{ModelInfo, Models};
    pub use crate::ndjson::NdjsonDecoder;
    pub use crate::provider::{Mode, Progress, Provider, StreamDecoder};
    pub use crate::rerank::{Ranked, Rerank, RerankAnswer, RerankRequest};
    pub use crate::settings::Settings;
    pub use crate::sse::{SseDecoder, SseEnd, SseFrame, SseResponse};
    pub use crate::types::*;
    pub use crate::{Capabilities, Description, KeySpec, Profile};
    pub use serde_json::{Map, Value, json};
}
