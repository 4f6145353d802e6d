//! Token counts, in the one meaning that all providers share.

use pg_llm_guest::json::text;
use pg_llm_guest::prelude::*;

/// Reads a `usage` object; none when it is no object or says nothing.
pub fn usage(wire: &Value) -> Option<Usage> {
    wire.as_object().filter(|members| !members.is_empty())?;
    let input_tokens = wire.u64_at("prompt_tokens").or_else(|| wire.u64_at("input_tokens"));
    let details = |names: [&str; 2], name: &str| names.iter().find_map(|details| wire.get(details)?.u64_at(name));
    let of_input = |name: &str| details(["prompt_tokens_details", "input_tokens_details"], name);
    let reasoning_tokens =
        details(["completion_tokens_details", "output_tokens_details"], "reasoning_tokens").or_else(|| wire.u64_at("reasoning_tokens"));
    let mut output_tokens = wire.u64_at("completion_tokens").or_else(|| wire.u64_at("output_tokens"));
    // xAI counts reasoning beside the output, and only the total tells.
    if let (Some(input), Some(output), Some(reasoning), Some(total)) =
        (input_tokens, output_tokens, reasoning_tokens, wire.u64_at("total_tokens"))
    {
        let with_reasoning = output.saturating_add(reasoning);
        if reasoning > 0 && input.saturating_add(with_reasoning) == total {
            output_tokens = Some(with_reasoning);
        }
    }
    Some(Usage {
        input_tokens,
        output_tokens,
        cached_tokens: of_input("cached_tokens")
            .or_else(|| wire.u64_at("prompt_cache_hit_tokens"))
            .or_else(|| wire.u64_at("cached_tokens")),
        cache_write_tokens: of_input("cache_write_tokens"),
        reasoning_tokens,
        raw: Some(text(wire)),
    })
}

/// The usage of a response or a chunk, wherever it stands.
pub(crate) fn usage_in(body: &Value) -> Option<Usage> {
    body.at("usage").and_then(usage).or_else(|| body.get("x_groq")?.get("usage").and_then(usage))
}

/// The same of a call that has no output: some servers only tell the total.
pub(crate) fn input_usage_in(body: &Value) -> Option<Usage> {
    let total = body.get("usage").and_then(|usage| usage.u64_at("total_tokens"));
    usage_in(body).map(|usage| Usage { input_tokens: usage.input_tokens.or(total), ..usage })
}
