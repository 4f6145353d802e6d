//! No bytes make the decoders panic or grow without bound, however they are cut.
#![allow(clippy::unwrap_used)] // this is how a test fails

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::mutation::{Random, intruded, mutated};
use pg_llm_guest::testing::{decode_embed, decode_list, decode_rerank, decode_stream, decode_whole, in_chunks};
use pg_llm_provider_openai::{OpenAi, decoder};

fn request() -> ChatRequest {
    ChatRequest::new("m", vec![Message::user("hello")])
}

const STREAM: &str = concat!(
    r#"data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"Grüße 🦀"},"finish_reason":null,"logprobs":{"content":[{"token":"a","logprob":-0.5,"top_logprobs":[]}]}}]}"#,
    "\n\n",
    r#"data: {"id":"c","choices":[{"index":0,"delta":{"content":[{"type":"text","text":"b"}],"reasoning_content":"hm","tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":"{}"}}]}}]}"#,
    "\r\n\r\n",
    r#"data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#,
    "\n\ndata: [DONE]\n\n",
);

#[test]
fn mutated_bytes_end_in_an_answer_or_a_failure() {
    let mut random = Random::new(7);
    for _ in 0..3_000 {
        let bytes = mutated(STREAM.as_bytes(), &mut random);
        let size = 1 + random.below(40);
        let once = decode_stream::<OpenAi>(&request(), ResponseHead::new(200), vec![bytes.clone()]);
        let cut = decode_stream::<OpenAi>(&request(), ResponseHead::new(200), in_chunks(&bytes, size));
        assert_eq!(cut.events, once.events);
        assert_eq!(cut.failure.map(|failure| failure.kind), once.failure.map(|failure| failure.kind));
        let _ = decode_whole::<OpenAi>(&request(), HttpResponse::new(200, bytes.clone()));
        let _ = decode_whole::<OpenAi>(&request(), HttpResponse::new(400, bytes));
    }
}

#[test]
fn a_member_of_another_type_is_no_panic() {
    let chunks = STREAM.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    for chunk in chunks {
        for changed in intruded(&chunk) {
            let stream = format!("data: {changed}\n\ndata: [DONE]\n\n");
            decode_stream::<OpenAi>(&request(), ResponseHead::new(200), vec![stream.into_bytes()]);
            let _ = decode_whole::<OpenAi>(&request(), HttpResponse::new(200, changed.to_string()));
            let _ = decode_whole::<OpenAi>(&request(), HttpResponse::new(500, changed.to_string()));
        }
    }
}

#[test]
fn a_body_that_never_becomes_an_event_is_given_up() {
    for piece in ["x".repeat(100_000), "{\"a\":\n".repeat(10_000), "data: x\n".repeat(10_000)] {
        let mut stream = decoder(&request(), &ResponseHead::new(200)).unwrap();
        let mut events = Vec::new();
        let gives_up = (0..2_000).find_map(|_| stream.push(piece.as_bytes(), &mut events).err());
        assert_eq!(gives_up.unwrap().kind, FailureKind::Protocol);
    }
}

const RESPONSES: &str = concat!(
    r#"data: {"type":"response.created","response":{"id":"r","model":"m","status":"in_progress"}}"#,
    "\n\n",
    r#"data: {"type":"response.reasoning_summary_text.delta","output_index":0,"delta":"hm"}"#,
    "\n\n",
    r#"data: {"type":"response.output_item.done","output_index":0,"item":{"type":"reasoning","id":"rs","summary":[],"encrypted_content":"x"}}"#,
    "\n\n",
    r#"data: {"type":"response.output_text.delta","output_index":1,"delta":"Grüße 🦀","logprobs":[{"token":"a","logprob":-0.5,"top_logprobs":[]}]}"#,
    "\n\n",
    r#"data: {"type":"response.output_item.added","output_index":2,"item":{"type":"function_call","call_id":"c","name":"f","arguments":""}}"#,
    "\n\n",
    r#"data: {"type":"response.function_call_arguments.delta","output_index":2,"delta":"{}"}"#,
    "\n\n",
    r#"data: {"type":"response.completed","response":{"id":"r","model":"m","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"b"}]}],"usage":{"input_tokens":1,"output_tokens":2}}}"#,
    "\n\n",
);

