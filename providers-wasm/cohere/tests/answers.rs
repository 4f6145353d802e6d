//! Every shape of an answer, whole and streamed.
#![allow(clippy::unwrap_used, clippy::panic)] // this is how a test fails

use pg_llm_guest::http::Headers;
use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{Outcome, decode_embed, decode_list, decode_rerank, decode_stream, decode_whole, every_cut};
use pg_llm_provider_cohere::{Cohere, TOOL_PLAN, encode};

fn request() -> ChatRequest {
    ChatRequest::new("m", vec![Message::user("hello")])
}

fn answered(status: u16, body: &str) -> Result<Answer, Failure> {
    decode_whole::<Cohere>(&request(), HttpResponse::new(status, body))
}

fn whole(body: &Value) -> Result<Answer, Failure> {
    answered(200, &body.to_string())
}

fn message(message: &Value) -> Answer {
    whole(&json!({ "id": "r", "message": message, "finish_reason": "COMPLETE" })).unwrap()
}

/// A stream of these events, without the `[DONE]` that not every one has.
fn sse(events: &[Value]) -> String {
    events
        .iter()
        .flat_map(|event| ["event: ", event["type"].as_str().unwrap_or("x"), "\ndata: ", &event.to_string(), "\n\n"].map(str::to_owned))
        .collect()
}

fn streamed(text: &str) -> Outcome {
    decode_stream::<Cohere>(&request(), ResponseHead::new(200), vec![text.as_bytes().to_vec()])
}

fn start() -> Value {
    json!({ "type": "message-start", "id": "r", "delta": { "message": { "role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": [] } } })
}

fn delta(kind: &str, index: u32, message: &Value) -> Value {
    json!({ "type": kind, "index": index, "delta": { "message": message } })
}

fn says(text: &str) -> Value {
    delta("content-delta", 0, &json!({ "content": { "text": text } }))
}

fn end(reason: &str) -> Value {
    json!({ "type": "message-end", "delta": { "finish_reason": reason, "usage": usage() } })
}

fn usage() -> Value {
    json!({ "billed_units": { "input_tokens": 3, "output_tokens": 4 }, "tokens": { "input_tokens": 503, "output_tokens": 14.0, "reasoning_tokens": 9 }, "cached_tokens": 480 })
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn thinking(text: &str, signature: Option<&str>) -> Part {
    Part::Thinking(Thinking { text: text.to_owned(), signature: signature.map(str::to_owned), redacted: false })
}

fn call(id: &str, name: &str, arguments: &str) -> Part {
    Part::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), signature: None })
}

#[test]
fn content_is_a_list_of_text_and_thinking() {
    let parts = json!([{ "type": "thinking", "thinking": "hm" }, { "type": "text", "text": "a" }, { "type": "text", "text": "b" }, { "type": "new" }]);
    let answer = message(&json!({ "role": "assistant", "content": parts, "citations": [{ "start": 0, "end": 1, "text": "a" }] }));
    assert_eq!((answer.id.as_deref(), answer.parts), (Some("r"), vec![thinking("hm", None), text("ab")]));
    assert!(answer.raw.unwrap().contains("citations"));
    assert_eq!(message(&json!({ "content": "hi" })).parts, [text("hi")]);
    for empty in [json!({ "content": [] }), json!({ "content": null }), json!({ "content": "" }), json!({})] {
        assert_eq!(message(&empty).parts, []);
    }
}

