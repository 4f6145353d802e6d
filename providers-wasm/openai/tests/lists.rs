//! Embeddings, rankings and lists of models: what is sent and what comes of the answers.
#![allow(clippy::unwrap_used, clippy::panic)] // this is how a test fails

use std::path::PathBuf;

use pg_llm_guest::media::base64;
use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{decode_embed, decode_list, decode_rerank, golden, pretty};
use pg_llm_provider_openai::{OpenAi, describe};

fn check(name: &str, http: &HttpRequest) {
    let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "golden", &format!("{name}.http")].iter().collect();
    golden(file, &pretty(http));
}

fn settings(profile: &str) -> String {
    describe().profiles.into_iter().find(|known| known.name == profile).unwrap().settings
}

fn embed_request(inputs: &[&str]) -> EmbedRequest {
    EmbedRequest::new("text-x", inputs.iter().map(|text| (*text).to_owned()).collect())
}

fn embed(inputs: &[&str], body: &Value) -> Result<EmbedAnswer, Failure> {
    decode_embed::<OpenAi>(&embed_request(inputs), HttpResponse::new(200, body.to_string()))
}

#[test]
fn embeddings_are_asked_for_as_base64_unless_the_server_refuses_that() {
    let mut request = EmbedRequest { dimensions: Some(256), purpose: Some(Purpose::Query), ..embed_request(&["one", "zwö"]) };
    request.extra_body = Some(r#"{"user":"u"}"#.into());
    check("embeddings", &OpenAi::encode_embed(&request).unwrap());
    request = EmbedRequest { settings: r#"{"embedding_encoding":"float"}"#.into(), ..embed_request(&["one"]) };
    check("embeddings_float", &OpenAi::encode_embed(&request).unwrap());
    request.settings = settings("azure-openai");
    check("embeddings_azure", &OpenAi::encode_embed(&request).unwrap());
    request.extra_body = Some("[]".into());
    assert_eq!(OpenAi::encode_embed(&request).unwrap_err().kind, FailureKind::InvalidRequest);
}

#[test]
fn a_request_carries_as_many_texts_as_the_endpoint_takes() {
    assert_eq!(OpenAi::max_inputs("m", "{}"), 2048);
    assert_eq!(OpenAi::max_inputs("m", &settings("qwen")), 10);
    assert_eq!(OpenAi::max_inputs("m", r#"{"embedding_inputs":3}"#), 3);
}

#[test]
fn vectors_come_as_base64_or_as_numbers_in_the_order_of_the_texts() {
    let packed = base64(&[1.5_f32, -2.0].iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>());
    let body = json!({ "model": "text-x-1", "data": [
        { "index": 1, "embedding": [0.25, 1e-3] },
        { "index": 0, "embedding": packed },
    ], "usage": { "prompt_tokens": 7, "total_tokens": 7 } });
    let answer = embed(&["a", "b"], &body).unwrap();
    assert_eq!(answer.vectors, [vec![1.5, -2.0], vec![0.25, 0.001]]);
    assert_eq!((answer.model.as_deref(), answer.usage.unwrap().input_tokens), (Some("text-x-1"), Some(7)));
    // Without places they are in order; a total is all input.
    let body = json!({ "data": [{ "embedding": [1] }, { "embedding": [2] }], "usage": { "total_tokens": 3 } });
    let answer = embed(&["a", "b"], &body).unwrap();
    assert_eq!((answer.vectors, answer.usage.unwrap().input_tokens), (vec![vec![1.0], vec![2.0]], Some(3)));
}

#[test]
fn what_are_no_vectors_of_these_texts_is_a_failure() {
    for body in [
        json!({}),
        json!([]),
        json!({ "data": [] }),
        json!({ "data": [{ "index": 0 }] }),
        json!({ "data": [{ "index": 0, "embedding": [] }] }),
        json!({ "data": [{ "index": 0, "embedding": [null] }] }),
        json!({ "data": [{ "index": 0, "embedding": "AAAA" }] }),
        json!({ "data": [{ "index": 0, "embedding": "not base64" }] }),
        json!({ "data": [{ "index": 1, "embedding": [1] }] }),
        json!({ "data": [{ "index": 0, "embedding": [1e300] }] }),
        json!({ "data": [{ "index": 0, "embedding": [1] }, { "index": 1, "embedding": [1] }] }),
        json!({ "data": [{ "index": 18_446_744_073_709_551_615_u64, "embedding": [1] }] }),
    ] {
        let failure = embed(&["a"], &body).unwrap_err();
        assert_eq!((failure.kind, failure.status), (FailureKind::Protocol, Some(200)), "{body}");
    }
    let failure = embed(&["a"], &json!({ "error": { "message": "No such model.", "code": "model_not_found" } })).unwrap_err();
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::NotFound, "No such model."));
    let quota = json!({ "error": { "message": "You exceeded your current quota.", "code": "insufficient_quota" } }).to_string();
    let failure = decode_embed::<OpenAi>(&embed_request(&["a"]), HttpResponse::new(429, quota)).unwrap_err();
    assert_eq!((failure.kind, failure.retryable), (FailureKind::Quota, Some(false)));
}

fn rerank(body: &Value) -> Result<RerankAnswer, Failure> {
    let request = RerankRequest::new("rank-x", "what?", vec!["a".into(), "b".into(), "c".into()]);
    decode_rerank::<OpenAi>(&request, HttpResponse::new(200, body.to_string()))
}

#[test]
fn documents_are_ranked_as_jina_began_it() {
    let request = RerankRequest {
        top_n: Some(2),
        settings: r#"{"rerank_path":"/reranks"}"#.into(),
        extra_body: Some(r#"{"return_documents":false}"#.into()),
        ..RerankRequest::new("rank-x", "what?", vec!["a".into(), "b".into()])
    };
    check("rerank", &OpenAi::encode_rerank(&request).unwrap());
    let ranked = |index, score| Ranked { index, score };
    let body = json!({ "model": "rank-x-1", "results": [
        { "index": 2, "relevance_score": 0.25, "document": { "text": "c" } }, { "index": 0, "relevance_score": 0.75 }
    ], "usage": { "total_tokens": 9 } });
    let answer = rerank(&body).unwrap();
    assert_eq!((answer.results, answer.usage.unwrap().input_tokens), (vec![ranked(0, 0.75), ranked(2, 0.25)], Some(9)));
    assert_eq!(rerank(&json!({ "data": [{ "index": 1, "score": -3 }] })).unwrap().results, [ranked(1, -3.0)]);
    for body in [
        json!({}),
        json!({ "results": {} }),
        json!({ "results": [{ "index": 0 }] }),
        json!({ "results": [{ "relevance_score": 1 }] }),
        json!({ "results": [{ "index": 3, "relevance_score": 1 }] }),
        json!({ "results": [{ "index": 0, "relevance_score": 1 }, { "index": 0, "relevance_score": 1 }] }),
    ] {
        assert_eq!(rerank(&body).unwrap_err().kind, FailureKind::Protocol, "{body}");
    }
    assert_eq!(rerank(&json!({ "error": { "message": "x", "type": "rate_limit_error" } })).unwrap_err().kind, FailureKind::RateLimit);
}

#[test]
fn the_list_of_models_says_what_each_endpoint_tells() {
    check("models_azure", &OpenAi::encode_list(&settings("azure-openai"), None).unwrap());
    let list = |body: &Value| decode_list::<OpenAi>("{}", vec![HttpResponse::new(200, body.to_string())]);
    let body = json!({ "object": "list", "data": [
        { "id": "gpt-x", "object": "model", "created": 1, "owned_by": "openai" },
        { "id": "a/b", "name": "A: B", "context_length": 1000, "top_provider": { "max_completion_tokens": 100 } },
        { "id": "v", "max_model_len": 2000 },
        { "object": "model" },
    ] });
    let models = list(&body).unwrap();
    let told: Vec<_> = models.iter().map(|m| (m.id.as_str(), m.display_name.as_deref(), m.context_window, m.max_output_tokens)).collect();
    assert_eq!(told, [("gpt-x", None, None, None), ("a/b", Some("A: B"), Some(1000), Some(100)), ("v", None, Some(2000), None)]);
    assert_eq!(list(&json!([{ "id": "t" }])).unwrap()[0].id, "t");
    assert_eq!(list(&json!({ "data": {} })).unwrap_err().kind, FailureKind::Protocol);
    let refused = HttpResponse::new(401, r#"{"error":{"message":"No.","code":"invalid_api_key"}}"#);
    assert_eq!(decode_list::<OpenAi>("{}", vec![refused]).unwrap_err().kind, FailureKind::Authentication);
}
