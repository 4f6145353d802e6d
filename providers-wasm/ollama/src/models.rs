//! `GET /api/tags`: the models that the server has.

use pg_llm_guest::json;
use pg_llm_guest::prelude::*;

use crate::settings::auth;
use crate::{Ollama, errors};

impl Models for Ollama {
    fn encode_list(_settings: &str, _cursor: Option<&str>) -> Result<HttpRequest, Failure> {
        Ok(HttpRequest::get("/api/tags").header("accept", "application/json").auth(auth()))
    }

    fn decode_list(_settings: &str, response: &HttpResponse) -> Result<(Vec<ModelInfo>, Option<String>), Failure> {
        let body = response.json()?;
        if let Some(failure) = errors::in_body(&body, &response.body) {
            return Err(failure);
        }
        // A server without models says null.
        if body.get("models").is_none_or(|models| !models.is_array() && !models.is_null()) {
            return Err(Failure::protocol("the response has no models", &response.body));
        }
        Ok((body.items_at("models").iter().filter_map(model).collect(), None))
    }

    fn refine_list(_settings: &str, _response: &HttpResponse, failure: &mut Failure) {
        errors::refine(failure);
    }
}

fn model(wire: &Value) -> Option<ModelInfo> {
    let id = wire.word_at("model").or_else(|| wire.word_at("name"))?;
    Some(ModelInfo {
        display_name: wire.word_at("name").filter(|name| *name != id).map(str::to_owned),
        // Newer servers tell it.
        context_window: wire.get("details").and_then(|details| details.u64_at("context_length")).filter(|tokens| *tokens > 0),
        raw: Some(json::text(wire)),
        ..ModelInfo::new(id)
    })
}