#[test]
fn a_plan_is_thinking_that_is_signed_and_goes_back_as_a_plan() {
    let wire = json!({ "role": "assistant", "tool_plan": "I will ask.", "tool_calls": [
        { "id": "a", "type": "function", "function": { "name": "f", "arguments": "{\"x\": 1}" } },
        { "id": "b", "type": "function", "function": { "name": "g", "arguments": "{}" } },
    ]});
    let parts = message(&wire).parts;
    assert_eq!(parts, [thinking("I will ask.", Some(TOOL_PLAN)), call("a", "f", "{\"x\": 1}"), call("b", "g", "{}")]);
    let events = [
        start(),
        delta("tool-plan-delta", 0, &json!({ "tool_plan": "I will" })),
        delta("tool-plan-delta", 0, &json!({ "tool_plan": " ask." })),
        delta(
            "tool-call-start",
            0,
            &json!({ "tool_calls": { "id": "a", "type": "function", "function": { "name": "f", "arguments": "" } } }),
        ),
        delta("tool-call-delta", 0, &json!({ "tool_calls": { "function": { "arguments": "{\"x\"" } } })),
        delta("tool-call-delta", 0, &json!({ "tool_calls": { "function": { "arguments": ": 1}" } } })),
        json!({ "type": "tool-call-end", "index": 0 }),
        delta(
            "tool-call-start",
            1,
            &json!({ "tool_calls": { "id": "b", "type": "function", "function": { "name": "g", "arguments": "{}" } } }),
        ),
        json!({ "type": "tool-call-end", "index": 1 }),
        end("TOOL_CALL"),
    ];
    let answer = streamed(&sse(&events)).answer();
    assert_eq!((&answer.parts, answer.finish_reason), (&parts, Some(FinishReason::ToolCalls)));
    let next = ChatRequest { messages: vec![Message::user("go"), Message { role: Role::Assistant, parts }], ..request() };
    let body: Value = serde_json::from_slice(&encode(&next, Mode::Whole).unwrap().body).unwrap();
    assert_eq!(body["messages"][1], wire);
}

#[test]
fn thinking_goes_back_as_it_came() {
    let wire = json!({ "role": "assistant", "content": [{ "type": "thinking", "thinking": "hm" }, { "type": "text", "text": "a" }] });
    let next = ChatRequest { messages: vec![Message { role: Role::Assistant, parts: message(&wire).parts }], ..request() };
    let body: Value = serde_json::from_slice(&encode(&next, Mode::Whole).unwrap().body).unwrap();
    assert_eq!(body["messages"][0], wire);
}

#[test]
fn tool_calls_without_arguments_or_id_are_calls() {
    let calls = json!({ "tool_calls": [
        { "id": "a", "function": { "name": "f", "arguments": "null" } },
        { "function": { "name": "g", "arguments": { "b": [2] } } },
        { "id": "c", "function": { "name": "h" } },
    ]});
    assert_eq!(message(&calls).parts, [call("a", "f", "{}"), call("call_1", "g", "{\"b\":[2]}"), call("c", "h", "")]);
}

#[test]
fn pieces_of_tool_calls_are_told_apart_by_their_index() {
    let begin = |index: u32, id: &str| delta("tool-call-start", index, &json!({ "tool_calls": { "id": id, "function": { "name": id } } }));
    let piece = |index: u32, piece: &str| delta("tool-call-delta", index, &json!({ "tool_calls": { "function": { "arguments": piece } } }));
    let events = [begin(0, "a"), begin(1, "b"), piece(0, "{\"x\":"), piece(1, "{}"), piece(0, "1}"), piece(7, "lost"), end("TOOL_CALL")];
    assert_eq!(streamed(&sse(&events)).answer().parts, [call("a", "a", "{\"x\":1}"), call("b", "b", "{}")]);
}

#[test]
fn a_stream_of_thinking_and_text_is_put_together_and_citations_are_left_out() {
    let events = [
        start(),
        delta("content-start", 0, &json!({ "content": { "type": "thinking", "thinking": "" } })),
        delta("content-delta", 0, &json!({ "content": { "thinking": "h" } })),
        delta("content-delta", 0, &json!({ "content": { "thinking": "m" } })),
        json!({ "type": "content-end", "index": 0 }),
        delta("content-start", 1, &json!({ "content": { "type": "text", "text": "He" } })),
        delta("content-delta", 1, &json!({ "content": { "text": "llo" } })),
        delta("citation-start", 0, &json!({ "citations": { "start": 0, "end": 5, "text": "Hello", "sources": [] } })),
        json!({ "type": "citation-end", "index": 0 }),
        json!({ "type": "debug", "prompt": "..." }),
        json!({ "type": "content-end", "index": 1 }),
        end("COMPLETE"),
    ];
    let outcome = streamed(&format!("{}data: [DONE]\n\n", sse(&events)));
    assert_eq!(outcome.failure, None);
    let answer = outcome.answer();
    assert_eq!((answer.id.as_deref(), answer.parts), (Some("r"), vec![thinking("hm", None), text("Hello")]));
    assert_eq!((answer.finish_reason, answer.usage.unwrap().output_tokens), (Some(FinishReason::Stop), Some(14)));
}

