//! Calls of a real component against a real upstream, without Postgres.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod asking;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use pg_llm_sandbox::egress::Endpoint;
use pg_llm_sandbox::interrupt::StopSwitch;
use pg_llm_sandbox::keys::{KeyRing, Secret};
use pg_llm_sandbox::types::{ChatRequest, Event, FailureKind, Part};
use pg_llm_sandbox::{CallError, CodeCache, Grant, Limits, Provider, Sandbox, SandboxError, sha256};
use pg_llm_upstream::{Gate, Reply, Upstream, openai};

/// Deadline against hangs.
const LONG: Duration = Duration::from_secs(30);

fn component(name: &str) -> Vec<u8> {
    let dir = std::env::var_os("PG_LLM_COMPONENTS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/components")), PathBuf::from);
    let path = dir.join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}; `make components` builds it", path.display()))
}

fn openai_provider() -> Provider {
    static PROVIDER: OnceLock<Provider> = OnceLock::new();
    PROVIDER.get_or_init(fresh_provider).clone()
}

/// A provider with connections of its own.
fn fresh_provider() -> Provider {
    static ARTEFACT: OnceLock<Vec<u8>> = OnceLock::new();
    let artefact = ARTEFACT.get_or_init(|| pg_llm_sandbox::compile(&component("openai.wasm")).unwrap().1);
    // SAFETY: what the compiler has just made.
    unsafe { Sandbox::new(None).unwrap().load_artefact(artefact) }.unwrap()
}

fn grant(upstream: &str, stop: &StopSwitch) -> Grant {
    let mut keys = KeyRing::new();
    keys.insert("default", Secret::new(b"sk-a-very-secret-key".to_vec()));
    Grant {
        endpoint: Some(Endpoint::parse(upstream).unwrap()),
        private_ok: true,
        token_hosts: Arc::default(),
        keys: Arc::new(keys),
        limits: Limits::default(),
        deadline: Instant::now() + LONG,
        interrupt: Arc::new(stop.clone()),
    }
}

fn request(prompt: &str) -> ChatRequest {
    asking::request("gpt-test", prompt)
}

#[test]
fn an_answer_comes_through_a_component_over_http() {
    let upstream = Upstream::start();
    upstream.on("/v1/chat/completions").reply(openai::completion("Paris"));
    let outcome =
        openai_provider().complete(grant(&format!("{}/v1", upstream.url()), &StopSwitch::new().unwrap()), &request("capital of France?"));
    assert_eq!(outcome.result.unwrap().parts, [Part::Text("Paris".into())]);
    assert_eq!(outcome.usage.http_requests, 1);
    let received = &upstream.requests()[0];
    assert_eq!(received.header("authorization"), Some("Bearer sk-a-very-secret-key"));
}

#[test]
fn a_stream_yields_its_events_and_keeps_the_connection() {
    let upstream = Upstream::start();
    upstream.on("/v1/chat/completions").reply(openai::stream(&["Hel", "lo"])).reply(openai::completion("again"));
    let stop = StopSwitch::new().unwrap();
    let mut stream =
        openai_provider().stream(grant(&format!("{}/v1", upstream.url()), &stop), &request("hi")).map_err(|o| o.result).unwrap();
    let mut text = String::new();
    let mut finished = false;
    while let Some(event) = stream.next().unwrap() {
        match event {
            Event::Text(t) => text.push_str(&t),
            Event::Finish(_) => finished = true,
            _ => {}
        }
    }
    assert_eq!((text.as_str(), finished), ("Hello", true));
    drop(stream);
    openai_provider().complete(grant(&format!("{}/v1", upstream.url()), &stop), &request("hi")).result.unwrap();
}

fn to_its_end(mut stream: pg_llm_sandbox::ChatStream) {
    while stream.next().unwrap().is_some() {}
    stream.finish().result.unwrap();
}

#[test]
fn a_stream_whose_end_has_arrived_gives_its_connection_to_the_next_call() {
    let upstream = Upstream::start();
    // The end of the body goes out with its last event.
    upstream.on("/chat/completions").reply(openai::stream(&["Hel", "lo"]));
    let (provider, stop) = (fresh_provider(), StopSwitch::new().unwrap());
    for _ in 0..10 {
        to_its_end(provider.stream(grant(&upstream.url(), &stop), &request("hi")).map_err(|o| o.result).unwrap());
    }
    assert_eq!((upstream.requests().len(), upstream.connections_total()), (10, 1));
}

#[test]
fn the_end_of_a_body_is_not_waited_for_nor_read_at_length() {
    let upstream = Upstream::start();
    let gate = Gate::new();
    // Seven chunks, and the end of the body never.
    gate.pass(7);
    let long =
        [&openai::sse(&openai::chunk(serde_json::json!({"content": "x"}), Some("stop")))[..], openai::DONE, &": waste\n".repeat(20_000)]
            .concat();
    upstream
        .on("/chat/completions")
        .reply(openai::stream(&["a", "b", "c"]).gated(&gate))
        .reply(Reply::bytes(200, openai::EVENT_STREAM, long))
        .reply(openai::completion("well"));
    let (provider, stop) = (fresh_provider(), StopSwitch::new().unwrap());
    let grant = || grant(&upstream.url(), &stop);
    for connections in 1..=2 {
        to_its_end(provider.stream(grant(), &request("hi")).map_err(|o| o.result).unwrap());
        assert!(upstream.wait_until_closed(LONG), "a connection in the midst of a body is of no use");
        assert_eq!(upstream.connections_total(), connections);
    }
    assert_eq!(provider.complete(grant(), &request("hi")).result.unwrap().parts, [Part::Text("well".into())]);
}

