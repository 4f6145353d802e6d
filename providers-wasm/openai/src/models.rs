//! The models that the endpoint offers, on one page.

use pg_llm_guest::json::text;
use pg_llm_guest::prelude::*;

use crate::settings::Wire;
use crate::{OpenAi, errors};

impl Models for OpenAi {
    fn encode_list(settings: &str, _cursor: Option<&str>) -> Result<HttpRequest, Failure> {
        let wire = Wire::parse(settings)?;
        Ok(wire.request(Method::Get, wire.path("models_path", "/models", "")?, "application/json")?)
    }

    fn decode_list(_settings: &str, response: &HttpResponse) -> Result<(Vec<ModelInfo>, Option<String>), Failure> {
        let body = response.json()?;
        if let Some(failure) = errors::in_body(&body, &response.body, false) {
            return Err(failure);
        }
        // Together sends the list itself.
        let Some(list) = body.get("data").unwrap_or(&body).as_array() else {
            return Err(Failure::protocol("the response has no list of models", &response.body));
        };
        let model = |model: &Value| {
            let count = |names: &[&str]| names.iter().find_map(|name| model.u64_at(name));
            Some(ModelInfo {
                display_name: model.word_at("name").or_else(|| model.word_at("display_name")).map(str::to_owned),
                // OpenRouter's and Together's, vLLM's, Mistral's, Groq's name of it.
                context_window: count(&["context_length", "max_model_len", "max_context_length", "context_window"]),
                max_output_tokens: count(&["max_completion_tokens", "max_output_tokens"])
                    .or_else(|| model.get("top_provider")?.u64_at("max_completion_tokens")),
                raw: Some(text(model)),
                ..ModelInfo::new(model.word_at("id")?)
            })
        };
        Ok((list.iter().filter_map(model).collect(), None))
    }

    fn refine_list(settings: &str, response: &HttpResponse, failure: &mut Failure) {
        errors::refine_by(settings, response, failure);
    }
}
