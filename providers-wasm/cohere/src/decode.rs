//! A whole answer, and the pieces that it has in common with a stream.

use pg_llm_guest::json::{self, record};
use pg_llm_guest::prelude::*;

use crate::{TOOL_PLAN, errors};

/// Reads a response with a status of success.
pub fn decode(body: &[u8]) -> Result<Answer, Failure> {
    let mut events = Vec::new();
    whole(body, &mut events)?;
    Ok(Answer { raw: Some(String::from_utf8_lossy(body).into_owned()), ..assemble(events) })
}

/// The events that a whole answer would have been.
pub(crate) fn whole(bytes: &[u8], events: &mut Vec<Event>) -> Result<(), Failure> {
    let body = json::parse(bytes)?;
    if let Some(failure) = errors::in_body(&body, bytes) {
        return Err(failure);
    }
    let Some(message) = body.get("message").filter(|message| message.is_object()) else {
        return Err(Failure::protocol("the response has no message", bytes));
    };
    events.push(started(&body));
    content(message, events);
    if let Some(plan) = message.word_at(TOOL_PLAN) {
        events.push(Event::Thinking(plan.to_owned()));
        events.push(Event::ThinkingSignature(TOOL_PLAN.to_owned()));
    }
    for (index, call) in (0..).zip(message.items_at("tool_calls")) {
        let function = call.get("function").unwrap_or(call);
        events.push(Event::ToolCall(ToolCallDelta {
            index,
            id: Some(call.word_at("id").map_or_else(|| invented_id(index), str::to_owned)),
            name: Some(function.text_at("name").unwrap_or_default().to_owned()),
            arguments: arguments(function),
            signature: None,
        }));
    }
    let logprobs = logprobs(&body);
    if !logprobs.is_empty() {
        events.push(Event::Logprobs(logprobs));
    }
    end(&body, bytes, events)
}

/// The id of a call to which the provider gave none.
pub(crate) fn invented_id(index: u32) -> String {
    format!("call_{index}")
}

pub(crate) fn started(body: &Value) -> Event {
    Event::Started(Started { id: body.word_at("id").map(str::to_owned), model: body.word_at("model").map(str::to_owned) })
}

/// Text and thinking of a message's content: a list of parts, in a stream one of them, from some servers a text.
pub(crate) fn content(message: &Value, events: &mut Vec<Event>) {
    match message.get("content") {
        Some(Value::Array(parts)) => parts.iter().for_each(|part| piece(part, events)),
        Some(part) => piece(part, events),
        None => {}
    }
}

fn piece(part: &Value, events: &mut Vec<Event>) {
    events.extend(part.word_at("thinking").map(|text| Event::Thinking(text.to_owned())));
    events.extend(part.word_at("text").or_else(|| part.as_str().filter(|text| !text.is_empty())).map(|text| Event::Text(text.to_owned())));
}

/// What the model wrote, which is a text; `null` is its way to say that there are no arguments.
pub(crate) fn arguments(function: &Value) -> String {
    match function.get("arguments") {
        Some(Value::String(text)) if text.trim() == "null" => "{}".to_owned(),
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => json::text(other),
    }
}

/// Usage and finish reason, of an answer or of `message-end`'s delta. A generation that failed is a failure.
pub(crate) fn end(place: &Value, raw: &[u8], events: &mut Vec<Event>) -> Result<(), Failure> {
    events.extend(place.at("usage").and_then(usage).map(Event::Usage));
    let word = place.word_at("finish_reason");
    if word == Some("ERROR") || place.word_at("error").is_some() {
        let words = place.word_at("error").unwrap_or("the generation failed, and the provider does not say why (ERROR)");
        return Err(errors::of(&record([("message", words.into())]), raw));
    }
    if word == Some("TIMEOUT") {
        return Err(Failure::new(FailureKind::Timeout, "the generation took the provider too long (TIMEOUT)").with_raw(raw));
    }
    events.extend(word.map(|word| {
        Event::Finish(match word {
            "COMPLETE" | "STOP_SEQUENCE" => FinishReason::Stop,
            "MAX_TOKENS" | "ERROR_LIMIT" => FinishReason::Length,
            "TOOL_CALL" => FinishReason::ToolCalls,
            "ERROR_TOXIC" => FinishReason::ContentFilter,
            other => FinishReason::Other(other.to_owned()),
        })
    }));
    Ok(())
}

/// Token counts of `usage`, and of `meta` beside embeddings and rankings: what was counted, else what is billed.
pub(crate) fn usage(wire: &Value) -> Option<Usage> {
    wire.as_object().filter(|members| !members.is_empty())?;
    let count = |name: &str| ["tokens", "billed_units"].iter().find_map(|units| wire.get(units)?.u64_at(name));
    Some(Usage {
        input_tokens: count("input_tokens"),
        output_tokens: count("output_tokens"),
        cached_tokens: wire.u64_at("cached_tokens"),
        cache_write_tokens: None,
        reasoning_tokens: count("reasoning_tokens"),
        raw: Some(json::text(wire)),
    })
}

/// Log probabilities of pieces of text: one, or a list of them. A piece of several tokens is as probable as all of them together.
pub(crate) fn logprobs(place: &Value) -> Vec<TokenLogprob> {
    let items = match place.get("logprobs") {
        Some(Value::Array(items)) => items.as_slice(),
        Some(item) => std::slice::from_ref(item),
        None => &[],
    };
    let read = |item: &Value| {
        let numbers = item.items_at("logprobs");
        let sum = numbers.iter().map(Value::as_f64).sum::<Option<f64>>().filter(|_| !numbers.is_empty())?;
        Some(TokenLogprob { token: item.text_at("text")?.to_owned(), logprob: sum, alternatives: Vec::new() })
    };
    items.iter().filter_map(read).collect()
}

/// A whole answer of its events.
fn assemble(events: Vec<Event>) -> Answer {
    let mut answer = Answer::default();
    for event in events {
        match (event, answer.parts.last_mut()) {
            (Event::Started(started), _) => (answer.id, answer.model) = (started.id, started.model),
            (Event::Text(text), Some(Part::Text(so_far))) => so_far.push_str(&text),
            (Event::Text(text), _) => answer.parts.push(Part::Text(text)),
            (Event::Thinking(text), _) => answer.parts.push(Part::Thinking(Thinking { text, signature: None, redacted: false })),
            (Event::ThinkingSignature(signature), Some(Part::Thinking(thinking))) => thinking.signature = Some(signature),
            (Event::ToolCall(ToolCallDelta { id, name, arguments, .. }), _) => answer.parts.push(Part::ToolCall(ToolCall {
                id: id.unwrap_or_default(),
                name: name.unwrap_or_default(),
                arguments,
                signature: None,
            })),
            (Event::Logprobs(tokens), _) => answer.logprobs.extend(tokens),
            (Event::Usage(usage), _) => answer.usage = Some(usage),
            (Event::Finish(reason), _) => answer.finish_reason = Some(reason),
            (Event::ThinkingSignature(_) | Event::RedactedThinking(_), _) => {}
        }
    }
    answer
}
