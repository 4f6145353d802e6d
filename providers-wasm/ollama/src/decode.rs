//! What an object of the server says, whether it is all of the answer or a line of it.

use pg_llm_guest::json::{self, set};
use pg_llm_guest::prelude::*;

use crate::errors;

/// More tool calls than any answer has.
const MAX_CALLS: u32 = 1024;

/// Reads a response with a status of success.
pub fn decode(body: &[u8]) -> Result<Answer, Failure> {
    let mut spoken = Spoken::default();
    let mut events = Vec::new();
    let raw = match json::parse(body) {
        Ok(object) => {
            spoken.object(&object, body, &mut events)?;
            Some(String::from_utf8_lossy(body).into_owned())
        }
        Err(failure) => {
            // Some servers in between stream though they were told not to.
            let mut lines = NdjsonDecoder::default();
            let complete = lines.push(body)?;
            for line in complete.into_iter().chain(lines.finish()) {
                let Ok(object) = json::read(&line) else { return Err(failure) };
                spoken.object(&object, line.as_bytes(), &mut events)?;
            }
            None
        }
    };
    spoken.must_be_complete(body)?;
    Ok(Answer { raw, ..assemble(events) })
}

/// What has been said so far. Bounded: flags and a count.
#[derive(Debug, Default)]
pub(crate) struct Spoken {
    started: bool,
    /// A message was among it, be it an empty one.
    said: bool,
    calls: u32,
    /// What the last object said of it.
    done: Option<bool>,
    pub(crate) finished: bool,
}

impl Spoken {
    /// Whether the server has said anything that is part of an answer.
    pub(crate) fn anything(&self) -> bool {
        self.started
    }

    /// The events of an object, and the failure that it may be.
    pub(crate) fn object(&mut self, object: &Value, raw: &[u8], events: &mut Vec<Event>) -> Result<(), Failure> {
        let message = object.get("message").filter(|message| message.is_object());
        // `/api/generate` has the text, and the thinking, at the top.
        let text = message.map_or_else(|| object.text_at("response"), |message| message.text_at("content"));
        let done = object.get("done").and_then(Value::as_bool);
        let speaks = message.is_some() || text.is_some();
        self.said |= speaks;
        if speaks || done.is_some() {
            if !self.started {
                self.started = true;
                events.push(Event::Started(Started { id: None, model: object.word_at("model").map(str::to_owned) }));
            }
            let message = message.unwrap_or(object);
            events.extend(message.word_at("thinking").map(|text| Event::Thinking(text.to_owned())));
            events.extend(text.filter(|text| !text.is_empty()).map(|text| Event::Text(text.to_owned())));
            for call in message.items_at("tool_calls") {
                events.extend(self.tool_call(call).map(Event::ToolCall));
            }
            let logprobs = logprobs(object);
            if !logprobs.is_empty() {
                events.push(Event::Logprobs(logprobs));
            }
            self.done = done;
            if done == Some(true) && self.said && !self.finished {
                self.finished = true;
                events.extend(usage(object).map(Event::Usage));
                events.push(Event::Finish(self.finish_reason(object)));
            }
        }
        match errors::in_body(object, raw) {
            Some(failure) => Err(failure),
            None if done == Some(true) && !self.said => Err(Failure::protocol("the answer has no message", raw)),
            None => Ok(()),
        }
    }

    fn finish_reason(&self, object: &Value) -> FinishReason {
        match object.word_at("done_reason") {
            // Older servers give no reason.
            None | Some("stop") if self.calls > 0 => FinishReason::ToolCalls,
            None | Some("stop") => FinishReason::Stop,
            Some("length") => FinishReason::Length,
            Some("tool_calls") => FinishReason::ToolCalls,
            Some(other) => FinishReason::Other(other.to_owned()),
        }
    }

    /// A call, which is always whole.
    fn tool_call(&mut self, call: &Value) -> Option<ToolCallDelta> {
        let function = call.get("function").unwrap_or(call);
        let name = function.word_at("name")?;
        let index = self.calls;
        if index == MAX_CALLS {
            return None;
        }
        self.calls += 1;
        let arguments = match function.get("arguments") {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null) => "{}".to_owned(),
            Some(other) => json::text(other),
        };
        let id = call.word_at("id").map_or_else(|| format!("call_{index}"), str::to_owned);
        Some(ToolCallDelta { index, id: Some(id), name: Some(name.to_owned()), arguments, signature: None })
    }

    /// Whether what was read is an answer; `body` is what it was read from.
    fn must_be_complete(&self, body: &[u8]) -> Result<(), Failure> {
        if !self.started {
            return Err(Failure::protocol("the response has no message", body));
        }
        if self.done == Some(false) {
            return Err(Failure::new(FailureKind::Broken, "the response ended before the answer was complete").with_raw(body));
        }
        Ok(())
    }
}

/// A whole answer of its events.
fn assemble(events: Vec<Event>) -> Answer {
    let mut answer = Answer::default();
    for event in events {
        match (event, answer.parts.last_mut()) {
            (Event::Started(started), _) => answer.model = started.model,
            (Event::Text(text), Some(Part::Text(so_far))) => so_far.push_str(&text),
            (Event::Text(text), _) => answer.parts.push(Part::Text(text)),
            (Event::Thinking(text), Some(Part::Thinking(so_far))) => so_far.text.push_str(&text),
            (Event::Thinking(text), _) => answer.parts.push(Part::Thinking(Thinking { text, signature: None, redacted: false })),
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

/// The counts of the last object. A count that is absent is unknown, and never 0.
pub(crate) fn usage(object: &Value) -> Option<Usage> {
    let mut raw = Map::new();
    for name in ["total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration"] {
        if let Some(value) = object.at(name) {
            set(&mut raw, name, value.clone());
        }
    }
    (!raw.is_empty()).then(|| Usage {
        input_tokens: object.u64_at("prompt_eval_count"),
        output_tokens: object.u64_at("eval_count"),
        raw: Some(json::text(&Value::Object(raw))),
        ..Usage::default()
    })
}

fn logprobs(object: &Value) -> Vec<TokenLogprob> {
    let tokens = object.items_at("logprobs").iter();
    tokens
        .filter_map(|token| {
            Some(TokenLogprob {
                token: token.text_at("token")?.to_owned(),
                logprob: token.f64_at("logprob")?,
                alternatives: token
                    .items_at("top_logprobs")
                    .iter()
                    .filter_map(|top| Some(TopLogprob { token: top.text_at("token")?.to_owned(), logprob: top.f64_at("logprob")? }))
                    .collect(),
            })
        })
        .collect()
}
