//! An answer, as SQL shows it.

use std::time::Duration;

use pg_llm_sandbox::types::{Answer, FinishReason, Part, TokenLogprob, Usage};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::call_log::CallLog;
use crate::fallback::Passed;
use crate::filters::Acted;
use crate::structured::{AnswerFormat, Structured};
use crate::{confidence, extract, messages};

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
    /// The form that was asked for.
    pub(crate) format: Option<AnswerFormat>,
    /// Its JSON, where it was asked for and came.
    pub(crate) structured: Option<Structured>,
    /// What filters did, in the order in which they did it.
    pub(crate) acted: Vec<Acted>,
    /// The caller wants the provider's response as it came.
    pub include_raw: bool,
    /// It was given before, and kept.
    pub cached: bool,
    /// Another model than the called one gave it.
    pub fallback_used: bool,
    /// The other models that were to give it, in the order of their turns.
    pub passed: Vec<Passed>,
    /// How often a provider was called, those of the other models included; 0 for an answer out of the cache.
    pub attempts: u32,
    /// From the call's begin to its end, retries included.
    pub latency: Duration,
    /// What the guests logged, and warnings.
    pub log: CallLog,
}

impl ChatOutcome {
    /// The answer's text: its text parts, joined; with a schema the JSON alone. Empty when the model only asked for tools.
    pub fn text(&self) -> String {
        match &self.structured {
            Some(structured) => structured.text.clone(),
            None => self.whole_text(),
        }
    }

    /// How sure the model was, in 0..=1, where the answer tells.
    pub fn confidence(&self) -> Option<f64> {
        confidence::from_logprobs(&self.answer.logprobs)
    }

    /// Its JSON, where it was to fit a schema.
    pub(crate) fn structured_value(&self) -> Option<&Value> {
        self.structured.as_ref().map(|structured| &structured.value)
    }

    /// The answer in words: its text, and the tools that it asks for.
    pub(crate) fn shown(&self) -> String {
        let text = self.text();
        if self.answer.parts.iter().any(|part| matches!(part, Part::ToolCall(_))) {
            return json!({"text": text, "tool_calls": tool_calls(&self.answer.parts)}).to_string();
        }
        text
    }

    fn whole_text(&self) -> String {
        self.answer.parts.iter().filter_map(|p| if let Part::Text(t) = p { Some(t.as_str()) } else { None }).collect()
    }

    /// Token counts, as in [`Self::to_json`].
    pub fn usage_json(&self) -> Value {
        usage(self.answer.usage.as_ref())
    }

    /// The same with the members `cost` and `currency`.
    pub fn usage_and_cost(&self) -> Value {
        let mut value = self.usage_json();
        self.log.spent().show(&mut value, self.cached);
        value
    }

    /// What `pg_llm_chat_json` returns.
    pub fn to_json(&self) -> Value {
        let text = self.text();
        let confidence = self.confidence();
        let mut value = json!({
            "request_id": self.request_id,
            "instance_name": self.instance,
            "response": text,
            "model_name": self.model_name,
            "finish_reason": self.answer.finish_reason.as_ref().map(finish_reason),
            "usage": self.usage_json(),
            "confidence_score": confidence,
            "confidence_method": confidence.map(|_| "logprobs"),
            "fallback_used": self.fallback_used,
            "fallback_from": some(self.passed.iter().map(Passed::to_json).collect()),
            "cached": self.cached,
            "attempts": self.attempts,
            "latency_ms": milliseconds(self.latency),
            "tool_calls": tool_calls(&self.answer.parts),
            "thinking": thinking(&self.answer.parts),
            "parsed": self.parsed(),
            "filters": some(self.acted.iter().map(Acted::to_json).collect()),
            "message": messages::to_json(&self.answer.parts),
            "logprobs": logprobs(&self.answer.logprobs),
            "provider_response_id": self.answer.id,
        });
        self.log.spent().show(&mut value, self.cached);
        if self.include_raw {
            value["raw"] = self.answer.raw.as_deref().and_then(raw).unwrap_or(Value::Null);
        }
        value
    }

    fn parsed(&self) -> Value {
        match (&self.structured, &self.format) {
            (Some(structured), _) => structured.value.clone(),
            // Nothing is enforced: what is JSON is shown.
            (None, Some(AnswerFormat::Json)) => {
                extract::candidates(&self.whole_text()).into_iter().find_map(Result::ok).map_or(Value::Null, |s| s.value)
            }
            _ => Value::Null,
        }
    }
}

/// With three decimals.
pub(crate) fn milliseconds(time: Duration) -> Value {
    json!((time.as_secs_f64() * 1e6).round() / 1e3)
}

pub(crate) fn finish_reason(reason: &FinishReason) -> &str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
        FinishReason::Other(word) => word,
    }
}

/// Token counts in one meaning for all providers; null is unknown.
pub(crate) fn usage(usage: Option<&Usage>) -> Value {
    let Some(u) = usage else { return json!({}) };
    json!({
        "input_tokens": u.input_tokens,
        "output_tokens": u.output_tokens,
        "total_tokens": u.input_tokens.zip(u.output_tokens).map(|(i, o)| i.saturating_add(o)),
        "cached_tokens": u.cached_tokens,
        "cache_write_tokens": u.cache_write_tokens,
        "reasoning_tokens": u.reasoning_tokens,
        "raw": u.raw.as_deref().and_then(raw),
    })
}

/// JSON of the provider, if the database can hold it.
fn raw(text: &str) -> Option<Value> {
    extract::value(text)
}

/// In the form in which `messages` takes them back.
fn tool_calls(parts: &[Part]) -> Value {
    let calls = parts.iter().filter_map(|p| if let Part::ToolCall(c) = p { Some(c) } else { None });
    let calls = calls.map(|call| {
        let arguments = extract::value(&call.arguments).unwrap_or_else(|| Value::String(call.arguments.clone()));
        messages::tool_call_to_json(call, &arguments, None)
    });
    some(calls.collect())
}

fn thinking(parts: &[Part]) -> Value {
    let blocks = parts.iter().filter_map(|p| if let Part::Thinking(t) = p { Some(t) } else { None });
    some(blocks.map(messages::thinking_to_json).collect())
}

/// The chosen tokens, each with the alternatives that the provider shows.
fn logprobs(tokens: &[TokenLogprob]) -> Value {
    let shown = |token: &TokenLogprob| {
        let top: Vec<Value> = token.alternatives.iter().map(|t| json!({"token": t.token, "logprob": t.logprob})).collect();
        json!({"token": token.token, "logprob": token.logprob, "top": top})
    };
    // Filtered answers have none, but for their confidence.
    let words = tokens.iter().any(|token| !token.token.is_empty());
    some(if words { tokens.iter().map(shown).collect() } else { Vec::new() })
}

/// Null where there is nothing.
fn some(list: Vec<Value>) -> Value {
    if list.is_empty() { Value::Null } else { Value::Array(list) }
}
