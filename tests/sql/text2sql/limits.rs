//! What a generated query may cost, and what ends it.

use pg_llm_tests::{DEADLINE, Running, db_error};
use serde_json::json;

use super::{answer, obedient, refused, rows};

const ENDLESS: &str = "WITH RECURSIVE r(n) AS (SELECT 1::bigint UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r";

#[test]
fn rows_and_bytes_beyond_the_limits_are_left_out_and_that_is_said() {
    let mut asked = obedient();
    let said = answer(&mut asked.client, "SELECT generate_series(1, 10) AS n", &json!({"max_rows": 3}));
    assert_eq!((&said["execution"]["row_count"], &said["execution"]["truncated"]), (&json!(3), &json!(true)));
    let said = answer(&mut asked.client, "SELECT generate_series(1, 3) AS n", &json!({"max_rows": 3}));
    assert_eq!((&said["execution"]["row_count"], &said["execution"]["truncated"]), (&json!(3), &json!(false)));
    asked.client.batch_execute("SET pg_llm.text2sql_max_rows = 2; SET pg_llm.text2sql_max_bytes = 1000").unwrap();
    let said = answer(&mut asked.client, "SELECT generate_series(1, 10) AS n", &json!({"max_rows": 1000}));
    assert_eq!(said["execution"]["row_count"], 2, "the setting is the ceiling");
    let said = answer(&mut asked.client, "SELECT repeat('x', 600) FROM generate_series(1, 2)", &json!({}));
    assert_eq!((&said["execution"]["row_count"], &said["execution"]["truncated"]), (&json!(1), &json!(true)));
    assert_eq!(said["execution"]["success"], true);
}

#[test]
fn a_query_that_is_too_dear_is_not_run() {
    let mut asked = obedient();
    asked.client.batch_execute("CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) AS i; ANALYZE t").unwrap();
    let said = answer(&mut asked.client, "SELECT count(*) FROM t AS a, t AS b, t AS c", &json!({"max_cost": 1000, "max_attempts": 1}));
    assert_eq!(said["execution"]["error"]["sqlstate"], "54000", "{said}");
    assert!(said["execution"]["error"]["message"].as_str().unwrap().contains("too dear"), "{said}");
    asked.client.batch_execute("SET pg_llm.text2sql_max_cost = 1").unwrap();
    assert_eq!(refused(&mut asked.client, "SELECT count(*) FROM t").code().code(), "54000");
}

#[test]
fn a_query_that_takes_too_long_ends_and_the_statement_goes_on() {
    let mut asked = obedient();
    let client = &mut asked.client;
    client.batch_execute("BEGIN").unwrap();
    let said = answer(client, ENDLESS, &json!({"sql_timeout_ms": 50, "max_attempts": 1}));
    assert_eq!(said["execution"]["error"]["sqlstate"], "57014", "{said}");
    assert!(said["execution"]["error"]["message"].as_str().unwrap().contains("longer than 50 ms"), "{said}");
    assert_eq!(client.query_one("SELECT 1", &[]).unwrap().get::<_, i32>(0), 1, "the transaction is well");
    client.batch_execute("COMMIT; SELECT count(*) FROM generate_series(1, 100000)").unwrap();
    // Inside of a function that catches what it can.
    client
        .batch_execute(
            "CREATE FUNCTION stubborn() RETURNS int STABLE LANGUAGE plpgsql AS $$ BEGIN LOOP BEGIN PERFORM count(*) FROM generate_series(1, 1000);
             EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$",
        )
        .unwrap();
    let said = answer(client, "SELECT stubborn()", &json!({"sql_timeout_ms": 50, "max_attempts": 1}));
    assert_eq!(said["execution"]["error"]["sqlstate"], "57014", "{said}");
}

#[test]
fn the_statements_own_timeout_and_a_cancel_end_the_statement() {
    let mut asked = obedient();
    asked.client.batch_execute("SET statement_timeout = '200ms'").unwrap();
    let error = refused(&mut asked.client, ENDLESS);
    assert!(error.code().code() == "57014" && error.message().contains("statement timeout"), "{error:?}");
    let sql = format!("SELECT pg_llm_text2sql_json('m', $q${ENDLESS}$q$)");
    let running = Running::start(asked.database.superuser(), &sql);
    let mut watcher = asked.database.superuser();
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%text2sql_json%' AND wait_event IS NULL AND pid <> pg_backend_pid()";
    assert!(asked.upstream.wait_for_requests(2, DEADLINE));
    assert!(pg_llm_tests::eventually(DEADLINE, || watcher.query_one(busy, &[]).unwrap().get::<_, i64>(0) == 1));
    running.cancel();
    let error = db_error(running.finish(DEADLINE).result);
    assert!(error.code().code() == "57014" && error.message().contains("user request"), "{error:?}");
    asked.client.batch_execute("RESET statement_timeout").unwrap();
    assert_eq!(rows(&mut asked.client, "SELECT 1 AS n").unwrap(), [json!({"n": 1})]);
    asked.database.cluster().assert_no_crash();
}

#[test]
fn deep_and_long_texts_are_errors_and_no_crash() {
    let mut asked = obedient();
    let deep = format!("SELECT {}1{}", "(".repeat(60_000), ")".repeat(60_000));
    let error = refused(&mut asked.client, &deep);
    // Whichever of the parser and the analysis ends first.
    assert!(["54001", "42601"].contains(&error.code().code()), "{error:?}");
    let long = format!("SELECT '{}'", "x".repeat(300_000));
    assert_eq!(refused(&mut asked.client, &long).code().code(), "54000");
    let nested = "SELECT pg_typeof(ROW(ROW(1)))";
    assert!(rows(&mut asked.client, nested).is_ok());
    asked.database.cluster().assert_no_crash();
}
