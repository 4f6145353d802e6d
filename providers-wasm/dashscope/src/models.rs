//! The list of models.

use pg_llm_guest::prelude::*;

use crate::settings::Wire;
use crate::{DashScope, decode, encode, errors};

/// Models a page.
const PAGE: u64 = 100;

impl Models for DashScope {
    fn encode_list(settings: &str, cursor: Option<&str>) -> Result<HttpRequest, Failure> {
        let page = cursor.unwrap_or("1");
        let http = HttpRequest::get("/api/v1/models").query("page_no", page).query("page_size", &PAGE.to_string());
        Ok(encode::with_headers(http.header("accept", "application/json"), &Wire::of(settings)?))
    }

    fn decode_list(_settings: &str, response: &HttpResponse) -> Result<(Vec<ModelInfo>, Option<String>), Failure> {
        let body = decode::body(&response.body)?;
        let Some(output) = body.at("output").filter(|output| output.get("models").is_some_and(Value::is_array)) else {
            return Err(Failure::protocol("the response has no models", &response.body));
        };
        let models: Vec<ModelInfo> = output.items_at("models").iter().filter_map(model).collect();
        let (page, total) = (output.u64_at("page_no").unwrap_or(1), output.u64_at("total").unwrap_or(0));
        // The server may make pages smaller than they were asked for.
        let size = output.u64_at("page_size").unwrap_or(PAGE);
        let goes_on = !models.is_empty() && page.saturating_mul(size) < total;
        Ok((models, goes_on.then(|| page.saturating_add(1).to_string())))
    }

    fn refine_list(_settings: &str, _response: &HttpResponse, failure: &mut Failure) {
        errors::refine(failure);
    }
}

fn model(wire: &Value) -> Option<ModelInfo> {
    let info = wire.get("model_info").unwrap_or(wire);
    Some(ModelInfo {
        display_name: wire.word_at("name").map(str::to_owned),
        context_window: info.u64_at("context_window"),
        max_output_tokens: info.u64_at("max_output_tokens"),
        raw: Some(pg_llm_guest::json::text(wire)),
        ..ModelInfo::new(wire.word_at("model")?)
    })
}
