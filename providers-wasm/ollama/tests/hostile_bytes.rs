//! No bytes make the decoders panic or grow without bound, however they are cut.
#![allow(clippy::unwrap_used)] // this is how a test fails

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::mutation::{Random, intruded, mutated};
use pg_llm_guest::testing::{decode_embed, decode_list, decode_stream, decode_whole, in_chunks};
use pg_llm_provider_ollama::{Ollama, decoder};

fn request() -> ChatRequest {
    ChatRequest::new("m", vec![Message::user("hello")])
}

const STREAM: &str = concat!(
    r#"{"model":"m","created_at":"now","message":{"role":"assistant","content":"Grüße 🦀","thinking":"hm"},"logprobs":[{"token":"a","logprob":-0.5,"top_logprobs":[{"token":"b","logprob":-1}]}],"done":false}"#,
    "\n",
    r#"{"model":"m","message":{"content":"","tool_calls":[{"id":"x","function":{"index":0,"name":"f","arguments":{"a":1}}}]},"done":false}"#,
    "\r\n",
    r#"{"model":"m","response":"b","done":false}"#,
    "\n",
    r#"{"model":"m","message":{"content":""},"done":true,"done_reason":"stop","prompt_eval_count":1,"eval_count":2,"eval_duration":3}"#,
    "\n",
);

#[test]
fn mutated_bytes_end_in_an_answer_or_a_failure() {
    let mut random = Random::new(7);
    for _ in 0..3_000 {
        let bytes = mutated(STREAM.as_bytes(), &mut random);
        let size = 1 + random.below(40);
        let once = decode_stream::<Ollama>(&request(), ResponseHead::new(200), vec![bytes.clone()]);
        let cut = decode_stream::<Ollama>(&request(), ResponseHead::new(200), in_chunks(&bytes, size));
        assert_eq!(cut.events, once.events);
        assert_eq!(cut.failure.map(|failure| failure.kind), once.failure.map(|failure| failure.kind));
        let _ = decode_whole::<Ollama>(&request(), HttpResponse::new(200, bytes.clone()));
        let _ = decode_whole::<Ollama>(&request(), HttpResponse::new(400, bytes));
    }
}

#[test]
fn a_member_of_another_type_is_no_panic() {
    for line in STREAM.lines() {
        for changed in intruded(&serde_json::from_str(line).unwrap()) {
            decode_stream::<Ollama>(&request(), ResponseHead::new(200), vec![format!("{changed}\n").into_bytes()]);
            let _ = decode_whole::<Ollama>(&request(), HttpResponse::new(200, changed.to_string()));
            let _ = decode_whole::<Ollama>(&request(), HttpResponse::new(500, changed.to_string()));
        }
    }
    let embeddings = json!({ "model": "m", "embeddings": [[0.5, 1], [2, 3]], "prompt_eval_count": 4 });
    for changed in intruded(&embeddings) {
        let request = EmbedRequest::new("m", vec!["a".to_owned(), "b".to_owned()]);
        if let Ok(answer) = decode_embed::<Ollama>(&request, HttpResponse::new(200, changed.to_string())) {
            assert!(answer.vectors.iter().flatten().all(|number| number.is_finite()), "{changed}");
        }
    }
    let models = json!({ "models": [{ "name": "m", "model": "m", "details": { "context_length": 1 } }] });
    for changed in intruded(&models) {
        let _ = decode_list::<Ollama>("{}", vec![HttpResponse::new(200, changed.to_string())]);
    }
}

#[test]
fn a_body_that_never_becomes_an_answer_is_given_up() {
    for piece in ["x".repeat(100_000), "{\"a\":\n".repeat(10_000), "data: x\n".repeat(10_000)] {
        let mut stream = decoder();
        let mut events = Vec::new();
        let gives_up = (0..2_000).find_map(|_| stream.push(piece.as_bytes(), &mut events).err());
        assert_eq!(gives_up.unwrap().kind, FailureKind::Protocol);
    }
}

#[test]
fn deep_nesting_is_a_failure_and_no_overflow() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(decode_whole::<Ollama>(&request(), HttpResponse::new(200, deep.clone())).unwrap_err().kind, FailureKind::Protocol);
    let request = ChatRequest { settings: deep, ..request() };
    assert_eq!(pg_llm_provider_ollama::encode(&request, Mode::Whole).unwrap_err().kind, FailureKind::InvalidRequest);
}

#[test]
fn more_tool_calls_than_any_answer_has_are_left_out() {
    let line = "{\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"f\"}},{\"function\":{\"name\":\"f\"}}]},\"done\":false}\n";
    let outcome = decode_stream::<Ollama>(&request(), ResponseHead::new(200), vec![line.repeat(2_000).into_bytes()]);
    assert_eq!(outcome.events.iter().filter(|event| matches!(event, Event::ToolCall(_))).count(), 1024);
}
