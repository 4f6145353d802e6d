//! Which functions a generated query reaches, however they are hidden.

use pg_llm_tests::db_error;
use serde_json::json;

use super::{answer, obedient, refused, rows};

/// With a table `t (id int)` and a sequence `s`.
pub(crate) const BUILT_IN: [&str; 46] = [
    "SELECT pg_sleep(0)",
    "SELECT pg_sleep_for('0')",
    "SELECT set_config('work_mem', '1GB', false)",
    "SELECT nextval('s')",
    "SELECT setval('s', 100)",
    "SELECT currval('s')",
    "SELECT lastval()",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_try_advisory_xact_lock(1)",
    "SELECT pg_notify('a', 'b')",
    "SELECT pg_terminate_backend(pg_backend_pid())",
    "SELECT pg_cancel_backend(pg_backend_pid())",
    "SELECT pg_reload_conf()",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT pg_read_binary_file('PG_VERSION')",
    "SELECT pg_ls_dir('.')",
    "SELECT * FROM pg_ls_waldir()",
    "SELECT pg_stat_file('PG_VERSION')",
    "SELECT lo_create(0)",
    "SELECT lo_import('PG_VERSION')",
    "SELECT lo_from_bytea(0, 'a')",
    "SELECT lo_get(1)",
    "SELECT query_to_xml('DELETE FROM t', true, true, '')",
    "SELECT table_to_xml('t', true, true, '')",
    "SELECT database_to_xml(true, true, '')",
    "SELECT * FROM ts_stat('SELECT to_tsvector(''a'')')",
    "SELECT txid_current()",
    "SELECT pg_current_xact_id()",
    "SELECT pg_export_snapshot()",
    "SELECT pg_logical_emit_message(false, 'a', 'b')",
    "SELECT pg_stat_reset()",
    "SELECT setseed(0.5)",
    "SELECT pg_llm_chat('m', 'SELECT 1')",
    "SELECT * FROM pg_llm_query('m', 'SELECT 1')",
    "SELECT pg_llm_add_model('mock', 'other')",
    "SELECT id FROM t WHERE pg_sleep(0) IS NOT NULL",
    "SELECT id FROM t ORDER BY nextval('s')",
    "SELECT count(*) FILTER (WHERE nextval('s') > 0) FROM t",
    "SELECT CASE WHEN false THEN nextval('s') END FROM t",
    "SELECT * FROM t JOIN LATERAL (SELECT nextval('s')) AS x ON true",
    "SELECT 1 LIMIT nextval('s')",
    "SELECT * FROM generate_series(1, nextval('s'))",
    "VALUES (nextval('s'))",
    "SELECT ARRAY(SELECT nextval('s') FROM t)",
    "WITH x AS MATERIALIZED (SELECT nextval('s') FROM t) SELECT * FROM x",
    "SELECT sum(1) OVER (ORDER BY nextval('s')) FROM t",
];

#[test]
fn built_in_functions_with_effects_are_refused() {
    let mut asked = obedient();
    let client = &mut asked.client;
    client.batch_execute("CREATE TABLE t (id int); CREATE SEQUENCE s; SELECT nextval('s')").unwrap();
    for sql in BUILT_IN {
        let error = refused(client, sql);
        assert_eq!(error.code().code(), "42501", "{sql}: {error:?}");
        assert!(error.message().contains("function "), "{sql}: {error:?}");
        // Not by running it, either.
        let dry = answer(client, sql, &json!({"dry_run": true, "max_attempts": 1}));
        assert_eq!(dry["execution"]["error"]["sqlstate"], "42501", "{sql}: {dry}");
    }
    assert_eq!(client.query_one("SELECT last_value FROM s", &[]).unwrap().get::<_, i64>(0), 1);
    assert_eq!(client.query_one("SELECT count(*) FROM pg_llm_models", &[]).unwrap().get::<_, i64>(0), 1);
}

