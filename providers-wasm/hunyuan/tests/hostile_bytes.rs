//! No bytes make the decoders panic or grow without bound, however they are cut.
#![allow(clippy::unwrap_used)] // this is how a test fails

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::mutation::{Random, intruded, mutated};
use pg_llm_guest::testing::{decode_embed, decode_stream, decode_whole, in_chunks};
use pg_llm_provider_hunyuan::{Hunyuan, decoder};

fn request() -> ChatRequest {
    ChatRequest::new("m", vec![Message::user("hello")])
}

const STREAM: &str = concat!(
    r#"data: {"Note":"n","Choices":[{"Index":0,"Delta":{"Role":"assistant","Content":"Grüße 🦀","ReasoningContent":"hm"},"FinishReason":""}],"Created":1,"Id":"i","Usage":{"PromptTokens":1,"CompletionTokens":1,"PromptTokensDetails":{"CachedTokens":"1"}}}"#,
    "\n\n",
    r#"data: {"Choices":[{"Delta":{"Content":"b","ToolCalls":[{"Index":0,"Id":"x","Type":"function","Function":{"Name":"f","Arguments":"{}"}}]},"FinishReason":"tool_calls"}],"Id":"i","ErrorMsg":null}"#,
    "\r\n\t\r\n",
    r#"data: {"Choices":[],"ErrorMsg":{"Msg":"m","Code":4000}}"#,
    "\n\n",
    r#"data: {"Response":{"Error":{"Code":"InternalError","Message":"m"},"RequestId":"r"}}"#,
    "\n\n",
);

/// Every decoder of the crate reads this.
fn read_by_all(status: u16, bytes: &[u8]) {
    let response = || HttpResponse::new(status, bytes.to_vec());
    let _ = decode_whole::<Hunyuan>(&request(), response());
    let _ = decode_embed::<Hunyuan>(&EmbedRequest::new("m", vec!["a".into(), "b".into()]), response());
}

#[test]
fn mutated_bytes_end_in_an_answer_or_a_failure() {
    let mut random = Random::new(7);
    for _ in 0..3_000 {
        let bytes = mutated(STREAM.as_bytes(), &mut random);
        let size = 1 + random.below(40);
        let once = decode_stream::<Hunyuan>(&request(), ResponseHead::new(200), vec![bytes.clone()]);
        let cut = decode_stream::<Hunyuan>(&request(), ResponseHead::new(200), in_chunks(&bytes, size));
        assert_eq!(cut.events, once.events);
        assert_eq!(cut.failure.map(|failure| failure.kind), once.failure.map(|failure| failure.kind));
        read_by_all(200, &bytes);
        read_by_all(400, &bytes);
    }
}

#[test]
fn a_member_of_another_type_is_no_panic() {
    let mut bodies: Vec<Value> =
        STREAM.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok()).collect();
    assert_eq!(bodies.len(), 4);
    bodies.push(json!({ "Response": { "Data": [{ "Index": 0, "Embedding": [1] }], "Usage": { "PromptTokens": 1 }, "RequestId": "r" } }));
    bodies.push(json!({ "Response": { "Choices": [{ "Message": { "Content": "a", "ToolCalls": [{ "Function": { "Name": "f" } }] }, "FinishReason": "stop" }] } }));
    for body in bodies {
        for changed in intruded(&body) {
            for event in ["result", "error"] {
                let stream = format!("event:{event}\ndata:{changed}\n\ndata:{body}\n\n");
                decode_stream::<Hunyuan>(&request(), ResponseHead::new(200), vec![stream.into_bytes()]);
            }
            read_by_all(200, changed.to_string().as_bytes());
            read_by_all(500, changed.to_string().as_bytes());
        }
    }
}

#[test]
fn a_body_that_never_becomes_an_event_is_given_up() {
    for piece in ["x".repeat(100_000), "{\"a\":\n".repeat(10_000), "data: x\n".repeat(10_000)] {
        let mut stream = decoder(&ResponseHead::new(200));
        let mut events = Vec::new();
        let gives_up = (0..2_000).find_map(|_| stream.push(piece.as_bytes(), &mut events).err());
        assert_eq!(gives_up.unwrap().kind, FailureKind::Protocol);
    }
}

#[test]
fn deep_nesting_is_a_failure_and_no_overflow() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(decode_whole::<Hunyuan>(&request(), HttpResponse::new(200, deep.clone())).unwrap_err().kind, FailureKind::Protocol);
    let failure = decode_stream::<Hunyuan>(&request(), ResponseHead::new(200), vec![format!("data:{deep}\n\n").into_bytes()]).failure;
    assert_eq!(failure.unwrap().kind, FailureKind::Protocol);
}

#[test]
fn more_tool_calls_than_any_answer_has_are_left_out() {
    let piece = |index: usize| {
        let call = json!({ "Id": format!("id{index}"), "Function": { "Name": "f", "Arguments": "{}" } });
        format!("data:{}\n\n", json!({ "Choices": [{ "Delta": { "ToolCalls": [call] } }] }))
    };
    let stream: String = (0..3_000).map(piece).collect();
    let outcome = decode_stream::<Hunyuan>(&request(), ResponseHead::new(200), vec![stream.into_bytes()]);
    assert!(outcome.events.iter().filter(|event| matches!(event, Event::ToolCall(_))).count() <= 1024);
}
