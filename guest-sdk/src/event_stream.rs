//! Binary event streams, `application/vnd.amazon.eventstream`: messages of typed headers and a payload, each with two checksums
//! (<https://smithy.io/2.0/aws/amazon-eventstream.html>).
//!
//! A message is `total length: u32 | headers' length: u32 | CRC-32 of these 8 bytes | headers | payload | CRC-32 of all before it`, big-endian.

use crate::types::Failure;

/// The longest message that is read. What is kept between two pieces is no more than this, and the last piece.
pub const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// The longest headers that the format allows.
pub const MAX_HEADERS: usize = 128 * 1024;

/// Two lengths and their checksum.
const PRELUDE: usize = 12;

/// A checksum.
const CRC: usize = 4;

/// Value of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    /// Types 0 and 1.
    Bool(bool),
    /// Type 2.
    Byte(i8),
    /// Type 3.
    Short(i16),
    /// Type 4.
    Int(i32),
    /// Type 5.
    Long(i64),
    /// Type 6, of at most 65,535 bytes.
    Bytes(Vec<u8>),
    /// Type 7, of at most 65,535 bytes. What is not UTF-8 becomes U+FFFD.
    Text(String),
    /// Type 8: milliseconds since 1970.
    Timestamp(i64),
    /// Type 9.
    Uuid([u8; 16]),
}

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventStreamMessage {
    /// The headers, in their order.
    pub headers: Vec<(String, HeaderValue)>,
    /// The payload.
    pub payload: Vec<u8>,
}

/// Cuts bytes, which arrive cut anywhere, into messages: give it a piece, then take messages until there is none.
#[derive(Debug, Default)]
pub struct EventStreamDecoder {
    bytes: Vec<u8>,
    /// Where the first message that was not taken begins.
    at: usize,
}

impl EventStreamDecoder {
    /// Adds a piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(piece);
    }

    /// The next whole message; none until further bytes come. A failure of kind `protocol`, again each time, when a length or a checksum is wrong:
    /// nothing after it can be trusted.
    pub fn message(&mut self) -> Result<Option<EventStreamMessage>, Failure> {
        let rest = &self.bytes[self.at..];
        let Some((prelude, _)) = rest.split_first_chunk::<PRELUDE>() else { return Ok(None) };
        let wrong = |what: &str| Failure::protocol(what, rest);
        let [total, headers] = [length(prelude, 0), length(prelude, 4)];
        if crc32(&prelude[..PRELUDE - CRC]) != u32_at(prelude, PRELUDE - CRC) {
            return Err(wrong("the response is no binary event stream: the checksum of a message's lengths is wrong"));
        }
        if total > MAX_MESSAGE {
            return Err(wrong("a message of the event stream is longer than 4 MiB"));
        }
        // The prelude and the last checksum are there always.
        if total.checked_sub(PRELUDE + CRC).is_none_or(|room| headers > room.min(MAX_HEADERS)) {
            return Err(wrong("the lengths of a message of the event stream cannot be"));
        }
        let Some(message) = rest.get(..total) else { return Ok(None) };
        let (checked, crc) = message.split_at(total - CRC);
        if crc32(checked) != u32_at(crc, 0) {
            return Err(wrong("the checksum of a message of the event stream is wrong"));
        }
        let (headers, payload) = checked[PRELUDE..].split_at(headers);
        let headers = headers_of(headers).ok_or_else(|| wrong("the headers of a message of the event stream cannot be read"))?;
        let payload = payload.to_vec();
        self.at += total;
        Ok(Some(EventStreamMessage { headers, payload }))
    }

    /// How many bytes are kept for the next call.
    pub fn kept(&self) -> usize {
        self.bytes.len() - self.at
    }
}

