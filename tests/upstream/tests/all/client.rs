//! A client that knows nothing of HTTP but how to find the end of a response.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Against hangs only: no test expects to wait so long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Client(pub(crate) TcpStream);

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(socket)
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"));
        self.response()
    }

    pub(crate) fn post(&mut self, path: &str, body: &str) -> Response {
        self.send(format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        self.response()
    }

    /// One response by its framing.
    pub(crate) fn response(&mut self) -> Response {
        response(&mut self.0)
    }

    /// Everything until the end, and whether the end was a reset.
    pub(crate) fn rest(&mut self) -> (String, bool) {
        let mut bytes = Vec::new();
        let reset = match self.0.read_to_end(&mut bytes) {
            Ok(_) => false,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
            Err(error) => panic!("{error}"),
        };
        (String::from_utf8_lossy(&bytes).into_owned(), reset)
    }

    /// Whether nothing comes for a moment.
    pub(crate) fn is_silent(&mut self) -> bool {
        self.0.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let silent = matches!(self.0.read(&mut [0; 1]), Err(e) if e.kind() == ErrorKind::WouldBlock);
        self.0.set_read_timeout(Some(DEADLINE)).unwrap();
        silent
    }
}

pub(crate) fn response(stream: &mut impl Read) -> Response {
    let head = until(stream, b"\r\n\r\n");
    let lower = head.to_lowercase();
    let mut body = Vec::new();
    if lower.contains("transfer-encoding: chunked") {
        loop {
            let size = usize::from_str_radix(until(stream, b"\r\n").trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).unwrap();
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    } else if let Some((_, length)) = lower.split_once("content-length: ") {
        body.resize(length.split("\r\n").next().unwrap().parse().unwrap(), 0);
        stream.read_exact(&mut body).unwrap();
    }
    Response { head, body }
}

pub(crate) fn until(stream: &mut impl Read, end: &[u8]) -> String {
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while !bytes.ends_with(end) {
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}