#[test]
fn the_finish_reason_is_the_providers_word() {
    let finish = |reason: &str| {
        let body = json!({ "message": { "content": "a" }, "finish_reason": reason });
        let whole = whole(&body).unwrap().finish_reason.unwrap();
        let streamed = streamed(&sse(&[says("a"), end(reason)]));
        assert_eq!((streamed.answer().finish_reason, streamed.failure), (Some(whole.clone()), None));
        whole
    };
    assert_eq!(finish("COMPLETE"), FinishReason::Stop);
    assert_eq!(finish("STOP_SEQUENCE"), FinishReason::Stop);
    assert_eq!(finish("MAX_TOKENS"), FinishReason::Length);
    assert_eq!(finish("TOOL_CALL"), FinishReason::ToolCalls);
    assert_eq!(finish("ERROR_TOXIC"), FinishReason::ContentFilter);
    assert_eq!(finish("USER_CANCEL"), FinishReason::Other("USER_CANCEL".into()));
    assert_eq!(
        streamed(&sse(&[says("a"), json!({ "type": "message-end" })])).answer().finish_reason,
        Some(FinishReason::Other("message-end".into()))
    );
}

#[test]
fn a_generation_that_failed_is_no_answer() {
    for (reason, kind) in [("ERROR", FailureKind::Server), ("TIMEOUT", FailureKind::Timeout)] {
        let body = json!({ "id": "r", "message": { "role": "assistant", "content": [{ "type": "text", "text": "Hel" }] }, "finish_reason": reason });
        let failure = whole(&body).unwrap_err();
        assert!(failure.kind == kind && failure.message.contains(reason), "{failure:?}");
        let outcome = streamed(&sse(&[start(), says("Hel"), end(reason)]));
        assert_eq!(outcome.answer().text(), "Hel");
        assert_eq!((outcome.answer().finish_reason.clone(), outcome.answer().usage.unwrap().input_tokens), (None, Some(503)));
        assert_eq!(outcome.failure.unwrap().kind, kind);
    }
    let with_words = json!({ "type": "message-end", "delta": { "finish_reason": "ERROR", "error": "too many tokens: it is too long" } });
    let failure = streamed(&sse(&[start(), with_words])).failure.unwrap();
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::ContextLength, "too many tokens: it is too long"));
}

#[test]
fn usage_is_what_was_counted_and_not_what_is_billed() {
    let usage_of =
        |wire: Value| whole(&json!({ "message": { "content": "a" }, "finish_reason": "COMPLETE", "usage": wire })).unwrap().usage;
    let all = usage_of(usage()).unwrap();
    assert_eq!((all.input_tokens, all.output_tokens, all.cached_tokens, all.reasoning_tokens), (Some(503), Some(14), Some(480), Some(9)));
    assert_eq!(all.raw, Some(usage().to_string()));
    let billed = usage_of(json!({ "billed_units": { "input_tokens": 3 } })).unwrap();
    assert_eq!((billed.input_tokens, billed.output_tokens, billed.cached_tokens), (Some(3), None, None));
    assert_eq!(usage_of(json!({})), None);
    assert_eq!(usage_of(json!(null)), None);
}

#[test]
fn log_probabilities_are_of_pieces_of_text() {
    let piece = |text: &str, numbers: Value| json!({ "text": text, "token_ids": [1], "logprobs": numbers });
    let wanted = |token: &str, logprob| TokenLogprob { token: token.into(), logprob, alternatives: Vec::new() };
    let body = json!({ "message": { "content": "hi" }, "logprobs": [piece("hi", json!([-0.5])), piece(" ho", json!([-0.25, -0.25])), piece("x", json!([])), piece("y", json!(["z"]))] });
    assert_eq!(whole(&body).unwrap().logprobs, [wanted("hi", -0.5), wanted(" ho", -0.5)]);
    let mut event = says("hi");
    event["logprobs"] = piece("hi", json!([-0.5]));
    assert_eq!(streamed(&sse(&[event, end("COMPLETE")])).answer().logprobs, [wanted("hi", -0.5)]);
}

