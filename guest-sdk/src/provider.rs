//! A provider as pure functions: [`Provider`] and its [`StreamDecoder`].

use crate::Description;
use crate::http::{HttpRequest, HttpResponse, ResponseHead};
use crate::types::{Answer, ChatRequest, Event, Failure};

/// How an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All at once.
    Whole,
    /// Piece by piece.
    Stream,
}

/// A wire format: what to send for a request, and what to make of the bytes that come back. Register it with [`provider!`](crate::provider!).
///
/// The SDK sends the request, reads the response, and makes a [`Failure`] of every status outside 200..=299, which [`refine`](Self::refine) may improve.
pub trait Provider: 'static {
    /// Decoder of a streamed response.
    type Stream: StreamDecoder;

    /// What this adapter says of itself. Called at upload, never in a chat.
    fn describe() -> Description;

    /// The HTTP request for a chat.
    fn encode(request: &ChatRequest, mode: Mode) -> Result<HttpRequest, Failure>;

    /// A response with a status in 200..=299, read to its end. Not every such response is an answer: an error object is a failure.
    fn decode(request: &ChatRequest, response: &HttpResponse) -> Result<Answer, Failure>;

    /// A decoder for a streamed response with a status in 200..=299, whose head has arrived.
    fn decoder(request: &ChatRequest, head: &ResponseHead) -> Result<Self::Stream, Failure>;

    /// Improves what the SDK made of an HTTP error: the kind by the provider's codes, its way of saying when to come back. `response.body` is at most
    /// [`MAX_ERROR_BODY`](crate::exchange::MAX_ERROR_BODY) bytes.
    fn refine(request: &ChatRequest, response: &HttpResponse, failure: &mut Failure) {
        let _ = (request, response, failure);
    }
}

/// Whether a stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Read on.
    More,
    /// The provider has said its last word (such as `[DONE]`): what may still come is not waited for.
    Done,
}

/// Makes events of bytes, which arrive cut anywhere.
///
/// What is kept between two calls must be bounded; [`SseDecoder`](crate::sse::SseDecoder) and [`NdjsonDecoder`](crate::ndjson::NdjsonDecoder) are.
pub trait StreamDecoder: 'static {
    /// Takes further bytes. Events that were pushed before an error are delivered before it.
    fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<Progress, Failure>;

    /// The body has ended. An answer that is not complete by now never will be: the SDK makes a failure of it when no [`Event::Finish`] was seen.
    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), Failure>;
}

/// Exports a [`Provider`] from this module as the component's provider, with the optional capabilities that are named: `provider!(Type)`,
/// `provider!(Type, embeddings, models)`. Once a module; nothing natively.
#[macro_export]
macro_rules! provider {
    ($provider:ty $(, $capability:ident)* $(,)?) => {
        const _: () = {
            #[cfg(target_arch = "wasm32")]
            type Exported = $crate::ProviderComponent<$crate::exchange::Http<$provider>>;
            #[cfg(target_arch = "wasm32")]
    $crate::bindings::provider::export_provider!(Exported with_types_in $crate::bindings::provider);
            // Natively the same bounds are checked, so that a test build says what a guest build would.
            const fn is_provider<P: $crate::Provider>() {}
            is_provider::<$provider>();
            $($crate::export_capability!($capability, $provider);)*
        };
    };
}

/// One optional capability, for [`provider!`](crate::provider!).
#[doc(hidden)]
#[macro_export]
macro_rules! export_capability {
    (embeddings, $provider:ty) => {
        #[cfg(target_arch = "wasm32")]
    $crate::bindings::embeddings_provider::export_embeddings_provider!(Exported with_types_in $crate::bindings::embeddings_provider);
        const fn has_embeddings<P: $crate::Embeddings>() {}
        has_embeddings::<$provider>();
    };
    (rerank, $provider:ty) => {
        #[cfg(target_arch = "wasm32")]
    $crate::bindings::rerank_provider::export_rerank_provider!(Exported with_types_in $crate::bindings::rerank_provider);
        const fn has_rerank<P: $crate::Rerank>() {}
        has_rerank::<$provider>();
    };
    (models, $provider:ty) => {
        #[cfg(target_arch = "wasm32")]
    $crate::bindings::models_provider::export_models_provider!(Exported with_types_in $crate::bindings::models_provider);
        const fn has_models<P: $crate::Models>() {}
        has_models::<$provider>();
    };
}
