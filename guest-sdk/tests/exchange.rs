//! What the SDK does around a provider: sending, reading, failing.
#![allow(clippy::unwrap_used, clippy::panic)] // this is how a test fails

use pg_llm_guest::exchange::{Http, MAX_ERROR_BODY};
use pg_llm_guest::http::{Headers, HttpError};
use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{Script, decode_stream, decode_whole};

/// A wire format of lines: `!` is the finish, `.` the last word; anything else is text.
struct Lines;

impl Provider for Lines {
    type Stream = LinesStream;

    fn describe() -> Description {
        Description::new("lines", "1.0.0", "Lines.").profile(Profile::new("lines"))
    }

    fn encode(request: &ChatRequest, mode: Mode) -> Result<HttpRequest, Failure> {
        if request.messages.is_empty() {
            return Err(Failure::invalid("nothing to say"));
        }
        Ok(HttpRequest::post("/say").query("how", if mode == Mode::Stream { "bit by bit" } else { "whole" }).bearer("default"))
    }

    fn decode(_request: &ChatRequest, response: &HttpResponse) -> Result<Answer, Failure> {
        let body = response.json()?;
        Ok(Answer { parts: vec![Part::Text(body.to_string())], ..Answer::default() })
    }

    fn decoder(_request: &ChatRequest, _head: &ResponseHead) -> Result<LinesStream, Failure> {
        Ok(LinesStream(NdjsonDecoder::default()))
    }

    fn refine(_request: &ChatRequest, response: &HttpResponse, failure: &mut Failure) {
        assert!(response.body.len() <= MAX_ERROR_BODY);
        if failure.code.as_deref() == Some("full") {
            failure.kind = FailureKind::Overloaded;
        }
    }
}

struct LinesStream(NdjsonDecoder);

impl StreamDecoder for LinesStream {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<Progress, Failure> {
        for line in self.0.push(bytes)? {
            match line.as_str() {
                "!" => events.push(Event::Finish(FinishReason::Stop)),
                "." => return Ok(Progress::Done),
                "bad" => return Err(Failure::protocol("bad line", line.as_bytes())),
                _ => events.extend([Event::Text(line), Event::Text(String::new())]),
            }
        }
        Ok(Progress::More)
    }

    fn finish(&mut self, _events: &mut Vec<Event>) -> Result<(), Failure> {
        Ok(())
    }
}

pg_llm_guest::provider!(Lines);

fn request() -> ChatRequest {
    ChatRequest::new("m", vec![Message::user("hello")])
}

fn streamed(text: &str) -> (Vec<Event>, Option<FailureKind>) {
    let outcome = decode_stream::<Lines>(&request(), ResponseHead::new(200), vec![text.as_bytes().to_vec()]);
    (outcome.events, outcome.failure.map(|failure| failure.kind))
}

fn text(text: &str) -> Event {
    Event::Text(text.to_owned())
}

#[test]
fn a_request_is_sent_as_it_was_encoded() {
    Script::respond(ResponseHead::new(200), vec![b"1".to_vec()], None);
    Http::<Lines, Script>::complete(&request()).unwrap();
    let sent = Script::sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].path_with_query, "/say?how=whole");
}

#[test]
fn what_cannot_be_encoded_is_not_sent() {
    let nothing = ChatRequest::new("m", vec![]);
    assert_eq!(Http::<Lines, Script>::complete(&nothing).unwrap_err().kind, FailureKind::InvalidRequest);
    assert!(Script::sent().is_empty());
}

#[test]
fn a_body_in_pieces_is_one_body() {
    Script::respond(ResponseHead::new(200), vec![b"[1,".to_vec(), b"2]".to_vec()], None);
    assert_eq!(Http::<Lines, Script>::complete(&request()).unwrap().text(), "[1,2]");
}

#[test]
fn a_stream_without_a_finish_is_broken() {
    assert_eq!(streamed("a\n!\n"), (vec![text("a"), Event::Finish(FinishReason::Stop)], None));
    assert_eq!(streamed("a\n!\n.\nignored\n"), (vec![text("a"), Event::Finish(FinishReason::Stop)], None));
    assert_eq!(streamed("a\n"), (vec![text("a")], Some(FailureKind::Broken)));
    assert_eq!(streamed("a\n.\n"), (vec![text("a")], Some(FailureKind::Broken)));
    assert_eq!(streamed(""), (vec![], Some(FailureKind::Broken)));
}

#[test]
fn what_came_before_a_failure_is_delivered_before_it() {
    assert_eq!(streamed("a\nb\nbad\nc\n"), (vec![text("a"), text("b")], Some(FailureKind::Protocol)));
}

#[test]
fn a_stream_is_over_after_a_failure_and_after_its_end() {
    for (body, fails) in [("a\nbad\n", true), ("a\n!\n", false)] {
        Script::respond(ResponseHead::new(200), vec![body.into()], None);
        let mut stream = Http::<Lines, Script>::stream(&request()).unwrap();
        let mut failures = 0;
        let mut ends = 0;
        for _ in 0..10 {
            match stream.next() {
                Ok(Some(_)) => assert_eq!((failures, ends), (0, 0)),
                Ok(None) => ends += 1,
                Err(_) => failures += 1,
            }
        }
        assert_eq!(failures, i32::from(fails));
        assert!(ends > 0);
    }
}

