//! A streamed answer.

use pg_llm_guest::json::{self, record};
use pg_llm_guest::prelude::*;

use crate::content::{Piece, arguments, finish_reason, first_choice, logprobs, pieces, signature};
use crate::decode::{self, invented_id};
use crate::errors;
use crate::responses::{self, Items};
use crate::settings::Wire;
use crate::usage::usage_in;

/// More tool calls than any answer has.
const MAX_CALLS: usize = 1024;

/// A decoder for a stream.
pub fn decoder(request: &ChatRequest, _head: &ResponseHead) -> Result<ChatStream, Failure> {
    let wire = Wire::of(request)?;
    let responses = wire.is_responses()?.then(Items::default);
    Ok(ChatStream { quota_is_throttle: wire.quota_is_throttle()?, responses, ..ChatStream::default() })
}

/// Decodes chunks. What it keeps is bounded by [`MAX_FRAME`](pg_llm_guest::sse::MAX_FRAME) (twice, before the first event) and a word for each tool call.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // what has been seen, each independent of the others
pub struct ChatStream {
    frames: SseResponse,
    started: bool,
    /// Whether there was a choice at all.
    spoken: bool,
    /// Whether the choice said anything, be it an empty text.
    said: bool,
    finished: bool,
    calls: Vec<Call>,
    quota_is_throttle: bool,
    /// With the setting `api`: the stream is one of Responses.
    responses: Option<Items>,
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
            if self.frame(frame, events)? == Progress::Done {
                return Ok(Progress::Done);
            }
        }
        Ok(Progress::More)
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), Failure> {
        match self.frames.finish() {
            SseEnd::Event(frame) if frame.data.trim_ascii() == "[DONE]" || json::read(&frame.data).is_ok() => {
                self.frame(&frame, events).map(|_| ())
            }
            SseEnd::Whole(body) => self.whole(&body, events),
            // Nothing, or cut in the middle of an event that is no JSON yet: broken off, which the SDK says when no end was seen.
            SseEnd::Event(_) | SseEnd::Nothing => Ok(()),
        }
    }
}

impl ChatStream {
    fn frame(&mut self, frame: &SseFrame, events: &mut Vec<Event>) -> Result<Progress, Failure> {
        let data = frame.data.trim_ascii();
        if data.is_empty() {
            return Ok(Progress::More);
        }
        if data == "[DONE]" {
            if !self.finished && self.responses.is_none() {
                if !self.said {
                    let wrong = if self.spoken { "the stream's message has no content" } else { "the stream has no choices" };
                    return Err(Failure::protocol(wrong, &[]));
                }
                // The provider's word for the end, and the only one it gave.
                events.push(Event::Finish(FinishReason::Other(data.to_owned())));
                self.finished = true;
            }
            return Ok(Progress::Done);
        }
        let chunk = match json::read(data) {
            Ok(chunk) => chunk,
            Err(_) if frame.event == "error" => return Err(Failure::new(FailureKind::Server, data).with_raw(data.as_bytes())),
            Err(mistake) => return Err(Failure::protocol(mistake.words("an event of the stream"), data.as_bytes())),
        };
        if let Some(items) = &mut self.responses {
            return items.event(&chunk, data.as_bytes(), self.quota_is_throttle, events);
        }
        let read = self.chunk(&chunk, events);
        match errors::in_body(&chunk, data.as_bytes(), self.quota_is_throttle) {
            Some(failure) => Err(failure),
            None if frame.event == "error" => {
                let error = record([("error", chunk)]);
                Err(errors::in_body(&error, data.as_bytes(), self.quota_is_throttle)
                    .unwrap_or_else(|| Failure::new(FailureKind::Server, data)))
            }
            None => read.map(|()| Progress::More).map_err(|failure| failure.with_raw(data.as_bytes())),
        }
    }

    fn chunk(&mut self, chunk: &Value, events: &mut Vec<Event>) -> Result<(), Failure> {
        let (id, model) = (chunk.word_at("id"), chunk.word_at("model"));
        if !self.started && (id.is_some() || model.is_some()) && chunk.get("choices").is_some() {
            self.started = true;
            events.push(Event::Started(Started { id: id.map(str::to_owned), model: model.map(str::to_owned) }));
        }
        if let Some(choice) = first_choice(chunk) {
            self.choice(choice, events)?;
        }
        events.extend(usage_in(chunk).map(Event::Usage));
        Ok(())
    }

    fn choice(&mut self, choice: &Value, events: &mut Vec<Event>) -> Result<(), Failure> {
        if let Some(delta) = choice.at("delta").or_else(|| choice.at("message")) {
            self.spoken = true;
            let before = events.len();
            pieces(delta, |piece| {
                events.push(match piece {
                    Piece::Text(text) => Event::Text(text),
                    Piece::Thinking(text) => Event::Thinking(text),
                });
            });
            for call in delta.items_at("tool_calls") {
                self.tool_call(call, events);
            }
            self.said |= delta.at("content").is_some() || events.len() > before;
        }
        let logprobs = logprobs(choice);
        if !logprobs.is_empty() {
            events.push(Event::Logprobs(logprobs));
        }
        if let Some(reason) = finish_reason(choice).filter(|_| !self.finished) {
            if reason == FinishReason::Stop && !self.said {
                // As of a whole answer: nothing at all, with no reason given, is a server's fault.
                return Err(Failure::protocol("the stream's message has no content", &[]));
            }
            self.finished = true;
            events.push(Event::Finish(reason));
        }
        Ok(())
    }

    /// A piece of a tool call. Pieces belong together by `index`; a server that gives none, or 0 to all of them, begins a new call with a new id.
    fn tool_call(&mut self, call: &Value, events: &mut Vec<Event>) {
        let function = call.get("function").unwrap_or(call);
        let (wire_index, id) = (call.u64_at("index"), call.word_at("id"));
        let same_index = |known: &Call| wire_index.is_none() || known.wire_index == wire_index;
        let same_id = |known: &Call| id.is_none_or(|id| known.id == id);
        let at = match self.calls.iter().rposition(|known| same_index(known) && same_id(known)) {
            Some(at) => at,
            None if self.calls.len() == MAX_CALLS => return,
            None => {
                let id = id.map_or_else(|| invented_id(self.calls.len()), str::to_owned);
                self.calls.push(Call { wire_index, id, named: false });
                self.calls.len() - 1
            }
        };
        let known = &mut self.calls[at];
        let first_name = if known.named { None } else { function.word_at("name") };
        let delta = ToolCallDelta {
            index: u32::try_from(at).unwrap_or(u32::MAX),
            id: (!known.named && first_name.is_some()).then(|| known.id.clone()),
            name: first_name.map(str::to_owned),
            arguments: arguments(function),
            signature: signature(call),
        };
        known.named |= first_name.is_some();
        if delta.name.is_some() || !delta.arguments.is_empty() || delta.signature.is_some() {
            events.push(Event::ToolCall(delta));
        }
    }

    /// The response was no event stream: an error object, or a server that knows no streams and answered as a whole.
    fn whole(&mut self, body: &[u8], events: &mut Vec<Event>) -> Result<(), Failure> {
        let read = if self.responses.is_some() { responses::answer } else { decode::answer };
        read(body, self.quota_is_throttle)?.into_events(events);
        Ok(())
    }
}
