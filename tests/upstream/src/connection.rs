//! Serving one connection: requests in, replies out, in one write where the reply allows it.

use std::borrow::Cow;

use crate::{
    Ending, Received, Reply, gzip,
    observed::Observatory,
    reply::{Body, Framing},
    request::{Incoming, Requests},
    script::Scripts,
    wire::{Gone, Wire},
};

/// A reply with its bytes laid out, where they are the same each time and go out together.
#[derive(Debug)]
pub(crate) struct Prepared {
    reply: Reply,
    whole: Option<Vec<u8>>,
}

impl From<Reply> for Prepared {
    fn from(reply: Reply) -> Self {
        let paced = is_paced(&reply);
        let whole = match &reply.body {
            Body::Chunks(chunks) if !paced && reply.cut.is_none() => {
                let mut whole = head(&reply, chunks.iter().map(Vec::len).sum());
                for chunk in chunks {
                    frame(&reply, chunk, &mut whole);
                }
                whole.extend_from_slice(last_chunk(&reply));
                Some(whole)
            }
            _ => None,
        };
        Self { reply, whole }
    }
}

/// Counts a request as being answered for as long as it lives.
struct Answering<'a>(&'a Observatory);

impl<'a> Answering<'a> {
    fn start(observatory: &'a Observatory, received: Option<Received>) -> Self {
        observatory.change(|observed| {
            observed.requests_total += 1;
            observed.answering += 1;
            observed.max_concurrent = observed.max_concurrent.max(observed.answering);
            observed.requests.extend(received);
        });
        Self(observatory)
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.change(|observed| observed.answering -= 1);
    }
}

/// Serves until either side ends the connection.
pub(crate) fn serve(mut wire: Wire, connection: u64, scripts: &Scripts, observatory: &Observatory, recorded: bool) {
    let mut requests = Requests::default();
    loop {
        let Incoming { received, keep_alive } = match requests.next(&mut wire, connection) {
            Ok(Some(incoming)) => incoming,
            Ok(None) => return,
            Err(error) => {
                // In TLS 1.3 the server has done its part when the client looks at the certificate: it hears of it only now.
                if error.get_ref().is_some_and(|inner| matches!(inner.downcast_ref(), Some(rustls::Error::AlertReceived(_)))) {
                    observatory.change(|observed| observed.handshake_failures.push(error.to_string()));
                }
                return;
            }
        };
        let answering = Answering::start(observatory, recorded.then(|| received.clone()));
        let prepared = scripts.answer(&received);
        if send(&mut wire, &prepared, &received, answering).is_err() {
            return;
        }
        match prepared.reply.ending {
            Ending::KeepAlive if keep_alive => {}
            Ending::KeepAlive | Ending::Close => return wire.close(),
            Ending::Reset => return wire.reset(),
            Ending::Hang => {
                let _ = wire.pause(None);
                return;
            }
        }
    }
}

