//! A streamed answer.

use pg_llm_guest::event_stream::MAX_MESSAGE;
use pg_llm_guest::json;
use pg_llm_guest::prelude::*;

use crate::content::{finish_reason, is_server_tool, usage};
use crate::decode;
use crate::errors;
use crate::settings::answer_tool;

/// More blocks than any answer has open at a time.
const MAX_BLOCKS: usize = 1024;

/// The events that are read; others say nothing.
const EVENTS: [&str; 6] = ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"];

/// A decoder for a stream.
pub fn decoder(request: &ChatRequest, head: &ResponseHead) -> Result<ConverseStream, Failure> {
    Ok(ConverseStream {
        started: Some(Started { id: head.request_id().map(str::to_owned), model: None }),
        answer_tool: answer_tool(request)?.map(|format| format.name.clone()),
        whole: (head.media_type() == "application/json").then(Vec::new),
        ..ConverseStream::default()
    })
}

/// Decodes messages. What it keeps is bounded by [`MAX_MESSAGE`] and a word for each open tool call.
#[derive(Debug, Default)]
pub struct ConverseStream {
    /// What is told at the beginning.
    started: Option<Started>,
    /// Name of the tool whose arguments are the answer.
    answer_tool: Option<String>,
    messages: EventStreamDecoder,
    /// The bytes so far of a response that is no event stream.
    whole: Option<Vec<u8>>,
    finished: bool,
    answered: bool,
    /// The tool calls that have begun and not ended, by the wire's index.
    calls: Vec<(u64, Call)>,
    /// Of the block of thinking that is being told: it may come in pieces, and is told whole.
    signature: String,
}

/// What becomes of the pieces of a tool call.
#[derive(Debug, PartialEq, Eq)]
enum Call {
    /// Told to the caller. Says whether there were arguments.
    Told { fed: bool },
    /// The answer itself.
    Answer,
    /// The provider's own affair.
    Skipped,
}

impl StreamDecoder for ConverseStream {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<Progress, Failure> {
        if let Some(whole) = &mut self.whole {
            if whole.len() + bytes.len() > MAX_MESSAGE {
                return Err(Failure::protocol("the response is no event stream", whole));
            }
            whole.extend_from_slice(bytes);
            return Ok(Progress::More);
        }
        self.messages.push(bytes);
        while let Some(message) = self.messages.message()? {
            if self.message(&message, events)? == Progress::Done {
                return Ok(Progress::Done);
            }
        }
        Ok(Progress::More)
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), Failure> {
        let Some(whole) = self.whole.take().filter(|whole| !whole.trim_ascii().is_empty()) else { return Ok(()) };
        let mut answer = decode::answer(&whole, None, self.answer_tool.as_deref())?;
        answer.id = self.started.take().and_then(|started| started.id);
        answer.into_events(events);
        Ok(())
    }
}

impl ConverseStream {
    fn message(&mut self, message: &EventStreamMessage, events: &mut Vec<Event>) -> Result<Progress, Failure> {
        if let Some(exception) = message.text(":exception-type") {
            return Err(errors::in_stream(exception, &message.payload));
        }
        if message.text(":message-type") == Some("error") {
            let code = message.text(":error-code").unwrap_or_default();
            return Err(errors::of_code(code, message.text(":error-message").unwrap_or_default()));
        }
        let name = message.text(":event-type").unwrap_or_default();
        if name.ends_with("Exception") {
            // Where a gateway says it as an event.
            return Err(errors::in_stream(name, &message.payload));
        }
        if !EVENTS.contains(&name) {
            return Ok(Progress::More);
        }
        let payload = json::parse(&message.payload)?;
        match name {
            "messageStart" => events.extend(self.started.take().map(Event::Started)),
            "contentBlockStart" => self.block_start(&payload, events),
            "contentBlockDelta" => self.block_delta(&payload, events)?,
            "contentBlockStop" => self.block_stop(&payload, events),
            "messageStop" => {
                self.end_thinking(events);
                if !std::mem::replace(&mut self.finished, true) {
                    events.push(Event::Finish(finish_reason(payload.text_at("stopReason").unwrap_or_default(), self.answered)));
                }
            }
            // The usage, and the last event of all.
            _ => {
                events.extend(payload.at("usage").and_then(usage).map(Event::Usage));
                return Ok(if self.finished { Progress::Done } else { Progress::More });
            }
        }
        Ok(Progress::More)
    }