impl EventStreamMessage {
    /// The value of the first header of this name, if it is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).and_then(|(_, value)| match value {
            HeaderValue::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The message as it is on the wire. What is too long for its length field is cut off.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            let name = &name.as_bytes()[..name.len().min(usize::from(u8::MAX))];
            headers.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            headers.extend_from_slice(name);
            value.write(&mut headers);
        }
        let total = PRELUDE + headers.len() + self.payload.len() + CRC;
        let mut bytes = Vec::with_capacity(total);
        for length in [total, headers.len()] {
            bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        }
        bytes.extend_from_slice(&crc32(&bytes).to_be_bytes());
        bytes.extend_from_slice(&headers);
        bytes.extend_from_slice(&self.payload);
        bytes.extend_from_slice(&crc32(&bytes).to_be_bytes());
        bytes
    }
}

impl HeaderValue {
    fn write(&self, to: &mut Vec<u8>) {
        fn put(to: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
            to.push(kind);
            to.extend_from_slice(bytes);
        }
        fn put_long(to: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
            let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
            put(to, kind, &length.to_be_bytes());
            to.extend_from_slice(&bytes[..usize::from(length)]);
        }
        match self {
            Self::Bool(value) => to.push(u8::from(!value)),
            Self::Byte(value) => put(to, 2, &value.to_be_bytes()),
            Self::Short(value) => put(to, 3, &value.to_be_bytes()),
            Self::Int(value) => put(to, 4, &value.to_be_bytes()),
            Self::Long(value) => put(to, 5, &value.to_be_bytes()),
            Self::Bytes(value) => put_long(to, 6, value),
            Self::Text(value) => put_long(to, 7, value.as_bytes()),
            Self::Timestamp(value) => put(to, 8, &value.to_be_bytes()),
            Self::Uuid(value) => put(to, 9, value),
        }
    }
}

/// All headers; none when they are cut short or of a type that does not exist.
fn headers_of(mut bytes: &[u8]) -> Option<Vec<(String, HeaderValue)>> {
    let mut headers = Vec::new();
    while let Some((length, rest)) = bytes.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(*length)).filter(|(name, _)| !name.is_empty())?;
        let (kind, rest) = rest.split_first()?;
        let (value, rest) = value_of(*kind, rest)?;
        headers.push((String::from_utf8_lossy(name).into_owned(), value));
        bytes = rest;
    }
    Some(headers)
}

fn value_of(kind: u8, bytes: &[u8]) -> Option<(HeaderValue, &[u8])> {
    fn take<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
        bytes.split_first_chunk::<N>().map(|(taken, rest)| (*taken, rest))
    }
    fn take_long(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
        let (length, rest) = take::<2>(bytes)?;
        rest.split_at_checked(usize::from(u16::from_be_bytes(length)))
    }
    Some(match kind {
        0 | 1 => (HeaderValue::Bool(kind == 0), bytes),
        2 => take(bytes).map(|(value, rest)| (HeaderValue::Byte(i8::from_be_bytes(value)), rest))?,
        3 => take(bytes).map(|(value, rest)| (HeaderValue::Short(i16::from_be_bytes(value)), rest))?,
        4 => take(bytes).map(|(value, rest)| (HeaderValue::Int(i32::from_be_bytes(value)), rest))?,
        5 => take(bytes).map(|(value, rest)| (HeaderValue::Long(i64::from_be_bytes(value)), rest))?,
        6 => take_long(bytes).map(|(value, rest)| (HeaderValue::Bytes(value.to_vec()), rest))?,
        7 => take_long(bytes).map(|(value, rest)| (HeaderValue::Text(String::from_utf8_lossy(value).into_owned()), rest))?,
        8 => take(bytes).map(|(value, rest)| (HeaderValue::Timestamp(i64::from_be_bytes(value)), rest))?,
        9 => take(bytes).map(|(value, rest)| (HeaderValue::Uuid(value), rest))?,
        _ => return None,
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn length(bytes: &[u8], at: usize) -> usize {
    usize::try_from(u32_at(bytes, at)).unwrap_or(usize::MAX)
}

/// CRC-32 as in gzip (RFC 1952, section 8): reflected, polynomial `0xEDB88320`.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    !bytes.iter().fold(!0, |crc, byte| TABLE[usize::from(byte ^ crc.to_le_bytes()[0])] ^ crc >> 8)
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    let mut value = 0_u32;
    while byte < table.len() {
        let mut crc = value;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
        value += 1;
    }
    table
}
