//! An answer, as SQL shows it.

use std::time::Duration;

use pg_llm_sandbox::LogLine;
use pg_llm_sandbox::types::{Answer, FinishReason, Part, Usage};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::confidence;

/// A call that was answered.
#[derive(Clone, Debug)]
pub struct ChatOutcome {
    /// Ours, time-ordered (UUID version 7).
    pub request_id: Uuid,
    /// The model's name in SQL.
    pub instance: String,
    /// The model in the provider's words, or as configured.
    pub model_name: String,
    /// The answer.
    pub answer: Answer,
    /// The caller asked for JSON.
    pub wants_json: bool,
    /// How often the provider was called.
    pub attempts: u32,
    /// From the call's begin to its end, retries included.
    pub latency: Duration,
    /// What the guest logged.
    pub log: Vec<LogLine>,
}

impl ChatOutcome {
    /// The answer's text: its text parts, joined. Empty when the model only asked for tools.
    pub fn text(&self) -> String {
        self.answer.parts.iter().filter_map(|p| if let Part::Text(t) = p { Some(t.as_str()) } else { None }).collect()
    }

    /// What `pg_llm_chat_json` returns.
    pub fn to_json(&self) -> Value {
        let text = self.text();
        let confidence = confidence::from_logprobs(&self.answer.logprobs);
        let parsed = if self.wants_json { serde_json::from_str(&text).unwrap_or(Value::Null) } else { Value::Null };
        json!({
            "request_id": self.request_id,
            "instance_name": self.instance,
            "response": text,
            "model_name": self.model_name,
            "finish_reason": self.answer.finish_reason.as_ref().map(finish_reason),
            "usage": usage(self.answer.usage.as_ref()),
            "cost": null,
            "confidence_score": confidence,
            "confidence_method": confidence.map(|_| "logprobs"),
            "fallback_used": false,
            "cached": false,
            "attempts": self.attempts,
            "latency_ms": (self.latency.as_secs_f64() * 1e6).round() / 1e3,
            "tool_calls": tool_calls(&self.answer.parts),
            "thinking": thinking(&self.answer.parts),
            "parsed": parsed,
            "provider_response_id": self.answer.id,
        })
    }
}

fn finish_reason(reason: &FinishReason) -> &str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
        FinishReason::Other(word) => word,
    }
}

/// Token counts in one meaning for all providers; null is unknown.
fn usage(usage: Option<&Usage>) -> Value {
    let Some(u) = usage else { return json!({}) };
    json!({
        "input_tokens": u.input_tokens,
        "output_tokens": u.output_tokens,
        "total_tokens": u.input_tokens.zip(u.output_tokens).map(|(i, o)| i.saturating_add(o)),
        "cached_tokens": u.cached_tokens,
        "cache_write_tokens": u.cache_write_tokens,
        "reasoning_tokens": u.reasoning_tokens,
        "raw": u.raw.as_deref().and_then(|r| serde_json::from_str::<Value>(r).ok()),
    })
}

/// In the form in which `messages` takes them back.
fn tool_calls(parts: &[Part]) -> Value {
    let calls: Vec<Value> = parts
        .iter()
        .filter_map(|p| if let Part::ToolCall(c) = p { Some(c) } else { None })
        .map(|c| {
            let arguments = serde_json::from_str(&c.arguments).unwrap_or_else(|_| Value::String(c.arguments.clone()));
            json!({"id": c.id, "name": c.name, "arguments": arguments, "signature": c.signature})
        })
        .collect();
    if calls.is_empty() { Value::Null } else { Value::Array(calls) }
}

fn thinking(parts: &[Part]) -> Value {
    let blocks: Vec<Value> = parts
        .iter()
        .filter_map(|p| if let Part::Thinking(t) = p { Some(t) } else { None })
        .map(|t| json!({"type": "thinking", "text": t.text, "signature": t.signature, "redacted": t.redacted}))
        .collect();
    if blocks.is_empty() { Value::Null } else { Value::Array(blocks) }
}
