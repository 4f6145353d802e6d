//! Every shape of an answer, whole and streamed.
#![allow(clippy::unwrap_used, clippy::panic)] // this is how a test fails

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{Outcome, decode_stream, decode_whole, every_cut};
use pg_llm_provider_dashscope::DashScope;

fn request() -> ChatRequest {
    ChatRequest::new("m", vec![Message::user("hello")])
}

fn answered(status: u16, body: &str) -> Result<Answer, Failure> {
    decode_whole::<DashScope>(&request(), HttpResponse::new(status, body))
}

fn whole(output: &Value) -> Result<Answer, Failure> {
    answered(200, &json!({ "output": output, "request_id": "r" }).to_string())
}

fn message(message: &Value, finish: &str) -> Answer {
    whole(&json!({ "choices": [{ "index": 0, "message": message, "finish_reason": finish }] })).unwrap()
}

/// Frames as the provider writes them.
fn sse(frames: &[Value]) -> String {
    let frame = |(at, frame): (usize, &Value)| format!("id:{}\nevent:result\n:HTTP_STATUS/200\ndata:{frame}\n\n", at + 1);
    frames.iter().enumerate().map(frame).collect()
}

fn frame(message: &Value, finish: &str, tokens: u64) -> Value {
    json!({
        "output": { "choices": [{ "index": 0, "message": message, "finish_reason": finish }] },
        "usage": { "input_tokens": 5, "output_tokens": tokens, "total_tokens": 5 + tokens },
        "request_id": "r",
    })
}

fn say(text: &str, finish: &str, tokens: u64) -> Value {
    frame(&json!({ "role": "assistant", "content": text }), finish, tokens)
}

fn streamed(text: &str) -> Outcome {
    decode_stream::<DashScope>(&request(), ResponseHead::new(200), vec![text.as_bytes().to_vec()])
}

