//! Embeddings, reranking, and the list of an endpoint's models.

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Cluster, DEADLINE, Database, Running, db_error};
use pg_llm_upstream::{Gate, Received, Reply, Upstream};
use serde_json::{Value, json};

/// A model whose endpoint embeds a text as its length, its number of spaces, and a constant.
struct Embedder {
    upstream: Upstream,
    database: Database<'static>,
    client: Client,
}

fn vectors(request: &Received) -> Reply {
    let request = request.json();
    let texts = request["input"].as_array().cloned().unwrap_or_default();
    let vectors: Vec<Value> =
        texts.iter().map(|text| text.as_str().unwrap()).map(|text| json!([text.len(), text.matches(' ').count(), 0.5])).collect();
    Reply::json(200, json!({"model": "m", "embeddings": vectors, "prompt_eval_count": texts.len()}))
}

impl Embedder {
    fn with(setup: &str) -> Self {
        let upstream = Upstream::start();
        upstream.on("/api/embed").handle(vectors);
        let database = Cluster::shared().empty_database();
        let mut client = database.superuser();
        client.batch_execute(setup).unwrap();
        client.batch_execute("CREATE EXTENSION pg_llm").unwrap();
        let config = json!({"api_endpoint": upstream.url()});
        client.execute("SELECT pg_llm_add_model('ollama', 'e', NULL, $1)", &[&config]).unwrap();
        Self { upstream, database, client }
    }

    fn new() -> Self {
        Self::with("")
    }

