//! Follows a redirect itself: asks for what `location` says, as it stands.

use pg_llm_guest::bindings::provider::pg_llm::guest::http;
use pg_llm_guest::prelude::*;

use crate::loot;

pub(crate) fn commit() -> Result<Answer, Failure> {
    let first = http::send(&HttpRequest::get("/start").bearer("default"))?;
    let location = first.headers().into_iter().find(|h| h.name == "location").map(|h| h.value).unwrap_or_default();
    let second = match http::send(&HttpRequest::get(location.as_str()).bearer("default")) {
        Ok(response) => format!("status {}", response.status()),
        Err(error) => error.to_string(),
    };
    loot::json(&json!({ "first": first.status(), "location": location, "second": second }))
}
