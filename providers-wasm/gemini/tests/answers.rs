//! Every shape of an answer, whole and streamed.
#![allow(clippy::unwrap_used, clippy::panic)] // this is how a test fails

use pg_llm_guest::http::Headers;
use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{Outcome, decode_embed, decode_list, decode_stream, decode_whole, every_cut};
use pg_llm_provider_gemini::{Gemini, encode};

fn request() -> ChatRequest {
    ChatRequest::new("m", vec![Message::user("hello")])
}

fn answered(status: u16, body: &str) -> Result<Answer, Failure> {
    decode_whole::<Gemini>(&request(), HttpResponse::new(status, body))
}

fn whole(body: &Value) -> Result<Answer, Failure> {
    answered(200, &body.to_string())
}

fn chunk(parts: &Value) -> Value {
    json!({ "candidates": [{ "content": { "role": "model", "parts": parts }, "index": 0 }], "modelVersion": "m-1", "responseId": "r" })
}

fn end(reason: &str) -> Value {
    json!({ "candidates": [{ "content": { "parts": [{ "text": "" }] }, "finishReason": reason }] })
}

fn done(parts: &Value, reason: &str) -> Value {
    json!({ "candidates": [{ "content": { "parts": parts }, "finishReason": reason }] })
}

fn parts(parts: &Value) -> Vec<Part> {
    whole(&done(parts, "STOP")).unwrap().parts
}

fn sse(chunks: &[Value]) -> String {
    chunks.iter().flat_map(|chunk| ["data: ".to_owned(), chunk.to_string(), "\r\n\r\n".to_owned()]).collect()
}

fn streamed(text: &str) -> Outcome {
    decode_stream::<Gemini>(&request(), ResponseHead::new(200), vec![text.as_bytes().to_vec()])
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn thinking(text: &str, signature: Option<&str>) -> Part {
    Part::Thinking(Thinking { text: text.to_owned(), signature: signature.map(str::to_owned), redacted: false })
}

fn call(id: &str, name: &str, arguments: &str, signature: Option<&str>) -> Part {
    Part::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), signature: signature.map(str::to_owned) })
}

