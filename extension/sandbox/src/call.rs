//! One call: what it was granted, what it used, and how it ended.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use wasmtime::component::ResourceTable;
use wasmtime::{AsContextMut, Store, StoreContextMut, Trap, UpdateDeadline};

use crate::capabilities::http::Response;
use crate::capabilities::log::{LogBuffer, LogLine};
use crate::egress::{Endpoint, TokenHosts};
use crate::engine::Runtime;
use crate::interrupt::Interrupt;
use crate::keys::{KeyRing, Secret};
use crate::limits::{Exceeded, Limiter, Limits};
use crate::patience::{self, Cause, Patience};
use crate::redact::Needles;
use crate::signing::token_cache::TokenCache;
use crate::terms::{Tally, Terms};
use crate::ticker::Ticker;
use crate::transport::Agents;
use crate::wasi::Wasi;
use crate::wit::pg_llm::guest::types::Failure;

/// What a call may do. Made by whoever knows the model; nothing in it comes from the guest.
#[derive(Clone)]
pub struct Grant {
    /// Where requests go; none: no HTTP at all.
    pub endpoint: Option<Endpoint>,
    /// The endpoint may have an address that is not public.
    pub private_ok: bool,
    /// Where access tokens may be fetched.
    pub token_hosts: Arc<TokenHosts>,
    /// The keys that requests may carry.
    pub keys: Arc<KeyRing>,
    /// What the call may use.
    pub limits: Limits,
    /// When the call must be over.
    pub deadline: Instant,
    /// What ends it earlier.
    pub interrupt: Arc<dyn Interrupt>,
}

impl Grant {
    /// No endpoint and no key: for filters, and for what a component says of itself.
    pub fn without_network(limits: Limits, deadline: Instant, interrupt: Arc<dyn Interrupt>) -> Self {
        Self { endpoint: None, private_ok: false, token_hosts: Arc::default(), keys: Arc::new(KeyRing::new()), limits, deadline, interrupt }
    }
}

/// How a call failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// The guest reports that the provider failed, or that it cannot do what was asked.
    #[error("{}", .0.message)]
    Failed(Failure),
    /// The guest misbehaved.
    #[error("{0}")]
    Guest(GuestFault),
    /// The interrupt ended the call.
    #[error("cancelled")]
    Stopped,
    /// The deadline passed.
    #[error("the deadline passed")]
    TimedOut,
    /// The host could not do its part.
    #[error("{0}")]
    Host(String),
    /// The system has none left of what the call needs.
    #[error("{0}")]
    Exhausted(&'static str),
}

/// What a guest did that it may not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuestFault {
    /// A trap: an unreachable instruction, as after a panic, or an access out of bounds.
    #[error("it trapped: {0}")]
    Trap(String),
    /// More memory than granted, in bytes.
    #[error("it used more than {0} bytes of memory")]
    Memory(usize),
    /// More table elements than granted.
    #[error("it used more than {0} table elements")]
    Table(usize),
    /// More CPU time than granted.
    #[error("it computed for more than {} ms", .0.as_millis())]
    Cpu(Duration),
    /// Recursion deeper than the stack.
    #[error("its stack overflowed")]
    Stack,
    /// Something that the component model or the contract forbids, or a limit of the host on what crosses the border.
    #[error("it broke the contract: {0}")]
    Contract(String),
}

/// What a call used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of the thread inside the call.
    pub cpu: Duration,
    /// Most linear memory in use, in bytes.
    pub peak_memory: usize,
    /// Time until connections stood, TLS included; zero where one was kept.
    pub connect: Duration,
    /// Time from the latest HTTP request, a connection included, until the head of its response was there; zero where it never was.
    pub first_byte: Duration,
    /// HTTP requests sent.
    pub http_requests: u32,
    /// Bytes sent.
    pub request_bytes: u64,
    /// Bytes received, decoded.
    pub response_bytes: u64,
}

