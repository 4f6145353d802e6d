//! Reading requests off a connection: the head by `httparse`, the body by its declared framing.

use std::{io, time::Instant};

use crate::{Received, wire::Wire};

const HEAD_LIMIT: usize = 4 << 20;
const HEADERS: usize = 256;

/// Reads requests off one connection, keeping what was read ahead.
#[derive(Default)]
pub(crate) struct Requests {
    buffer: Vec<u8>,
    filled: usize,
}

/// A request, and what it says about the connection.
pub(crate) struct Incoming {
    pub(crate) received: Received,
    pub(crate) keep_alive: bool,
}

struct Head {
    length: usize,
    received: Received,
    version: u8,
}

impl Requests {
    /// The next request; `None` when the peer has closed between two.
    pub(crate) fn next(&mut self, wire: &mut Wire, connection: u64) -> io::Result<Option<Incoming>> {
        let Some(Head { length, mut received, version }) = self.head(wire, connection)? else {
            return Ok(None);
        };
        self.consume(length);
        if received.header("expect").is_some_and(|e| e.eq_ignore_ascii_case("100-continue")) {
            let _ = wire.write(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let chunked = received.header("transfer-encoding").is_some_and(|t| t.to_ascii_lowercase().contains("chunked"));
        if chunked {
            received.body = self.chunked_body(wire)?;
        } else if let Some(length) = received.header("content-length") {
            let length = length.trim().parse().map_err(|_| invalid("content-length"))?;
            while self.filled < length {
                self.more(wire)?;
            }
            received.body = self.take(length);
        }
        let connection = received.header("connection").unwrap_or_default().to_ascii_lowercase();
        let keep_alive = if version == 0 { connection.contains("keep-alive") } else { !connection.contains("close") };
        received.at = Instant::now();
        Ok(Some(Incoming { received, keep_alive }))
    }

    fn head(&mut self, wire: &mut Wire, connection: u64) -> io::Result<Option<Head>> {
        loop {
            if self.filled > 0 {
                let mut headers = [httparse::EMPTY_HEADER; HEADERS];
                let mut request = httparse::Request::new(&mut headers);
                let parsed = request.parse(&self.buffer[..self.filled]).map_err(io::Error::other)?;
                if let httparse::Status::Complete(length) = parsed {
                    let headers = request.headers.iter();
                    let received = Received {
                        method: request.method.unwrap_or_default().into(),
                        target: request.path.unwrap_or_default().into(),
                        headers: headers.map(|h| (h.name.into(), String::from_utf8_lossy(h.value).into_owned())).collect(),
                        body: Vec::new(),
                        connection,
                        at: Instant::now(),
                    };
                    return Ok(Some(Head { length, received, version: request.version.unwrap_or(1) }));
                }
                if self.filled > HEAD_LIMIT {
                    return Err(invalid("a head without an end"));
                }
            }
            let before = self.filled;
            match self.more(wire) {
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof && before == 0 => return Ok(None),
                other => other?,
            }
        }
    }

    fn chunked_body(&mut self, wire: &mut Wire) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let (start, size) = loop {
                match httparse::parse_chunk_size(&self.buffer[..self.filled]) {
                    Ok(httparse::Status::Complete(parsed)) => break parsed,
                    Ok(httparse::Status::Partial) => self.more(wire)?,
                    Err(_) => return Err(invalid("a chunk's size")),
                }
            };
            self.consume(start);
            let size = usize::try_from(size).map_err(|_| invalid("a chunk's size"))?;
            if size == 0 {
                while self.line(wire)? > 0 {}
                return Ok(body);
            }
            while self.filled < size + 2 {
                self.more(wire)?;
            }
            body.extend_from_slice(&self.buffer[..size]);
            self.consume(size + 2);
        }
    }

    /// Skips a trailer line and says how long it was without its CRLF.
    fn line(&mut self, wire: &mut Wire) -> io::Result<usize> {
        loop {
            if let Some(end) = self.buffer[..self.filled].windows(2).position(|w| w == b"\r\n") {
                self.consume(end + 2);
                return Ok(end);
            }
            self.more(wire)?;
        }
    }

    fn more(&mut self, wire: &mut Wire) -> io::Result<()> {
        if self.buffer.len() - self.filled < 4096 {
            self.buffer.resize((self.buffer.len() * 2).max(16 << 10), 0);
        }
        match wire.read(&mut self.buffer[self.filled..])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.filled += n;
                Ok(())
            }
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let taken = self.buffer[..length].to_vec();
        self.consume(length);
        taken
    }

    fn consume(&mut self, length: usize) {
        self.buffer.copy_within(length..self.filled, 0);
        self.filled -= length;
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
