//! `POST /api/embed`.

use pg_llm_guest::json::set;
use pg_llm_guest::prelude::*;

use crate::settings::{Load, auth};
use crate::{Ollama, errors};

impl Embeddings for Ollama {
    /// The server has no limit, but it answers all of a request at once: so many that a slow machine is done with them before somebody gives up.
    fn max_inputs(_model: &str, _settings: &str) -> u32 {
        256
    }

    fn encode_embed(request: &EmbedRequest) -> Result<HttpRequest, Failure> {
        let mut body = Map::new();
        set(&mut body, "model", request.model.as_str().into());
        set(&mut body, "input", request.inputs.as_slice().into());
        if let Some(dimensions) = request.dimensions {
            set(&mut body, "dimensions", dimensions.into());
        }
        Load::parse(&request.settings)?.complete(request.extra_body.as_deref(), &mut body)?;
        Ok(HttpRequest::post("/api/embed").header("accept", "application/json").json(&Value::Object(body)).auth(auth()))
    }

    fn decode_embed(_request: &EmbedRequest, response: &HttpResponse) -> Result<EmbedAnswer, Failure> {
        let body = response.json()?;
        if let Some(failure) = errors::in_body(&body, &response.body) {
            return Err(failure);
        }
        // The one vector of `/api/embeddings`, for servers in between that use it.
        let vectors = body.get("embeddings").and_then(Value::as_array).map(Vec::as_slice);
        let Some(vectors) = vectors.or_else(|| body.at("embedding").map(std::slice::from_ref)) else {
            return Err(Failure::protocol("the response has no embeddings", &response.body));
        };
        Ok(EmbedAnswer {
            vectors: vectors.iter().map(vector).collect(),
            model: body.word_at("model").map(str::to_owned),
            usage: crate::decode::usage(&body),
        })
    }

    fn refine_embed(_request: &EmbedRequest, _response: &HttpResponse, failure: &mut Failure) {
        errors::refine(failure);
    }
}

/// What is no number becomes NaN, which the SDK refuses.
#[allow(clippy::cast_possible_truncation)] // vectors are of f32 everywhere
fn vector(wire: &Value) -> Vec<f32> {
    let numbers = wire.as_array().map(Vec::as_slice).unwrap_or_default();
    numbers.iter().map(|number| number.as_f64().map_or(f32::NAN, |number| number as f32)).collect()
}
