//! Texts to vectors.

use pg_llm_guest::embeddings::in_order;
use pg_llm_guest::json::{record, set};
use pg_llm_guest::prelude::*;

use crate::settings::{Wire, max_inputs};
use crate::usage::input_usage;
use crate::{DashScope, decode, encode, errors};

impl Embeddings for DashScope {
    fn max_inputs(model: &str, settings: &str) -> u32 {
        max_inputs(model, settings)
    }

    fn encode_embed(request: &EmbedRequest) -> Result<HttpRequest, Failure> {
        let wire = Wire::of(&request.settings)?;
        let mut parameters = Map::new();
        if let Some(purpose) = request.purpose {
            // What is no search is compared with its like, for which the documentation says `document`.
            set(&mut parameters, "text_type", if purpose == Purpose::Query { "query" } else { "document" }.into());
        }
        if let Some(dimensions) = request.dimensions {
            set(&mut parameters, "dimension", dimensions.into());
        }
        let input = record([("texts", request.inputs.as_slice().into())]);
        let path = "/api/v1/services/embeddings/text-embedding/text-embedding";
        encode::post(path, &request.model, input, parameters, request.extra_body.as_deref(), &wire)
    }

    fn decode_embed(request: &EmbedRequest, response: &HttpResponse) -> Result<EmbedAnswer, Failure> {
        let body = decode::body(&response.body)?;
        let Some(output) = body.at("output") else { return Err(Failure::protocol("the response has no output", &response.body)) };
        let placed = output.items_at("embeddings").iter().filter_map(|item| {
            let at = usize::try_from(item.u64_at("text_index")?).ok()?;
            #[allow(clippy::cast_possible_truncation)] // vectors are of this precision
            let vector = item.items_at("embedding").iter().map(|number| number.as_f64().unwrap_or(f64::NAN) as f32).collect();
            Some((at, vector))
        });
        Ok(EmbedAnswer {
            vectors: in_order(request.inputs.len(), placed),
            model: body.word_at("model").map(str::to_owned),
            usage: input_usage(&body),
        })
    }

    fn refine_embed(_request: &EmbedRequest, _response: &HttpResponse, failure: &mut Failure) {
        errors::refine(failure);
    }
}
