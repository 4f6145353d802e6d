//! Log lines of a guest, kept until the call is over: the main thread writes them.

use crate::call::CallState;
use crate::wit::pg_llm::guest::log::{Host, Level};

/// What a guest logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How grave the guest finds it.
    pub level: LogLevel,
    /// One line; control characters are escaped.
    pub text: String,
}

/// Levels of a guest's log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// Log lines up to a number of bytes.
#[derive(Debug, Default)]
pub(crate) struct LogBuffer {
    left: usize,
    pub(crate) lines: Vec<LogLine>,
    pub(crate) dropped: u64,
}

/// What a line costs beyond its bytes, so that empty lines are not free.
const LINE_BYTES: usize = 32;

impl LogBuffer {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { left: bytes, ..Self::default() }
    }

    pub(crate) fn push(&mut self, level: LogLevel, message: &str) {
        let cost = message.len().saturating_add(LINE_BYTES);
        let Some(left) = self.left.checked_sub(cost) else {
            // Full is full: a short line after a long one would tell a story with a hole in it.
            self.left = 0;
            self.dropped += 1;
            return;
        };
        self.left = left;
        let text = message.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect();
        self.lines.push(LogLine { level, text });
    }
}

impl Host for CallState {
    fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            Level::Trace => LogLevel::Trace,
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        self.log.push(level, &message);
        Ok(())
    }
}
