//! A streamed answer.

use pg_llm_guest::json::{self, set};
use pg_llm_guest::prelude::*;
use pg_llm_guest::sse::MAX_FRAME;

use crate::decode::{self, finish_reason, usage};
use crate::errors;
use crate::settings::Wire;

/// More tool calls than any answer has.
const MAX_CALLS: usize = 1024;

/// Counts that `message_delta` says anew.
const COUNTS: [&str; 6] =
    ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens", "output_tokens_details", "server_tool_use"];

/// A decoder for a stream.
pub fn decoder(request: &ChatRequest) -> Result<MessageStream, Failure> {
    let schema_tool = Wire::of(request)?.schema_tool(request)?.map(|format| format.name.clone());
    Ok(MessageStream { schema_tool, ..MessageStream::default() })
}

/// Decodes events. What it keeps is bounded by [`MAX_FRAME`] (a few times) and a word for each tool call.
#[derive(Debug, Default)]
pub struct MessageStream {
    frames: SseResponse,
    started: bool,
    finished: bool,
    /// The tool that stands for the schema of the answer.
    schema_tool: Option<String>,
    calls: Vec<Call>,
    /// How many of the calls are the caller's.
    numbered: u32,
    usage: Map<String, Value>,
    /// Of the block of thinking that is being told: it may come in pieces, and is told whole.
    signature: String,
}

/// A block that is a call of a tool.
#[derive(Debug)]
struct Call {
    wire_index: u64,
    /// Its place among the calls; none when its input is the answer's text.
    number: Option<u32>,
    /// Whether anything of its input has come.
    spoken: bool,
    /// Whether the block began with all of its input.
    complete: bool,
}

impl StreamDecoder for MessageStream {
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
            SseEnd::Whole(body) => self.whole(&body, events),
            // Nothing, or cut in the middle of an event that is no JSON yet: broken off, which the SDK says when no end was seen.
            SseEnd::Event(_) | SseEnd::Nothing => Ok(()),
        }
    }
}

impl MessageStream {
    fn frame(&mut self, frame: &SseFrame, events: &mut Vec<Event>) -> Result<Progress, Failure> {
        let data = frame.data.trim_ascii();
        if data.is_empty() {
            return Ok(Progress::More);
        }
        if data == "[DONE]" {
            // Not of this format, but of proxies that speak several.
            return Ok(Progress::Done);
        }
        let event = match json::read(data) {
            Ok(event) => event,
            Err(_) if frame.event == "error" => return Err(Failure::new(FailureKind::Server, data).with_raw(data.as_bytes())),
            Err(mistake) => return Err(Failure::protocol(mistake.words("an event of the stream"), data.as_bytes())),
        };
        if frame.event == "error" {
            return Err(errors::failure(&event, data.as_bytes()));
        }
        if let Some(failure) = errors::in_body(&event, data.as_bytes()) {
            return Err(failure);
        }
        match event.word_at("type").unwrap_or(&frame.event) {
            "message_start" => self.message_start(event.get("message").unwrap_or(&Value::Null), events),
            "content_block_start" => self.block_start(&event, events),
            "content_block_delta" => self.block_delta(&event, events)?,
            "content_block_stop" => self.block_stop(&event, events),
            "message_delta" => self.message_delta(&event, events),
            "message_stop" => {
                if !self.started {
                    return Err(Failure::protocol("the stream has no message", data.as_bytes()));
                }
                // The provider's word for the end, where it gave no reason.
                self.end("message_stop", events);
                return Ok(Progress::Done);
            }
            // `ping`, and what the provider adds in time.
            _ => {}
        }
        Ok(Progress::More)
    }

    fn message_start(&mut self, message: &Value, events: &mut Vec<Event>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let of = |name: &str| message.word_at(name).map(str::to_owned);
        events.push(Event::Started(Started { id: of("id"), model: of("model") }));
        if let Some(counts) = message.get("usage").and_then(Value::as_object) {
            self.usage.clone_from(counts);
            self.push_usage(events);
        }
    }

    fn push_usage(&self, events: &mut Vec<Event>) {
        events.extend(usage(&Value::Object(self.usage.clone())).map(Event::Usage));
    }

    fn message_delta(&mut self, event: &Value, events: &mut Vec<Event>) {
        if let Some(counts) = event.at("usage") {
            for name in COUNTS {
                if let Some(count) = counts.at(name) {
                    set(&mut self.usage, name, count.clone());
                }
            }
            self.push_usage(events);
        }
        if let Some(word) = event.get("delta").and_then(|delta| delta.word_at("stop_reason")) {
            self.end(word, events);
        }
    }