/// Ways in which something with effects looks like something without.
pub(crate) const HIDDEN: &str = "
    CREATE TABLE t (id int); INSERT INTO t VALUES (1); CREATE TABLE log (what text); CREATE SEQUENCE s;
    CREATE FUNCTION noisy(a int) RETURNS int VOLATILE LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES ('noisy'); RETURN a; END $$;
    CREATE FUNCTION noisy_text(a text) RETURNS boolean VOLATILE LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES ('text'); RETURN true; END $$;
    CREATE FUNCTION lent() RETURNS bigint STABLE SECURITY DEFINER LANGUAGE sql AS 'SELECT count(*) FROM log';
    CREATE FUNCTION noisy_add(a int, b int) RETURNS int VOLATILE LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES ('add'); RETURN a; END $$;
    CREATE OPERATOR %% (FUNCTION = noisy_add, LEFTARG = int, RIGHTARG = int);
    CREATE AGGREGATE noisy_sum(int) (SFUNC = noisy_add, STYPE = int, INITCOND = '0');
    CREATE FUNCTION inlined(a int) RETURNS int STABLE LANGUAGE sql AS 'SELECT noisy(a)';
    CREATE FUNCTION not_inlined(a int) RETURNS int STABLE LANGUAGE sql SET work_mem = '4MB' AS 'SELECT noisy(a)';
    CREATE FUNCTION by_default(a int DEFAULT nextval('s')::int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT a';
    CREATE FUNCTION liar(a int) RETURNS int STABLE LANGUAGE plpgsql AS $$ BEGIN RETURN nextval('s'); END $$;
    CREATE FUNCTION sly(a int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('work_mem', '1GB', false); RETURN 1; END $$;
    CREATE FUNCTION quiet(a int) RETURNS int STABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('s'); RETURN 1; EXCEPTION WHEN OTHERS THEN RETURN 2; END $$;
    CREATE FUNCTION dynamic(a int) RETURNS int STABLE LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SELECT set_config(''work_mem'', ''1GB'', false)'; RETURN 1; END $$;
    CREATE FUNCTION deep(a int) RETURNS int STABLE LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT max(liar(id)) FROM t); END $$;
    CREATE FUNCTION reader(a int) RETURNS text STABLE LANGUAGE plpgsql AS $$ BEGIN RETURN pg_read_file('PG_VERSION'); END $$;
    CREATE FUNCTION locker(a int) RETURNS int STABLE LANGUAGE plpgsql AS $$ DECLARE r int; BEGIN FOR r IN EXECUTE 'SELECT id FROM t FOR UPDATE' LOOP RETURN r; END LOOP; END $$;
    CREATE FUNCTION setter(a int) RETURNS int STABLE LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SET work_mem = ''1GB'''; RETURN 1; END $$;
    CREATE VIEW seen AS SELECT noisy(id) FROM t;
    CREATE VIEW seen_twice AS SELECT * FROM seen;
    CREATE DOMAIN checked AS text CHECK (noisy_text(VALUE));
    CREATE TYPE pair AS (a int, b int);
    CREATE TYPE hue AS ENUM ('red');
    CREATE FUNCTION hue_to_json(hue) RETURNS json VOLATILE LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES ('cast'); RETURN '1'; END $$;
    CREATE CAST (hue AS json) WITH FUNCTION hue_to_json(hue);
    CREATE FUNCTION pair_to_int(pair) RETURNS int VOLATILE LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES ('cast'); RETURN 1; END $$;
    CREATE CAST (pair AS int) WITH FUNCTION pair_to_int(pair) AS IMPLICIT;
    CREATE TABLE guarded (id int); INSERT INTO guarded VALUES (1); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
    CREATE POLICY p ON guarded USING (noisy(id) = id);
";

pub(crate) const ATTEMPTS: [&str; 26] = [
    "SELECT noisy(1)",
    "SELECT lent()",
    "SELECT id %% 1 FROM t",
    "SELECT id OPERATOR(public.%%) 1 FROM t",
    "SELECT id FROM t WHERE id %% 1 = ANY (ARRAY[1])",
    "SELECT noisy_sum(id) FROM t",
    "SELECT noisy_sum(id) OVER () FROM t",
    "SELECT inlined(id) FROM t",
    "SELECT inlined(1)",
    "SELECT not_inlined(id) FROM t",
    "SELECT by_default()",
    "SELECT liar(id) FROM t",
    "SELECT liar(1)",
    "SELECT sly(1)",
    "SELECT id FROM t WHERE sly(2) = id",
    "SELECT quiet(id) FROM t",
    "SELECT dynamic(id) FROM t",
    "SELECT deep(id) FROM t",
    "SELECT reader(1)",
    "SELECT * FROM seen",
    "SELECT * FROM seen_twice",
    "SELECT 'a'::checked",
    "SELECT id::text::checked FROM t",
    "SELECT to_json('red'::hue)",
    "SELECT 1 + ROW(1, 2)::pair::int",
    "SELECT 'red'::hue FROM t",
];

#[test]
fn functions_with_effects_are_found_wherever_they_hide() {
    let mut asked = obedient();
    let client = &mut asked.client;
    client.batch_execute(HIDDEN).unwrap();
    for sql in ATTEMPTS {
        let error = refused(client, sql);
        assert_eq!(error.code().code(), "42501", "{sql}: {error:?}");
        assert!(error.message().contains("function "), "{sql}: {error:?}");
    }
    for sql in ["SELECT locker(1)", "SELECT setter(1)", "SELECT locker(id) FROM t"] {
        let error = refused(client, sql);
        // Postgres itself refuses some of it in a function that is not VOLATILE.
        assert!(["42501", "0A000"].contains(&error.code().code()), "{sql}: {error:?}");
    }
    let untouched = "SELECT (SELECT count(*) FROM log) = 0 AND NOT (SELECT is_called FROM s) AND current_setting('work_mem') = '4MB'";
    assert!(client.query_one(untouched, &[]).unwrap().get::<_, bool>(0));
    asked.database.cluster().assert_no_crash();
}

#[test]
fn functions_in_policies_are_checked_too() {
    let mut asked = obedient();
    let poor = asked.database.create_role();
    asked.client.batch_execute(HIDDEN).unwrap();
    asked.client.batch_execute(&format!("GRANT SELECT ON guarded TO {poor}; SELECT pg_llm_grant_model('m', '{poor}')")).unwrap();
    let mut client = asked.database.connect_as(&poor);
    assert!(refused(&mut client, "SELECT * FROM guarded").message().contains("public.noisy()"));
}

#[test]
fn what_ran_before_in_the_same_transaction_is_checked_anew() {
    let mut asked = obedient();
    let client = &mut asked.client;
    client.batch_execute(HIDDEN).unwrap();
    client
        .batch_execute("BEGIN; SELECT liar(id), sly(id), dynamic(id), deep(id), inlined(id), not_inlined(id), quiet(id), reader(id) FROM t")
        .unwrap();
    for function in ["liar", "sly", "dynamic", "deep", "inlined", "not_inlined", "quiet", "reader"] {
        client.batch_execute("SAVEPOINT a").unwrap();
        let error = refused(client, &format!("SELECT {function}(id) FROM t"));
        assert_eq!(error.code().code(), "42501", "{function}: {error:?}");
        client.batch_execute("ROLLBACK TO a").unwrap();
    }
    // And what was refused works again where nobody generated it.
    client.batch_execute("SELECT liar(id), sly(id), dynamic(id), deep(id), quiet(id) FROM t; COMMIT").unwrap();
}

#[test]
fn the_administrators_list_lets_functions_pass_and_nothing_that_they_call() {
    let mut asked = obedient();
    let poor = asked.database.create_role();
    asked.client.batch_execute(HIDDEN).unwrap();
    asked
        .client
        .batch_execute(&format!(
            "SELECT pg_llm_grant_model('m', '{poor}'); ALTER ROLE {poor} SET pg_llm.text2sql_allowed_functions = 'public.lent, public.liar, pg_catalog.pg_read_file, public.noisy'"
        ))
        .unwrap();
    let mut client = asked.database.connect_as(&poor);
    assert_eq!(rows(&mut client, "SELECT lent()").unwrap(), [json!({"lent": 0})]);
    for sql in ["SELECT liar(1)", "SELECT pg_read_file('PG_VERSION')", "SELECT noisy_sum(id) FROM t", "SELECT lent(), quiet(1)"] {
        let state = refused(&mut client, sql).code().code().to_owned();
        assert_eq!(state, "42501", "{sql}");
    }
    // It may be called, and cannot write.
    assert_eq!(refused(&mut client, "SELECT noisy(1)").code().code(), "42501");
    let error = db_error(client.batch_execute("SET pg_llm.text2sql_allowed_functions = 'public.quiet'"));
    assert_eq!(error.code().code(), "42501", "and is no user's to change");
}
