//! The forms in which an answer comes.

use pg_llm_tests::{Asked, db_error};
use serde_json::{Value, json};

use super::{answer, obedient};

#[test]
fn the_object_has_every_key() {
    let mut asked = obedient();
    let said = answer(&mut asked.client, "SELECT 1.50 AS price, 'a' AS name", &json!({}));
    for key in [
        "request_id",
        "instance_name",
        "prompt",
        "generated_sql",
        "execution",
        "attempts",
        "model_name",
        "explanation",
        "tables",
        "tables_left_out",
        "usage",
    ] {
        assert!(said.get(key).is_some(), "{key}: {said}");
    }
    for key in ["success", "rows", "columns", "column_types", "row_count", "truncated", "explain", "error", "dry_run"] {
        assert!(said["execution"].get(key).is_some(), "{key}: {said}");
    }
    let execution = &said["execution"];
    assert_eq!((&execution["columns"], &execution["column_types"]), (&json!(["price", "name"]), &json!(["numeric", "text"])));
    assert_eq!(execution["rows"].to_string(), "[{\"name\":\"a\",\"price\":1.50}]", "numbers keep their digits");
}

#[test]
fn a_dry_run_plans_and_runs_nothing() {
    let mut asked = obedient();
    asked.client.batch_execute("CREATE TABLE t (n int); INSERT INTO t VALUES (0)").unwrap();
    let said = answer(&mut asked.client, "SELECT 1 / n FROM t", &json!({"dry_run": true, "explain": true}));
    let execution = &said["execution"];
    assert_eq!(
        (&execution["success"], &execution["dry_run"], &execution["row_count"], &execution["rows"]),
        (&json!(true), &json!(true), &json!(0), &json!([]))
    );
    assert_eq!(execution["explain"]["Plan"]["Node Type"], "Seq Scan", "{said}");
    let said = answer(&mut asked.client, "SELECT n FROM t", &json!({"explain": true}));
    assert_eq!((&said["execution"]["rows"], &said["execution"]["explain"]["Plan"]["Relation Name"]), (&json!([{"n": 0}]), &json!("t")));
    let said = answer(&mut asked.client, "SELECT n FROM nowhere", &json!({"dry_run": true, "max_attempts": 1}));
    assert_eq!(said["execution"]["error"]["sqlstate"], "42P01");
}

#[test]
fn the_text_is_the_query_and_its_rows() {
    let mut asked = obedient();
    let text: String =
        asked.value("SELECT pg_llm_text2sql('m', 'SELECT n, ''x'' || n AS name FROM generate_series(9, 10) AS n')", &[]).unwrap();
    assert_eq!(
        text,
        "SELECT n, 'x' || n AS name FROM generate_series(9, 10) AS n\n\n  n | name\n----+------\n  9 | x9\n 10 | x10\n(2 rows)"
    );
    assert_eq!(db_error(asked.value::<String>("SELECT pg_llm_text2sql('m', 'SELECT 1 / 0')", &[])).code().code(), "22012");
    assert_eq!(asked.value::<Option<String>>("SELECT pg_llm_text2sql('m', NULL)", &[]).unwrap(), None);
}

#[test]
fn rows_are_objects_that_sql_can_go_on_with() {
    let mut asked = obedient();
    let sum: i64 = asked
        .value("SELECT sum((row ->> 'n')::int) FROM pg_llm_query('m', 'SELECT n FROM generate_series(1, 4) AS n') AS row", &[])
        .unwrap();
    assert_eq!(sum, 10);
    assert!(asked.client.query("SELECT * FROM pg_llm_query('m', NULL)", &[]).unwrap().is_empty());
    for option in ["dry_run", "explain"] {
        let error = db_error(asked.client.query(&format!("SELECT * FROM pg_llm_query('m', 'SELECT 1', '{{\"{option}\": true}}')"), &[]));
        assert_eq!(error.code().code(), "22023", "{option}");
    }
    let error = db_error(asked.client.query("SELECT * FROM pg_llm_query('m', 'SELECT 1', '{\"on_error\": \"object\"}')", &[]));
    assert_eq!(error.code().code(), "22023");
}

#[test]
fn the_mock_answers_with_its_query() {
    let mut asked = Asked::echo();
    let config = json!({"mock_response": "no", "mock_sql_response": "SELECT 42 AS answer"});
    let _: bool = asked.value("SELECT pg_llm_add_model('mock', 'offline', NULL, $1)", &[&config]).unwrap();
    let row: Value = asked.value("SELECT * FROM pg_llm_query('offline', 'What?')", &[]).unwrap();
    assert_eq!(row, json!({"answer": 42}));
}

#[test]
fn a_kept_answer_is_a_query_that_runs_anew() {
    let mut asked = super::saying(&["SELECT count(*) FROM t"]);
    asked.client.batch_execute("CREATE TABLE t (n int)").unwrap();
    let mut count = || answer(&mut asked.client, "How many?", &json!({"cache": true}))["execution"]["rows"][0]["count"].clone();
    assert_eq!(count(), 0);
    asked.client.batch_execute("INSERT INTO t VALUES (1)").unwrap();
    let again = answer(&mut asked.client, "How many?", &json!({"cache": true}));
    assert_eq!(again["execution"]["rows"][0]["count"], 1);
    assert_eq!(asked.upstream.requests().len(), 1);
}
