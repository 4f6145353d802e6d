//! What holds for one module, whoever calls it: limits of its own, and somebody who counts what it does.

use std::sync::Arc;
use std::time::Duration;

use crate::limits::Limits;

/// What the administrator says of a module. The default says nothing: its calls have the limits of their grant, and nobody counts them.
#[derive(Clone, Default)]
pub struct Terms {
    /// Most linear memory in bytes.
    pub memory_bytes: Option<usize>,
    /// Most CPU time.
    pub cpu: Option<Duration>,
    /// Most bytes of responses.
    pub response_bytes: Option<u64>,
    /// Hears of each call.
    pub meter: Option<Arc<dyn Meter>>,
}

/// Counts calls. Called on the thread that made the call, right after it: it must neither wait nor fail.
pub trait Meter: Send + Sync {
    /// A call is over, however it ended.
    fn record(&self, sample: &Sample);
}

/// What is counted of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// CPU time of the thread inside the call.
    pub cpu: Duration,
    /// Most linear memory in use, in bytes.
    pub peak_memory: usize,
    /// The guest misbehaved: a trap, a limit, a broken contract.
    pub fault: bool,
}

impl Terms {
    /// The smaller of each limit.
    pub fn tighten(&self, limits: &mut Limits) {
        if let Some(bytes) = self.memory_bytes {
            limits.memory_bytes = limits.memory_bytes.min(bytes);
        }
        if let Some(cpu) = self.cpu {
            limits.cpu = limits.cpu.min(cpu);
        }
        if let Some(bytes) = self.response_bytes {
            limits.response_bytes = limits.response_bytes.min(bytes);
        }
    }
}

/// The sample of a running call, which is recorded when it is dropped.
pub(crate) struct Tally {
    meter: Option<Arc<dyn Meter>>,
    pub(crate) sample: Sample,
}

impl Tally {
    pub(crate) fn of(terms: &Terms) -> Self {
        Self { meter: terms.meter.clone(), sample: Sample::default() }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if let Some(meter) = &self.meter {
            meter.record(&self.sample);
        }
    }
}