#[test]
fn the_hosts_errors_are_failures_of_their_kind() {
    for (error, kind) in [
        (HttpError::Refused("x".into()), FailureKind::Refused),
        (HttpError::Key("x".into()), FailureKind::Authentication),
        (HttpError::Connect("x".into()), FailureKind::Connect),
        (HttpError::Timeout, FailureKind::Timeout),
        (HttpError::Broken("x".into()), FailureKind::Broken),
        (HttpError::TooLarge("x".into()), FailureKind::TooLarge),
        (HttpError::Cancelled, FailureKind::Cancelled),
    ] {
        Script::respond(ResponseHead::new(200), vec![b"a\n".to_vec()], Some(error.clone()));
        assert_eq!(Http::<Lines, Script>::complete(&request()).unwrap_err().kind, kind);
        Script::respond(ResponseHead::new(200), vec![b"a\n!\n".to_vec()], Some(error));
        let mut stream = Http::<Lines, Script>::stream(&request()).unwrap();
        let outcome = std::iter::from_fn(|| stream.next().transpose()).find_map(Result::err);
        assert_eq!(outcome.unwrap().kind, kind);
    }
}

#[test]
fn an_error_status_is_a_failure_whose_body_is_bounded() {
    let long = format!("{{\"message\":\"{}\",\"code\":\"full\"}}", "x".repeat(20_000));
    let failure = decode_whole::<Lines>(&request(), HttpResponse::new(500, long)).unwrap_err();
    assert_eq!((failure.kind, failure.status), (FailureKind::Overloaded, Some(500)));
    assert!(failure.message.len() <= 4096 && failure.raw.unwrap().len() <= 16 * 1024);
    let endless = vec![vec![b'x'; 40_000]; 1000];
    let outcome = decode_stream::<Lines>(&request(), ResponseHead::new(429), endless);
    assert_eq!(outcome.failure.unwrap().kind, FailureKind::RateLimit);
}

#[test]
fn an_error_body_that_breaks_off_leaves_the_status_to_speak() {
    Script::respond(ResponseHead::new(503), vec![b"{".to_vec()], Some(HttpError::Broken("reset".into())));
    let failure = Http::<Lines, Script>::complete(&request()).unwrap_err();
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Overloaded, "HTTP status 503"));
    Script::respond(ResponseHead::new(503), vec![b"{".to_vec()], Some(HttpError::Cancelled));
    assert_eq!(Http::<Lines, Script>::complete(&request()).unwrap_err().kind, FailureKind::Cancelled);
}

#[test]
fn a_redirect_is_named_and_not_followed() {
    let headers: Headers = [("location", "https://elsewhere.example/")].into_iter().collect();
    let response = HttpResponse { head: ResponseHead { status: 302, headers }, body: Vec::new() };
    let failure = decode_whole::<Lines>(&request(), response).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Protocol);
    assert!(failure.message.contains("https://elsewhere.example/"), "{}", failure.message);
}

#[test]
fn a_failure_after_the_head_carries_the_request_id() {
    let headers: Headers = [("X-Request-Id", "req_7")].into_iter().collect();
    let response = HttpResponse { head: ResponseHead { status: 200, headers }, body: b"no json".to_vec() };
    let failure = decode_whole::<Lines>(&request(), response).unwrap_err();
    assert_eq!((failure.request_id.as_deref(), failure.status, failure.raw.as_deref()), (Some("req_7"), Some(200), Some("no json")));
}

#[test]
fn errors_are_found_where_providers_put_them() {
    let said = |body: &str| {
        let failure = decode_whole::<Lines>(&request(), HttpResponse::new(400, body)).unwrap_err();
        (failure.message, failure.code.unwrap_or_default())
    };
    let pair = |message: &str, code: &str| (message.to_owned(), code.to_owned());
    assert_eq!(said(r#"{"error":{"message":"m","type":"t","code":"c"}}"#), pair("m", "c"));
    assert_eq!(said(r#"{"error":{"message":"m","type":"t","code":null}}"#), pair("m", "t"));
    assert_eq!(said(r#"{"error":{"message":"m","code":7,"status":"S"}}"#), pair("m", "7"));
    assert_eq!(said(r#"{"error":"m"}"#), pair("m", ""));
    assert_eq!(said(r#"{"message":"m","code":"c"}"#), pair("m", "c"));
    assert_eq!(said(r#"[{"error":{"message":"m","status":"S"}}]"#), pair("m", "S"));
    assert_eq!(said(r#"{"detail":[{"loc":["x"]}]}"#), pair(r#"[{"loc":["x"]}]"#, ""));
    assert_eq!(said(r#"{"errors":[{"message":"m"}]}"#), pair("m", ""));
    for nothing in ["", "<html>", "{}", "null", "[]", "7", "{\"error\":{}}", "{\"error\":null}"] {
        assert_eq!(said(nothing), pair("HTTP status 400", ""), "{nothing}");
    }
}
