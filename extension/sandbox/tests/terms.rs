//! A module's own limits, and who hears of its calls.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod asking;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pg_llm_sandbox::interrupt::StopSwitch;
use pg_llm_sandbox::types::ChatRequest;
use pg_llm_sandbox::{CallError, Grant, GuestFault, Limits, Meter, Provider, Sample, Sandbox, Terms};

/// Remembers what it heard.
#[derive(Default)]
struct Listener(Mutex<Vec<Sample>>);

impl Meter for Listener {
    fn record(&self, sample: &Sample) {
        self.0.lock().unwrap().push(*sample);
    }
}

impl Listener {
    fn heard(&self) -> Vec<Sample> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// A component on terms with these limits.
fn provider(name: &str, limits: &Terms) -> (Provider, Arc<Listener>) {
    let dir = std::env::var_os("PG_LLM_COMPONENTS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/components")), PathBuf::from);
    let path = dir.join(name);
    let wasm = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}; `make components` builds it", path.display()));
    let (_, artefact) = pg_llm_sandbox::compile(&wasm).unwrap();
    // SAFETY: what the compiler has just made.
    let provider = unsafe { Sandbox::new(None).unwrap().load_artefact(&artefact) }.unwrap();
    let listener = Arc::new(Listener::default());
    (provider.on(&Arc::new(Terms { meter: Some(Arc::clone(&listener) as Arc<dyn Meter>), ..limits.clone() })), listener)
}

fn grant() -> Grant {
    Grant::without_network(Limits::default(), Instant::now() + Duration::from_mins(1), Arc::new(StopSwitch::new().unwrap()))
}

fn request(model: &str) -> ChatRequest {
    asking::request(model, "Hello")
}

#[test]
fn every_call_is_heard_of_once_however_it_ends() {
    let (mock, listener) = provider("mock.wasm", &Terms::default());
    mock.complete(grant(), &request("mock")).result.unwrap();
    let heard = listener.heard();
    assert!(heard.len() == 1 && !heard[0].fault && heard[0].peak_memory > 0, "{heard:?}");
    let mut stream = mock.stream(grant(), &request("mock")).unwrap_or_else(|outcome| panic!("{outcome:?}"));
    stream.next().unwrap();
    assert_eq!(listener.heard(), [], "it is not over");
    drop(stream);
    assert_eq!(listener.heard().len(), 1);
    let mut stream = mock.stream(grant(), &request("mock")).unwrap_or_else(|outcome| panic!("{outcome:?}"));
    while stream.next().unwrap().is_some() {}
    stream.finish().result.unwrap();
    assert_eq!(listener.heard().len(), 1);
    // A clone of the code without terms is heard of by nobody.
    mock.on(&Arc::default()).complete(grant(), &request("mock")).result.unwrap();
    assert_eq!(listener.heard(), []);
}

#[test]
fn a_guest_that_misbehaves_is_a_fault_and_one_that_says_no_is_none() {
    let (hostile, listener) = provider("hostile.wasm", &Terms::default());
    assert!(matches!(hostile.complete(grant(), &request("trap")).result, Err(CallError::Guest(GuestFault::Trap(_)))));
    assert!(matches!(hostile.complete(grant(), &request("no such crime")).result, Err(CallError::Failed(_))));
    assert!(hostile.list_models(grant(), "{}").result.is_err());
    let heard = listener.heard();
    assert!(heard.len() >= 2 && heard[0].fault && !heard[1].fault, "{heard:?}");
}

#[test]
fn the_smaller_limit_counts() {
    let limits = Terms { memory_bytes: Some(8 << 20), cpu: Some(Duration::from_millis(150)), response_bytes: Some(1 << 20), meter: None };
    let (hostile, listener) = provider("hostile.wasm", &limits);
    let fault = |grant: Grant, crime: &str| match hostile.complete(grant, &request(crime)).result {
        Err(CallError::Guest(fault)) => fault,
        other => panic!("{crime}: {other:?}"),
    };
    assert_eq!(fault(grant(), "memory-bomb"), GuestFault::Memory(8 << 20));
    let heard = listener.heard();
    assert!(heard[0].fault && (4 << 20..=8 << 20).contains(&heard[0].peak_memory), "{heard:?}");
    assert_eq!(fault(grant(), "infinite-loop"), GuestFault::Cpu(Duration::from_millis(150)));
    assert!(listener.heard()[0].cpu >= Duration::from_millis(150));
    let mut tight = grant();
    tight.limits.memory_bytes = 4 << 20;
    assert_eq!(fault(tight, "memory-bomb"), GuestFault::Memory(4 << 20), "the grant's, which is smaller");
    let mut limits_of_both = Limits::default();
    limits.tighten(&mut limits_of_both);
    assert_eq!((limits_of_both.memory_bytes, limits_of_both.response_bytes), (8 << 20, 1 << 20));
}
