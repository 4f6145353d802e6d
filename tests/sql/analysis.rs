//! A query, its plan, and what a model advises: nothing of it is believed, and nothing executed.

use pg_llm_tests::{Asked, db_error};
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::{Value, json};

use crate::text2sql::{functions, statements};

fn suggestion(sql: &str) -> Value {
    json!({"sql": sql, "reason": "because"})
}

/// A model `m` that suggests these rewrites and indexes, and a table `t` of a thousand rows.
fn advising(rewrites: &[&str], indexes: &[&str]) -> Asked {
    let answer = json!({
        "summary": "It reads all of it.",
        "findings": [{"severity": "high", "title": "Sequential scan", "detail": "Of t."}],
        "rewrites": rewrites.iter().map(|sql| suggestion(sql)).collect::<Vec<_>>(),
        "indexes": indexes.iter().map(|sql| suggestion(sql)).collect::<Vec<_>>(),
    });
    let mut asked = Asked::at(Upstream::start(), json!({}));
    asked.upstream.on(Asked::PATH).reply(openai::completion(&answer.to_string()));
    asked
        .client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY, city text, pin text); INSERT INTO t SELECT i, 'c' || i % 10, 'pin ' || i FROM generate_series(1, 10000) AS i; ANALYZE t")
        .unwrap();
    asked
}

#[track_caller]
fn analysis(asked: &mut Asked, sql: &str, options: &Value) -> Value {
    asked.value("SELECT pg_llm_execute_sql_with_analysis('m', $1, $2)", &[&sql, options]).unwrap_or_else(|error| panic!("{sql}: {error:?}"))
}

#[test]
fn a_query_is_run_and_its_plan_is_advised_on() {
    let mut asked = advising(&[], &[]);
    let made = analysis(&mut asked, "SELECT id FROM t WHERE city = 'c1' ORDER BY id LIMIT 2;", &json!({}));
    for key in ["request_id", "instance_name", "model_name", "sql", "execution", "total_cost", "tables", "analysis", "usage", "error"] {
        assert!(made.get(key).is_some(), "{key}: {made}");
    }
    assert_eq!((&made["execution"]["rows"], &made["execution"]["success"]), (&json!([{"id": 1}, {"id": 11}]), &json!(true)));
    assert!(made["execution"]["explain"]["Plan"]["Node Type"].is_string() && made["total_cost"].as_f64() > Some(0.0), "{made}");
    assert_eq!(made["execution"]["explain"]["Plan"].get("Actual Rows"), None);
    assert_eq!(made["analysis"]["summary"], "It reads all of it.");
    assert_eq!(made["analysis"]["findings"][0]["severity"], "high");
    assert_eq!((&made["tables"][0]["name"], &made["tables"][0]["kind"]), (&json!("public.t"), &json!("table")));
    let said = asked.sent()["messages"].to_string();
    for part in ["Seq Scan", "t_pkey", "n_distinct", "public.t"] {
        assert!(said.contains(part) || made["execution"]["explain"].to_string().contains("Index"), "{part}: {said}");
    }
    assert!(!said.contains("pin 4711") && !said.contains("\"pin 1"), "no value of the table: {said}");
}

#[test]
fn the_plan_has_what_the_execution_took_where_that_is_wanted() {
    let mut asked = advising(&[], &[]);
    let made = analysis(&mut asked, "SELECT count(*) FROM t", &json!({"analyze": true}));
    assert_eq!(made["execution"]["explain"]["Plan"]["Actual Rows"].as_f64(), Some(1.0), "{made}");
    assert!(made["execution"]["explain"]["Plan"]["Shared Hit Blocks"].is_number(), "{made}");
    assert!(asked.sent()["messages"].to_string().contains("Actual Rows"));
    let made = analysis(&mut asked, "SELECT 1 / (id - id) FROM t", &json!({"dry_run": true}));
    assert_eq!((&made["execution"]["dry_run"], &made["execution"]["row_count"]), (&json!(true), &json!(0)));
    let endless = "WITH RECURSIVE r(n) AS (SELECT 1::bigint UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r";
    let call = "SELECT pg_llm_execute_sql_with_analysis('m', $1, '{\"analyze\": true, \"sql_timeout_ms\": 50}')";
    assert_eq!(db_error(asked.value::<Value>(call, &[&endless])).code().code(), "57014");
    let made = analysis(&mut asked, "SELECT * FROM t", &json!({"analyze": true, "max_rows": 5}));
    assert_eq!((&made["execution"]["row_count"], &made["execution"]["truncated"]), (&json!(5), &json!(true)));
}

