//! `pg_llm_map_embeddings`: each key has the vector of its own text, whatever request brought it, and no more is drawn and asked than there is room for.

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Backend, Cluster, DEADLINE, Database, Running, db_error};
use pg_llm_upstream::{Gate, Received, Reply, Upstream};
use serde_json::{Value, json};

use super::{Gates, next, query, rows, simple};

/// Texts of a request that the provider allows.
const MOST: usize = 256;

/// SQL that makes of `$1` a text so long that no other goes into its request.
const ALONE: &str = "CREATE FUNCTION alone(word text) RETURNS text LANGUAGE sql RETURN word || repeat(' ', 1048577)";

/// A model `e` that makes of a text that begins with a number a vector of the number and a half. A request with "fail" fails, one with "hang" hangs.
struct Embedder {
    upstream: Upstream,
    database: Database<'static>,
    client: Client,
    gates: Gates,
}

fn texts(received: &Received) -> Vec<String> {
    let body = received.json();
    body["input"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().trim().to_owned()).collect()
}

fn reply(texts: &[String]) -> Reply {
    let has = |word: &str| texts.iter().any(|text| text.starts_with(word));
    if has("fail") {
        return Reply::json(400, json!({"error": "no way"}));
    }
    if has("hang") {
        return Reply::hang();
    }
    let vector = |text: &String| match text.strip_prefix("long") {
        Some(_) => json!([1, 2, 3]),
        None => json!([text.parse::<f64>().unwrap_or(-1.0), 0.5]),
    };
    let vectors: Vec<Value> = texts.iter().map(vector).collect();
    Reply::json(200, json!({"model": "m", "embeddings": vectors, "prompt_eval_count": texts.len()}))
}

impl Embedder {
    fn with(setup: &str) -> Self {
        let (upstream, gates) = (Upstream::start(), Gates::default());
        let known = gates.clone();
        upstream.on("/api/embed").handle(move |received| {
            let texts = texts(received);
            let gate = texts.iter().find_map(|text| known.known(text));
            gate.map_or_else(|| reply(&texts), |gate| reply(&texts).gated(&gate))
        });
        let database = Cluster::shared().empty_database();
        let mut client = database.superuser();
        client.batch_execute(&format!("{ALONE}; {setup}; CREATE EXTENSION pg_llm")).unwrap();
        let config = json!({"api_endpoint": upstream.url()});
        client.execute("SELECT pg_llm_add_model('ollama', 'e', NULL, $1)", &[&config]).unwrap();
        Self { upstream, database, client, gates }
    }

    fn new() -> Self {
        Self::with("")
    }

    fn held(&self, word: &str) -> Gate {
        self.gates.of(word)
    }

    fn sizes(&self) -> Vec<usize> {
        self.upstream.requests().iter().map(|request| texts(request).len()).collect()
    }

    /// Nothing is in flight any more, and the session goes on.
    #[track_caller]
    fn is_over(&mut self) {
        assert!(self.upstream.wait_for(|observed| observed.answering == 0, DEADLINE), "the upstream still answers");
        assert_eq!(simple(&mut self.client, "SELECT pg_llm_get_embedding('e', '7')::text"), ["{7,0.5}"]);
        self.database.cluster().assert_no_crash();
    }
}

fn map(query: &str, options: &str) -> String {
    format!("SELECT key, embedding::text, error ->> 'sqlstate' FROM pg_llm_map_embeddings('e', $q${query}$q$, '{options}')")
}

#[test]
fn each_of_a_thousand_keys_has_the_vector_of_its_own_text_in_four_requests() {
    let mut e = Embedder::new();
    let sql = "SELECT count(*), count(DISTINCT key), count(*) FILTER (WHERE key::int * 3 = embedding[1]::int), count(error), count(usage), sum((usage ->> 'input_tokens')::int)
                 FROM pg_llm_map_embeddings('e', 'SELECT i, i * 3 FROM generate_series(1, 1000) AS i')";
    assert_eq!(simple(&mut e.client, sql), ["1000|1000|1000|0|4|1000"]);
    let mut sizes = e.sizes();
    sizes.sort_unstable();
    assert_eq!(sizes, [1000 - 3 * MOST, MOST, MOST, MOST]);
}

