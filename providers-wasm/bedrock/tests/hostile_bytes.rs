//! No bytes make the decoders panic or grow without bound, however they are cut.
#![allow(clippy::unwrap_used)] // this is how a test fails

use pg_llm_guest::event_stream::HeaderValue;
use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::mutation::{Random, intruded, mutated};
use pg_llm_guest::testing::{decode_embed, decode_rerank, decode_stream, decode_whole, in_chunks};
use pg_llm_provider_bedrock::{Bedrock, decoder, encode};

fn request() -> ChatRequest {
    ChatRequest::new("amazon.nova-lite-v1:0", vec![Message::user("hello")])
}

fn message(name_of_name: &str, name: &str, payload: &[u8]) -> Vec<u8> {
    let headers = vec![
        (":message-type".to_owned(), HeaderValue::Text("event".to_owned())),
        (name_of_name.to_owned(), HeaderValue::Text(name.to_owned())),
    ];
    EventStreamMessage { headers, payload: payload.to_vec() }.to_bytes()
}

const EVENTS: [(&str, &str); 9] = [
    ("messageStart", r#"{"role":"assistant"}"#),
    ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"hm","signature":"s","redactedContent":"ZQ=="}}}"#),
    ("contentBlockDelta", r#"{"contentBlockIndex":1,"delta":{"text":"Grüße 🦀"}}"#),
    ("contentBlockStart", r#"{"contentBlockIndex":2,"start":{"toolUse":{"toolUseId":"t","name":"f","type":"x"}}}"#),
    ("contentBlockDelta", r#"{"contentBlockIndex":2,"delta":{"toolUse":{"input":"{}"}}}"#),
    ("contentBlockStop", r#"{"contentBlockIndex":2}"#),
    ("throttlingException", r#"{"message":"slow"}"#),
    ("messageStop", r#"{"stopReason":"end_turn"}"#),
    ("metadata", r#"{"usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3,"cacheReadInputTokens":4},"metrics":{"latencyMs":5}}"#),
];

const WHOLE: &str = r#"{"output":{"message":{"role":"assistant","content":[{"text":"a"},{"reasoningContent":{"reasoningText":{"text":"b","signature":"c"}}},{"reasoningContent":{"redactedContent":"ZQ=="}},{"toolUse":{"toolUseId":"d","name":"e","type":"x","input":{"f":1}}},{"citationsContent":{"content":[{"text":"g"}]}}]}},"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3},"__type":"x","message":"y","Message":"z","Output":{"__type":"x"}}"#;

fn same_however_cut(bytes: &[u8], size: usize) {
    for media_type in ["application/vnd.amazon.eventstream", "application/json"] {
        let head = || ResponseHead { status: 200, headers: [("content-type", media_type)].into_iter().collect() };
        let once = decode_stream::<Bedrock>(&request(), head(), vec![bytes.to_vec()]);
        let cut = decode_stream::<Bedrock>(&request(), head(), in_chunks(bytes, size));
        assert_eq!(cut.events, once.events);
        assert_eq!(cut.failure.map(|failure| failure.kind), once.failure.map(|failure| failure.kind));
    }
}

#[test]
fn mutated_bytes_end_in_an_answer_or_a_failure() {
    let mut random = Random::new(7);
    let stream: Vec<u8> = EVENTS.iter().flat_map(|(name, payload)| message(":event-type", name, payload.as_bytes())).collect();
    for _ in 0..2_000 {
        let bytes = mutated(&stream, &mut random);
        same_however_cut(&bytes, 1 + random.below(40));
        let bytes = mutated(WHOLE.as_bytes(), &mut random);
        same_however_cut(&bytes, 1 + random.below(40));
        let _ = decode_whole::<Bedrock>(&request(), HttpResponse::new(200, bytes.clone()));
        let _ = decode_whole::<Bedrock>(&request(), HttpResponse::new(400, bytes));
    }
}

#[test]
fn mutated_payloads_in_messages_with_right_checksums_end_in_an_answer_or_a_failure() {
    let mut random = Random::new(11);
    for _ in 0..3_000 {
        let mut stream = Vec::new();
        for _ in 0..random.below(12) {
            let (name, payload) = EVENTS[random.below(EVENTS.len())];
            let (mut name, mut payload) = (name.as_bytes().to_vec(), payload.as_bytes().to_vec());
            if random.below(3) == 0 {
                payload = mutated(&payload, &mut random);
            }
            if random.below(10) == 0 {
                name = mutated(&name, &mut random);
            }
            let kind = [":event-type", ":event-type", ":event-type", ":exception-type", ":error-code"][random.below(5)];
            stream.extend(message(kind, &String::from_utf8_lossy(&name), &payload));
        }
        same_however_cut(&stream, 1 + random.below(100));
    }
}

#[test]
fn a_member_of_another_type_is_no_panic() {
    for changed in intruded(&serde_json::from_str(WHOLE).unwrap()) {
        for status in [200, 400] {
            let _ = decode_whole::<Bedrock>(&request(), HttpResponse::new(status, changed.to_string()));
        }
    }
    for (name, payload) in EVENTS {
        for changed in intruded(&serde_json::from_str(payload).unwrap()) {
            let payload = changed.to_string().into_bytes();
            for kind in [":event-type", ":exception-type"] {
                decode_stream::<Bedrock>(&request(), ResponseHead::new(200), vec![message(kind, name, &payload)]);
            }
        }
    }
    let answers = [
        json!({ "embedding": [0.5], "embeddingsByType": { "float": [0.5] }, "inputTextTokenCount": 4 }),
        json!({ "embeddings": [[0.5]] }),
        json!({ "embeddings": { "float": [[0.5]] } }),
        json!({ "results": [{ "index": 0, "relevance_score": 0.5 }] }),
    ];
    for changed in answers.iter().flat_map(intruded) {
        let response = || HttpResponse::new(200, changed.to_string());
        let _ = decode_embed::<Bedrock>(&EmbedRequest::new("amazon.titan-embed-text-v2:0", vec!["x".into()]), response());
        let _ = decode_rerank::<Bedrock>(&RerankRequest::new("m", "q", vec!["x".into()]), response());
    }
}

#[test]
fn a_body_that_never_becomes_a_message_is_given_up() {
    // Bytes that are no message (the SDK's tests have those that never end), and a JSON text without an end.
    for (media_type, piece) in [("", vec![0; 1_000]), ("application/json", b"[[[[".repeat(10_000))] {
        let head = ResponseHead { status: 200, headers: [("content-type", media_type)].into_iter().collect() };
        let mut stream = decoder(&request(), &head).unwrap();
        let mut events = Vec::new();
        let gives_up = (0..2_000).find_map(|_| stream.push(&piece, &mut events).err());
        assert_eq!(gives_up.unwrap().kind, FailureKind::Protocol);
    }
}

#[test]
fn deep_nesting_is_a_failure_and_no_overflow() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(decode_whole::<Bedrock>(&request(), HttpResponse::new(200, deep.clone())).unwrap_err().kind, FailureKind::Protocol);
    let stream = message(":event-type", "contentBlockDelta", deep.as_bytes());
    let failure = decode_stream::<Bedrock>(&request(), ResponseHead::new(200), vec![stream]).failure.unwrap();
    assert_eq!(failure.kind, FailureKind::Protocol);
    let request = ChatRequest { settings: deep, ..request() };
    assert_eq!(encode(&request, Mode::Whole).unwrap_err().kind, FailureKind::InvalidRequest);
}

#[test]
fn more_tool_calls_than_any_answer_has_open_are_left_out() {
    let begin = |index: usize| {
        let payload = json!({ "contentBlockIndex": index, "start": { "toolUse": { "toolUseId": "t", "name": "f" } } });
        message(":event-type", "contentBlockStart", payload.to_string().as_bytes())
    };
    let stream: Vec<u8> = (0..3_000).flat_map(begin).collect();
    let outcome = decode_stream::<Bedrock>(&request(), ResponseHead::new(200), vec![stream]);
    assert_eq!(outcome.events.iter().filter(|event| matches!(event, Event::ToolCall(_))).count(), 1024);
}
