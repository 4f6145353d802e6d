//! Documents by their relevance.

use pg_llm_guest::json::{record, set};
use pg_llm_guest::prelude::*;

use crate::settings::Wire;
use crate::usage::input_usage;
use crate::{DashScope, decode, encode, errors};

impl Rerank for DashScope {
    fn encode_rerank(request: &RerankRequest) -> Result<HttpRequest, Failure> {
        let wire = Wire::of(&request.settings)?;
        let mut parameters = Map::new();
        if let Some(top_n) = request.top_n {
            set(&mut parameters, "top_n", top_n.into());
        }
        let input = record([("query", request.query.as_str().into()), ("documents", request.documents.as_slice().into())]);
        let path = "/api/v1/services/rerank/text-rerank/text-rerank";
        encode::post(path, &request.model, input, parameters, request.extra_body.as_deref(), &wire)
    }

    fn decode_rerank(_request: &RerankRequest, response: &HttpResponse) -> Result<RerankAnswer, Failure> {
        let body = decode::body(&response.body)?;
        let Some(output) = body.at("output").filter(|output| output.get("results").is_some_and(Value::is_array)) else {
            return Err(Failure::protocol("the response has no results", &response.body));
        };
        // A result without a place or a score gets ones that the SDK refuses.
        let results = output.items_at("results").iter().map(|result| Ranked {
            index: result.u64_at("index").and_then(|index| u32::try_from(index).ok()).unwrap_or(u32::MAX),
            score: result.f64_at("relevance_score").unwrap_or(f64::NAN),
        });
        Ok(RerankAnswer { results: results.collect(), model: body.word_at("model").map(str::to_owned), usage: input_usage(&body) })
    }

    fn refine_rerank(_request: &RerankRequest, _response: &HttpResponse, failure: &mut Failure) {
        errors::refine(failure);
    }
}
