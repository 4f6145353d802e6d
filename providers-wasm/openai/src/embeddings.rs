//! Texts to vectors. What the vectors are for (`purpose`) makes no difference here.

use pg_llm_guest::embeddings::in_order;
use pg_llm_guest::json::{set, string};
use pg_llm_guest::media::from_base64;
use pg_llm_guest::prelude::*;

use crate::encode::post;
use crate::settings::Wire;
use crate::usage::input_usage_in;
use crate::{OpenAi, errors};

/// What OpenAI takes in one request.
const MAX_INPUTS: u32 = 2048;

impl Embeddings for OpenAi {
    fn max_inputs(_model: &str, settings: &str) -> u32 {
        let count = Wire::parse(settings).ok().and_then(|wire| wire.count("embedding_inputs").ok().flatten());
        count.map_or(MAX_INPUTS, |count| u32::try_from(count).unwrap_or(u32::MAX))
    }

    fn encode_embed(request: &EmbedRequest) -> Result<HttpRequest, Failure> {
        let wire = Wire::parse(&request.settings)?;
        let path = wire.path("embeddings_path", "/embeddings", &request.model)?;
        post(&wire, path, "application/json", request.extra_body.as_deref(), &mut |body| {
            set(body, "model", string(&request.model));
            set(body, "input", request.inputs.as_slice().into());
            match wire.text_or("embedding_encoding", "base64")? {
                "float" => {}
                encoding => set(body, "encoding_format", string(encoding)),
            }
            if let Some(dimensions) = request.dimensions {
                set(body, "dimensions", dimensions.into());
            }
            Ok(())
        })
    }

    fn decode_embed(request: &EmbedRequest, response: &HttpResponse) -> Result<EmbedAnswer, Failure> {
        let body = response.json()?;
        if let Some(failure) = errors::in_body(&body, &response.body, false) {
            return Err(failure);
        }
        let items = body.items_at("data");
        if items.len() != request.inputs.len() {
            return Err(Failure::protocol("the response has another number of vectors than the request has inputs", &response.body));
        }
        let mut placed = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            let at = item.u64_at("index").map_or(at, |index| usize::try_from(index).unwrap_or(usize::MAX));
            let vector = item.get("embedding").and_then(vector);
            placed.push((at, vector.ok_or_else(|| Failure::protocol("the response has an embedding that is no vector", &response.body))?));
        }
        Ok(EmbedAnswer {
            vectors: in_order(request.inputs.len(), placed),
            model: body.word_at("model").map(str::to_owned),
            usage: input_usage_in(&body),
        })
    }

    fn refine_embed(request: &EmbedRequest, response: &HttpResponse, failure: &mut Failure) {
        errors::refine_by(&request.settings, response, failure);
    }
}

/// A list of numbers, or base64 of them as little-endian `f32`, whatever was asked for.
fn vector(wire: &Value) -> Option<Vec<f32>> {
    match wire {
        Value::String(text) => {
            let bytes = from_base64(text).filter(|bytes| bytes.len() % 4 == 0)?;
            Some(bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect())
        }
        #[allow(clippy::cast_possible_truncation)] // a vector's numbers are f32 to everybody
        Value::Array(numbers) => numbers.iter().map(|number| number.as_f64().map(|number| number as f32)).collect(),
        _ => None,
    }
}
