//! `POST /v2/embed`.

use pg_llm_guest::json::set;
use pg_llm_guest::prelude::*;

use crate::settings::post;
use crate::{Cohere, decode, errors};

impl Embeddings for Cohere {
    fn max_inputs(_model: &str, _settings: &str) -> u32 {
        96
    }

    fn encode_embed(request: &EmbedRequest) -> Result<HttpRequest, Failure> {
        let settings = Settings::parse(&request.settings)?;
        let purpose = match request.purpose {
            // The wire needs one.
            None | Some(Purpose::Document) => "search_document",
            Some(Purpose::Query) => "search_query",
            Some(Purpose::Classification) => "classification",
            Some(Purpose::Clustering) => "clustering",
        };
        let mut body = Map::new();
        set(&mut body, "model", request.model.as_str().into());
        set(&mut body, "texts", request.inputs.as_slice().into());
        set(&mut body, "input_type", purpose.into());
        set(&mut body, "embedding_types", vec!["float"].into());
        if let Some(dimensions) = request.dimensions {
            set(&mut body, "output_dimension", dimensions.into());
        }
        if let Some(truncate) = settings.text("truncate")? {
            set(&mut body, "truncate", truncate.into());
        }
        post("/v2/embed", "application/json", body, request.extra_body.as_deref())
    }

    fn decode_embed(_request: &EmbedRequest, response: &HttpResponse) -> Result<EmbedAnswer, Failure> {
        let body = response.json()?;
        if let Some(failure) = errors::in_body(&body, &response.body) {
            return Err(failure);
        }
        // By type; `extra_body` may have asked for another one. Version 1 has the vectors right there.
        let vectors = match body.get("embeddings") {
            Some(Value::Object(types)) => types.get("float").or_else(|| types.values().find(|vectors| vectors.is_array())),
            other => other,
        };
        let Some(vectors) = vectors.and_then(Value::as_array) else {
            return Err(Failure::protocol("the response has no embeddings", &response.body));
        };
        Ok(EmbedAnswer { vectors: vectors.iter().map(vector).collect(), model: None, usage: body.at("meta").and_then(decode::usage) })
    }

    fn refine_embed(_request: &EmbedRequest, response: &HttpResponse, failure: &mut Failure) {
        errors::refine(response, failure);
    }
}

/// What is no number becomes NaN, which the SDK refuses.
#[allow(clippy::cast_possible_truncation)] // vectors are of f32 everywhere
fn vector(wire: &Value) -> Vec<f32> {
    let numbers = wire.as_array().map(Vec::as_slice).unwrap_or_default();
    numbers.iter().map(|number| number.as_f64().map_or(f32::NAN, |number| number as f32)).collect()
}
