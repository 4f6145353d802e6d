//! Every shape of an answer, whole and streamed.
#![allow(clippy::unwrap_used, clippy::panic)] // this is how a test fails

use pg_llm_guest::http::Headers;
use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{Outcome, decode_list, decode_stream, decode_whole, every_cut};
use pg_llm_provider_anthropic::{Anthropic, encode};

fn request() -> ChatRequest {
    ChatRequest::new("m", vec![Message::user("hello")])
}

fn schema_request() -> ChatRequest {
    let format = JsonSchemaFormat { name: "verdict".into(), schema: r#"{"type":"object"}"#.into(), strict: true };
    ChatRequest { settings: r#"{"schema_style":"tool"}"#.into(), response_format: Some(ResponseFormat::JsonSchema(format)), ..request() }
}

fn answered(status: u16, body: &str) -> Result<Answer, Failure> {
    decode_whole::<Anthropic>(&request(), HttpResponse::new(status, body))
}

fn message(content: &Value, stop_reason: &str) -> Value {
    json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": content, "stop_reason": stop_reason,
            "stop_sequence": null, "usage": { "input_tokens": 10, "output_tokens": 20 } })
}

fn whole(content: &Value, stop_reason: &str) -> Answer {
    answered(200, &message(content, stop_reason).to_string()).unwrap()
}

fn streamed_as(request: &ChatRequest, text: &str) -> Outcome {
    decode_stream::<Anthropic>(request, ResponseHead::new(200), vec![text.as_bytes().to_vec()])
}

fn streamed(text: &str) -> Outcome {
    streamed_as(&request(), text)
}

/// Events as the provider sends them: their name is their type.
fn sse(events: &[Value]) -> String {
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())).collect::<Vec<_>>().concat()
}

