//! Every shape of an answer, whole and streamed.
#![allow(clippy::unwrap_used, clippy::wildcard_imports)] // this is how a test fails; all of what Bedrock writes

mod wire;

use pg_llm_guest::http::Headers;
use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{decode_stream, decode_whole, every_cut};
use pg_llm_provider_bedrock::{Bedrock, encode};

use wire::*;

fn parts(content: &Value) -> Vec<Part> {
    whole(content, "end_turn").unwrap().parts
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn call(id: &str, name: &str, arguments: &str) -> Part {
    Part::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), signature: None })
}

fn thinking(text: &str, signature: Option<&str>, redacted: bool) -> Part {
    Part::Thinking(Thinking { text: text.into(), signature: signature.map(str::to_owned), redacted })
}

#[test]
fn texts_are_joined_as_they_came() {
    assert_eq!(parts(&json!([{ "text": "a" }, { "text": " b" }])), [text("a b")]);
    assert_eq!(parts(&json!([{ "text": "" }])), []);
    let cited = json!([{ "text": "See " }, { "citationsContent": { "content": [{ "text": "page" }, { "text": " 3" }], "citations": [{ "title": "t" }] } }, { "text": "." }]);
    assert_eq!(parts(&cited), [text("See page 3.")]);
    let answer = whole(&json!([{ "text": "a" }]), "end_turn").unwrap();
    assert_eq!((answer.id.as_deref(), answer.model), (Some("id-1"), None));
    assert!(answer.raw.unwrap().contains("latencyMs"));
}

#[test]
fn blocks_that_are_no_words_are_left_to_the_raw_answer() {
    let content = json!([{ "image": { "format": "png" } }, { "toolUse": { "toolUseId": "s", "name": "search", "type": "server_tool_use", "input": {} } }, { "toolResult": { "toolUseId": "s" } }, { "surprise": 1 }, 7, null, { "text": "a" }]);
    assert_eq!(parts(&content), [text("a")]);
    let stream = [
        start(),
        event(
            "contentBlockStart",
            &json!({ "contentBlockIndex": 0, "start": { "toolUse": { "toolUseId": "s", "name": "search", "type": "server_tool_use" } } }),
        ),
        input(0, "{\"q\":1}"),
        block_stop(0),
        event("contentBlockStart", &json!({ "contentBlockIndex": 1, "start": { "image": { "format": "png" } } })),
        delta(1, &json!({ "image": { "source": { "bytes": "eA==" } } })),
        delta(2, &json!({ "citation": { "title": "t" } })),
        event("surprise", &json!({ "usage": { "inputTokens": 1 } })),
        message("event", ":event-type", "surprise", "no JSON"),
        delta(2, &json!({ "text": "a" })),
        stop("end_turn"),
    ];
    let outcome = streamed(&stream);
    assert_eq!((outcome.answer().parts, outcome.answer().usage, outcome.failure), (vec![text("a")], None, None));
}

