//! Recorded responses of real providers, through everything: served over HTTP, read by the adapter in its sandbox, asked from SQL.
//!
//! What each adapter makes of the bytes is tested beside it. Here it is asked whether the same comes out of SQL, from the place where the recorded
//! request went, in whatever pieces the bytes come; and what an answer becomes that breaks off.
#![allow(clippy::print_stderr, reason = "what was tried, and that it was skipped")]

mod conversations;
mod corpus;
mod damage;
mod early_ends;
mod endpoints;
mod lists;
mod their_server;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use pg_llm_tests::postgres::error::DbError;
use pg_llm_tests::postgres::fallible_iterator::FallibleIterator;
use pg_llm_tests::postgres::types::ToSql;
use pg_llm_tests::postgres::{Client, Error, Row};
use pg_llm_tests::{Cluster, Database, db_error};
use pg_llm_upstream::{Reply, Upstream};
use serde_json::{Value, json};

use corpus::{Recording, items, recordings};
use endpoints::{Endpoint, decoded};

/// An endpoint that answers whatever the test wants, and a session that asks it.
struct Replay {
    upstream: Upstream,
    reply: Arc<Mutex<Reply>>,
    client: Client,
    model_types: BTreeSet<String>,
    found: Findings,
    _database: Database<'static>,
}

/// What was tried, and what was wrong with it.
#[derive(Default)]
struct Findings {
    tried: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

impl Findings {
    fn tried(&mut self, recording: &Recording) {
        *self.tried.entry(format!("{} {}", recording.provider, recording.kind)).or_default() += 1;
    }

    fn wrong(&mut self, recording: &Recording, way: &str, complaints: Vec<String>) {
        self.wrong.extend(complaints.into_iter().map(|complaint| format!("{} ({way}): {complaint}", recording.id)));
    }