/// A call that is over.
#[derive(Debug)]
pub struct Outcome<T> {
    /// Its result.
    pub result: Result<T, CallError>,
    /// What the guest logged.
    pub log: Vec<LogLine>,
    /// Log lines beyond the limit.
    pub log_dropped: u64,
    /// What it used.
    pub usage: Usage,
}

/// Why the host trapped a guest; it is the trap's error.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Stop {
    #[error("cancelled")]
    Interrupt,
    #[error("deadline")]
    Deadline,
    #[error("cpu limit")]
    Cpu,
}

/// A store's data.
pub(crate) struct CallState {
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) private_ok: bool,
    pub(crate) token_hosts: Arc<TokenHosts>,
    pub(crate) tokens: Arc<TokenCache>,
    /// Tokens that this call was given: as secret as its keys.
    pub(crate) issued: Vec<Secret>,
    /// What is looked for in all that comes back: both, in all their forms.
    pub(crate) needles: OnceCell<Needles>,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) limits: Limits,
    pub(crate) limiter: Limiter,
    pub(crate) patience: Rc<Patience>,
    pub(crate) agents: Arc<Agents>,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) table: ResourceTable,
    pub(crate) log: LogBuffer,
    pub(crate) usage: Usage,
    /// The latest response that the guest dropped before its end.
    pub(crate) unread: Option<Response>,
    /// Of a guest that has used any of it.
    pub(crate) wasi: Option<Box<Wasi>>,
    /// The thread's CPU clock when the guest was entered.
    entered_at: Duration,
    tally: Tally,
}

impl wasmtime::component::HasData for CallState {
    type Data<'a> = &'a mut CallState;
}

impl crate::wit::pg_llm::guest::types::Host for CallState {}

/// A store with a call in it.
pub(crate) struct Call {
    pub(crate) store: Store<CallState>,
}

impl Call {
    pub(crate) fn new(runtime: &Runtime, agents: &Arc<Agents>, terms: &Terms, mut grant: Grant) -> Self {
        terms.tighten(&mut grant.limits);
        let mut table = ResourceTable::new();
        table.set_max_capacity(grant.limits.handles);
        let state = CallState {
            limiter: Limiter::new(&grant.limits),
            log: LogBuffer::new(grant.limits.log_bytes),
            patience: Patience::new(grant.interrupt, grant.deadline, grant.private_ok),
            endpoint: grant.endpoint,
            private_ok: grant.private_ok,
            token_hosts: grant.token_hosts,
            tokens: Arc::clone(&runtime.tokens),
            issued: Vec::new(),
            needles: OnceCell::new(),
            keys: grant.keys,
            limits: grant.limits,
            agents: Arc::clone(agents),
            ticker: Arc::clone(&runtime.ticker),
            table,
            unread: None,
            wasi: None,
            usage: Usage::default(),
            entered_at: Duration::ZERO,
            tally: Tally::of(terms),
        };
        let mut store = Store::new(&runtime.engine, state);
        store.limiter(|state| &mut state.limiter);
        store.epoch_deadline_callback(on_tick);
        // What crosses the border in one call is bounded by what fits into the guest, though it may name the same bytes many times.
        store.set_hostcall_fuel(store.data().limits.memory_bytes);
        store.set_max_component_handles(store.data().limits.handles.saturating_mul(4));
        Self { store }
    }

