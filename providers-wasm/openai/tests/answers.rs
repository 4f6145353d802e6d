//! Every shape of an answer, whole and streamed.
#![allow(clippy::unwrap_used, clippy::panic)] // this is how a test fails

use pg_llm_guest::http::Headers;
use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{Outcome, decode_stream, decode_whole, every_cut};
use pg_llm_provider_openai::OpenAi;

fn request() -> ChatRequest {
    ChatRequest::new("m", vec![Message::user("hello")])
}

fn whole(body: &Value) -> Result<Answer, Failure> {
    answered(200, &body.to_string())
}

fn answered(status: u16, body: &str) -> Result<Answer, Failure> {
    decode_whole::<OpenAi>(&request(), HttpResponse::new(status, body))
}

fn message(message: &Value) -> Answer {
    whole(&json!({ "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }] })).unwrap()
}

/// A stream of these chunks, ended by `[DONE]`.
fn sse(chunks: &[Value]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).chain(["data: [DONE]\n\n".to_owned()]).collect()
}

fn streamed(text: &str) -> Outcome {
    decode_stream::<OpenAi>(&request(), ResponseHead::new(200), vec![text.as_bytes().to_vec()])
}

fn delta(delta: &Value) -> Value {
    json!({ "id": "c", "model": "m", "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] })
}

fn end(reason: &str) -> Value {
    json!({ "id": "c", "model": "m", "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] })
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn thinking(text: &str) -> Part {
    Part::Thinking(Thinking { text: text.to_owned(), signature: None, redacted: false })
}

fn call(id: &str, name: &str, arguments: &str) -> Part {
    Part::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), signature: None })
}

#[test]
fn content_is_a_text_or_a_list_of_parts() {
    assert_eq!(message(&json!({ "content": "hi" })).parts, [text("hi")]);
    assert_eq!(message(&json!({ "content": "" })).parts, []);
    let parts = json!([{ "type": "thinking", "thinking": [{ "type": "text", "text": "hm" }] }, { "type": "text", "text": "a" }, { "type": "reference", "reference_ids": [1] }, { "type": "text", "text": "b" }]);
    assert_eq!(message(&json!({ "content": parts })).parts, [thinking("hm"), text("ab")]);
}

#[test]
fn a_message_without_content_is_an_answer_only_with_a_reason() {
    let ended = |reason: &str| whole(&json!({ "choices": [{ "index": 0, "message": { "content": null }, "finish_reason": reason }] }));
    assert_eq!(ended("stop").unwrap_err().kind, FailureKind::Protocol);
    assert_eq!(whole(&json!({ "choices": [{ "message": { "content": null } }] })).unwrap_err().kind, FailureKind::Protocol);
    for reason in ["length", "content_filter"] {
        assert_eq!(ended(reason).unwrap().parts, []);
    }
    assert_eq!(message(&json!({ "content": null, "reasoning": "hm" })).parts, [thinking("hm")]);
}

#[test]
fn a_stream_without_content_is_an_answer_only_with_a_reason() {
    let failed = |text: &str| streamed(text).failure.map(|failure| failure.kind);
    let role = delta(&json!({ "role": "assistant", "content": null }));
    for nothing in [vec![role.clone(), end("stop")], vec![end("stop")], vec![role.clone()]] {
        assert_eq!(failed(&sse(&nothing)), Some(FailureKind::Protocol), "{nothing:?}");
    }
    let filters = json!({ "id": "", "model": "", "choices": [], "prompt_filter_results": [{ "prompt_index": 0 }] });
    for something in [
        vec![role.clone(), end("length")],
        vec![role.clone(), end("content_filter")],
        vec![filters, delta(&json!({ "role": "assistant", "content": "" })), end("stop")],
        vec![role.clone(), delta(&json!({ "reasoning": "hm" })), end("stop")],
        vec![
            role,
            delta(&json!({ "tool_calls": [{ "index": 0, "id": "a", "function": { "name": "f", "arguments": "{}" } }] })),
            end("stop"),
        ],
    ] {
        assert_eq!(failed(&sse(&something)), None, "{something:?}");
    }
}

#[test]
fn thinking_has_two_names_and_is_not_said_twice() {
    assert_eq!(message(&json!({ "content": "a", "reasoning_content": "hm" })).parts, [thinking("hm"), text("a")]);
    assert_eq!(message(&json!({ "content": "a", "reasoning": "hm" })).parts, [thinking("hm"), text("a")]);
    assert_eq!(message(&json!({ "content": "a", "reasoning": "hm", "reasoning_content": "hm" })).parts, [thinking("hm"), text("a")]);
}

#[test]
fn a_refusal_is_what_the_model_said() {
    assert_eq!(message(&json!({ "content": null, "refusal": "No." })).parts, [text("No.")]);
    let chunks = [delta(&json!({ "content": null, "refusal": "N" })), delta(&json!({ "refusal": "o." })), end("stop")];
    assert_eq!(streamed(&sse(&chunks)).answer().parts, [text("No.")]);
}

#[test]
fn tool_calls_come_with_arguments_as_text_or_as_object_and_with_an_id_or_without() {
    let calls = json!({ "content": null, "tool_calls": [
        { "id": "x", "type": "function", "function": { "name": "f", "arguments": "{\"a\": 1}" } },
        { "function": { "name": "g", "arguments": { "b": [2] } } },
        { "function": { "name": "h" }, "extra_content": { "google": { "thought_signature": "sig" } } },
    ]});
    let parts = message(&calls).parts;
    assert_eq!(parts[..2], [call("x", "f", "{\"a\": 1}"), call("call_1", "g", "{\"b\":[2]}")]);
    assert_eq!(
        parts[2],
        Part::ToolCall(ToolCall { id: "call_2".into(), name: "h".into(), arguments: String::new(), signature: Some("sig".into()) })
    );
}

#[test]
fn pieces_of_tool_calls_are_told_apart() {
    let piece = |call: Value| delta(&json!({ "tool_calls": [call] }));
    let by_index = [
        piece(json!({ "index": 0, "id": "a", "function": { "name": "f", "arguments": "" } })),
        piece(json!({ "index": 0, "function": { "arguments": "{\"x\"" } })),
        piece(json!({ "index": 1, "id": "b", "function": { "name": "g", "arguments": "{}" } })),
        piece(json!({ "index": 0, "id": "a", "function": { "name": "f", "arguments": ":1}" } })),
        end("tool_calls"),
    ];
    assert_eq!(streamed(&sse(&by_index)).answer().parts, [call("a", "f", "{\"x\":1}"), call("b", "g", "{}")]);
    // All of them 0, or none at all: a new id is a new call.
    for index in [json!(0), json!(null)] {
        let by_id = [
            piece(json!({ "index": index, "id": "a", "function": { "name": "f", "arguments": "{}" } })),
            piece(json!({ "index": index, "id": "b", "function": { "name": "g", "arguments": "{" } })),
            piece(json!({ "index": index, "id": "", "function": { "name": null, "arguments": "}" } })),
            end("tool_calls"),
        ];
        assert_eq!(streamed(&sse(&by_id)).answer().parts, [call("a", "f", "{}"), call("b", "g", "{}")]);
    }
}

#[test]
fn a_tool_call_may_come_whole_with_the_finish_reason() {
    let calls = json!([{ "index": 0, "id": "a", "function": { "name": "f", "arguments": "{}" } }]);
    let chunk = json!({ "id": "c", "choices": [{ "index": 0, "delta": { "tool_calls": calls }, "finish_reason": "tool_calls" }], "usage": { "prompt_tokens": 1, "completion_tokens": 2 } });
    let outcome = streamed(&sse(&[chunk]));
    assert_eq!(outcome.answer().parts, [call("a", "f", "{}")]);
    assert_eq!(outcome.answer().finish_reason, Some(FinishReason::ToolCalls));
    assert_eq!(outcome.answer().usage.unwrap().output_tokens, Some(2));
}

#[test]
fn of_several_choices_the_first_counts() {
    let choice = |index: u32, content: &str| json!({ "index": index, "message": { "content": content }, "finish_reason": "stop" });
    assert_eq!(whole(&json!({ "choices": [choice(1, "b"), choice(0, "a")] })).unwrap().parts, [text("a")]);
    let piece = |index: u32, content: &str, finish: Value| json!({ "id": "c", "choices": [{ "index": index, "delta": { "content": content }, "finish_reason": finish }] });
    let chunks = [piece(0, "a", json!(null)), piece(1, "x", json!(null)), piece(1, "y", json!("length")), piece(0, "b", json!("stop"))];
    let answer = streamed(&sse(&chunks)).answer();
    assert_eq!((answer.parts, answer.finish_reason), (vec![text("ab")], Some(FinishReason::Stop)));
}

#[test]
fn usage_is_counted_alike_for_all() {
    let usage = |wire: Value| {
        let raw = wire.to_string();
        let usage = whole(&json!({ "choices": [{ "message": { "content": "a" } }], "usage": wire })).unwrap().usage.unwrap();
        assert_eq!(usage.raw, Some(raw));
        (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens)
    };
    let openai = json!({ "prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30, "prompt_tokens_details": { "cached_tokens": 4 }, "completion_tokens_details": { "reasoning_tokens": 5 } });
    assert_eq!(usage(openai), (Some(10), Some(20), Some(4), Some(5)));
    let xai =
        json!({ "prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 35, "completion_tokens_details": { "reasoning_tokens": 5 } });
    assert_eq!(usage(xai), (Some(10), Some(25), None, Some(5)));
    let deepseek = json!({ "prompt_tokens": 10, "completion_tokens": 20, "prompt_cache_hit_tokens": 6, "prompt_cache_miss_tokens": 4 });
    assert_eq!(usage(deepseek), (Some(10), Some(20), Some(6), None));
    assert_eq!(usage(json!({ "prompt_tokens": 10, "cached_tokens": 3 })), (Some(10), None, Some(3), None));
    assert_eq!(usage(json!({ "prompt_tokens": "many", "completion_tokens": -1 })), (None, None, None, None));
    assert_eq!(whole(&json!({ "choices": [{ "message": { "content": "a" } }], "usage": null })).unwrap().usage, None);
}

#[test]
fn log_probabilities_come_with_their_alternatives() {
    let logprobs =
        json!({ "content": [{ "token": "hi", "logprob": -0.1, "top_logprobs": [{ "token": "ho", "logprob": -2.5 }] }, { "token": 1 }] });
    let wanted = [TokenLogprob { token: "hi".into(), logprob: -0.1, alternatives: vec![TopLogprob { token: "ho".into(), logprob: -2.5 }] }];
    let body = json!({ "choices": [{ "message": { "content": "hi" }, "logprobs": logprobs }] });
    assert_eq!(whole(&body).unwrap().logprobs, wanted);
    let chunk =
        json!({ "id": "c", "choices": [{ "index": 0, "delta": { "content": "hi" }, "logprobs": logprobs, "finish_reason": "stop" }] });
    assert_eq!(streamed(&sse(&[chunk])).answer().logprobs, wanted);
}

#[test]
fn what_is_no_answer_is_a_failure_with_the_beginning_of_the_body() {
    for body in [
        "",
        "   ",
        "<html><body>busy</body></html>",
        "{\"choices\": [",
        "[]",
        "null",
        "42",
        "\"hi\"",
        "{}",
        "{\"choices\": []}",
        "{\"choices\": {}}",
        "{\"choices\": [{}]}",
        "{\"choices\": [{\"index\": 1, \"message\": {}}]}",
    ] {
        let failure = answered(200, body).unwrap_err();
        assert_eq!((failure.kind, failure.status), (FailureKind::Protocol, Some(200)), "{body}");
        assert_eq!(failure.raw.as_deref(), (!body.is_empty()).then_some(body));
    }
    assert!(answered(200, "<html>").unwrap_err().message.contains("HTML"));
    let long = "x".repeat(100_000);
    assert_eq!(answered(200, &long).unwrap_err().raw.unwrap().len(), 16 * 1024);
}

#[test]
fn an_error_under_status_200_is_a_failure() {
    let failure = whole(&json!({ "error": { "message": "Busy.", "type": "overloaded_error", "code": 529 } })).unwrap_err();
    assert_eq!((failure.kind, failure.message.as_str(), failure.code.as_deref()), (FailureKind::Overloaded, "Busy.", Some("529")));
    assert_eq!(whole(&json!({ "error": "Nope." })).unwrap_err().message, "Nope.");
    let mistral = whole(&json!({ "object": "error", "message": "Bad.", "type": "invalid_request_error" })).unwrap_err();
    assert_eq!((mistral.kind, mistral.message.as_str()), (FailureKind::InvalidRequest, "Bad."));
    let in_choice =
        whole(&json!({ "choices": [{ "error": { "code": 502, "message": "Upstream." }, "message": { "content": "" } }] })).unwrap_err();
    assert_eq!((in_choice.kind, in_choice.message.as_str()), (FailureKind::Server, "Upstream."));
}

#[test]
fn an_error_in_the_middle_of_a_stream_comes_after_what_was_said_before_it() {
    let hello = delta(&json!({ "content": "Hello" }));
    for error in [
        format!("data: {hello}\n\ndata: {{\"error\":{{\"message\":\"Broke.\",\"type\":\"server_error\"}}}}\n\ndata: [DONE]\n\n"),
        format!("data: {hello}\n\nevent: error\ndata: {{\"message\":\"Broke.\"}}\n\n"),
        format!("data: {hello}\n\nevent: error\ndata: Broke.\n\n"),
    ] {
        let outcome = streamed(&error);
        assert_eq!(outcome.answer().text(), "Hello");
        let failure = outcome.failure.unwrap();
        assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Server, "Broke."), "{error}");
    }
}

#[test]
fn a_stream_ends_with_done_or_with_its_body_after_a_finish_reason() {
    let hello = delta(&json!({ "content": "Hello" }));
    let complete = [hello.clone(), end("stop")];
    for text in [
        sse(&complete),
        sse(&complete).replace("data: [DONE]\n\n", ""),
        sse(&complete).trim_end().to_owned(),
        sse(&complete).replace("data: ", "data:").replace('\n', "\r\n"),
    ] {
        let outcome = streamed(&text);
        assert_eq!(
            (outcome.answer().text().as_str(), outcome.answer().finish_reason, outcome.failure.clone()),
            ("Hello", Some(FinishReason::Stop), None),
            "{text}"
        );
    }
    let cut = streamed(&format!("data: {hello}\n\n"));
    assert_eq!(cut.failure.unwrap().kind, FailureKind::Broken);
    let cut_in_the_middle = streamed(&format!("data: {hello}\n\ndata: {{\"id\":"));
    assert_eq!(cut_in_the_middle.failure.unwrap().kind, FailureKind::Broken);
    assert_eq!(streamed("").failure.unwrap().kind, FailureKind::Broken);
    assert_eq!(streamed("data: [DONE]\n\n").failure.unwrap().kind, FailureKind::Protocol);
    assert_eq!(streamed("data: {\"half\n\n").failure.unwrap().kind, FailureKind::Protocol);
    let without_reason = streamed(&sse(&[hello]));
    assert_eq!((without_reason.failure, without_reason.events.last()), (None, Some(&Event::Finish(FinishReason::Other("[DONE]".into())))));
}

#[test]
fn a_server_that_answers_a_stream_as_a_whole_is_understood() {
    let answer = json!({ "id": "c", "model": "m", "choices": [{ "message": { "content": "Hello", "tool_calls": [{ "id": "x", "function": { "name": "f", "arguments": "{}" } }] }, "finish_reason": "stop" }], "usage": { "prompt_tokens": 1 } });
    let outcome = streamed(&format!("{answer:#}"));
    assert_eq!((outcome.answer().parts, outcome.failure), (vec![text("Hello"), call("x", "f", "{}")], None));
    let error = streamed("{\"error\":{\"message\":\"No.\",\"code\":\"invalid_api_key\"}}").failure.unwrap();
    assert_eq!((error.kind, error.message.as_str()), (FailureKind::Authentication, "No."));
    assert_eq!(streamed("<html>busy</html>").failure.unwrap().kind, FailureKind::Protocol);
}

#[test]
fn errors_have_the_kind_that_their_code_and_words_say() {
    let kind = |status: u16, body: &str| answered(status, body).unwrap_err().kind;
    let error =
        |code: &str, message: &str| json!({ "error": { "message": message, "type": "invalid_request_error", "code": code } }).to_string();
    assert_eq!(kind(400, &error("context_length_exceeded", "x")), FailureKind::ContextLength);
    assert_eq!(
        kind(400, &error("invalid_request_error", "This model's maximum context length is 100 tokens.")),
        FailureKind::ContextLength
    );
    assert_eq!(kind(400, &error("content_filter", "x")), FailureKind::ContentFilter);
    assert_eq!(kind(400, &error("DataInspectionFailed", "Output data may contain inappropriate content.")), FailureKind::ContentFilter);
    assert_eq!(kind(400, &error("data_inspection_failed", "x")), FailureKind::ContentFilter);
    assert_eq!(kind(400, &error("unsupported_parameter", "x")), FailureKind::InvalidRequest);
    assert_eq!(kind(401, "{}"), FailureKind::Authentication);
    assert_eq!(kind(402, "{\"error\":{\"message\":\"Insufficient Balance\"}}"), FailureKind::Quota);
    assert_eq!(kind(403, "{}"), FailureKind::Permission);
    assert_eq!(kind(404, &error("model_not_found", "x")), FailureKind::NotFound);
    assert_eq!(kind(429, &error("rate_limit_exceeded", "x")), FailureKind::RateLimit);
    assert_eq!(kind(429, &error("insufficient_quota", "You exceeded your current quota.")), FailureKind::Quota);
    assert_eq!(kind(500, "<html>"), FailureKind::Server);
    assert_eq!(kind(503, ""), FailureKind::Overloaded);
    assert_eq!(kind(302, ""), FailureKind::Protocol);
}

#[test]
fn a_quota_is_not_tried_again_unless_the_endpoint_means_a_throttle() {
    let body =
        json!({ "error": { "message": "You exceeded your current quota.", "type": "insufficient_quota", "code": "insufficient_quota" } })
            .to_string();
    let failure = answered(429, &body).unwrap_err();
    assert_eq!((failure.kind, failure.retryable), (FailureKind::Quota, Some(false)));
    let qwen = ChatRequest { settings: r#"{"quota_is_throttle":true}"#.into(), ..request() };
    let failure = decode_whole::<OpenAi>(&qwen, HttpResponse::new(429, body)).unwrap_err();
    assert_eq!((failure.kind, failure.retryable), (FailureKind::RateLimit, None));
}

#[test]
fn an_error_carries_the_providers_words_and_hints() {
    let headers: Headers = [("x-request-id", "req_1"), ("retry-after", "2"), ("x-should-retry", "true")].into_iter().collect();
    let body = r#"{"error":{"message":"Slow down.","type":"requests","code":null}}"#;
    let response = HttpResponse { head: ResponseHead { status: 429, headers }, body: body.into() };
    let failure = decode_whole::<OpenAi>(&request(), response).unwrap_err();
    let wanted = Failure {
        kind: FailureKind::RateLimit,
        status: Some(429),
        code: Some("requests".into()),
        message: "Slow down.".into(),
        retry_after_ms: Some(2000),
        retryable: Some(true),
        request_id: Some("req_1".into()),
        raw: Some(body.into()),
    };
    assert_eq!(failure, wanted);
}

#[test]
fn the_events_are_the_same_however_the_bytes_are_cut() {
    let chunks = [
        json!({ "id": "", "model": "", "choices": [], "prompt_filter_results": [] }),
        delta(&json!({ "role": "assistant", "content": "" })),
        delta(&json!({ "reasoning_content": "grübel" })),
        delta(&json!({ "content": "Grüße 🦀" })),
        delta(&json!({ "tool_calls": [{ "index": 0, "id": "a", "function": { "name": "f", "arguments": "{\"k\":\"ä\"}" } }] })),
        end("tool_calls"),
        json!({ "id": "c", "model": "m", "choices": [], "usage": { "prompt_tokens": 1, "completion_tokens": 2 } }),
    ];
    let text = format!("\u{FEFF}: hello\r\n\r\n{}", sse(&chunks));
    let once = streamed(&text);
    assert_eq!(once.failure, None);
    assert_eq!(once.events.len(), 6, "{:?}", once.events);
    for pieces in every_cut(text.as_bytes()) {
        assert_eq!(decode_stream::<OpenAi>(&request(), ResponseHead::new(200), pieces), once);
    }
}
