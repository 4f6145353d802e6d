//! The pieces that whole answers and frames of a stream have in common.

use pg_llm_guest::prelude::*;

/// The choice that counts: the first. With `n` above 1 others come too, and are left alone. Without `choices` the output itself is the choice, in the
/// format `text`, which old models answer in whatever was asked.
pub(crate) fn first_choice(output: &Value) -> Option<&Value> {
    if output.get("choices").is_some_and(Value::is_array) {
        output.items_at("choices").iter().find(|choice| choice.u64_at("index").unwrap_or(0) == 0)
    } else {
        output.get("text").is_some().then_some(output)
    }
}

/// The text of a choice: one text, or (multimodal) a list of parts.
pub(crate) fn text(choice: &Value) -> String {
    match choice.at("message").map_or_else(|| choice.get("text"), |message| message.get("content")) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().filter_map(|part| part.as_str().or_else(|| part.text_at("text"))).collect(),
        _ => String::new(),
    }
}

/// The thinking of a choice.
pub(crate) fn thinking(choice: &Value) -> &str {
    choice.get("message").and_then(|message| message.text_at("reasoning_content")).unwrap_or_default()
}

/// The tool calls of a choice.
pub(crate) fn tool_calls(choice: &Value) -> &[Value] {
    choice.get("message").map(|message| message.items_at("tool_calls")).unwrap_or_default()
}

/// Arguments of a tool call: a text that is JSON, or JSON that should have been a text.
pub(crate) fn arguments(function: &Value) -> String {
    match function.get("arguments") {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => pg_llm_guest::json::text(other),
    }
}

/// The id of a call to which the server gave none.
pub(crate) fn invented_id(at: usize) -> String {
    let mut id = "call_".to_owned();
    id.push_str(&at.to_string());
    id
}

/// What the provider's word means; none while it says nothing: null, an empty text, or the text `null`.
pub(crate) fn finish_reason(choice: &Value) -> Option<FinishReason> {
    Some(match choice.word_at("finish_reason")? {
        "null" => return None,
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "tool_calls" => FinishReason::ToolCalls,
        "content_filter" | "sensitive" => FinishReason::ContentFilter,
        other => FinishReason::Other(other.to_owned()),
    })
}

/// Log probabilities of a choice.
pub(crate) fn logprobs(choice: &Value) -> Vec<TokenLogprob> {
    let Some(logprobs) = choice.at("logprobs") else { return Vec::new() };
    let one = |token: &Value| Some((token.text_at("token")?.to_owned(), token.f64_at("logprob")?));
    let tokens = logprobs.items_at("content").iter().filter_map(|wire| {
        let (token, logprob) = one(wire)?;
        let alternatives = wire.items_at("top_logprobs").iter().filter_map(one);
        Some(TokenLogprob { token, logprob, alternatives: alternatives.map(|(token, logprob)| TopLogprob { token, logprob }).collect() })
    });
    tokens.collect()
}
