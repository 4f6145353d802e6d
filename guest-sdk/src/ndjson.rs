//! Newline-delimited JSON: one text a line.

use crate::types::Failure;

/// The longest line that is kept.
pub const MAX_LINE: usize = 4 * 1024 * 1024;

/// Cuts bytes, which arrive cut anywhere, into lines.
#[derive(Debug, Default)]
pub struct NdjsonDecoder {
    line: Vec<u8>,
}

impl NdjsonDecoder {
    /// The lines that these bytes complete, without line ends and without blank ones. What is not UTF-8 becomes U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, Failure> {
        let mut lines = Vec::new();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.keep(&rest[..end])?;
            lines.extend(self.take());
            rest = &rest[end + 1..];
        }
        self.keep(rest)?;
        Ok(lines)
    }

    /// The last line, when the body ended without a line end.
    pub fn finish(&mut self) -> Option<String> {
        self.take()
    }

    /// How many bytes are kept for the next call.
    pub fn kept(&self) -> usize {
        self.line.len()
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.line.len() + bytes.len() > MAX_LINE {
            return Err(Failure::protocol(format!("a line of the stream is longer than {MAX_LINE} bytes"), &self.line));
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn take(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        let text = line.trim_ascii();
        (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
    }
}
