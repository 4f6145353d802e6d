//! Vectors, rankings and lists of models.
#![allow(clippy::unwrap_used)] // this is how a test fails

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{decode_embed, decode_list, decode_rerank};
use pg_llm_provider_dashscope::DashScope;

#[test]
fn vectors_stand_in_the_order_of_their_inputs() {
    let request = EmbedRequest::new("m", vec!["a".into(), "b".into()]);
    let embed = |body: Value| decode_embed::<DashScope>(&request, HttpResponse::new(200, body.to_string()));
    let vectors = json!([{ "text_index": 1, "embedding": [3, 4.5] }, { "text_index": 0, "embedding": [1.0, -2e-3] }]);
    let answer = embed(json!({ "output": { "embeddings": vectors }, "usage": { "total_tokens": 7 }, "request_id": "r" })).unwrap();
    assert_eq!(answer.vectors, [[1.0, -0.002], [3.0, 4.5]]);
    assert_eq!(answer.usage.unwrap().input_tokens, Some(7));
    for vectors in [
        json!([]),
        json!([{ "text_index": 0, "embedding": [1] }]),
        json!([{ "text_index": 0, "embedding": ["x"] }, { "text_index": 1, "embedding": [1] }]),
    ] {
        assert_eq!(embed(json!({ "output": { "embeddings": vectors } })).unwrap_err().kind, FailureKind::Protocol);
    }
    assert_eq!(embed(json!({})).unwrap_err().kind, FailureKind::Protocol);
    assert_eq!(embed(json!({ "code": "Throttling", "message": "x" })).unwrap_err().kind, FailureKind::RateLimit);
    let refused = decode_embed::<DashScope>(&request, HttpResponse::new(400, r#"{"code":"Arrearage","message":"x"}"#)).unwrap_err();
    assert_eq!(refused.kind, FailureKind::Quota);
}

#[test]
fn rankings_have_the_best_first() {
    let request = RerankRequest::new("m", "q", vec!["a".into(), "b".into()]);
    let rerank = |body: Value| decode_rerank::<DashScope>(&request, HttpResponse::new(200, body.to_string()));
    let results = json!([{ "index": 0, "relevance_score": 0.1, "document": { "text": "a" } }, { "index": 1, "relevance_score": 0.9 }]);
    let answer = rerank(json!({ "output": { "results": results }, "usage": { "total_tokens": 9 } })).unwrap();
    assert_eq!(answer.results, [Ranked { index: 1, score: 0.9 }, Ranked { index: 0, score: 0.1 }]);
    assert_eq!(answer.usage.unwrap().input_tokens, Some(9));
    for results in [json!([{ "index": 2, "relevance_score": 0.1 }]), json!([{ "index": 0 }]), json!(null)] {
        assert_eq!(rerank(json!({ "output": { "results": results } })).unwrap_err().kind, FailureKind::Protocol);
    }
}

#[test]
fn models_are_read_from_all_pages() {
    let page = |page: u64, models: Value| {
        HttpResponse::new(200, json!({ "output": { "total": 3, "page_no": page, "page_size": 2, "models": models } }).to_string())
    };
    let first = page(
        1,
        json!([{ "model": "a", "name": "A", "model_info": { "context_window": 1000, "max_output_tokens": 100 } }, { "name": "nameless" }]),
    );
    let models = decode_list::<DashScope>("{}", vec![first, page(2, json!([{ "model": "b" }]))]).unwrap();
    let told: Vec<_> = models
        .iter()
        .map(|model| (model.id.as_str(), model.display_name.as_deref(), model.context_window, model.max_output_tokens))
        .collect();
    assert_eq!(told, [("a", Some("A"), Some(1000), Some(100)), ("b", None, None, None)]);
    assert_eq!(decode_list::<DashScope>("{}", vec![HttpResponse::new(200, "{}")]).unwrap_err().kind, FailureKind::Protocol);
}