#[test]
fn what_is_no_answer_is_a_failure_with_the_beginning_of_the_body() {
    for body in ["", "   ", "<html><body>busy</body></html>", "{\"message\": ", "[]", "null", "42", "\"hi\"", "{}", "{\"message\": []}"] {
        let failure = answered(200, body).unwrap_err();
        assert_eq!((failure.kind, failure.status), (FailureKind::Protocol, Some(200)), "{body}");
        assert_eq!(failure.raw.as_deref(), (!body.is_empty()).then_some(body));
    }
    assert!(answered(200, "<html>").unwrap_err().message.contains("HTML"));
    assert_eq!(streamed("<html>busy</html>").failure.unwrap().kind, FailureKind::Protocol);
}

#[test]
fn an_error_under_status_200_is_a_failure() {
    let failure = whole(&json!({ "id": "e", "message": "Something broke." })).unwrap_err();
    assert_eq!(
        (failure.kind, failure.message.as_str(), failure.request_id.as_deref()),
        (FailureKind::Server, "Something broke.", Some("e"))
    );
    assert_eq!(whole(&json!({ "error": { "message": "Nope." } })).unwrap_err().message, "Nope.");
    assert_eq!(whole(&json!({ "message": "invalid request: no" })).unwrap_err().kind, FailureKind::InvalidRequest);
    assert_eq!(streamed("{\"message\":\"trial token rate limit exceeded\"}").failure.unwrap().kind, FailureKind::RateLimit);
}

#[test]
fn an_error_in_the_middle_of_a_stream_comes_after_what_was_said_before_it() {
    let hello = sse(&[start(), says("Hello")]);
    for error in [
        "data: {\"message\":\"Broke.\"}\n\n",
        "data: {\"type\":\"error\",\"message\":\"Broke.\"}\n\n",
        "data: {\"error\":\"Broke.\"}\n\n",
        "event: error\ndata: {\"detail\":\"Broke.\"}\n\n",
        "event: error\ndata: Broke.\n\n",
        "data: {\"type\":\"message-end\",\"delta\":{\"error\":\"Broke.\"}}\n\n",
    ] {
        let outcome = streamed(&format!("{hello}{error}data: [DONE]\n\n"));
        assert_eq!(outcome.answer().text(), "Hello");
        let failure = outcome.failure.unwrap();
        assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Server, "Broke."), "{error}");
    }
}

#[test]
fn a_stream_ends_with_message_end_and_with_nothing_else() {
    let complete = sse(&[start(), says("Hello"), end("COMPLETE")]);
    for text in [
        complete.clone(),
        complete.trim_end().to_owned(),
        format!("{complete}data: [DONE]"),
        complete.replace(": ", ":").replace('\n', "\r\n"),
    ] {
        let outcome = streamed(&text);
        assert_eq!(
            (outcome.answer().text().as_str(), outcome.answer().finish_reason, outcome.failure),
            ("Hello", Some(FinishReason::Stop), None),
            "{text}"
        );
    }
    let begun = sse(&[start(), says("Hello")]);
    for (text, kind) in [
        (begun.clone(), FailureKind::Broken),
        (format!("{begun}data: {{\"type\":"), FailureKind::Broken),
        (format!("{begun}data: [DONE]\n\n"), FailureKind::Broken),
        (format!("{begun}data: {{\"type\":\n\n"), FailureKind::Protocol),
        (String::new(), FailureKind::Broken),
    ] {
        assert_eq!(streamed(&text).failure.unwrap().kind, kind, "{text}");
    }
}

#[test]
fn a_server_that_answers_a_stream_as_a_whole_is_understood() {
    let body = json!({ "id": "r", "message": { "content": [{ "type": "text", "text": "Hello" }], "tool_plan": "I will.", "tool_calls": [{ "id": "x", "function": { "name": "f", "arguments": "{}" } }] }, "finish_reason": "TOOL_CALL", "usage": usage() });
    let outcome = streamed(&format!("{body:#}"));
    assert_eq!(
        (outcome.answer().parts, outcome.failure),
        (vec![text("Hello"), thinking("I will.", Some(TOOL_PLAN)), call("x", "f", "{}")], None)
    );
}

