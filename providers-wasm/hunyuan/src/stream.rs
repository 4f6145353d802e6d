//! A streamed answer.

use pg_llm_guest::json;
use pg_llm_guest::prelude::*;

use crate::content::{arguments, finish_reason, first_choice, invented_id, unwrapped, usage};
use crate::{decode, errors};

/// More tool calls than any answer has.
const MAX_CALLS: usize = 1024;

/// A decoder for a stream.
pub fn decoder(head: &ResponseHead) -> ChatStream {
    ChatStream { request_id: head.headers.get("x-tc-requestid").map(str::to_owned), ..ChatStream::default() }
}

/// Decodes frames. What it keeps is bounded by [`MAX_FRAME`](pg_llm_guest::sse::MAX_FRAME) (twice, before the first event) and a word for each tool call.
#[derive(Debug, Default)]
pub struct ChatStream {
    /// A stream's frames do not tell it.
    request_id: Option<String>,
    frames: SseResponse,
    started: bool,
    finished: bool,
    calls: Vec<Call>,
    /// The last usage, as every frame has one, until it is told.
    usage: Option<Usage>,
}

/// A tool call as far as it is known, to tell its pieces from another's.
#[derive(Debug)]
struct Call {
    wire_index: Option<u64>,
    id: String,
    named: bool,
}

impl StreamDecoder for ChatStream {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<Progress, Failure> {
        for frame in &self.frames.push(bytes)? {
            self.frame(frame, false, events)?;
        }
        Ok(Progress::More)
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), Failure> {
        match self.frames.finish() {
            SseEnd::Event(frame) => self.frame(&frame, true, events)?,
            SseEnd::Whole(body) => return Self::whole_answer(&body, events).map_err(|failure| self.of(failure)),
            SseEnd::Nothing => {}
        }
        events.extend(self.usage.take().map(Event::Usage));
        Ok(())
    }
}

impl ChatStream {
    /// An event. At the end of the body it may be cut in the middle, where it is no JSON: broken off, which the SDK says when no end was seen.
    fn frame(&mut self, frame: &SseFrame, at_end: bool, events: &mut Vec<Event>) -> Result<(), Failure> {
        let data = frame.data.trim();
        if data.is_empty() || data == "[DONE]" {
            return Ok(());
        }
        let mistake = match json::read(data) {
            Ok(body) => return self.body(&body, data, events),
            Err(mistake) => mistake,
        };
        // Events that no blank line separates are lines of one: the documentation's examples have a tab there.
        if data.contains('\n') {
            let mut complete = true;
            for line in data.lines() {
                match json::read(line) {
                    Ok(body) => self.body(&body, line, events)?,
                    Err(_) => complete &= line == "[DONE]",
                }
            }
            if complete {
                return Ok(());
            }
        }
        if at_end {
            return Ok(());
        }
        events.extend(self.usage.take().map(Event::Usage));
        Err(self.of(if frame.event == "error" {
            Failure::new(FailureKind::Server, data).with_raw(data.as_bytes())
        } else {
            Failure::protocol(mistake.words("an event of the stream"), data.as_bytes())
        }))
    }

    fn body(&mut self, body: &Value, raw: &str, events: &mut Vec<Event>) -> Result<(), Failure> {
        let body = unwrapped(body);
        if !self.started && body.get("Choices").is_some() {
            self.started = true;
            let id = body.word_at("Id").map(str::to_owned).or_else(|| self.request_id.clone());
            events.push(Event::Started(Started { id, model: None }));
        }
        self.usage = usage(body).or(self.usage.take());
        if let Some(choice) = first_choice(body) {
            self.choice(choice, events);
        }
        let failure = errors::in_body(body, raw.as_bytes());
        if self.finished || failure.is_some() {
            events.extend(self.usage.take().map(Event::Usage));
        }
        failure.map_or(Ok(()), |failure| Err(self.of(failure)))
    }

    fn choice(&mut self, choice: &Value, events: &mut Vec<Event>) {
        if let Some(delta) = choice.at("Delta").or_else(|| choice.at("Message")) {
            events.extend(delta.word_at("ReasoningContent").map(|text| Event::Thinking(text.to_owned())));
            events.extend(delta.word_at("Content").map(|text| Event::Text(text.to_owned())));
            for call in delta.items_at("ToolCalls") {
                self.tool_call(call, events);
            }
        }
        if let Some(reason) = finish_reason(choice).filter(|_| !self.finished) {
            self.finished = true;
            events.push(Event::Finish(reason));
        }
    }

    /// A piece of a tool call. Pieces belong together by their id; without one by the index; without either to the last call, until a further name begins
    /// a further call.
    fn tool_call(&mut self, call: &Value, events: &mut Vec<Event>) {
        let function = call.get("Function").unwrap_or(call);
        let (wire_index, id, name) = (call.u64_at("Index"), call.word_at("Id"), function.word_at("Name"));
        let by_index = || self.calls.iter().rposition(|known| wire_index.is_some() && known.wire_index == wire_index);
        let last = || self.calls.len().checked_sub(1).filter(|last| name.is_none() || (wire_index.is_none() && !self.calls[*last].named));
        let known = match id {
            Some(id) => self.calls.iter().position(|known| known.id == id),
            None => by_index().or_else(last),
        };
        let at = match known {
            Some(at) => at,
            None if self.calls.len() == MAX_CALLS => return,
            None => {
                let id = id.map_or_else(|| invented_id(self.calls.len()), str::to_owned);
                self.calls.push(Call { wire_index, id, named: false });
                self.calls.len() - 1
            }
        };
        let known = &mut self.calls[at];
        let first_name = if known.named { None } else { name };
        known.named |= first_name.is_some();
        let arguments = arguments(function);
        if first_name.is_some() || !arguments.is_empty() {
            events.push(Event::ToolCall(ToolCallDelta {
                index: u32::try_from(at).unwrap_or(u32::MAX),
                id: first_name.map(|_| known.id.clone()),
                name: first_name.map(str::to_owned),
                arguments,
                signature: None,
            }));
        }
    }

    /// The response was no event stream: an error, as all of them begin, or an answer as a whole.
    fn whole_answer(body: &[u8], events: &mut Vec<Event>) -> Result<(), Failure> {
        decode::answer(body)?.into_events(events);
        Ok(())
    }

    /// Adds the request's id, which only the head of a stream tells.
    fn of(&self, mut failure: Failure) -> Failure {
        failure.request_id = failure.request_id.or_else(|| self.request_id.clone());
        failure
    }
}
