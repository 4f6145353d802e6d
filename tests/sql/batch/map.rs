//! `pg_llm_map`: whose query it is, what it may be, and how much of it is drawn.

use pg_llm_tests::{Backend, Running, db_error};
use pg_llm_upstream::openai;
use serde_json::json;

use super::{Asked, DEADLINE, Held, next, prompt_model, query, rows, simple};

fn map(query: &str, options: &str) -> String {
    format!("SELECT key, response, error ->> 'sqlstate' FROM pg_llm_map('m', $q${query}$q$, '{options}')")
}

#[test]
fn one_column_is_the_prompt_two_are_key_and_prompt_three_have_options() {
    let mut asked = prompt_model();
    let mut says = |query: &str| simple(&mut asked.client, &map(query, "{\"order\": \"ord\", \"max_tokens\": 9}"));
    assert_eq!(says("VALUES ('a'), (NULL), ('c')"), ["1|to a|NULL", "2|NULL|NULL", "3|to c|NULL"]);
    assert_eq!(says("SELECT 7, 'a'::name"), ["7|to a|NULL"]);
    assert_eq!(says("SELECT jsonb_build_object('id', 1.50), 12"), ["{\"id\": 1.50}|to 12|NULL"]);
    assert_eq!(says("SELECT date '2026-01-02', 'a'::varchar"), ["\"2026-01-02\"|to a|NULL"]);
    assert_eq!(says("SELECT NULL::int, 'a'"), ["NULL|to a|NULL"]);
    assert_eq!(says("WITH w AS (SELECT 1 AS k) TABLE w"), ["1|to 1|NULL"]);
    assert_eq!(says("SELECT 1 WHERE false"), Vec::<String>::new());
    assert_eq!(
        says(
            "VALUES (1, 'a', '{\"seed\": 5}'::jsonb), (2, 'b', '{\"sead\": 5}'), (3, 'c', NULL), (4, 'd', '[]'), (5, 'e', '{\"order\": \"ord\"}')"
        ),
        ["1|to a|NULL", "2|NULL|22023", "3|to c|NULL", "4|NULL|22023", "5|NULL|22023"]
    );
    let sent = asked.upstream.requests().iter().map(pg_llm_upstream::Received::json).find(|body| body["seed"] == 5);
    assert_eq!(sent.map(|body| body["max_tokens"].clone()), Some(json!(9)), "a row's options go over the call's");
}

#[test]
fn what_is_the_whole_calls_is_refused_in_a_row_as_that_rows_error() {
    let mut asked = prompt_model();
    asked.client.batch_execute("SELECT pg_llm_add_model('mock', 'b', config => '{\"mock_response\": \"From b.\"}')").unwrap();
    let query = "VALUES (1, 'fail a', NULL::jsonb), (2, 'b', '{\"fallback_instance\": \"b\"}'), (3, 'c', '{\"fallback_instance\": false}'),
                        (4, 'd', '{\"on_error\": \"null\"}'), (5, 'e', '{\"max_concurrency\": 1}'), (6, 'f', '{\"first_token_timeout_ms\": 5}'),
                        (7, 'g', '{\"fallback_instance\": null, \"confidence_threshold\": 0.5}')";
    let said = simple(&mut asked.client, &map(query, "{\"order\": \"ord\"}"));
    assert_eq!(said[0], "1|NULL|38000");
    assert_eq!(said[1..6], [2, 3, 4, 5, 6].map(|row| format!("{row}|NULL|22023")));
    assert_eq!((&*said[6], asked.upstream.requests().len()), ("7|to g|NULL", 2), "what is refused is not sent");
    let messages = format!("SELECT error ->> 'message' FROM pg_llm_map('m', $q${query}$q$, '{{\"order\": \"ord\"}}') OFFSET 1 LIMIT 4");
    let named = ["fallback_instance", "fallback_instance", "on_error", "max_concurrency"];
    for (message, name) in simple(&mut asked.client, &messages).iter().zip(named) {
        assert!(message.contains(&format!("\"{name}\" is the whole call's, not a row's")), "{message}");
    }
}

