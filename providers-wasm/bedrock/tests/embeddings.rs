//! Embeddings and reranking: what is sent, and every shape of an answer.
#![allow(clippy::unwrap_used)] // this is how a test fails

mod wire;

use std::path::PathBuf;

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{decode_embed, decode_rerank, golden, pretty};
use pg_llm_provider_bedrock::Bedrock;

use wire::head;

#[track_caller]
fn check(name: &str, http: &HttpRequest) {
    let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "golden", &format!("{name}.http")].iter().collect();
    golden(file, &pretty(http));
}

#[test]
fn embeddings_are_asked_for_in_the_words_of_the_models_family() {
    let mut request = EmbedRequest::new("amazon.titan-embed-text-v2:0", vec!["grüße".into()]);
    request.settings = json!({ "normalize": false }).to_string();
    request.dimensions = Some(512);
    request.extra_body = Some(r#"{"embeddingTypes":["float"]}"#.into());
    check("embed_titan", &Bedrock::encode_embed(&request).unwrap());
    let body = |model: &str, inputs: &[&str], dimensions, purpose| {
        let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
        let request = EmbedRequest { dimensions, purpose, ..EmbedRequest::new(model, inputs) };
        Bedrock::encode_embed(&request).map(|http| serde_json::from_slice::<Value>(&http.body).unwrap()).map_err(|failure| failure.kind)
    };
    let request = EmbedRequest {
        settings: json!({ "normalize": true }).to_string(),
        ..EmbedRequest::new("amazon.titan-embed-image-v1", vec!["a".into()])
    };
    assert_eq!(serde_json::from_slice::<Value>(&Bedrock::encode_embed(&request).unwrap().body).unwrap(), json!({ "inputText": "a" }));
    assert_eq!(
        body("amazon.titan-embed-image-v1", &["a"], Some(256), Some(Purpose::Query)),
        Ok(json!({ "inputText": "a", "embeddingConfig": { "outputEmbeddingLength": 256 } }))
    );
    assert_eq!(
        body("cohere.embed-multilingual-v3", &["a", "b"], None, None),
        Ok(json!({ "texts": ["a", "b"], "input_type": "search_document" }))
    );
    assert_eq!(
        body("us.cohere.embed-v4:0", &["a"], Some(256), Some(Purpose::Query)),
        Ok(json!({ "texts": ["a"], "input_type": "search_query", "output_dimension": 256 }))
    );
    assert_eq!(
        body("amazon.nova-2-multimodal-embeddings-v1:0", &["a"], Some(384), Some(Purpose::Clustering)),
        Ok(
            json!({ "taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": { "embeddingPurpose": "CLUSTERING", "embeddingDimension": 384, "text": { "truncationMode": "NONE", "value": "a" } } })
        )
    );
    assert_eq!(body("amazon.titan-embed-text-v2:0", &["a", "b"], None, None), Err(FailureKind::InvalidRequest));
    assert_eq!(body("meta.llama3-1-70b", &["a"], None, None), Err(FailureKind::Unsupported));
    assert_eq!(Bedrock::max_inputs("us.cohere.embed-v4:0", "{}"), 96);
    assert_eq!(Bedrock::max_inputs("arn:aws:bedrock:x:1:provisioned-model/y", r#"{"model_family":"cohere"}"#), 96);
    for model in ["amazon.titan-embed-text-v2:0", "amazon.nova-2-multimodal-embeddings-v1:0", "x"] {
        assert_eq!(Bedrock::max_inputs(model, "{}"), 1);
    }
}

#[test]
fn reranking_is_asked_for_by_cohere_s_words() {
    let mut request = RerankRequest::new("cohere.rerank-v3-5:0", "q", vec!["a".into(), "b".into()]);
    request.top_n = Some(1);
    check("rerank_cohere", &Bedrock::encode_rerank(&request).unwrap());
    request.model = "amazon.rerank-v1:0".into();
    let body: Value = serde_json::from_slice(&Bedrock::encode_rerank(&request).unwrap().body).unwrap();
    assert_eq!(body, json!({ "query": "q", "documents": ["a", "b"], "top_n": 1 }));
}

#[test]
fn embeddings_are_read_in_each_familys_shape() {
    let decoded = |inputs: usize, headers: &[(&str, &str)], body: Value| {
        let model = if inputs == 1 { "amazon.titan-embed-text-v2:0" } else { "cohere.embed-english-v3" };
        let response = HttpResponse { head: head(200, headers), body: body.to_string().into_bytes() };
        let answer = decode_embed::<Bedrock>(&EmbedRequest::new(model, vec!["x".into(); inputs]), response);
        answer.map(|answer| (answer.vectors, answer.usage.and_then(|usage| usage.input_tokens))).map_err(|failure| failure.kind)
    };
    let counted = [("x-amzn-bedrock-input-token-count", "5")];
    let titan = json!({ "embedding": [0.5, -1, 2e-1], "embeddingsByType": { "float": [0.5, -1, 0.2] }, "inputTextTokenCount": 4 });
    assert_eq!(decoded(1, &counted, titan), Ok((vec![vec![0.5, -1.0, 0.2]], Some(4))));
    assert_eq!(decoded(1, &[], json!({ "embeddingsByType": { "float": [0.5] } })), Ok((vec![vec![0.5]], None)));
    let wanted = Ok((vec![vec![0.5, 1.0], vec![1.5, 2.0]], Some(5)));
    let cohere = json!({ "id": "i", "response_type": "embeddings_floats", "texts": ["x", "x"], "embeddings": [[0.5, 1], [1.5, 2]] });
    assert_eq!(decoded(2, &counted, cohere), wanted);
    let by_type =
        json!({ "response_type": "embeddings_by_type", "embeddings": { "float": [[0.5, 1], [1.5, 2]], "int8": [[1, 2], [3, 4]] } });
    assert_eq!(decoded(2, &counted, by_type), wanted);
    let nova = json!({ "embeddings": [{ "embeddingType": "TEXT", "embedding": [0.5] }] });
    assert_eq!(decoded(1, &counted, nova), Ok((vec![vec![0.5]], Some(5))));
    for wrong in [
        json!({}),
        json!({ "embedding": [] }),
        json!({ "embedding": ["x"] }),
        json!({ "embeddings": [[1], [2]] }),
        json!({ "embeddings": { "int8": [[1]] } }),
        json!({ "embedding": 7 }),
    ] {
        assert_eq!(decoded(1, &[], wrong.clone()), Err(FailureKind::Protocol), "{wrong}");
    }
    let error = HttpResponse {
        head: head(400, &[("x-amzn-errortype", "ValidationException")]),
        body: r#"{"message":"Too many input tokens."}"#.into(),
    };
    let failure = decode_embed::<Bedrock>(&EmbedRequest::new("amazon.titan-embed-text-v2:0", vec!["x".into()]), error).unwrap_err();
    assert_eq!(failure.kind, FailureKind::ContextLength);
}

#[test]
fn documents_are_ranked_by_their_scores() {
    let decoded = |body: &str| {
        let request = RerankRequest::new("cohere.rerank-v3-5:0", "q", vec!["a".into(), "b".into()]);
        decode_rerank::<Bedrock>(&request, HttpResponse::new(200, body))
    };
    let answer = decoded(r#"{"results":[{"index":0,"relevance_score":0.25},{"index":1,"relevance_score":0.75}]}"#).unwrap();
    assert_eq!(answer.results, [Ranked { index: 1, score: 0.75 }, Ranked { index: 0, score: 0.25 }]);
    for wrong in ["{}", r#"{"results":[{"index":0}]}"#, r#"{"results":[{"index":2,"relevance_score":1}]}"#, r#"{"results":7}"#] {
        assert_eq!(decoded(wrong).unwrap_err().kind, FailureKind::Protocol, "{wrong}");
    }
}
