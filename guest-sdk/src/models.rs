//! The models that an endpoint offers: an optional capability of a provider.

use crate::bindings::models_provider::exports::pg_llm::guest::models as export;
use crate::component::ProviderComponent;
use crate::exchange::{self, Http, Transport};
use crate::http::{HttpRequest, HttpResponse};
use crate::log;
use crate::types::{Failure, FailureKind};

pub use export::ModelInfo;

/// More pages than any list of models has.
const MAX_PAGES: usize = 50;

/// The list of models of a [`Provider`](crate::Provider). Registered with `provider!(Type, models)`.
pub trait Models: 'static {
    /// The HTTP request for a page. `settings` is a JSON object, as in a chat; `cursor` is what the page before gave.
    fn encode_list(settings: &str, cursor: Option<&str>) -> Result<HttpRequest, Failure>;

    /// A page, from a response with a status in 200..=299, and the cursor of the next one where there is one.
    fn decode_list(settings: &str, response: &HttpResponse) -> Result<(Vec<ModelInfo>, Option<String>), Failure>;

    /// Improves what the SDK made of an HTTP error, as [`Provider::refine`](crate::Provider::refine) does.
    fn refine_list(settings: &str, response: &HttpResponse, failure: &mut Failure) {
        let _ = (settings, response, failure);
    }
}

/// Asks page after page.
///
/// # Errors
/// What the provider failed with; `protocol` when the pages do not end.
pub fn list<P: Models, T: Transport>(settings: &str) -> Result<Vec<ModelInfo>, Failure> {
    let mut models = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let http = P::encode_list(settings, cursor.as_deref())?;
        let (page, next) = exchange::whole::<T, _>(
            &http,
            |response| P::decode_list(settings, response),
            |response, failure| P::refine_list(settings, response, failure),
        )?;
        // A server that knows no pages sends the first one again.
        for model in page {
            if !models.iter().any(|known: &ModelInfo| known.id == model.id) {
                models.push(model);
            }
        }
        match next {
            Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
            _ => return Ok(models),
        }
    }
    Err(Failure::new(FailureKind::Protocol, "the list of models does not end"))
}

impl ModelInfo {
    /// A model of which only the name is known.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), display_name: None, context_window: None, max_output_tokens: None, raw: None }
    }
}

impl<P: Models, T: Transport> export::Guest for ProviderComponent<Http<P, T>> {
    fn list(settings: String) -> Result<Vec<ModelInfo>, Failure> {
        log::report_panics();
        list::<P, T>(&settings)
    }
}
