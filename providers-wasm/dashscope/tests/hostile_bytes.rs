//! No bytes make the decoders panic or grow without bound, however they are cut.
#![allow(clippy::unwrap_used)] // this is how a test fails

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::mutation::{Random, intruded, mutated};
use pg_llm_guest::testing::{decode_embed, decode_list, decode_rerank, decode_stream, decode_whole, in_chunks};
use pg_llm_provider_dashscope::increments::{Hints, Increments};
use pg_llm_provider_dashscope::{DashScope, decoder};

fn request() -> ChatRequest {
    ChatRequest::new("m", vec![Message::user("hello")])
}

const STREAM: &str = concat!(
    "id:1\nevent:result\n:HTTP_STATUS/200\n",
    r#"data:{"output":{"choices":[{"index":0,"message":{"role":"assistant","content":"Grüße","reasoning_content":"hm"},"finish_reason":"null","logprobs":{"content":[{"token":"a","logprob":-0.5,"top_logprobs":[]}]}}]},"usage":{"input_tokens":1,"output_tokens":1},"request_id":"r"}"#,
    "\n\nid:2\nevent:result\n",
    r#"data:{"output":{"choices":[{"message":{"content":[{"text":"Grüße 🦀"}],"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"null"}]},"usage":{"input_tokens":1,"output_tokens":2,"prompt_tokens_details":{"cached_tokens":0}},"request_id":"r"}"#,
    "\r\n\r\nid:3\nevent:result\n",
    r#"data:{"output":{"text":"","finish_reason":"stop"},"usage":{"input_tokens":1,"output_tokens":2},"request_id":"r"}"#,
    "\n\nid:4\nevent:error\n",
    r#"data:{"code":"Throttling","message":"m","request_id":"r"}"#,
    "\n\n",
);

/// Every decoder of the crate reads this.
fn read_by_all(status: u16, bytes: &[u8]) {
    let response = || HttpResponse::new(status, bytes.to_vec());
    let _ = decode_whole::<DashScope>(&request(), response());
    let _ = decode_embed::<DashScope>(&EmbedRequest::new("m", vec!["a".into(), "b".into()]), response());
    let _ = decode_rerank::<DashScope>(&RerankRequest::new("m", "q", vec!["a".into(), "b".into()]), response());
    let _ = decode_list::<DashScope>("{}", vec![response()]);
}

#[test]
fn mutated_bytes_end_in_an_answer_or_a_failure() {
    let mut random = Random::new(7);
    for _ in 0..3_000 {
        let bytes = mutated(STREAM.as_bytes(), &mut random);
        let size = 1 + random.below(40);
        let once = decode_stream::<DashScope>(&request(), ResponseHead::new(200), vec![bytes.clone()]);
        let cut = decode_stream::<DashScope>(&request(), ResponseHead::new(200), in_chunks(&bytes, size));
        assert_eq!(cut.events, once.events);
        assert_eq!(cut.failure.map(|failure| failure.kind), once.failure.map(|failure| failure.kind));
        read_by_all(200, &bytes);
        read_by_all(400, &bytes);
    }
}

#[test]
fn a_member_of_another_type_is_no_panic() {
    let mut bodies: Vec<Value> =
        STREAM.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data:")?).ok()).collect();
    assert_eq!(bodies.len(), 4);
    bodies.push(json!({
        "output": { "embeddings": [{ "text_index": 0, "embedding": [1] }], "results": [{ "index": 0, "relevance_score": 1 }], "models": [{ "model": "m", "model_info": { "context_window": 1 } }], "page_no": 1, "page_size": 1, "total": 1 },
        "usage": { "total_tokens": 1 },
    }));
    for body in bodies {
        for changed in intruded(&body) {
            for event in ["result", "error"] {
                let stream = format!("event:{event}\ndata:{changed}\n\ndata:{body}\n\n");
                decode_stream::<DashScope>(&request(), ResponseHead::new(200), vec![stream.into_bytes()]);
            }
            read_by_all(200, changed.to_string().as_bytes());
            read_by_all(500, changed.to_string().as_bytes());
        }
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
    assert_eq!(decode_whole::<DashScope>(&request(), HttpResponse::new(200, deep.clone())).unwrap_err().kind, FailureKind::Protocol);
    let failure = decode_stream::<DashScope>(&request(), ResponseHead::new(200), vec![format!("data:{deep}\n\n").into_bytes()]).failure;
    assert_eq!(failure.unwrap().kind, FailureKind::Protocol);
}

#[test]
fn more_tool_calls_than_any_answer_has_are_left_out() {
    let piece = |index: usize| {
        let call = json!({ "index": index, "id": format!("id{index}"), "function": { "name": "f", "arguments": "{}" } });
        format!("data:{}\n\n", json!({ "output": { "choices": [{ "index": 0, "message": { "tool_calls": [call] } }] } }))
    };
    let stream: String = (0..3_000).map(piece).collect();
    let outcome = decode_stream::<DashScope>(&request(), ResponseHead::new(200), vec![stream.into_bytes()]);
    assert!(outcome.events.iter().filter(|event| matches!(event, Event::ToolCall(_))).count() <= 128);
}

#[test]
fn pieces_that_never_tell_how_they_are_meant_are_given_out_all_the_same() {
    // Nothing tells repetitions of one piece from a whole that does not grow: what was asked does, after a few.
    let mut run = Increments::new(true);
    let said: String = (0..100).map(|_| run.take("ha", Hints::default())).collect();
    assert_eq!(said, "ha".repeat(100));
    let mut run = Increments::new(false);
    let said: String = (0..100).map(|_| run.take("ha", Hints::default())).collect();
    assert_eq!(said, "ha");
    // A large piece is not held back eight times.
    let large = "x".repeat(3 * 1024 * 1024);
    let mut run = Increments::new(true);
    assert_eq!([run.take(&large, Hints::default()).len(), run.take(&large, Hints::default()).len()], [large.len(); 2]);
}

#[test]
fn no_order_of_pieces_cuts_a_code_point_or_panics() {
    let mut random = Random::new(11);
    let words = ["", "ß", "ß🦀", "ß🦀a", "🦀", "a", "aa", "ab"];
    for _ in 0..20_000 {
        let mut run = Increments::new(random.below(2) == 0);
        for _ in 0..random.below(12) {
            let hints = Hints {
                tokens: [None, Some(true), Some(false)][random.below(3)],
                last: random.below(8) == 0,
                unique: random.below(4) == 0,
            };
            run.take(words[random.below(words.len())], hints);
        }
        run.finish();
    }
}
