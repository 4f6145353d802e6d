//! Real answers of the Gemini API and of Vertex AI decode to what Google's own client made of them, however the bytes are cut.
#![allow(clippy::unwrap_used)] // this is how a test fails

use std::path::{Path, PathBuf};

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::recordings::{self, Recording, plain_request};
use pg_llm_guest::testing::{decode_embed, decode_list};
use pg_llm_provider_gemini::Gemini;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/recordings/corpus")
}

fn chats() -> Vec<Recording> {
    let mut chats = recordings::recordings(&corpus(), |provider, kind| {
        ["gemini", "vertex"].contains(&provider) && ["generateContent", "streamGenerateContent"].contains(&kind)
    });
    for recording in &mut chats {
        put_calls_together(&mut recording.expected);
    }
    chats
}

/// Google's client hands on each piece of a call whose arguments are streamed as a call of its own, without a name and without arguments. To us they are
/// one call, whose arguments are what `tests/answers.rs` says.
fn put_calls_together(expected: &mut Value) {
    let Some(names) = expected["norm"]["tool_names"].as_array_mut() else { return };
    let pieces = names.len();
    names.retain(|name| !name.is_null());
    if names.len() < pieces {
        expected["tool_calls"] = json!([]);
    }
}

#[test]
fn every_recorded_answer_decodes_to_what_the_providers_client_made_of_it() {
    recordings::chats_decode_as_expected::<Gemini>(&chats(), plain_request);
}

#[test]
fn a_stream_that_ends_early_is_never_an_answer() {
    recordings::early_ends_are_no_answers::<Gemini>(&chats(), plain_request);
}

#[test]
fn every_recorded_embedding_decodes_to_what_the_providers_client_made_of_it() {
    let wanted = |provider: &str, kind: &str| ["gemini", "vertex"].contains(&provider) && ["embeddings", "embedContent"].contains(&kind);
    recordings::embeddings_decode_as_expected::<Gemini>(&recordings::recordings(&corpus(), wanted));
}

/// Bodies of recordings that say nothing of what is expected.
fn bodies(provider: &str, name: &str) -> Vec<Vec<u8>> {
    let Ok(folders) = std::fs::read_dir(corpus().join(provider)) else { return Vec::new() };
    let folders = folders.map(|folder| folder.unwrap().path());
    folders
        .filter(|folder| folder.to_string_lossy().contains(name))
        .map(|folder| std::fs::read(folder.join("response.body")).unwrap())
        .collect()
}

#[test]
fn recorded_predictions_are_vectors() {
    for body in bodies("vertex", "-predict-json") {
        let wire: Value = serde_json::from_slice(&body).unwrap();
        let predictions = wire["predictions"].as_array().unwrap();
        let request = EmbedRequest::new("m", vec!["x".to_owned(); predictions.len()]);
        let answer = decode_embed::<Gemini>(&request, HttpResponse::new(200, body)).unwrap();
        for (vector, prediction) in answer.vectors.iter().zip(predictions) {
            assert_eq!(vector.len(), prediction["embeddings"]["values"].as_array().unwrap().len());
        }
        assert!(answer.usage.unwrap().input_tokens > Some(0));
    }
}

#[test]
fn recorded_lists_of_models_are_read_to_the_last() {
    for body in bodies("gemini", "-models-json") {
        let wire: Value = serde_json::from_slice(&body).unwrap();
        let models = decode_list::<Gemini>("{}", vec![HttpResponse::new(200, body), HttpResponse::new(200, "{}")]).unwrap();
        assert_eq!(models.len(), wire["models"].as_array().unwrap().len());
        assert!(models.iter().all(|model| !model.id.contains('/') && model.context_window.is_some() && model.display_name.is_some()));
    }
}
