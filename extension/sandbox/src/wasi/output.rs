//! Standard streams: what a guest prints becomes lines of its log, and there is nothing to read.

use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::cli::{stderr, stdin, stdout};
use wasmtime_wasi::p2::bindings::sync::io::streams;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamError, StreamResult};

use super::poll::Readiness;
use crate::call::CallState;
use crate::capabilities::log::{LogBuffer, LogLevel};

/// Bytes without a line break after which a line ends all the same.
const LINE_BYTES: usize = 4 << 10;

/// Bytes that a guest may write without asking again.
const PERMIT_BYTES: u64 = 64 << 10;

/// What stands in the table for a stream.
enum Stream {
    Input,
    Output(LogLevel),
}

/// A line that has not ended.
#[derive(Default)]
pub(super) struct Output(Vec<u8>);

impl Output {
    fn write(&mut self, bytes: &[u8], level: LogLevel, log: &mut LogBuffer) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            for piece in piece.chunks(LINE_BYTES) {
                if self.0.len() + piece.len() > LINE_BYTES {
                    self.end(level, log);
                }
                self.0.extend_from_slice(piece);
            }
            if self.0.ends_with(b"\n") {
                self.0.pop();
                self.end(level, log);
            }
        }
    }

    fn end(&mut self, level: LogLevel, log: &mut LogBuffer) {
        let line = std::mem::take(&mut self.0);
        if !line.trim_ascii_end().is_empty() {
            log.push(level, String::from_utf8_lossy(&line).trim_end());
        }
    }
}

impl CallState {
    /// Whatever was printed last need not have ended in a line break.
    pub(crate) fn end_output(&mut self) {
        if let Some(wasi) = &mut self.wasi {
            wasi.stdout.end(LogLevel::Info, &mut self.log);
            wasi.stderr.end(LogLevel::Error, &mut self.log);
        }
    }

    fn print(&mut self, stream: &Resource<DynOutputStream>, bytes: &[u8]) -> StreamResult<()> {
        self.wasi();
        let Some(wasi) = &mut self.wasi else { return Err(StreamError::Closed) };
        match wasi.table.get(&Resource::<Stream>::new_borrow(stream.rep())).map_err(trap)? {
            Stream::Output(LogLevel::Error) => wasi.stderr.write(bytes, LogLevel::Error, &mut self.log),
            Stream::Output(level) => wasi.stdout.write(bytes, *level, &mut self.log),
            Stream::Input => return Err(StreamError::Closed),
        }
        Ok(())
    }

    fn print_zeroes(&mut self, stream: &Resource<DynOutputStream>, length: u64) -> StreamResult<()> {
        let length = usize::try_from(length.min(PERMIT_BYTES)).unwrap_or_default();
        self.print(stream, &vec![0; length])
    }

    fn delete(&mut self, rep: u32) -> wasmtime::Result<()> {
        self.wasi().table.delete(Resource::<Stream>::new_own(rep))?;
        Ok(())
    }
}

fn trap(error: wasmtime::component::ResourceTableError) -> StreamError {
    StreamError::Trap(error.into())
}

impl stdin::Host for CallState {
    fn get_stdin(&mut self) -> wasmtime::Result<Resource<DynInputStream>> {
        Ok(Resource::new_own(self.wasi().table.push(Stream::Input)?.rep()))
    }
}

impl stdout::Host for CallState {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        Ok(Resource::new_own(self.wasi().table.push(Stream::Output(LogLevel::Info))?.rep()))
    }
}

/// An interpreter's last words go there, which then explain its trap: they have the level of a panic's.
impl stderr::Host for CallState {
    fn get_stderr(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        Ok(Resource::new_own(self.wasi().table.push(Stream::Output(LogLevel::Error))?.rep()))
    }
}

impl streams::Host for CallState {
    fn convert_stream_error(&mut self, error: StreamError) -> wasmtime::Result<streams::StreamError> {
        match error {
            StreamError::Closed => Ok(streams::StreamError::Closed),
            StreamError::LastOperationFailed(error) | StreamError::Trap(error) => Err(error),
        }
    }
}

impl streams::HostInputStream for CallState {
    fn read(&mut self, _: Resource<DynInputStream>, _: u64) -> StreamResult<Vec<u8>> {
        Err(StreamError::Closed)
    }

    fn blocking_read(&mut self, _: Resource<DynInputStream>, _: u64) -> StreamResult<Vec<u8>> {
        Err(StreamError::Closed)
    }

    fn skip(&mut self, _: Resource<DynInputStream>, _: u64) -> StreamResult<u64> {
        Err(StreamError::Closed)
    }

    fn blocking_skip(&mut self, _: Resource<DynInputStream>, _: u64) -> StreamResult<u64> {
        Err(StreamError::Closed)
    }

    fn subscribe(&mut self, _: Resource<DynInputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        Readiness::Now.push(&mut self.wasi().table)
    }

    fn drop(&mut self, this: Resource<DynInputStream>) -> wasmtime::Result<()> {
        self.delete(this.rep())
    }
}

impl streams::HostOutputStream for CallState {
    fn check_write(&mut self, _: Resource<DynOutputStream>) -> StreamResult<u64> {
        Ok(PERMIT_BYTES)
    }

    fn write(&mut self, this: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        self.print(&this, &bytes)
    }

    fn blocking_write_and_flush(&mut self, this: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        self.print(&this, &bytes)
    }

    fn flush(&mut self, _: Resource<DynOutputStream>) -> StreamResult<()> {
        Ok(())
    }

    fn blocking_flush(&mut self, _: Resource<DynOutputStream>) -> StreamResult<()> {
        Ok(())
    }

    fn subscribe(&mut self, _: Resource<DynOutputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        Readiness::Now.push(&mut self.wasi().table)
    }

    fn write_zeroes(&mut self, this: Resource<DynOutputStream>, length: u64) -> StreamResult<()> {
        self.print_zeroes(&this, length)
    }

    fn blocking_write_zeroes_and_flush(&mut self, this: Resource<DynOutputStream>, length: u64) -> StreamResult<()> {
        self.print_zeroes(&this, length)
    }

    fn splice(&mut self, _: Resource<DynOutputStream>, _: Resource<DynInputStream>, _: u64) -> StreamResult<u64> {
        Err(StreamError::Closed)
    }

    fn blocking_splice(&mut self, _: Resource<DynOutputStream>, _: Resource<DynInputStream>, _: u64) -> StreamResult<u64> {
        Err(StreamError::Closed)
    }

    fn drop(&mut self, this: Resource<DynOutputStream>) -> wasmtime::Result<()> {
        self.delete(this.rep())
    }
}
