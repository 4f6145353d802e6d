//! No bytes make the decoders panic or grow without bound, however they are cut.
#![allow(clippy::unwrap_used, clippy::panic)] // this is how a test fails

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::mutation::{Random, intruded, mutated};
use pg_llm_guest::testing::{decode_stream, decode_whole, in_chunks};
use pg_llm_provider_anthropic::{Anthropic, decoder};

fn request() -> ChatRequest {
    ChatRequest::new("m", vec![Message::user("hello")])
}

const STREAM: &str = concat!(
    "event: message_start\n",
    r#"data: {"type":"message_start","message":{"id":"m","model":"c","content":[],"stop_reason":null,"usage":{"input_tokens":1,"cache_read_input_tokens":2,"output_tokens":1}}}"#,
    "\n\n",
    r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
    "\n\n",
    r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"grübel"}}"#,
    "\n\n",
    r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}}"#,
    "\r\n\r\n",
    r#"data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":"Grüße 🦀"}}"#,
    "\n\n",
    r#"data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"x","name":"f","input":{}}}"#,
    "\n\n",
    r#"data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
    "\n\n",
    r#"data: {"type":"content_block_stop","index":2}"#,
    "\n\nevent: message_delta\n",
    r#"data: {"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}"#,
    "\n\n",
    r#"data: {"type":"message_stop"}"#,
    "\n\n",
);

/// An answer as a whole.
const WHOLE: &str = r#"{"id":"m","model":"c","type":"message","content":[{"type":"text","text":"Grüße"},{"type":"thinking","thinking":"h","signature":"s"},{"type":"redacted_thinking","data":"d"},{"type":"tool_use","id":"x","name":"f","input":{"a":[1]}}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":2,"output_tokens_details":{"thinking_tokens":1}}}"#;

#[test]
fn mutated_bytes_end_in_an_answer_or_a_failure() {
    let mut random = Random::new(7);
    for _ in 0..3_000 {
        let bytes = mutated(STREAM.as_bytes(), &mut random);
        let size = 1 + random.below(40);
        let once = decode_stream::<Anthropic>(&request(), ResponseHead::new(200), vec![bytes.clone()]);
        let cut = decode_stream::<Anthropic>(&request(), ResponseHead::new(200), in_chunks(&bytes, size));
        assert_eq!(cut.events, once.events);
        assert_eq!(cut.failure.map(|failure| failure.kind), once.failure.map(|failure| failure.kind));
        let _ = decode_whole::<Anthropic>(&request(), HttpResponse::new(200, bytes.clone()));
        let _ = decode_whole::<Anthropic>(&request(), HttpResponse::new(400, bytes));
    }
}

#[test]
fn a_member_of_another_type_is_no_panic() {
    for (at, line) in STREAM.lines().filter(|line| line.starts_with("data: ")).enumerate() {
        let event: Value = serde_json::from_str(line.strip_prefix("data: ").unwrap()).unwrap();
        for changed in intruded(&event) {
            // In its place among the others.
            let events = STREAM.lines().filter(|line| line.starts_with("data: ")).enumerate();
            let text: String =
                events.map(|(place, line)| if place == at { format!("data: {changed}\n\n") } else { format!("{line}\n\n") }).collect();
            decode_stream::<Anthropic>(&request(), ResponseHead::new(200), vec![text.into_bytes()]);
        }
    }
    for changed in intruded(&serde_json::from_str(WHOLE).unwrap()) {
        let _ = decode_whole::<Anthropic>(&request(), HttpResponse::new(200, changed.to_string()));
        let _ = decode_whole::<Anthropic>(&request(), HttpResponse::new(500, changed.to_string()));
    }
}

#[test]
fn a_body_that_never_becomes_an_event_is_given_up() {
    for piece in ["x".repeat(100_000), "{\"a\":\n".repeat(10_000), "data: x\n".repeat(10_000)] {
        let mut stream = decoder(&request()).unwrap();
        let mut events = Vec::new();
        let gives_up = (0..2_000).find_map(|_| stream.push(piece.as_bytes(), &mut events).err());
        assert_eq!(gives_up.unwrap().kind, FailureKind::Protocol);
    }
}

#[test]
fn deep_nesting_is_a_failure_and_no_overflow() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(decode_whole::<Anthropic>(&request(), HttpResponse::new(200, deep.clone())).unwrap_err().kind, FailureKind::Protocol);
    let request = ChatRequest { settings: deep, ..request() };
    assert_eq!(pg_llm_provider_anthropic::encode(&request, Mode::Whole).unwrap_err().kind, FailureKind::InvalidRequest);
}

#[test]
fn more_tool_calls_than_any_answer_has_are_left_out() {
    let begin = |index: usize| {
        let block = json!({ "type": "tool_use", "id": format!("id{index}"), "name": "f", "input": {} });
        format!("data: {}\n\n", json!({ "type": "content_block_start", "index": index, "content_block": block }))
    };
    let stream: String = (0..3_000).map(begin).collect();
    let outcome = decode_stream::<Anthropic>(&request(), ResponseHead::new(200), vec![stream.into_bytes()]);
    assert_eq!(outcome.events.iter().filter(|event| matches!(event, Event::ToolCall(_))).count(), 1024);
}

#[test]
fn counts_that_nobody_knows_are_not_kept() {
    let delta = |at: usize| {
        format!(
            "data: {}\n\n",
            json!({ "type": "message_delta", "delta": {}, "usage": { format!("count{at}"): "x".repeat(100), "output_tokens": at } })
        )
    };
    let stream: String = (0..1_000).map(delta).collect();
    let outcome = decode_stream::<Anthropic>(&request(), ResponseHead::new(200), vec![stream.into_bytes()]);
    let Some(Event::Usage(last)) = outcome.events.last() else { panic!("{:?}", outcome.events.last()) };
    assert_eq!(last.raw.as_deref(), Some(r#"{"output_tokens":999}"#));
}
