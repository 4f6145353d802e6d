//! The raw keep-alive client that everything is held against: one socket, one write, one read.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A connection that asks the same thing again and again.
pub(crate) struct Raw {
    stream: TcpStream,
    request: Vec<u8>,
}

impl Raw {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the upstream of the bench accepts");
        stream.set_nodelay(true).expect("a socket option");
        let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\nauthorization: Bearer sk-bench\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        Self { stream, request: request.into_bytes() }
    }

    /// One request and its answer.
    pub(crate) fn call(&mut self) -> Duration {
        let started = Instant::now();
        self.stream.write_all(&self.request).expect("the upstream reads");
        let mut seen = Vec::with_capacity(2048);
        let mut block = [0; 4096];
        loop {
            let n = self.stream.read(&mut block).expect("the upstream answers");
            assert!(n > 0, "the upstream closed");
            seen.extend_from_slice(&block[..n]);
            if complete(&seen) {
                return started.elapsed();
            }
        }
    }
}

fn complete(seen: &[u8]) -> bool {
    let Some(head) = seen.windows(4).position(|w| w == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(&seen[..head]).to_lowercase();
    let length =
        text.lines().find_map(|l| l.strip_prefix("content-length:")).and_then(|v| v.trim().parse::<usize>().ok()).expect("a length");
    seen.len() >= head + 4 + length
}

/// The time to the first piece of a stream, on a connection of its own.
pub(crate) fn first_piece(address: SocketAddr) -> Duration {
    let mut raw = Raw::connect(address);
    let started = Instant::now();
    raw.stream.write_all(&raw.request).expect("the upstream reads");
    let mut seen = Vec::with_capacity(4096);
    let mut block = [0; 4096];
    loop {
        let n = raw.stream.read(&mut block).expect("the upstream answers");
        assert!(n > 0, "the upstream closed");
        seen.extend_from_slice(&block[..n]);
        if String::from_utf8_lossy(&seen).contains("word") {
            return started.elapsed();
        }
    }
}
