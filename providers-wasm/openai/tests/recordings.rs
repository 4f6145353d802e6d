//! Real answers of many providers decode to what the providers' own clients made of them, however the bytes are cut.

use std::path::Path;

use pg_llm_guest::testing::recordings::{self, Recording, plain_request};
use pg_llm_provider_openai::OpenAi;

fn chats() -> Vec<Recording> {
    // Hunyuan's recordings of kind `chat` are in its native format.
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/recordings/corpus");
    recordings::recordings(&corpus, |provider, kind| kind == "chat" && provider != "hunyuan")
}

#[test]
fn every_recorded_answer_decodes_to_what_the_providers_client_made_of_it() {
    recordings::chats_decode_as_expected::<OpenAi>(&chats(), plain_request);
}

#[test]
fn a_stream_that_ends_early_is_never_an_answer() {
    recordings::early_ends_are_no_answers::<OpenAi>(&chats(), plain_request);
}
