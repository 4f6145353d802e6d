//! Documents by relevance, as Jina began it and vLLM, OpenRouter, llama.cpp and others took it over. OpenAI has none of it.

use pg_llm_guest::json::{set, string};
use pg_llm_guest::prelude::*;

use crate::encode::post;
use crate::settings::Wire;
use crate::usage::input_usage_in;
use crate::{OpenAi, errors};

impl Rerank for OpenAi {
    fn encode_rerank(request: &RerankRequest) -> Result<HttpRequest, Failure> {
        let wire = Wire::parse(&request.settings)?;
        let path = wire.path("rerank_path", "/rerank", &request.model)?;
        post(&wire, path, "application/json", request.extra_body.as_deref(), &mut |body| {
            set(body, "model", string(&request.model));
            set(body, "query", string(&request.query));
            set(body, "documents", request.documents.as_slice().into());
            if let Some(top_n) = request.top_n {
                set(body, "top_n", top_n.into());
            }
            Ok(())
        })
    }

    fn decode_rerank(_request: &RerankRequest, response: &HttpResponse) -> Result<RerankAnswer, Failure> {
        let body = response.json()?;
        if let Some(failure) = errors::in_body(&body, &response.body, false) {
            return Err(failure);
        }
        // `data` is Voyage's name of the list.
        let Some(list) = ["results", "data"].iter().find_map(|name| body.get(name)?.as_array()) else {
            return Err(Failure::protocol("the response has no results", &response.body));
        };
        let ranked = |result: &Value| {
            Some(Ranked {
                index: u32::try_from(result.u64_at("index")?).ok()?,
                score: result.f64_at("relevance_score").or_else(|| result.f64_at("score"))?,
            })
        };
        let results: Option<Vec<Ranked>> = list.iter().map(ranked).collect();
        Ok(RerankAnswer {
            results: results.ok_or_else(|| Failure::protocol("the response has a result without place or score", &response.body))?,
            model: body.word_at("model").map(str::to_owned),
            usage: input_usage_in(&body),
        })
    }

    fn refine_rerank(request: &RerankRequest, response: &HttpResponse, failure: &mut Failure) {
        errors::refine_by(&request.settings, response, failure);
    }
}
