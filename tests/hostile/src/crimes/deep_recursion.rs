//! Recurses until the stack is used up.

use pg_llm_guest::bindings::provider::pg_llm::guest::http;
use pg_llm_guest::prelude::*;

use crate::loot;

pub(crate) fn commit() -> Result<Answer, Failure> {
    loot::text(descend(0, u64::MAX).to_string())
}

/// Goes down so far (`prompt`) and does there what needs most of the host's stack: a request.
pub(crate) fn with_request(prompt: &str) -> Result<Answer, Failure> {
    std::hint::black_box(descend(0, prompt.trim().parse().unwrap_or(1_000)));
    loot::text("back again")
}

/// Keeps nothing in linear memory, whose own stack would overflow first, and is no loop in disguise.
#[inline(never)]
fn descend(depth: u64, deepest: u64) -> u64 {
    if depth == deepest {
        return http::send(&HttpRequest::get("/deep")).map_or(0, |response| u64::from(response.status()));
    }
    descend(depth + 1, deepest).rotate_left(5) ^ depth
}
