//! Real answers decode to what Cohere's own client made of them, however the bytes are cut.
#![allow(clippy::unwrap_used)] // this is how a test fails

use std::path::Path;

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::recordings::{self, Recording, plain_request};
use pg_llm_provider_cohere::Cohere;

fn of_kind(kinds: &[&str]) -> Vec<Recording> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/recordings/corpus");
    recordings::recordings(&corpus, |provider, kind| provider == "cohere" && kinds.contains(&kind))
}

/// Those of version 1 are errors, which both have alike.
fn chats() -> Vec<Recording> {
    let mut chats = of_kind(&["v2chat", "v1chat"]);
    chats.retain(|recording| recording.kind == "v2chat" || recording.must_fail());
    chats
}

#[test]
fn every_recorded_answer_decodes_to_what_the_providers_client_made_of_it() {
    recordings::chats_decode_as_expected::<Cohere>(&chats(), plain_request);
}

#[test]
fn a_stream_that_ends_early_is_never_an_answer() {
    recordings::early_ends_are_no_answers::<Cohere>(&chats(), plain_request);
}

#[test]
fn a_recorded_plan_is_thinking_with_its_signature() {
    for recording in chats().iter().filter(|recording| recording.expected.word_at("tool_plan").is_some()) {
        let answer = if recording.stream {
            pg_llm_guest::testing::decode_stream::<Cohere>(&plain_request(recording), recording.head.clone(), vec![recording.body.clone()])
                .answer()
        } else {
            let response = HttpResponse { head: recording.head.clone(), body: recording.body.clone() };
            pg_llm_guest::testing::decode_whole::<Cohere>(&plain_request(recording), response).unwrap()
        };
        let text = recording.expected.text_at("tool_plan").unwrap().to_owned();
        let plan = Part::Thinking(Thinking { text, signature: Some("tool_plan".to_owned()), redacted: false });
        assert!(answer.parts.contains(&plan), "{}: {:?}", recording.id, answer.parts);
    }
}

#[test]
fn recorded_embeddings_decode_to_what_the_providers_client_made_of_them() {
    recordings::embeddings_decode_as_expected::<Cohere>(&of_kind(&["embed", "embeddings", "v2embed"]));
}

#[test]
fn recorded_rankings_decode_to_what_the_providers_client_made_of_them() {
    recordings::rankings_decode_as_expected::<Cohere>(&of_kind(&["rerank"]));
}
