//! Cuts bytes, which arrive cut anywhere, into the objects of a JSON array, or into objects that just follow each other.

use pg_llm_guest::prelude::*;
use pg_llm_guest::sse::MAX_FRAME;

/// Kept is the object that has not ended, of at most [`MAX_FRAME`] bytes.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // where in the text we are, each independent of the others
pub(crate) struct JsonObjects {
    object: Vec<u8>,
    /// Open braces and brackets of the object; 0 between objects.
    depth: usize,
    in_string: bool,
    /// The last byte was a backslash in a string.
    escaped: bool,
    in_array: bool,
    /// The array has ended, and with it what there is to read.
    pub(crate) ended: bool,
}

impl JsonObjects {
    /// The next object that these bytes complete; `bytes` is then what follows it.
    pub(crate) fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        if self.depth == 0 && !self.begin(bytes)? {
            return Ok(None);
        }
        let end = bytes.iter().position(|byte| self.ends_with(*byte)).map(|at| at + 1);
        let (piece, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        if self.object.len() + piece.len() > MAX_FRAME {
            return Err(Failure::protocol("an object of the stream is too long", &self.object));
        }
        self.object.extend_from_slice(piece);
        *bytes = rest;
        Ok(end.is_some().then(|| std::mem::take(&mut self.object)))
    }

    /// Whether everything that began has ended.
    pub(crate) fn is_whole(&self) -> bool {
        self.depth == 0 && (self.ended || !self.in_array)
    }

    /// Goes to the begin of an object, if there is one.
    fn begin(&mut self, bytes: &mut &[u8]) -> Result<bool, Failure> {
        while let Some((byte, rest)) = bytes.split_first() {
            match byte {
                _ if self.ended => {}
                b'{' => return Ok(true),
                b'[' if !self.in_array => self.in_array = true,
                b']' if self.in_array => self.ended = true,
                b',' => {}
                byte if byte.is_ascii_whitespace() => {}
                _ => return Err(Failure::protocol("the stream is not a JSON array of objects", bytes)),
            }
            *bytes = rest;
        }
        Ok(false)
    }

    /// Whether the object ends with this byte.
    fn ends_with(&mut self, byte: u8) -> bool {
        if self.in_string {
            if self.escaped {
                self.escaped = false;
            } else {
                self.escaped = byte == b'\\';
                self.in_string = byte != b'"';
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.depth == 0
    }
}
