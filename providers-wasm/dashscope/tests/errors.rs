//! What errors mean, and what they carry.
#![allow(clippy::unwrap_used)] // this is how a test fails

use pg_llm_guest::http::Headers;
use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::decode_whole;
use pg_llm_provider_dashscope::DashScope;

fn request() -> ChatRequest {
    ChatRequest::new("m", vec![Message::user("hello")])
}

fn answered(status: u16, body: &str) -> Result<Answer, Failure> {
    decode_whole::<DashScope>(&request(), HttpResponse::new(status, body))
}

#[test]
fn errors_have_the_kind_that_their_code_and_words_say() {
    let failure = |status: u16, code: &str, message: &str| {
        answered(status, &json!({ "code": code, "message": message, "request_id": "r" }).to_string()).unwrap_err()
    };
    let kind = |status: u16, code: &str, message: &str| failure(status, code, message).kind;
    assert_eq!(kind(400, "InvalidParameter", "Range of input length should be [1, 6000]"), FailureKind::ContextLength);
    assert_eq!(kind(400, "InvalidParameter", "Range of top_p should be (0.0, 1.0]"), FailureKind::InvalidRequest);
    assert_eq!(kind(400, "InternalError.Algo.InvalidParameter", "x"), FailureKind::InvalidRequest);
    assert_eq!(kind(400, "InvalidParameter", "Model not exist."), FailureKind::NotFound);
    assert_eq!(kind(400, "InvalidParameter.DataInspection", "Unable to download the media resource."), FailureKind::InvalidRequest);
    for code in ["DataInspectionFailed", "data_inspection_failed", "CustomRoleBlocked", "FaqRuleBlocked", "IPInfringementSuspect"] {
        assert_eq!(kind(400, code, "x"), FailureKind::ContentFilter, "{code}");
    }
    assert_eq!(kind(401, "InvalidApiKey", "Invalid API-key provided."), FailureKind::Authentication);
    assert_eq!(kind(403, "Model.AccessDenied", "x"), FailureKind::Permission);
    assert_eq!(kind(403, "AccessDenied.Unpurchased", "x"), FailureKind::Permission);
    assert_eq!(kind(404, "ModelNotFound", "x"), FailureKind::NotFound);
    assert_eq!(kind(500, "RequestTimeOut", "x"), FailureKind::Timeout);
    assert_eq!(kind(500, "InternalError.Algo", "x"), FailureKind::Server);
    assert_eq!(kind(500, "ModelServingError", "Too many requests."), FailureKind::Overloaded);
    assert_eq!(kind(503, "ModelUnavailable", "x"), FailureKind::Overloaded);
    for code in
        ["Throttling", "Throttling.RateQuota", "Throttling.BurstRate", "Throttling.AllocationQuota", "insufficient_quota", "LimitRequests"]
    {
        let throttled = failure(429, code, "You exceeded your current quota, check your plan and billing details.");
        assert_eq!((throttled.kind, throttled.retryable), (FailureKind::RateLimit, None), "{code}");
    }
    for (status, code, words) in [
        (400, "Arrearage", "x"),
        (403, "AllocationQuota.FreeTierOnly", "x"),
        (429, "Throttling.AllocationQuota", "Free allocated quota exceeded."),
        (429, "PostpaidBillOverdue", "x"),
        (429, "CommodityNotPurchased", "x"),
    ] {
        let unpaid = failure(status, code, words);
        assert_eq!((unpaid.kind, unpaid.retryable), (FailureKind::Quota, Some(false)), "{code}");
    }
    assert_eq!(answered(502, "<html>").unwrap_err().kind, FailureKind::Server);
}

#[test]
fn an_error_carries_the_providers_words_and_hints() {
    let headers: Headers = [("x-request-id", "req_1"), ("retry-after", "2")].into_iter().collect();
    let body = r#"{"code":"Throttling.RateQuota","message":"Requests rate limit exceeded, please try again later.","request_id":"req_1"}"#;
    let response = HttpResponse { head: ResponseHead { status: 429, headers }, body: body.into() };
    let failure = decode_whole::<DashScope>(&request(), response).unwrap_err();
    let wanted = Failure {
        kind: FailureKind::RateLimit,
        status: Some(429),
        code: Some("Throttling.RateQuota".into()),
        message: "Requests rate limit exceeded, please try again later.".into(),
        retry_after_ms: Some(2000),
        retryable: None,
        request_id: Some("req_1".into()),
        raw: Some(body.into()),
    };
    assert_eq!(failure, wanted);
}
