//! Streams inside larger queries: plans, rescans, nesting, other destinations than a client.

use std::fmt::Write as _;

use pg_llm_tests::{Asked, Backend, DEADLINE};
use pg_llm_upstream::{Upstream, openai};
use serde_json::json;

use super::texts;

fn plan(asked: &mut Asked, sql: &str) -> String {
    let rows = asked.client.query(&format!("EXPLAIN (COSTS OFF) {sql}"), &[]).unwrap();
    texts(&rows).join("\n")
}

#[test]
fn explaining_makes_no_call_and_shows_that_rows_flow() {
    let mut asked = Asked::echo();
    for sql in [
        "SELECT * FROM pg_llm_chat_stream('m', 'Hello')",
        "SELECT * FROM pg_llm_chat_stream('m', 'Hello', '{\"max_tokens\": 5}') WHERE seq_no > 1 ORDER BY seq_no",
        "SELECT pg_llm_chat_stream('m', 'Hello')",
        "SELECT * FROM pg_llm_chat_stream_json('m', 'Hello')",
        "SELECT * FROM pg_class c, pg_llm_chat_stream('m', c.relname) s",
    ] {
        let plan = plan(&mut asked, sql);
        assert!(plan.contains("ProjectSet") && !plan.contains("Function Scan"), "{sql}:\n{plan}");
    }
    let client = &mut asked.client;
    client
        .batch_execute(
            "PREPARE p AS SELECT * FROM pg_llm_chat_stream($1, $2); CREATE VIEW v AS SELECT * FROM pg_llm_chat_stream('m', 'Hello')",
        )
        .unwrap();
    for mode in ["force_custom_plan", "force_generic_plan"] {
        asked.client.batch_execute(&format!("SET plan_cache_mode = {mode}")).unwrap();
        let plan = plan(&mut asked, "EXECUTE p ('m', 'Hello')");
        assert!(plan.contains("ProjectSet") && !plan.contains("Function Scan"), "{mode}:\n{plan}");
    }
    assert!(plan(&mut asked, "TABLE v").contains("ProjectSet"));
    assert_eq!(asked.upstream.connections_total(), 0);
    asked.client.simple_query("EXPLAIN ANALYZE SELECT * FROM pg_llm_chat_stream('m', 'Hello')").unwrap();
    assert_eq!(asked.upstream.requests().len(), 1);
}

/// Where Postgres cannot inline, the rows are the same and come together.
#[test]
fn what_cannot_stream_is_right_all_the_same() {
    let mut asked = Asked::echo();
    for sql in [
        "SELECT chunk FROM pg_llm_chat_stream('m', (SELECT 'Hello'))",
        "SELECT chunk FROM pg_llm_chat_stream('m', 'Hello' || repeat('x', (random() * 0)::int))",
        "SELECT chunk FROM pg_llm_chat_stream('m', 'Hello') WITH ORDINALITY WHERE ordinality = seq_no",
        "SELECT chunk FROM ROWS FROM (pg_llm_chat_stream('m', 'Hello'), generate_series(1, 2))",
        "SELECT chunk FROM _pg_llm_catalog.chat_stream('m', 'Hello', '{}')",
    ] {
        let rows = asked.client.query(&format!("SELECT string_agg(chunk, '') FROM ({sql}) AS s"), &[]).unwrap();
        assert_eq!(texts(&rows), ["You said: Hello"], "{sql}");
    }
}