#[test]
fn errors_have_the_kind_that_their_status_and_words_say() {
    let failure = |status: u16, words: &str| answered(status, &json!({ "id": "e", "message": words }).to_string()).unwrap_err();
    let kind = |status: u16, words: &str| failure(status, words).kind;
    assert_eq!(kind(400, "invalid request: temperature must be between 0 and 1.0 inclusive."), FailureKind::InvalidRequest);
    assert_eq!(kind(400, "too many tokens: size limit exceeded by 5 tokens."), FailureKind::ContextLength);
    assert_eq!(kind(400, "too many tokens: max tokens must be less than or equal to 4096"), FailureKind::InvalidRequest);
    assert_eq!(kind(401, "invalid api token"), FailureKind::Authentication);
    assert_eq!(kind(403, "no"), FailureKind::Permission);
    assert_eq!(kind(404, "model 'x' not found"), FailureKind::NotFound);
    assert_eq!(kind(422, "no"), FailureKind::InvalidRequest);
    assert_eq!(kind(429, "You are using a Trial key, which is limited to 20 API calls / minute."), FailureKind::RateLimit);
    assert_eq!(kind(498, "deny-listed token"), FailureKind::ContentFilter);
    assert_eq!(kind(499, "request cancelled"), FailureKind::Server);
    assert_eq!(kind(500, "internal server error"), FailureKind::Server);
    assert_eq!(kind(501, "not implemented"), FailureKind::Unsupported);
    assert_eq!(kind(503, "busy"), FailureKind::Overloaded);
    assert_eq!(kind(504, "late"), FailureKind::Timeout);
    assert_eq!(answered(500, "<html>").unwrap_err().kind, FailureKind::Server);
    // What waiting does not cure.
    for (status, words) in
        [(429, "You are using a Trial key, which is limited to 1000 API calls / month."), (402, "Maximum billing reached for this API key")]
    {
        let failure = failure(status, words);
        assert_eq!((failure.kind, failure.retryable), (FailureKind::Quota, Some(false)));
    }
}

#[test]
fn an_error_carries_the_providers_words_and_hints() {
    let headers: Headers = [("retry-after", "2")].into_iter().collect();
    let body = r#"{"id":"req_1","error_type":"SLOW_DOWN","message":"Please wait and try again later"}"#;
    let failure =
        decode_whole::<Cohere>(&request(), HttpResponse { head: ResponseHead { status: 429, headers }, body: body.into() }).unwrap_err();
    let wanted = Failure {
        kind: FailureKind::RateLimit,
        status: Some(429),
        code: Some("SLOW_DOWN".into()),
        message: "Please wait and try again later".into(),
        retry_after_ms: Some(2000),
        retryable: None,
        request_id: Some("req_1".into()),
        raw: Some(body.into()),
    };
    assert_eq!(failure, wanted);
}

#[test]
fn the_events_are_the_same_however_the_bytes_are_cut() {
    let events = [
        start(),
        delta("content-delta", 0, &json!({ "content": { "thinking": "grübel" } })),
        says("Grüße 🦀"),
        delta("tool-plan-delta", 0, &json!({ "tool_plan": "Plän" })),
        delta("tool-call-start", 0, &json!({ "tool_calls": { "id": "a", "function": { "name": "f", "arguments": "{\"k\":\"ä\"}" } } })),
        end("TOOL_CALL"),
    ];
    let text = format!("\u{FEFF}: hello\r\n\r\n{}data: [DONE]\n\n", sse(&events));
    let once = streamed(&text);
    assert_eq!(once.failure, None);
    assert_eq!(once.events.len(), 8, "{:?}", once.events);
    for pieces in every_cut(text.as_bytes()) {
        assert_eq!(decode_stream::<Cohere>(&request(), ResponseHead::new(200), pieces), once);
    }
}