fn start() -> Value {
    json!({ "type": "message_start", "message": { "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": [],
            "stop_reason": null, "usage": { "input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 1 } } })
}

fn block(index: u32, block: &Value, deltas: &[Value]) -> Vec<Value> {
    let deltas = deltas.iter().map(|delta| json!({ "type": "content_block_delta", "index": index, "delta": delta }));
    let mut events = vec![json!({ "type": "content_block_start", "index": index, "content_block": block })];
    events.extend(deltas);
    events.push(json!({ "type": "content_block_stop", "index": index }));
    events
}

fn text_block(index: u32, texts: &[&str]) -> Vec<Value> {
    let deltas: Vec<Value> = texts.iter().map(|text| json!({ "type": "text_delta", "text": text })).collect();
    block(index, &json!({ "type": "text", "text": "" }), &deltas)
}

fn tool_block(index: u32, id: &str, name: &str, pieces: &[&str]) -> Vec<Value> {
    let deltas: Vec<Value> = pieces.iter().map(|piece| json!({ "type": "input_json_delta", "partial_json": piece })).collect();
    block(index, &json!({ "type": "tool_use", "id": id, "name": name, "input": {} }), &deltas)
}

fn end(stop_reason: &str) -> Vec<Value> {
    vec![
        json!({ "type": "message_delta", "delta": { "stop_reason": stop_reason, "stop_sequence": null }, "usage": { "output_tokens": 20 } }),
        json!({ "type": "message_stop" }),
    ]
}

fn stream(blocks: &[Vec<Value>], stop_reason: &str) -> String {
    let mut events = vec![start()];
    events.extend(blocks.concat());
    events.extend(end(stop_reason));
    sse(&events)
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn thinking(text: &str, signature: Option<&str>, redacted: bool) -> Part {
    Part::Thinking(Thinking { text: text.into(), signature: signature.map(str::to_owned), redacted })
}

fn call(id: &str, name: &str, arguments: &str) -> Part {
    Part::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), signature: None })
}

#[test]
fn neighbouring_texts_are_one() {
    // As citations cut them.
    let content = json!([{ "type": "text", "text": "According to " }, { "type": "text", "text": "the page", "citations": [{ "type": "char_location", "cited_text": "x" }] }, { "type": "text", "text": "." }]);
    assert_eq!(whole(&content, "end_turn").parts, [text("According to the page.")]);
    assert_eq!(whole(&json!([]), "end_turn").parts, []);
}

#[test]
fn what_ran_at_the_provider_is_no_call() {
    let content = json!([
        { "type": "text", "text": "I search." },
        { "type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": { "query": "q" } },
        { "type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [] },
        { "type": "something_newer", "text": "x" },
        { "type": "text", "text": "Found." },
    ]);
    assert_eq!(whole(&content, "end_turn").parts, [text("I search.Found.")]);
    let searched = block(
        1,
        &json!({ "type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {} }),
        &[json!({ "type": "input_json_delta", "partial_json": "{\"query\":\"q\"}" })],
    );
    let result = block(2, &json!({ "type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [] }), &[]);
    let cited = block(
        3,
        &json!({ "type": "text", "text": "", "citations": [] }),
        &[json!({ "type": "citations_delta", "citation": { "cited_text": "x" } }), json!({ "type": "text_delta", "text": "Found." })],
    );
    let outcome = streamed(&stream(&[text_block(0, &["I search."]), searched, result, cited], "end_turn"));
    assert_eq!((outcome.answer().parts, outcome.failure), (vec![text("I search.Found.")], None));
}

#[test]
fn thinking_comes_in_the_order_of_the_wire_and_its_signatures_survive_the_round_trip() {
    let signature = "EqQBCgIYAh+/==";
    let content = json!([
        { "type": "thinking", "thinking": "Hm.", "signature": signature },
        { "type": "redacted_thinking", "data": "b3BhcXVl+/=" },
        { "type": "thinking", "thinking": "", "signature": "only+signed/=" },
        { "type": "text", "text": "So:" },
        { "type": "tool_use", "id": "toolu_1", "name": "f", "input": { "b": 1, "a": [2.50, "ü"] } },
    ]);
    let answer = whole(&content, "tool_use");
    let wanted = [
        thinking("Hm.", Some(signature), false),
        thinking("", Some("b3BhcXVl+/="), true),
        thinking("", Some("only+signed/="), false),
        text("So:"),
        call("toolu_1", "f", r#"{"b":1,"a":[2.5,"ü"]}"#),
    ];
    assert_eq!(answer.parts, wanted);
    let mut next = request();
    next.messages.push(Message { role: Role::Assistant, parts: answer.parts });
    let sent: Value = serde_json::from_slice(&encode(&next, Mode::Whole).unwrap().body).unwrap();
    assert_eq!(sent["messages"][1]["content"], content);

    let blocks = [
        block(
            0,
            &json!({ "type": "thinking", "thinking": "", "signature": "" }),
            &[
                json!({ "type": "thinking_delta", "thinking": "H" }),
                json!({ "type": "thinking_delta", "thinking": "m." }),
                json!({ "type": "signature_delta", "signature": signature }),
            ],
        ),
        block(1, &json!({ "type": "redacted_thinking", "data": "b3BhcXVl+/=" }), &[]),
        block(
            2,
            &json!({ "type": "thinking", "thinking": "", "signature": "" }),
            &[json!({ "type": "signature_delta", "signature": "only+signed/=" })],
        ),
        text_block(3, &["So", ":"]),
        tool_block(4, "toolu_1", "f", &["", "{\"b\":1,\"a\":", "[2.5,\"ü\"]}"]),
    ];
    assert_eq!(streamed(&stream(&blocks, "tool_use")).answer().parts, wanted);
}

#[test]
fn signatures_of_thinking_that_is_not_shown_stay_apart_and_come_whole_however_they_are_cut() {
    let empty = json!({ "type": "thinking", "thinking": "", "signature": "" });
    let piece = |text: &str| json!({ "type": "signature_delta", "signature": text });
    let blocks = [block(0, &empty, &[piece("on"), piece("e")]), block(1, &empty, &[piece("two")]), text_block(2, &["So"])];
    let answer = streamed(&stream(&blocks, "end_turn")).answer();
    assert_eq!(answer.parts, [thinking("", Some("one"), false), thinking("", Some("two"), false), text("So")]);
}

#[test]
fn calls_in_parallel_are_told_apart_and_no_arguments_are_an_empty_object() {
    let content = json!([{ "type": "tool_use", "id": "a", "name": "f", "input": {} }, { "type": "tool_use", "id": "b", "name": "f", "input": { "x": null } }]);
    let wanted = [call("a", "f", "{}"), call("b", "f", r#"{"x":null}"#)];
    let answer = whole(&content, "tool_use");
    assert_eq!((answer.parts.as_slice(), answer.finish_reason), (&wanted[..], Some(FinishReason::ToolCalls)));
    let blocks = [tool_block(0, "a", "f", &[""]), tool_block(1, "b", "f", &["{\"x\"", ":null}"])];
    let outcome = streamed(&stream(&blocks, "tool_use"));
    assert_eq!((outcome.answer().parts.as_slice(), outcome.answer().finish_reason), (&wanted[..], Some(FinishReason::ToolCalls)));
    // Interleaved, and with all of the input in the first word of a block.
    let mixed = [
        vec![
            json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "tool_use", "id": "a", "name": "f", "input": {} } }),
        ],
        vec![
            json!({ "type": "content_block_start", "index": 1, "content_block": { "type": "tool_use", "id": "b", "name": "f", "input": { "x": null } } }),
        ],
        vec![json!({ "type": "content_block_delta", "index": 1, "delta": { "type": "input_json_delta", "partial_json": "{\"x\":null}" } })],
        vec![json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "input_json_delta", "partial_json": "{}" } })],
        vec![json!({ "type": "content_block_stop", "index": 1 })],
        vec![json!({ "type": "content_block_stop", "index": 0 })],
    ];
    assert_eq!(streamed(&stream(&mixed, "tool_use")).answer().parts, wanted);
}

#[test]
fn the_input_of_the_tool_that_stands_for_a_schema_is_the_answer() {
    let content = json!([{ "type": "tool_use", "id": "a", "name": "verdict", "input": { "ok": true } }]);
    let body = message(&content, "tool_use").to_string();
    let answer = decode_whole::<Anthropic>(&schema_request(), HttpResponse::new(200, body)).unwrap();
    assert_eq!((answer.parts, answer.finish_reason), (vec![text(r#"{"ok":true}"#)], Some(FinishReason::Stop)));
    let chunks = stream(&[tool_block(0, "a", "verdict", &["{\"ok\":", "true}"])], "tool_use");
    let answer = streamed_as(&schema_request(), &chunks).answer();
    assert_eq!((answer.parts, answer.finish_reason), (vec![text(r#"{"ok":true}"#)], Some(FinishReason::Stop)));
    // A call of another tool beside it is one.
    let content = json!([{ "type": "tool_use", "id": "a", "name": "f", "input": {} }]);
    let body = message(&content, "tool_use").to_string();
    let answer = decode_whole::<Anthropic>(&schema_request(), HttpResponse::new(200, body)).unwrap();
    assert_eq!((answer.parts, answer.finish_reason), (vec![call("a", "f", "{}")], Some(FinishReason::ToolCalls)));
}

#[test]
fn each_reason_to_stop_has_its_meaning() {
    for (word, meaning) in [
        ("end_turn", FinishReason::Stop),
        ("stop_sequence", FinishReason::Stop),
        ("max_tokens", FinishReason::Length),
        ("model_context_window_exceeded", FinishReason::Length),
        ("tool_use", FinishReason::ToolCalls),
        ("refusal", FinishReason::ContentFilter),
        ("pause_turn", FinishReason::Other("pause_turn".into())),
    ] {
        assert_eq!(whole(&json!([]), word).finish_reason, Some(meaning.clone()));
        assert_eq!(streamed(&stream(&[text_block(0, &["a"])], word)).answer().finish_reason, Some(meaning));
    }
}

#[test]
fn usage_counts_the_cache_as_input() {
    let usage = json!({ "input_tokens": 4, "cache_creation_input_tokens": 426, "cache_read_input_tokens": 14210, "output_tokens": 290, "output_tokens_details": { "thinking_tokens": 15 } });
    let mut body = message(&json!([]), "end_turn");
    body["usage"] = usage.clone();
    let wanted = Usage {
        input_tokens: Some(14640),
        output_tokens: Some(290),
        cached_tokens: Some(14210),
        cache_write_tokens: Some(426),
        reasoning_tokens: Some(15),
        raw: Some(usage.to_string()),
    };
    assert_eq!(answered(200, &body.to_string()).unwrap().usage, Some(wanted));
    body["usage"] = json!({ "input_tokens": "many", "output_tokens": -1, "cache_read_input_tokens": 3 });
    let odd = answered(200, &body.to_string()).unwrap().usage.unwrap();
    assert_eq!((odd.input_tokens, odd.output_tokens, odd.cached_tokens), (None, None, Some(3)));
    body["usage"] = json!(null);
    assert_eq!(answered(200, &body.to_string()).unwrap().usage, None);
}

#[test]
fn of_a_stream_the_last_count_is_laid_over_the_first() {
    let usage = streamed(&stream(&[text_block(0, &["a"])], "end_turn")).answer().usage.unwrap();
    assert_eq!((usage.input_tokens, usage.cached_tokens, usage.output_tokens), (Some(15), Some(5), Some(20)));
    let mut events = vec![start()];
    events.push(json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "input_tokens": 100, "cache_read_input_tokens": null, "output_tokens": 7, "output_tokens_details": { "thinking_tokens": 3 } } }));
    events.push(json!({ "type": "message_stop" }));
    let usage = streamed(&sse(&events)).answer().usage.unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens, usage.reasoning_tokens), (Some(105), Some(7), Some(3)));
}

#[test]
fn a_ping_and_what_nobody_knows_is_passed_over() {
    let mut events = vec![json!({ "type": "ping" }), start(), json!({ "type": "ping" })];
    events.push(json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "hologram", "data": [1] } }));
    events.push(json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "hologram_delta", "text": "x" } }));
    events.push(json!({ "type": "content_block_stop", "index": 0 }));
    events.push(json!({ "type": "weather_report", "text": "rain" }));
    events.extend(text_block(1, &["Hi"]));
    events.extend(end("end_turn"));
    let outcome = streamed(&format!(": hello\n\nid: 7\nretry: 100\n\n{}", sse(&events)));
    assert_eq!((outcome.answer().parts, outcome.failure), (vec![text("Hi")], None));
}

#[test]
fn a_stream_begins_with_the_names_of_answer_and_model() {
    let events = streamed(&stream(&[text_block(0, &["Hi"])], "end_turn")).events;
    assert_eq!(events[0], Event::Started(Started { id: Some("msg_1".into()), model: Some("claude-x".into()) }));
    assert_eq!(events.last(), Some(&Event::Finish(FinishReason::Stop)));
}

#[test]
fn a_stream_that_ends_before_a_reason_to_stop_is_broken_off() {
    let complete = stream(&[text_block(0, &["Hello"])], "end_turn");
    for text in [
        complete.clone(),
        complete.replace("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", ""),
        complete.trim_end().to_owned(),
        complete.replace("data: ", "data:").replace('\n', "\r\n"),
        // Without names of events, and with a word of other formats at the end.
        complete.lines().filter(|line| !line.starts_with("event:")).collect::<Vec<_>>().join("\n") + "\n\ndata: [DONE]\n\n",
    ] {
        let outcome = streamed(&text);
        assert_eq!((outcome.answer().text().as_str(), outcome.failure.clone()), ("Hello", None), "{text}");
    }
    let mut cut = vec![start()];
    cut.extend(text_block(0, &["Hello"]));
    for text in [sse(&cut), sse(&cut) + "event: message_delta\ndata: {\"type\":", sse(&cut) + "data: [DONE]\n\n"] {
        let outcome = streamed(&text);
        assert_eq!((outcome.answer().text().as_str(), outcome.failure.unwrap().kind), ("Hello", FailureKind::Broken));
    }
    assert_eq!(streamed("").failure.unwrap().kind, FailureKind::Broken);
    assert_eq!(streamed("data: {\"half\n\n").failure.unwrap().kind, FailureKind::Protocol);
    assert_eq!(streamed("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n").failure.unwrap().kind, FailureKind::Protocol);
    cut.push(json!({ "type": "message_stop" }));
    assert_eq!(streamed(&sse(&cut)).answer().finish_reason, Some(FinishReason::Other("message_stop".into())));
}

#[test]
fn an_error_in_the_middle_of_a_stream_comes_after_what_was_said_before_it() {
    let mut events = vec![start()];
    events.extend(text_block(0, &["Hello"]));
    for (error, kind, words) in [
        (
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_7"}"#,
            FailureKind::Overloaded,
            "Overloaded",
        ),
        (
            r#"{"type":"error","error":{"type":"api_error","message":"Internal server error"}}"#,
            FailureKind::Server,
            "Internal server error",
        ),
        (r#"{"type":"error","error":{"type":"rate_limit_error","message":"Slow down"}}"#, FailureKind::RateLimit, "Slow down"),
        (r#"{"message":"Broke."}"#, FailureKind::Server, "Broke."),
        ("Broke.", FailureKind::Server, "Broke."),
    ] {
        let outcome = streamed(&format!("{}event: error\ndata: {error}\n\n", sse(&events)));
        assert_eq!(outcome.answer().text(), "Hello");
        let failure = outcome.failure.unwrap();
        assert_eq!((failure.kind, failure.message.as_str(), failure.status), (kind, words, Some(200)), "{error}");
    }
    let outcome = streamed(
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"},\"request_id\":\"req_7\"}\n\n",
    );
    let failure = outcome.failure.unwrap();
    assert_eq!((failure.request_id.as_deref(), failure.code.as_deref()), (Some("req_7"), Some("overloaded_error")));
}

#[test]
fn errors_have_the_kind_that_their_type_and_words_say() {
    let kind = |status: u16, of_type: &str, message: &str| {
        answered(status, &json!({ "type": "error", "error": { "type": of_type, "message": message } }).to_string()).unwrap_err().kind
    };
    for (status, of_type, wanted) in [
        (400, "invalid_request_error", FailureKind::InvalidRequest),
        (401, "authentication_error", FailureKind::Authentication),
        (402, "billing_error", FailureKind::Quota),
        (403, "permission_error", FailureKind::Permission),
        (404, "not_found_error", FailureKind::NotFound),
        (413, "request_too_large", FailureKind::InvalidRequest),
        (429, "rate_limit_error", FailureKind::RateLimit),
        (500, "api_error", FailureKind::Server),
        (504, "timeout_error", FailureKind::Timeout),
        (529, "overloaded_error", FailureKind::Overloaded),
        (500, "overloaded_error", FailureKind::Overloaded),
        (500, "something_newer", FailureKind::Server),
    ] {
        assert_eq!(kind(status, of_type, "x"), wanted, "{of_type}");
    }
    let invalid = |message: &str| kind(400, "invalid_request_error", message);
    assert_eq!(invalid("prompt is too long: 3 tokens > 2 maximum"), FailureKind::ContextLength);
    assert_eq!(invalid("input length and `max_tokens` exceed context limit: 2 + 1 > 2"), FailureKind::ContextLength);
    assert_eq!(invalid("Your credit balance is too low to access the Anthropic API."), FailureKind::Quota);
    assert_eq!(invalid("Output blocked by content filtering policy"), FailureKind::ContentFilter);
    assert_eq!(answered(529, "").unwrap_err().kind, FailureKind::Overloaded);
    assert_eq!(answered(502, "<html>bad gateway</html>").unwrap_err().kind, FailureKind::Server);
    assert_eq!(answered(402, r#"{"error":{"type":"billing_error","message":"x"}}"#).unwrap_err().retryable, Some(false));
}

#[test]
fn an_error_carries_the_providers_words_and_hints() {
    let headers: Headers = [("request-id", "req_1"), ("retry-after", "2"), ("x-should-retry", "true")].into_iter().collect();
    let body = r#"{"type":"error","error":{"type":"rate_limit_error","message":"Slow down."},"request_id":"req_2"}"#;
    let response = HttpResponse { head: ResponseHead { status: 429, headers }, body: body.into() };
    let failure = decode_whole::<Anthropic>(&request(), response).unwrap_err();
    let wanted = Failure {
        kind: FailureKind::RateLimit,
        status: Some(429),
        code: Some("rate_limit_error".into()),
        message: "Slow down.".into(),
        retry_after_ms: Some(2000),
        retryable: Some(true),
        request_id: Some("req_1".into()),
        raw: Some(body.into()),
    };
    assert_eq!(failure, wanted);
    assert_eq!(answered(429, body).unwrap_err().request_id.as_deref(), Some("req_2"));
}

#[test]
fn what_is_no_answer_is_a_failure_with_the_beginning_of_the_body() {
    for body in [
        "",
        "<html></html>",
        "{\"content\": [",
        "[]",
        "null",
        "42",
        "{}",
        "{\"content\": null}",
        "{\"content\": \"x\"}",
        "{\"choices\": []}",
    ] {
        let failure = answered(200, body).unwrap_err();
        assert_eq!((failure.kind, failure.status), (FailureKind::Protocol, Some(200)), "{body}");
        assert_eq!(failure.raw.as_deref(), (!body.is_empty()).then_some(body));
    }
    let failure = answered(200, r#"{"type":"error","error":{"type":"overloaded_error","message":"Busy."}}"#).unwrap_err();
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Overloaded, "Busy."));
}

#[test]
fn a_server_that_answers_a_stream_as_a_whole_is_understood() {
    let content = json!([
        { "type": "thinking", "thinking": "Hm.", "signature": "s" },
        { "type": "redacted_thinking", "data": "r" },
        { "type": "text", "text": "Hello" },
        { "type": "tool_use", "id": "a", "name": "f", "input": { "x": 1 } },
    ]);
    let body = message(&content, "tool_use");
    let outcome = streamed(&format!("{body:#}"));
    let mut answer = whole(&content, "tool_use");
    answer.raw = None;
    assert_eq!((outcome.answer(), outcome.failure), (answer, None));
    let error = streamed(r#"{"type":"error","error":{"type":"authentication_error","message":"No."}}"#).failure.unwrap();
    assert_eq!((error.kind, error.message.as_str()), (FailureKind::Authentication, "No."));
    assert_eq!(streamed("<html>busy</html>").failure.unwrap().kind, FailureKind::Protocol);
}

#[test]
fn the_pages_of_the_list_of_models_are_put_together() {
    let page = |id: &str, more: bool| {
        let model = json!({ "type": "model", "id": id, "display_name": "A Model", "created_at": "2026-01-01T00:00:00Z", "max_input_tokens": 200_000, "max_tokens": 64_000 });
        HttpResponse::new(200, json!({ "data": [model, { "type": "model" }], "has_more": more, "first_id": id, "last_id": id }).to_string())
    };
    let models = decode_list::<Anthropic>("{}", vec![page("claude-a", true), page("claude-b", false)]).unwrap();
    assert_eq!(models.iter().map(|model| model.id.as_str()).collect::<Vec<_>>(), ["claude-a", "claude-b"]);
    let first = &models[0];
    assert_eq!(
        (first.display_name.as_deref(), first.context_window, first.max_output_tokens),
        (Some("A Model"), Some(200_000), Some(64_000))
    );
    let refused = HttpResponse::new(402, r#"{"type":"error","error":{"type":"billing_error","message":"Pay."}}"#);
    assert_eq!(decode_list::<Anthropic>("{}", vec![refused]).unwrap_err().kind, FailureKind::Quota);
    for body in ["{}", "[]", "{\"data\":{}}"] {
        assert_eq!(decode_list::<Anthropic>("{}", vec![HttpResponse::new(200, body)]).unwrap_err().kind, FailureKind::Protocol);
    }
}

#[test]
fn the_events_are_the_same_however_the_bytes_are_cut() {
    let blocks = [
        block(
            0,
            &json!({ "type": "thinking", "thinking": "", "signature": "" }),
            &[json!({ "type": "thinking_delta", "thinking": "grübel" }), json!({ "type": "signature_delta", "signature": "sig" })],
        ),
        text_block(1, &["Grüße 🦀"]),
        tool_block(2, "a", "f", &["{\"k\":", "\"ä\"}"]),
    ];
    let text = format!("\u{FEFF}: hello\r\n\r\n{}", stream(&blocks, "tool_use"));
    let once = streamed(&text);
    assert_eq!(once.failure, None);
    assert_eq!(once.events.len(), 10, "{:?}", once.events);
    for pieces in every_cut(text.as_bytes()) {
        assert_eq!(decode_stream::<Anthropic>(&request(), ResponseHead::new(200), pieces), once);
    }
}
