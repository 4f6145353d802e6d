//! Many rows: batches, queries, embeddings, ranking.

use pg_llm_tests::db_error;
use pg_llm_upstream::{Reply, Upstream};
use serde_json::{Value, json};

use super::{EMAIL, INJECTION, blocked, model, sent};

#[test]
fn each_row_of_a_batch_is_filtered_and_a_block_is_that_rows_error() {
    let mut asked = model(json!(["prompt-guard", "pii-both"]));
    let prompts = vec![format!("a {EMAIL}"), INJECTION.to_owned(), "c".to_owned()];
    let sql = "SELECT jsonb_agg(jsonb_build_array(ord, response, error ->> 'kind', error ->> 'sqlstate') ORDER BY ord) FROM pg_llm_chat_batch('m', $1)";
    let rows: Value = asked.value(sql, &[&prompts]).unwrap();
    assert_eq!(rows, json!([[1, format!("a {EMAIL}"), null, null], [2, null, "blocked", "42501"], [3, "c", null, null]]));
    let sql = "SELECT jsonb_agg(jsonb_build_array(key, response, error ->> 'kind') ORDER BY key) FROM pg_llm_map('m', $1)";
    let query = format!("VALUES (1, 'a {EMAIL}'), (2, '{INJECTION}'), (3, NULL)");
    let rows: Value = asked.value(sql, &[&query]).unwrap();
    assert_eq!(rows, json!([[1, format!("a {EMAIL}"), null], [2, null, "blocked"], [3, null, null]]));
    assert_eq!((asked.upstream.requests().len(), sent(&asked.upstream).contains(EMAIL)), (3, false));
}

#[test]
fn the_calls_filters_hold_for_all_rows_and_none_brings_its_own() {
    let mut asked = model(json!([]));
    let sql = "SELECT response FROM pg_llm_chat_batch('m', $1, $2)";
    let said: Option<String> = asked.value(sql, &[&vec![format!("a {EMAIL}")], &json!({"filters": ["pii-both"]})]).unwrap();
    assert_eq!(said, Some(format!("a {EMAIL}")));
    assert!(!sent(&asked.upstream).contains(EMAIL));
    let query = format!("VALUES (1, 'x {EMAIL}', '{{\"filters\": []}}'::jsonb)");
    let sql = "SELECT error ->> 'sqlstate' FROM pg_llm_map('m', $1, '{\"filters\": [\"pii-both\"]}')";
    assert_eq!(asked.value::<Option<String>>(sql, &[&query]).unwrap().as_deref(), Some("22023"));
    assert!(!sent(&asked.upstream).contains(EMAIL));
}

#[test]
fn texts_to_embed_and_to_rank_go_through_the_models_filters() {
    let mut asked = model(json!([]));
    let upstream = Upstream::start();
    upstream.on("/api/embed").handle(|request| {
        let texts = request.json()["input"].as_array().map_or(1, Vec::len);
        Reply::json(200, json!({"model": "e", "embeddings": vec![[1.0, 2.0]; texts]}))
    });
    let config = json!({"api_endpoint": upstream.url(), "filters": ["prompt-guard", "pii-redact"]});
    asked.client.execute("SELECT pg_llm_add_model('ollama', 'e', NULL, $1)", &[&config]).unwrap();
    let texts = vec![Some(format!("a {EMAIL}")), None, Some("b ann@example.com".to_owned()), Some(String::new())];
    let rows = asked.client.query("SELECT ord, embedding IS NULL FROM pg_llm_get_embeddings('e', $1)", &[&texts]).unwrap();
    assert_eq!(
        rows.iter().map(|row| (row.get(0), row.get(1))).collect::<Vec<(i64, bool)>>(),
        [(1, false), (2, true), (3, false), (4, false)]
    );
    assert_eq!(upstream.last_request().unwrap().json()["input"], json!(["a [EMAIL_1]", "b [EMAIL_1]", ""]));
    asked.client.query("SELECT pg_llm_get_embedding('e', $1)", &[&format!("c {EMAIL}")]).unwrap();
    let query = format!("VALUES (1, 'd {EMAIL}')");
    asked.client.query("SELECT * FROM pg_llm_map_embeddings('e', $1)", &[&query]).unwrap();
    assert!(!sent(&upstream).contains("@example"));
    let before = upstream.requests().len();
    blocked(asked.client.query("SELECT pg_llm_get_embedding('e', $1)", &[&INJECTION]), "prompt-guard", "prompt");
    let kind: Option<String> =
        asked.value("SELECT error ->> 'kind' FROM pg_llm_map_embeddings('e', $1)", &[&format!("VALUES (1, '{INJECTION}')")]).unwrap();
    assert_eq!((kind.as_deref(), upstream.requests().len()), (Some("blocked"), before));
    // An option of chats: the texts of embeddings go through the filters of the model.
    let error = db_error(asked.client.query("SELECT pg_llm_get_embedding('e', 'x', '{\"filters\": [\"pii-redact\"]}')", &[]));
    assert_eq!(error.code().code(), "22023", "{error:?}");
}
