//! Texts to vectors.

use pg_llm_guest::embeddings::in_order;
use pg_llm_guest::json::set;
use pg_llm_guest::prelude::*;

use crate::content::{unwrapped, usage};
use crate::settings::Wire;
use crate::{Hunyuan, decode, encode, errors};

/// Length of the vectors. There is one model.
const DIMENSIONS: u32 = 1024;

impl Embeddings for Hunyuan {
    fn max_inputs(_model: &str, _settings: &str) -> u32 {
        50
    }

    fn encode_embed(request: &EmbedRequest) -> Result<HttpRequest, Failure> {
        let wire = Wire::of(&request.settings)?;
        if request.dimensions.is_some_and(|dimensions| dimensions != DIMENSIONS) {
            return Err(Failure::unsupported("Hunyuan's vectors have 1024 numbers, and no other length"));
        }
        let mut body = Map::new();
        // The list came later than the single text, which every region knows.
        match request.inputs.as_slice() {
            [one] => set(&mut body, "Input", one.as_str().into()),
            inputs => set(&mut body, "InputList", inputs.into()),
        }
        Ok(encode::action("GetEmbedding", body, request.extra_body.as_deref(), &wire)?.header("accept", "application/json"))
    }

    fn decode_embed(request: &EmbedRequest, response: &HttpResponse) -> Result<EmbedAnswer, Failure> {
        let body = decode::body(&response.body)?;
        let body = unwrapped(&body);
        let items = body.items_at("Data");
        // By the documentation the index of every vector may be 0: then they stand in the order of their inputs.
        let index = |at: usize| items.get(at).and_then(|item| usize::try_from(item.u64_at("Index")?).ok());
        let told = (0..items.len()).all(|at| index(at).is_some() && (0..at).all(|before| index(before) != index(at)));
        let placed = items.iter().enumerate().map(|(at, item)| {
            #[allow(clippy::cast_possible_truncation)] // vectors are of this precision
            let vector = item.items_at("Embedding").iter().map(|number| number.as_f64().unwrap_or(f64::NAN) as f32).collect();
            (if told { index(at).unwrap_or(at) } else { at }, vector)
        });
        Ok(EmbedAnswer { vectors: in_order(request.inputs.len(), placed), model: None, usage: usage(body) })
    }

    fn refine_embed(_request: &EmbedRequest, response: &HttpResponse, failure: &mut Failure) {
        errors::refine(response, failure);
    }
}
