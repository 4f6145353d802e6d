//! Errors, most of them under status 200, and vectors.
#![allow(clippy::unwrap_used)] // this is how a test fails

use pg_llm_guest::http::Headers;
use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{decode_embed, decode_stream, decode_whole};
use pg_llm_provider_hunyuan::Hunyuan;

fn request() -> ChatRequest {
    ChatRequest::new("m", vec![Message::user("hello")])
}

fn error(code: &str, message: &str) -> String {
    json!({ "Response": { "RequestId": "r", "Error": { "Code": code, "Message": message } } }).to_string()
}

fn whole(status: u16, body: String) -> Failure {
    decode_whole::<Hunyuan>(&request(), HttpResponse::new(status, body)).unwrap_err()
}

fn streamed(text: &str) -> (String, Failure) {
    let head = ResponseHead { status: 200, headers: Headers::from_iter([("x-tc-requestid", "from-head")]) };
    let outcome = decode_stream::<Hunyuan>(&request(), head, vec![text.as_bytes().to_vec()]);
    (outcome.answer().text(), outcome.failure.unwrap())
}

#[test]
fn an_error_under_status_200_carries_what_the_provider_says() {
    let body = error("RequestLimitExceeded", "Slow down.");
    let wanted = Failure {
        kind: FailureKind::RateLimit,
        status: Some(200),
        code: Some("RequestLimitExceeded".into()),
        message: "Slow down.".into(),
        retry_after_ms: None,
        retryable: None,
        request_id: Some("r".into()),
        raw: Some(body.clone()),
    };
    assert_eq!(whole(200, body.clone()), wanted);
    // A stream begins like that, too, whatever its content type is.
    assert_eq!(streamed(&body).1, wanted);
    let framed = streamed(&format!("data: {body}\n\n")).1;
    assert_eq!(framed, wanted);
}

#[test]
fn a_stream_may_end_in_an_error_message() {
    let chunk = |extra: Value| {
        let mut chunk = json!({ "Choices": [{ "Delta": { "Content": "Hello" }, "FinishReason": "" }], "Id": "i" });
        chunk.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        format!("data: {chunk}\n\n")
    };
    let told = |error: Value| {
        let (text, failure) =
            streamed(&(chunk(json!({ "ErrorMsg": null })) + &format!("data: {}\n\n", json!({ "Id": "i", "ErrorMsg": error }))));
        assert_eq!(text, "Hello");
        let of_provider = failure.kind != FailureKind::Broken;
        assert!(!of_provider || failure.request_id.as_deref() == Some("from-head"), "{failure:?}");
        (failure.kind, failure.code, failure.message)
    };
    assert_eq!(told(json!({ "Code": 4001, "Msg": "Too slow." })), (FailureKind::Timeout, Some("4001".into()), "Too slow.".into()));
    assert_eq!(told(json!({ "Code": 4000, "Msg": "Broke." })), (FailureKind::Server, Some("4000".into()), "Broke.".into()));
    assert_eq!(told(json!({ "Msg": "Broke." })), (FailureKind::Server, None, "Broke.".into()));
    // One without a code and without words is none, and the stream ends without an end.
    assert_eq!(told(json!({ "Code": 0, "Msg": "" })).0, FailureKind::Broken);
    // With words beside it, they come first.
    assert_eq!(streamed(&chunk(json!({ "ErrorMsg": { "Code": 4000, "Msg": "Broke." } }))).0, "Hello");
}