#[test]
fn a_join_asks_once_for_each_of_its_rows() {
    let mut asked = Asked::echo();
    let sql = "SELECT string_agg(s.chunk, '' ORDER BY s.seq_no) FROM generate_series(1, 20) AS i, pg_llm_chat_stream('m', 'row ' || i) AS s GROUP BY i ORDER BY i";
    let expected: Vec<String> = (1..=20).map(|i| format!("You said: row {i}")).collect();
    assert_eq!(texts(&asked.client.query(sql, &[]).unwrap()), expected);
    assert_eq!((asked.upstream.requests().len(), asked.upstream.connections_total()), (20, 1));
    let sql = "SELECT count(*) FILTER (WHERE is_final) FROM generate_series(1, 3) AS i LEFT JOIN LATERAL (SELECT * FROM pg_llm_chat_stream('m', 'row ' || i)) AS s ON true";
    assert_eq!(asked.value::<i64>(sql, &[]).unwrap(), 3);
    let sql = "SELECT count(*) FILTER (WHERE is_final) FROM generate_series(1, 3) AS i, pg_llm_chat_stream('m', 'the same') AS s";
    assert_eq!(asked.value::<i64>(sql, &[]).unwrap(), 3);
    let mut wide = String::from("SELECT count(*) FROM pg_llm_chat_stream('m', 'a') AS a");
    for name in ["b", "c", "d"] {
        let _ = write!(wide, " JOIN pg_llm_chat_stream('m', 'a') AS {name} USING (seq_no)");
    }
    assert_eq!(asked.value::<i64>(&wide, &[]).unwrap(), 4);
}

#[test]
fn a_rescan_in_the_midst_of_a_stream_gives_it_up_and_asks_anew() {
    let mut asked = Asked::echo();
    let sql = "SELECT s.chunk FROM generate_series(1, 10) AS i, LATERAL (SELECT * FROM pg_llm_chat_stream('m', 'row ' || i) LIMIT 1) AS s";
    assert_eq!(texts(&asked.client.query(sql, &[]).unwrap()), ["You "; 10]);
    let sql = "SELECT (SELECT max(chunk) FROM pg_llm_chat_stream('m', 'z' || i) WHERE NOT is_final) FROM generate_series(1, 3) AS i";
    assert_eq!(texts(&asked.client.query(sql, &[]).unwrap()), ["z1", "z2", "z3"]);
    assert_eq!(asked.upstream.requests().len(), 13);
    let backend = Backend::of(&mut asked.client);
    let kept = backend.open_files();
    let sql =
        "SELECT count(*) FROM generate_series(1, 200) AS i, LATERAL (SELECT * FROM pg_llm_chat_stream('m', 'row ' || i) LIMIT 1) AS s";
    assert_eq!(asked.value::<i64>(sql, &[]).unwrap(), 200);
    assert!(backend.open_files() <= kept + 1, "{} open files, {kept} before", backend.open_files());
}

#[test]
fn calls_may_be_made_for_each_piece() {
    let mut asked = Asked::echo();
    let sql = "SELECT pg_llm_chat('m', chunk) FROM pg_llm_chat_stream('m', 'Hello') WHERE NOT is_final";
    assert_eq!(texts(&asked.client.query(sql, &[]).unwrap()), ["You said: You ", "You said: said: ", "You said: Hello"]);
    let sql = "SELECT string_agg(b.chunk, '' ORDER BY a.seq_no, b.seq_no) FROM pg_llm_chat_stream('m', 'x') AS a, pg_llm_chat_stream('m', a.chunk) AS b WHERE NOT a.is_final";
    assert_eq!(asked.value::<String>(sql, &[]).unwrap(), "You said: You You said: said: You said: x");
    let nested = "SELECT count(*) FROM pg_llm_chat_stream('m', (SELECT string_agg(chunk, '') FROM pg_llm_chat_stream('m', 'Hello')))";
    assert_eq!(asked.value::<i64>(nested, &[]).unwrap(), 6);
}

