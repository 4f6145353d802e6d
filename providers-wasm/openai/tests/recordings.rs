//! Real answers of many providers decode to what the providers' own clients made of them, however the bytes are cut.
//!
//! The recordings are other people's data and lie beside the checkout (`../shared/recordings`), not in it. Where they are not, this test says so.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // this is how a test fails, and says that it was skipped

use std::fs;
use std::path::{Path, PathBuf};

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{decode_stream, decode_whole, in_chunks};
use pg_llm_provider_openai::OpenAi;

/// Whose recordings of kind `chat` speak another wire format.
const OTHER_FORMATS: [&str; 1] = ["hunyuan"];

struct Recording {
    id: String,
    stream: bool,
    head: ResponseHead,
    body: Vec<u8>,
    expected: Value,
}

fn json_file(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn recordings() -> Vec<Recording> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/recordings/corpus");
    let Ok(providers) = fs::read_dir(&corpus) else {
        eprintln!("skipped: there are no recordings at {}", corpus.display());
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> = providers
        .map(|provider| provider.unwrap().path())
        .filter(|provider| provider.is_dir())
        .flat_map(|provider| fs::read_dir(provider).unwrap().map(|entry| entry.unwrap().path()))
        .collect();
    folders.sort();
    let mut recordings = Vec::new();
    for folder in folders {
        let meta = json_file(&folder.join("meta.json"));
        if meta.text_at("kind") != Some("chat") || OTHER_FORMATS.contains(&meta.text_at("provider").unwrap()) {
            continue;
        }
        let headers =
            meta["headers"].as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
        recordings.push(Recording {
            id: meta.text_at("id").unwrap().to_owned(),
            stream: meta["stream"].as_bool().unwrap(),
            head: ResponseHead { status: u16::try_from(meta.u64_at("status").unwrap()).unwrap(), headers: headers.collect() },
            body: fs::read(folder.join("response.body")).unwrap(),
            expected: json_file(&folder.join("expected.json")),
        });
    }
    recordings
}

fn request() -> ChatRequest {
    ChatRequest::new("m", vec![Message::user("hello")])
}

/// What came of a recording: an answer, or what went wrong.
fn play(recording: &Recording, pieces: Vec<Vec<u8>>) -> Result<Answer, Failure> {
    if recording.stream {
        let outcome = decode_stream::<OpenAi>(&request(), recording.head.clone(), pieces);
        outcome.failure.clone().map_or_else(|| Ok(outcome.answer()), Err)
    } else {
        decode_whole::<OpenAi>(&request(), HttpResponse { head: recording.head.clone(), body: pieces.concat() })
    }
}

fn allowed<'a>(expected: &'a Value, name: &str) -> &'a [Value] {
    expected["norm"].items_at(name)
}

/// What is wrong with an outcome, in words.
fn complaints(recording: &Recording, outcome: &Result<Answer, Failure>) -> Vec<String> {
    let expected = &recording.expected;
    let norm = &expected["norm"];
    let mut wrong = Vec::new();
    let answer = match outcome {
        Err(failure) => {
            if norm.text_at("must").is_none() {
                wrong.push(format!("unexpected failure: {failure:?}"));
            }
            let words = allowed(expected, "error_message_any");
            if !words.is_empty() && !words.iter().any(|words| failure.message.contains(words.as_str().unwrap())) {
                wrong.push(format!("message: {:?} is none of {words:?}", failure.message));
            }
            if failure.status != Some(recording.head.status) {
                wrong.push(format!("status: {:?}", failure.status));
            }
            if norm["retry"] == json!(true)
                && !matches!(failure.kind, FailureKind::RateLimit | FailureKind::Overloaded | FailureKind::Server | FailureKind::Timeout)
            {
                wrong.push(format!("kind: {:?} is not to be tried again", failure.kind));
            }
            return wrong;
        }
        Ok(answer) => answer,
    };
    if norm.text_at("must").is_some() {
        wrong.push(format!("no failure, but {answer:?}"));
        return wrong;
    }
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
    if !allowed(expected, "finish_any").contains(&json!(finish)) {
        wrong.push(format!("finish: {finish}"));
    }
    for (name, tokens) in [
        ("input_tokens_any", answer.usage.as_ref().and_then(|usage| usage.input_tokens)),
        ("output_tokens_any", answer.usage.as_ref().and_then(|usage| usage.output_tokens)),
    ] {
        let any = allowed(expected, name);
        if if any.is_empty() { tokens.is_some() } else { !any.contains(&json!(tokens)) } {
            wrong.push(format!("{name}: {tokens:?}"));
        }
    }
    let calls: Vec<&ToolCall> =
        answer.parts.iter().filter_map(|part| if let Part::ToolCall(call) = part { Some(call) } else { None }).collect();
    let names: Vec<Value> = calls.iter().map(|call| json!(call.name)).collect();
    if names != allowed(expected, "tool_names") {
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
        let thinking: String = answer
            .parts
            .iter()
            .filter_map(|part| if let Part::Thinking(thinking) = part { Some(thinking.text.as_str()) } else { None })
            .collect();
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

fn with_crlf(body: &[u8]) -> Vec<u8> {
    body.iter().flat_map(|byte| if *byte == b'\n' { vec![b'\r', b'\n'] } else { vec![*byte] }).collect()
}

/// With a comment before every event, as servers send to keep a connection alive.
fn with_comments(body: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(body.to_vec()).unwrap();
    text.replace("\n\n", "\n\n: keep-alive\n\n").into_bytes()
}

#[test]
fn every_recorded_answer_decodes_to_what_the_providers_client_made_of_it() {
    let mut wrong = Vec::new();
    let recordings = recordings();
    for recording in &recordings {
        let mut ways = vec![("whole", vec![recording.body.clone()])];
        if recording.stream {
            ways.push(("byte by byte", in_chunks(&recording.body, 1)));
            ways.push(("in threes", in_chunks(&recording.body, 3)));
            ways.push(("CRLF, byte by byte", in_chunks(&with_crlf(&recording.body), 1)));
            ways.push(("with comments", in_chunks(&with_comments(&recording.body), 7)));
        }
        for (way, pieces) in ways {
            let outcome = play(recording, pieces);
            wrong.extend(complaints(recording, &outcome).into_iter().map(|complaint| format!("{} ({way}): {complaint}", recording.id)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    eprintln!("{} recordings", recordings.len());
}

#[test]
fn a_stream_that_ends_early_is_never_an_answer() {
    for recording in recordings().iter().filter(|recording| recording.stream && recording.expected["norm"].text_at("must").is_none()) {
        let whole = play(recording, vec![recording.body.clone()]).unwrap();
        // A hundred places, and every place near the end.
        let length = recording.body.len();
        let places = (0..length).step_by(length / 100 + 1).chain(length.saturating_sub(300)..length);
        for at in places {
            match play(recording, vec![recording.body[..at].to_vec()]) {
                Err(failure) => assert!(
                    matches!(failure.kind, FailureKind::Broken | FailureKind::Protocol),
                    "{} cut at {at}: {failure:?}",
                    recording.id
                ),
                // Only what follows the last word of the provider may be missing: the usage, `[DONE]`.
                Ok(answer) => {
                    assert_eq!(
                        (&answer.parts, &answer.finish_reason),
                        (&whole.parts, &whole.finish_reason),
                        "{} cut at {at}",
                        recording.id
                    );
                }
            }
        }
    }
}