#[test]
fn the_calls_fallback_answers_for_the_rows_that_fail() {
    let mut asked = prompt_model();
    asked.upstream.on(Asked::PATH).handle(|received| match super::prompt(received) {
        prompt if prompt == "b" => openai::error(500, "some_error", "some_code", "Out of order."),
        prompt => super::answer(&prompt),
    });
    asked.client.batch_execute("SELECT pg_llm_add_model('mock', 'b', config => '{\"mock_response\": \"From b.\"}')").unwrap();
    let options = "{\"order\": \"ord\", \"max_attempts\": 1, \"fallback_instance\": \"b\"}";
    let said = simple(&mut asked.client, &map("VALUES ('a'), ('b'), ('fail c')", options));
    assert_eq!(said, ["1|to a|NULL", "2|From b.|NULL", "3|NULL|38000"], "a request that is at fault is no other model's");
}

#[test]
fn what_is_not_one_query_that_only_reads_is_refused_and_not_run() {
    let mut asked = prompt_model();
    asked.client.batch_execute("CREATE TABLE t (n int)").unwrap();
    for (query, state) in [
        ("INSERT INTO t VALUES (1) RETURNING n", "22023"),
        ("WITH w AS (INSERT INTO t VALUES (1) RETURNING n) SELECT n FROM w", "22023"),
        ("DELETE FROM t", "22023"),
        ("CREATE TABLE u ()", "22023"),
        ("SELECT 1 AS a INTO u", "22023"),
        ("EXPLAIN SELECT 1", "22023"),
        ("COMMIT", "22023"),
        ("SELECT 1; SELECT 2", "22023"),
        ("SELECT 1; DROP TABLE t", "22023"),
        ("", "22023"),
        (" -- nothing", "22023"),
        ("SELECT", "22023"),
        ("SELECT 1, 2, 3", "22023"),
        ("SELECT 1, 2, '{}'::jsonb, 4", "22023"),
        ("SELEKT 1", "42601"),
        ("SELECT $1", "42P02"),
        ("SELECT * FROM nowhere", "42P01"),
    ] {
        let error = db_error(rows(&mut asked.client, &map(query, "{}")));
        assert_eq!(error.code().code(), state, "{query}: {error:?}");
        assert!(state != "22023" || error.hint().is_some(), "{query}: {error:?}");
    }
    assert_eq!(simple(&mut asked.client, "SELECT count(*), to_regclass('u') IS NULL FROM t"), ["0|t"]);
    assert!(simple(&mut asked.client, "SELECT * FROM pg_llm_map('m', NULL)").is_empty());
    assert!(asked.upstream.requests().is_empty());
}

#[test]
fn the_query_runs_as_its_caller_whoever_draws_its_rows() {
    let mut asked = prompt_model();
    let (poor, other) = (asked.database.create_role(), asked.database.create_role());
    asked
        .client
        .batch_execute(&format!(
            "CREATE TABLE secret (body text); CREATE TABLE own (owner name, body text);
             INSERT INTO own SELECT '{poor}', 'mine ' || i FROM generate_series(1, 40) AS i; INSERT INTO own VALUES ('{other}', 'theirs');
             ALTER TABLE own ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON own USING (owner = current_user); GRANT SELECT ON own TO {poor}, {other};
             SELECT pg_llm_grant_model('m', '{poor}');
             CREATE FUNCTION lent() RETURNS SETOF jsonb SECURITY DEFINER LANGUAGE sql AS $$ SELECT key FROM pg_llm_map('m', 'SELECT current_user, 1') $$;"
        ))
        .unwrap();
    let mut client = asked.database.connect_as(&poor);
    let error = db_error(rows(&mut client, &map("SELECT body FROM secret", "{}")));
    assert_eq!(error.code().code(), "42501");
    assert_eq!(simple(&mut client, "SELECT count(*) FROM pg_llm_map('m', 'SELECT body FROM own') WHERE response LIKE 'to mine%'"), ["40"]);
    assert_eq!(simple(&mut client, "SELECT * FROM lent()"), ["\"postgres\""]);
    // The superuser draws the rest of a query that the poor role began.
    let client = &mut asked.client;
    let declare = "DECLARE c CURSOR FOR SELECT key FROM pg_llm_map('m', 'SELECT current_user, i FROM generate_series(1, 50) AS i')";
    simple(client, &format!("BEGIN; SET LOCAL ROLE {poor}; {declare}; FETCH 1 FROM c"));
    let rest = simple(client, "RESET ROLE; FETCH ALL FROM c");
    assert!(rest.len() == 49 && rest.iter().all(|who| *who == format!("\"{poor}\"")), "{rest:?}");
    assert_eq!(simple(client, "SELECT current_user; COMMIT"), ["postgres"]);
}