#[test]
fn an_answer_may_have_no_content_when_there_is_a_word_for_its_end() {
    for reason in ["end_turn", "max_tokens", "guardrail_intervened"] {
        assert_eq!(whole(&json!([]), reason).unwrap().parts, []);
        let outcome = streamed(&[start(), stop(reason), metadata()]);
        assert_eq!((outcome.answer().parts, outcome.failure), (vec![], None));
    }
    assert_eq!(answered(200, &[], r#"{"output":{"message":{"content":[]}}}"#).unwrap_err().kind, FailureKind::Protocol);
    assert_eq!(answered(200, &[], r#"{"output":{"message":{"content":[{"text":"a"}]}}}"#).unwrap().finish_reason, None);
}

#[test]
fn thinking_comes_apart_and_goes_back_as_it_came() {
    let content = json!([
        { "reasoningContent": { "reasoningText": { "text": "Hm.", "signature": "c2ln" } } },
        { "reasoningContent": { "redactedContent": "ZW5j" } },
        { "reasoningContent": { "reasoningText": { "text": "", "signature": "c2lnMg==" } } },
        { "text": "a" },
    ]);
    let wanted = [thinking("Hm.", Some("c2ln"), false), thinking("", Some("ZW5j"), true), thinking("", Some("c2lnMg=="), false), text("a")];
    let answer = whole(&content, "end_turn").unwrap();
    assert_eq!(answer.parts, wanted);
    let reasoning = |index, reasoning: Value| delta(index, &json!({ "reasoningContent": reasoning }));
    let stream = [
        start(),
        reasoning(0, json!({ "text": "H" })),
        reasoning(0, json!({ "text": "m." })),
        reasoning(0, json!({ "signature": "c2ln" })),
        block_stop(0),
        reasoning(1, json!({ "redactedContent": "ZW5j" })),
        block_stop(1),
        reasoning(2, json!({ "text": "" })),
        reasoning(2, json!({ "signature": "c2lnMg==" })),
        block_stop(2),
        delta(3, &json!({ "text": "a" })),
        block_stop(3),
        stop("end_turn"),
        metadata(),
    ];
    assert_eq!(streamed(&stream).answer().parts, wanted);
    // The round trip.
    let mut next = request();
    next.messages.push(Message { role: Role::Assistant, parts: answer.parts });
    next.messages.push(Message::user("and?"));
    let body: Value = serde_json::from_slice(&encode(&next, Mode::Whole).unwrap().body).unwrap();
    assert_eq!(body["messages"][1]["content"], content);
    // Not every model signs.
    assert_eq!(parts(&json!([{ "reasoningContent": { "reasoningText": { "text": "Hm." } } }])), [thinking("Hm.", None, false)]);
    assert_eq!(parts(&json!([{ "reasoningContent": { "reasoningText": { "text": "" } } }, { "reasoningContent": {} }])), []);
}

#[test]
fn tool_calls_come_with_their_arguments_one_or_several() {
    let content = json!([
        { "text": "Let me see." },
        { "toolUse": { "toolUseId": "t1", "name": "f", "input": { "b": 1, "a": "ä" } } },
        { "toolUse": { "toolUseId": "t2", "name": "g", "input": {} } },
    ]);
    let answer = whole(&content, "tool_use").unwrap();
    let wanted = [text("Let me see."), call("t1", "f", r#"{"b":1,"a":"ä"}"#), call("t2", "g", "{}")];
    assert_eq!((&answer.parts[..], answer.finish_reason), (&wanted[..], Some(FinishReason::ToolCalls)));
    let stream = [
        start(),
        delta(0, &json!({ "text": "Let me see." })),
        block_stop(0),
        tool_start(1, "t1", "f"),
        input(1, ""),
        input(1, "{\"b\":1"),
        tool_start(2, "t2", "g"),
        input(1, ",\"a\":\"ä\"}"),
        block_stop(1),
        block_stop(2),
        stop("tool_use"),
        metadata(),
    ];
    let outcome = streamed(&stream);
    assert_eq!((&outcome.answer().parts[..], outcome.answer().finish_reason), (&wanted[..], Some(FinishReason::ToolCalls)));
    assert_eq!(outcome.failure, None);
    // A call that begins twice is one.
    let twice = [start(), tool_start(1, "t1", "f"), tool_start(1, "t2", "g"), input(1, "{}"), stop("tool_use")];
    assert_eq!(streamed(&twice).answer().parts, [call("t1", "f", "{}")]);
}

#[test]
fn an_answer_that_was_asked_for_as_a_tool_is_a_text() {
    let body = json!({ "output": { "message": { "content": [{ "toolUse": { "toolUseId": "t", "name": "answer", "input": { "why": "because" } } }] } }, "stopReason": "tool_use" });
    let answer = decode_whole::<Bedrock>(&as_tool(), HttpResponse::new(200, body.to_string())).unwrap();
    assert_eq!((answer.parts, answer.finish_reason), (vec![text(r#"{"why":"because"}"#)], Some(FinishReason::Stop)));
    let stream = [
        start(),
        tool_start(0, "t", "answer"),
        input(0, "{\"why\":"),
        input(0, "\"because\"}"),
        block_stop(0),
        stop("tool_use"),
        metadata(),
    ];
    let outcome = streamed_to(&as_tool(), &stream);
    assert_eq!((outcome.answer().parts, outcome.answer().finish_reason), (vec![text(r#"{"why":"because"}"#)], Some(FinishReason::Stop)));
    // To whom nothing was asked so, it is a call like any other.
    assert_eq!(streamed(&stream).answer().parts, [call("t", "answer", r#"{"why":"because"}"#)]);
}

#[test]
fn each_word_for_the_end_has_its_meaning() {
    for (word, wanted) in [
        ("end_turn", FinishReason::Stop),
        ("stop_sequence", FinishReason::Stop),
        ("tool_use", FinishReason::ToolCalls),
        ("max_tokens", FinishReason::Length),
        ("model_context_window_exceeded", FinishReason::Length),
        ("guardrail_intervened", FinishReason::ContentFilter),
        ("content_filtered", FinishReason::ContentFilter),
        ("malformed_tool_use", FinishReason::Other("malformed_tool_use".into())),
    ] {
        assert_eq!(whole(&json!([{ "text": "a" }]), word).unwrap().finish_reason, Some(wanted.clone()));
        assert_eq!(streamed(&[start(), stop(word), metadata()]).answer().finish_reason, Some(wanted));
    }
}

#[test]
fn usage_is_counted_as_everywhere() {
    let usage = |wire: Value| {
        let body = json!({ "output": { "message": { "content": [{ "text": "a" }] } }, "stopReason": "end_turn", "usage": wire });
        let usage = answered(200, &[], &body.to_string()).unwrap().usage;
        usage.map(|usage| {
            assert_eq!(usage.raw, Some(body["usage"].to_string()));
            (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.cache_write_tokens)
        })
    };
    let plain = json!({ "inputTokens": 10, "outputTokens": 20, "totalTokens": 30 });
    assert_eq!(usage(plain), Some((Some(10), Some(20), None, None)));
    // What the cache holds is counted beside the input ...
    let cached = json!({ "inputTokens": 10, "outputTokens": 20, "totalTokens": 1530, "cacheReadInputTokens": 1000, "cacheWriteInputTokens": 500, "cacheDetails": [{ "ttl": "5m", "inputTokens": 500 }] });
    assert_eq!(usage(cached), Some((Some(1510), Some(20), Some(1000), Some(500))));
    let without_total = json!({ "inputTokens": 10, "outputTokens": 20, "cacheReadInputTokens": 1000 });
    assert_eq!(usage(without_total), Some((Some(1010), Some(20), Some(1000), None)));
    let more_input = json!({ "inputTokens": 2000, "outputTokens": 20, "totalTokens": 3020, "cacheReadInputTokens": 1000 });
    assert_eq!(usage(more_input), Some((Some(3000), Some(20), Some(1000), None)));
    let total_without = json!({ "inputTokens": 10, "outputTokens": 20, "totalTokens": 30, "cacheReadInputTokens": 1000 });
    assert_eq!(usage(total_without), Some((Some(1010), Some(20), Some(1000), None)));
    // ... unless the total shows it inside.
    let inside =
        json!({ "inputTokens": 1010, "outputTokens": 20, "totalTokens": 1030, "cacheReadInputTokens": 1000, "cacheWriteInputTokens": 0 });
    assert_eq!(usage(inside), Some((Some(1010), Some(20), Some(1000), Some(0))));
    assert_eq!(usage(json!({ "inputTokens": "many" })), Some((None, None, None, None)));
    assert_eq!(usage(json!({})), None);
    assert_eq!(usage(Value::Null), None);
    let outcome = streamed(&[start(), delta(0, &json!({ "text": "a" })), stop("end_turn"), metadata()]);
    assert_eq!(outcome.answer().usage.unwrap().input_tokens, Some(7));
}

#[test]
fn a_stream_ends_with_its_metadata_or_with_its_body_after_the_end_of_the_message() {
    let hello = [start(), delta(0, &json!({ "text": "Hello" })), block_stop(0)];
    let outcome = |rest: &[Vec<u8>]| streamed(&[&hello[..], rest].concat());
    let first = outcome(&[stop("end_turn"), metadata()]);
    assert_eq!(first.events[0], Event::Started(Started { id: Some("id-1".into()), model: None }));
    // What comes after the last word is not waited for.
    assert_eq!(outcome(&[stop("end_turn"), metadata(), b"garbage".repeat(10)]), first);
    // The order of the two is the server's affair, and each is told once.
    assert_eq!(outcome(&[metadata(), stop("end_turn")]).answer(), first.answer());
    assert_eq!(outcome(&[stop("end_turn"), stop("max_tokens"), start(), metadata()]).events, first.events);
    let without_usage = outcome(&[stop("end_turn")]);
    assert_eq!((without_usage.answer().usage, without_usage.failure), (None, None));
    let cut = stop("end_turn");
    for rest in [vec![], vec![metadata()], vec![cut[..cut.len() - 1].to_vec()]] {
        let outcome = outcome(&rest);
        assert_eq!((outcome.answer().text().as_str(), outcome.failure.unwrap().kind), ("Hello", FailureKind::Broken));
    }
    assert_eq!(streamed(&[]).failure.unwrap().kind, FailureKind::Broken);
}

#[test]
fn a_stream_that_is_none_is_a_failure_or_an_answer_as_a_whole() {
    let json_head = || head(200, &[("content-type", "application/json; charset=utf-8"), ("x-amzn-requestid", "id-1")]);
    let played = |body: &str| decode_stream::<Bedrock>(&request(), json_head(), vec![body.into()]);
    let body = json!({ "output": { "message": { "content": [
        { "reasoningContent": { "reasoningText": { "text": "Hm.", "signature": "s" } } },
        { "reasoningContent": { "redactedContent": "ZW5j" } },
        { "text": "Hello" },
        { "toolUse": { "toolUseId": "t", "name": "f", "input": {} } },
    ] } }, "stopReason": "tool_use", "usage": { "inputTokens": 1, "outputTokens": 2, "totalTokens": 3 } });
    let outcome = played(&body.to_string());
    let whole = decode_whole::<Bedrock>(&request(), HttpResponse { head: json_head(), body: body.to_string().into_bytes() }).unwrap();
    assert_eq!(outcome.failure, None);
    assert_eq!(outcome.answer(), Answer { raw: None, ..whole });
    let error = played(r#"{"__type":"com.amazon.coral.service#ThrottlingException","message":"Slow down."}"#).failure.unwrap();
    assert_eq!((error.kind, error.message.as_str()), (FailureKind::RateLimit, "Slow down."));
    assert_eq!(played("").failure.unwrap().kind, FailureKind::Broken);
    assert_eq!(played("<html>").failure.unwrap().kind, FailureKind::Protocol);
    let failure = streamed(&[b"<html><body>Service busy</body></html>".to_vec()]).failure.unwrap();
    assert_eq!((failure.kind, failure.status), (FailureKind::Protocol, Some(200)));
    assert!(failure.raw.unwrap().contains("Service busy"));
}

#[test]
fn the_events_are_the_same_however_the_bytes_are_cut() {
    let stream = [
        start(),
        delta(0, &json!({ "reasoningContent": { "text": "grübel" } })),
        block_stop(0),
        delta(1, &json!({ "text": "Grüße 🦀" })),
        tool_start(2, "t", "f"),
        input(2, "{\"k\":\"ä\"}"),
        block_stop(2),
        stop("tool_use"),
        metadata(),
    ]
    .concat();
    let once = streamed(std::slice::from_ref(&stream));
    assert_eq!((once.events.len(), once.failure.clone()), (7, None), "{:?}", once.events);
    for pieces in every_cut(&stream) {
        assert_eq!(decode_stream::<Bedrock>(&request(), stream_head(), pieces), once);
    }
    // Cut off anywhere before the end of the message it is no answer, and says what was said so far.
    let end = stream.len() - metadata().len();
    for at in 0..end {
        let outcome = decode_stream::<Bedrock>(&request(), stream_head(), vec![stream[..at].to_vec()]);
        assert_eq!(outcome.failure.unwrap().kind, FailureKind::Broken, "cut at {at}");
        assert!(once.events.starts_with(&outcome.events), "cut at {at}");
    }
}

#[test]
fn the_id_of_an_answer_is_the_requests() {
    let empty = Headers::default();
    let body = json!({ "output": { "message": { "content": [{ "text": "a" }] } }, "stopReason": "end_turn" }).to_string();
    let answer =
        decode_whole::<Bedrock>(&request(), HttpResponse { head: ResponseHead { status: 200, headers: empty }, body: body.into() });
    assert_eq!(answer.unwrap().id, None);
}