#[test]
fn parts_are_text_thinking_and_calls_and_keep_their_order() {
    let wire = json!([
        { "text": "Let me", "thought": true },
        { "text": " think.", "thought": true, "thoughtSignature": "s1" },
        { "text": "One" },
        { "text": " moment.", "thoughtSignature": "s2" },
        { "functionCall": { "name": "f", "args": { "b": 1, "a": [2] } }, "thoughtSignature": "s3" },
        { "functionCall": { "name": "g", "id": "fc" } },
        { "text": "!" },
        { "text": "Signed.", "thought": true, "thoughtSignature": "s4" },
        { "text": "Not signed.", "thought": true },
    ]);
    let wanted = [
        thinking("Let me think.", Some("s1")),
        text("One moment."),
        thinking("", Some("s2")),
        call("call-0", "f", r#"{"b":1,"a":[2]}"#, Some("s3")),
        call("fc", "g", "{}", None),
        text("!"),
        thinking("Signed.", Some("s4")),
        thinking("Not signed.", None),
    ];
    assert_eq!(parts(&wire), wanted);
}

#[test]
fn what_the_wire_has_beyond_that_is_left_to_the_raw_response() {
    let wire = json!([
        { "executableCode": { "language": "PYTHON", "code": "1" }, "thoughtSignature": "s" },
        { "codeExecutionResult": { "outcome": "OUTCOME_OK", "output": "1" } },
        { "inlineData": { "mimeType": "image/png", "data": "AAAA" } },
        { "text": "one" },
        {},
    ]);
    assert_eq!(parts(&wire), [text("one")]);
    assert!(whole(&done(&wire, "STOP")).unwrap().raw.unwrap().contains("executableCode"));
}

#[test]
fn a_stream_says_what_the_whole_answer_says() {
    let chunks = [
        chunk(&json!([{ "text": "Let me", "thought": true }])),
        chunk(&json!([{ "text": " think.", "thought": true, "thoughtSignature": "s1" }])),
        chunk(&json!([{ "text": "Grü" }])),
        chunk(&json!([{ "text": "ße 🦀" }])),
        chunk(
            &json!([{ "functionCall": { "name": "f", "args": { "k": "ä" } }, "thoughtSignature": "s2" }, { "functionCall": { "name": "f" } }]),
        ),
        end("STOP"),
        json!({ "usageMetadata": { "promptTokenCount": 5, "candidatesTokenCount": 7, "thoughtsTokenCount": 2 } }),
    ];
    let wanted = [
        thinking("Let me think.", Some("s1")),
        text("Grüße 🦀"),
        call("call-0", "f", r#"{"k":"ä"}"#, Some("s2")),
        call("call-1", "f", "{}", None),
    ];
    let of_stream = streamed(&sse(&chunks));
    assert_eq!(of_stream.failure, None);
    for answer in [of_stream.answer(), whole(&Value::from(chunks.to_vec())).unwrap()] {
        assert_eq!(answer.parts, wanted);
        assert_eq!(answer.finish_reason, Some(FinishReason::ToolCalls));
        assert_eq!((answer.id.as_deref(), answer.model.as_deref()), (Some("r"), Some("m-1")));
        assert_eq!(answer.usage.unwrap().output_tokens, Some(9));
    }
}

#[test]
fn a_signature_survives_the_way_there_and_back() {
    let wire = json!([
        { "text": "hm", "thought": true, "thoughtSignature": "s1" },
        { "text": "One", "thoughtSignature": "s2" },
        { "functionCall": { "id": "fc", "name": "f", "args": {} }, "thoughtSignature": "s3" },
        { "functionCall": { "name": "g", "args": {} } },
    ]);
    let spoken = streamed(&sse(&[chunk(&wire), end("STOP")])).answer().parts;
    assert_eq!(spoken, parts(&wire));
    let mut request = request();
    request.messages.push(Message { role: Role::Assistant, parts: spoken });
    let sent: Value = serde_json::from_slice(&encode(&request, Mode::Whole).unwrap().body).unwrap();
    assert_eq!(sent["contents"][1]["parts"], wire);
    // In a stream the signature of a text may come by itself.
    let late = streamed(&sse(&[
        chunk(&json!([{ "text": "On" }])),
        chunk(&json!([{ "text": "e" }])),
        chunk(&json!([{ "text": "", "thoughtSignature": "s" }])),
        end("STOP"),
    ]));
    request.messages[1].parts = late.answer().parts;
    let sent: Value = serde_json::from_slice(&encode(&request, Mode::Whole).unwrap().body).unwrap();
    assert_eq!(sent["contents"][1]["parts"], json!([{ "text": "One", "thoughtSignature": "s" }]));
}

#[test]
fn signatures_never_run_into_each_other() {
    let chunks = [
        chunk(&json!([{ "text": "a", "thoughtSignature": "s" }])),
        chunk(&json!([{ "functionCall": { "name": "f" } }])),
        chunk(&json!([{ "text": "", "thoughtSignature": "t" }])),
        end("STOP"),
    ];
    let wanted = [text("a"), thinking("", Some("s")), call("call-0", "f", "{}", None)];
    assert_eq!(streamed(&sse(&chunks)).answer().parts, wanted);
}

#[test]
fn a_call_may_come_in_pieces() {
    let piece = |call: Value| chunk(&json!([{ "functionCall": call }]));
    let chunks = [
        chunk(&json!([{ "functionCall": { "name": "weather", "id": "fc", "willContinue": true }, "thoughtSignature": "s" }])),
        piece(json!({ "partialArgs": [{ "jsonPath": "$.city", "stringValue": "Kö", "willContinue": true }], "willContinue": true })),
        piece(json!({ "partialArgs": [{ "jsonPath": "$.city", "stringValue": "ln" }], "willContinue": true })),
        piece(
            json!({ "partialArgs": [{ "jsonPath": "$.days[0]", "numberValue": 1 }, { "jsonPath": "$.x", "boolValue": false }], "willContinue": true }),
        ),
        piece(json!({})),
        piece(json!({ "name": "now", "willContinue": true })),
        piece(json!({})),
        piece(json!({ "name": "whole", "args": { "a": 1 } })),
        piece(json!({ "name": "open", "willContinue": true, "partialArgs": [{ "jsonPath": "$.a", "nullValue": "NULL_VALUE" }] })),
        end("STOP"),
    ];
    let wanted = [
        call("fc", "weather", r#"{"city":"Köln","days":[1],"x":false}"#, Some("s")),
        call("call-1", "now", "{}", None),
        call("call-2", "whole", r#"{"a":1}"#, None),
        call("call-3", "open", r#"{"a":null}"#, None),
    ];
    let outcome = streamed(&sse(&chunks));
    assert_eq!((outcome.answer().parts, outcome.failure), (wanted.to_vec(), None));
    assert_eq!(whole(&Value::from(chunks.to_vec())).unwrap().parts, wanted);
    let nonsense = [
        piece(json!({ "name": "f", "willContinue": true })),
        piece(json!({ "partialArgs": [{ "jsonPath": "city", "stringValue": "x" }] })),
    ];
    assert_eq!(streamed(&sse(&nonsense)).failure.unwrap().kind, FailureKind::Protocol);
}

#[test]
fn finish_reasons_have_one_meaning() {
    let reason = |word: Value| {
        let body = json!({ "candidates": [{ "content": { "parts": [{ "text": "a" }] }, "finishReason": word }] });
        let answer = whole(&body).unwrap();
        let outcome = streamed(&sse(&[body]));
        assert_eq!(outcome.answer().finish_reason, answer.finish_reason);
        assert_eq!(outcome.failure.is_none(), answer.finish_reason.is_some());
        answer.finish_reason
    };
    assert_eq!(reason(json!("STOP")), Some(FinishReason::Stop));
    assert_eq!(reason(json!("MAX_TOKENS")), Some(FinishReason::Length));
    for word in ["SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT"] {
        assert_eq!(reason(json!(word)), Some(FinishReason::ContentFilter), "{word}");
    }
    for word in ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "LANGUAGE", "OTHER", "SOMETHING_NEW"] {
        assert_eq!(reason(json!(word)), Some(FinishReason::Other(word.into())));
    }
    assert_eq!(reason(json!(1)), Some(FinishReason::Stop));
    assert_eq!(reason(json!(3)), Some(FinishReason::ContentFilter));
    assert_eq!(reason(json!(99)), Some(FinishReason::Other("OTHER".into())));
    for nothing in [json!(null), json!(""), json!("FINISH_REASON_UNSPECIFIED"), json!(0), json!({})] {
        assert_eq!(reason(nothing), None);
    }
}

#[test]
fn a_call_is_no_stop_but_is_cut_off_like_any_text() {
    let called = json!([{ "functionCall": { "name": "f" } }]);
    assert_eq!(whole(&done(&called, "STOP")).unwrap().finish_reason, Some(FinishReason::ToolCalls));
    assert_eq!(whole(&done(&called, "MAX_TOKENS")).unwrap().finish_reason, Some(FinishReason::Length));
}

#[test]
fn a_call_that_the_model_got_wrong_is_an_answer_without_parts() {
    let body = json!({ "candidates": [{ "content": {}, "finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "Malformed function call: f(" }] });
    let answer = whole(&body).unwrap();
    assert_eq!((answer.parts, answer.finish_reason), (vec![], Some(FinishReason::Other("MALFORMED_FUNCTION_CALL".into()))));
}

#[test]
fn a_candidate_that_was_held_back_has_no_content() {
    let answer = whole(&json!({ "candidates": [{ "finishReason": "SAFETY", "safetyRatings": [] }] })).unwrap();
    assert_eq!((answer.parts, answer.finish_reason), (vec![], Some(FinishReason::ContentFilter)));
}

#[test]
fn a_blocked_prompt_is_an_empty_answer_or_a_failure_with_the_providers_words() {
    let body = json!({
        "promptFeedback": { "blockReason": "MODEL_ARMOR", "blockReasonMessage": "That is an attack." },
        "usageMetadata": { "promptTokenCount": 4 }, "modelVersion": "m-1",
    });
    let answer = whole(&body).unwrap();
    assert_eq!((answer.parts, answer.finish_reason.clone()), (vec![], Some(FinishReason::ContentFilter)));
    assert_eq!(answer.usage.unwrap().input_tokens, Some(4));
    let outcome = streamed(&sse(std::slice::from_ref(&body)));
    assert_eq!((outcome.answer().finish_reason, outcome.failure), (answer.finish_reason, None));

    let strict = ChatRequest { settings: r#"{"blocked_prompt":"error"}"#.into(), ..request() };
    let failure = decode_whole::<Gemini>(&strict, HttpResponse::new(200, body.to_string())).unwrap_err();
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::ContentFilter, "That is an attack."));
    assert_eq!((failure.code.as_deref(), failure.status), (Some("MODEL_ARMOR"), Some(200)));
    let streamed = decode_stream::<Gemini>(&strict, ResponseHead::new(200), vec![sse(&[body]).into_bytes()]);
    assert_eq!(streamed.failure, Some(failure));
    let silent = json!({ "promptFeedback": { "blockReason": "SAFETY" } }).to_string();
    let failure = decode_whole::<Gemini>(&strict, HttpResponse::new(200, silent)).unwrap_err();
    assert_eq!(failure.message, "the prompt was blocked: SAFETY");
}

#[test]
fn feedback_on_a_prompt_that_was_not_blocked_says_nothing() {
    let mut body = done(&json!([{ "text": "a" }]), "STOP");
    body["promptFeedback"] = json!({ "safetyRatings": [] });
    assert_eq!(whole(&body).unwrap().finish_reason, Some(FinishReason::Stop));
    // Nor does any, beside an answer.
    body["promptFeedback"] = json!({ "blockReason": "OTHER" });
    assert_eq!(whole(&body).unwrap().finish_reason, Some(FinishReason::Stop));
}

#[test]
fn of_several_candidates_the_first_counts() {
    let candidate = |index: u32, text: &str| json!({ "index": index, "content": { "parts": [{ "text": text }] }, "finishReason": "STOP" });
    assert_eq!(whole(&json!({ "candidates": [candidate(1, "b"), candidate(0, "a")] })).unwrap().parts, [text("a")]);
    let only = |candidate: Value| json!({ "candidates": [candidate] });
    let chunks = [only(candidate(0, "a")), only(candidate(1, "x")), only(candidate(0, "b"))];
    assert_eq!(streamed(&sse(&chunks)).answer().parts, [text("ab")]);
    assert_eq!(whole(&only(candidate(1, "b"))).unwrap_err().kind, FailureKind::Protocol);
}

#[test]
fn usage_is_counted_alike_for_all() {
    let usage = |wire: Value| {
        let raw = wire.to_string();
        let mut body = done(&json!([{ "text": "a" }]), "STOP");
        body["usageMetadata"] = wire;
        whole(&body).unwrap().usage.map(|usage| {
            assert_eq!(usage.raw, Some(raw));
            (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens)
        })
    };
    let all = json!({
        "promptTokenCount": 100, "cachedContentTokenCount": 60, "toolUsePromptTokenCount": 7,
        "candidatesTokenCount": 20, "thoughtsTokenCount": 5, "totalTokenCount": 132,
    });
    assert_eq!(usage(all), Some((Some(107), Some(25), Some(60), Some(5))));
    assert_eq!(usage(json!({ "promptTokenCount": 3, "totalTokenCount": 3 })), Some((Some(3), None, None, None)));
    assert_eq!(usage(json!({ "promptTokenCount": 3, "thoughtsTokenCount": 4 })), Some((Some(3), Some(4), None, Some(4))));
    assert_eq!(usage(json!({ "promptTokenCount": 3, "candidatesTokenCount": "many" })), Some((Some(3), None, None, None)));
    let huge = json!({ "promptTokenCount": u64::MAX, "toolUsePromptTokenCount": 1 });
    assert_eq!(usage(huge), Some((Some(u64::MAX), None, None, None)));
    for nothing in [json!({ "trafficType": "ON_DEMAND" }), json!({}), json!(null), json!([])] {
        assert_eq!(usage(nothing), None);
    }
}

#[test]
fn of_the_usages_in_a_stream_the_last_counts_and_one_without_numbers_is_none() {
    let with = |usage: Value| json!({ "candidates": [{ "content": { "parts": [{ "text": "a" }] }, "finishReason": "STOP" }], "usageMetadata": usage });
    let chunks = [
        with(json!({ "trafficType": "ON_DEMAND" })),
        with(json!({ "promptTokenCount": 5, "candidatesTokenCount": 1 })),
        with(json!({ "promptTokenCount": 5, "candidatesTokenCount": 9 })),
        with(json!({ "trafficType": "ON_DEMAND" })),
    ];
    assert_eq!(streamed(&sse(&chunks)).answer().usage.unwrap().output_tokens, Some(9));
}

#[test]
fn log_probabilities_come_with_their_alternatives() {
    let result = json!({
        "chosenCandidates": [{ "token": "hi", "tokenId": 1, "logProbability": -0.1 }, { "token": 5 }, { "token": "!", "logProbability": -0.2 }],
        "topCandidates": [{ "candidates": [{ "token": "hi", "logProbability": -0.1 }, { "token": "ho", "logProbability": -2.5 }] }],
    });
    let token = |token: &str, logprob, alternatives| TokenLogprob { token: token.into(), logprob, alternatives };
    let top = |token: &str, logprob| TopLogprob { token: token.into(), logprob };
    let wanted = [token("hi", -0.1, vec![top("hi", -0.1), top("ho", -2.5)]), token("!", -0.2, vec![])];
    let mut body = done(&json!([{ "text": "hi!" }]), "STOP");
    body["candidates"][0]["logprobsResult"] = result;
    assert_eq!(whole(&body).unwrap().logprobs, wanted);
    assert_eq!(streamed(&sse(&[body])).answer().logprobs, wanted);
}

#[test]
fn what_is_no_answer_is_a_failure_with_the_beginning_of_the_body() {
    for body in [
        "",
        "   ",
        "<html><body>busy</body></html>",
        "{\"candidates\": [",
        "[]",
        "null",
        "42",
        "\"hi\"",
        "{}",
        "{\"candidates\": []}",
        "{\"candidates\": {}}",
        "{\"candidates\": [{}]}",
        "{\"candidates\": [{\"content\": {\"role\": \"model\"}}]}",
        "{\"candidates\": [{\"index\": 1, \"content\": {}}]}",
        "{\"promptFeedback\": {}}",
    ] {
        let failure = answered(200, body).unwrap_err();
        assert_eq!((failure.kind, failure.status), (FailureKind::Protocol, Some(200)), "{body}");
        assert_eq!(failure.raw.as_deref(), (!body.is_empty()).then_some(body));
        let failure = streamed(body).failure.unwrap();
        assert!(matches!(failure.kind, FailureKind::Protocol | FailureKind::Broken), "{body}: {failure:?}");
    }
    assert!(answered(200, "<html>").unwrap_err().message.contains("HTML"));
    assert!(streamed("<html>\nbusy\n\n</html>").failure.unwrap().message.contains("HTML"));
}

#[test]
fn an_answer_may_have_no_parts_at_all() {
    let body = json!({ "candidates": [{ "content": { "role": "model" }, "finishReason": "STOP" }] });
    let answer = whole(&body).unwrap();
    assert_eq!((answer.parts, answer.finish_reason), (vec![], Some(FinishReason::Stop)));
}

fn error(code: u16, status: &str, message: &str, details: &Value) -> Value {
    json!({ "error": { "code": code, "message": message, "status": status, "details": details } })
}

#[test]
fn errors_have_the_kind_that_their_status_word_and_details_say() {
    let failure = |code: u16, status: &str, message: &str, details: Value| {
        let body = error(code, status, message, &details);
        let failure = answered(code, &body.to_string()).unwrap_err();
        assert_eq!((failure.message.as_str(), failure.code.as_deref(), failure.status), (message, Some(status), Some(code)));
        // The same under HTTP 200, as a list, and in a stream.
        assert_eq!(whole(&body).unwrap_err().kind, failure.kind);
        assert_eq!(answered(code, &json!([body]).to_string()).unwrap_err().kind, failure.kind);
        assert_eq!(streamed(&sse(&[body])).failure.unwrap().kind, failure.kind);
        failure
    };
    let kind = |code: u16, status: &str, message: &str| failure(code, status, message, json!([])).kind;
    assert_eq!(kind(400, "INVALID_ARGUMENT", "Bad."), FailureKind::InvalidRequest);
    assert_eq!(kind(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."), FailureKind::Authentication);
    let reason = json!([{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com" }]);
    assert_eq!(failure(400, "INVALID_ARGUMENT", "No.", reason).kind, FailureKind::Authentication);
    let long = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).";
    assert_eq!(kind(400, "INVALID_ARGUMENT", long), FailureKind::ContextLength);
    let sensitive = "The prompt contains words that violate Google's Responsible AI practices.";
    assert_eq!(kind(400, "INVALID_ARGUMENT", sensitive), FailureKind::ContentFilter);
    assert_eq!(kind(400, "FAILED_PRECONDITION", "User location is not supported for the API use."), FailureKind::Permission);
    assert_eq!(kind(401, "UNAUTHENTICATED", "x"), FailureKind::Authentication);
    assert_eq!(kind(403, "PERMISSION_DENIED", "x"), FailureKind::Permission);
    assert_eq!(kind(404, "NOT_FOUND", "models/x is not found"), FailureKind::NotFound);
    assert_eq!(kind(429, "RESOURCE_EXHAUSTED", "Resource exhausted. Please try again later."), FailureKind::RateLimit);
    assert_eq!(kind(500, "INTERNAL", "x"), FailureKind::Server);
    assert_eq!(kind(501, "UNIMPLEMENTED", "x"), FailureKind::Unsupported);
    assert_eq!(kind(503, "UNAVAILABLE", "The model is overloaded."), FailureKind::Overloaded);
    assert_eq!(kind(504, "DEADLINE_EXCEEDED", "x"), FailureKind::Timeout);
    assert_eq!(kind(409, "SOMETHING_NEW", "x"), FailureKind::InvalidRequest);
    assert_eq!(answered(502, "<html>").unwrap_err().kind, FailureKind::Server);
    assert_eq!(answered(403, r#"{"error":"No."}"#).unwrap_err().message, "No.");
    assert_eq!(whole(&json!({ "error": "No." })).unwrap_err().message, "No.");
}

#[test]
fn a_throttle_is_tried_again_when_the_provider_says_and_a_quota_is_not() {
    let quota =
        "You exceeded your current quota, please check your plan and billing details. \n* Quota exceeded for metric: requests, limit: 20";
    let retry = json!({ "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s" });
    let daily = json!({ "@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{ "quotaId": "GenerateRequestsPerDayPerProject" }] });
    let failure = |message: &str, details: Value| {
        let failure = answered(429, &error(429, "RESOURCE_EXHAUSTED", message, &details).to_string()).unwrap_err();
        (failure.kind, failure.retry_after_ms, failure.retryable)
    };
    let throttle = (FailureKind::RateLimit, Some(34_400), None);
    let used_up = (FailureKind::Quota, None, Some(false));
    assert_eq!(failure(quota, json!([daily, retry])), throttle);
    assert_eq!(failure(&format!("{quota}\nPlease retry in 34.4s."), json!([])), throttle);
    assert_eq!(failure(quota, json!([])), used_up);
    assert_eq!(failure("Quota exceeded.", json!([daily])), used_up);
    assert_eq!(
        failure("Quota exceeded for metric: requests, limit: 0, model: m", json!([retry])),
        (FailureKind::Quota, Some(34_400), Some(false))
    );
    assert_eq!(failure("Quota exceeded for metric: requests, limit: 0.5", json!([retry])), throttle);
    assert_eq!(failure("Resource exhausted.", json!([])), (FailureKind::RateLimit, None, None));
    assert_eq!(failure("Please retry in a while.", json!([{ "retryDelay": "soon" }])), (FailureKind::RateLimit, None, None));
}

#[test]
fn an_error_carries_the_providers_words_and_hints() {
    let headers: Headers = [("x-request-id", "req_1"), ("retry-after", "2")].into_iter().collect();
    let body = error(503, "UNAVAILABLE", "Busy.", &json!([{ "retryDelay": "9s" }])).to_string();
    let response = HttpResponse { head: ResponseHead { status: 503, headers }, body: body.clone().into_bytes() };
    let failure = decode_whole::<Gemini>(&request(), response).unwrap_err();
    let wanted = Failure {
        kind: FailureKind::Overloaded,
        status: Some(503),
        code: Some("UNAVAILABLE".into()),
        message: "Busy.".into(),
        retry_after_ms: Some(2000),
        retryable: None,
        request_id: Some("req_1".into()),
        raw: Some(body),
    };
    assert_eq!(failure, wanted);
}

#[test]
fn the_id_of_a_request_may_stand_in_the_details() {
    let details = json!([{ "@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "abc" }]);
    let failure = answered(500, &error(500, "INTERNAL", "Broke.", &details).to_string()).unwrap_err();
    assert_eq!(failure.request_id.as_deref(), Some("abc"));
}

#[test]
fn an_error_in_the_middle_of_a_stream_comes_after_what_was_said_before_it() {
    let hello = sse(&[chunk(&json!([{ "text": "Hello" }]))]);
    let broke = error(503, "UNAVAILABLE", "Broke.", &json!([]));
    for stream in [
        format!("{hello}data: {broke}\n\n"),
        format!("{hello}data: {broke}"),
        format!("{hello}event: error\ndata: {broke}\n\n"),
        // As Google's servers do it: no event.
        format!("{hello}{broke}"),
        format!("{hello}{broke:#}\n"),
        format!("{}\n{broke:#}\n", hello.trim_end()),
        format!("{}\r{broke}\r", hello.trim_end()),
        format!("[{},\n{broke:#}]", chunk(&json!([{ "text": "Hello" }]))),
    ] {
        for pieces in [vec![stream.clone().into_bytes()], pg_llm_guest::testing::in_chunks(stream.as_bytes(), 1)] {
            let outcome = decode_stream::<Gemini>(&request(), ResponseHead::new(200), pieces);
            assert_eq!(outcome.answer().text(), "Hello", "{stream}");
            let failure = outcome.failure.unwrap();
            assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Overloaded, "Broke."), "{stream}");
            assert_eq!(failure.code.as_deref(), Some("UNAVAILABLE"));
        }
    }
}

#[test]
fn a_stream_ends_with_its_body_after_a_finish_reason() {
    let hello = chunk(&json!([{ "text": "Hello" }]));
    let complete = sse(&[hello.clone(), end("STOP")]);
    for stream in [
        complete.clone(),
        complete.trim_end().to_owned(),
        complete.replace("data: ", "data:").replace("\r\n", "\n"),
        format!("{complete}data: [DONE]\n\n"),
        format!("{complete}: bye\n"),
        format!("[{hello},{}]", end("STOP")),
        format!("[{hello:#}\n,\r\n{:#}\n]\n", end("STOP")),
        format!("[{hello},{}] ", end("STOP")),
        // Lines of objects, and a proxy that answers as a whole.
        format!("{hello}\n{}\n", end("STOP")),
        format!("{:#}", done(&json!([{ "text": "Hello" }]), "STOP")),
        format!("\u{FEFF}{}", done(&json!([{ "text": "Hello" }]), "STOP")),
        format!("\u{FEFF}[{hello},{}]", end("STOP")),
    ] {
        let outcome = streamed(&stream);
        let answer = outcome.answer();
        assert_eq!((answer.text().as_str(), answer.finish_reason, outcome.failure), ("Hello", Some(FinishReason::Stop), None), "{stream}");
    }
    for cut in [
        sse(std::slice::from_ref(&hello)),
        format!("{}data: {{\"cand", sse(std::slice::from_ref(&hello))),
        format!("[{hello},"),
        format!("[{hello}]"),
        format!("[{hello},{}", end("STOP")),
        format!("[{hello},{{\"cand"),
        String::new(),
        "[".to_owned(),
    ] {
        assert_eq!(streamed(&cut).failure.unwrap().kind, FailureKind::Broken, "{cut}");
    }
    for nonsense in ["data: {\"half\n\n", "[1]", "[[{}]]", "data: [DONE]\n\n{]}"] {
        assert_eq!(streamed(nonsense).failure.unwrap().kind, FailureKind::Protocol, "{nonsense}");
    }
}

#[test]
fn a_model_that_says_stop_in_every_chunk_is_heard_to_the_end() {
    let piece = |text: &str| done(&json!([{ "text": text }]), "STOP");
    let chunks = [piece("One, "), piece("two, "), done(&json!([{ "text": "thr" }]), "MAX_TOKENS")];
    let outcome = streamed(&sse(&chunks));
    assert_eq!((outcome.answer().text().as_str(), outcome.answer().finish_reason), ("One, two, thr", Some(FinishReason::Length)));
    assert_eq!(outcome.events.iter().filter(|event| matches!(event, Event::Finish(_))).count(), 1);
    let text = sse(&chunks);
    assert_eq!(streamed(&text[..text.len() - 20]).failure.unwrap().kind, FailureKind::Broken);
}

#[test]
fn the_events_are_the_same_however_the_bytes_are_cut() {
    let chunks = [
        chunk(&json!([{ "text": "grübel", "thought": true }])),
        chunk(&json!([{ "text": "Grüße 🦀 \"}]" }, { "functionCall": { "name": "f", "args": { "k": "[{\\" } }, "thoughtSignature": "s" }])),
        end("STOP"),
        json!({ "usageMetadata": { "promptTokenCount": 1 } }),
    ];
    let array = format!("[{}\n]", chunks.iter().map(|chunk| format!("{chunk:#}")).collect::<Vec<_>>().join("\n,\r\n"));
    let events = format!("\u{FEFF}: hello\r\n\r\n{}", sse(&chunks));
    let once = streamed(&events);
    assert_eq!((once.events.len(), &once.failure), (6, &None), "{:?}", once.events);
    for text in [array, events] {
        for pieces in every_cut(text.as_bytes()) {
            assert_eq!(decode_stream::<Gemini>(&request(), ResponseHead::new(200), pieces), once);
        }
    }
}

#[test]
fn vectors_come_in_the_form_of_their_method() {
    let embed = |inputs: usize, body: Value| {
        let request = EmbedRequest::new("m", vec!["x".to_owned(); inputs]);
        decode_embed::<Gemini>(&request, HttpResponse::new(200, body.to_string()))
    };
    let batch = embed(2, json!({ "embeddings": [{ "values": [0.5, -1] }, { "values": [2e-3, 0] }] })).unwrap();
    assert_eq!((batch.vectors, batch.usage), (vec![vec![0.5, -1.0], vec![0.002, 0.0]], None));
    let prediction = |values: Value, tokens: u32| json!({ "embeddings": { "values": values, "statistics": { "token_count": tokens, "truncated": false } } });
    let predicted = embed(2, json!({ "predictions": [prediction(json!([1]), 3), prediction(json!([2]), 4)] })).unwrap();
    assert_eq!((predicted.vectors, predicted.usage.unwrap().input_tokens), (vec![vec![1.0], vec![2.0]], Some(7)));
    let single = embed(1, json!({ "embedding": { "values": [1, 2] }, "usageMetadata": { "promptTokenCount": 5 } })).unwrap();
    assert_eq!((single.vectors, single.usage.unwrap().input_tokens), (vec![vec![1.0, 2.0]], Some(5)));
    for nonsense in
        [json!({}), json!([]), json!({ "embeddings": [{}] }), json!({ "embedding": { "values": ["x"] } }), json!({ "embedding": 1 })]
    {
        assert_eq!(embed(1, nonsense).unwrap_err().kind, FailureKind::Protocol);
    }
    assert_eq!(embed(2, json!({ "embedding": { "values": [1] } })).unwrap_err().kind, FailureKind::Protocol);
    assert_eq!(embed(1, error(429, "RESOURCE_EXHAUSTED", "Busy.", &json!([]))).unwrap_err().kind, FailureKind::RateLimit);
    let bad = error(400, "INVALID_ARGUMENT", "API key not valid.", &json!([])).to_string();
    let failure = decode_embed::<Gemini>(&EmbedRequest::new("m", vec!["x".into()]), HttpResponse::new(400, bad)).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Authentication);
}

#[test]
fn models_are_named_as_a_chat_names_them() {
    let page = |body: Value| HttpResponse::new(200, body.to_string());
    let first = json!({ "models": [{ "name": "models/a", "displayName": "A", "inputTokenLimit": 1_048_576, "outputTokenLimit": 8192 }, { "name": "tunedModels/b" }, {}], "nextPageToken": "t" });
    let second = json!({ "publisherModels": [{ "name": "publishers/google/models/c", "versionId": "default" }] });
    let models = decode_list::<Gemini>("{}", vec![page(first), page(second)]).unwrap();
    let names: Vec<&str> = models.iter().map(|model| model.id.as_str()).collect();
    assert_eq!(names, ["a", "tunedModels/b", "c"]);
    assert_eq!(models[0].display_name.as_deref(), Some("A"));
    assert_eq!((models[0].context_window, models[0].max_output_tokens), (Some(1_048_576), Some(8192)));
    assert!(models[2].raw.as_ref().unwrap().contains("versionId"));
    assert_eq!(decode_list::<Gemini>("{}", vec![page(json!({}))]).unwrap(), []);
    for nonsense in [json!([]), json!({ "data": [] }), json!("x")] {
        assert_eq!(decode_list::<Gemini>("{}", vec![page(nonsense)]).unwrap_err().kind, FailureKind::Protocol);
    }
    let denied = error(403, "PERMISSION_DENIED", "No.", &json!([])).to_string();
    assert_eq!(decode_list::<Gemini>("{}", vec![HttpResponse::new(403, denied)]).unwrap_err().kind, FailureKind::Permission);
}
