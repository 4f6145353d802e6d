//! A streamed answer.

use pg_llm_guest::json;
use pg_llm_guest::prelude::*;

use crate::content::{arguments, finish_reason, first_choice, invented_id, logprobs, text, thinking, tool_calls};
use crate::increments::{Hints, Increments};
use crate::usage::usage;
use crate::{decode, encode, errors};

/// More tool calls than any answer has.
const MAX_CALLS: usize = 128;

/// A decoder for a stream.
pub fn decoder(request: &ChatRequest) -> Result<ChatStream, Failure> {
    Ok(ChatStream::new(encode::asks_for_increments(request)?))
}

/// Decodes frames. What it keeps is bounded by a few times [`MAX_FRAME`](pg_llm_guest::sse::MAX_FRAME).
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // what has been seen, each independent of the others
pub struct ChatStream {
    frames: SseResponse,
    started: bool,
    finished: bool,
    asked: bool,
    thinking: Increments,
    text: Increments,
    calls: Vec<Call>,
    logprobs: usize,
    output_tokens: Option<u64>,
    /// The last usage, as every frame has one, until it is told.
    usage: Option<Usage>,
}

/// A tool call as far as it is known.
#[derive(Debug)]
struct Call {
    wire_index: Option<u64>,
    id: String,
    named: bool,
    arguments: Increments,
}

impl ChatStream {
    fn new(asked: bool) -> Self {
        Self {
            frames: SseResponse::default(),
            started: false,
            finished: false,
            asked,
            thinking: Increments::new(asked),
            text: Increments::new(asked),
            calls: Vec::new(),
            logprobs: 0,
            output_tokens: None,
            usage: None,
        }
    }
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
            SseEnd::Whole(body) => return Self::whole_answer(&body, events),
            SseEnd::Nothing => {}
        }
        self.tell_the_rest(events);
        Ok(())
    }
}

impl ChatStream {
    /// An event. At the end of the body it may be cut in the middle, where it is no JSON: broken off, which the SDK says when no end was seen.
    fn frame(&mut self, frame: &SseFrame, at_end: bool, events: &mut Vec<Event>) -> Result<(), Failure> {
        let data = frame.data.trim();
        let is_error = frame.event == "error";
        if data.is_empty() || data == "[DONE]" {
            return Ok(());
        }
        let mistake = match json::read(data) {
            Ok(body) => return self.body(&body, data, is_error, events),
            Err(mistake) => mistake,
        };
        // Events that no blank line separates are lines of one.
        if data.contains('\n') {
            let lines = data.lines().map(|line| (line, json::read(line)));
            let mut complete = true;
            for (line, body) in lines {
                match body {
                    Ok(body) => self.body(&body, line, false, events)?,
                    Err(_) => complete = false,
                }
            }
            if complete {
                return Ok(());
            }
        }
        if at_end {
            return Ok(());
        }
        self.tell_the_rest(events);
        Err(if is_error {
            Failure::new(FailureKind::Server, data).with_raw(data.as_bytes())
        } else {
            Failure::protocol(mistake.words("an event of the stream"), data.as_bytes())
        })
    }

    fn body(&mut self, body: &Value, raw: &str, is_error: bool, events: &mut Vec<Event>) -> Result<(), Failure> {
        let failure = if is_error { Some(errors::reported(body, raw.as_bytes())) } else { errors::in_body(body, raw.as_bytes()) };
        if let Some(failure) = failure {
            self.tell_the_rest(events);
            return Err(failure);
        }
        let Some(output) = body.at("output") else { return Ok(()) };
        if !self.started {
            self.started = true;
            events.push(Event::Started(Started {
                id: body.word_at("request_id").map(str::to_owned),
                model: body.word_at("model").map(str::to_owned),
            }));
        }
        let usage = usage(body);
        let tokens = usage.as_ref().and_then(|usage| usage.output_tokens);
        let grown = tokens.zip(self.output_tokens).map(|(now, before)| now > before);
        self.output_tokens = tokens.or(self.output_tokens);
        self.usage = usage.or(self.usage.take());
        if let Some(choice) = first_choice(output) {
            self.choice(choice, grown, events);
        }
        if self.finished {
            events.extend(self.usage.take().map(Event::Usage));
        }
        Ok(())
    }

    fn choice(&mut self, choice: &Value, grown: Option<bool>, events: &mut Vec<Event>) {
        let finish = finish_reason(choice);
        let (thinking, text, calls) = (thinking(choice), text(choice), tool_calls(choice));
        // One run follows the other: where another goes on, this one does not.
        let hints = |others: bool| Hints { tokens: if others { Some(false) } else { grown }, last: finish.is_some(), unique: false };
        let thought = self.thinking.take(thinking, hints(!text.is_empty() || !calls.is_empty()));
        if !thought.is_empty() {
            events.push(Event::Thinking(thought));
        }
        let said = self.text.take(&text, hints(!thinking.is_empty() || !calls.is_empty()));
        if !said.is_empty() {
            events.push(Event::Text(said));
        }
        for call in calls {
            self.tool_call(call, events);
        }
        // A frame that is the whole so far has all the tokens so far. (While that is open a few may get lost, which no text is.)
        let increments = self.text.is_settled() || self.thinking.is_settled() || self.calls.iter().any(|call| call.arguments.is_settled());
        let known = if increments { 0 } else { self.logprobs };
        let logprobs: Vec<TokenLogprob> = logprobs(choice).into_iter().skip(known).collect();
        if !logprobs.is_empty() {
            self.logprobs += logprobs.len();
            events.push(Event::Logprobs(logprobs));
        }
        if let Some(reason) = finish.filter(|_| !self.finished) {
            self.finished = true;
            events.push(Event::Finish(reason));
        }
    }

    /// A piece of a tool call. Pieces belong together by `index`; a server that gives none, or 0 to all of them, begins a new call with a new id.
    fn tool_call(&mut self, call: &Value, events: &mut Vec<Event>) {
        let function = call.get("function").unwrap_or(call);
        let (wire_index, id) = (call.u64_at("index"), call.word_at("id"));
        let same =
            |known: &Call| (wire_index.is_none() || known.wire_index == wire_index) && id.is_none_or(|id| known.id == id || !known.named);
        let at = match self.calls.iter().rposition(same) {
            Some(at) => at,
            None if self.calls.len() == MAX_CALLS => return,
            None => {
                let id = id.map_or_else(|| invented_id(self.calls.len()), str::to_owned);
                self.calls.push(Call { wire_index, id, named: false, arguments: Increments::new(self.asked) });
                self.calls.len() - 1
            }
        };
        let known = &mut self.calls[at];
        let first_name = if known.named { None } else { function.word_at("name") };
        let arguments = known.arguments.take(&arguments(function), Hints { unique: true, ..Hints::default() });
        if let Some(id) = id.filter(|_| !known.named) {
            id.clone_into(&mut known.id);
        }
        known.named |= first_name.is_some();
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

    /// What was held back, and the usage: before an end, good or bad.
    fn tell_the_rest(&mut self, events: &mut Vec<Event>) {
        let (thought, said) = (self.thinking.finish(), self.text.finish());
        if !thought.is_empty() {
            events.push(Event::Thinking(thought));
        }
        if !said.is_empty() {
            events.push(Event::Text(said));
        }
        events.extend(self.usage.take().map(Event::Usage));
    }

    /// The response was no event stream: an error object, or a server that knows no streams and answered as a whole.
    fn whole_answer(body: &[u8], events: &mut Vec<Event>) -> Result<(), Failure> {
        decode::answer(body)?.into_events(events);
        Ok(())
    }
}