#[test]
fn errors_have_the_kind_that_their_code_says() {
    for (code, kind) in [
        ("AuthFailure.SignatureFailure", FailureKind::Authentication),
        ("AuthFailure.SecretIdNotFound", FailureKind::Authentication),
        ("AuthFailure.SignatureExpire", FailureKind::Authentication),
        ("AuthFailure.UnauthorizedOperation", FailureKind::Permission),
        ("UnauthorizedOperation", FailureKind::Permission),
        ("FailedOperation.UserUnAuthError", FailureKind::Permission),
        ("RequestLimitExceeded.UinLimitExceeded", FailureKind::RateLimit),
        ("LimitExceeded", FailureKind::RateLimit),
        ("FailedOperation.EngineServerLimitExceeded", FailureKind::RateLimit),
        ("FailedOperation.ResourcePackExhausted", FailureKind::Quota),
        ("FailedOperation.FreeResourcePackExhausted", FailureKind::Quota),
        ("FailedOperation.ServiceNotActivated", FailureKind::Quota),
        ("FailedOperation.ServiceStopArrears", FailureKind::Quota),
        ("ResourceInsufficient.ChargeResourceExhaust", FailureKind::Quota),
        ("ResourceUnavailable.InArrears", FailureKind::Quota),
        ("ResourceUnavailable", FailureKind::Overloaded),
        ("FailedOperation.EngineRequestTimeout", FailureKind::Timeout),
        ("FailedOperation.EngineServerError", FailureKind::Server),
        ("FailedOperation", FailureKind::Server),
        ("InternalError", FailureKind::Server),
        ("SomethingNew", FailureKind::Server),
        ("OperationDenied.TextIllegalDetected", FailureKind::ContentFilter),
        ("OperationDenied.ImageIllegalDetected", FailureKind::ContentFilter),
        ("InvalidParameterValue.Model", FailureKind::NotFound),
        ("InvalidParameterValue", FailureKind::InvalidRequest),
        ("InvalidParameter", FailureKind::InvalidRequest),
        ("MissingParameter", FailureKind::InvalidRequest),
        ("UnsupportedRegion", FailureKind::InvalidRequest),
        ("RequestSizeLimitExceeded", FailureKind::InvalidRequest),
    ] {
        let failure = whole(200, error(code, "x"));
        assert_eq!((failure.kind, failure.retryable), (kind, (kind == FailureKind::Quota).then_some(false)), "{code}");
    }
}

#[test]
fn a_status_tells_the_kind_where_the_code_does_not() {
    let refused = whole(403, error("AuthFailure.SignatureFailure", "Bad signature."));
    let told = (refused.kind, refused.message.as_str(), refused.code.as_deref(), refused.request_id.as_deref(), refused.status);
    assert_eq!(told, (FailureKind::Authentication, "Bad signature.", Some("AuthFailure.SignatureFailure"), Some("r"), Some(403)));
    assert_eq!(whole(429, error("SomethingNew", "x")).kind, FailureKind::RateLimit);
    assert_eq!(whole(502, "<html>".to_owned()).kind, FailureKind::Server);
}

#[test]
fn vectors_stand_in_the_order_of_their_inputs() {
    let request = EmbedRequest::new("m", vec!["a".into(), "b".into()]);
    let embed = |response: Value| decode_embed::<Hunyuan>(&request, HttpResponse::new(200, json!({ "Response": response }).to_string()));
    let vectors =
        |indices: [u64; 2]| json!([{ "Index": indices[0], "Embedding": [3, 4.5] }, { "Index": indices[1], "Embedding": [1.0, -2e-3] }]);
    let answer = embed(json!({ "Data": vectors([1, 0]), "Usage": { "PromptTokens": 7, "TotalTokens": 7 }, "RequestId": "r" })).unwrap();
    assert_eq!(answer.vectors, [[1.0, -0.002], [3.0, 4.5]]);
    assert_eq!(answer.usage.unwrap().input_tokens, Some(7));
    // The index may be 0 for all of them.
    assert_eq!(embed(json!({ "Data": vectors([0, 0]) })).unwrap().vectors, [[3.0, 4.5], [1.0, -0.002]]);
    for data in [json!([]), json!([{ "Index": 0, "Embedding": [1] }]), json!([{ "Embedding": ["x"] }, { "Embedding": [1] }])] {
        assert_eq!(embed(json!({ "Data": data })).unwrap_err().kind, FailureKind::Protocol);
    }
    let refused = embed(json!({ "Error": { "Code": "AuthFailure.SecretIdNotFound", "Message": "No." }, "RequestId": "r" })).unwrap_err();
    assert_eq!((refused.kind, refused.message.as_str()), (FailureKind::Authentication, "No."));
}