#[test]
fn calls_share_one_kept_connection() {
    let upstream = Upstream::start();
    upstream.on("/chat/completions").repeat(20, openai::completion("ok"));
    let (provider, stop) = (fresh_provider(), StopSwitch::new().unwrap());
    for _ in 0..20 {
        provider.complete(grant(&upstream.url(), &stop), &request("hi")).result.unwrap();
    }
    assert_eq!(upstream.connections_total(), 1);
}

#[test]
fn throwing_the_switch_ends_a_wait_and_closes_the_connection() {
    for reply in [Reply::hang(), openai::completion("x").hang_after(0), openai::completion("x").hang_after(10)] {
        let upstream = Upstream::start();
        upstream.on("/chat/completions").reply(reply);
        let stop = StopSwitch::new().unwrap();
        let (grant, provider) = (grant(&upstream.url(), &stop), openai_provider());
        let call = thread::spawn(move || provider.complete(grant, &request("hi")).result);
        assert!(upstream.wait_for(|seen| !seen.requests.is_empty(), LONG));
        thread::sleep(Duration::from_millis(20));
        stop.throw();
        assert!(matches!(call.join().unwrap(), Err(CallError::Stopped)));
        assert!(upstream.wait_until_closed(LONG));
    }
}

#[test]
fn a_deadline_ends_a_wait() {
    let upstream = Upstream::start();
    upstream.on("/chat/completions").reply(Reply::hang());
    let mut grant = grant(&upstream.url(), &StopSwitch::new().unwrap());
    grant.deadline = Instant::now() + Duration::from_millis(50);
    assert!(matches!(openai_provider().complete(grant, &request("hi")).result, Err(CallError::TimedOut)));
}

#[test]
fn an_address_that_is_not_public_is_refused_unless_allowed() {
    let upstream = Upstream::start();
    let mut grant = grant(&upstream.url(), &StopSwitch::new().unwrap());
    grant.private_ok = false;
    let Err(CallError::Failed(failure)) = openai_provider().complete(grant, &request("hi")).result else { panic!("not refused") };
    assert_eq!(failure.kind, FailureKind::Refused);
    assert_eq!(upstream.connections_total(), 0);
}

#[test]
fn a_key_that_the_upstream_echoes_is_redacted() {
    let upstream = Upstream::start();
    upstream.on("/chat/completions").reply(openai::error(401, "auth", "bad_key", "Incorrect key: sk-a-very-secret-key"));
    let Err(CallError::Failed(failure)) =
        openai_provider().complete(grant(&upstream.url(), &StopSwitch::new().unwrap()), &request("hi")).result
    else {
        panic!("no failure")
    };
    assert_eq!(failure.kind, FailureKind::Authentication);
    assert!(!format!("{failure:?}").contains("sk-a-very"), "{failure:?}");
    assert!(failure.message.contains("[redacted]"));
}

#[test]
fn cached_code_is_loaded_only_when_it_is_sound() {
    let dir = std::env::temp_dir().join(format!("pg_llm-cache-{}", std::process::id()));
    let wasm = component("mock.wasm");
    let (digest, (_, artefact)) = (sha256(&wasm), pg_llm_sandbox::compile(&wasm).unwrap());
    let sandbox = Sandbox::new(None).unwrap();
    let cache = CodeCache::new(&dir, &[7; 32]);
    assert!(matches!(sandbox.load(&cache, &digest), Err(SandboxError::NotCached)));
    cache.store(&digest, &artefact).unwrap();
    sandbox.load(&cache, &digest).map_err(|e| e.to_string()).unwrap();

    let path = cache.path(&digest);
    let sound = std::fs::read(&path).unwrap();
    let mut damaged = vec![Vec::new(), sound[..sound.len() - 1].to_vec(), sound[1..].to_vec(), artefact.clone()];
    for at in [0, 100, sound.len() / 2, sound.len() - 41, sound.len() - 20, sound.len() - 1] {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        damaged.push(bytes);
    }
    for bytes in damaged {
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(sandbox.load(&cache, &digest), Err(SandboxError::NotCached)));
    }
    std::fs::write(&path, &sound).unwrap();
    assert!(matches!(sandbox.load(&CodeCache::new(&dir, &[8; 32]), &digest), Err(SandboxError::NotCached)), "another server's key");
    std::fs::rename(&path, cache.path(&[1; 32])).unwrap();
    assert!(matches!(sandbox.load(&cache, &[1; 32]), Err(SandboxError::NotCached)), "another component's code");
    std::fs::remove_dir_all(dir).unwrap();
}
