//! What kind of statement is run at all, with whose rights, and that nothing of it stays.

use pg_llm_tests::{Cluster, Settings};
use serde_json::json;

use super::{obedient, refused, rows};

/// On the table `t (id int)`, with the procedure `p()` and the view `locking` over it.
pub(crate) const REFUSED: [&str; 51] = [
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE t",
    "SELECT 1;; DELETE FROM t",
    "COMMIT; DROP TABLE t",
    "SELECT 1; COMMIT; DROP TABLE t",
    "SELECT 1 /* ; */; -- harmless\nDROP TABLE t",
    "SELECT 1 -- ;\n; DROP TABLE t",
    "SELECT $$a;$$, $b$ $$;$$ $b$; DELETE FROM t",
    "/* SELECT 1 */ DELETE FROM t",
    "DELETE FROM t",
    "INSERT INTO t VALUES (3)",
    "UPDATE t SET id = 3",
    "TRUNCATE t",
    "DROP TABLE t",
    "CREATE TABLE u AS SELECT 1",
    "SELECT * INTO u FROM t",
    "SELECT 1 AS a INTO TEMP u",
    "SELECT 1 INTO u UNION SELECT 2",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE DELETE FROM t",
    "WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d",
    "WITH d AS (INSERT INTO t VALUES (3) RETURNING *) SELECT 1",
    "WITH d AS (UPDATE t SET id = id + 10 RETURNING *) SELECT * FROM t",
    "WITH d AS (DELETE FROM t RETURNING *) INSERT INTO t SELECT id FROM d",
    "SELECT * FROM t FOR UPDATE",
    "SELECT * FROM t FOR KEY SHARE",
    "SELECT * FROM (SELECT * FROM t FOR SHARE) AS s",
    "SELECT (SELECT id FROM t LIMIT 1 FOR UPDATE)",
    "WITH x AS MATERIALIZED (SELECT * FROM t FOR UPDATE) SELECT * FROM x",
    "SELECT * FROM locking",
    "COPY t TO PROGRAM 'true'",
    "COPY (SELECT 1) TO STDOUT",
    "DO $$ BEGIN DELETE FROM t; END $$",
    "CALL p()",
    "SET work_mem = '1GB'",
    "RESET ALL",
    "SHOW work_mem",
    "LISTEN a",
    "NOTIFY a",
    "BEGIN",
    "ROLLBACK",
    "SAVEPOINT s",
    "PREPARE a AS SELECT 1",
    "EXECUTE a",
    "DECLARE c CURSOR FOR SELECT 1",
    "FETCH c",
    "LOCK TABLE t",
    "VACUUM t",
    "GRANT SELECT ON t TO PUBLIC",
    "CHECKPOINT",
    "LOAD 'pg_llm'",
];

#[test]
fn what_is_not_one_query_that_only_reads_is_refused_and_changes_nothing() {
    let mut asked = obedient();
    let client = &mut asked.client;
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2);
             CREATE PROCEDURE p() LANGUAGE sql AS 'DELETE FROM t';
             CREATE VIEW locking AS SELECT * FROM t FOR UPDATE",
        )
        .unwrap();
    for sql in REFUSED {
        for sql in [sql.to_owned(), format!("Here you are:\n```sql\n{sql};\n```")] {
            let error = refused(client, &sql);
            assert_eq!(error.code().code(), "42501", "{sql}: {error:?}");
            assert!(error.message().starts_with("pg_llm: a generated query was refused: "), "{sql}: {error:?}");
        }
    }
    let after: Vec<i32> = client.query("SELECT id FROM t ORDER BY id", &[]).unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(after, [1, 2]);
    assert!(client.query_one("SELECT to_regclass('u') IS NULL", &[]).unwrap().get::<_, bool>(0));
    asked.database.cluster().assert_no_crash();
}

