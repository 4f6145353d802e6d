//! Every shape of an answer, whole and streamed.
#![allow(clippy::unwrap_used, clippy::panic)] // this is how a test fails

use pg_llm_guest::http::Headers;
use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{Outcome, decode_embed, decode_list, decode_stream, decode_whole, every_cut};
use pg_llm_provider_ollama::{Ollama, encode};

fn request() -> ChatRequest {
    ChatRequest::new("m", vec![Message::user("hello")])
}

fn answered(status: u16, body: &str) -> Result<Answer, Failure> {
    decode_whole::<Ollama>(&request(), HttpResponse::new(status, body))
}

/// A whole answer of this message.
fn message(message: &Value) -> Answer {
    answered(200, &json!({ "model": "m", "message": message, "done_reason": "stop", "done": true }).to_string()).unwrap()
}

fn streamed(text: &str) -> Outcome {
    decode_stream::<Ollama>(&request(), ResponseHead::new(200), vec![text.as_bytes().to_vec()])
}

/// A stream of these objects.
fn ndjson(objects: &[Value]) -> String {
    objects.iter().flat_map(|object| [object.to_string(), "\n".to_owned()]).collect()
}

fn delta(message: &Value) -> Value {
    json!({ "model": "m", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": false })
}

fn end(reason: &str) -> Value {
    json!({ "model": "m", "message": { "role": "assistant", "content": "" }, "done": true, "done_reason": reason, "prompt_eval_count": 11, "eval_count": 18, "eval_duration": 52 })
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
fn a_message_has_thinking_text_and_tool_calls() {
    let all = json!({ "role": "assistant", "content": "hi", "thinking": "hm", "tool_calls": [{ "id": "x", "function": { "name": "f", "arguments": { "a": 1 } } }] });
    assert_eq!(message(&all).parts, [thinking("hm"), text("hi"), call("x", "f", "{\"a\":1}")]);
    assert_eq!(message(&json!({ "role": "assistant", "content": "" })).parts, []);
    assert_eq!(message(&json!({ "content": "hi" })).model.as_deref(), Some("m"));
}

#[test]
fn a_tool_call_without_an_id_gets_one_of_its_own() {
    let calls = json!({ "content": "", "tool_calls": [
        { "function": { "index": 0, "name": "f", "arguments": { "z": 1, "a": 2 } } },
        { "function": { "index": 0, "name": "g", "arguments": "{\"b\":2}" } },
        { "function": { "name": "h" } },
        { "function": { "arguments": {} } },
    ]});
    let answer = message(&calls);
    assert_eq!(answer.parts, [call("call_0", "f", "{\"z\":1,\"a\":2}"), call("call_1", "g", "{\"b\":2}"), call("call_2", "h", "{}")]);
    assert_eq!(answer.finish_reason, Some(FinishReason::ToolCalls));
}

#[test]
fn tool_calls_of_a_stream_are_whole_and_each_is_another() {
    let one = |name: &str| delta(&json!({ "content": "", "tool_calls": [{ "function": { "name": name, "arguments": {} } }] }));
    let answer = streamed(&ndjson(&[one("f"), one("f"), end("stop")])).answer();
    assert_eq!(answer.parts, [call("call_0", "f", "{}"), call("call_1", "f", "{}")]);
    assert_eq!(answer.finish_reason, Some(FinishReason::ToolCalls));
}

#[test]
fn what_a_model_thought_and_called_goes_back_as_it_came() {
    let wire = json!({ "role": "assistant", "content": "I ask.", "thinking": "hm", "tool_calls": [{ "id": "call_x", "type": "function", "function": { "index": 0, "name": "f", "arguments": { "b": [1], "a": null } } }] });
    let parts = message(&wire).parts;
    let next = ChatRequest { messages: vec![Message::user("go"), Message { role: Role::Assistant, parts }], ..request() };
    let body: Value = serde_json::from_slice(&encode(&next, Mode::Whole).unwrap().body).unwrap();
    assert_eq!(body["messages"][1], wire);
}

#[test]
fn a_stream_of_thinking_and_text_is_put_together() {
    let lines = [
        delta(&json!({ "content": "", "thinking": "hm" })),
        delta(&json!({ "content": "", "thinking": "m" })),
        delta(&json!({ "content": "Hel" })),
        delta(&json!({ "content": "lo" })),
        end("stop"),
    ];
    let outcome = streamed(&ndjson(&lines));
    assert_eq!(outcome.failure, None);
    assert_eq!(outcome.answer().parts, [thinking("hmm"), text("Hello")]);
    assert_eq!(outcome.answer().model.as_deref(), Some("m"));
}

#[test]
fn the_finish_reason_is_the_servers_word() {
    let finish = |reason: Value| {
        let body = json!({ "message": { "content": "a" }, "done": true, "done_reason": reason });
        answered(200, &body.to_string()).unwrap().finish_reason.unwrap()
    };
    assert_eq!(finish(json!("stop")), FinishReason::Stop);
    assert_eq!(finish(json!("length")), FinishReason::Length);
    assert_eq!(finish(json!("load")), FinishReason::Other("load".into()));
    assert_eq!(finish(json!("unload")), FinishReason::Other("unload".into()));
    assert_eq!(finish(json!(null)), FinishReason::Stop);
}

#[test]
fn counts_that_are_absent_are_unknown() {
    let usage = |counts: Value| {
        let mut body = json!({ "message": { "content": "a" }, "done": true });
        body.as_object_mut().unwrap().extend(counts.as_object().unwrap().clone());
        answered(200, &body.to_string()).unwrap().usage
    };
    let all = usage(json!({ "prompt_eval_count": 11, "eval_count": 18, "eval_duration": 5, "created_at": "now" })).unwrap();
    assert_eq!((all.input_tokens, all.output_tokens), (Some(11), Some(18)));
    assert_eq!(all.raw.as_deref(), Some(r#"{"prompt_eval_count":11,"eval_count":18,"eval_duration":5}"#));
    let cached = usage(json!({ "eval_count": 18 })).unwrap();
    assert_eq!((cached.input_tokens, cached.output_tokens), (None, Some(18)));
    assert_eq!(usage(json!({})), None);
    let outcome = streamed(&ndjson(&[delta(&json!({ "content": "a" })), end("stop")]));
    assert_eq!(outcome.answer().usage.unwrap().output_tokens, Some(18));
}

#[test]
fn log_probabilities_come_with_their_alternatives() {
    let logprobs = json!([{ "token": "hi", "logprob": -0.1, "bytes": [104, 105], "top_logprobs": [{ "token": "ho", "logprob": -2.5 }] }, { "token": 1 }]);
    let wanted = [TokenLogprob { token: "hi".into(), logprob: -0.1, alternatives: vec![TopLogprob { token: "ho".into(), logprob: -2.5 }] }];
    let body = json!({ "message": { "content": "hi" }, "logprobs": logprobs, "done": true });
    assert_eq!(answered(200, &body.to_string()).unwrap().logprobs, wanted);
    let line = json!({ "message": { "content": "hi" }, "logprobs": logprobs, "done": false });
    assert_eq!(streamed(&ndjson(&[line, end("stop")])).answer().logprobs, wanted);
}

#[test]
fn an_answer_of_api_generate_is_understood() {
    let body = json!({ "model": "m", "response": "Hello", "thinking": "hm", "done": true, "done_reason": "stop", "context": [1, 2], "eval_count": 3 });
    let answer = answered(200, &body.to_string()).unwrap();
    assert_eq!((answer.parts, answer.finish_reason), (vec![thinking("hm"), text("Hello")], Some(FinishReason::Stop)));
    let lines =
        [json!({ "response": "Hel", "done": false }), json!({ "response": "lo", "done": false }), json!({ "response": "", "done": true })];
    assert_eq!(streamed(&ndjson(&lines)).answer().parts, [text("Hello")]);
}

#[test]
fn a_server_that_streams_though_told_not_to_is_understood_and_the_other_way_round() {
    let lines = ndjson(&[delta(&json!({ "content": "Hel" })), delta(&json!({ "content": "lo" })), end("length")]);
    let answer = answered(200, &lines).unwrap();
    assert_eq!((answer.parts, answer.finish_reason, answer.raw), (vec![text("Hello")], Some(FinishReason::Length), None));
    assert_eq!(answer.usage.unwrap().input_tokens, Some(11));
    let whole = json!({ "model": "m", "message": { "content": "Hello" }, "done": true });
    for body in [whole.to_string(), format!("{whole:#}"), format!("{whole:#}\n")] {
        let outcome = streamed(&body);
        assert_eq!((outcome.answer().parts, outcome.failure), (vec![text("Hello")], None), "{body}");
    }
}

#[test]
fn what_is_no_answer_is_a_failure_with_the_beginning_of_the_body() {
    for body in [
        "",
        "   ",
        "<html><body>busy</body></html>",
        "{\"message\": ",
        "[]",
        "null",
        "42",
        "\"hi\"",
        "{}",
        "{\"message\": \"hi\"}",
        "{\"model\":\"m\",\"done\":true}",
        "{\"status\":\"pulling\"}",
    ] {
        let failure = answered(200, body).unwrap_err();
        assert_eq!((failure.kind, failure.status), (FailureKind::Protocol, Some(200)), "{body}");
        assert_eq!(failure.raw.as_deref(), (!body.is_empty()).then_some(body));
    }
    assert!(answered(200, "<html>").unwrap_err().message.contains("HTML"));
    assert!(streamed("<html>busy</html>").failure.unwrap().message.contains("HTML"));
    assert!(streamed("<html>\nbusy\n</html>\n").failure.unwrap().message.contains("HTML"));
}

#[test]
fn an_answer_that_is_not_done_is_none() {
    let begun = ndjson(&[delta(&json!({ "content": "Hel" }))]);
    assert_eq!(answered(200, &begun).unwrap_err().kind, FailureKind::Broken);
    let whole_line = streamed(&begun);
    assert_eq!(whole_line.answer().text(), "Hel");
    assert_eq!(whole_line.failure.unwrap().kind, FailureKind::Broken);
    assert_eq!(streamed(&format!("{begun}{{\"model\":")).failure.unwrap().kind, FailureKind::Broken);
    assert_eq!(streamed("{\"model\":").failure.unwrap().kind, FailureKind::Broken);
    assert_eq!(streamed("").failure.unwrap().kind, FailureKind::Broken);
    assert_eq!(streamed("{\"model\":\"m\",\"done\":true}\n").failure.unwrap().kind, FailureKind::Protocol);
    assert_eq!(streamed(&format!("{begun}half}}\n")).failure.unwrap().kind, FailureKind::Protocol);
}

#[test]
fn an_error_in_the_middle_of_a_stream_comes_after_what_was_said_before_it() {
    let hello = ndjson(&[delta(&json!({ "content": "Hello" }))]);
    for error in
        ["{\"error\":\"the runner broke\"}\n", "{\"error\":\"the runner broke\"}", "{\"error\":{\"message\":\"the runner broke\"}}\n"]
    {
        let outcome = streamed(&format!("{hello}{error}"));
        assert_eq!(outcome.answer().text(), "Hello");
        let failure = outcome.failure.unwrap();
        assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Server, "the runner broke"), "{error}");
    }
}

#[test]
fn an_error_under_status_200_is_a_failure() {
    let failure = answered(200, "{\"error\":\"server busy, please try again.  maximum pending requests exceeded\"}").unwrap_err();
    assert_eq!(failure.kind, FailureKind::Overloaded);
    assert_eq!(streamed("{\n  \"error\": \"model 'x' not found\"\n}").failure.unwrap().kind, FailureKind::NotFound);
    assert_eq!(answered(200, "{\"error\":{}}").unwrap_err().message, "the server reported an error without words");
}

#[test]
fn errors_have_the_kind_that_their_status_and_words_say() {
    let failure = |status: u16, words: &str| answered(status, &json!({ "error": words }).to_string()).unwrap_err();
    let kind = |status: u16, words: &str| failure(status, words).kind;
    assert_eq!(kind(404, "model 'x' not found"), FailureKind::NotFound);
    assert_eq!(kind(400, "\"tiny\" does not support thinking"), FailureKind::Unsupported);
    assert_eq!(kind(400, "the input length exceeds the context length"), FailureKind::ContextLength);
    assert_eq!(kind(500, "the prompt exceeds the available context size"), FailureKind::ContextLength);
    assert_eq!(kind(400, "option \"num_ctx\" must be of type integer"), FailureKind::InvalidRequest);
    assert_eq!(kind(401, "unauthorized"), FailureKind::Authentication);
    assert_eq!(kind(402, "pay"), FailureKind::Quota);
    assert_eq!(kind(403, "no cloud here"), FailureKind::Permission);
    assert_eq!(kind(429, "too many concurrent requests"), FailureKind::RateLimit);
    assert_eq!(kind(500, "model requires more system memory"), FailureKind::Server);
    assert_eq!(kind(502, "no cloud"), FailureKind::Server);
    assert_eq!(kind(503, "server busy, please try again.  maximum pending requests exceeded"), FailureKind::Overloaded);
    // Hours and weeks are too long to wait for.
    let quota = failure(429, "you have reached your weekly usage limit, please wait or upgrade to continue");
    assert_eq!((quota.kind, quota.retryable), (FailureKind::Quota, Some(false)));
    assert_eq!(answered(500, "<html>").unwrap_err().kind, FailureKind::Server);
}

#[test]
fn an_error_carries_the_servers_words_and_hints() {
    let headers: Headers = [("x-request-id", "req_1"), ("retry-after", "2")].into_iter().collect();
    let body = r#"{"error":"slow down"}"#;
    let response = HttpResponse { head: ResponseHead { status: 429, headers }, body: body.into() };
    let failure = decode_whole::<Ollama>(&request(), response).unwrap_err();
    assert_eq!((failure.message.as_str(), failure.raw.as_deref()), ("slow down", Some(body)));
    assert_eq!((failure.retry_after_ms, failure.request_id.as_deref()), (Some(2000), Some("req_1")));
}

#[test]
fn the_events_are_the_same_however_the_bytes_are_cut() {
    let lines = [
        delta(&json!({ "content": "", "thinking": "grübel" })),
        delta(&json!({ "content": "Grüße 🦀" })),
        delta(&json!({ "content": "", "tool_calls": [{ "function": { "name": "f", "arguments": { "k": "ä" } } }] })),
        end("stop"),
    ];
    let text = format!("\n{}", ndjson(&lines).replace('\n', "\r\n"));
    let once = streamed(&text);
    assert_eq!(once.failure, None);
    assert_eq!(once.events.len(), 6, "{:?}", once.events);
    for pieces in every_cut(text.as_bytes()) {
        assert_eq!(decode_stream::<Ollama>(&request(), ResponseHead::new(200), pieces), once);
    }
}

#[test]
fn embeddings_are_one_vector_an_input() {
    let embed = |inputs: usize, status: u16, body: Value| {
        let request = EmbedRequest::new("m", vec!["x".to_owned(); inputs]);
        decode_embed::<Ollama>(&request, HttpResponse::new(status, body.to_string()))
    };
    let answer = embed(2, 200, json!({ "model": "m", "embeddings": [[0.5, -1], [0, 1e-3]], "prompt_eval_count": 4 })).unwrap();
    assert_eq!(answer.vectors, [[0.5, -1.0], [0.0, 0.001]]);
    assert_eq!((answer.model.as_deref(), answer.usage.unwrap().input_tokens), (Some("m"), Some(4)));
    assert_eq!(embed(1, 200, json!({ "embeddings": [[1.0]] })).unwrap().usage, None);
    assert_eq!(embed(1, 200, json!({ "embedding": [1.0] })).unwrap().vectors, [[1.0]]);
    for wrong in [
        json!({}),
        json!({ "embeddings": [] }),
        json!({ "embeddings": [[1.0], [1.0]] }),
        json!({ "embeddings": [["x"]] }),
        json!({ "embeddings": ["x"] }),
        json!({ "embeddings": null }),
    ] {
        assert_eq!(embed(1, 200, wrong.clone()).unwrap_err().kind, FailureKind::Protocol, "{wrong}");
    }
    assert_eq!(embed(1, 200, json!({ "error": "model 'm' not found" })).unwrap_err().kind, FailureKind::NotFound);
    assert_eq!(
        embed(1, 400, json!({ "error": "the input length exceeds the context length" })).unwrap_err().kind,
        FailureKind::ContextLength
    );
}

#[test]
fn models_are_listed_with_what_the_server_tells_of_them() {
    let list = |status: u16, body: Value| decode_list::<Ollama>("{}", vec![HttpResponse::new(status, body.to_string())]);
    let body = json!({ "models": [
        { "name": "gemma3:latest", "model": "gemma3:latest", "size": 1, "details": { "family": "gemma3", "context_length": 32768 } },
        { "name": "old", "details": {} },
        { "size": 1 },
    ]});
    let models = list(200, body).unwrap();
    let told: Vec<_> = models.iter().map(|model| (model.id.as_str(), model.context_window)).collect();
    assert_eq!(told, [("gemma3:latest", Some(32768)), ("old", None)]);
    assert!(models[0].raw.as_ref().unwrap().contains("gemma3"));
    assert_eq!(list(200, json!({ "models": null })).unwrap(), []);
    assert_eq!(list(200, json!({})).unwrap_err().kind, FailureKind::Protocol);
    assert_eq!(list(401, json!({ "error": "unauthorized" })).unwrap_err().kind, FailureKind::Authentication);
}
