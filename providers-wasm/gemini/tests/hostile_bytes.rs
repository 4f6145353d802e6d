//! No bytes make the decoders panic or grow without bound, however they are cut.
#![allow(clippy::unwrap_used)] // this is how a test fails

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::mutation::{Random, intruded, mutated};
use pg_llm_guest::testing::{decode_embed, decode_list, decode_stream, decode_whole, in_chunks};
use pg_llm_provider_gemini::{Gemini, decoder, encode};

fn request() -> ChatRequest {
    ChatRequest::new("m", vec![Message::user("hello")])
}

const CHUNKS: [&str; 5] = [
    r#"{"candidates":[{"content":{"parts":[{"text":"Grüße 🦀","thought":true,"thoughtSignature":"s"},{"text":"a\"}]"}],"role":"model"},"index":0}],"modelVersion":"m","responseId":"r"}"#,
    r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","id":"x","args":{"a":[1]}},"thoughtSignature":"s"},{"functionCall":{"name":"g","willContinue":true}}]},"logprobsResult":{"chosenCandidates":[{"token":"a","logProbability":-0.5}],"topCandidates":[{"candidates":[{"token":"a","logProbability":-0.5}]}]}}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"functionCall":{"partialArgs":[{"jsonPath":"$.a[0]['b']","stringValue":"x"},{"jsonPath":"$.c","numberValue":1.5},{"jsonPath":"$.d","boolValue":true}],"willContinue":true}},{"functionCall":{}}]}}]}"#,
    r#"{"promptFeedback":{"blockReason":"SAFETY","blockReasonMessage":"No."},"error":null}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":""}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2,"thoughtsTokenCount":3}}"#,
];

const ERROR: &str = r#"{"error":{"code":429,"message":"limit: 0 retry in 3s.","status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"3s","reason":"X","violations":[{"quotaId":"PerDay"}]}]}}"#;

fn events() -> String {
    CHUNKS.iter().flat_map(|chunk| ["data: ", chunk, "\r\n\r\n"]).collect()
}

fn array() -> String {
    format!("[{}\n]", CHUNKS.join("\n,\r\n"))
}

#[test]
fn mutated_bytes_end_in_an_answer_or_a_failure() {
    let mut random = Random::new(7);
    for stream in [events(), array(), format!("{}{ERROR}", events()), format!("{}\n{}", CHUNKS[0], CHUNKS[4])] {
        for _ in 0..1_500 {
            let bytes = mutated(stream.as_bytes(), &mut random);
            let size = 1 + random.below(40);
            let once = decode_stream::<Gemini>(&request(), ResponseHead::new(200), vec![bytes.clone()]);
            let cut = decode_stream::<Gemini>(&request(), ResponseHead::new(200), in_chunks(&bytes, size));
            assert_eq!(cut.events, once.events);
            assert_eq!(cut.failure.map(|failure| failure.kind), once.failure.map(|failure| failure.kind));
            let _ = decode_whole::<Gemini>(&request(), HttpResponse::new(200, bytes.clone()));
            let _ = decode_whole::<Gemini>(&request(), HttpResponse::new(400, bytes));
        }
    }
}

#[test]
fn a_member_of_another_type_is_no_panic() {
    for chunk in CHUNKS.iter().chain([&ERROR]) {
        let chunk: Value = serde_json::from_str(chunk).unwrap();
        for changed in intruded(&chunk) {
            let stream = format!("data: {}\n\ndata: {changed}\n\ndata: {}\n\n", CHUNKS[1], CHUNKS[2]);
            decode_stream::<Gemini>(&request(), ResponseHead::new(200), vec![stream.into_bytes()]);
            decode_stream::<Gemini>(&request(), ResponseHead::new(200), vec![format!("[{changed}]").into_bytes()]);
            let _ = decode_whole::<Gemini>(&request(), HttpResponse::new(200, changed.to_string()));
            let _ = decode_whole::<Gemini>(&request(), HttpResponse::new(500, changed.to_string()));
        }
    }
    let lists = [
        r#"{"embeddings":[{"values":[1,2]}],"embedding":{"values":[1]},"predictions":[{"embeddings":{"values":[1],"statistics":{"token_count":3}}}],"usageMetadata":{"promptTokenCount":1}}"#,
        r#"{"models":[{"name":"models/a","displayName":"A","inputTokenLimit":1,"outputTokenLimit":2}]}"#,
    ];
    for list in lists {
        for changed in intruded(&serde_json::from_str(list).unwrap()) {
            let response = HttpResponse::new(200, changed.to_string());
            let _ = decode_embed::<Gemini>(&EmbedRequest::new("m", vec!["x".into()]), response.clone());
            let _ = decode_list::<Gemini>("{}", vec![response]);
        }
    }
}

