//! What to answer, and how well or badly.

use std::time::Duration;

use serde_json::Value;

use crate::{Gate, gzip};

/// What happens to the connection once the reply, or as much of it as is to be sent, is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ending {
    /// It serves the next request.
    #[default]
    KeepAlive,
    /// It is closed in order.
    Close,
    /// It is reset.
    Reset,
    /// It stays open and silent until the client goes away.
    Hang,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Chunks(Vec<Vec<u8>>),
    Endless(Vec<u8>),
    Bomb { mebibytes: u64 },
    RequestHead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length,
    Chunked,
    UntilClose,
    Claimed(u64),
}

/// An answer. Made by one of the constructors, bent by the other methods.
///
/// Counts of bytes are of the body before chunked framing.
#[derive(Debug, Clone)]
pub struct Reply {
    pub(crate) status: u16,
    pub(crate) reason: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    /// Sent instead of status line and headers.
    pub(crate) raw_head: Option<Vec<u8>>,
    pub(crate) body: Body,
    pub(crate) framing: Framing,
    pub(crate) before_headers: Duration,
    pub(crate) before_body: Duration,
    pub(crate) between_chunks: Duration,
    pub(crate) gate: Option<Gate>,
    pub(crate) cut: Option<usize>,
    pub(crate) ending: Ending,
}

