//! Texts to vectors: an optional capability of a provider.

use crate::bindings::embeddings_provider::exports::pg_llm::guest::embeddings as export;
use crate::component::ProviderComponent;
use crate::exchange::{self, Http, Transport};
use crate::http::{HttpRequest, HttpResponse};
use crate::log;
use crate::types::{Failure, FailureKind};

pub use export::{EmbedAnswer, EmbedRequest, Purpose};

/// Embeddings of a [`Provider`](crate::Provider). Registered with `provider!(Type, embeddings)`.
pub trait Embeddings: 'static {
    /// How many inputs one request may carry, at least 1. The host splits longer lists. `settings` is the JSON object of [`EmbedRequest::settings`].
    fn max_inputs(model: &str, settings: &str) -> u32;

    /// The HTTP request for these inputs.
    fn encode_embed(request: &EmbedRequest) -> Result<HttpRequest, Failure>;

    /// A response with a status in 200..=299. One vector an input, in the order of the inputs, whatever the order on the wire: the SDK checks number and length.
    fn decode_embed(request: &EmbedRequest, response: &HttpResponse) -> Result<EmbedAnswer, Failure>;

    /// Improves what the SDK made of an HTTP error, as [`Provider::refine`](crate::Provider::refine) does.
    fn refine_embed(request: &EmbedRequest, response: &HttpResponse, failure: &mut Failure) {
        let _ = (request, response, failure);
    }
}

/// Sends a request of `P` and decodes the response.
///
/// # Errors
/// What the provider failed with; `protocol` when the vectors are not one an input, all of one length, and finite.
pub fn embed<P: Embeddings, T: Transport>(request: &EmbedRequest) -> Result<EmbedAnswer, Failure> {
    let http = P::encode_embed(request)?;
    exchange::whole::<T, _>(
        &http,
        |response| check(request, P::decode_embed(request, response)?),
        |response, failure| P::refine_embed(request, response, failure),
    )
}

fn check(request: &EmbedRequest, answer: EmbedAnswer) -> Result<EmbedAnswer, Failure> {
    let length = answer.vectors.first().map_or(0, Vec::len);
    let wrong = if answer.vectors.len() != request.inputs.len() {
        "the response has another number of vectors than the request has inputs"
    } else if answer.vectors.iter().any(|vector| vector.is_empty() || vector.len() != length) {
        "the response's vectors are empty or not all of one length"
    } else if answer.vectors.iter().flatten().any(|number| !number.is_finite()) {
        "the response's vectors have numbers that are not finite"
    } else {
        return Ok(answer);
    };
    Err(Failure::new(FailureKind::Protocol, wrong))
}

/// Vectors in the order of their inputs, from pairs of a place and a vector. What is out of range or twice there is left out, which [`embed`] then notices.
pub fn in_order(inputs: usize, placed: impl IntoIterator<Item = (usize, Vec<f32>)>) -> Vec<Vec<f32>> {
    let mut vectors = vec![Vec::new(); inputs];
    for (at, vector) in placed {
        if let Some(place) = vectors.get_mut(at).filter(|place| place.is_empty()) {
            *place = vector;
        }
    }
    vectors
}

impl EmbedRequest {
    /// A request for these inputs and nothing else.
    pub fn new(model: impl Into<String>, inputs: Vec<String>) -> Self {
        Self { model: model.into(), settings: "{}".to_owned(), inputs, dimensions: None, purpose: None, extra_body: None }
    }
}

impl<P: Embeddings, T: Transport> export::Guest for ProviderComponent<Http<P, T>> {
    fn max_inputs(model: String, settings: String) -> u32 {
        log::report_panics();
        P::max_inputs(&model, &settings).max(1)
    }

    fn embed(request: EmbedRequest) -> Result<EmbedAnswer, Failure> {
        log::report_panics();
        embed::<P, T>(&request)
    }
}
