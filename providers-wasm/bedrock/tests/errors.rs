//! Errors: by status, under a status of success, in the middle of a stream.
#![allow(clippy::unwrap_used)] // this is how a test fails

mod wire;

use pg_llm_guest::event_stream::HeaderValue;
use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::decode_stream;
use pg_llm_provider_bedrock::Bedrock;

use wire::{answered, delta, event, exception, head, message, request, start, streamed};

#[test]
fn an_exception_in_the_middle_of_a_stream_comes_after_what_was_said_before_it() {
    for (name, code, kind) in [
        ("throttlingException", "ThrottlingException", FailureKind::RateLimit),
        ("serviceUnavailableException", "ServiceUnavailableException", FailureKind::Overloaded),
        ("internalServerException", "InternalServerException", FailureKind::Server),
        ("modelStreamErrorException", "ModelStreamErrorException", FailureKind::Server),
        ("modelTimeoutException", "ModelTimeoutException", FailureKind::Timeout),
        ("validationException", "ValidationException", FailureKind::InvalidRequest),
        ("surpriseException", "SurpriseException", FailureKind::Server),
    ] {
        let payload = json!({ "message": "No more." });
        for last in [exception(name, &payload), event(name, &payload)] {
            let outcome = streamed(&[start(), delta(0, &json!({ "text": "Hello" })), last]);
            assert_eq!(outcome.answer().text(), "Hello");
            let failure = outcome.failure.unwrap();
            assert_eq!((failure.kind, failure.code.as_deref(), failure.message.as_str()), (kind, Some(code), "No more."));
            assert_eq!((failure.status, failure.request_id.as_deref()), (Some(200), Some("id-1")));
            assert!(failure.raw.unwrap().contains("No more."));
        }
    }
    let too_long = streamed(&[exception("validationException", &json!({ "message": "Input is too long for requested model." }))]);
    assert_eq!(too_long.failure.unwrap().kind, FailureKind::ContextLength);
    let too_long = streamed(&[exception("modelStreamErrorException", &json!({ "message": "prompt is too long: 2 tokens > 1 maximum" }))]);
    assert_eq!(too_long.failure.unwrap().kind, FailureKind::ContextLength);
    let original =
        streamed(&[exception("modelStreamErrorException", &json!({ "originalMessage": "Out of memory.", "originalStatusCode": 500 }))]);
    assert_eq!(original.failure.unwrap().message, "Out of memory.");
    // An error of the stream itself says it in headers, and what it says may be nothing.
    let headers = [(":message-type", "error"), (":error-code", "InternalFailure"), (":error-message", "Broke.")];
    let headers = headers.map(|(name, value)| (name.to_owned(), HeaderValue::Text(value.to_owned()))).to_vec();
    let failure = streamed(&[EventStreamMessage { headers, payload: Vec::new() }.to_bytes()]).failure.unwrap();
    assert_eq!((failure.kind, failure.message.as_str(), failure.code.as_deref()), (FailureKind::Server, "Broke.", Some("InternalFailure")));
    let failure = streamed(&[message("error", ":nothing", "x", "")]).failure.unwrap();
    assert_eq!((failure.kind, failure.code), (FailureKind::Server, None));
    assert!(!failure.message.is_empty());
}

