//! The pieces that whole messages and deltas have in common.

use pg_llm_guest::json::text;
use pg_llm_guest::prelude::*;

/// Text and thinking of a `message` or a `delta`, in their order.
pub(crate) fn pieces(message: &Value, mut take: impl FnMut(Piece)) {
    // `reasoning_content` is DeepSeek's, Qwen's and others' name, `reasoning` Groq's, OpenRouter's and the newer vLLM's. Some servers send both, alike.
    if let Some(text) = message.word_at("reasoning_content").or_else(|| message.word_at("reasoning")) {
        take(Piece::Thinking(text.to_owned()));
    }
    match message.get("content") {
        Some(Value::String(text)) if !text.is_empty() => take(Piece::Text(text.clone())),
        Some(Value::Array(parts)) => parts.iter().for_each(|part| content_part(part, &mut take)),
        _ => {}
    }
    if let Some(text) = message.word_at("refusal") {
        take(Piece::Text(text.to_owned()));
    }
}

/// Words of a model.
pub(crate) enum Piece {
    Text(String),
    Thinking(String),
}

/// Mistral's parts: text, thinking (a text, or a list of parts), and others that carry no words.
fn content_part(part: &Value, take: &mut impl FnMut(Piece)) {
    match part.text_at("type") {
        Some("thinking" | "reasoning") => {
            let thinking: String = match part.get("thinking").or_else(|| part.get("text")) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Array(inner)) => inner.iter().filter_map(|inner| inner.text_at("text")).collect(),
                _ => String::new(),
            };
            if !thinking.is_empty() {
                take(Piece::Thinking(thinking));
            }
        }
        // `output_text` is what Responses calls it, and some gateways mix them up.
        Some("text" | "output_text") | None => {
            if let Some(text) = part.word_at("text").or_else(|| part.as_str().filter(|text| !text.is_empty())) {
                take(Piece::Text(text.to_owned()));
            }
        }
        Some("refusal") => {
            if let Some(text) = part.word_at("refusal") {
                take(Piece::Text(text.to_owned()));
            }
        }
        Some(_) => {}
    }
}

/// The choice that counts: the first. With `n` above 1 others are interleaved, and left alone.
pub(crate) fn first_choice(body: &Value) -> Option<&Value> {
    body.items_at("choices").iter().find(|choice| choice.u64_at("index").unwrap_or(0) == 0)
}

/// What the provider's word means; none while it says nothing (null, an empty text, or the text `null`).
pub(crate) fn finish_reason(choice: &Value) -> Option<FinishReason> {
    Some(match choice.word_at("finish_reason")? {
        "null" => return None,
        "stop" | "eos" | "end_turn" | "stop_sequence" => FinishReason::Stop,
        "length" | "max_tokens" | "model_length" => FinishReason::Length,
        "tool_calls" | "function_call" | "tool_use" => FinishReason::ToolCalls,
        "content_filter" | "sensitive" => FinishReason::ContentFilter,
        other => FinishReason::Other(other.to_owned()),
    })
}

/// Arguments of a tool call: a text that is JSON, or JSON that should have been a text.
pub(crate) fn arguments(function: &Value) -> String {
    match function.get("arguments") {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => text(other),
    }
}

/// Gemini's signature of a tool call, at its compatible endpoint.
pub(crate) fn signature(call: &Value) -> Option<String> {
    call.get("extra_content")?.get("google")?.text_at("thought_signature").map(str::to_owned)
}

/// Log probabilities of a choice.
pub(crate) fn logprobs(choice: &Value) -> Vec<TokenLogprob> {
    choice.at("logprobs").map(|logprobs| logprobs_of(logprobs.items_at("content"))).unwrap_or_default()
}

/// Log probabilities, from a list of tokens.
pub(crate) fn logprobs_of(tokens: &[Value]) -> Vec<TokenLogprob> {
    let mut all = Vec::new();
    for wire in tokens {
        let mut alternatives = Vec::new();
        for top in wire.items_at("top_logprobs") {
            alternatives.extend(token(top).map(|(token, logprob)| TopLogprob { token, logprob }));
        }
        all.extend(token(wire).map(|(token, logprob)| TokenLogprob { token, logprob, alternatives }));
    }
    all
}

fn token(wire: &Value) -> Option<(String, f64)> {
    Some((wire.text_at("token")?.to_owned(), wire.f64_at("logprob")?))
}