    fn end_thinking(&mut self, events: &mut Vec<Event>) {
        if !self.signature.is_empty() {
            events.push(Event::ThinkingSignature(std::mem::take(&mut self.signature)));
        }
    }

    /// Only tool calls have a word at their beginning.
    fn block_start(&mut self, payload: &Value, events: &mut Vec<Event>) {
        self.end_thinking(events);
        let Some(tool_use) = payload.at("start").and_then(|start| start.at("toolUse")) else { return };
        let index = index(payload);
        if self.calls.len() == MAX_BLOCKS || self.calls.iter().any(|(known, _)| *known == index) {
            return;
        }
        let (id, name) = (tool_use.text_at("toolUseId"), tool_use.text_at("name").unwrap_or_default());
        let call = if is_server_tool(tool_use) {
            Call::Skipped
        } else if self.answer_tool.as_deref() == Some(name) {
            self.answered = true;
            Call::Answer
        } else {
            events.push(Event::ToolCall(ToolCallDelta {
                index: narrow(index),
                id: Some(id.unwrap_or_default().to_owned()),
                name: Some(name.to_owned()),
                arguments: String::new(),
                signature: None,
            }));
            Call::Told { fed: false }
        };
        self.calls.push((index, call));
    }

    fn block_delta(&mut self, payload: &Value, events: &mut Vec<Event>) -> Result<(), Failure> {
        let Some(delta) = payload.at("delta") else { return Ok(()) };
        if let Some(text) = delta.text_at("text") {
            events.push(Event::Text(text.to_owned()));
        } else if let Some(reasoning) = delta.at("reasoningContent") {
            if let Some(text) = reasoning.word_at("text") {
                events.push(Event::Thinking(text.to_owned()));
            }
            let piece = reasoning.text_at("signature").unwrap_or_default();
            if self.signature.len() + piece.len() > MAX_MESSAGE {
                return Err(Failure::protocol("the signature of a block of thinking does not end", &[]));
            }
            self.signature.push_str(piece);
            if let Some(encrypted) = reasoning.word_at("redactedContent") {
                events.push(Event::RedactedThinking(encrypted.to_owned()));
            }
        } else if let Some(input) = delta.at("toolUse").and_then(|tool_use| tool_use.word_at("input")) {
            let index = index(payload);
            match self.calls.iter_mut().find(|(known, _)| *known == index) {
                Some((_, Call::Told { fed })) => {
                    *fed = true;
                    events.push(arguments(index, input));
                }
                Some((_, Call::Answer)) => events.push(Event::Text(input.to_owned())),
                Some((_, Call::Skipped)) | None => {}
            }
        }
        Ok(())
    }

    fn block_stop(&mut self, payload: &Value, events: &mut Vec<Event>) {
        self.end_thinking(events);
        let index = index(payload);
        let Some(at) = self.calls.iter().position(|(known, _)| *known == index) else { return };
        if self.calls.swap_remove(at).1 == (Call::Told { fed: false }) {
            // A call without arguments: a whole answer has an empty object.
            events.push(arguments(index, "{}"));
        }
    }
}

fn index(payload: &Value) -> u64 {
    payload.u64_at("contentBlockIndex").unwrap_or(0)
}

fn narrow(index: u64) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn arguments(index: u64, piece: &str) -> Event {
    Event::ToolCall(ToolCallDelta { index: narrow(index), id: None, name: None, arguments: piece.to_owned(), signature: None })
}
