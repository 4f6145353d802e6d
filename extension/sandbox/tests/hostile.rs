//! What a hostile component cannot do: asked of the sandbox itself, without Postgres. From SQL the same guest is asked by `tests/sql/hostile.rs`.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "hostile/signing.rs"]
mod signing;

mod asking;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use pg_llm_sandbox::egress::Endpoint;
use pg_llm_sandbox::interrupt::StopSwitch;
use pg_llm_sandbox::keys::{KeyRing, Secret};
use pg_llm_sandbox::types::{Answer, Event, Part};
use pg_llm_sandbox::{CallError, Grant, GuestFault, Limits, Outcome, Provider, Sandbox};
use pg_llm_upstream::{Reply, Upstream};

use asking::request;

/// Deadline against hangs.
const LONG: Duration = Duration::from_mins(1);
const KEY: &str = "sk-Zx81_the-key-that-nobody-may-see";

fn hostile() -> Provider {
    static PROVIDER: OnceLock<Provider> = OnceLock::new();
    PROVIDER
        .get_or_init(|| {
            let dir = std::env::var_os("PG_LLM_COMPONENTS")
                .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/components")), PathBuf::from);
            let path = dir.join("hostile.wasm");
            let wasm = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}; `make components` builds it", path.display()));
            let (_, artefact) = pg_llm_sandbox::compile(&wasm).unwrap();
            // SAFETY: what the compiler has just made.
            unsafe { Sandbox::new(None).unwrap().load_artefact(&artefact) }.unwrap()
        })
        .clone()
}

fn grant(upstream: Option<&Upstream>) -> Grant {
    let mut keys = KeyRing::new();
    keys.insert("default", Secret::new(KEY.as_bytes().to_vec()));
    Grant {
        endpoint: upstream.map(|u| Endpoint::parse(&u.url()).unwrap()),
        private_ok: true,
        token_hosts: Arc::default(),
        keys: Arc::new(keys),
        limits: Limits { cpu: Duration::from_secs(2), ..Limits::default() },
        deadline: Instant::now() + LONG,
        interrupt: Arc::new(StopSwitch::new().unwrap()),
    }
}

fn commit(crime: &str, prompt: &str, upstream: Option<&Upstream>) -> Outcome<Answer> {
    hostile().complete(grant(upstream), &request(crime, prompt))
}

fn text(outcome: Outcome<Answer>) -> String {
    match &outcome.result.unwrap().parts[..] {
        [Part::Text(text)] => text.clone(),
        parts => panic!("{parts:?}"),
    }
}

#[track_caller]
fn fault(crime: &str, prompt: &str) -> GuestFault {
    match commit(crime, prompt, None).result {
        Err(CallError::Guest(fault)) => fault,
        other => panic!("{crime}: {other:?}"),
    }
}

#[test]
fn each_fault_has_its_name() {
    assert!(matches!(fault("infinite-loop", ""), GuestFault::Cpu(_)));
    assert_eq!(fault("deep-recursion", ""), GuestFault::Stack);
    assert!(matches!(fault("memory-bomb", ""), GuestFault::Memory(_)));
    for (crime, prompt) in [
        ("trap", ""),
        ("panic", ""),
        ("divide-by-zero", "0"),
        ("divide-by-zero", "-1"),
        ("out-of-bounds", "read"),
        ("out-of-bounds", "write"),
    ] {
        let fault = fault(crime, prompt);
        assert!(matches!(fault, GuestFault::Trap(_)), "{crime}: {fault:?}");
    }
    for crime in ["forged-string", "forged-list", "invalid-utf8", "aliased-list", "handle-flood"] {
        let fault = fault(crime, "");
        assert!(matches!(fault, GuestFault::Contract(_)), "{crime}: {fault:?}");
        println!("{crime}: {fault}");
    }
}

#[test]
fn growing_page_by_page_ends_at_the_limit() {
    assert!(text(commit("many-growths", "", None)).parse::<usize>().unwrap() <= Limits::default().memory_bytes >> 16);
}

#[test]
fn an_answer_is_no_larger_than_a_response_may_be() {
    assert_eq!(Limits::default().response_bytes, 32 << 20);
    assert_eq!(text(commit("huge-answer", "31", None)).len(), 31 << 20);
    // What holds the text counts too.
    assert!(matches!(fault("huge-answer", "32"), GuestFault::Contract(_)));
}

#[test]
fn every_call_begins_anew() {
    for _ in 0..3 {
        assert_eq!(text(commit("remember", "", None)), "1");
    }
}

