//! Real answers of many providers decode to what the providers' own clients made of them, however the bytes are cut.

use std::path::{Path, PathBuf};

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::recordings::{self, Recording, plain_request};
use pg_llm_provider_openai::OpenAi;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/recordings/corpus")
}

fn chats() -> Vec<Recording> {
    // Hunyuan's recordings of kind `chat` are in its native format.
    recordings::recordings(&corpus(), |provider, kind| kind == "chat" && provider != "hunyuan")
}

/// All that any provider answered in the format of OpenAI's Responses.
fn responses() -> Vec<Recording> {
    recordings::recordings(&corpus(), |_, kind| kind == "responses")
}

fn responses_request(_: &Recording) -> ChatRequest {
    ChatRequest { settings: r#"{"api":"responses"}"#.into(), ..ChatRequest::new("m", vec![Message::user("hello")]) }
}

#[test]
fn every_recorded_response_decodes_to_what_the_providers_client_made_of_it() {
    recordings::chats_decode_as_expected::<OpenAi>(&responses(), responses_request);
}

#[test]
fn a_stream_of_responses_that_ends_early_is_never_an_answer() {
    recordings::early_ends_are_no_answers::<OpenAi>(&responses(), responses_request);
}

#[test]
fn every_recorded_embedding_is_the_vector_that_the_providers_client_had() {
    // These have formats of their own.
    let others = ["cohere", "dashscope", "gemini", "hunyuan", "ollama", "vertex", "bedrock"];
    let embeddings = recordings::recordings(&corpus(), |provider, kind| kind == "embeddings" && !others.contains(&provider));
    recordings::embeddings_decode_as_expected::<OpenAi>(&embeddings);
}

#[test]
fn every_recorded_answer_decodes_to_what_the_providers_client_made_of_it() {
    recordings::chats_decode_as_expected::<OpenAi>(&chats(), plain_request);
}

#[test]
fn a_stream_that_ends_early_is_never_an_answer() {
    recordings::early_ends_are_no_answers::<OpenAi>(&chats(), plain_request);
}