#[test]
fn every_way_to_only_read_is_open() {
    let mut asked = obedient();
    let client = &mut asked.client;
    client
        .batch_execute(
            "CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);
             CREATE TABLE t (id int PRIMARY KEY, m mood, p positive, at timestamptz DEFAULT now(), tags text[], doc jsonb);
             INSERT INTO t SELECT i, CASE i % 2 WHEN 0 THEN 'sad'::mood ELSE 'happy' END, i, now(), ARRAY['a', 'b'], '{\"a\": 1}' FROM generate_series(1, 100) AS i;
             CREATE VIEW v AS SELECT m, count(*) AS n FROM t GROUP BY m;
             CREATE FUNCTION twice(n int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT n * 2';
             CREATE FUNCTION thrice(n int) RETURNS int STABLE LANGUAGE plpgsql AS $$ DECLARE c int; BEGIN SELECT count(*) INTO c FROM t; RETURN n * 3 + c - c; END $$;
             CREATE FUNCTION add(int, int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN coalesce($1, 0) + $2; END $$;
             CREATE AGGREGATE total(int) (SFUNC = add, STYPE = int)",
        )
        .unwrap();
    for (sql, first) in [
        ("SELECT 1 AS one", json!({"one": 1})),
        ("VALUES (1, 'a')", json!({"column1": 1, "column2": "a"})),
        ("TABLE v ORDER BY m LIMIT 1", json!({"m": "sad", "n": 50})),
        ("WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT max(n) FROM r", json!({"max": 5})),
        (
            "SELECT m, rank() OVER (ORDER BY n), total(n::int) OVER () FROM v ORDER BY m LIMIT 1",
            json!({"m": "sad", "rank": 1, "total": 100}),
        ),
        ("SELECT twice(id), thrice(id) FROM t WHERE id = 2", json!({"twice": 4, "thrice": 6})),
        (
            "SELECT sum(id) FILTER (WHERE m = 'happy'), '5'::positive AS p, tags[1], doc ->> 'a' AS a FROM t GROUP BY tags, doc",
            json!({"sum": 2500, "p": 5, "tags": "a", "a": "1"}),
        ),
        (
            "SELECT random() < 2 AS r, now() <= clock_timestamp() AS c, gen_random_uuid() IS NOT NULL AS u",
            json!({"r": true, "c": true, "u": true}),
        ),
        ("SELECT pg_total_relation_size('t') > 0 AS s", json!({"s": true})),
        ("SELECT count(*) FROM t AS a, LATERAL (SELECT 1 FROM t AS b WHERE b.id < a.id LIMIT 1) AS x", json!({"count": 99})),
        ("SELECT string_agg(x, ',' ORDER BY x) AS s FROM regexp_split_to_table('b a', ' ') AS x", json!({"s": "a,b"})),
        ("(SELECT 1 AS n) UNION (SELECT 2) EXCEPT (SELECT 2)", json!({"n": 1})),
        ("SELECT table_name FROM information_schema.tables WHERE table_name = 'v'", json!({"table_name": "v"})),
        ("SELECT count(*) > 0 AS c FROM t TABLESAMPLE BERNOULLI (100)", json!({"c": true})),
        (
            "SELECT NULL AS a, 1 AS a, 'NaN'::float8 AS f, to_json(t.m) AS j FROM t LIMIT 1",
            json!({"a": null, "a_2": 1, "f": "NaN", "j": "happy"}),
        ),
        ("SELECT current_user = 'postgres' AS me, current_setting('transaction_read_only') AS ro", json!({"me": true, "ro": "on"})),
    ] {
        let found = rows(client, sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(found.first(), Some(&first), "{sql}");
    }
}

#[test]
fn it_runs_with_the_rights_of_its_caller_and_row_level_security_in_force() {
    let mut asked = obedient();
    let (poor, other) = (asked.database.create_role(), asked.database.create_role());
    asked
        .client
        .batch_execute(&format!(
            "CREATE TABLE secret (body text); INSERT INTO secret VALUES ('hidden');
             CREATE TABLE partly (open text, closed text); INSERT INTO partly VALUES ('a', 'hidden'); GRANT SELECT (open) ON partly TO {poor};
             CREATE TABLE own (owner name, body text); INSERT INTO own VALUES ('{poor}', 'mine'), ('{other}', 'hidden');
             ALTER TABLE own ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON own USING (owner = current_user); GRANT SELECT ON own TO {poor}, {other};
             CREATE VIEW lent AS SELECT count(*) FROM secret; GRANT SELECT ON lent TO {poor};
             SELECT pg_llm_grant_model('m', '{poor}')"
        ))
        .unwrap();
    let mut client = asked.database.connect_as(&poor);
    for sql in [
        "SELECT * FROM secret",
        "SELECT closed FROM partly",
        "SELECT * FROM partly",
        "SELECT 1 FROM own WHERE EXISTS (SELECT FROM secret)",
        "SELECT * FROM pg_authid",
        "SELECT * FROM _pg_llm_catalog.keys",
        "SELECT pg_read_file('PG_VERSION')",
    ] {
        let error = refused(&mut client, sql);
        assert_eq!(error.code().code(), "42501", "{sql}: {error:?}");
        assert!(!format!("{error:?}").contains("hidden"), "{sql}");
    }
    assert_eq!(rows(&mut client, "SELECT * FROM own").unwrap(), [json!({"owner": poor, "body": "mine"})]);
    assert_eq!(rows(&mut client, "SELECT open FROM partly").unwrap(), [json!({"open": "a"})]);
    assert_eq!(rows(&mut client, "TABLE lent").unwrap(), [json!({"count": 1})], "what its owner lends by a view");
    // A call inside a function with its owner's rights has these.
    asked.client.batch_execute("CREATE FUNCTION lend() RETURNS SETOF jsonb SECURITY DEFINER LANGUAGE sql AS $$ SELECT * FROM pg_llm_query('m', 'SELECT * FROM secret') $$").unwrap();
    assert_eq!(client.query("SELECT * FROM lend()", &[]).unwrap().len(), 1);
    assert!(refused(&mut client, "SELECT * FROM lend()").message().contains("SECURITY DEFINER"));
}

#[test]
fn foreign_tables_are_refused() {
    let mut asked = obedient();
    let made = asked.client.batch_execute(
        "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER s FOREIGN DATA WRAPPER nothing; CREATE FOREIGN TABLE far (id int) SERVER s;
         CREATE VIEW over_far AS SELECT * FROM far",
    );
    made.unwrap();
    for sql in ["SELECT * FROM far", "SELECT * FROM over_far"] {
        // A wrapper without a handler is Postgres's own error.
        let error = refused(&mut asked.client, sql);
        assert!(["42501", "55000"].contains(&error.code().code()), "{sql}: {error:?}");
    }
}

#[test]
fn the_transaction_and_its_settings_are_as_before_whatever_happened() {
    let mut asked = obedient();
    let client = &mut asked.client;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY); SET max_parallel_workers = 3; SET temp_file_limit = '5GB'").unwrap();
    client.batch_execute("BEGIN; INSERT INTO t VALUES (1)").unwrap();
    assert_eq!(rows(client, "SELECT id FROM t").unwrap(), [json!({"id": 1})], "it sees what its transaction did");
    client.batch_execute("SAVEPOINT s").unwrap();
    assert_eq!(refused(client, "SELECT 1; DELETE FROM t").code().code(), "42501");
    client.batch_execute("ROLLBACK TO s").unwrap();
    let caught = "DO $$ BEGIN PERFORM * FROM pg_llm_query('m', 'SELECT nextval(''x'')'); EXCEPTION WHEN insufficient_privilege OR undefined_table THEN NULL; END $$";
    client.batch_execute(caught).unwrap();
    client.batch_execute("INSERT INTO t VALUES (2)").unwrap();
    let state = "SELECT current_setting('transaction_read_only') || current_setting('max_parallel_workers') || current_setting('temp_file_limit') || current_user";
    assert_eq!(client.query_one(state, &[]).unwrap().get::<_, String>(0), "off35GBpostgres");
    client.batch_execute("COMMIT").unwrap();
    // The errors of others are whole: no hook of ours is in their way.
    let error = pg_llm_tests::db_error(client.batch_execute("INSERT INTO t VALUES (1)"));
    assert_eq!((error.code().code(), error.constraint()), ("23505", Some("t_pkey")));
    assert_eq!(client.query_one("SELECT count(*) FROM t", &[]).unwrap().get::<_, i64>(0), 2);
    client.batch_execute("SELECT set_config('work_mem', '8MB', false), pg_sleep(0)").unwrap();
}

#[test]
fn it_works_in_a_read_only_transaction_and_in_every_isolation() {
    let mut asked = obedient();
    for mode in ["READ ONLY", "ISOLATION LEVEL SERIALIZABLE", "ISOLATION LEVEL REPEATABLE READ READ ONLY"] {
        asked.client.batch_execute(&format!("BEGIN {mode}")).unwrap();
        assert_eq!(rows(&mut asked.client, "SELECT 1 AS n").unwrap(), [json!({"n": 1})]);
        asked.client.batch_execute("COMMIT").unwrap();
    }
}

#[test]
fn it_works_on_a_standby() {
    let primary = Cluster::start(&Settings::for_models());
    let database = primary.database();
    let config = "{\"mock_sql_response\": \"SELECT count(*) FROM t\"}";
    let add = format!("CREATE TABLE t (id int); INSERT INTO t VALUES (1), (2); SELECT pg_llm_add_model('mock', 'm', config => '{config}')");
    database.superuser().batch_execute(&add).unwrap();
    let standby = primary.standby();
    let mut client = database.on(&standby).superuser();
    assert_eq!(rows(&mut client, "How many?").unwrap(), [json!({"count": 2})]);
}
