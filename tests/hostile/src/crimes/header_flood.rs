//! A request with more headers than a header map of the host's can hold.

use pg_llm_guest::bindings::provider::pg_llm::guest::http;
use pg_llm_guest::prelude::*;

use crate::loot;

pub(crate) fn commit() -> Result<Answer, Failure> {
    let mut request = HttpRequest::get("/flood");
    for n in 0..40_000 {
        request = request.header(format!("x-{n}"), "");
    }
    match http::send(&request) {
        Ok(response) => loot::text(format!("status {}", response.status())),
        Err(error) => loot::text(error.to_string()),
    }
}