/// A stream of these pieces of text, a token more with each; the last one finishes.
fn told(pieces: &[&str]) -> String {
    let last = pieces.len() - 1;
    let frames: Vec<Value> =
        (0..).zip(pieces).map(|(at, piece)| say(piece, if at == last as u64 { "stop" } else { "null" }, at + 1)).collect();
    let outcome = streamed(&sse(&frames));
    assert_eq!((outcome.failure.clone(), outcome.answer().finish_reason), (None, Some(FinishReason::Stop)));
    outcome.answer().text()
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
fn an_answer_is_a_text_a_list_of_parts_or_in_the_old_format_beside_its_reason() {
    assert_eq!(message(&json!({ "content": "hi" }), "stop").parts, [text("hi")]);
    assert_eq!(message(&json!({ "content": [{ "text": "a" }, { "image": "https://x" }, { "text": "b" }] }), "stop").parts, [text("ab")]);
    assert_eq!(message(&json!({ "content": [] }), "stop").parts, []);
    let old = whole(&json!({ "text": "hi", "finish_reason": "stop" })).unwrap();
    assert_eq!((old.parts, old.finish_reason, old.id.as_deref()), (vec![text("hi")], Some(FinishReason::Stop), Some("r")));
}

#[test]
fn thinking_stands_apart() {
    assert_eq!(message(&json!({ "reasoning_content": "hm", "content": "a" }), "stop").parts, [thinking("hm"), text("a")]);
    assert_eq!(message(&json!({ "reasoning_content": "", "content": "a" }), "stop").parts, [text("a")]);
    let think =
        |thought: &str, said: &str, finish, tokens| frame(&json!({ "content": said, "reasoning_content": thought }), finish, tokens);
    let increments = [think("h", "", "null", 1), think("m", "", "null", 2), think("", "a", "null", 3), think("", "b", "stop", 4)];
    assert_eq!(streamed(&sse(&increments)).answer().parts, [thinking("hm"), text("ab")]);
    let whole = [think("h", "", "null", 1), think("hm", "", "null", 2), think("hm", "a", "null", 3), think("hm", "ab", "stop", 4)];
    assert_eq!(streamed(&sse(&whole)).answer().parts, [thinking("hm"), text("ab")]);
    let short = [think("hm", "", "null", 1), think("hm", "a", "null", 2), think("hm", "ab", "null", 3), think("hm", "abc", "stop", 4)];
    assert_eq!(streamed(&sse(&short)).answer().parts, [thinking("hm"), text("abc")]);
}

#[test]
fn several_tool_calls_come_at_once() {
    let calls = json!({ "content": "", "tool_calls": [
        { "index": 0, "id": "x", "type": "function", "function": { "name": "f", "arguments": "{\"a\": 1}" } },
        { "function": { "name": "g", "arguments": { "b": [2] } } },
    ]});
    let answer = message(&calls, "tool_calls");
    assert_eq!(answer.parts, [call("x", "f", "{\"a\": 1}"), call("call_1", "g", "{\"b\":[2]}")]);
    assert_eq!(answer.finish_reason, Some(FinishReason::ToolCalls));
}

#[test]
fn pieces_of_tool_calls_are_told_apart_by_index() {
    let piece = |index: u32, id: &str, function: Value, finish: &str| {
        frame(&json!({ "content": "", "tool_calls": [{ "index": index, "id": id, "type": "function", "function": function }] }), finish, 1)
    };
    let frames = [
        say("Wait.", "null", 1),
        piece(0, "a", json!({ "name": "f", "arguments": "{\"x\"" }), "null"),
        piece(0, "", json!({ "arguments": ": 1}" }), "null"),
        piece(1, "b", json!({ "name": "g", "arguments": "" }), "null"),
        piece(1, "", json!({ "arguments": "{}" }), "tool_calls"),
    ];
    let answer = streamed(&sse(&frames)).answer();
    assert_eq!(answer.parts, [text("Wait."), call("a", "f", "{\"x\": 1}"), call("b", "g", "{}")]);
    assert_eq!(answer.finish_reason, Some(FinishReason::ToolCalls));
}

#[test]
fn tool_calls_that_are_repeated_as_they_grow_are_not_doubled() {
    let one = |arguments: &str| json!({ "index": 0, "id": "a", "function": { "name": "f", "arguments": arguments } });
    let other = json!({ "index": 1, "id": "b", "function": { "name": "g", "arguments": "{}" } });
    let calls = |calls: Value, finish: &str, tokens| frame(&json!({ "content": "Wait.", "tool_calls": calls }), finish, tokens);
    let frames = [
        say("Wait.", "null", 1),
        calls(json!([one("{\"x\"")]), "null", 2),
        calls(json!([one("{\"x\":1}")]), "null", 3),
        calls(json!([one("{\"x\":1}"), other]), "null", 4),
        calls(json!([one("{\"x\":1}"), other]), "tool_calls", 5),
    ];
    assert_eq!(streamed(&sse(&frames)).answer().parts, [text("Wait."), call("a", "f", "{\"x\":1}"), call("b", "g", "{}")]);
}

#[test]
fn frames_of_increments_are_joined() {
    assert_eq!(told(&["1", "+", "1", " is ", "2", ""]), "1+1 is 2");
    // An increment may begin like the one before it.
    assert_eq!(told(&["1", "10", ""]), "110");
    assert_eq!(told(&["ha", "ha", "ha", "!", ""]), "hahaha!");
    assert_eq!(told(&["ha", "ha"]), "haha");
    assert_eq!(told(&["\n", "\n", "\n\n", "x"]), "\n\n\n\nx");
    assert_eq!(told(&["a", "ab", "c", "abc"]), "aabcabc");
    assert_eq!(told(&["so", "", "far"]), "sofar");
}

#[test]
fn frames_of_the_whole_so_far_are_not_doubled() {
    assert_eq!(told(&["1", "1, 2", "1, 2, 3", "1, 2, 3"]), "1, 2, 3");
    assert_eq!(told(&["Your name", "Your name is Alice."]), "Your name is Alice.");
    assert_eq!(told(&["ß", "ß🦀", "ß🦀ü", "ß🦀ü"]), "ß🦀ü");
    // Half a code point is a token, and nothing to see yet.
    assert_eq!(told(&["So", "So", "So 🦀", "So 🦀!", "So 🦀!"]), "So 🦀!");
    let same = [say("Hi", "null", 1), say("Hi", "stop", 1)];
    assert_eq!(streamed(&sse(&same)).answer().text(), "Hi");
}

#[test]
fn where_pieces_can_be_read_in_two_ways_what_was_asked_decides() {
    let frames = [say("1", "null", 1), say("10", "null", 2)];
    for (asked, said) in [(true, vec!["1"]), (false, vec!["1", "0"])] {
        for settings in [json!({ "incremental_output": asked }), json!({ "incremental_output": !asked })] {
            let extra_body =
                (settings["incremental_output"] != asked).then(|| json!({ "parameters": { "incremental_output": asked } }).to_string());
            let request = ChatRequest { settings: settings.to_string(), extra_body, ..request() };
            let mut stream = DashScope::decoder(&request, &ResponseHead::new(200)).unwrap();
            let mut events = Vec::new();
            stream.push(sse(&frames).as_bytes(), &mut events).unwrap();
            let texts: Vec<&str> =
                events.iter().filter_map(|event| if let Event::Text(text) = event { Some(text.as_str()) } else { None }).collect();
            assert_eq!(texts, said);
        }
    }
}

#[test]
fn increments_are_told_as_they_come() {
    let mut stream = DashScope::decoder(&request(), &ResponseHead::new(200)).unwrap();
    for (at, piece) in ["The", " sky", " is", " blue"].into_iter().enumerate() {
        let mut events = Vec::new();
        stream.push(sse(&[say(piece, "null", at as u64 + 1)]).as_bytes(), &mut events).unwrap();
        assert!(events.contains(&Event::Text(piece.to_owned())), "{piece}: {events:?}");
    }
}

#[test]
fn the_last_usage_counts_and_comes_with_the_end() {
    let events = streamed(&sse(&[say("a", "null", 1), say("b", "null", 2), say("", "stop", 3)])).events;
    let usages: Vec<&Usage> = events.iter().filter_map(|event| if let Event::Usage(usage) = event { Some(usage) } else { None }).collect();
    assert_eq!(usages.len(), 1);
    assert_eq!((usages[0].input_tokens, usages[0].output_tokens), (Some(5), Some(3)));
    // What was counted before a stream breaks off was spent all the same.
    let broken = streamed(&sse(&[say("a", "null", 1), say("b", "null", 2)]));
    assert_eq!(broken.failure.unwrap().kind, FailureKind::Broken);
    assert!(matches!(broken.events.last(), Some(Event::Usage(usage)) if usage.output_tokens == Some(2)));
}

#[test]
fn usage_is_counted_alike_for_all() {
    let usage = |wire: Value| {
        let body = json!({ "output": { "text": "a" }, "usage": wire });
        answered(200, &body.to_string()).unwrap().usage
    };
    let all = json!({
        "input_tokens": 30, "output_tokens": 20, "total_tokens": 50, "image_tokens": 12,
        "prompt_tokens_details": { "cached_tokens": 4, "cache_creation_input_tokens": 2 },
        "output_tokens_details": { "reasoning_tokens": 15, "text_tokens": 5 },
    });
    let wanted = Usage {
        input_tokens: Some(30),
        output_tokens: Some(20),
        cached_tokens: Some(4),
        cache_write_tokens: Some(2),
        reasoning_tokens: Some(15),
        raw: Some(all.to_string()),
    };
    assert_eq!(usage(all), Some(wanted));
    assert_eq!(usage(json!({})), None);
    assert_eq!(usage(json!({ "input_tokens": "many", "output_tokens": -1 })).unwrap().input_tokens, None);
}

#[test]
fn log_probabilities_come_with_their_alternatives() {
    let token =
        |token: &str| json!({ "token": token, "logprob": -0.1, "bytes": [1], "top_logprobs": [{ "token": "ho", "logprob": -2.5 }] });
    let wanted = |token: &str| TokenLogprob {
        token: token.into(),
        logprob: -0.1,
        alternatives: vec![TopLogprob { token: "ho".into(), logprob: -2.5 }],
    };
    let choice = |text: &str, tokens: Value, finish: &str| json!({ "message": { "content": text }, "logprobs": { "content": tokens }, "finish_reason": finish });
    let answer = whole(&json!({ "choices": [choice("hi", json!([token("hi"), { "token": 1 }]), "stop")] })).unwrap();
    assert_eq!(answer.logprobs, [wanted("hi")]);
    let body = |choice: Value| json!({ "output": { "choices": [choice] }, "request_id": "r" });
    let increments = [
        body(choice("a", json!([token("a")]), "null")),
        body(choice("b", json!([token("b")]), "null")),
        body(choice("c", json!([token("c")]), "stop")),
    ];
    assert_eq!(streamed(&sse(&increments)).answer().logprobs, [wanted("a"), wanted("b"), wanted("c")]);
    let wholes = [
        body(choice("a", json!([token("a")]), "null")),
        body(choice("ab", json!([token("a"), token("b")]), "null")),
        body(choice("abc", json!([token("a"), token("b"), token("c")]), "stop")),
    ];
    assert_eq!(streamed(&sse(&wholes)).answer().logprobs, [wanted("a"), wanted("b"), wanted("c")]);
}

#[test]
fn reasons_to_stop_have_the_words_of_the_wire() {
    let finish = |word: &str| message(&json!({ "content": "a" }), word).finish_reason;
    assert_eq!(finish("stop"), Some(FinishReason::Stop));
    assert_eq!(finish("length"), Some(FinishReason::Length));
    assert_eq!(finish("tool_calls"), Some(FinishReason::ToolCalls));
    assert_eq!(finish("content_filter"), Some(FinishReason::ContentFilter));
    assert_eq!(finish("else"), Some(FinishReason::Other("else".into())));
    assert_eq!(finish("null"), None);
    assert_eq!(finish(""), None);
}

#[test]
fn of_several_choices_the_first_counts() {
    let choice = |index: u32, text: &str, finish: &str| json!({ "index": index, "message": { "content": text }, "finish_reason": finish });
    assert_eq!(whole(&json!({ "choices": [choice(1, "b", "stop"), choice(0, "a", "stop")] })).unwrap().parts, [text("a")]);
    let body = |choice: Value| json!({ "output": { "choices": [choice] } });
    let frames = [body(choice(0, "a", "null")), body(choice(1, "x", "length")), body(choice(0, "b", "stop"))];
    let answer = streamed(&sse(&frames)).answer();
    assert_eq!((answer.parts, answer.finish_reason), (vec![text("ab")], Some(FinishReason::Stop)));
}

#[test]
fn what_is_no_answer_is_a_failure_with_the_beginning_of_the_body() {
    for body in [
        "",
        "   ",
        "<html><body>busy</body></html>",
        "{\"output\": {",
        "[]",
        "null",
        "42",
        "{}",
        "{\"output\": {}}",
        "{\"output\": {\"choices\": []}}",
        "{\"output\": {\"choices\": [{}]}}",
        "{\"output\": 1}",
    ] {
        let failure = answered(200, body).unwrap_err();
        assert_eq!((failure.kind, failure.status), (FailureKind::Protocol, Some(200)), "{body}");
        assert_eq!(failure.raw.as_deref(), (!body.is_empty()).then_some(body));
    }
}

#[test]
fn an_error_under_status_200_is_a_failure() {
    let failure = answered(200, r#"{"code":"InvalidParameter","message":"Model not exist.","request_id":"r"}"#).unwrap_err();
    let told = (failure.kind, failure.message.as_str(), failure.code.as_deref(), failure.request_id.as_deref(), failure.status);
    assert_eq!(told, (FailureKind::NotFound, "Model not exist.", Some("InvalidParameter"), Some("r"), Some(200)));
    let gateways = answered(200, r#"{"error":{"message":"Busy.","code":"Throttling"}}"#).unwrap_err();
    assert_eq!((gateways.kind, gateways.message.as_str()), (FailureKind::RateLimit, "Busy."));
    // Empty words beside an answer say nothing.
    assert_eq!(answered(200, r#"{"code":"","message":"","output":{"text":"a"}}"#).unwrap().parts, [text("a")]);
}

#[test]
fn an_error_in_the_middle_of_a_stream_comes_after_what_was_said_before_it() {
    let hello = sse(&[say("Hello", "null", 1)]);
    let error = r#"{"code":"DataInspectionFailed","message":"Output data may contain inappropriate content.","request_id":"r"}"#;
    for stream in [
        format!("{hello}id:2\nevent:error\n:HTTP_STATUS/400\ndata:{error}\n\n"),
        format!("{hello}data:{error}\n\n"),
        format!("{hello}id:2\nevent:error\n:HTTP_STATUS/400\ndata:{error}"),
    ] {
        let outcome = streamed(&stream);
        assert_eq!(outcome.answer().text(), "Hello");
        let failure = outcome.failure.unwrap();
        assert_eq!(
            (failure.kind, failure.message.as_str()),
            (FailureKind::ContentFilter, "Output data may contain inappropriate content.")
        );
        assert_eq!((failure.request_id.as_deref(), failure.status), (Some("r"), Some(200)));
    }
    let words = streamed(&format!("{hello}event:error\ndata:Broke.\n\n")).failure.unwrap();
    assert_eq!((words.kind, words.message.as_str()), (FailureKind::Server, "Broke."));
    let at_once = streamed("id:1\nevent:error\n:HTTP_STATUS/429\ndata:{\"code\":\"Throttling.RateQuota\",\"message\":\"Slow down.\"}\n\n");
    assert_eq!(at_once.failure.unwrap().kind, FailureKind::RateLimit);
}

#[test]
fn a_stream_ends_with_its_finish_reason_and_nothing_less() {
    let complete = [say("Hello", "null", 1), say("", "stop", 1)];
    for stream in [
        sse(&complete),
        sse(&complete).trim_end().to_owned(),
        sse(&complete).replace('\n', "\r\n"),
        sse(&complete).replace("data:", "data: "),
        format!("{}data: [DONE]\n\n", sse(&complete)),
        // Nothing between the events.
        sse(&complete).replace("\n\n", "\n"),
    ] {
        let outcome = streamed(&stream);
        let told = (outcome.answer().text(), outcome.answer().finish_reason, outcome.failure.clone());
        assert_eq!(told, ("Hello".into(), Some(FinishReason::Stop), None), "{stream}");
    }
    assert_eq!(streamed(&sse(&complete[..1])).failure.unwrap().kind, FailureKind::Broken);
    assert_eq!(streamed(&format!("{}data:{{\"out", sse(&complete[..1]))).failure.unwrap().kind, FailureKind::Broken);
    assert_eq!(streamed("").failure.unwrap().kind, FailureKind::Broken);
    assert_eq!(streamed("data:{\"half\n\n").failure.unwrap().kind, FailureKind::Protocol);
    assert_eq!(streamed(&format!("{}data: [DONE]\n\n", sse(&complete[..1]))).failure.unwrap().kind, FailureKind::Broken);
}

#[test]
fn a_server_that_answers_a_stream_as_a_whole_is_understood() {
    let output = json!({ "choices": [{ "message": { "content": "Hello", "tool_calls": [{ "id": "x", "function": { "name": "f", "arguments": "{}" } }] }, "finish_reason": "stop" }] });
    let answer = json!({ "output": output, "usage": { "input_tokens": 1 }, "request_id": "r" });
    let outcome = streamed(&format!("{answer:#}"));
    assert_eq!((outcome.answer().parts, outcome.failure), (vec![text("Hello"), call("x", "f", "{}")], None));
    let error = streamed(r#"{"code":"InvalidApiKey","message":"No."}"#).failure.unwrap();
    assert_eq!((error.kind, error.message.as_str()), (FailureKind::Authentication, "No."));
    assert_eq!(streamed("<html>busy</html>").failure.unwrap().kind, FailureKind::Protocol);
}

#[test]
fn the_events_are_the_same_however_the_bytes_are_cut() {
    let calls = json!([{ "index": 0, "id": "a", "function": { "name": "f", "arguments": "{\"k\":\"ä\"}" } }]);
    let frames = [
        frame(&json!({ "content": "", "reasoning_content": "grübel" }), "null", 1),
        say("Grüße", "null", 2),
        say(" 🦀", "null", 3),
        frame(&json!({ "content": "", "tool_calls": calls }), "tool_calls", 4),
    ];
    let stream = format!("\u{FEFF}{}", sse(&frames).replace("\n\n", "\r\n\r\n"));
    let once = streamed(&stream);
    assert_eq!(once.failure, None);
    assert_eq!(once.events.len(), 7, "{:?}", once.events);
    for pieces in every_cut(stream.as_bytes()) {
        assert_eq!(decode_stream::<DashScope>(&request(), ResponseHead::new(200), pieces), once);
    }
}