#[test]
fn rows_go_wherever_rows_go() {
    let mut asked = Asked::echo();
    let database = &asked.database;
    asked
        .client
        .batch_execute(
            "CREATE TABLE a AS SELECT * FROM pg_llm_chat_stream('m', 'Hello');
             CREATE TABLE b (LIKE a); INSERT INTO b SELECT * FROM pg_llm_chat_stream('m', 'Hello');
             CREATE MATERIALIZED VIEW c AS SELECT * FROM pg_llm_chat_stream('m', 'Hello');
             CREATE FUNCTION d() RETURNS SETOF a LANGUAGE plpgsql AS $$BEGIN RETURN QUERY SELECT * FROM pg_llm_chat_stream('m', 'Hello'); END$$;
             CREATE FUNCTION e() RETURNS SETOF a LANGUAGE plpgsql AS $$DECLARE r a; BEGIN FOR r IN SELECT * FROM pg_llm_chat_stream('m', 'Hello') LOOP RETURN NEXT r; END LOOP; END$$;
             BEGIN; DECLARE f CURSOR WITH HOLD FOR SELECT * FROM pg_llm_chat_stream('m', 'Hello'); COMMIT",
        )
        .unwrap();
    for source in ["TABLE a", "TABLE b", "TABLE c", "SELECT * FROM d()", "SELECT * FROM e()", "FETCH ALL f"] {
        let rows = asked.client.query(source, &[]).unwrap();
        let said: String = rows.iter().map(|row| row.get::<_, String>("chunk")).collect();
        assert_eq!((said.as_str(), rows.len()), ("You said: Hello", 4), "{source}");
    }
    let printed = database.psql(&["-At", "-c", "COPY (SELECT chunk FROM pg_llm_chat_stream('m', 'Hello') WHERE NOT is_final) TO STDOUT"]);
    assert_eq!(printed.output, "You \nsaid: \nHello\n");
}

#[test]
fn it_runs_where_the_client_is_and_not_in_parallel_workers() {
    let mut asked = Asked::echo();
    asked
        .client
        .batch_execute(
            "CREATE TABLE prompts AS SELECT i, 'row ' || i AS prompt FROM generate_series(1, 2000) AS i; ANALYZE prompts;
             SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2",
        )
        .unwrap();
    let sql = "SELECT count(*) FROM prompts AS p, pg_llm_chat_stream('m', p.prompt) AS s WHERE p.i % 500 = 0 AND s.is_final";
    let plan = plan(&mut asked, sql);
    let depth = |line: &str| line.len() - line.trim_start().len();
    let gather = plan.lines().position(|line| line.contains("Gather")).expect("a plan with workers");
    let below: Vec<&str> =
        plan.lines().skip(gather + 1).take_while(|line| depth(line) > depth(plan.lines().nth(gather).unwrap())).collect();
    assert!(below.len() > 1 && !below.iter().any(|line| line.contains("ProjectSet")), "{plan}");
    assert_eq!(asked.value::<i64>(sql, &[]).unwrap(), 4);
}

#[test]
fn it_works_in_read_only_transactions() {
    let mut asked = Asked::echo();
    asked.client.batch_execute("SET default_transaction_read_only = on").unwrap();
    assert_eq!(texts(&asked.client.query("SELECT chunk FROM pg_llm_chat_stream('m', 'Hello')", &[]).unwrap()).concat(), "You said: Hello");
}

#[test]
fn a_thousand_streams_leave_the_backend_as_small_as_ten() {
    let upstream = Upstream::builder().unrecorded().start();
    upstream.on(Asked::PATH).reply(openai::stream(&["word "; 50]));
    let mut asked = Asked::at(upstream, json!({}));
    let backend = Backend::of(&mut asked.client);
    let mut round = |streams: i32| {
        for sql in [
            "SELECT count(*) FROM generate_series(1, $1) AS i, pg_llm_chat_stream('m', 'row ' || i) AS s",
            "SELECT count(*) FROM generate_series(1, $1) AS i, LATERAL (SELECT * FROM pg_llm_chat_stream_json('m', 'row ' || i) LIMIT 3) AS s",
        ] {
            assert!(asked.value::<i64>(sql, &[&streams]).unwrap() >= 3 * i64::from(streams));
        }
        for _ in 0..streams {
            asked.client.simple_query("SELECT pg_llm_chat_stream('m', 'Hello') LIMIT 1").unwrap();
            assert!(asked.client.simple_query("SELECT 1 / (seq_no - 2) FROM pg_llm_chat_stream('m', 'Hello')").is_err());
        }
        (backend.rss_anon_kb(), backend.open_files())
    };
    round(50);
    let (memory, files) = round(50);
    let (grown, opened) = round(250);
    assert!(grown < memory + 3 * 1024, "{memory} kB, then {grown} kB");
    assert!(opened <= files, "{files} open files, then {opened}");
    assert!(asked.upstream.wait_for(|seen| seen.open_connections <= 1, DEADLINE));
}
