//! The documentation's examples decode to what the provider's own client makes of them, however the bytes are cut.

use std::path::Path;

use pg_llm_guest::testing::recordings::{self, Recording, plain_request};
use pg_llm_provider_hunyuan::Hunyuan;

fn recorded(kind: &str) -> Vec<Recording> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/recordings/corpus");
    recordings::recordings(&corpus, |provider, recorded| provider == "hunyuan" && recorded == kind)
}

#[test]
fn every_recorded_answer_decodes_to_what_the_providers_client_made_of_it() {
    recordings::chats_decode_as_expected::<Hunyuan>(&recorded("chat"), plain_request);
}

#[test]
fn a_stream_that_ends_early_is_never_an_answer() {
    recordings::early_ends_are_no_answers::<Hunyuan>(&recorded("chat"), plain_request);
}

#[test]
fn every_recorded_embedding_is_read() {
    recordings::embeddings_decode_as_expected::<Hunyuan>(&recorded("embeddings"));
}
