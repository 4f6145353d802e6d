//! Token counts, in the one meaning that all providers share.

use pg_llm_guest::json;
use pg_llm_guest::prelude::*;

/// Reads a `usageMetadata`; none when it counts nothing, as in the first chunks of Vertex AI's streams.
pub(crate) fn usage(wire: &Value) -> Option<Usage> {
    // What a tool of Google's fetched is input too, counted beside the prompt; thoughts are output, counted beside the answer.
    let input_tokens = sum(wire.u64_at("promptTokenCount"), wire.u64_at("toolUsePromptTokenCount"));
    let reasoning_tokens = wire.u64_at("thoughtsTokenCount");
    let output_tokens = sum(wire.u64_at("candidatesTokenCount"), reasoning_tokens);
    (input_tokens.is_some() || output_tokens.is_some()).then(|| Usage {
        input_tokens,
        output_tokens,
        cached_tokens: wire.u64_at("cachedContentTokenCount"),
        cache_write_tokens: None,
        reasoning_tokens,
        raw: Some(json::text(wire)),
    })
}

fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    }
}
