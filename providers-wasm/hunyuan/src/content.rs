//! The pieces that whole answers and frames of a stream have in common.

use pg_llm_guest::json;
use pg_llm_guest::prelude::*;

/// What is inside the envelope of API 3.0, which frames of a stream do not have.
pub(crate) fn unwrapped(body: &Value) -> &Value {
    body.get("Response").filter(|inner| inner.is_object()).unwrap_or(body)
}

/// The choice that counts: the first.
pub(crate) fn first_choice(body: &Value) -> Option<&Value> {
    body.items_at("Choices").iter().find(|choice| choice.u64_at("Index").unwrap_or(0) == 0)
}

/// What the provider's word means; none while it says nothing.
pub(crate) fn finish_reason(choice: &Value) -> Option<FinishReason> {
    Some(match choice.word_at("FinishReason")? {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "tool_calls" => FinishReason::ToolCalls,
        "sensitive" | "content_filter" => FinishReason::ContentFilter,
        other => FinishReason::Other(other.to_owned()),
    })
}

/// Arguments of a tool call: a text that is JSON, or JSON that should have been a text.
pub(crate) fn arguments(function: &Value) -> String {
    match function.get("Arguments") {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => json::text(other),
    }
}

/// The id of a call to which the server gave none.
pub(crate) fn invented_id(at: usize) -> String {
    ["call_", &at.to_string()].concat()
}

/// Token counts, in the one meaning that all providers share; none where nothing is said.
pub(crate) fn usage(body: &Value) -> Option<Usage> {
    let wire = body.at("Usage")?;
    wire.as_object().filter(|members| !members.is_empty())?;
    let cached = wire.get("PromptTokensDetails").and_then(|details| {
        // The documentation says that it is a text.
        details.u64_at("CachedTokens").or_else(|| details.text_at("CachedTokens")?.parse().ok())
    });
    Some(Usage {
        input_tokens: wire.u64_at("PromptTokens"),
        output_tokens: wire.u64_at("CompletionTokens"),
        cached_tokens: cached,
        cache_write_tokens: None,
        reasoning_tokens: None,
        raw: Some(json::text(wire)),
    })
}