#[test]
fn one_column_is_the_text_two_are_key_and_text_and_null_is_null_without_a_request() {
    let mut e = Embedder::new();
    let mut says = |query: &str| simple(&mut e.client, &map(query, "{}"));
    assert_eq!(says("VALUES (NULL), ('4'), (NULL), ('6')"), ["1|NULL|NULL", "2|{4,0.5}|NULL", "3|NULL|NULL", "4|{6,0.5}|NULL"]);
    assert_eq!(says("SELECT date '2026-01-02', 8"), ["\"2026-01-02\"|{8,0.5}|NULL"]);
    assert_eq!(says("SELECT NULL::int, '5'"), ["NULL|{5,0.5}|NULL"]);
    let requests = e.upstream.requests().len();
    let mut says = |query: &str| simple(&mut e.client, &map(query, "{}"));
    assert_eq!(says("SELECT 1 WHERE false"), Vec::<String>::new());
    assert_eq!(says("SELECT 'k', NULL"), ["\"k\"|NULL|NULL"]);
    assert_eq!(says("SELECT NULL FROM generate_series(1, 5000)").len(), 5000);
    assert!(simple(&mut e.client, "SELECT * FROM pg_llm_map_embeddings('e', NULL)").is_empty());
    assert_eq!(e.upstream.requests().len(), requests);
    let usage = "SELECT key, usage ->> 'input_tokens' FROM pg_llm_map_embeddings('e', 'VALUES (NULL), (1), (2)')";
    assert_eq!(simple(&mut e.client, usage), ["1|NULL", "2|2", "3|NULL"]);
}

#[test]
fn nulls_take_no_place_in_a_request() {
    let mut e = Embedder::new();
    let sql = "SELECT count(*), count(embedding) FROM pg_llm_map_embeddings('e', 'SELECT CASE WHEN i % 2 = 0 THEN i END FROM generate_series(1, 512) AS i')";
    assert_eq!(simple(&mut e.client, sql), ["512|256"]);
    assert_eq!(e.sizes(), [MOST]);
}

#[test]
fn texts_that_are_long_together_go_in_several_requests() {
    let mut e = Embedder::new();
    let query = "SELECT i || repeat('' '', 400000) FROM generate_series(1, 5) AS i";
    let sql = format!("SELECT count(*) FROM pg_llm_map_embeddings('e', '{query}') WHERE key::int = embedding[1]::int");
    assert_eq!(simple(&mut e.client, &sql), ["5"]);
    let mut sizes = e.sizes();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 2, 2]);
}

#[test]
fn so_many_requests_as_allowed_are_made_at_the_same_time_and_no_more_rows_drawn() {
    let mut e = Embedder::with("CREATE SEQUENCE drawn");
    let gates: Vec<Gate> = (1..=12).map(|i| e.held(&i.to_string())).collect();
    let mut watcher = e.database.superuser();
    let query = "SELECT i, alone(i::text) FROM (SELECT nextval(''drawn'') AS i FROM generate_series(1, 12)) AS t";
    let sql = format!("SELECT key FROM pg_llm_map_embeddings('e', '{query}', '{{\"max_concurrency\": 3}}')");
    let running = Running::start(e.database.superuser(), &sql);
    assert!(e.upstream.wait_for_requests(3, DEADLINE));
    assert_eq!(simple(&mut watcher, "SELECT last_value FROM drawn"), ["3"]);
    for gate in &gates {
        gate.open();
    }
    let mut keys: Vec<i32> = running.finish(DEADLINE).column().into_iter().map(|key| key.unwrap().parse().unwrap()).collect();
    keys.sort_unstable();
    assert_eq!(keys, (1..=12).collect::<Vec<_>>());
    assert_eq!(e.upstream.observe(|observed| observed.max_concurrent), 3);
    e.is_over();
}

#[test]
fn rows_come_as_requests_end_or_in_the_querys_order() {
    for (options, expected) in [("{}", ["\"2\"", "\"1\""]), ("{\"order\": \"ord\"}", ["\"1\"", "\"2\""])] {
        let mut e = Embedder::new();
        let (first, second) = (e.held("1"), e.held("2"));
        let sql = format!(
            "SELECT key::text FROM pg_llm_map_embeddings('e', 'SELECT i::text, alone(i::text) FROM generate_series(1, 2) AS i', '{options}')"
        );
        let upstream = &e.upstream;
        let mut rows = query(&mut e.client, &sql);
        second.open();
        if options == "{}" {
            assert_eq!(next(&mut rows).as_deref(), Some("\"2\""));
        } else {
            assert!(upstream.wait_for(|observed| observed.requests_total == 2 && observed.answering == 1, DEADLINE));
        }
        first.open();
        let rest: Vec<String> = std::iter::from_fn(|| next(&mut rows)).collect();
        assert_eq!(rest, expected[expected.len() - rest.len()..], "{options}");
        assert_eq!(rest.len(), if options == "{}" { 1 } else { 2 });
    }
}

