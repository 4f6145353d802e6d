//! Real answers decode to what the provider's own client made of them, however the bytes are cut.

use std::path::Path;

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::recordings::{self, Recording};
use pg_llm_provider_dashscope::DashScope;

fn recorded(kinds: &[&str]) -> Vec<Recording> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/recordings/corpus");
    recordings::recordings(&corpus, |provider, kind| provider == "dashscope" && kinds.contains(&kind))
}

fn chats() -> Vec<Recording> {
    recorded(&["generation", "multimodal"])
}

/// A request that asks for increments, or for the whole again and again.
fn asking(increments: bool) -> ChatRequest {
    let settings = json!({ "incremental_output": increments }).to_string();
    ChatRequest { settings, ..ChatRequest::new("m", vec![Message::user("hello")]) }
}

#[test]
fn every_recorded_answer_decodes_to_what_the_providers_client_made_of_it() {
    recordings::chats_decode_as_expected::<DashScope>(&chats(), recordings::plain_request);
}

#[test]
fn what_was_asked_of_a_stream_and_what_came_may_differ() {
    recordings::chats_decode_as_expected::<DashScope>(&chats(), |_| asking(false));
    // What a server sends that knows no increments.
    let whole: Vec<Recording> =
        chats().into_iter().filter(|recording| recording.stream && !recording.must_fail()).map(accumulated).collect();
    recordings::chats_decode_as_expected::<DashScope>(&whole, |_| asking(true));
    recordings::chats_decode_as_expected::<DashScope>(&whole, |_| asking(false));
}

#[test]
fn a_stream_that_ends_early_is_never_an_answer() {
    recordings::early_ends_are_no_answers::<DashScope>(&chats(), recordings::plain_request);
}

#[test]
fn every_recorded_embedding_is_read() {
    let mut embeddings = recorded(&["embeddings"]);
    for recording in &mut embeddings {
        // The client hands through a total, which the documentation says is the input's.
        let total = recording.expected["usage"]["total_tokens"].clone();
        if let Some(any) = recording.expected["norm"]["input_tokens_any"].as_array_mut().filter(|any| any.is_empty()) {
            any.push(total);
        }
    }
    recordings::embeddings_decode_as_expected::<DashScope>(&embeddings);
}

#[test]
fn every_recorded_ranking_is_read() {
    recordings::rankings_decode_as_expected::<DashScope>(&recorded(&["rerank"]));
}

/// The same answer, each frame holding all of it so far.
fn accumulated(mut recording: Recording) -> Recording {
    let (mut so_far, mut calls) = (String::new(), Vec::<Value>::new());
    let mut body = String::new();
    for line in String::from_utf8_lossy(&recording.body).lines() {
        let Some(mut frame) = line.strip_prefix("data:").and_then(|data| serde_json::from_str::<Value>(data).ok()) else {
            body.push_str(line);
            body.push('\n');
            continue;
        };
        for place in ["/output/text", "/output/choices/0/message/content"] {
            if let Some(text) = frame.pointer_mut(place).filter(|text| text.is_string()) {
                so_far.push_str(text.as_str().unwrap_or_default());
                *text = so_far.as_str().into();
            }
        }
        if let Some(message) = frame.pointer_mut("/output/choices/0/message") {
            for call in message.items_at("tool_calls") {
                match calls.iter_mut().find(|known| known["index"] == call["index"]) {
                    None => calls.push(call.clone()),
                    Some(known) => {
                        let arguments =
                            [&known["function"], &call["function"]].map(|function| function.text_at("arguments").unwrap_or_default());
                        known["function"]["arguments"] = arguments.concat().into();
                    }
                }
            }
            if !calls.is_empty() {
                message["tool_calls"] = calls.clone().into();
            }
        }
        body.push_str("data:");
        body.push_str(&frame.to_string());
        body.push('\n');
    }
    recording.body = body.into_bytes();
    recording.id.push_str(" (accumulated)");
    recording
}
