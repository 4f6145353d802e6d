//! A streamed answer: one object a line.

use pg_llm_guest::json;
use pg_llm_guest::ndjson::MAX_LINE;
use pg_llm_guest::prelude::*;

use crate::decode::Spoken;

/// A decoder for a stream.
pub fn decoder() -> ChatStream {
    ChatStream::default()
}

/// Decodes lines. What it keeps is bounded by [`MAX_LINE`], twice before the first object.
#[derive(Debug, Default)]
pub struct ChatStream {
    lines: NdjsonDecoder,
    /// Lines that are no objects, before the first one: an error of something in between, over several lines.
    unread: String,
    spoken: Spoken,
}

impl StreamDecoder for ChatStream {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<Progress, Failure> {
        for line in self.lines.push(bytes)? {
            self.line(&line, events)?;
            if self.spoken.finished {
                return Ok(Progress::Done);
            }
        }
        Ok(Progress::More)
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), Failure> {
        match self.lines.finish() {
            // Cut in the middle of a line: broken off, which the SDK says when no end was seen.
            Some(line) if self.unread.is_empty() && line.starts_with('{') && json::read(&line).is_err() => return Ok(()),
            Some(line) => self.line(&line, events)?,
            None => {}
        }
        if self.unread.is_empty() {
            return Ok(());
        }
        let object = json::parse(self.unread.as_bytes())?;
        self.spoken.object(&object, self.unread.as_bytes(), events)
    }
}

impl ChatStream {
    fn line(&mut self, line: &str, events: &mut Vec<Event>) -> Result<(), Failure> {
        if self.unread.is_empty() {
            match json::read(line) {
                Ok(object) => return self.spoken.object(&object, line.as_bytes(), events),
                Err(mistake) if self.spoken.anything() => {
                    return Err(Failure::protocol(mistake.words("a line of the stream"), line.as_bytes()));
                }
                Err(_) => {}
            }
        }
        if self.unread.len() + line.len() > MAX_LINE {
            return Err(Failure::protocol("the response is no stream of JSON lines", self.unread.as_bytes()));
        }
        self.unread.push_str(line);
        self.unread.push('\n');
        Ok(())
    }
}