#[test]
fn a_rewritten_query_is_planned_and_compared_and_never_run() {
    let mut asked = advising(
        &[
            "SELECT id, city FROM t WHERE id = 7;",
            "SELECT id FROM t WHERE id = 7",
            "SELECT id, city FROM nowhere",
            "DELETE FROM t; SELECT 1",
            "SELECT 1 / 0 AS id, ''::text AS city",
        ],
        &[],
    );
    let made = analysis(&mut asked, "SELECT id, city FROM t WHERE id + 0 = 7", &json!({}));
    let rewrites = made["analysis"]["rewrites"].as_array().unwrap();
    let good = &rewrites[0];
    assert_eq!(
        (&good["valid"], &good["same_columns"], &good["cheaper"], &good["sql"]),
        (&json!(true), &json!(true), &json!(true), &json!("SELECT id, city FROM t WHERE id = 7"))
    );
    assert!(good["total_cost"].as_f64() < good["original_cost"].as_f64(), "{good}");
    assert_eq!((&rewrites[1]["valid"], &rewrites[1]["same_columns"]), (&json!(true), &json!(false)));
    assert_eq!((&rewrites[2]["valid"], &rewrites[2]["error"]["sqlstate"]), (&json!(false), &json!("42P01")));
    assert_eq!((&rewrites[3]["valid"], &rewrites[3]["error"]["sqlstate"]), (&json!(false), &json!("42501")));
    assert_eq!(asked.value::<i64>("SELECT count(*) FROM t", &[]).unwrap(), 10_000);
}

#[test]
fn no_suggestion_gets_past_the_rules() {
    let mut asked = advising(&[], &[]);
    asked.client.batch_execute("DROP TABLE t").unwrap();
    asked.client.batch_execute(functions::HIDDEN).unwrap();
    asked
        .client
        .batch_execute("CREATE PROCEDURE p() LANGUAGE sql AS 'DELETE FROM t'; CREATE VIEW locking AS SELECT * FROM t FOR UPDATE")
        .unwrap();
    // What the bodies of functions do is found when they run, and here nothing runs.
    for (all, at_planning) in [(&statements::REFUSED[..], true), (&functions::BUILT_IN[..], true), (&functions::ATTEMPTS[..], false)] {
        for some in all.chunks(5) {
            let suggestions: Vec<Value> = some.iter().map(|sql| suggestion(sql)).collect();
            let answer = json!({"summary": "", "findings": [], "rewrites": suggestions, "indexes": suggestions});
            asked.upstream.next(openai::completion(&answer.to_string()));
            let made = analysis(&mut asked, "SELECT * FROM t", &json!({}));
            let rewrites = made["analysis"]["rewrites"].as_array().unwrap();
            assert_eq!(rewrites.len(), some.len());
            for (sql, rewrite) in some.iter().zip(rewrites).filter(|(_, rewrite)| at_planning || rewrite["valid"] == false) {
                assert_eq!((&rewrite["valid"], &rewrite["error"]["sqlstate"]), (&json!(false), &json!("42501")), "{sql}: {rewrite}");
            }
            for index in made["analysis"]["indexes"].as_array().unwrap() {
                assert_eq!((&index["valid"], &index["verified"]), (&json!(false), &json!(false)), "{index}");
            }
        }
    }
    assert_eq!(asked.value::<i64>("SELECT count(*) FROM log", &[]).unwrap(), 0);
    asked.database.cluster().assert_no_crash();
}

#[test]
fn what_generated_queries_may_not_do_analysed_ones_may_not_either() {
    let mut asked = advising(&[], &[]);
    asked.client.batch_execute("DROP TABLE t").unwrap();
    asked.client.batch_execute(functions::HIDDEN).unwrap();
    asked
        .client
        .batch_execute("CREATE PROCEDURE p() LANGUAGE sql AS 'DELETE FROM t'; CREATE VIEW locking AS SELECT * FROM t FOR UPDATE")
        .unwrap();
    let mut refused = |sql: &str, options: Value| {
        let error = db_error(asked.value::<Option<Value>>("SELECT pg_llm_execute_sql_with_analysis('m', $1, $2)", &[&sql, &options]));
        assert_eq!(error.code().code(), "42501", "{sql}: {error:?}");
    };
    for sql in statements::REFUSED.into_iter().chain(functions::BUILT_IN) {
        refused(sql, json!({"dry_run": true}));
        refused(sql, json!({"analyze": true}));
    }
    for sql in functions::ATTEMPTS {
        refused(sql, json!({}));
        refused(sql, json!({"analyze": true}));
    }
    assert!(asked.upstream.requests().is_empty(), "nobody was asked");
    assert_eq!(asked.value::<i64>("SELECT count(*) FROM log", &[]).unwrap(), 0);
    asked.database.cluster().assert_no_crash();
}