/// Sends a reply. A request stops counting as being answered before the last write: who has the whole answer may ask again.
fn send(wire: &mut Wire, prepared: &Prepared, received: &Received, answering: Answering<'_>) -> Result<(), Gone> {
    let Prepared { reply, whole } = prepared;
    if !reply.before_headers.is_zero() {
        wire.pause(Some(reply.before_headers))?;
    }
    if let (Some(whole), false) = (whole, received.method == "HEAD") {
        if reply.ending == Ending::Hang {
            wire.write(whole)?;
            let gone = wire.pause(None);
            drop(answering);
            return gone;
        }
        drop(answering);
        return wire.write(whole);
    }
    let mut pieces = pieces(&reply.body, received).peekable();
    let length = match &reply.body {
        Body::Chunks(chunks) => chunks.iter().map(Vec::len).sum(),
        Body::RequestHead => pieces.peek().map_or(0, |piece| piece.len()),
        Body::Endless(_) | Body::Bomb { .. } => 0,
    };
    let mut out = head(reply, length);
    if received.method == "HEAD" {
        drop(answering);
        return wire.write(&out);
    }
    if is_paced(reply) || reply.cut.is_some() {
        wire.write(&out)?;
        out.clear();
        wire.pause(Some(reply.before_body))?;
    }
    let mut allowed = reply.cut.unwrap_or(usize::MAX);
    while let Some(piece) = pieces.next() {
        if let Some(gate) = &reply.gate {
            gate.wait(wire)?;
        }
        let start = out.len();
        frame(reply, &piece, &mut out);
        if piece.len() >= allowed && reply.cut.is_some() {
            // The frame's own start and as much of the content as is allowed.
            let framing = out.len() - start - piece.len() - usize::from(reply.framing == Framing::Chunked) * 2;
            out.truncate(start + if allowed == 0 { 0 } else { framing + allowed });
            wire.write(&out)?;
            return Ok(());
        }
        allowed -= if reply.cut.is_some() { piece.len() } else { 0 };
        if pieces.peek().is_none() {
            break;
        }
        wire.write(&out)?;
        out.clear();
        if !reply.between_chunks.is_zero() {
            wire.pause(Some(reply.between_chunks))?;
        }
    }
    if let Some(gate) = &reply.gate {
        wire.write(&out)?;
        out.clear();
        gate.wait(wire)?;
    }
    out.extend_from_slice(last_chunk(reply));
    drop(answering);
    wire.write(&out)
}

/// Whether its bytes go out at several times.
fn is_paced(reply: &Reply) -> bool {
    !(reply.before_body.is_zero() && reply.between_chunks.is_zero()) || reply.gate.is_some()
}

fn pieces<'a>(body: &'a Body, received: &Received) -> Box<dyn Iterator<Item = Cow<'a, [u8]>> + 'a> {
    match body {
        Body::Chunks(chunks) => Box::new(chunks.iter().map(Cow::from)),
        Body::Endless(chunk) => Box::new(std::iter::repeat(Cow::from(chunk))),
        Body::RequestHead => {
            let mut text = format!("{} {}\n", received.method, received.target);
            received.headers.iter().for_each(|(name, value)| text.extend([name, ": ", value, "\n"]));
            Box::new(std::iter::once(Cow::from(text.into_bytes())))
        }
        Body::Bomb { mebibytes } => {
            let prefix = br#"{"id":"bomb","object":"chat.completion","model":"bomb","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":""#;
            Box::new(gzip::bomb(prefix, *mebibytes, br#""}}]}"#).map(Cow::from))
        }
    }
}

fn head(reply: &Reply, length: usize) -> Vec<u8> {
    if let Some(raw) = &reply.raw_head {
        return raw.clone();
    }
    let mut head = format!("HTTP/1.1 {} {}\r\n", reply.status, reply.reason.as_deref().unwrap_or("-"));
    reply.headers.iter().for_each(|(name, value)| head.extend([name, ": ", value, "\r\n"]));
    match reply.framing {
        Framing::Length if matches!(reply.status, 204 | 304) => {}
        Framing::Length => head.extend(["content-length: ", &length.to_string(), "\r\n"]),
        Framing::Claimed(length) => head.extend(["content-length: ", &length.to_string(), "\r\n"]),
        Framing::Chunked => head.push_str("transfer-encoding: chunked\r\n"),
        Framing::UntilClose => head.push_str("connection: close\r\n"),
    }
    head.push_str("\r\n");
    head.into_bytes()
}

fn frame(reply: &Reply, chunk: &[u8], out: &mut Vec<u8>) {
    if reply.framing == Framing::Chunked {
        // An empty chunk would be the end of the body.
        if !chunk.is_empty() {
            out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            out.extend_from_slice(chunk);
            out.extend_from_slice(b"\r\n");
        }
    } else {
        out.extend_from_slice(chunk);
    }
}

fn last_chunk(reply: &Reply) -> &'static [u8] {
    if reply.framing == Framing::Chunked { b"0\r\n\r\n" } else { b"" }
}