#[test]
fn no_more_rows_are_drawn_than_there_is_room_for() {
    let mut held = Held::new();
    held.asked.client.batch_execute("CREATE SEQUENCE drawn").unwrap();
    let gates = held.gates.clone();
    let mut watcher = held.asked.database.superuser();
    let mut drawn =
        move || simple(&mut watcher, "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM drawn")[0].parse::<u64>().unwrap();
    let sql = "SELECT response FROM pg_llm_map('m', 'SELECT ''p'' || nextval(''drawn'') FROM generate_series(1, 1000000)', '{\"max_concurrency\": 4}') LIMIT 20";
    let mut rows = query(&mut held.asked.client, sql);
    for emitted in 1..=20 {
        gates.of(&format!("p{emitted}")).open();
        assert_eq!(next(&mut rows), Some(format!("to p{emitted}")));
        assert!(drawn() <= emitted + 4, "{emitted}");
    }
    drop(rows);
    held.is_over();
}

#[test]
fn in_order_a_slow_row_holds_up_the_rest_at_the_window() {
    let mut held = Held::new();
    held.asked.client.batch_execute("CREATE SEQUENCE drawn").unwrap();
    for i in 2..=100 {
        held.answers(&format!("p{i}"));
    }
    let mut watcher = held.asked.database.superuser();
    let sql = "SELECT key FROM pg_llm_map('m', 'SELECT ''p'' || nextval(''drawn'') FROM generate_series(1, 100)', '{\"max_concurrency\": 2, \"order\": \"ord\"}')";
    let running = Running::start(held.asked.database.superuser(), sql);
    held.asked_for(8);
    assert_eq!(simple(&mut watcher, "SELECT last_value FROM drawn"), ["8"]);
    held.answers("p1");
    assert_eq!(running.finish(DEADLINE).column(), (1..=100).map(|i| Some(i.to_string())).collect::<Vec<_>>());
}

#[test]
fn a_query_that_fails_midway_ends_the_statement_after_the_rows_that_came() {
    let mut asked = prompt_model();
    let error = db_error(rows(&mut asked.client, &map("SELECT 1 / (50 - i) FROM generate_series(1, 100) AS i", "{}")));
    assert_eq!(error.code().code(), "22012");
    assert_eq!(simple(&mut asked.client, "SELECT pg_llm_chat('m', 'well')"), ["to well"]);
    let caught = "DO $$ BEGIN PERFORM * FROM pg_llm_map('m', 'SELECT 1 / (50 - i) FROM generate_series(1, 100) AS i');
                  EXCEPTION WHEN division_by_zero THEN NULL; END $$";
    for _ in 0..3 {
        asked.client.batch_execute(caught).unwrap();
    }
    assert!(asked.upstream.wait_for(|observed| observed.answering == 0, DEADLINE));
    asked.database.cluster().assert_no_crash();
}

