//! Real answers decode to what the provider's own client made of them, however the bytes are cut.

use std::path::Path;

use pg_llm_guest::testing::recordings::{self, Recording, plain_request};
use pg_llm_provider_bedrock::Bedrock;

/// Kind `converse` alone: `invoke` is a format a model family, which is not spoken here but for embeddings.
fn chats() -> Vec<Recording> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/recordings/corpus");
    recordings::recordings(&corpus, |provider, kind| provider == "bedrock" && kind == "converse")
}

#[test]
fn every_recorded_answer_decodes_to_what_the_providers_client_made_of_it() {
    recordings::chats_decode_as_expected::<Bedrock>(&chats(), plain_request);
}

#[test]
fn a_stream_that_ends_early_is_never_an_answer() {
    recordings::early_ends_are_no_answers::<Bedrock>(&chats(), plain_request);
}
