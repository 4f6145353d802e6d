//! What one call may use, and the limiter that counts it.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// Stack that wasm code may use, in bytes. The same for every call: it is part of the engine's configuration.
pub const WASM_STACK_BYTES: usize = 512 * 1024;

/// Stack that must be left when a guest is entered: wasm's own, and room for what the host does below it.
pub const STACK_HEADROOM_BYTES: usize = WASM_STACK_BYTES + 512 * 1024;

/// Limits of one call. Each is a setting of the extension, which documents the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory in bytes, summed over all memories of all instances of the call.
    pub memory_bytes: usize,
    /// Elements in all tables together.
    pub table_elements: usize,
    /// Core instances, memories and tables: so many of each.
    pub instances: usize,
    /// CPU time of the calling thread, guest and host code together.
    pub cpu: Duration,
    /// Bytes of all request bodies, paths and headers.
    pub request_bytes: u64,
    /// Bytes of all response bodies after decoding, and of their heads.
    pub response_bytes: u64,
    /// Bytes of log messages; what is beyond is dropped and counted.
    pub log_bytes: usize,
    /// HTTP requests.
    pub http_requests: u32,
    /// Handles to host resources (responses) open at one time.
    pub handles: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            table_elements: 100_000,
            instances: 48,
            cpu: Duration::from_secs(10),
            request_bytes: 64 << 20,
            response_bytes: 32 << 20,
            log_bytes: 16 << 10,
            http_requests: 16,
            handles: 64,
        }
    }
}

/// Which limit stopped a guest, where one did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exceeded {
    Memory,
    Table,
}

/// Sums over memories and tables, which wasmtime's own `StoreLimits` does not.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_left: usize,
    elements_left: usize,
    instances: usize,
    /// Most memory that was in use, in bytes.
    pub(crate) peak_memory: usize,
    /// The first limit that was hit. Guests that run out of memory trap somewhere later, with words that say nothing.
    pub(crate) exceeded: Option<Exceeded>,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_left: limits.memory_bytes,
            elements_left: limits.table_elements,
            instances: limits.instances,
            peak_memory: 0,
            exceeded: None,
        }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let Some(left) = self.memory_left.checked_sub(more) else {
            self.exceeded.get_or_insert(Exceeded::Memory);
            return Ok(false);
        };
        self.memory_left = left;
        self.peak_memory += more;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let Some(left) = self.elements_left.checked_sub(more) else {
            self.exceeded.get_or_insert(Exceeded::Table);
            return Ok(false);
        };
        self.elements_left = left;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.instances
    }

    fn memories(&self) -> usize {
        self.instances
    }
}
