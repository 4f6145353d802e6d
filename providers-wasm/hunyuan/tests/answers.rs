//! Every shape of an answer, whole and streamed.
#![allow(clippy::unwrap_used, clippy::panic)] // this is how a test fails

use pg_llm_guest::http::Headers;
use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{Outcome, decode_stream, decode_whole, every_cut};
use pg_llm_provider_hunyuan::Hunyuan;

fn request() -> ChatRequest {
    ChatRequest::new("m", vec![Message::user("hello")])
}

fn answered(status: u16, body: &str) -> Result<Answer, Failure> {
    decode_whole::<Hunyuan>(&request(), HttpResponse::new(status, body))
}

fn whole(response: &Value) -> Result<Answer, Failure> {
    answered(200, &json!({ "Response": response }).to_string())
}

fn message(message: &Value, finish: &str) -> Answer {
    whole(&json!({ "RequestId": "r", "Choices": [{ "Message": message, "FinishReason": finish }] })).unwrap()
}

fn sse(frames: &[Value]) -> String {
    frames.iter().flat_map(|frame| ["data: ".to_owned(), frame.to_string(), "\n\n".to_owned()]).collect()
}

fn frame(delta: &Value, finish: &str, tokens: u64) -> Value {
    json!({
        "Note": "n",
        "Choices": [{ "Delta": delta, "FinishReason": finish }],
        "Created": 1,
        "Id": "i",
        "Usage": { "PromptTokens": 5, "CompletionTokens": tokens, "TotalTokens": 5 + tokens },
    })
}

fn say(text: &str, finish: &str, tokens: u64) -> Value {
    frame(&json!({ "Role": "assistant", "Content": text }), finish, tokens)
}

