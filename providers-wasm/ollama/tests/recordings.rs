//! Real answers decode to what Ollama's own client made of them, however the bytes are cut.

use std::path::Path;

use pg_llm_guest::testing::recordings::{self, Recording, plain_request};
use pg_llm_provider_ollama::Ollama;

fn of_kind(kinds: &[&str]) -> Vec<Recording> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/recordings/corpus");
    recordings::recordings(&corpus, |provider, kind| provider == "ollama" && kinds.contains(&kind))
}

fn chats() -> Vec<Recording> {
    of_kind(&["api_chat", "api_generate"])
}

#[test]
fn every_recorded_answer_decodes_to_what_the_providers_client_made_of_it() {
    recordings::chats_decode_as_expected::<Ollama>(&chats(), plain_request);
}

#[test]
fn a_stream_that_ends_early_is_never_an_answer() {
    recordings::early_ends_are_no_answers::<Ollama>(&chats(), plain_request);
}

#[test]
fn recorded_embeddings_decode_to_what_the_providers_client_made_of_them() {
    recordings::embeddings_decode_as_expected::<Ollama>(&of_kind(&["api_embed", "embed", "api_embeddings", "embeddings"]));
}