#[test]
fn in_order_a_thousand_rows_come_in_the_querys_order() {
    let mut e = Embedder::new();
    let keys = "SELECT key FROM pg_llm_map_embeddings('e', 'SELECT CASE WHEN i % 3 > 0 THEN i END FROM generate_series(1, 1000) AS i', '{\"order\": \"ord\"}')";
    assert_eq!(simple(&mut e.client, keys), (1..=1000).map(|i| i.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_request_that_fails_is_an_error_of_its_rows_and_the_others_go_on() {
    let mut e = Embedder::new();
    let query = "VALUES (1, '1'), (2, alone('fail')), (3, '3'), (4, NULL)";
    let says = |client: &mut Client, options: &str| {
        let mut said = simple(client, &map(query, options));
        said.sort();
        said
    };
    assert_eq!(says(&mut e.client, "{}"), ["1|{1,0.5}|NULL", "2|NULL|38000", "3|{3,0.5}|NULL", "4|NULL|NULL"]);
    assert_eq!(says(&mut e.client, "{\"on_error\": \"null\"}"), ["1|{1,0.5}|NULL", "2|NULL|NULL", "3|{3,0.5}|NULL", "4|NULL|NULL"]);
    let error = db_error(rows(&mut e.client, &map(query, "{\"on_error\": \"error\"}")));
    assert_eq!(error.code().code(), "38000");
    let shared = "SELECT count(*), count(embedding), count(error), count(usage), min(error ->> 'attempts') FROM pg_llm_map_embeddings('e', 'VALUES (1), (''fail''::text::varchar), (NULL)')";
    let shared = shared.replace("VALUES (1)", "VALUES (''1''::varchar)");
    assert_eq!(simple(&mut e.client, &shared), ["3|0|2|0|1"]);
    e.is_over();
}

#[test]
fn vectors_of_another_length_than_the_first_are_errors_of_their_rows() {
    let mut e = Embedder::new();
    let options = "{\"order\": \"ord\"}";
    assert_eq!(
        simple(&mut e.client, &map("VALUES (alone('1')), (alone('long')), (alone('3'))", options)),
        ["1|{1,0.5}|NULL", "2|NULL|38000", "3|{3,0.5}|NULL"]
    );
}

#[test]
fn a_cancel_midway_closes_the_connections() {
    let mut e = Embedder::new();
    let sql = map("SELECT i, alone('hang') FROM generate_series(1, 40) AS i", "{\"max_concurrency\": 8}");
    let running = Running::start(e.database.superuser(), &sql);
    assert!(e.upstream.wait_for_requests(8, DEADLINE));
    running.cancel();
    assert_eq!(db_error(running.finish(DEADLINE).result).code().code(), "57014");
    assert_eq!(e.upstream.requests().len(), 8);
    e.is_over();
}

#[test]
fn a_limit_and_the_end_of_a_cursor_end_the_other_requests() {
    let mut e = Embedder::new();
    let sql = map("SELECT i, alone(CASE i WHEN 1 THEN '1' ELSE 'hang' END) FROM generate_series(1, 16) AS i", "{}");
    assert_eq!(simple(&mut e.client, &format!("{sql} LIMIT 1")), ["1|{1,0.5}|NULL"]);
    e.is_over();
    for end in ["CLOSE c; COMMIT", "COMMIT", "ROLLBACK"] {
        assert_eq!(simple(&mut e.client, &format!("BEGIN; DECLARE c CURSOR FOR {sql}; FETCH c")), ["1|{1,0.5}|NULL"]);
        simple(&mut e.client, end);
        e.is_over();
    }
}

#[test]
fn a_query_that_fails_midway_ends_the_statement_and_what_is_in_flight() {
    let mut e = Embedder::new();
    let sql = map("SELECT i, alone('hang') FROM generate_series(1, 5) AS i WHERE 1 / (5 - i) >= 0", "{}");
    assert_eq!(db_error(rows(&mut e.client, &sql)).code().code(), "22012");
    e.is_over();
}

#[test]
fn wrong_queries_and_wrong_options_are_refused_before_any_request() {
    let mut e = Embedder::new();
    for (query, state) in [
        ("SELECT 1, '2', '{}'::jsonb", "22023"),
        ("SELECT", "22023"),
        ("", "22023"),
        ("DELETE FROM pg_class", "22023"),
        ("SELECT 1; SELECT 2", "22023"),
        ("SELEKT 1", "42601"),
    ] {
        let error = db_error(rows(&mut e.client, &map(query, "{}")));
        assert_eq!(error.code().code(), state, "{query}: {error:?}");
        assert!(state != "22023" || error.hint().is_some(), "{query}: {error:?}");
    }
    for options in
        ["{\"order\": \"any\"}", "{\"max_concurrency\": 0}", "{\"temperature\": 1}", "{\"dimensions\": 0}", "[]", "{\"top_n\": 1}"]
    {
        assert_eq!(db_error(rows(&mut e.client, &map("SELECT 1", options))).code().code(), "22023", "{options}");
    }
    assert!(e.upstream.requests().is_empty());
}

#[test]
fn a_model_without_embeddings_and_one_that_may_not_be_used_are_errors_of_the_call() {
    let mut e = Embedder::new();
    e.client.execute("SELECT pg_llm_add_model('mock', 'no', NULL, '{}')", &[]).unwrap();
    let sql = "SELECT * FROM pg_llm_map_embeddings('no', 'SELECT 1')";
    assert_eq!(db_error(rows(&mut e.client, sql)).code().code(), "0A000");
    let role = e.database.create_role();
    let mut other = e.database.connect_as(&role);
    assert_eq!(db_error(rows(&mut other, &map("SELECT 1", "{}"))).code().code(), "42501");
    e.client.batch_execute(&format!("CREATE TABLE secret AS SELECT 1 AS body; SELECT pg_llm_grant_model('e', '{role}')")).unwrap();
    assert_eq!(db_error(rows(&mut other, &map("SELECT body FROM secret", "{}"))).code().code(), "42501");
    assert_eq!(simple(&mut other, &map("SELECT 5", "{}")), ["1|{5,0.5}|NULL"]);
}

#[test]
fn with_pgvector_vectors_are_of_its_type_whenever_that_comes_and_goes() {
    let mut e = Embedder::with("CREATE SCHEMA \"Elsewhere\"; CREATE EXTENSION vector SCHEMA \"Elsewhere\"");
    let types = "SELECT pg_typeof(embedding), embedding::text FROM pg_llm_map_embeddings('e', 'SELECT 5')";
    assert_eq!(simple(&mut e.client, types), ["\"Elsewhere\".vector|[5,0.5]"]);
    assert_eq!(simple(&mut e.client, "SELECT pg_llm_use_vector_type(false)"), ["f"]);
    assert_eq!(simple(&mut e.client, types), ["real[]|{5,0.5}"]);
    e.client.batch_execute("DROP EXTENSION vector; CREATE EXTENSION vector").unwrap();
    assert_eq!(simple(&mut e.client, "SELECT pg_llm_use_vector_type()"), ["t"]);
    e.client.batch_execute("CREATE TABLE documents (id int, embedding vector(2))").unwrap();
    let fill =
        "INSERT INTO documents SELECT key::int, embedding FROM pg_llm_map_embeddings('e', 'SELECT i, i FROM generate_series(1, 300) AS i')";
    e.client.batch_execute(fill).unwrap();
    assert_eq!(simple(&mut e.client, "SELECT id FROM documents ORDER BY embedding <-> '[77, 0.5]' LIMIT 1"), ["77"]);
    e.client.batch_execute("DROP EXTENSION pg_llm; DROP EXTENSION vector CASCADE").unwrap();
}

#[test]
fn memory_is_flat_however_many_rows_there_are() {
    let mut e = Embedder::new();
    let backend = Backend::of(&mut e.client);
    let query_of = "SELECT i || repeat('' '', 1000) FROM generate_series(1, 40000) AS i";
    let sql = format!("SELECT key::text FROM pg_llm_map_embeddings('e', '{query_of}', '{{\"max_concurrency\": 2}}')");
    let mut rows = query(&mut e.client, &sql);
    let (mut early, mut count) = (0, 0);
    while next(&mut rows).is_some() {
        count += 1;
        if count == 10_000 {
            early = backend.rss_anon_kb();
        }
    }
    assert_eq!(count, 40_000);
    drop(rows);
    let late = backend.rss_anon_kb();
    // The texts of the rows in between are 30 MB.
    assert!(late < early + 5000, "{early} kB, then {late} kB");
}
