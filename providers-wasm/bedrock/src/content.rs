//! The pieces that whole answers and streams have in common.

use pg_llm_guest::json::text;
use pg_llm_guest::prelude::*;

/// What the provider's word for the end means. `answered` says that the answer came as the arguments of a tool, whose call is no call.
pub(crate) fn finish_reason(word: &str, answered: bool) -> FinishReason {
    match word {
        "end_turn" | "stop_sequence" => FinishReason::Stop,
        "tool_use" if answered => FinishReason::Stop,
        "tool_use" => FinishReason::ToolCalls,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "guardrail_intervened" | "content_filtered" => FinishReason::ContentFilter,
        other => FinishReason::Other(other.to_owned()),
    }
}

/// Whether the provider runs this tool itself: its call is no question to the caller.
pub(crate) fn is_server_tool(tool_use: &Value) -> bool {
    tool_use.text_at("type").is_some_and(|kind| kind == "server_tool_use")
}

/// Token counts in the one meaning that all providers share: what was read from the cache or written to it is counted beside `inputTokens`, unless
/// `totalTokens` says that it is inside.
pub(crate) fn usage(wire: &Value) -> Option<Usage> {
    wire.as_object().filter(|members| !members.is_empty())?;
    let count = |name: &str| wire.u64_at(name);
    let (input, output) = (count("inputTokens"), count("outputTokens"));
    let cached = count("cacheReadInputTokens");
    let written = count("cacheWriteInputTokens");
    let beside = cached.unwrap_or(0).saturating_add(written.unwrap_or(0));
    let inside = match (input, output, count("totalTokens")) {
        (Some(input), Some(output), Some(total)) => input >= beside && input.saturating_add(output) == total,
        _ => false,
    };
    Some(Usage {
        input_tokens: input.map(|input| if inside { input } else { input.saturating_add(beside) }),
        output_tokens: output,
        cached_tokens: cached,
        cache_write_tokens: written,
        reasoning_tokens: None,
        raw: Some(text(wire)),
    })
}