    #[track_caller]
    fn assert_none(self) {
        eprintln!("{} recordings: {:?}", self.tried.values().sum::<usize>(), self.tried);
        assert!(self.wrong.is_empty(), "{} complaints:\n{}", self.wrong.len(), self.wrong.join("\n"));
    }
}

impl Replay {
    fn new() -> Self {
        let (upstream, reply) = (Upstream::start(), Arc::new(Mutex::new(Reply::status(500))));
        let current = Arc::clone(&reply);
        upstream.otherwise(move |_| current.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let database = Cluster::shared().database();
        let mut client = database.superuser();
        let names = "SELECT model_type FROM pg_llm_providers UNION SELECT unnest(aliases) FROM pg_llm_providers";
        let model_types = client.query(names, &[]).unwrap().iter().map(|row| row.get(0)).collect();
        Self { upstream, reply, client, model_types, found: Findings::default(), _database: database }
    }

    /// What comes next, again and again.
    fn serve(&self, reply: Reply) {
        *self.reply.lock().unwrap_or_else(PoisonError::into_inner) = reply;
    }

    /// A model `r` for a recording; false, and a complaint, where there can be none.
    fn add(&mut self, recording: &Recording) -> bool {
        let at = format!("{}/r/{}", self.upstream.url(), recording.id);
        self.add_at(recording, &at)
    }

    fn add_at(&mut self, recording: &Recording, at: &str) -> bool {
        let Some(Endpoint { model_type, base_path, mut config, key }) = recording.endpoint() else { return false };
        if !self.model_types.contains(model_type) {
            self.found.wrong(recording, "model", vec![format!("there is no model type {model_type}")]);
            return false;
        }
        config["api_endpoint"] = json!(format!("{at}{base_path}"));
        config["max_attempts"] = json!(1);
        // One model stands for all recordings, and most of its answers are failures.
        config["circuit_breaker"] = json!(false);
        let added = self.client.execute("SELECT pg_llm_add_model($1, 'r', $2, $3)", &[&model_type, &key, &config]);
        added.unwrap_or_else(|error| panic!("{}: {error:?}", recording.id));
        self.found.tried(recording);
        true
    }

    fn json(&mut self, options: &Value) -> Result<Value, Error> {
        self.client.query_one("SELECT pg_llm_chat_json('r', 'Hello', $1)", &[options]).map(|row| row.get(0))
    }

    fn text(&mut self) -> Result<String, Error> {
        self.client.query_one("SELECT pg_llm_chat('r', 'Hello')", &[]).map(|row| row.get(0))
    }

    /// The rows that come, and the error that they end in.
    fn rows(&mut self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> (Vec<Row>, Option<DbError>) {
        let mut rows = Vec::new();
        let failed = |error| Some(db_error::<()>(Err(error)));
        let mut coming = match self.client.query_raw(sql, parameters.iter().copied()) {
            Ok(coming) => coming,
            Err(error) => return (rows, failed(error)),
        };
        loop {
            match coming.next() {
                Ok(Some(row)) => rows.push(row),
                Ok(None) => return (rows, None),
                Err(error) => return (rows, failed(error)),
            }
        }
    }

    /// `pg_llm_chat_stream`.
    fn streamed(&mut self) -> Streamed {
        let (rows, error) = self.rows("SELECT * FROM pg_llm_chat_stream('r', 'Hello')", &[]);
        Streamed { rows, error }
    }

    /// `pg_llm_chat_stream_json`.
    fn events(&mut self) -> (Vec<Value>, Option<DbError>) {
        let (rows, error) = self.rows("SELECT event FROM pg_llm_chat_stream_json('r', 'Hello') AS event", &[]);
        (rows.iter().map(|row| row.get(0)).collect(), error)
    }

    /// What is wrong with the latest request, seen from the recorded one.
    fn request_complaints(&self, recording: &Recording) -> Vec<String> {
        let Some(request) = self.upstream.last_request().filter(|_| recording.is_asked_in_its_place()) else { return Vec::new() };
        let mut wrong = Vec::new();
        let wanted = format!("/r/{}{}", recording.id, decoded(recording.path()));
        if (request.method.as_str(), decoded(request.path())) != (recording.request["method"].as_str().unwrap(), wanted.clone()) {
            wrong.push(format!("asked {} {} instead of {wanted}", request.method, decoded(request.path())));
        }
        for header in
            items(&recording.request["auth_headers"]).iter().filter_map(Value::as_str).filter(|name| *name != "x-amz-security-token")
        {
            if request.header(header).is_none() {
                wrong.push(format!("no header {header}"));
            }
        }
        let streams = |body: &Value| body["stream"].as_bool().or_else(|| body["Stream"].as_bool()).unwrap_or(false);
        if recording.request["json"].is_object() && streams(&request.json()) != streams(&recording.request["json"]) {
            wrong.push(format!("asked otherwise whether to stream: {}", request.text()));
        }
        wrong
    }
}

/// What `pg_llm_chat_stream` gave.
struct Streamed {
    rows: Vec<Row>,
    error: Option<DbError>,
}

impl Streamed {
    fn text(&self) -> String {
        self.rows.iter().map(|row| row.get::<_, &str>("chunk")).collect()
    }

    /// What is wrong with its form, whatever it says.
    fn form_complaints(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let numbers: Vec<i32> = self.rows.iter().map(|row| row.get("seq_no")).collect();
        if !numbers.iter().copied().eq(1..=i32::try_from(numbers.len()).unwrap()) {
            wrong.push(format!("rows are numbered {numbers:?}"));
        }
        let last = self.rows.len().saturating_sub(usize::from(self.error.is_none()));
        for (at, row) in self.rows.iter().enumerate() {
            let (is_final, chunk): (bool, &str) = (row.get("is_final"), row.get("chunk"));
            if is_final != (at == last) || is_final != chunk.is_empty() {
                wrong.push(format!("row {at} of {}: is_final {is_final}, chunk {chunk:?}", self.rows.len()));
            }
        }
        if self.error.is_none() && self.rows.is_empty() {
            wrong.push("no row".to_owned());
        }
        wrong
    }
}

/// Kinds that are no chats.
const LISTS: [&str; 8] = ["embeddings", "embed", "v2embed", "api_embed", "predict", "embedContent", "rerank", "models"];

fn is_chat(recording: &Recording) -> bool {
    !LISTS.contains(&recording.kind.as_str())
}

/// One that is a whole answer by the provider's own client.
fn is_answer(recording: &Recording) -> bool {
    is_chat(recording) && recording.expected["norm"]["must"] != "error"
}

#[test]
fn every_recorded_answer_is_what_the_providers_client_made_of_it() {
    let mut replay = Replay::new();
    for recording in recordings(|recording| is_answer(recording) && !recording.stream && !recording.must_fail()) {
        if !replay.add(&recording) {
            continue;
        }
        replay.serve(recording.reply());
        let mut wrong = match replay.json(&json!({})) {
            Ok(answer) => recording.complaints(&answer),
            Err(error) => recording.error_complaints(&db_error::<()>(Err(error))),
        };
        wrong.extend(replay.request_complaints(&recording));
        replay.found.wrong(&recording, "whole", wrong);
        // In pieces, it is the same.
        replay.serve(recording.reply_in(recording.body.chunks(5).map(<[u8]>::to_vec).collect()));
        match replay.text() {
            Ok(text) if text == recording.text() => {}
            other => replay.found.wrong(&recording, "in pieces", vec![format!("{other:?}")]),
        }
    }
    replay.found.assert_none();
}

#[test]
fn every_recorded_stream_says_the_same_however_its_bytes_come() {
    let mut replay = Replay::new();
    for recording in recordings(|recording| is_answer(recording) && recording.stream && !recording.must_fail()) {
        if !replay.add(&recording) {
            continue;
        }
        for (way, reply) in recording.ways() {
            replay.serve(reply);
            let (events, error) = replay.events();
            let text: String = events.iter().filter(|event| event["type"] == "text").filter_map(|event| event["text"].as_str()).collect();
            let mut wrong = match (&error, events.last()) {
                (Some(error), _) => recording.error_complaints(error),
                (None, Some(last)) if last["type"] == "final" => recording.complaints(last),
                (None, _) => vec!["it ends without a word of its end".to_owned()],
            };
            if text != recording.text() {
                wrong.push(format!("pieces: {text:?} instead of {:?}", recording.text()));
            }
            replay.found.wrong(&recording, &format!("objects, {way}"), wrong);
            let streamed = replay.streamed();
            let mut wrong = streamed.form_complaints();
            if streamed.error.is_some() || streamed.text() != recording.text() {
                wrong.push(format!("{:?}, {:?}", streamed.text(), streamed.error));
            }
            wrong.extend(replay.request_complaints(&recording));
            replay.found.wrong(&recording, &format!("rows, {way}"), wrong);
        }
    }
    replay.found.assert_none();
}

#[test]
fn every_recorded_error_is_an_error_in_the_providers_words() {
    let mut replay = Replay::new();
    for recording in recordings(|recording| is_chat(recording) && recording.must_fail()) {
        if !replay.add(&recording) {
            continue;
        }
        let may_be_an_answer = recording.expected["norm"]["must"] == "error_or_incomplete";
        replay.serve(recording.reply());
        let mut outcomes = Vec::new();
        if !recording.stream {
            outcomes.push(("pg_llm_chat", replay.text().err().map(|error| db_error::<()>(Err(error)))));
            outcomes.push(("pg_llm_chat_json", replay.json(&json!({})).err().map(|error| db_error::<()>(Err(error)))));
            if !recording.asks_for_a_stream() {
                let wrong = replay.request_complaints(&recording);
                replay.found.wrong(&recording, "request", wrong);
            }
        }
        // Who asks for a stream hears of an error by its status; an answer that is none may come in place of a stream as well.
        let streamed = replay.streamed();
        let mut wrong = streamed.form_complaints();
        if recording.asks_for_a_stream() {
            wrong.extend(replay.request_complaints(&recording));
        }
        replay.found.wrong(&recording, "rows", wrong);
        outcomes.push(("pg_llm_chat_stream", streamed.error));
        outcomes.push(("pg_llm_chat_stream_json", replay.events().1));
        for (function, error) in outcomes {
            let wrong = match error {
                // To who waits for a stream, a body without one is a stream that ends before it began.
                Some(error) if function.contains("stream") && recording.status == 200 && error.code().code() == "08006" => Vec::new(),
                Some(error) => recording.error_complaints(&error),
                None if may_be_an_answer => Vec::new(),
                None => vec!["no error".to_owned()],
            };
            replay.found.wrong(&recording, function, wrong);
        }
        if let Some(retry) = recording.expected["norm"]["retry"].as_bool() {
            // Above, the provider asked to be left alone for a while, which holds for its endpoint; another one says nothing of the kind.
            let elsewhere = format!("{}/again/{}", replay.upstream.url(), recording.id);
            replay.add_at(&recording, &elsewhere);
            replay.upstream.forget();
            // A wait that the deadline does not allow is none: the error says how long it would be.
            let error =
                replay.json(&json!({"max_attempts": 2, "timeout_ms": 2000})).map_err(|error| db_error::<()>(Err(error))).unwrap_err();
            let requests = replay.upstream.requests().len();
            let waits = error.hint().is_some_and(|hint| hint.contains("asks to wait"));
            if retry != (requests == 2 || waits) {
                replay.found.wrong(&recording, "again", vec![format!("{requests} requests: {error:?}")]);
            }
        }
    }
    replay.found.assert_none();
}
