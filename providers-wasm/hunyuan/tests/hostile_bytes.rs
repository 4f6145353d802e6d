//! No bytes make the decoders panic or grow without bound, however they are cut.
#![allow(clippy::unwrap_used)] // this is how a test fails

use pg_llm_guest::prelude::*;
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

/// Values of every type, to stand where another was expected.
const INTRUDERS: [&str; 12] =
    ["null", "true", "-1", "1e308", "18446744073709551616", "\"\"", "\"x\"", "[]", "{}", "[null]", "{\"error\":null}", "[[[[{}]]]]"];

/// The same numbers in every run (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % bound
    }
}

/// Every decoder of the crate reads this.
fn read_by_all(status: u16, bytes: &[u8]) {
    let response = || HttpResponse::new(status, bytes.to_vec());
    let _ = decode_whole::<Hunyuan>(&request(), response());
    let _ = decode_embed::<Hunyuan>(&EmbedRequest::new("m", vec!["a".into(), "b".into()]), response());
}

#[test]
fn mutated_bytes_end_in_an_answer_or_a_failure() {
    let mut random = Random(7);
    for _ in 0..3_000 {
        let mut bytes = STREAM.as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
                1 => drop(bytes.drain(at..(at + random.below(20)).min(bytes.len()))),
                2 => bytes.truncate(at.max(1)),
                _ => {
                    let piece = bytes[..at].to_vec();
                    let to = random.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
            if bytes.is_empty() {
                bytes.push(b'x');
            }
        }
        let size = 1 + random.below(40);
        let once = decode_stream::<Hunyuan>(&request(), ResponseHead::new(200), vec![bytes.clone()]);
        let cut = decode_stream::<Hunyuan>(&request(), ResponseHead::new(200), in_chunks(&bytes, size));
        assert_eq!(cut.events, once.events);
        assert_eq!(cut.failure.map(|failure| failure.kind), once.failure.map(|failure| failure.kind));
        read_by_all(200, &bytes);
        read_by_all(400, &bytes);
    }
}

/// Every value of `body`, replaced by each intruder in turn.
fn intruded(body: &Value) -> Vec<Value> {
    let mut all: Vec<Value> = INTRUDERS.iter().map(|intruder| serde_json::from_str(intruder).unwrap()).collect();
    match body {
        Value::Object(members) => {
            for (name, value) in members {
                for other in intruded(value) {
                    let mut changed = members.clone();
                    changed.insert(name.clone(), other);
                    all.push(Value::Object(changed));
                }
                let mut without = members.clone();
                without.shift_remove(name);
                all.push(Value::Object(without));
            }
        }
        Value::Array(items) => {
            for (at, value) in items.iter().enumerate() {
                for other in intruded(value) {
                    let mut changed = items.clone();
                    changed[at] = other;
                    all.push(Value::Array(changed));
                }
            }
        }
        _ => {}
    }
    all
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
