//! Reranking: `InvokeModel` with the body that Cohere's and Amazon's models share.

use pg_llm_guest::json::set;
use pg_llm_guest::prelude::*;

use crate::embeddings::usage;
use crate::errors;
use crate::refusal::add_extra;
use crate::settings::{Family, Wire};

/// The HTTP request.
pub(crate) fn encode(request: &RerankRequest) -> Result<HttpRequest, Failure> {
    let wire = Wire::parse(&request.settings)?;
    let mut body = Map::new();
    set(&mut body, "query", request.query.as_str().into());
    set(&mut body, "documents", request.documents.as_slice().into());
    if let Some(top) = request.top_n {
        set(&mut body, "top_n", top.into());
    }
    if wire.family(&request.model)? == Family::Cohere {
        set(&mut body, "api_version", 2.into());
    }
    add_extra(request.extra_body.as_deref(), &mut body)?;
    Ok(wire.request(&request.model, "/invoke", &body.into())?.header("accept", "application/json"))
}

/// Reads a response.
pub(crate) fn decode(response: &HttpResponse) -> Result<RerankAnswer, Failure> {
    let body = response.json()?;
    let Some(results) = body.at("results").and_then(Value::as_array) else { return Err(errors::in_body(&body, &response.body)) };
    let ranked = |result: &Value| {
        let index = result.u64_at("index").and_then(|index| u32::try_from(index).ok())?;
        Some(Ranked { index, score: result.f64_at("relevance_score")? })
    };
    let results: Option<Vec<Ranked>> = results.iter().map(ranked).collect();
    let results = results.ok_or_else(|| Failure::protocol("a result of the response has no index or no score", &response.body))?;
    Ok(RerankAnswer { results, model: None, usage: usage(&body, &response.head.headers) })
}