#[test]
fn an_index_is_one_statement_on_a_table_of_the_query_and_is_never_made() {
    let sets: [&[&str]; 3] = [
        &[
            "CREATE INDEX ON t (city);",
            "CREATE INDEX i ON public.t USING btree (city, id) INCLUDE (pin)",
            "CREATE INDEX ON t (lower(city))",
            "CREATE INDEX ON t (city) WHERE id > 5",
            "CREATE INDEX CONCURRENTLY ON t (city)",
        ],
        &[
            "CREATE INDEX ON t (city); DROP TABLE t",
            "CREATE UNIQUE INDEX ON t (city)",
            "CREATE INDEX ON u (id)",
            "CREATE INDEX ON nowhere (id)",
            "CREATE INDEX ON t (nowhere)",
        ],
        &["CREATE INDEX ON t USING nosuch (city)", "DROP INDEX t_pkey", "SELECT 1", "not sql at all", "CREATE TABLE x AS SELECT 1"],
    ];
    for (at, set) in sets.into_iter().enumerate() {
        let mut asked = advising(&[], set);
        asked.client.batch_execute("CREATE TABLE u (id int)").unwrap();
        let before: i64 = asked.value("SELECT count(*) FROM pg_class", &[]).unwrap();
        let made = analysis(&mut asked, "SELECT id FROM t WHERE city = 'c1'", &json!({}));
        for index in made["analysis"]["indexes"].as_array().unwrap() {
            assert_eq!(index["valid"], at == 0, "{index}");
            // No hypopg in this database.
            assert_eq!((&index["verified"], &index["cheaper"]), (&json!(false), &json!(null)), "{index}");
            assert!(index["note"].is_string(), "{index}");
        }
        assert_eq!(asked.value::<i64>("SELECT count(*) FROM pg_class", &[]).unwrap(), before);
    }
}

#[test]
fn with_hypopg_an_index_is_tried() {
    let mut asked = advising(&[], &["CREATE INDEX ON t (pin)", "CREATE INDEX ON t (city, id)", "CREATE INDEX ON t (lower(pin))"]);
    if asked.client.batch_execute("CREATE EXTENSION hypopg").is_err() {
        println!("hypopg is not installed here: not tried");
        return;
    }
    for _ in 0..2 {
        let made = analysis(&mut asked, "SELECT id FROM t WHERE pin = 'pin 5'", &json!({}));
        let indexes = made["analysis"]["indexes"].as_array().unwrap();
        assert_eq!((&indexes[0]["verified"], &indexes[0]["cheaper"]), (&json!(true), &json!(true)), "{indexes:?}");
        assert!(indexes[0]["total_cost"].as_f64() < indexes[0]["original_cost"].as_f64());
        assert_eq!((&indexes[1]["verified"], &indexes[1]["cheaper"]), (&json!(true), &json!(false)), "{indexes:?}");
        assert_eq!((&indexes[2]["valid"], &indexes[2]["verified"]), (&json!(true), &json!(false)), "{indexes:?}");
        assert_eq!(asked.value::<i64>("SELECT count(*) FROM hypopg()", &[]).unwrap(), 0, "nothing is left of it");
    }
}

#[test]
fn of_columns_that_the_caller_may_not_read_nothing_is_told() {
    let mut asked = advising(&[], &[]);
    let poor = asked.database.create_role();
    asked.client.batch_execute(&format!("GRANT SELECT (id) ON t TO {poor}; SELECT pg_llm_grant_model('m', '{poor}')")).unwrap();
    let mut client = asked.database.connect_as(&poor);
    let made: Value = client.query_one("SELECT pg_llm_execute_sql_with_analysis('m', 'SELECT id FROM t LIMIT 1')", &[]).unwrap().get(0);
    let columns = made["tables"][0]["columns"].as_array().unwrap();
    assert_eq!(columns.iter().map(|column| column["name"].as_str().unwrap()).collect::<Vec<_>>(), ["id"]);
    assert!(columns[0]["n_distinct"].is_number(), "{made}");
    asked.client.batch_execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (id < 5)").unwrap();
    let made: Value = client.query_one("SELECT pg_llm_execute_sql_with_analysis('m', 'SELECT id FROM t LIMIT 1')", &[]).unwrap().get(0);
    assert_eq!(made["tables"][0]["columns"][0]["n_distinct"], json!(null), "statistics are of rows that it does not see");
    assert_eq!(db_error(client.query_one("SELECT pg_llm_execute_sql_with_analysis('m', 'SELECT pin FROM t')", &[])).code().code(), "42501");
}

#[test]
fn where_the_model_fails_the_caller_says_what_becomes_of_it() {
    let mut asked = Asked::at(Upstream::start(), json!({"max_attempts": 1}));
    asked.upstream.on(Asked::PATH).reply(Reply::status(400));
    let made = analysis(&mut asked, "SELECT 1 AS n", &json!({"on_error": "object"}));
    assert_eq!(
        (&made["analysis"], &made["error"]["sqlstate"], &made["execution"]["rows"]),
        (&json!(null), &json!("38000"), &json!([{"n": 1}]))
    );
    let call = |sql: &str, options: &str| format!("SELECT pg_llm_execute_sql_with_analysis('m', '{sql}', '{options}')");
    assert_eq!(asked.value::<Option<Value>>(&call("SELECT 1", "{\"on_error\": \"null\"}"), &[]).unwrap(), None);
    assert_eq!(db_error(asked.value::<Value>(&call("SELECT 1", "{}"), &[])).code().code(), "38000");
    assert_eq!(
        db_error(asked.value::<Value>(&call("SELEC 1", "{\"on_error\": \"object\"}"), &[])).code().code(),
        "42601",
        "the caller's own mistake is an ERROR"
    );
    assert_eq!(asked.value::<Option<Value>>("SELECT pg_llm_execute_sql_with_analysis('m', NULL)", &[]).unwrap(), None);
}
