//! No bytes make the decoders panic or grow without bound, however they are cut.
#![allow(clippy::unwrap_used)] // this is how a test fails

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::mutation::{Random, intruded, mutated};
use pg_llm_guest::testing::{decode_embed, decode_list, decode_rerank, decode_stream, decode_whole, in_chunks};
use pg_llm_provider_cohere::{Cohere, decoder};

fn request() -> ChatRequest {
    ChatRequest::new("m", vec![Message::user("hello")])
}

const STREAM: &str = concat!(
    "event: message-start\n",
    r#"data: {"id":"r","type":"message-start","delta":{"message":{"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]}}}"#,
    "\n\n",
    r#"data: {"type":"content-delta","index":0,"delta":{"message":{"content":{"thinking":"hm","text":"Grüße 🦀"}}},"logprobs":{"text":"a","token_ids":[1],"logprobs":[-0.5]}}"#,
    "\r\n\r\n",
    r#"data: {"type":"tool-plan-delta","delta":{"message":{"tool_plan":"I will"}}}"#,
    "\n\n",
    r#"data: {"type":"tool-call-start","index":0,"delta":{"message":{"tool_calls":{"id":"x","type":"function","function":{"name":"f","arguments":""}}}}}"#,
    "\n\n",
    r#"data: {"type":"tool-call-delta","index":0,"delta":{"message":{"tool_calls":{"function":{"arguments":"{}"}}}}}"#,
    "\n\n",
    r#"data: {"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{"billed_units":{"input_tokens":1},"tokens":{"input_tokens":2,"output_tokens":3},"cached_tokens":1}}}"#,
    "\n\ndata: [DONE]\n\n",
);

/// The same as a whole answer.
const WHOLE: &str = r#"{"id":"r","message":{"role":"assistant","content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"a"}],"tool_plan":"p","tool_calls":[{"id":"x","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"TOOL_CALL","usage":{"tokens":{"input_tokens":1,"output_tokens":2}},"logprobs":[{"text":"a","logprobs":[-1]}]}"#;

#[test]
fn mutated_bytes_end_in_an_answer_or_a_failure() {
    let mut random = Random::new(7);
    for _ in 0..3_000 {
        let bytes = mutated(STREAM.as_bytes(), &mut random);
        let size = 1 + random.below(40);
        let once = decode_stream::<Cohere>(&request(), ResponseHead::new(200), vec![bytes.clone()]);
        let cut = decode_stream::<Cohere>(&request(), ResponseHead::new(200), in_chunks(&bytes, size));
        assert_eq!(cut.events, once.events);
        assert_eq!(cut.failure.map(|failure| failure.kind), once.failure.map(|failure| failure.kind));
        let _ = decode_whole::<Cohere>(&request(), HttpResponse::new(200, bytes.clone()));
        let _ = decode_whole::<Cohere>(&request(), HttpResponse::new(400, bytes));
    }
}

#[test]
fn a_member_of_another_type_is_no_panic() {
    let events = STREAM.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    for event in events.chain([serde_json::from_str(WHOLE).unwrap()]) {
        for changed in intruded(&event) {
            decode_stream::<Cohere>(&request(), ResponseHead::new(200), vec![format!("data: {changed}\n\n").into_bytes()]);
            for status in [200, 498, 500] {
                let _ = decode_whole::<Cohere>(&request(), HttpResponse::new(status, changed.to_string()));
            }
        }
    }
    for changed in intruded(&json!({ "embeddings": { "float": [[0.5, 1], [2, 3]] }, "meta": { "billed_units": { "input_tokens": 4 } } })) {
        let request = EmbedRequest::new("m", vec!["a".to_owned(), "b".to_owned()]);
        if let Ok(answer) = decode_embed::<Cohere>(&request, HttpResponse::new(200, changed.to_string())) {
            assert!(answer.vectors.iter().flatten().all(|number| number.is_finite()), "{changed}");
        }
    }
    for changed in intruded(&json!({ "results": [{ "index": 0, "relevance_score": 0.5 }], "meta": {} })) {
        let request = RerankRequest::new("m", "q", vec!["a".to_owned(), "b".to_owned()]);
        if let Ok(answer) = decode_rerank::<Cohere>(&request, HttpResponse::new(200, changed.to_string())) {
            assert!(answer.results.iter().all(|ranked| ranked.index < 2 && ranked.score.is_finite()), "{changed}");
        }
    }
    for changed in intruded(&json!({ "models": [{ "name": "m", "context_length": 1 }], "next_page_token": "" })) {
        let _ = decode_list::<Cohere>("{}", vec![HttpResponse::new(200, changed.to_string())]);
    }
}

#[test]
fn a_body_that_never_becomes_an_event_is_given_up() {
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
    assert_eq!(decode_whole::<Cohere>(&request(), HttpResponse::new(200, deep.clone())).unwrap_err().kind, FailureKind::Protocol);
    let request = ChatRequest { settings: deep, ..request() };
    assert_eq!(pg_llm_provider_cohere::encode(&request, Mode::Whole).unwrap_err().kind, FailureKind::InvalidRequest);
}

#[test]
fn more_tool_calls_than_any_answer_has_are_left_out() {
    let event = "data: {\"index\":0,\"delta\":{\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"f\"}},{\"function\":{\"name\":\"f\"}}]}}}\n\n";
    let outcome = decode_stream::<Cohere>(&request(), ResponseHead::new(200), vec![event.repeat(2_000).into_bytes()]);
    assert_eq!(outcome.events.iter().filter(|event| matches!(event, Event::ToolCall(_))).count(), 1024);
}
