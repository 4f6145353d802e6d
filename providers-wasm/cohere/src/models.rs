//! `GET /v1/models`.

use pg_llm_guest::json;
use pg_llm_guest::prelude::*;

use crate::{Cohere, errors};

impl Models for Cohere {
    fn encode_list(_settings: &str, cursor: Option<&str>) -> Result<HttpRequest, Failure> {
        let mut http = HttpRequest::get("/v1/models").query("page_size", "1000");
        if let Some(cursor) = cursor {
            http = http.query("page_token", cursor);
        }
        Ok(http.header("accept", "application/json").bearer("default"))
    }

    fn decode_list(_settings: &str, response: &HttpResponse) -> Result<(Vec<ModelInfo>, Option<String>), Failure> {
        let body = response.json()?;
        if let Some(failure) = errors::in_body(&body, &response.body) {
            return Err(failure);
        }
        let Some(models) = body.get("models").and_then(Value::as_array) else {
            return Err(Failure::protocol("the response has no models", &response.body));
        };
        Ok((models.iter().filter_map(model).collect(), body.word_at("next_page_token").map(str::to_owned)))
    }

    fn refine_list(_settings: &str, response: &HttpResponse, failure: &mut Failure) {
        errors::refine(response, failure);
    }
}

fn model(wire: &Value) -> Option<ModelInfo> {
    Some(ModelInfo {
        context_window: wire.u64_at("context_length").filter(|tokens| *tokens > 0),
        raw: Some(json::text(wire)),
        ..ModelInfo::new(wire.word_at("name")?)
    })
}
