//! The list of models, page by page.

use pg_llm_guest::json;
use pg_llm_guest::prelude::*;

use crate::settings::Wire;

/// The HTTP request for a page.
pub(crate) fn encode(settings: &str, cursor: Option<&str>) -> Result<HttpRequest, Failure> {
    let wire = Wire::of(settings)?;
    let mut http = HttpRequest::get(wire.list_path()).query("pageSize", "1000").header("accept", "application/json");
    if let Some(cursor) = cursor {
        http = http.query("pageToken", cursor);
    }
    Ok(wire.with_auth(http))
}

/// A page, and the token of the next.
pub(crate) fn decode(response: &HttpResponse) -> Result<(Vec<ModelInfo>, Option<String>), Failure> {
    let body = response.json()?;
    if let Some(failure) = crate::errors::in_body(&body, &response.body) {
        return Err(failure);
    }
    let known = ["models", "publisherModels"].iter().find(|name| body.at(name).is_some());
    // An empty page is an empty object, with a token at most.
    let models = match (known, body.as_object()) {
        (Some(name), _) => body.items_at(name),
        (None, Some(members)) if members.keys().all(|name| name == "nextPageToken") => &[],
        _ => return Err(Failure::protocol("the response is no list of models", &response.body)),
    };
    Ok((models.iter().filter_map(model).collect(), body.word_at("nextPageToken").map(str::to_owned)))
}

fn model(model: &Value) -> Option<ModelInfo> {
    let name = model.word_at("name")?;
    Some(ModelInfo {
        id: ["models/", "publishers/google/models/"].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name).to_owned(),
        display_name: model.word_at("displayName").map(str::to_owned),
        context_window: model.u64_at("inputTokenLimit"),
        max_output_tokens: model.u64_at("outputTokenLimit"),
        raw: Some(json::text(model)),
    })
}
