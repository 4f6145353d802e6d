//! Many rows through one model at the same time: `pg_llm_chat_batch`, `pg_llm_map`, and the same for embeddings.
//!
//! Nothing here measures time. The upstream answers a prompt when the test says so, in the order that the test says.

mod chat;
mod embeddings;
mod ends;
mod map;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use pg_llm_tests::postgres::fallible_iterator::FallibleIterator;
use pg_llm_tests::postgres::{Client, RowIter, SimpleQueryMessage};
use pg_llm_tests::{Asked, DEADLINE};
use pg_llm_upstream::{Gate, Received, Reply, Upstream, openai};
use serde_json::{Value, json};

/// A model `m` that answers each prompt when it is let: "to PROMPT". Prompts that begin with "fail" get an error.
pub(crate) struct Held {
    pub(crate) asked: Asked,
    pub(crate) gates: Gates,
}

#[derive(Clone, Default)]
pub(crate) struct Gates(Arc<Mutex<HashMap<String, Gate>>>);

impl Gates {
    pub(crate) fn of(&self, prompt: &str) -> Gate {
        self.0.lock().unwrap().entry(prompt.to_owned()).or_default().clone()
    }

    fn known(&self, prompt: &str) -> Option<Gate> {
        self.0.lock().unwrap().get(prompt).cloned()
    }
}

/// What is asked in a request.
pub(crate) fn prompt(received: &Received) -> String {
    let body = received.json();
    let last = body["messages"].as_array().and_then(|messages| messages.last()).cloned().unwrap_or_default();
    last["content"].as_str().unwrap_or_default().to_owned()
}

pub(crate) fn answer(prompt: &str) -> Reply {
    if prompt.starts_with("fail") {
        return openai::error(400, "invalid_request_error", "no_way", &format!("not {prompt}"));
    }
    openai::completion(&format!("to {prompt}"))
}

impl Held {
    pub(crate) fn new() -> Self {
        Self::with(json!({}))
    }

    #[allow(clippy::needless_pass_by_value, reason = "a JSON literal is given away")]
    pub(crate) fn with(config: Value) -> Self {
        let gates = Gates::default();
        let upstream = Upstream::start();
        let held = gates.clone();
        upstream.on(Asked::PATH).handle(move |received| {
            let prompt = prompt(received);
            answer(&prompt).gated(&held.of(&prompt))
        });
        Self { asked: Asked::at(upstream, config), gates }
    }

    /// One that never answers prompts which nobody has [let](Self::answers) before they were asked.
    pub(crate) fn hanging() -> Self {
        let held = Self::new();
        let gates = held.gates.clone();
        held.asked.upstream.on(Asked::PATH).handle(move |received| {
            let prompt = prompt(received);
            gates.known(&prompt).map_or_else(Reply::hang, |gate| answer(&prompt).gated(&gate))
        });
        held
    }

    pub(crate) fn answers(&self, prompt: &str) {
        self.gates.of(prompt).open();
    }

    /// Waits until so many requests have come in all.
    #[track_caller]
    pub(crate) fn asked_for(&self, requests: u64) {
        assert!(self.asked.upstream.wait_for_requests(requests, DEADLINE), "fewer than {requests} requests");
    }

    /// Nothing is in flight any more, and the session goes on. A call that hangs at its upstream is over there when its connection is.
    #[track_caller]
    fn is_over(&mut self) {
        assert!(self.asked.upstream.wait_for(|observed| observed.answering == 0, DEADLINE), "the upstream still answers");
        self.answers("well?");
        assert_eq!(simple(&mut self.asked.client, "SELECT pg_llm_chat('m', 'well?')"), ["to well?"]);
        self.asked.database.cluster().assert_no_crash();
    }
}

/// A model `m` that answers at once.
pub(crate) fn prompt_model() -> Asked {
    let upstream = Upstream::start();
    upstream.on(Asked::PATH).handle(|received| answer(&prompt(received)));
    Asked::at(upstream, json!({}))
}

/// The rows, each with its columns joined by `|`.
#[track_caller]
pub(crate) fn simple(client: &mut Client, sql: &str) -> Vec<String> {
    rows(client, sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"))
}

pub(crate) fn rows(client: &mut Client, sql: &str) -> Result<Vec<String>, pg_llm_tests::postgres::Error> {
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|at| row.get(at).unwrap_or("NULL").to_owned()).collect::<Vec<_>>().join("|"))
        }
        _ => None,
    };
    Ok(client.simple_query(sql)?.iter().filter_map(row).collect())
}

/// The next row's first column, as text, as it arrives.
fn next(rows: &mut RowIter<'_>) -> Option<String> {
    rows.next().unwrap().map(|row| row.get(0))
}

fn query<'a>(client: &'a mut Client, sql: &str) -> RowIter<'a> {
    client.query_raw(sql, std::iter::empty::<String>()).unwrap()
}

/// An array of these.
pub(crate) fn array(prompts: &[impl AsRef<str>]) -> String {
    format!("ARRAY[{}]::text[]", prompts.iter().map(|p| format!("'{}'", p.as_ref().replace('\'', "''"))).collect::<Vec<_>>().join(", "))
}
