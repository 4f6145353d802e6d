//! A model's filters in its calls: the built-in filters, and a hostile one, around a real provider and a scripted upstream.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod answers;
mod cost;
mod failures;
mod streams;
mod texts;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use pg_llm_gateway::admission::Local;
use pg_llm_gateway::filters::{FilterChain, FilterStep, OnFilterError};
use pg_llm_gateway::ledger::{NoLedger, Origin, Via};
use pg_llm_gateway::{AnswerStream, CallError, ChatCall, ChatOptions, ChatOutcome, Delta, ModelSpec, Route, StreamOutcome};
use pg_llm_sandbox::egress::TokenHosts;
use pg_llm_sandbox::interrupt::{Interrupt, StopSwitch};
use pg_llm_sandbox::keys::{KeyRing, Secret};
use pg_llm_sandbox::report::{Description, Report};
use pg_llm_sandbox::{Filter, Limits, Provider, Sandbox, sha256};
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::{Value, json};

/// Deadline against hangs.
const LONG: Duration = Duration::from_mins(1);
const EMAIL: &str = "bob@example.com";
const KEY: &str = "sk-proj-Zx8Kq2vN7tRw4YbM9cLd3FgH6jPs1AuE5iOoZx8Kq2vN7tRw";

fn component(name: &str) -> Vec<u8> {
    let dir = std::env::var_os("PG_LLM_COMPONENTS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/components")), PathBuf::from);
    let path = dir.join(name).with_extension("wasm");
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}; `make components` builds it", path.display()))
}

fn sandbox() -> &'static Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    SANDBOX.get_or_init(|| Sandbox::new(None).unwrap())
}

fn provider() -> &'static (Report<Description>, Provider) {
    static PROVIDER: OnceLock<(Report<Description>, Provider)> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        let (report, artefact) = pg_llm_sandbox::compile(&component("openai")).unwrap();
        // SAFETY: what the compiler has just made.
        (report, unsafe { sandbox().load_artefact(&artefact) }.unwrap())
    })
}

fn filter(name: &str) -> Filter {
    static FILTERS: OnceLock<Mutex<HashMap<String, Filter>>> = OnceLock::new();
    let mut filters = FILTERS.get_or_init(Mutex::default).lock().unwrap();
    let load = || {
        let (_, artefact) = pg_llm_sandbox::compile_filter(&component(name)).unwrap();
        // SAFETY: what the compiler has just made.
        unsafe { sandbox().load_filter_artefact(&artefact) }.unwrap()
    };
    filters.entry(name.to_owned()).or_insert_with(load).clone()
}

/// A built-in filter of this name.
fn step(name: &str, config: &Value) -> FilterStep {
    FilterStep {
        name: name.to_owned(),
        code: filter(&format!("filter-{name}")),
        component: sha256(name.as_bytes()),
        config: config.to_string().into(),
        prompt: name != "json-only",
        response: name != "prompt-guard",
    }
}

/// The hostile filter with this crime on one side.
fn hostile(crime: &str, prompt: bool) -> FilterStep {
    let (code, component) = (filter("hostile-filter"), sha256(crime.as_bytes()));
    FilterStep { name: "hostile".to_owned(), code, component, config: crime.into(), prompt, response: !prompt }
}

/// A model behind a scripted upstream.
struct Model {
    upstream: Upstream,
    route: Route,
}

impl Model {
    fn with(steps: Vec<FilterStep>) -> Self {
        Self::on_error(steps, OnFilterError::Block)
    }

    fn on_error(steps: Vec<FilterStep>, on_error: OnFilterError) -> Self {
        let upstream = Upstream::start();
        let (report, provider) = provider();
        let profile = report.description.profile("openai").unwrap();
        let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
        let config = json!({"api_endpoint": format!("{}/v1", upstream.url()), "model_name": "gpt-test", "filters": names});
        let spec = ModelSpec::parse("m", &report.description, profile, &config).unwrap().spec;
        let mut keys = KeyRing::new();
        keys.insert("default", Secret::new(b"sk-a-very-secret-key".to_vec()));
        let route = Route {
            instance: "m".to_owned(),
            spec: Arc::new(spec),
            provider: provider.clone(),
            component: [1; 32],
            model_type: "openai".into(),
            keys: Arc::new(keys),
            private_ok: true,
            token_hosts: Arc::new(TokenHosts::default()),
            limits: Limits { cpu: Duration::from_millis(500), ..Limits::default() },
            timeout: LONG,
            timeout_ceiling: LONG,
            admission: Arc::new(Local::new()),
            server_concurrency: 0,
            budgets: [].into(),
            fallbacks: Vec::new(),
            confidence_threshold: 0.0,
            filters: Arc::new(FilterChain { steps, on_error }),
            ledger: Arc::new(NoLedger),
            origin: Origin::of(Via::Chat),
        };
        Self { upstream, route }
    }

    fn says(self, reply: Reply) -> Self {
        self.upstream.on("/v1/chat/completions").reply(reply);
        self
    }

    fn chat(&self, prompt: &str) -> Result<ChatOutcome, CallError> {
        self.chat_with(prompt, &json!({}))
    }

    fn chat_with(&self, prompt: &str, options: &Value) -> Result<ChatOutcome, CallError> {
        ChatCall::new(self.route.clone(), prompt, ChatOptions::parse(options).unwrap()).run(&interrupt())
    }

    fn answer(&self, prompt: &str) -> String {
        self.chat(prompt).unwrap().text()
    }

    fn stream(&self, prompt: &str) -> AnswerStream {
        AnswerStream::new(self.route.clone(), prompt, ChatOptions::default(), interrupt())
    }

    /// What was sent last, as JSON.
    fn sent(&self) -> Value {
        self.upstream.last_request().unwrap().json()
    }

    fn requests(&self) -> usize {
        self.upstream.requests().len()
    }
}

fn interrupt() -> Arc<dyn Interrupt> {
    Arc::new(StopSwitch::new().unwrap())
}

/// All pieces of text of a stream, and what came at its end.
fn drained(mut stream: AnswerStream) -> (Vec<String>, Result<StreamOutcome, CallError>) {
    let mut pieces = Vec::new();
    loop {
        match stream.next() {
            Ok(Some(Delta::Text(text))) => pieces.push(text),
            Ok(Some(Delta::End(outcome))) => return (pieces, Ok(*outcome)),
            Ok(Some(_)) => {}
            Ok(None) => panic!("a stream without an end"),
            Err(error) => return (pieces, Err(error)),
        }
    }
}

fn within<T>(most: Duration, what: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = what();
    assert!(began.elapsed() < most, "hangs");
    result
}
