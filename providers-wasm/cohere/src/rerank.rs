//! `POST /v2/rerank`.

use pg_llm_guest::json::set;
use pg_llm_guest::prelude::*;

use crate::settings::post;
use crate::{Cohere, decode, errors};

impl Rerank for Cohere {
    fn encode_rerank(request: &RerankRequest) -> Result<HttpRequest, Failure> {
        let settings = Settings::parse(&request.settings)?;
        let mut body = Map::new();
        set(&mut body, "model", request.model.as_str().into());
        set(&mut body, "query", request.query.as_str().into());
        set(&mut body, "documents", request.documents.as_slice().into());
        if let Some(top_n) = request.top_n {
            set(&mut body, "top_n", top_n.into());
        }
        if let Some(tokens) = settings.count("max_tokens_per_doc")? {
            set(&mut body, "max_tokens_per_doc", tokens.into());
        }
        post("/v2/rerank", "application/json", body, request.extra_body.as_deref())
    }

    fn decode_rerank(_request: &RerankRequest, response: &HttpResponse) -> Result<RerankAnswer, Failure> {
        let body = response.json()?;
        if let Some(failure) = errors::in_body(&body, &response.body) {
            return Err(failure);
        }
        let results = body.get("results").and_then(Value::as_array).and_then(|results| results.iter().map(ranked).collect());
        let Some(results) = results else {
            return Err(Failure::protocol("the response has no results", &response.body));
        };
        Ok(RerankAnswer { results, model: None, usage: body.at("meta").and_then(decode::usage) })
    }

    fn refine_rerank(_request: &RerankRequest, response: &HttpResponse, failure: &mut Failure) {
        errors::refine(response, failure);
    }
}

fn ranked(wire: &Value) -> Option<Ranked> {
    Some(Ranked { index: u32::try_from(wire.u64_at("index")?).ok()?, score: wire.f64_at("relevance_score")? })
}