    fn end(&mut self, word: &str, events: &mut Vec<Event>) {
        self.end_thinking(events);
        if !std::mem::replace(&mut self.finished, true) {
            events.push(Event::Finish(finish_reason(word, self.schema_tool.is_some() && self.numbered == 0)));
        }
    }

    fn end_thinking(&mut self, events: &mut Vec<Event>) {
        if !self.signature.is_empty() {
            events.push(Event::ThinkingSignature(std::mem::take(&mut self.signature)));
        }
    }

    /// A block begins: its words come with the deltas, but some servers send them here.
    fn block_start(&mut self, event: &Value, events: &mut Vec<Event>) {
        self.end_thinking(events);
        let Some(block) = event.get("content_block") else { return };
        match block.text_at("type").unwrap_or_default() {
            "text" => events.extend(block.word_at("text").map(|text| Event::Text(text.to_owned()))),
            "thinking" => {
                events.extend(block.word_at("thinking").map(|text| Event::Thinking(text.to_owned())));
                block.text_at("signature").unwrap_or_default().clone_into(&mut self.signature);
            }
            "redacted_thinking" => events.push(Event::RedactedThinking(block.text_at("data").unwrap_or_default().to_owned())),
            "tool_use" if self.calls.len() < MAX_CALLS => self.tool_use(event.u64_at("index").unwrap_or(0), block, events),
            _ => {}
        }
    }

    fn tool_use(&mut self, wire_index: u64, block: &Value, events: &mut Vec<Event>) {
        let name = block.text_at("name").unwrap_or_default();
        let is_schema = self.schema_tool.as_deref() == Some(name);
        let number = (!is_schema).then_some(self.numbered);
        if let Some(index) = number {
            self.numbered += 1;
            events.push(Event::ToolCall(ToolCallDelta {
                index,
                id: Some(block.text_at("id").unwrap_or_default().to_owned()),
                name: Some(name.to_owned()),
                ..ToolCallDelta::default()
            }));
        }
        let complete = block.get("input").and_then(Value::as_object).is_some_and(|input| !input.is_empty());
        if complete {
            input_piece(number, decode::input(block), events);
        }
        self.calls.push(Call { wire_index, number, spoken: complete, complete });
    }

    fn block_delta(&mut self, event: &Value, events: &mut Vec<Event>) -> Result<(), Failure> {
        let Some(delta) = event.get("delta") else { return Ok(()) };
        match delta.text_at("type").unwrap_or_default() {
            "text_delta" => events.extend(delta.word_at("text").map(|text| Event::Text(text.to_owned()))),
            "thinking_delta" => events.extend(delta.word_at("thinking").map(|text| Event::Thinking(text.to_owned()))),
            "signature_delta" => {
                let piece = delta.text_at("signature").unwrap_or_default();
                if self.signature.len() + piece.len() > MAX_FRAME {
                    return Err(Failure::protocol("the signature of a block of thinking does not end", &[]));
                }
                self.signature.push_str(piece);
            }
            "input_json_delta" => {
                let piece = delta.text_at("partial_json").unwrap_or_default();
                // Blocks of tools that run at the provider have input as well, and are no calls.
                if let Some(call) = self.call(event).filter(|call| !call.complete && !piece.is_empty()) {
                    call.spoken = true;
                    input_piece(call.number, piece.to_owned(), events);
                }
            }
            // Citations, and what the provider adds in time.
            _ => {}
        }
        Ok(())
    }

    fn block_stop(&mut self, event: &Value, events: &mut Vec<Event>) {
        self.end_thinking(events);
        if let Some(call) = self.call(event).filter(|call| !call.spoken) {
            // A call without arguments is an empty object, which the wire leaves unsaid.
            call.spoken = true;
            input_piece(call.number, "{}".to_owned(), events);
        }
    }

    /// The call whose block an event belongs to.
    fn call(&mut self, event: &Value) -> Option<&mut Call> {
        let index = event.u64_at("index").unwrap_or(0);
        self.calls.iter_mut().rfind(|call| call.wire_index == index)
    }

    /// The response was no event stream: an error object, or a server that knows no streams and answered as a whole.
    fn whole(&mut self, body: &[u8], events: &mut Vec<Event>) -> Result<(), Failure> {
        decode::answer(body, self.schema_tool.as_deref())?.into_events(events);
        Ok(())
    }
}

/// A piece of a call's input, or of the answer where the call stands for it.
fn input_piece(number: Option<u32>, arguments: String, events: &mut Vec<Event>) {
    events.push(match number {
        Some(index) => Event::ToolCall(ToolCallDelta { index, arguments, ..ToolCallDelta::default() }),
        None => Event::Text(arguments),
    });
}