#[test]
fn a_member_of_another_type_is_no_panic_in_responses() {
    let request = ChatRequest { settings: r#"{"api":"responses"}"#.into(), ..request() };
    let lines: Vec<&str> = RESPONSES.lines().filter(|line| !line.is_empty()).collect();
    for (at, line) in lines.iter().enumerate() {
        let event: Value = serde_json::from_str(line.strip_prefix("data: ").unwrap()).unwrap();
        for changed in intruded(&event) {
            let mut all: Vec<String> = lines.iter().map(|line| format!("{line}\n\n")).collect();
            all[at] = format!("data: {changed}\n\n");
            decode_stream::<OpenAi>(&request, ResponseHead::new(200), vec![all.concat().into_bytes()]);
            let response = changed.get("response").unwrap_or(&changed).to_string();
            let _ = decode_whole::<OpenAi>(&request, HttpResponse::new(200, response));
        }
    }
}

#[test]
fn more_items_than_any_response_has_are_left_out() {
    let request = ChatRequest { settings: r#"{"api":"responses"}"#.into(), ..request() };
    let begin = |at: usize| {
        let item = json!({ "type": "function_call", "call_id": format!("id{at}"), "name": "f", "arguments": "" });
        format!("data: {}\n\n", json!({ "type": "response.output_item.added", "output_index": at, "item": item }))
    };
    let stream: String = (0..3_000).map(begin).collect::<Vec<_>>().concat();
    let outcome = decode_stream::<OpenAi>(&request, ResponseHead::new(200), vec![stream.into_bytes()]);
    assert_eq!(outcome.events.iter().filter(|event| matches!(event, Event::ToolCall(_))).count(), 1024);
}

#[test]
fn a_member_of_another_type_is_no_panic_in_vectors_rankings_and_models() {
    let embeddings = json!({ "model": "m", "data": [{ "index": 0, "embedding": "AACAPw==" }, { "index": 1, "embedding": [1.5] }], "usage": { "prompt_tokens": 1 } });
    let ranking = json!({ "model": "m", "results": [{ "index": 1, "relevance_score": 0.5 }, { "index": 0, "relevance_score": 0.25 }], "usage": { "total_tokens": 1 } });
    let models = json!({ "data": [{ "id": "a", "name": "A", "context_length": 1, "top_provider": { "max_completion_tokens": 1 } }] });
    let request = EmbedRequest::new("m", vec!["a".into(), "b".into()]);
    for changed in intruded(&embeddings) {
        let _ = decode_embed::<OpenAi>(&request, HttpResponse::new(200, changed.to_string()));
    }
    let request = RerankRequest::new("m", "q", vec!["a".into(), "b".into()]);
    for changed in intruded(&ranking) {
        let _ = decode_rerank::<OpenAi>(&request, HttpResponse::new(200, changed.to_string()));
    }
    for changed in intruded(&models) {
        let _ = decode_list::<OpenAi>("{}", vec![HttpResponse::new(200, changed.to_string())]);
    }
}

#[test]
fn deep_nesting_is_a_failure_and_no_overflow() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(decode_whole::<OpenAi>(&request(), HttpResponse::new(200, deep.clone())).unwrap_err().kind, FailureKind::Protocol);
    let request = ChatRequest { settings: deep, ..request() };
    assert_eq!(pg_llm_provider_openai::encode(&request, Mode::Whole).unwrap_err().kind, FailureKind::InvalidRequest);
}

#[test]
fn more_tool_calls_than_any_answer_has_are_left_out() {
    let piece = |index: usize| {
        let call = json!({ "index": index, "id": format!("id{index}"), "function": { "name": "f", "arguments": "{}" } });
        format!("data: {}\n\n", json!({ "id": "c", "choices": [{ "index": 0, "delta": { "tool_calls": [call] } }] }))
    };
    let stream: String = (0..3_000).map(piece).collect();
    let outcome = decode_stream::<OpenAi>(&request(), ResponseHead::new(200), vec![stream.into_bytes()]);
    assert!(outcome.events.iter().filter(|event| matches!(event, Event::ToolCall(_))).count() <= 1024);
}