#[test]
fn a_query_may_map_itself_and_call_what_has_effects() {
    let mut asked = prompt_model();
    let nested = map("SELECT response FROM pg_llm_map('m', 'VALUES (''a''), (''b'')')", "{}");
    let mut answers: Vec<String> = simple(&mut asked.client, &nested).iter().map(|row| row.split('|').nth(1).unwrap().to_owned()).collect();
    answers.sort();
    assert_eq!(answers, ["to to a", "to to b"]);
    asked
        .client
        .batch_execute(
            "CREATE TABLE log (n int);
             CREATE FUNCTION noted(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES (n); RETURN (SELECT count(*) FROM log); END $$",
        )
        .unwrap();
    assert_eq!(
        simple(&mut asked.client, &map("SELECT i, noted(i) FROM generate_series(1, 3) AS i", "{\"order\": \"ord\"}")),
        ["1|to 1|NULL", "2|to 2|NULL", "3|to 3|NULL"]
    );
    assert_eq!(simple(&mut asked.client, "SELECT count(*) FROM log"), ["3"]);
}

#[test]
fn a_table_that_takes_the_answers_may_be_the_one_that_is_asked() {
    let mut asked = prompt_model();
    asked.client.batch_execute("CREATE TABLE t (body text); INSERT INTO t SELECT 'p' || i FROM generate_series(1, 100) AS i").unwrap();
    asked.client.batch_execute("INSERT INTO t SELECT response FROM pg_llm_map('m', 'SELECT body FROM t')").unwrap();
    assert_eq!(simple(&mut asked.client, "SELECT count(*), count(*) FILTER (WHERE body LIKE 'to p%') FROM t"), ["200|100"]);
}

#[test]
fn a_cursor_goes_on_after_a_savepoint_is_rolled_back_and_is_whole_when_held() {
    let mut asked = prompt_model();
    let client = &mut asked.client;
    let declare = |hold: &str| {
        format!(
            "DECLARE c CURSOR {hold} FOR SELECT key FROM pg_llm_map('m', 'SELECT i, i FROM generate_series(1, 60) AS i', '{{\"order\": \"ord\"}}')"
        )
    };
    simple(client, &format!("BEGIN; {}; SAVEPOINT s", declare("")));
    assert_eq!(simple(client, "FETCH 2 FROM c; ROLLBACK TO s; FETCH 2 FROM c"), ["1", "2", "3", "4"]);
    assert!(client.simple_query("SELECT 1 / 0").is_err());
    assert_eq!(simple(client, "ROLLBACK TO s; FETCH 1 FROM c; CLOSE c; COMMIT"), ["5"]);
    simple(client, &format!("BEGIN; {}", declare("WITH HOLD")));
    assert_eq!(simple(client, "FETCH 1 FROM c; COMMIT"), ["1"]);
    assert_eq!(simple(client, "FETCH ALL FROM c; CLOSE c").len(), 59);
    let block = "DO $$ DECLARE r record; n int := 0; BEGIN
                   FOR r IN SELECT * FROM pg_llm_map('m', 'SELECT i, i FROM generate_series(1, 60) AS i') LOOP
                     BEGIN n := n + 1; PERFORM 1 / (n % 2); EXCEPTION WHEN division_by_zero THEN NULL; END;
                     IF n = 30 THEN EXIT; END IF;
                   END LOOP;
                   ASSERT n = 30;
                   FOR r IN SELECT * FROM pg_llm_map('m', 'SELECT i, i FROM generate_series(1, 60) AS i') LOOP COMMIT; n := n + 1; END LOOP;
                   ASSERT n = 90;
                 END $$";
    client.batch_execute(block).unwrap();
    let each = "SELECT count(*) FROM generate_series(1, 3) AS g(i), LATERAL (SELECT * FROM pg_llm_map('m', 'SELECT i FROM generate_series(1, 9) AS i') LIMIT g.i) AS a";
    assert_eq!(simple(client, each), ["6"]);
    asked.database.cluster().assert_no_crash();
}

#[test]
fn the_first_row_is_at_the_client_while_the_others_hang_and_closing_ends_them() {
    let mut held = Held::hanging();
    held.answers("p1");
    let select = "SELECT response FROM pg_llm_map('m', 'SELECT ''p'' || i FROM generate_series(1, 64) AS i', '{\"max_concurrency\": 64}')";
    assert_eq!(simple(&mut held.asked.client, &format!("{select} LIMIT 1")), ["to p1"]);
    held.is_over();
    for end in ["CLOSE c; COMMIT", "COMMIT", "ROLLBACK"] {
        assert_eq!(simple(&mut held.asked.client, &format!("BEGIN; DECLARE c CURSOR FOR {select}; FETCH c")), ["to p1"]);
        simple(&mut held.asked.client, end);
        held.is_over();
    }
    let mut rows = query(&mut held.asked.client, select);
    assert_eq!(next(&mut rows).as_deref(), Some("to p1"));
}

#[test]
fn memory_is_flat_however_many_rows_there_are() {
    let asked = Asked::echo();
    let mut client = asked.database.superuser();
    client.batch_execute("SELECT pg_llm_add_model('mock', 'quick', config => '{\"mock_response\": \"yes\"}')").unwrap();
    let backend = Backend::of(&mut client);
    let sql = "SELECT response FROM pg_llm_map('quick', 'SELECT i, repeat(''x'', 1000) FROM generate_series(1, 10000) AS i')";
    let mut rows = query(&mut client, sql);
    let (mut early, mut count) = (0, 0);
    while next(&mut rows).is_some() {
        count += 1;
        if count == 1000 {
            early = backend.rss_anon_kb();
        }
    }
    assert_eq!(count, 10_000);
    drop(rows);
    let late = backend.rss_anon_kb();
    // All prompts are 10 MB.
    assert!(late < early + 3000, "{early} kB, then {late} kB");
}