#[test]
fn a_body_that_never_becomes_a_chunk_is_given_up() {
    let pieces = [
        "x".repeat(100_000),
        "data: x\n".repeat(10_000),
        "x: y\n".repeat(20_000),
        format!("[{{\"a\":\"{}", "x".repeat(100_000)),
        "{\"a\":\n".repeat(10_000),
        format!("[[{}", "[".repeat(100_000)),
    ];
    for piece in pieces {
        let mut stream = decoder(&request(), &ResponseHead::new(200)).unwrap();
        let mut events = Vec::new();
        let gives_up = (0..2_000).find_map(|_| stream.push(piece.as_bytes(), &mut events).err());
        assert_eq!(gives_up.unwrap().kind, FailureKind::Protocol, "{}", &piece[..20]);
        assert!(events.is_empty());
    }
}

#[test]
fn a_call_whose_arguments_never_end_is_given_up() {
    let mut stream = decoder(&request(), &ResponseHead::new(200)).unwrap();
    let mut events = Vec::new();
    let begin = r#"data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","willContinue":true}}]}}]}"#;
    stream.push(format!("{begin}\n\n").as_bytes(), &mut events).unwrap();
    let path = ".a".repeat(60);
    let text = "x".repeat(10_000);
    let piece = json!({ "candidates": [{ "content": { "parts": [{ "functionCall": { "willContinue": true, "partialArgs": [
        { "jsonPath": format!("${path}"), "stringValue": text }, { "jsonPath": "$.list[99999999]", "numberValue": 1 } ] } }] } }] });
    let piece = format!("data: {piece}\n\n");
    let gives_up = (0..2_000).find_map(|_| stream.push(piece.as_bytes(), &mut events).err());
    assert_eq!(gives_up.unwrap().kind, FailureKind::Protocol);
    assert_eq!(events.len(), 1);
}

#[test]
fn deep_nesting_is_a_failure_and_no_overflow() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(decode_whole::<Gemini>(&request(), HttpResponse::new(200, deep.clone())).unwrap_err().kind, FailureKind::Protocol);
    for stream in [format!("[{{\"candidates\":{deep}}}]"), format!("data: {deep}\n\n"), deep.clone()] {
        let outcome = decode_stream::<Gemini>(&request(), ResponseHead::new(200), vec![stream.into_bytes()]);
        assert_eq!(outcome.failure.unwrap().kind, FailureKind::Protocol);
    }
    let request = ChatRequest { settings: deep, ..request() };
    assert_eq!(encode(&request, Mode::Whole).unwrap_err().kind, FailureKind::InvalidRequest);
}

#[test]
fn more_tool_calls_than_any_answer_has_are_left_out() {
    let mut stream = String::new();
    for at in 0..3_000 {
        let call = json!({ "functionCall": { "name": "f", "willContinue": at % 2 == 0 } });
        stream += "data: ";
        stream += &json!({ "candidates": [{ "content": { "parts": [call] } }] }).to_string();
        stream += "\n\n";
    }
    let outcome = decode_stream::<Gemini>(&request(), ResponseHead::new(200), vec![stream.into_bytes()]);
    let named = |event: &Event| matches!(event, Event::ToolCall(delta) if delta.name.is_some());
    assert_eq!(outcome.events.iter().filter(|event| named(event)).count(), 1024);
}
