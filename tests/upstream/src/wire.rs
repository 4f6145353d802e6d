//! One connection's socket: plain or TLS, and pauses that end when the peer goes away.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::observed::Observatory;

enum Transport {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

/// A connection, ready for HTTP.
pub(crate) struct Wire {
    transport: Transport,
    sent: Arc<Observatory>,
}

/// The peer has closed its end, or the upstream is being dropped.
#[derive(Debug)]
pub(crate) struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl Wire {
    pub(crate) fn plain(socket: TcpStream, sent: Arc<Observatory>) -> Self {
        Self { transport: Transport::Plain(socket), sent }
    }

    /// Does the handshake.
    pub(crate) fn tls(mut socket: TcpStream, config: Arc<ServerConfig>, sent: Arc<Observatory>) -> io::Result<Self> {
        let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Self { transport: Transport::Tls(Box::new(StreamOwned::new(session, socket))), sent })
    }

    fn socket(&self) -> &TcpStream {
        match &self.transport {
            Transport::Plain(socket) => socket,
            Transport::Tls(stream) => stream.get_ref(),
        }
    }

    /// Waits this long, or for ever, unless the peer goes away first (a half-close counts).
    pub(crate) fn pause(&self, time: Option<Duration>) -> Result<(), Gone> {
        pause(self.socket(), time)
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.transport {
            Transport::Plain(socket) => socket.read(buffer),
            Transport::Tls(stream) => stream.read(buffer),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        match &mut self.transport {
            Transport::Plain(socket) => socket.write_all(bytes)?,
            Transport::Tls(stream) => {
                stream.write_all(bytes)?;
                stream.flush()?;
            }
        }
        self.sent.bytes_sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Says goodbye properly: `close_notify` on TLS, then FIN.
    pub(crate) fn close(mut self) {
        if let Transport::Tls(stream) = &mut self.transport {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        let _ = self.socket().shutdown(Shutdown::Write);
        // Unread bytes of the peer's would turn our FIN into a reset: read them, for a bounded time.
        let until = Instant::now() + Duration::from_secs(2);
        let mut waste = [0; 4096];
        let _ = self.socket().set_read_timeout(Some(Duration::from_millis(500)));
        let mut socket = self.socket();
        while Instant::now() < until && matches!(socket.read(&mut waste), Ok(1..)) {}
    }

    /// Breaks the connection off with a reset.
    pub(crate) fn reset(self) {
        let _ = rustix::net::sockopt::set_socket_linger(self.socket(), Some(Duration::ZERO));
    }
}

/// Waits this long, or for ever, unless the peer of this socket goes away first.
pub(crate) fn pause(socket: &TcpStream, time: Option<Duration>) -> Result<(), Gone> {
    let until = time.map(|time| Instant::now() + time);
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(());
        }
        let timeout = left
            .map(|left| Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(left.subsec_nanos()) });
        match poll(&mut [PollFd::new(socket, PollFlags::RDHUP)], timeout.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) | Err(_) => return Err(Gone),
        }
    }
}