#[test]
fn a_request_from_the_bottom_of_the_stack_is_served() {
    let upstream = Upstream::start();
    upstream.on("/deep").reply(Reply::text(200, "deep"));
    text(commit("deep-request", "", Some(&upstream)));
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_flood_of_headers_is_refused() {
    let upstream = Upstream::start();
    let said = text(commit("header-flood", "", Some(&upstream)));
    assert!(said.contains("headers"), "{said}");
    assert_eq!(upstream.connections_total(), 0);
}

#[test]
fn names_of_megabytes_are_refused_in_few_words() {
    let upstream = Upstream::start();
    let said: serde_json::Value = serde_json::from_str(&text(commit("long-names", "", Some(&upstream)))).unwrap();
    assert!(said["longest"].as_u64().unwrap() < 1000, "{said}");
    assert_eq!(upstream.requests().len(), 0, "{said}");
}

#[test]
fn open_responses_end_at_a_limit() {
    let upstream = Upstream::start();
    upstream.on("/flood").reply(Reply::endless("text/plain", "flood "));
    let said = text(commit("response-flood", "", Some(&upstream)));
    assert!(said.starts_with("16 responses"), "{said}");
    assert!(upstream.wait_until_closed(LONG));

    let mut grant = grant(Some(&upstream));
    grant.limits = Limits { handles: 8, ..grant.limits };
    let outcome = hostile().complete(grant, &request("response-flood", ""));
    assert!(matches!(outcome.result, Err(CallError::Guest(GuestFault::Contract(_)))), "{:?}", outcome.result);
    assert!(upstream.wait_until_closed(LONG));
}

/// A guest that has its guesses repeated by the upstream, and cuts the body where it likes, once could tell from what was held back which guess was right.
#[test]
fn redacting_does_not_tell_what_it_looks_for() {
    let upstream = Upstream::start();
    upstream.otherwise(|received| Reply::text(200, &received.text()));
    assert_eq!(text(commit("key-oracle", "sk-", Some(&upstream))), "sk-");
}

#[test]
fn a_repeated_key_is_redacted_however_it_is_read() {
    let upstream = Upstream::start();
    upstream.otherwise(|_| Reply::echo_headers(200).header("x-echo", KEY));
    for way in ["answer", "bytes"] {
        let said = text(commit("key-thief", way, Some(&upstream)));
        assert!(said.contains("[redacted]") && !said.contains(&KEY[..10]), "{said}");
    }
    for way in ["error", "log"] {
        let outcome = commit("key-thief", way, Some(&upstream));
        assert!(!outcome.log.iter().any(|line| line.text.contains(&KEY[..10])));
        let said = format!("{:?}", outcome.result.unwrap_err());
        assert!(said.contains("[redacted]") && !said.contains(&KEY[..10]), "{said}");
    }
}

#[test]
fn a_log_flood_is_cut_and_escaped() {
    let outcome = commit("log-flood", "", None);
    let bytes: usize = outcome.log.iter().map(|line| line.text.len()).sum();
    assert!(bytes <= Limits::default().log_bytes && outcome.log_dropped > 90_000);
    assert!(outcome.log.iter().all(|line| !line.text.contains(char::is_control)));
    let outcome = commit("aliased-logs", "", None);
    assert_eq!((outcome.log.len(), outcome.log_dropped), (0, 20));
}

#[test]
fn streams_of_criminals_end() {
    let begin = |crime| hostile().stream(grant(None), &request(crime, "")).map_err(|o| o.result).unwrap();
    let mut endless = begin("endless-stream");
    for _ in 0..1000 {
        assert!(matches!(endless.next().unwrap(), Some(Event::Text(_))));
    }
    endless.finish().result.unwrap();
    assert!(matches!(begin("stuck-stream").next(), Err(CallError::Guest(GuestFault::Cpu(_)))));

    let mut trapping = begin("trapping-stream");
    trapping.next().unwrap();
    assert!(matches!(trapping.next(), Err(CallError::Guest(GuestFault::Trap(_)))));
    assert_eq!(trapping.next().unwrap(), None);

    let mut hoarding = begin("hoarding-stream");
    let end = loop {
        if let Err(end) = hoarding.next() {
            break end;
        }
    };
    assert!(matches!(end, CallError::Guest(GuestFault::Memory(_))), "{end:?}");
}

#[test]
fn a_loop_ends_when_the_switch_is_thrown() {
    let stop = StopSwitch::new().unwrap();
    let mut grant = grant(None);
    grant.interrupt = Arc::new(stop.clone());
    grant.limits.cpu = LONG;
    let call = thread::spawn(move || hostile().complete(grant, &request("infinite-loop", "")).result);
    thread::sleep(Duration::from_millis(50));
    stop.throw();
    assert!(matches!(call.join().unwrap(), Err(CallError::Stopped)));
}
