//! The models that the endpoint offers.

use pg_llm_guest::json;
use pg_llm_guest::prelude::*;

use crate::settings::Wire;
use crate::{Anthropic, errors};

impl Models for Anthropic {
    fn encode_list(settings: &str, cursor: Option<&str>) -> Result<HttpRequest, Failure> {
        let http = Wire::parse(settings)?.request(Method::Get, "/models")?.header("accept", "application/json").query("limit", "1000");
        Ok(match cursor {
            Some(last) => http.query("after_id", last),
            None => http,
        })
    }

    fn decode_list(_settings: &str, response: &HttpResponse) -> Result<(Vec<ModelInfo>, Option<String>), Failure> {
        let body = response.json()?;
        if let Some(failure) = errors::in_body(&body, &response.body) {
            return Err(failure);
        }
        let Some(data) = body.get("data").and_then(Value::as_array) else {
            return Err(Failure::protocol("the response has no list of models", &response.body));
        };
        let models = data.iter().filter_map(|model| {
            Some(ModelInfo {
                display_name: model.word_at("display_name").map(str::to_owned),
                context_window: model.u64_at("max_input_tokens"),
                max_output_tokens: model.u64_at("max_tokens"),
                raw: Some(json::text(model)),
                ..ModelInfo::new(model.word_at("id")?)
            })
        });
        let more = body.get("has_more") == Some(&Value::Bool(true));
        Ok((models.collect(), body.word_at("last_id").filter(|_| more).map(str::to_owned)))
    }

    fn refine_list(_settings: &str, _response: &HttpResponse, failure: &mut Failure) {
        errors::refine(failure);
    }
}
