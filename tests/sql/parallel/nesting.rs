//! Parallel chats row by row, inside functions, and beside other calls of the same statement.

use pg_llm_tests::{DEADLINE, Installation, db_error};
use pg_llm_upstream::{Gate, Upstream, openai};
use serde_json::{Value, json};

use super::Panel;

#[test]
fn every_row_can_have_its_own() {
    let mut panel = Panel::of([]);
    let (echo, other) = (Upstream::start_echo(), Upstream::start_echo());
    panel.add("m1", &echo.url(), json!({}));
    panel.add("m2", &other.url(), json!({}));
    panel
        .client
        .batch_execute("CREATE TABLE t AS SELECT i, CASE WHEN i % 7 > 0 THEN 'row ' || i END AS p FROM generate_series(1, 50) AS i")
        .unwrap();
    let rows = panel
        .client
        .query("SELECT i, pg_llm_parallel_chat(p, ARRAY['m1', 'm2'], '{\"strategy\": \"vote\"}') FROM t ORDER BY i", &[])
        .unwrap();
    for row in &rows {
        let i: i32 = row.get(0);
        assert_eq!(row.get::<_, Option<String>>(1), (i % 7 > 0).then(|| format!("You said: row {i}")));
    }
    assert_eq!((rows.len(), echo.requests().len(), other.requests().len()), (50, 43, 43));
    // The connections are kept from row to row: at most one for each thread.
    assert!(echo.connections_total() <= 2 && other.connections_total() <= 2, "{} {}", echo.connections_total(), other.connections_total());
}

#[test]
fn a_parallel_chat_runs_while_a_stream_is_open_and_inside_of_it() {
    let mut panel = Panel::saying(&["one", "two"]);
    let (upstream, gate) = (Upstream::start(), Gate::new());
    upstream.on("/chat/completions").reply(openai::stream(&["a", "b", "c"]).gated(&gate));
    panel.add("s", &upstream.url(), json!({}));
    panel
        .client
        .batch_execute(
            "CREATE FUNCTION ask(p text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN pg_llm_parallel_chat(p, '{m1,m2}'); END $$",
        )
        .unwrap();
    let mut transaction = panel.client.transaction().unwrap();
    transaction
        .batch_execute("DECLARE c CURSOR FOR SELECT chunk, ask(chunk) FROM pg_llm_chat_stream('s', 'Hello') WHERE NOT is_final")
        .unwrap();
    gate.pass(2);
    let first = transaction.query_one("FETCH 1 FROM c", &[]).unwrap();
    assert_eq!((first.get::<_, &str>(0), first.get::<_, &str>(1)), ("a", "one"));
    // Between two fetches, with the stream in flight.
    let between: Value = transaction.query_one("SELECT pg_llm_parallel_chat_json('x', '{m2,m1}')", &[]).unwrap().get(0);
    assert_eq!(between["response"], "two");
    gate.open();
    let rest = transaction.query("FETCH ALL FROM c", &[]).unwrap();
    let rest: Vec<(String, String)> = rest.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(rest, [("b".to_owned(), "one".to_owned()), ("c".to_owned(), "one".to_owned())]);
    transaction.commit().unwrap();
}

#[test]
fn an_exception_handler_catches_a_failure_and_not_a_timeout() {
    let mut panel = Panel::of([openai::error(400, "invalid", "no", "Not me."), pg_llm_upstream::Reply::hang()]);
    let block = |names: &str| format!("DO $$ BEGIN PERFORM pg_llm_parallel_chat('x', '{names}'); EXCEPTION WHEN OTHERS THEN NULL; END $$");
    panel.client.batch_execute(&block("{m1}")).unwrap();
    panel.client.batch_execute("SET statement_timeout = '300ms'").unwrap();
    assert_eq!(db_error(panel.client.batch_execute(&block("{m1,m2}"))).code().code(), "57014");
    assert!(panel.upstreams[1].wait_until_closed(DEADLINE));
}

#[test]
fn a_parallel_worker_has_threads_of_its_own() {
    let mut panel = Panel::saying(&["one", "two", "three"]);
    let setting = if Installation::of_tests().major() >= 16 { "debug_parallel_query" } else { "force_parallel_mode" };
    panel.client.batch_execute(&format!("SET {setting} = on")).unwrap();
    let plan = panel.client.query("EXPLAIN SELECT pg_llm_parallel_chat('x', '{m1,m2,m3}')", &[]).unwrap();
    assert!(plan.iter().any(|row| row.get::<_, String>(0).contains("Single Copy: true")), "the plan is a worker's");
    for _ in 0..3 {
        let said: String = panel.client.query_one("SELECT pg_llm_parallel_chat('x', '{m1,m2,m3}')", &[]).unwrap().get(0);
        assert_eq!(said, "one");
    }
    assert_eq!(panel.requests(), [3, 3, 3]);
    panel.database.cluster().assert_no_crash();
}
