//! A connected, non-blocking socket as ureq's transport.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;
use ureq::Error;
use ureq::unversioned::transport::{Buffers, LazyBuffers, NextTimeout, Transport};

use crate::interrupt::{Interest, Wake};
use crate::patience;

/// Reads and writes by waiting as the current call waits. ureq's own time-outs are not used: the call has one deadline for everything.
pub(super) struct Socket {
    stream: TcpStream,
    buffers: LazyBuffers,
    /// Output that waits for more of it: ureq hands over the head of a request and its body one after the other, and sent apart they wake the upstream twice.
    held: Vec<u8>,
}

/// Most bytes that are held back.
const MOST_HELD: usize = 16 << 10;

impl Socket {
    pub(super) fn new(stream: TcpStream, buffers: LazyBuffers) -> Self {
        // A buffer that grows leaves copies behind, and a head holds a key.
        Self { stream, buffers, held: Vec::with_capacity(MOST_HELD) }
    }

    fn send(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        while sent < bytes.len() {
            match stream.write(&bytes[sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => Self::wait(stream, Interest::Write)?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn send_held(&mut self) -> io::Result<()> {
        let sent = Self::send(&self.stream, &self.held);
        self.held.fill(0);
        std::hint::black_box(&self.held);
        self.held.clear();
        sent
    }

    fn wait(stream: &TcpStream, interest: Interest) -> io::Result<()> {
        let Some(patience) = patience::current() else { return Err(io::Error::other("no call in progress")) };
        let woken = patience.wait(Some((stream.as_fd(), interest)), None);
        if woken != Wake::Ready {
            // Nobody waits for the answer: the upstream is not to get the rest of the request out of the kernel's buffer, however long it takes to read it.
            let _ = sockopt::set_socket_linger(stream, Some(Duration::ZERO));
        }
        match woken {
            Wake::Ready => Ok(()),
            Wake::TimedOut => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
            Wake::Stopped => Err(io::Error::other("cancelled")),
        }
    }
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        if self.held.len() + amount <= MOST_HELD {
            self.held.extend_from_slice(&self.buffers.output()[..amount]);
            return Ok(());
        }
        self.send_held().and_then(|()| Self::send(&self.stream, &self.buffers.output()[..amount])).map_err(Error::Io)
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        self.send_held().map_err(Error::Io)?;
        let no_waiting = patience::current().is_some_and(|p| p.no_waiting.get());
        // An answer is never there at once: wait first, and save the read that would block.
        loop {
            if !no_waiting {
                Self::wait(&self.stream, Interest::Read).map_err(Error::Io)?;
            }
            match (&self.stream).read(self.buffers.input_append_buf()) {
                Ok(n) => {
                    self.buffers.input_appended(n);
                    return Ok(n > 0);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && !no_waiting => {}
                Err(e) => return Err(Error::Io(e)),
            }
        }
    }

    fn is_open(&mut self) -> bool {
        // Idle and healthy means: nothing to read. Bytes or an end that nobody asked for mean that it is of no use.
        matches!(self.stream.peek(&mut [0]), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("peer", &self.stream.peer_addr().ok()).finish_non_exhaustive()
    }
}