    /// Runs guest code.
    pub(crate) fn enter<T>(&mut self, run: impl FnOnce(StoreContextMut<'_, CallState>) -> wasmtime::Result<T>) -> Result<T, CallError> {
        let ticker = Arc::clone(&self.store.data().ticker);
        let Some(_watched) = ticker.watch() else {
            return Err(CallError::Exhausted("no thread can be started that would watch the guest"));
        };
        let _entered = patience::enter(&self.store.data().patience);
        self.store.data_mut().entered_at = thread_cpu();
        self.store.set_epoch_deadline(1);
        let result = run(self.store.as_context_mut());
        let state = self.store.data_mut();
        state.usage.cpu += thread_cpu().saturating_sub(state.entered_at);
        state.usage.peak_memory = state.limiter.peak_memory;
        let usage = &state.usage;
        (state.tally.sample.cpu, state.tally.sample.peak_memory) = (usage.cpu, usage.peak_memory);
        result.map_err(|e| {
            self.store.data_mut().end_output();
            let error = self.explain(&e);
            if matches!(error, CallError::Guest(_)) {
                self.misbehaved();
            }
            error
        })
    }

    /// The guest did what it may not.
    pub(crate) fn misbehaved(&mut self) {
        self.store.data_mut().tally.sample.fault = true;
    }

    fn explain(&self, error: &wasmtime::Error) -> CallError {
        let state = self.store.data();
        match error.downcast_ref::<Stop>() {
            Some(Stop::Interrupt) => return CallError::Stopped,
            Some(Stop::Deadline) => return CallError::TimedOut,
            Some(Stop::Cpu) => return CallError::Guest(GuestFault::Cpu(state.limits.cpu)),
            None => {}
        }
        // A guest that does not bear what the host told it is not what ended the call.
        if let Some(error) = self.host_cause() {
            return error;
        }
        if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
            return CallError::Guest(GuestFault::Trap(self.with_last_words(&format!("exit with status {}", exit.0))));
        }
        let fault = match (state.limiter.exceeded, error.downcast_ref::<Trap>()) {
            (_, Some(Trap::StackOverflow)) => GuestFault::Stack,
            (Some(Exceeded::Memory), _) => GuestFault::Memory(state.limits.memory_bytes),
            (Some(Exceeded::Table), _) => GuestFault::Table(state.limits.table_elements),
            // The trap's own words, and the guest's last ones, where it has any: a panic's message.
            (None, Some(trap)) => GuestFault::Trap(self.with_last_words(&trap.to_string())),
            (None, None) => GuestFault::Contract(error.root_cause().to_string()),
        };
        CallError::Guest(fault)
    }

    fn with_last_words(&self, trap: &str) -> String {
        let lines = &self.store.data().log.lines;
        match lines.iter().rev().find(|line| line.level >= crate::capabilities::log::LogLevel::Error) {
            Some(line) => format!("{trap} ({})", line.text),
            None => trap.to_owned(),
        }
    }

    /// What the host ended on its own account, which no answer of the guest can hide.
    pub(crate) fn host_cause(&self) -> Option<CallError> {
        match self.store.data().patience.cause() {
            Some(Cause::Stopped) => Some(CallError::Stopped),
            Some(Cause::TimedOut) => Some(CallError::TimedOut),
            Some(Cause::Exhausted(what)) => Some(CallError::Exhausted(what)),
            Some(Cause::Refused(_)) | None => None,
        }
    }

    pub(crate) fn finish<T>(mut self, result: Result<T, CallError>) -> Outcome<T> {
        if matches!(result, Err(CallError::Guest(_))) {
            self.misbehaved();
        }
        let mut state = self.store.into_data();
        state.end_output();
        if let Some(mut response) = state.unread.take() {
            // The end of a body often follows its last event by a few microseconds.
            let _entered = patience::enter(&state.patience);
            response.read_to_end_at_once(&state.patience);
        }
        Outcome { result, log: state.log.lines, log_dropped: state.log.dropped, usage: state.usage }
    }
}

/// Asked at every tick of the epoch while guest code runs.
#[allow(clippy::needless_pass_by_value, reason = "wasmtime's signature")]
fn on_tick(store: StoreContextMut<'_, CallState>) -> wasmtime::Result<UpdateDeadline> {
    let state = store.data();
    if state.patience.interrupt.stopped() {
        state.patience.set_cause(Cause::Stopped);
        return Err(Stop::Interrupt.into());
    }
    if Instant::now() >= state.patience.deadline.get() {
        state.patience.set_cause(Cause::TimedOut);
        return Err(Stop::Deadline.into());
    }
    if state.usage.cpu + thread_cpu().saturating_sub(state.entered_at) > state.limits.cpu {
        return Err(Stop::Cpu.into());
    }
    Ok(UpdateDeadline::Continue(1))
}

fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}
