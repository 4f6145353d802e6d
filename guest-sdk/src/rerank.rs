//! Documents ordered by their relevance to a query: an optional capability of a provider.

use crate::bindings::rerank_provider::exports::pg_llm::guest::rerank as export;
use crate::component::ProviderComponent;
use crate::exchange::{self, Http, Transport};
use crate::http::{HttpRequest, HttpResponse};
use crate::log;
use crate::types::{Failure, FailureKind};

pub use export::{Ranked, RerankAnswer, RerankRequest};

/// Reranking of a [`Provider`](crate::Provider). Registered with `provider!(Type, rerank)`.
pub trait Rerank: 'static {
    /// The HTTP request.
    fn encode_rerank(request: &RerankRequest) -> Result<HttpRequest, Failure>;

    /// A response with a status in 200..=299. The SDK checks the places and puts the best first.
    fn decode_rerank(request: &RerankRequest, response: &HttpResponse) -> Result<RerankAnswer, Failure>;

    /// Improves what the SDK made of an HTTP error, as [`Provider::refine`](crate::Provider::refine) does.
    fn refine_rerank(request: &RerankRequest, response: &HttpResponse, failure: &mut Failure) {
        let _ = (request, response, failure);
    }
}

/// Sends a request of `P` and decodes the response.
///
/// # Errors
/// What the provider failed with; `protocol` when the results are not places among the documents, each at most once, with finite scores.
pub fn rerank<P: Rerank, T: Transport>(request: &RerankRequest) -> Result<RerankAnswer, Failure> {
    let http = P::encode_rerank(request)?;
    exchange::whole::<T, _>(
        &http,
        |response| check(request, P::decode_rerank(request, response)?),
        |response, failure| P::refine_rerank(request, response, failure),
    )
}

fn check(request: &RerankRequest, mut answer: RerankAnswer) -> Result<RerankAnswer, Failure> {
    let mut seen = vec![false; request.documents.len()];
    for ranked in &answer.results {
        let place = usize::try_from(ranked.index).ok().and_then(|at| seen.get_mut(at));
        match place {
            Some(seen) if !*seen && ranked.score.is_finite() => *seen = true,
            _ => return Err(Failure::new(FailureKind::Protocol, "the response ranks what is not among the documents, or ranks one twice")),
        }
    }
    best_first(&mut answer.results);
    Ok(answer)
}

/// By insertion, which leaves a list as it is that comes in order, as nearly all do. The standard library's sort is 6 kB of a guest.
fn best_first(results: &mut [Ranked]) {
    for end in 1..results.len() {
        let mut at = end;
        while at > 0 && results[at - 1].score < results[at].score {
            results.swap(at - 1, at);
            at -= 1;
        }
    }
}

impl RerankRequest {
    /// A request about these documents and nothing else.
    pub fn new(model: impl Into<String>, query: impl Into<String>, documents: Vec<String>) -> Self {
        Self { model: model.into(), settings: "{}".to_owned(), query: query.into(), documents, top_n: None, extra_body: None }
    }
}

impl<P: Rerank, T: Transport> export::Guest for ProviderComponent<Http<P, T>> {
    fn rerank(request: RerankRequest) -> Result<RerankAnswer, Failure> {
        log::report_panics();
        rerank::<P, T>(&request)
    }
}