#[test]
fn embeddings_are_one_vector_an_input() {
    let embed = |inputs: usize, status: u16, body: Value| {
        let request = EmbedRequest::new("m", vec!["x".to_owned(); inputs]);
        decode_embed::<Cohere>(&request, HttpResponse::new(status, body.to_string()))
    };
    let body = json!({ "id": "e", "embeddings": { "float": [[0.5, -1], [0, 1e-3]] }, "texts": ["x", "x"], "meta": { "api_version": { "version": "2" }, "billed_units": { "input_tokens": 4 } } });
    let answer = embed(2, 200, body).unwrap();
    assert_eq!((answer.vectors, answer.usage.unwrap().input_tokens), (vec![vec![0.5, -1.0], vec![0.0, 0.001]], Some(4)));
    assert_eq!(embed(1, 200, json!({ "embeddings": { "float": null, "int8": [[1, -2]] } })).unwrap_err().kind, FailureKind::Protocol);
    assert_eq!(embed(1, 200, json!({ "embeddings": { "int8": [[1, -2]] } })).unwrap().vectors, [[1.0, -2.0]]);
    assert_eq!(embed(1, 200, json!({ "embeddings": [[1.0]] })).unwrap().vectors, [[1.0]]);
    for wrong in [
        json!({}),
        json!({ "embeddings": {} }),
        json!({ "embeddings": { "float": [[1.0], [1.0]] } }),
        json!({ "embeddings": { "float": [["x"]] } }),
        json!({ "embeddings": { "base64": ["AAAA"] } }),
    ] {
        assert_eq!(embed(1, 200, wrong.clone()).unwrap_err().kind, FailureKind::Protocol, "{wrong}");
    }
    assert_eq!(embed(1, 200, json!({ "message": "invalid request: no" })).unwrap_err().kind, FailureKind::InvalidRequest);
    assert_eq!(embed(1, 400, json!({ "message": "too many tokens: too long" })).unwrap_err().kind, FailureKind::ContextLength);
}

#[test]
fn a_ranking_is_of_the_documents_that_were_sent() {
    let rerank = |status: u16, body: Value| {
        let request = RerankRequest::new("m", "q", vec!["a".to_owned(), "b".to_owned()]);
        decode_rerank::<Cohere>(&request, HttpResponse::new(status, body.to_string()))
    };
    let body = json!({ "id": "k", "results": [{ "index": 1, "relevance_score": 0.25 }, { "index": 0, "relevance_score": 0.75 }], "meta": { "billed_units": { "search_units": 1 } } });
    let answer = rerank(200, body).unwrap();
    let ranked: Vec<_> = answer.results.iter().map(|ranked| (ranked.index, ranked.score)).collect();
    assert_eq!(ranked, [(0, 0.75), (1, 0.25)]);
    let usage = answer.usage.unwrap();
    assert!(usage.input_tokens.is_none() && usage.raw.unwrap().contains("search_units"));
    for wrong in [
        json!({}),
        json!({ "results": {} }),
        json!({ "results": [{ "index": 0 }] }),
        json!({ "results": [{ "index": 2, "relevance_score": 1 }] }),
    ] {
        assert_eq!(rerank(200, wrong.clone()).unwrap_err().kind, FailureKind::Protocol, "{wrong}");
    }
    assert_eq!(rerank(404, json!({ "message": "model 'm' not found" })).unwrap_err().kind, FailureKind::NotFound);
    assert_eq!(rerank(200, json!({ "message": "Broke." })).unwrap_err().message, "Broke.");
}

#[test]
fn models_are_listed_over_all_pages() {
    let page = |body: Value| HttpResponse::new(200, body.to_string());
    let first = json!({ "models": [{ "name": "command-a", "endpoints": ["chat"], "context_length": 288_000.0 }, { "endpoints": [] }], "next_page_token": "2" });
    let last = json!({ "models": [{ "name": "embed-v4.0", "context_length": 0 }], "next_page_token": "" });
    let models = decode_list::<Cohere>("{}", vec![page(first), page(last)]).unwrap();
    let told: Vec<_> = models.iter().map(|model| (model.id.as_str(), model.context_window)).collect();
    assert_eq!(told, [("command-a", Some(288_000)), ("embed-v4.0", None)]);
    assert!(models[0].raw.as_ref().unwrap().contains("endpoints"));
    assert_eq!(decode_list::<Cohere>("{}", vec![page(json!({}))]).unwrap_err().kind, FailureKind::Protocol);
    let refused = HttpResponse::new(401, "{\"message\":\"invalid api token\"}");
    assert_eq!(decode_list::<Cohere>("{}", vec![refused]).unwrap_err().kind, FailureKind::Authentication);
}