impl Reply {
    /// A status and nothing else.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            reason: None,
            headers: Vec::new(),
            raw_head: None,
            body: Body::Chunks(Vec::new()),
            framing: Framing::Length,
            before_headers: Duration::ZERO,
            before_body: Duration::ZERO,
            between_chunks: Duration::ZERO,
            gate: None,
            cut: None,
            ending: Ending::KeepAlive,
        }
    }

    /// A body of this content type.
    pub fn bytes(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut reply = Self::status(status).header("content-type", content_type);
        reply.body = Body::Chunks(vec![body.into()]);
        reply
    }

    /// A JSON body.
    pub fn json(status: u16, body: impl Into<Value>) -> Self {
        Self::bytes(status, "application/json", body.into().to_string())
    }

    /// A text body.
    pub fn text(status: u16, body: &str) -> Self {
        Self::bytes(status, "text/plain; charset=utf-8", body)
    }

    /// Status 200, chunked, one HTTP chunk and one write for each of these.
    pub fn chunks<C: Into<Vec<u8>>>(content_type: &str, chunks: impl IntoIterator<Item = C>) -> Self {
        let mut reply = Self::status(200).header("content-type", content_type).chunked();
        reply.body = Body::Chunks(chunks.into_iter().map(Into::into).collect());
        reply
    }

    /// Status 200, chunked, this chunk again and again until the client goes away.
    pub fn endless(content_type: &str, chunk: impl Into<Vec<u8>>) -> Self {
        let mut reply = Self::status(200).header("content-type", content_type).chunked();
        reply.body = Body::Endless(chunk.into());
        reply
    }

    /// Status 200 and a JSON completion whose text is this many MiB, yet about a KiB for each on the wire.
    pub fn gzip_bomb(mebibytes: u64) -> Self {
        let mut reply = Self::status(200).header("content-type", "application/json").header("content-encoding", "gzip").chunked();
        reply.body = Body::Bomb { mebibytes };
        reply
    }

    /// The request's own head (request line and headers) as a text body: the upstream that tells what key it was sent.
    pub fn echo_headers(status: u16) -> Self {
        let mut reply = Self::status(status).header("content-type", "text/plain");
        reply.body = Body::RequestHead;
        reply
    }

    /// A redirect with an empty body.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::status(status).header("location", location)
    }

    /// Status 200 with a header line of this many bytes.
    pub fn oversized_header(bytes: usize) -> Self {
        Self::json(200, serde_json::json!({})).header("x-oversized", &"x".repeat(bytes))
    }

    /// These bytes, verbatim, instead of a response; then the connection is closed (see [`Self::ending`]).
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        let mut reply = Self::status(0).ending(Ending::Close);
        reply.raw_head = Some(bytes.into());
        reply
    }

    /// A status line that is none.
    pub fn malformed_status_line() -> Self {
        Self::raw("HTTP/1.1 two-hundred OK\r\ncontent-length: 2\r\n\r\n{}")
    }

    /// Nothing at all, for ever.
    pub fn hang() -> Self {
        Self::raw("").ending(Ending::Hang)
    }

    /// Nothing at all, and a closed connection.
    pub fn close() -> Self {
        Self::raw("")
    }

    /// Nothing at all, and a reset connection.
    pub fn reset() -> Self {
        Self::raw("").ending(Ending::Reset)
    }

    /// Adds a header. None is replaced: twice the same name is two headers.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The reason phrase, instead of none.
    #[must_use]
    pub fn reason(mut self, phrase: &str) -> Self {
        self.reason = Some(phrase.into());
        self
    }

    /// Another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Waits before the status line.
    #[must_use]
    pub fn delay_headers(mut self, time: Duration) -> Self {
        self.before_headers = time;
        self
    }

    /// Waits between the headers and the body.
    #[must_use]
    pub fn delay_body(mut self, time: Duration) -> Self {
        self.before_body = time;
        self
    }

    /// Waits between the chunks of the body: the first goes at once.
    #[must_use]
    pub fn delay_chunks(mut self, time: Duration) -> Self {
        self.between_chunks = time;
        self
    }

    /// Holds each chunk of the body, and then its end, back until `gate` lets it pass. The head goes at once.
    #[must_use]
    pub fn gated(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    /// Cuts the body into chunks of this many bytes, whatever was there before: a code point or JSON may straddle two.
    #[must_use]
    pub fn split(mut self, bytes: usize) -> Self {
        if let Body::Chunks(chunks) = &mut self.body {
            *chunks = chunks.concat().chunks(bytes.max(1)).map(<[u8]>::to_vec).collect();
        }
        self
    }

    /// Drips the body: this many bytes at a time, with this pause between.
    #[must_use]
    pub fn drip(self, bytes: usize, pause: Duration) -> Self {
        self.split(bytes).delay_chunks(pause)
    }

    /// Frames the body as HTTP chunks.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    /// Frames the body by the end of the connection.
    #[must_use]
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::UntilClose;
        self.ending(Ending::Close)
    }

    /// Lies about the content's length. When there is less, the connection is closed after it (see [`Self::ending`]).
    #[must_use]
    pub fn claim_length(mut self, bytes: u64) -> Self {
        self.framing = Framing::Claimed(bytes);
        self.ending(Ending::Close)
    }

    /// Compresses the body, chunk by chunk, and says so.
    #[must_use]
    pub fn gzip(mut self) -> Self {
        if let Body::Chunks(chunks) = &mut self.body {
            *chunks = gzip::compress(chunks);
        }
        self.header("content-encoding", "gzip")
    }

    /// Sends no more than this much of the body (and no end of it), then ends so.
    #[must_use]
    pub fn cut(mut self, bytes: usize, ending: Ending) -> Self {
        self.cut = Some(bytes);
        self.ending(ending)
    }

    /// Sends this much of the body, then closes the connection in order.
    #[must_use]
    pub fn truncate(self, bytes: usize) -> Self {
        self.cut(bytes, Ending::Close)
    }

    /// Sends this much of the body, then resets the connection.
    #[must_use]
    pub fn reset_after(self, bytes: usize) -> Self {
        self.cut(bytes, Ending::Reset)
    }

    /// Sends this much of the body, then nothing more; 0 is silence after the headers.
    #[must_use]
    pub fn hang_after(self, bytes: usize) -> Self {
        self.cut(bytes, Ending::Hang)
    }

    /// What happens to the connection after the reply.
    #[must_use]
    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }
}
