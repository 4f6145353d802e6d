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
}

impl Socket {
    pub(super) fn new(stream: TcpStream, buffers: LazyBuffers) -> Self {
        Self { stream, buffers }
    }

    fn wait(&self, interest: Interest) -> io::Result<()> {
        let Some(patience) = patience::current() else { return Err(io::Error::other("no call in progress")) };
        let woken = patience.wait(Some((self.stream.as_fd(), interest)), None);
        if woken != Wake::Ready {
            // Nobody waits for the answer: the upstream is not to get the rest of the request out of the kernel's buffer, however long it takes to read it.
            let _ = sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
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
        let mut sent = 0;
        while sent < amount {
            match (&self.stream).write(&self.buffers.output()[sent..amount]) {
                Ok(0) => return Err(Error::Io(io::ErrorKind::WriteZero.into())),
                Ok(n) => sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.wait(Interest::Write).map_err(Error::Io)?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::Io(e)),
            }
        }
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        let no_waiting = patience::current().is_some_and(|p| p.no_waiting.get());
        // An answer is never there at once: wait first, and save the read that would block.
        loop {
            if !no_waiting {
                self.wait(Interest::Read).map_err(Error::Io)?;
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
