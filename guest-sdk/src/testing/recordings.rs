//! Recorded responses of real providers, and what the providers' own clients made of them.
//!
//! Recordings are other people's data: a test reads them from a folder beside the checkout and says so when it is not there. The folder has
//! `PROVIDER/ID/{meta.json, response.body, expected.json}`.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)] // this is how a test fails, and says that it was skipped
#![allow(clippy::missing_panics_doc)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{decode_embed, decode_rerank, decode_stream, decode_whole, in_chunks};
use crate::embeddings::{EmbedRequest, Embeddings};
use crate::http::{HttpResponse, ResponseHead};
use crate::json::ValueExt;
use crate::provider::Provider;
use crate::rerank::{Rerank, RerankRequest};
use crate::types::{Answer, ChatRequest, Failure, FailureKind, FinishReason, Message, Part, ToolCall};

/// A response as it was on the wire.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Its name.
    pub id: String,
    /// Whose it is.
    pub provider: String,
    /// Which of the provider's interfaces answered, such as `chat` or `embeddings`.
    pub kind: String,
    /// Whether it is a stream.
    pub stream: bool,
    /// Status and headers.
    pub head: ResponseHead,
    /// The body.
    pub body: Vec<u8>,
    /// What is to come of it.
    pub expected: Value,
}

/// The recordings under `corpus` whose provider and kind are wanted, by name. None, and a word on standard error, when the folder is not there.
pub fn recordings(corpus: &Path, wanted: impl Fn(&str, &str) -> bool) -> Vec<Recording> {
    let Ok(providers) = fs::read_dir(corpus) else {
        eprintln!("skipped: there are no recordings at {}", corpus.display());
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> = providers
        .map(|provider| provider.unwrap().path())
        .filter(|provider| provider.is_dir())
        .flat_map(|provider| fs::read_dir(provider).unwrap().map(|entry| entry.unwrap().path()))
        .filter(|folder| folder.join("expected.json").is_file())
        .collect();
    folders.sort();
    folders.iter().filter_map(|folder| recording(folder, &wanted)).collect()
}

fn recording(folder: &Path, wanted: impl Fn(&str, &str) -> bool) -> Option<Recording> {
    let json_file = |name: &str| -> Value { serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap() };
    let meta = json_file("meta.json");
    let (provider, kind) = (meta.text_at("provider").unwrap(), meta.text_at("kind").unwrap());
    if !wanted(provider, kind) {
        return None;
    }
    let headers = meta["headers"].as_object().unwrap().iter();
    let headers = headers.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
    Some(Recording {
        id: meta.text_at("id").unwrap().to_owned(),
        provider: provider.to_owned(),
        kind: kind.to_owned(),
        stream: meta["stream"].as_bool().unwrap(),
        head: ResponseHead { status: u16::try_from(meta.u64_at("status").unwrap()).unwrap(), headers: headers.collect() },
        body: fs::read(folder.join("response.body")).unwrap(),
        expected: json_file("expected.json"),
    })
}

impl Recording {
    /// Whether it is to be a failure.
    pub fn must_fail(&self) -> bool {
        self.expected["norm"].text_at("must").is_some()
    }

    fn allowed(&self, name: &str) -> &[Value] {
        self.expected["norm"].items_at(name)
    }

    /// The body written and cut in several ways that mean the same.
    fn ways(&self) -> Vec<(&'static str, Vec<Vec<u8>>)> {
        let mut ways = vec![("whole", vec![self.body.clone()])];
        if !self.stream {
            ways.extend(rewritten_document(&self.body).map(|body| ("written otherwise", vec![body])));
            return ways;
        }
        ways.push(("byte by byte", in_chunks(&self.body, 1)));
        ways.push(("in threes", in_chunks(&self.body, 3)));
        if self.head.media_type() == "text/event-stream" {
            ways.push(("CRLF, byte by byte", in_chunks(&with_crlf(&self.body), 1)));
            ways.push(("with comments", in_chunks(&with_comments(&self.body), 7)));
            ways.push(("without blanks after colons", vec![rewritten_fields(&self.body, |data| vec![format!("data:{data}")])]));
            ways.push(("with ids and unknown fields", vec![rewritten_fields(&self.body, with_other_fields)]));
            ways.push(("without the last blank line", vec![self.body.trim_ascii_end().to_vec()]));
        }
        if let Ok(text) = std::str::from_utf8(&self.body) {
            ways.push(("written otherwise", in_chunks(rewritten_lines(text).as_bytes(), 5)));
        }
        ways
    }

    fn play<P: Provider>(&self, request: &ChatRequest, pieces: Vec<Vec<u8>>) -> Result<Answer, Failure> {
        if self.stream {
            let outcome = decode_stream::<P>(request, self.head.clone(), pieces);
            outcome.failure.clone().map_or_else(|| Ok(outcome.answer()), Err)
        } else {
            decode_whole::<P>(request, HttpResponse { head: self.head.clone(), body: pieces.concat() })
        }
    }
}

fn with_crlf(body: &[u8]) -> Vec<u8> {
    body.iter().flat_map(|byte| if *byte == b'\n' { vec![b'\r', b'\n'] } else { vec![*byte] }).collect()
}

/// With a comment before every event, as servers send to keep a connection alive.
fn with_comments(body: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(body).replace("\n\n", "\n\n: keep-alive\n\n").into_bytes()
}

/// The `data` fields of server-sent events in other words; a byte order mark stands before them all.
fn rewritten_fields(body: &[u8], rewrite: impl Fn(&str) -> Vec<String>) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    let lines = text.lines().flat_map(|line| match line.strip_prefix("data:") {
        Some(data) => rewrite(data.strip_prefix(' ').unwrap_or(data)),
        None => vec![line.to_owned()],
    });
    let lines: Vec<String> = lines.collect();
    format!("\u{feff}{}\n\n", lines.join("\n")).into_bytes()
}

