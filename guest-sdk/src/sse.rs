//! Server-sent events, as the WHATWG's HTML standard reads them (section 9.2.6), with two differences: a frame is bounded, and one that the end of the
//! body cuts short of its blank line can still be had, because servers forget that line after `[DONE]`.

use crate::types::Failure;

/// The most that one frame, or one line of it, may hold.
pub const MAX_FRAME: usize = 4 * 1024 * 1024;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseFrame {
    /// What `event:` said; empty when it said nothing (the standard's `message`).
    pub event: String,
    /// The `data:` lines, joined by line feeds. What is not UTF-8 becomes U+FFFD.
    pub data: String,
}

/// Cuts bytes, which arrive cut anywhere, into frames.
#[derive(Debug, Default)]
pub struct SseDecoder {
    /// The line that has not ended.
    line: Vec<u8>,
    event: String,
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was a CR: a LF that follows belongs to it.
    after_cr: bool,
    /// The first line is over, and with it the place of a byte order mark.
    begun: bool,
}

impl SseDecoder {
    /// The frames that these bytes complete.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<SseFrame>, Failure> {
        let mut frames = Vec::new();
        let mut rest = bytes;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.keep(&rest[..end])?;
            frames.extend(self.end_line());
            let is_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            if is_cr {
                self.after_cr = rest.is_empty();
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            }
        }
        self.keep(rest)?;
        Ok(frames)
    }

    /// What the end of the body left without its blank line. It may be cut in the middle: when it does not parse, the stream was broken off.
    pub fn finish(&mut self) -> Option<SseFrame> {
        self.end_line().or_else(|| self.dispatch())
    }

    /// How many bytes are kept for the next call.
    pub fn kept(&self) -> usize {
        self.line.len() + self.event.len() + self.data.len()
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.kept() + bytes.len() > MAX_FRAME {
            return Err(Failure::protocol(
                format!("an event of the stream is longer than {MAX_FRAME} bytes"),
                if self.data.is_empty() { &self.line } else { &self.data },
            ));
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) -> Option<SseFrame> {
        let line = std::mem::take(&mut self.line);
        let text = if std::mem::replace(&mut self.begun, true) { &line[..] } else { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&line) };
        if text.is_empty() {
            return self.dispatch();
        }
        let (name, value) = match text.iter().position(|byte| *byte == b':') {
            Some(colon) => (&text[..colon], &text[colon + 1..]),
            None => (text, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
            }
            b"event" => self.event = String::from_utf8_lossy(value).into_owned(),
            // A comment (no name), `id`, `retry`, or a field that nobody knows.
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<SseFrame> {
        let event = std::mem::take(&mut self.event);
        let data = std::mem::take(&mut self.data);
        std::mem::take(&mut self.has_data).then(|| SseFrame { event, data: String::from_utf8_lossy(&data).into_owned() })
    }
}

/// Reads a response that is asked for as an event stream and may be something else: an error object, or the whole answer of a server that knows no streams. What it keeps is
/// bounded by [`MAX_FRAME`], twice before the first event.
#[derive(Debug, Default)]
pub struct SseResponse {
    frames: SseDecoder,
    framed: bool,
    /// The bytes so far, until a first event: what they are when none comes.
    unframed: Vec<u8>,
}

/// What stands at the end of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SseEnd {
    /// An event that the end of the body cuts short of its blank line, and perhaps of more.
    Event(SseFrame),
    /// There was no event at all; this is the body, which is not blank.
    Whole(Vec<u8>),
    /// Nothing that was not told.
    Nothing,
}

impl SseResponse {
    /// The events that these bytes complete.
    ///
    /// # Errors
    /// `protocol`, when what is kept would be too long.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<SseFrame>, Failure> {
        let frames = self.frames.push(bytes)?;
        if !frames.is_empty() {
            self.framed = true;
            self.unframed = Vec::new();
        } else if !self.framed {
            if self.unframed.len() + bytes.len() > MAX_FRAME {
                return Err(Failure::protocol("the response is no event stream", &self.unframed));
            }
            self.unframed.extend_from_slice(bytes);
        }
        Ok(frames)
    }

    /// The body has ended.
    pub fn finish(&mut self) -> SseEnd {
        match self.frames.finish() {
            Some(frame) => SseEnd::Event(frame),
            None if !self.framed && !self.unframed.trim_ascii().is_empty() => SseEnd::Whole(std::mem::take(&mut self.unframed)),
            None => SseEnd::Nothing,
        }
    }
}