#[test]
fn what_is_no_answer_is_a_failure_with_the_beginning_of_the_body() {
    for body in
        ["", "  ", "<html>busy</html>", "{\"output\": ", "[]", "null", "42", "{}", r#"{"output":{}}"#, r#"{"output":{"message":7}}"#]
    {
        let failure = answered(200, &[], body).unwrap_err();
        assert_eq!((failure.kind, failure.status), (FailureKind::Protocol, Some(200)), "{body}");
        assert_eq!(failure.raw.as_deref(), (!body.is_empty()).then_some(body));
    }
    // What a path that does not exist answers, under a status of success.
    let failure =
        answered(200, &[], r#"{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}"#).unwrap_err();
    assert_eq!((failure.kind, failure.code.as_deref()), (FailureKind::NotFound, Some("UnknownOperationException")));
}

#[test]
fn errors_have_the_kind_that_their_name_and_words_say() {
    let failure = |status: u16, name: &str, message: &str| {
        let header = format!("{name}:http://internal.example/coral/com.example.bedrock/");
        answered(status, &[("x-amzn-errortype", &header)], &json!({ "message": message }).to_string()).unwrap_err()
    };
    for (status, name, message, kind) in [
        (400, "ValidationException", "Malformed input request", FailureKind::InvalidRequest),
        (
            400,
            "ValidationException",
            "The model returned the following errors: Input is too long for requested model.",
            FailureKind::ContextLength,
        ),
        (400, "ValidationException", "prompt is too long: 210000 tokens > 200000 maximum", FailureKind::ContextLength),
        (400, "ValidationException", "This model's maximum context length is 202752 tokens.", FailureKind::ContextLength),
        (400, "ValidationException", "Too many input tokens. Max input tokens: 8192", FailureKind::ContextLength),
        (400, "ValidationException", "The provided model identifier is invalid.", FailureKind::NotFound),
        (400, "ValidationException", "The API key of the tool is no text.", FailureKind::InvalidRequest),
        (403, "AccessDeniedException", "You don't have access to the model with the specified model ID.", FailureKind::Permission),
        (403, "AccessDeniedException", "Authentication failed: Please make sure your API Key is valid.", FailureKind::Authentication),
        (403, "UnrecognizedClientException", "The security token included in the request is invalid.", FailureKind::Authentication),
        (403, "InvalidSignatureException", "The request signature does not match.", FailureKind::Authentication),
        (403, "ExpiredTokenException", "The security token included in the request is expired", FailureKind::Authentication),
        (404, "ResourceNotFoundException", "Could not resolve the foundation model.", FailureKind::NotFound),
        (408, "ModelTimeoutException", "Took too long.", FailureKind::Timeout),
        (424, "ModelErrorException", "The model broke.", FailureKind::Server),
        (429, "ThrottlingException", "Too many tokens, please wait before trying again.", FailureKind::RateLimit),
        (429, "ModelNotReadyException", "Not ready.", FailureKind::Overloaded),
        (400, "ServiceQuotaExceededException", "Your request exceeds the service quota.", FailureKind::Quota),
        (500, "InternalServerException", "Broke.", FailureKind::Server),
        (503, "ServiceUnavailableException", "Busy.", FailureKind::Overloaded),
        (418, "TeapotException", "Short and stout.", FailureKind::InvalidRequest),
    ] {
        let failure = failure(status, name, message);
        assert_eq!((failure.kind, failure.code.as_deref(), failure.message.as_str()), (kind, Some(name), message));
        assert_eq!(failure.status, Some(status));
        assert_eq!(failure.retryable, (kind == FailureKind::Quota).then_some(false));
    }
}

#[test]
fn an_error_s_name_and_words_are_found_in_the_body_too() {
    let failure = |body: &str| answered(400, &[], body).unwrap_err();
    let typed = failure(r#"{"__type":"com.amazonaws.bedrock#ServiceUnavailableException","message":"Busy."}"#);
    assert_eq!((typed.kind, typed.code.as_deref()), (FailureKind::Overloaded, Some("ServiceUnavailableException")));
    assert_eq!(failure(r#"{"code":"ThrottlingException","message":"Slow."}"#).kind, FailureKind::RateLimit);
    assert_eq!(failure(r#"{"Message":"User is not authorized"}"#).message, "User is not authorized");
    assert_eq!(failure("<html>").message, "HTTP status 400");
    assert_eq!(answered(403, &[], "").unwrap_err().kind, FailureKind::Permission);
}

#[test]
fn an_error_carries_the_providers_words_and_hints() {
    let fields = [("x-amzn-requestid", "id-9"), ("x-amzn-errortype", "ThrottlingException"), ("retry-after", "2")];
    let body = r#"{"message":"Slow down."}"#;
    let wanted = Failure {
        kind: FailureKind::RateLimit,
        status: Some(429),
        code: Some("ThrottlingException".into()),
        message: "Slow down.".into(),
        retry_after_ms: Some(2000),
        retryable: None,
        request_id: Some("id-9".into()),
        raw: Some(body.into()),
    };
    assert_eq!(answered(429, &fields, body).unwrap_err(), wanted);
    // A stream that does not begin fails alike.
    assert_eq!(decode_stream::<Bedrock>(&request(), head(429, &fields), vec![body.into()]).failure, Some(wanted));
}
