//! Token counts, in the one meaning that all providers share.

use pg_llm_guest::prelude::*;

/// The usage of a response or a frame; none where it says nothing.
pub(crate) fn usage(body: &Value) -> Option<Usage> {
    let wire = body.at("usage")?;
    wire.as_object().filter(|members| !members.is_empty())?;
    let of_input = |name: &str| wire.get("prompt_tokens_details")?.u64_at(name);
    Some(Usage {
        input_tokens: wire.u64_at("input_tokens"),
        output_tokens: wire.u64_at("output_tokens"),
        cached_tokens: of_input("cached_tokens"),
        cache_write_tokens: of_input("cache_creation_input_tokens"),
        reasoning_tokens: wire.get("output_tokens_details").and_then(|details| details.u64_at("reasoning_tokens")),
        raw: Some(pg_llm_guest::json::text(wire)),
    })
}

/// The usage where nothing is generated: the total is the input's.
pub(crate) fn input_usage(body: &Value) -> Option<Usage> {
    let total = body.get("usage").and_then(|wire| wire.u64_at("total_tokens"));
    usage(body).map(|usage| Usage { input_tokens: usage.input_tokens.or(total), ..usage })
}