    fn text(&mut self, sql: &str) -> Option<String> {
        self.client.query_one(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
    }
}

#[test]
fn without_pgvector_an_embedding_is_an_array_of_real() {
    let mut e = Embedder::new();
    let vector: Vec<f32> = e.client.query_one("SELECT pg_llm_get_embedding('e', 'two words')", &[]).unwrap().get(0);
    assert_eq!(vector, [9.0, 1.0, 0.5]);
    let request = e.upstream.last_request().unwrap().json();
    assert_eq!((&request["model"], &request["input"]), (&json!("e"), &json!(["two words"])));
    assert_eq!(e.text("SELECT pg_llm_get_embedding('e', NULL)::text"), None);
    assert_eq!(e.upstream.requests().len(), 1, "NULL is no call");
}

#[test]
fn with_pgvector_it_is_pgvectors_type_wherever_that_is() {
    let mut e = Embedder::with("CREATE SCHEMA \"Elsewhere\"; CREATE EXTENSION vector SCHEMA \"Elsewhere\"");
    assert_eq!(e.text("SELECT pg_typeof(pg_llm_get_embedding('e', 'x'))::text").unwrap(), "\"Elsewhere\".vector");
    assert_eq!(e.text("SELECT pg_llm_get_embedding('e', 'two words', '{}')::text").unwrap(), "[9,1,0.5]");
    e.client
        .batch_execute(
            "SET search_path = public, \"Elsewhere\"; CREATE TABLE documents (body text, embedding vector(3));
             INSERT INTO documents SELECT t, embedding FROM unnest('{a,a b,a b c d}'::text[]) WITH ORDINALITY AS d (t, ord)
               JOIN pg_llm_get_embeddings('e', '{a,a b,a b c d}') USING (ord)",
        )
        .unwrap();
    let nearest = e.text("SELECT body FROM documents ORDER BY embedding <-> pg_llm_get_embedding('e', 'x y') LIMIT 1");
    assert_eq!(nearest.unwrap(), "a b");
}

#[test]
fn pgvector_can_come_later_and_go_again() {
    let mut e = Embedder::new();
    assert_eq!(e.text("SELECT pg_llm_use_vector_type()::text").unwrap(), "false");
    e.client.batch_execute("CREATE EXTENSION vector").unwrap();
    assert_eq!(e.text("SELECT pg_llm_use_vector_type()::text").unwrap(), "true");
    assert_eq!(e.text("SELECT pg_typeof(pg_llm_get_embedding('e', 'x'))::text").unwrap(), "vector");
    let depends = db_error(e.client.batch_execute("DROP EXTENSION vector"));
    assert_eq!(depends.code().code(), "2BP01");
    let members = "SELECT count(*)::text FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid \
                    WHERE d.deptype = 'e' AND e.extname = 'pg_llm' AND d.classid = 'pg_proc'::regclass";
    let before = e.text(members);
    assert_eq!(e.text("SELECT pg_llm_use_vector_type(false)::text").unwrap(), "false");
    assert_eq!(e.text(members), before, "as many functions belong to the extension");
    e.client.batch_execute("DROP EXTENSION vector").unwrap();
    assert_eq!(e.text("SELECT pg_llm_get_embedding('e', 'x')::text").unwrap(), "{1,0,0.5}");
    e.client.batch_execute("DROP EXTENSION pg_llm").unwrap();
}

#[test]
fn a_type_of_that_name_that_is_not_pgvectors_is_left_alone() {
    let mut e = Embedder::with("CREATE TYPE vector AS (x float8)");
    assert_eq!(e.text("SELECT pg_typeof(pg_llm_get_embedding('e', 'x'))::text").unwrap(), "real[]");
}

#[test]
fn who_is_no_superuser_does_not_redeclare_functions() {
    let e = Embedder::new();
    let mut other = e.database.connect_as(&e.database.create_role());
    assert_eq!(db_error(other.query("SELECT pg_llm_use_vector_type()", &[])).code().code(), "42501");
}

#[test]
fn many_texts_go_in_as_few_requests_as_the_provider_allows_and_come_back_in_order() {
    let mut e = Embedder::new();
    let sql =
        "SELECT ord, embedding[1]::int FROM pg_llm_get_embeddings('e', (SELECT array_agg(repeat('x', n)) FROM generate_series(1, 300) n))";
    let rows = e.client.query(sql, &[]).unwrap();
    let expected: Vec<(i64, i32)> = (1..=300).map(|n| (i64::from(n), n)).collect();
    assert_eq!(rows.iter().map(|row| (row.get(0), row.get(1))).collect::<Vec<(i64, i32)>>(), expected);
    let mut sizes: Vec<usize> = e.upstream.requests().iter().map(|request| request.json()["input"].as_array().unwrap().len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [44, 256]);
}

#[test]
fn requests_are_made_at_the_same_time_and_no_more_than_the_caller_wants() {
    for (options, most) in [("{}", 4), (r#"{"max_concurrency": 2}"#, 2), (r#"{"max_concurrency": 1}"#, 1)] {
        let mut e = Embedder::new();
        let gate = Gate::new();
        let held = gate.clone();
        e.upstream.on("/api/embed").handle(move |request| vectors(request).gated(&held));
        let sql = format!(
            "SELECT sum(ord * embedding[1])::text FROM pg_llm_get_embeddings('e', (SELECT array_agg(repeat('x', n % 9)) FROM generate_series(1, 1000) n), '{options}')"
        );
        let expected: i64 = (1..=1000).map(|n| n * (n % 9)).sum();
        let call = Running::start(e.database.superuser(), &sql);
        assert!(e.upstream.wait_for(|seen| seen.answering == most, DEADLINE), "{options}");
        gate.open();
        assert_eq!(call.finish(DEADLINE).column(), [Some(expected.to_string())], "{options}");
        assert_eq!((e.upstream.max_concurrent(), e.upstream.requests().len()), (most, 4), "{options}");
        assert_eq!(e.text("SELECT 'well'").unwrap(), "well");
    }
}

#[test]
fn a_request_that_fails_ends_the_others() {
    let e = Embedder::new();
    e.upstream.on("/api/embed").handle(|request| {
        if request.json()["input"][0] == json!("bad") { Reply::json(400, json!({"error": "No."})) } else { Reply::hang() }
    });
    let sql = "SELECT count(*) FROM pg_llm_get_embeddings('e', array_cat(array_fill('x'::text, '{256}'), '{bad}'))";
    let error = db_error(e.database.superuser().query(sql, &[]));
    assert_eq!(error.code().code(), "38000");
    assert!(e.upstream.wait_for(|seen| seen.answering == 0, DEADLINE));
}

#[test]
fn texts_that_are_long_together_are_sent_apart() {
    let mut e = Embedder::new();
    let sql = "SELECT count(*)::text FROM pg_llm_get_embeddings('e', array_fill(repeat('x', 400000), '{6}'))";
    assert_eq!(e.text(sql).unwrap(), "6");
    let sizes: Vec<usize> = e.upstream.requests().iter().map(|request| request.json()["input"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [2, 2, 2]);
}

#[test]
fn null_texts_are_null_vectors_and_not_sent() {
    let mut e = Embedder::new();
    let sql = "SELECT string_agg(ord || '=' || coalesce(embedding::text, 'null'), ' ' ORDER BY ord) FROM pg_llm_get_embeddings('e', ARRAY[NULL, 'a', NULL, ''])";
    assert_eq!(e.text(sql).unwrap(), "1=null 2={1,0,0.5} 3=null 4={0,0,0.5}");
    assert_eq!(e.upstream.last_request().unwrap().json()["input"], json!(["a", ""]));
    for nothing in ["NULL", "'{}'", "ARRAY[NULL, NULL]::text[]"] {
        assert_eq!(e.text(&format!("SELECT count(embedding)::text FROM pg_llm_get_embeddings('e', {nothing})")).unwrap(), "0");
    }
    assert_eq!(e.upstream.requests().len(), 1);
}

#[test]
fn dimensions_come_from_the_call_else_from_the_model() {
    let mut e = Embedder::new();
    let config = json!({"api_endpoint": e.upstream.url(), "embedding_dimensions": 3});
    e.client.execute("SELECT pg_llm_add_model('ollama', 'e', NULL, $1)", &[&config]).unwrap();
    for (options, sent) in [("{}", 3), ("{\"dimensions\": 7}", 7)] {
        e.client.query_one("SELECT pg_llm_get_embedding('e', 'x', $1)", &[&serde_json::from_str::<Value>(options).unwrap()]).unwrap();
        assert_eq!(e.upstream.last_request().unwrap().json()["dimensions"], json!(sent));
    }
}

#[test]
fn wrong_options_are_refused_before_any_call() {
    let mut e = Embedder::new();
    for options in
        ["{\"dimension\": 3}", "{\"dimensions\": 0}", "{\"purpose\": \"fun\"}", "{\"on_error\": \"object\"}", "[]", "{\"temperature\": 0}"]
    {
        for function in ["pg_llm_get_embedding('e', 'x', $1)", "pg_llm_get_embeddings('e', '{x}', $1)"] {
            let options: Value = serde_json::from_str(options).unwrap();
            let error = db_error(e.client.query(&format!("SELECT {function}"), &[&options]));
            assert_eq!(error.code().code(), "22023", "{function} {options}: {error:?}");
        }
    }
    assert_eq!(e.upstream.requests().len(), 0);
}

#[test]
fn an_endpoint_that_lies_about_its_vectors_is_an_error() {
    let mut e = Embedder::new();
    for embeddings in [json!([]), json!([[1], [2]]), json!([[]]), json!([["x"]]), json!([[1e300]]), json!("x"), json!(null)] {
        e.upstream.on("/api/embed").reply(Reply::json(200, json!({"model": "m", "embeddings": embeddings})));
        let error = db_error(e.client.query("SELECT pg_llm_get_embedding('e', 'x')", &[]));
        assert_eq!(error.code().code(), "38000", "{embeddings}: {error:?}");
    }
    e.upstream.on("/api/embed").reply(Reply::json(200, json!({"embeddings": [[1, 2], [1]]})));
    assert_eq!(db_error(e.client.query("SELECT * FROM pg_llm_get_embeddings('e', '{x,y}')", &[])).code().code(), "38000");
}

#[test]
fn failures_are_errors_or_null_as_the_caller_says() {
    let mut e = Embedder::new();
    let gone = || Reply::json(404, json!({"error": "model \"e\" not found"}));
    e.upstream.on("/api/embed").reply(gone());
    let error = db_error(e.client.query("SELECT pg_llm_get_embedding('e', 'x')", &[]));
    assert_eq!((error.code().code(), error.message().contains("not found")), ("38000", true), "{error:?}");
    e.upstream.on("/api/embed").reply(gone()).reply(gone());
    assert_eq!(e.text("SELECT pg_llm_get_embedding('e', 'x', '{\"on_error\": \"null\"}')::text"), None);
    let sql = "SELECT count(*) || ' ' || count(embedding) FROM pg_llm_get_embeddings('e', '{x,y}', '{\"on_error\": \"null\"}')";
    assert_eq!(e.text(sql).unwrap(), "2 0");
}

#[test]
fn a_call_for_embeddings_is_tried_again_as_a_chat_is() {
    let mut e = Embedder::new();
    e.upstream.on("/api/embed").reply(Reply::json(503, json!({"error": "busy"})).header("retry-after-ms", "1")).handle(vectors);
    assert_eq!(e.text("SELECT pg_llm_get_embedding('e', 'x')::text").unwrap(), "{1,0,0.5}");
    assert_eq!(e.upstream.requests().len(), 2);
}

#[test]
fn a_provider_without_embeddings_says_so() {
    let mut e = Embedder::new();
    e.client.execute("SELECT pg_llm_add_model('mock', 'no', NULL, '{}')", &[]).unwrap();
    for sql in ["SELECT pg_llm_get_embedding('no', 'x')", "SELECT pg_llm_rerank('no', 'q', '{x}')", "SELECT pg_llm_list_models('no')"] {
        assert_eq!(db_error(e.client.query(sql, &[])).code().code(), "0A000", "{sql}");
    }
}

#[test]
fn who_may_not_use_the_model_gets_no_embedding() {
    let e = Embedder::new();
    let mut other = e.database.connect_as(&e.database.create_role());
    for sql in ["SELECT pg_llm_get_embedding('e', 'x')", "SELECT pg_llm_get_embeddings('e', '{x}')", "SELECT pg_llm_list_models('e')"] {
        assert_eq!(db_error(other.query(sql, &[])).code().code(), "42501", "{sql}");
    }
    assert_eq!(e.upstream.requests().len(), 0);
}

#[test]
fn a_cancel_ends_a_call_for_embeddings_between_and_within_requests() {
    let e = Embedder::new();
    e.upstream.on("/api/embed").handle(
        |request| {
            if request.json()["input"][0] == json!("first") { vectors(request) } else { Reply::hang() }
        },
    );
    let sql = "SELECT count(*) FROM pg_llm_get_embeddings('e', array_cat('{first}', array_fill('x'::text, '{300}')))";
    let call = Running::start(e.database.superuser(), sql);
    assert!(e.upstream.wait_for_requests(2, DEADLINE));
    assert!(e.database.cluster().cancel_backend(call.pid()));
    assert_eq!(db_error(call.finish(DEADLINE).result).code().code(), "57014");
    assert!(e.upstream.wait_until_closed(DEADLINE));
}

#[test]
fn the_models_of_an_endpoint_are_listed() {
    let mut e = Embedder::new();
    e.upstream.on("/api/tags").reply(Reply::json(
        200,
        json!({"models": [{"name": "llama:8b", "model": "llama:8b", "size": 7}, {"name": "tiny", "model": "tiny"}]}),
    ));
    let names = e.text("SELECT string_agg(model_name, ',' ORDER BY model_name) FROM pg_llm_list_models('e')");
    assert_eq!(names.unwrap(), "llama:8b,tiny");
    assert_eq!(e.upstream.last_request().unwrap().method, "GET");
}

#[test]
fn a_full_request_of_long_vectors_fits_the_default_limits() {
    let upstream = Upstream::start_echo();
    let database = Cluster::shared().database();
    let mut client = database.superuser();
    let config = json!({"api_endpoint": format!("{}/v1", upstream.url()), "embedding_dimensions": 3072});
    client.execute("SELECT pg_llm_add_model('openai-compatible', 'e', NULL, $1)", &[&config]).unwrap();
    let sql = "SELECT count(*), min(array_length(embedding, 1)) FROM pg_llm_get_embeddings('e', (SELECT array_agg('text ' || n) FROM generate_series(1, 600) n))";
    let row = client.query_one(sql, &[]).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i32>(1)), (600, 3072));
    let sizes: Vec<usize> = upstream.requests().iter().map(|request| request.json()["input"].as_array().unwrap().len()).collect();
    assert!(sizes == [512, 88] || sizes == [88, 512], "{sizes:?}");
}

#[test]
fn documents_are_reranked_and_the_nulls_among_them_keep_their_places() {
    let upstream = Upstream::start_echo();
    let database = Cluster::shared().database();
    let mut client = database.superuser();
    let config = json!({"api_endpoint": format!("{}/v1", upstream.url())});
    client.execute("SELECT pg_llm_add_model('openai-compatible', 'r', NULL, $1)", &[&config]).unwrap();
    let sql = "SELECT ord, document FROM pg_llm_rerank('r', 'a cat', ARRAY['dogs bark', NULL, 'a cat', 'the cat'], '{\"top_n\": 2}')";
    let rows = client.query(sql, &[]).unwrap();
    assert_eq!(
        rows.iter().map(|row| (row.get(0), row.get(1))).collect::<Vec<(i64, String)>>(),
        [(3, "a cat".to_owned()), (4, "the cat".to_owned())]
    );
    assert_eq!(upstream.last_request().unwrap().json()["documents"], json!(["dogs bark", "a cat", "the cat"]));
    for nothing in ["NULL, '{x}'", "'q', NULL", "'q', '{}'", "'q', ARRAY[NULL]::text[]"] {
        assert_eq!(client.query(&format!("SELECT * FROM pg_llm_rerank('r', {nothing})"), &[]).unwrap().len(), 0, "{nothing}");
    }
    assert_eq!(upstream.requests().len(), 1);
    let lies = |results: Value| Reply::json(200, json!({"results": results}));
    for results in
        [json!([{"index": 7, "relevance_score": 1}]), json!([{"index": 0, "relevance_score": 1}, {"index": 0, "relevance_score": 1}])]
    {
        upstream.on("/v1/rerank").reply(lies(results.clone()));
        let error = db_error(client.query("SELECT * FROM pg_llm_rerank('r', 'q', '{x,y}')", &[]));
        assert_eq!(error.code().code(), "38000", "{results}: {error:?}");
    }
}