fn streamed(text: &str) -> Outcome {
    let head = ResponseHead { status: 200, headers: Headers::from_iter([("x-tc-requestid", "from-head")]) };
    decode_stream::<Hunyuan>(&request(), head, vec![text.as_bytes().to_vec()])
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
fn an_answer_comes_in_an_envelope_or_without() {
    let answer = message(&json!({ "Content": "hi" }), "stop");
    assert_eq!((answer.parts, answer.finish_reason, answer.id.as_deref()), (vec![text("hi")], Some(FinishReason::Stop), Some("r")));
    let bare = json!({ "Id": "i", "Choices": [{ "Message": { "Content": "hi" }, "FinishReason": "stop" }] });
    let answer = answered(200, &bare.to_string()).unwrap();
    assert_eq!((answer.parts, answer.id.as_deref()), (vec![text("hi")], Some("i")));
    assert_eq!(message(&json!({ "Content": "" }), "stop").parts, []);
}

#[test]
fn thinking_stands_apart() {
    assert_eq!(message(&json!({ "ReasoningContent": "hm", "Content": "a" }), "stop").parts, [thinking("hm"), text("a")]);
    let think = |thought: &str| frame(&json!({ "Role": "assistant", "ReasoningContent": thought }), "", 1);
    let answer = streamed(&sse(&[think("h"), think("m"), say("a", "", 2), say("", "stop", 2)])).answer();
    assert_eq!(answer.parts, [thinking("hm"), text("a")]);
}

#[test]
fn several_tool_calls_come_at_once_with_an_id_or_without() {
    let calls = json!({ "Content": "Wait.", "ToolCalls": [
        { "Id": "x", "Type": "function", "Function": { "Name": "f", "Arguments": "{\"a\":1}" } },
        { "Type": "function", "Function": { "Name": "g", "Arguments": { "b": [2] } } },
    ]});
    let answer = message(&calls, "tool_calls");
    assert_eq!(answer.parts, [text("Wait."), call("x", "f", "{\"a\":1}"), call("call_1", "g", "{\"b\":[2]}")]);
    assert_eq!(answer.finish_reason, Some(FinishReason::ToolCalls));
}

#[test]
fn pieces_of_tool_calls_belong_together_by_their_id() {
    let piece = |id: &str, name: &str, arguments: &str| {
        frame(
            &json!({ "Content": "", "ToolCalls": [{ "Id": id, "Type": "function", "Function": { "Name": name, "Arguments": arguments } }] }),
            "",
            1,
        )
    };
    let frames = [
        piece("a", "f", ""),
        piece("b", "g", "{\"y\":"),
        piece("a", "", "{\"x\":"),
        piece("b", "", "2}"),
        piece("a", "f", "1}"),
        say("", "tool_calls", 2),
    ];
    let answer = streamed(&sse(&frames)).answer();
    assert_eq!(answer.parts, [call("a", "f", "{\"x\":1}"), call("b", "g", "{\"y\":2}")]);
    assert_eq!(answer.finish_reason, Some(FinishReason::ToolCalls));
}

#[test]
fn pieces_of_tool_calls_without_an_id_belong_together_all_the_same() {
    let piece = |call: Value| frame(&json!({ "ToolCalls": [call] }), "", 1);
    let by_index = [
        piece(json!({ "Index": 0, "Id": "a", "Function": { "Name": "f", "Arguments": "{" } })),
        piece(json!({ "Index": 1, "Id": "b", "Function": { "Name": "g", "Arguments": "" } })),
        piece(json!({ "Index": 0, "Id": "", "Function": { "Arguments": "}" } })),
        piece(json!({ "Index": 1, "Function": { "Arguments": "{}" } })),
        say("", "tool_calls", 2),
    ];
    assert_eq!(streamed(&sse(&by_index)).answer().parts, [call("a", "f", "{}"), call("b", "g", "{}")]);
    let by_order = [
        piece(json!({ "Function": { "Name": "f", "Arguments": "{" } })),
        piece(json!({ "Function": { "Name": "", "Arguments": "}" } })),
        piece(json!({ "Function": { "Name": "g", "Arguments": "{}" } })),
        say("", "tool_calls", 2),
    ];
    assert_eq!(streamed(&sse(&by_order)).answer().parts, [call("call_0", "f", "{}"), call("call_1", "g", "{}")]);
}

#[test]
fn the_last_usage_counts_and_comes_with_the_end() {
    let events = streamed(&sse(&[say("a", "", 1), say("b", "", 2), say("", "stop", 3)])).events;
    let usages: Vec<&Usage> = events.iter().filter_map(|event| if let Event::Usage(usage) = event { Some(usage) } else { None }).collect();
    assert_eq!(usages.len(), 1);
    assert_eq!((usages[0].input_tokens, usages[0].output_tokens), (Some(5), Some(3)));
    let broken = streamed(&sse(&[say("a", "", 1), say("b", "", 2)]));
    assert_eq!(broken.failure.unwrap().kind, FailureKind::Broken);
    assert!(matches!(broken.events.last(), Some(Event::Usage(usage)) if usage.output_tokens == Some(2)));
}

#[test]
fn usage_has_its_one_meaning() {
    let usage = |wire: Value| whole(&json!({ "Choices": [{ "Message": { "Content": "a" } }], "Usage": wire })).unwrap().usage;
    let all = json!({ "PromptTokens": 30, "CompletionTokens": 20, "TotalTokens": 50, "PromptTokensDetails": { "CachedTokens": "4" } });
    let wanted =
        Usage { input_tokens: Some(30), output_tokens: Some(20), cached_tokens: Some(4), raw: Some(all.to_string()), ..Usage::default() };
    assert_eq!(usage(all), Some(wanted));
    assert_eq!(usage(json!({ "PromptTokensDetails": { "CachedTokens": 4 } })).unwrap().cached_tokens, Some(4));
    assert_eq!(usage(json!({ "PromptTokensDetails": null })).unwrap().cached_tokens, None);
    assert_eq!(usage(json!({})), None);
}

#[test]
fn reasons_to_stop_have_the_words_of_the_wire() {
    let finish = |word: &str| message(&json!({ "Content": "a" }), word).finish_reason;
    assert_eq!(finish("stop"), Some(FinishReason::Stop));
    assert_eq!(finish("length"), Some(FinishReason::Length));
    assert_eq!(finish("tool_calls"), Some(FinishReason::ToolCalls));
    assert_eq!(finish("sensitive"), Some(FinishReason::ContentFilter));
    assert_eq!(finish("else"), Some(FinishReason::Other("else".into())));
    assert_eq!(finish(""), None);
    let withdrawn = streamed(&sse(&[say("So", "", 1), say("", "sensitive", 1)]));
    assert_eq!((withdrawn.failure, withdrawn.events.contains(&Event::Finish(FinishReason::ContentFilter))), (None, true));
}

#[test]
fn what_is_no_answer_is_a_failure_with_the_beginning_of_the_body() {
    for body in [
        "",
        "   ",
        "<html><body>busy</body></html>",
        "{\"Response\": {",
        "[]",
        "null",
        "42",
        "{}",
        "{\"Response\": {}}",
        "{\"Response\": 1}",
        "{\"Response\": {\"Choices\": []}}",
        "{\"Response\": {\"Choices\": [{}]}}",
    ] {
        let failure = answered(200, body).unwrap_err();
        assert_eq!((failure.kind, failure.status), (FailureKind::Protocol, Some(200)), "{body}");
        assert_eq!(failure.raw.as_deref(), (!body.is_empty()).then_some(body));
    }
}

#[test]
fn a_stream_ends_with_its_finish_reason_and_nothing_less() {
    let complete = [say("Hello", "", 1), say("", "stop", 1)];
    for stream in [
        sse(&complete),
        sse(&complete).trim_end().to_owned(),
        sse(&complete).replace('\n', "\r\n"),
        sse(&complete).replace("data: ", "data:"),
        format!("{}data: [DONE]\n\n", sse(&complete)),
        // A tab stands where nothing should, as in the documentation; or there is no line between the events at all.
        sse(&complete).replace("\n\n", "\n\t\n"),
        format!("{}data: [DONE]\n\n", sse(&complete).replace("\n\n", "\n")),
    ] {
        let outcome = streamed(&stream);
        let told = (outcome.answer().text(), outcome.answer().finish_reason, outcome.answer().id, outcome.failure.clone());
        assert_eq!(told, ("Hello".into(), Some(FinishReason::Stop), Some("i".into()), None), "{stream}");
    }
    assert_eq!(streamed(&sse(&complete[..1])).failure.unwrap().kind, FailureKind::Broken);
    assert_eq!(streamed(&format!("{}data: {{\"Cho", sse(&complete[..1]))).failure.unwrap().kind, FailureKind::Broken);
    assert_eq!(streamed("").failure.unwrap().kind, FailureKind::Broken);
    assert_eq!(streamed("data: [DONE]\n\n").failure.unwrap().kind, FailureKind::Broken);
    assert_eq!(streamed("data: {\"half\n\n").failure.unwrap().kind, FailureKind::Protocol);
}

#[test]
fn a_server_that_answers_a_stream_as_a_whole_is_understood() {
    let message = json!({ "Content": "Hello", "ToolCalls": [{ "Id": "x", "Function": { "Name": "f", "Arguments": "{}" } }] });
    let answer = json!({ "Response": { "Choices": [{ "Message": message, "FinishReason": "stop" }], "Usage": { "PromptTokens": 1 } } });
    let outcome = streamed(&format!("{answer:#}"));
    assert_eq!((outcome.answer().parts, outcome.failure), (vec![text("Hello"), call("x", "f", "{}")], None));
    assert_eq!(streamed("<html>busy</html>").failure.unwrap().kind, FailureKind::Protocol);
}

#[test]
fn the_events_are_the_same_however_the_bytes_are_cut() {
    let calls = json!([{ "Id": "a", "Function": { "Name": "f", "Arguments": "{\"k\":\"ä\"}" } }]);
    let frames = [
        frame(&json!({ "Role": "assistant", "ReasoningContent": "grübel" }), "", 1),
        say("Grüße 🦀", "", 2),
        frame(&json!({ "Content": "", "ToolCalls": calls }), "tool_calls", 4),
    ];
    let stream = format!("\u{FEFF}: hello\r\n\r\n{}", sse(&frames));
    let once = decode_stream::<Hunyuan>(&request(), ResponseHead::new(200), vec![stream.as_bytes().to_vec()]);
    assert_eq!((once.failure.clone(), once.events.len()), (None, 6), "{:?}", once.events);
    for pieces in every_cut(stream.as_bytes()) {
        assert_eq!(decode_stream::<Hunyuan>(&request(), ResponseHead::new(200), pieces), once);
    }
}
