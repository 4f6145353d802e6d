//! A streamed answer: server-sent events, or one JSON array, as it is without `alt=sse`, and as a proxy may make it.

use pg_llm_guest::json;
use pg_llm_guest::prelude::*;
use pg_llm_guest::sse::MAX_FRAME;

use crate::settings::Wire;
use crate::turn::Turn;
use crate::values::JsonObjects;

/// A decoder for a stream.
pub fn decoder(request: &ChatRequest, _head: &ResponseHead) -> Result<ChatStream, Failure> {
    let turn = Turn::new(Wire::of(&request.settings)?.blocked_is_error);
    Ok(ChatStream { turn, frames: SseDecoder::default(), line_begins: true, unframed: Vec::new(), framed: false, objects: None })
}

/// Decodes chunks. What it keeps is bounded by [`MAX_FRAME`] (twice, before the first event).
#[derive(Debug)]
pub struct ChatStream {
    turn: Turn,
    frames: SseDecoder,
    /// The next byte is the first of a line.
    line_begins: bool,
    /// The bytes so far, until a first event: what they are when none comes.
    unframed: Vec<u8>,
    framed: bool,
    /// Once it is JSON that comes, and not events.
    objects: Option<JsonObjects>,
}

impl StreamDecoder for ChatStream {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<Progress, Failure> {
        if self.objects.is_some() {
            return self.push_json(bytes, events);
        }
        // A line of events never begins so: it is JSON from the start, or an error, which Google's servers put between the events as it is.
        let Some(begin) = self.json_begins(bytes) else {
            self.push_events(bytes, events)?;
            return Ok(Progress::More);
        };
        let (before, json) = bytes.split_at(begin);
        self.push_events(before, events)?;
        if let Some(frame) = self.frames.finish() {
            self.chunk(&frame.data, events)?;
        }
        self.framed = true;
        self.unframed = Vec::new();
        self.objects = Some(JsonObjects::default());
        self.push_json(json, events)
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), Failure> {
        if let Some(objects) = &self.objects {
            if !objects.is_whole() {
                return Err(cut());
            }
        }
        if let Some(frame) = self.frames.finish() {
            self.framed = true;
            if json::read(&frame.data).is_err() {
                return Err(cut());
            }
            self.chunk(&frame.data, events)?;
        }
        if !self.framed && !self.unframed.trim_ascii().is_empty() {
            // No events at all: what it is instead, in words.
            self.turn.take_all(&json::parse(&self.unframed)?, &self.unframed, events)?;
            if !self.turn.has_begun() {
                return Err(Failure::protocol("the response is no event stream", &self.unframed));
            }
        }
        self.turn.end(events);
        Ok(())
    }
}

/// The body ended in the middle of a chunk. That the model said before that it was done counts for nothing: older models say so in each.
fn cut() -> Failure {
    Failure::new(FailureKind::Broken, "the stream ended in the middle of a chunk")
}

impl ChatStream {
    /// Where a line begins with a brace or a bracket.
    fn json_begins(&mut self, bytes: &[u8]) -> Option<usize> {
        bytes.iter().position(|byte| {
            let begins = std::mem::replace(&mut self.line_begins, matches!(byte, b'\n' | b'\r'));
            begins && matches!(byte, b'{' | b'[')
        })
    }

    fn push_events(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), Failure> {
        let frames = self.frames.push(bytes)?;
        if !self.framed {
            if frames.is_empty() {
                if self.unframed.len() + bytes.len() > MAX_FRAME {
                    return Err(Failure::protocol("the response is no event stream", &self.unframed));
                }
                self.unframed.extend_from_slice(bytes);
            } else {
                self.framed = true;
                self.unframed = Vec::new();
            }
        }
        frames.iter().try_for_each(|frame| self.chunk(&frame.data, events))
    }

    fn push_json(&mut self, mut bytes: &[u8], events: &mut Vec<Event>) -> Result<Progress, Failure> {
        let Some(mut objects) = self.objects.take() else { return Ok(Progress::More) };
        while let Some(object) = objects.next(&mut bytes)? {
            self.chunk(&String::from_utf8_lossy(&object), events)?;
        }
        let ended = objects.ended;
        self.objects = Some(objects);
        if ended {
            self.turn.end(events);
            return Ok(Progress::Done);
        }
        Ok(Progress::More)
    }

    fn chunk(&mut self, text: &str, events: &mut Vec<Event>) -> Result<(), Failure> {
        let text = text.trim_ascii();
        // Gemini has no such word; a proxy that makes its events may.
        if text.is_empty() || text == "[DONE]" {
            return Ok(());
        }
        match json::read(text) {
            Ok(chunk) => self.turn.take(&chunk, text.as_bytes(), events),
            Err(mistake) => Err(Failure::protocol(mistake.words("a chunk of the stream"), text.as_bytes())),
        }
    }
}
