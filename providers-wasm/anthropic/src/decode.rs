//! A whole answer, and what it has in common with a streamed one.

use pg_llm_guest::json;
use pg_llm_guest::prelude::*;

use crate::errors;
use crate::settings::Wire;

/// Reads a response with a status of success.
pub fn decode(request: &ChatRequest, response: &HttpResponse) -> Result<Answer, Failure> {
    let schema_tool = Wire::of(request)?.schema_tool(request)?.map(|format| format.name.as_str());
    answer(&response.body, schema_tool)
}

pub(crate) fn answer(bytes: &[u8], schema_tool: Option<&str>) -> Result<Answer, Failure> {
    let body = json::parse(bytes)?;
    if let Some(failure) = errors::in_body(&body, bytes) {
        return Err(failure);
    }
    let Some(content) = body.get("content").and_then(Value::as_array) else {
        return Err(Failure::protocol("the response has no content", bytes));
    };
    let mut parts: Vec<Part> = Vec::new();
    let mut calls = false;
    for block in content {
        let (part, text) = match block.text_at("type").unwrap_or_default() {
            "text" => (None, block.text_at("text").unwrap_or_default().to_owned()),
            "tool_use" if schema_tool.is_some() && block.text_at("name") == schema_tool => (None, input(block)),
            "tool_use" => {
                calls = true;
                let of = |name: &str| block.text_at(name).unwrap_or_default().to_owned();
                (Some(Part::ToolCall(ToolCall { id: of("id"), name: of("name"), arguments: input(block), signature: None })), String::new())
            }
            "thinking" => (
                Some(Part::Thinking(Thinking {
                    text: block.text_at("thinking").unwrap_or_default().to_owned(),
                    signature: block.word_at("signature").map(str::to_owned),
                    redacted: false,
                })),
                String::new(),
            ),
            "redacted_thinking" => (
                Some(Part::Thinking(Thinking {
                    text: String::new(),
                    signature: Some(block.text_at("data").unwrap_or_default().to_owned()),
                    redacted: true,
                })),
                String::new(),
            ),
            // Tools that ran at the provider, and whatever comes to be.
            _ => continue,
        };
        match (part, parts.last_mut()) {
            (Some(part), _) => parts.push(part),
            (None, Some(Part::Text(so_far))) => so_far.push_str(&text),
            (None, _) if text.is_empty() => {}
            (None, _) => parts.push(Part::Text(text)),
        }
    }
    Ok(Answer {
        id: body.word_at("id").map(str::to_owned),
        model: body.word_at("model").map(str::to_owned),
        parts,
        finish_reason: body.word_at("stop_reason").map(|word| finish_reason(word, schema_tool.is_some() && !calls)),
        usage: body.at("usage").and_then(usage),
        logprobs: Vec::new(),
        raw: Some(String::from_utf8_lossy(bytes).into_owned()),
    })
}

/// The input of a tool: an object, which a call without arguments has empty.
pub(crate) fn input(block: &Value) -> String {
    block.at("input").map_or_else(|| "{}".to_owned(), json::text)
}

/// What the provider's word means. With `schema_only` the tool that stands for a schema is all that was called.
pub(crate) fn finish_reason(word: &str, schema_only: bool) -> FinishReason {
    match word {
        "end_turn" | "stop_sequence" => FinishReason::Stop,
        "tool_use" if schema_only => FinishReason::Stop,
        "tool_use" => FinishReason::ToolCalls,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "refusal" => FinishReason::ContentFilter,
        other => FinishReason::Other(other.to_owned()),
    }
}

/// Reads a `usage` object; none when it is no object or says nothing. The provider counts cached input apart, and we within.
pub fn usage(wire: &Value) -> Option<Usage> {
    wire.as_object().filter(|members| !members.is_empty())?;
    let (written, read) = (wire.u64_at("cache_creation_input_tokens"), wire.u64_at("cache_read_input_tokens"));
    let uncached = wire.u64_at("input_tokens");
    Some(Usage {
        input_tokens: uncached.map(|tokens| tokens.saturating_add(written.unwrap_or(0)).saturating_add(read.unwrap_or(0))),
        output_tokens: wire.u64_at("output_tokens"),
        cached_tokens: read,
        cache_write_tokens: written,
        reasoning_tokens: wire.get("output_tokens_details").and_then(|details| details.u64_at("thinking_tokens")),
        raw: Some(json::text(wire)),
    })
}
