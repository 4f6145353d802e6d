//! Handles that are made and never dropped.

use pg_llm_guest::ProviderComponent;
use pg_llm_guest::bindings::provider::exports::pg_llm::guest::chat::Guest;
use pg_llm_guest::bindings::provider::pg_llm::guest::http;
use pg_llm_guest::prelude::*;

use crate::{Hostile, loot};

/// Handles of its own resource.
pub(crate) fn own(request: &ChatRequest) -> Result<Answer, Failure> {
    let mut made = 0_u64;
    while made < 10_000_000 {
        let request = ChatRequest::new("endless-stream", request.messages.clone());
        let stream = <ProviderComponent<Hostile> as Guest>::stream(request)?;
        std::mem::forget(stream);
        made += 1;
    }
    loot::text(made.to_string())
}

/// Responses of the host, open all at once.
pub(crate) fn responses() -> Result<Answer, Failure> {
    let mut open = Vec::new();
    loop {
        match http::send(&HttpRequest::get("/flood")) {
            Ok(response) => open.push(response),
            Err(error) => return loot::text(format!("{} responses, then {error}", open.len())),
        }
    }
}
