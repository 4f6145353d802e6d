//! A streamed answer.

use pg_llm_guest::json;
use pg_llm_guest::prelude::*;

use crate::decode::{arguments, content, end, invented_id, logprobs, started, whole};
use crate::{TOOL_PLAN, errors};

/// More tool calls than any answer has.
const MAX_CALLS: usize = 1024;

/// A decoder for a stream.
pub fn decoder() -> ChatStream {
    ChatStream::default()
}

/// Decodes events. What it keeps is bounded by [`MAX_FRAME`](pg_llm_guest::sse::MAX_FRAME) (twice, before the first event) and a number for each tool call.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // what has been seen, each independent of the others
pub struct ChatStream {
    frames: SseResponse,
    started: bool,
    /// A plan is being told, and its signature is due at its end.
    planning: bool,
    finished: bool,
    /// The wire's index of each call.
    calls: Vec<Option<u64>>,
}

impl StreamDecoder for ChatStream {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<Progress, Failure> {
        for frame in &self.frames.push(bytes)? {
            if self.frame(frame, events)? == Progress::Done {
                return Ok(Progress::Done);
            }
        }
        Ok(Progress::More)
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), Failure> {
        match self.frames.finish() {
            SseEnd::Event(frame) if json::read(&frame.data).is_ok() => self.frame(&frame, events).map(|_| ()),
            // An error object, or a server that knows no streams and answered as a whole.
            SseEnd::Whole(body) => whole(&body, events),
            // Nothing, or cut in the middle of an event that is no JSON yet: broken off, which the SDK says when no end was seen.
            SseEnd::Event(_) | SseEnd::Nothing => Ok(()),
        }
    }
}

impl ChatStream {
    fn frame(&mut self, frame: &SseFrame, events: &mut Vec<Event>) -> Result<Progress, Failure> {
        let data = frame.data.trim();
        if data.is_empty() {
            return Ok(Progress::More);
        }
        // Sent after `message-end`, which is the end that counts; alone it is none.
        if data == "[DONE]" {
            return Ok(Progress::Done);
        }
        let event = match json::read(data) {
            Ok(event) => event,
            Err(_) if frame.event == "error" => return Err(Failure::new(FailureKind::Server, data).with_raw(data.as_bytes())),
            Err(mistake) => return Err(Failure::protocol(mistake.words("an event of the stream"), data.as_bytes())),
        };
        if frame.event == "error" {
            return Err(errors::of(&event, data.as_bytes()));
        }
        if let Some(failure) = errors::in_body(&event, data.as_bytes()) {
            return Err(failure);
        }
        self.event(&event, data.as_bytes(), events)?;
        Ok(Progress::More)
    }

    /// By what an event carries; its `type` matters only for the last one. `content-end`, `tool-call-end` and citations carry nothing that is wanted.
    fn event(&mut self, event: &Value, raw: &[u8], events: &mut Vec<Event>) -> Result<(), Failure> {
        if !self.started && event.word_at("id").is_some() {
            self.started = true;
            events.push(started(event));
        }
        let delta = event.get("delta").unwrap_or(&Value::Null);
        let message = delta.get("message").unwrap_or(&Value::Null);
        if let Some(plan) = message.word_at(TOOL_PLAN) {
            self.planning = true;
            events.push(Event::Thinking(plan.to_owned()));
        } else if std::mem::take(&mut self.planning) {
            events.push(Event::ThinkingSignature(TOOL_PLAN.to_owned()));
        }
        content(message, events);
        match message.get("tool_calls") {
            Some(Value::Array(calls)) => calls.iter().for_each(|call| self.tool_call(event, call, events)),
            Some(call @ Value::Object(_)) => self.tool_call(event, call, events),
            _ => {}
        }
        let mut tokens = logprobs(event);
        tokens.extend(logprobs(delta));
        if !tokens.is_empty() {
            events.push(Event::Logprobs(tokens));
        }
        let is_end = event.text_at("type") == Some("message-end") || delta.at("finish_reason").is_some() || delta.at("error").is_some();
        if is_end && !self.finished {
            self.finished = true;
            let so_far = events.len();
            end(delta, raw, events)?;
            if !events[so_far..].iter().any(|event| matches!(event, Event::Finish(_))) {
                // The provider's word for the end, and the only one it gave.
                events.push(Event::Finish(FinishReason::Other("message-end".to_owned())));
            }
        }
        Ok(())
    }

    /// A piece of a tool call: with a name it begins one, without it goes on with the last one of its index.
    fn tool_call(&mut self, event: &Value, call: &Value, events: &mut Vec<Event>) {
        let function = call.get("function").unwrap_or(call);
        let wire_index = event.u64_at("index");
        let name = function.word_at("name");
        let at = if name.is_some() {
            if self.calls.len() == MAX_CALLS {
                return;
            }
            self.calls.push(wire_index);
            self.calls.len() - 1
        } else {
            match self.calls.iter().rposition(|known| wire_index.is_none() || *known == wire_index) {
                Some(at) => at,
                None => return,
            }
        };
        let index = u32::try_from(at).unwrap_or(u32::MAX);
        let id = name.map(|_| call.word_at("id").map_or_else(|| invented_id(index), str::to_owned));
        let arguments = arguments(function);
        if name.is_some() || !arguments.is_empty() {
            events.push(Event::ToolCall(ToolCallDelta { index, id, name: name.map(str::to_owned), arguments, signature: None }));
        }
    }
}