fn with_other_fields(data: &str) -> Vec<String> {
    vec![
        "id: 7".to_owned(),
        "retry: 3000".to_owned(),
        "novelty: yes".to_owned(),
        format!("data: {data}"),
        String::new(),
        ": ping".to_owned(),
    ]
}

/// JSON with its members in another order, an unknown one among them, and no character beyond ASCII. None for what is no object.
fn rewritten(text: &str) -> Option<String> {
    let mut value: Value = serde_json::from_str(text).ok()?;
    value.as_object_mut()?.insert("novelty".to_owned(), json!({"id": "other", "text": ["other"], "choices": null}));
    let (plain, mut escaped) = (value.to_string(), String::new());
    for character in plain.chars() {
        if character.is_ascii() {
            escaped.push(character);
        } else {
            escaped.extend(character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    Some(escaped)
}

/// A document of JSON, with the blank lines before it by which servers keep a connection alive.
fn rewritten_document(body: &[u8]) -> Option<Vec<u8>> {
    Some(format!("\n \r\n\t{}\n", rewritten(std::str::from_utf8(body).ok()?)?).into_bytes())
}

/// A stream of lines or of server-sent events, with its JSON rewritten.
fn rewritten_lines(text: &str) -> String {
    let mut whole = String::new();
    for line in text.lines() {
        let data = line.strip_prefix("data:").map_or(("", line), |data| ("data: ", data));
        whole.push_str(data.0);
        whole.push_str(&rewritten(data.1).unwrap_or_else(|| data.1.trim_start().to_owned()));
        whole.push('\n');
    }
    whole.push('\n');
    whole
}

/// A request of one message, for what does not depend on the request.
pub fn plain_request(_: &Recording) -> ChatRequest {
    ChatRequest::new("m", vec![Message::user("hello")])
}

/// Every recorded chat decodes to what is expected of it, however its bytes are cut.
#[track_caller]
pub fn chats_decode_as_expected<P: Provider>(recordings: &[Recording], request: impl Fn(&Recording) -> ChatRequest) {
    let mut wrong = Vec::new();
    for recording in recordings {
        for (way, pieces) in recording.ways() {
            let outcome = recording.play::<P>(&request(recording), pieces);
            let complaints = complaints(recording, &outcome);
            wrong.extend(complaints.into_iter().map(|complaint| format!("{} ({way}): {complaint}", recording.id)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    eprintln!("{} recordings", recordings.len());
}

/// A recorded stream that ends anywhere before the provider's last word is a failure.
#[track_caller]
pub fn early_ends_are_no_answers<P: Provider>(recordings: &[Recording], request: impl Fn(&Recording) -> ChatRequest) {
    for recording in recordings.iter().filter(|recording| recording.stream && !recording.must_fail()) {
        let request = request(recording);
        let whole = recording.play::<P>(&request, vec![recording.body.clone()]).unwrap();
        // A hundred places, and every place near the end.
        let length = recording.body.len();
        let places = (0..length).step_by(length / 100 + 1).chain(length.saturating_sub(300)..length);
        for at in places {
            match recording.play::<P>(&request, vec![recording.body[..at].to_vec()]) {
                Err(failure) => assert!(
                    matches!(failure.kind, FailureKind::Broken | FailureKind::Protocol),
                    "{} cut at {at}: {failure:?}",
                    recording.id
                ),
                // Only what follows the last word of the provider may be missing: the usage, `[DONE]`.
                Ok(answer) => {
                    let told = (&answer.parts, &answer.finish_reason);
                    assert_eq!(told, (&whole.parts, &whole.finish_reason), "{} cut at {at}", recording.id);
                }
            }
        }
    }
}

/// Every recorded response to a request for embeddings decodes to what is expected of it.
#[track_caller]
pub fn embeddings_decode_as_expected<P: Embeddings>(recordings: &[Recording]) {
    let mut wrong = Vec::new();
    for recording in recordings {
        let inputs = recording.expected.items_at("embeddings").iter().map(|_| "x".to_owned()).collect::<Vec<_>>();
        let inputs = if inputs.is_empty() { vec!["x".to_owned()] } else { inputs };
        let response = HttpResponse { head: recording.head.clone(), body: recording.body.clone() };
        let mut complain = |what: String| wrong.push(format!("{}: {what}", recording.id));
        match decode_embed::<P>(&EmbedRequest::new("m", inputs), response) {
            Err(failure) => failure_complaints(recording, &failure).into_iter().for_each(&mut complain),
            Ok(answer) if recording.must_fail() => complain(format!("no failure, but {} vectors", answer.vectors.len())),
            Ok(answer) => {
                for (vector, wanted) in answer.vectors.iter().zip(recording.expected.items_at("embeddings")) {
                    let sum: f64 = vector.iter().map(|number| f64::from(*number)).sum();
                    if wanted.u64_at("n") != Some(vector.len() as u64)
                        || wanted.items_at("head").iter().zip(vector).any(|(wanted, got)| far(wanted.as_f64(), f64::from(*got)))
                        || (wanted.f64_at("sum").unwrap_or_default() - sum).abs() > 0.01
                    {
                        complain(format!("{} numbers, of sum {sum}, beginning {:?}", vector.len(), vector.get(..4)));
                    }
                }
                token_complaints(recording, answer.usage.as_ref().and_then(|usage| usage.input_tokens), "input_tokens_any")
                    .into_iter()
                    .for_each(&mut complain);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    eprintln!("{} recordings", recordings.len());
}

/// Every recorded response to a request for a ranking decodes to what is expected of it.
#[track_caller]
pub fn rankings_decode_as_expected<P: Rerank>(recordings: &[Recording]) {
    let mut wrong = Vec::new();
    for recording in recordings {
        let pairs = recording.expected.items_at("results").iter();
        let wanted: Vec<(u64, f64)> = pairs.map(|pair| (pair[0].as_u64().unwrap(), pair[1].as_f64().unwrap())).collect();
        // As many as the answer speaks of, at least.
        let documents = 1 + wanted.iter().map(|(index, _)| *index).max().unwrap_or(99);
        let request = RerankRequest::new("m", "q", vec!["d".to_owned(); usize::try_from(documents).unwrap()]);
        let mut complain = |what: String| wrong.push(format!("{}: {what}", recording.id));
        match decode_rerank::<P>(&request, HttpResponse { head: recording.head.clone(), body: recording.body.clone() }) {
            Err(failure) => failure_complaints(recording, &failure).into_iter().for_each(&mut complain),
            Ok(answer) if recording.must_fail() => complain(format!("no failure, but {:?}", answer.results)),
            Ok(answer) => {
                let same = |(got, wanted): (&crate::rerank::Ranked, &(u64, f64))| {
                    u64::from(got.index) == wanted.0 && !far(Some(wanted.1), got.score)
                };
                if answer.results.len() != wanted.len() || !answer.results.iter().zip(&wanted).all(same) {
                    complain(format!("{:?} instead of {wanted:?}", answer.results));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    eprintln!("{} recordings", recordings.len());
}

fn far(wanted: Option<f64>, got: f64) -> bool {
    wanted.is_none_or(|wanted| (wanted - got).abs() > 1e-5)
}

fn failure_complaints(recording: &Recording, failure: &Failure) -> Vec<String> {
    let mut wrong = Vec::new();
    let norm = &recording.expected["norm"];
    if !recording.must_fail() {
        wrong.push(format!("unexpected failure: {failure:?}"));
    }
    let words = recording.allowed("error_message_any");
    if !words.is_empty() && !words.iter().any(|words| failure.message.contains(words.as_str().unwrap())) {
        wrong.push(format!("message: {:?} is none of {words:?}", failure.message));
    }
    if failure.status != Some(recording.head.status) {
        wrong.push(format!("status: {:?}", failure.status));
    }
    let retried = matches!(failure.kind, FailureKind::RateLimit | FailureKind::Overloaded | FailureKind::Server | FailureKind::Timeout);
    if norm["retry"].is_boolean() && norm["retry"] != json!(failure.retryable.unwrap_or(retried)) {
        wrong.push(format!("kind: {:?} decides wrongly whether to try again", failure.kind));
    }
    wrong
}

fn token_complaints(recording: &Recording, tokens: Option<u64>, name: &str) -> Option<String> {
    let any = recording.allowed(name);
    let wrong = if any.is_empty() { tokens.is_some_and(|tokens| tokens > 0) } else { !any.contains(&json!(tokens)) };
    wrong.then(|| format!("{name}: {tokens:?}"))
}

/// What is wrong with an outcome, in words.
fn complaints(recording: &Recording, outcome: &Result<Answer, Failure>) -> Vec<String> {
    let expected = &recording.expected;
    let answer = match outcome {
        Err(failure) => return failure_complaints(recording, failure),
        Ok(answer) if recording.must_fail() => return vec![format!("no failure, but {answer:?}")],
        Ok(answer) => answer,
    };
    let mut wrong = Vec::new();
    let text = expected.text_at("text").or_else(|| expected.text_at("refusal")).unwrap_or_default();
    if answer.text() != text {
        wrong.push(format!("text: {:?} instead of {text:?}", answer.text()));
    }
    let finish = match &answer.finish_reason {
        None => "none",
        Some(FinishReason::Stop) => "stop",
        Some(FinishReason::Length) => "length",
        Some(FinishReason::ToolCalls) => "tool_calls",
        Some(FinishReason::ContentFilter) => "content_filter",
        Some(FinishReason::Other(word)) => word,
    };
    let allowed = recording.allowed("finish_any");
    if !allowed.is_empty() && !allowed.contains(&json!(finish)) {
        wrong.push(format!("finish: {finish} is none of {allowed:?}"));
    }
    let usage = answer.usage.as_ref();
    wrong.extend(token_complaints(recording, usage.and_then(|usage| usage.input_tokens), "input_tokens_any"));
    wrong.extend(token_complaints(recording, usage.and_then(|usage| usage.output_tokens), "output_tokens_any"));
    let calls: Vec<&ToolCall> =
        answer.parts.iter().filter_map(|part| if let Part::ToolCall(call) = part { Some(call) } else { None }).collect();
    let names: Vec<Value> = calls.iter().map(|call| json!(call.name)).collect();
    if names != recording.allowed("tool_names") {
        wrong.push(format!("tools: {names:?}"));
    }
    for (call, wanted) in calls.iter().zip(expected.items_at("tool_calls")) {
        let arguments = serde_json::from_str::<Value>(&call.arguments).unwrap_or_else(|_| json!(call.arguments));
        if wanted["arguments"].is_object() && arguments != wanted["arguments"] {
            wrong.push(format!("arguments of {}: {arguments} instead of {}", call.name, wanted["arguments"]));
        }
        if wanted.text_at("id").is_some_and(|id| id != call.id) {
            wrong.push(format!("id of {}: {}", call.name, call.id));
        }
    }
    if let Some(reasoning) = expected.word_at("reasoning") {
        let thinking = answer.parts.iter();
        let thinking: String =
            thinking.filter_map(|part| if let Part::Thinking(part) = part { Some(part.text.as_str()) } else { None }).collect();
        if thinking != reasoning {
            wrong.push(format!("thinking: {thinking:?} instead of {reasoning:?}"));
        }
    }
    for (name, got) in [("response_id", &answer.id), ("model", &answer.model)] {
        if expected.word_at(name).is_some_and(|wanted| Some(wanted) != got.as_deref()) {
            wrong.push(format!("{name}: {got:?}"));
        }
    }
    wrong
}
