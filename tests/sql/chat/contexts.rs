//! Wherever SQL may stand, a call may.

use pg_llm_tests::{Asked, Backend, DEADLINE, Installation, db_error};
use pg_llm_upstream::{Upstream, openai};
use serde_json::json;

/// An upstream that refuses what says `bad`.
fn picky() -> Asked {
    let asked = Asked::at(Upstream::start(), json!({}));
    asked.upstream.otherwise(|request| {
        if request.contains("bad") {
            openai::error(400, "invalid_request_error", "picky", "Not that.")
        } else {
            pg_llm_upstream::echo::answer(request)
        }
    });
    asked
}

#[test]
fn prepared_statements_keep_their_plan_and_their_connection() {
    let mut asked = Asked::echo();
    asked.client.batch_execute("SET plan_cache_mode = force_generic_plan").unwrap();
    let statement = asked.client.prepare("SELECT pg_llm_chat($1, $2, $3)").unwrap();
    for i in 0..10 {
        let prompt = format!("call {i}");
        let said: String = asked.client.query_one(&statement, &[&"m", &prompt, &json!({"seed": i})]).unwrap().get(0);
        assert_eq!(said, format!("You said: {prompt}"));
        assert_eq!(asked.sent()["seed"], i);
    }
    assert_eq!(asked.upstream.connections_total(), 1);
}

#[test]
fn functions_triggers_views_and_copy_may_call() {
    let mut asked = Asked::echo();
    asked
        .client
        .batch_execute(
            "CREATE FUNCTION in_sql(text) RETURNS text LANGUAGE sql AS 'SELECT pg_llm_chat(''m'', $1)';
             CREATE FUNCTION in_atomic(p text) RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT pg_llm_chat('m', p); END;
             CREATE FUNCTION in_plpgsql(p text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN pg_llm_chat('m', p); END $$;
             CREATE VIEW in_view AS SELECT pg_llm_chat('m', 'view') AS answer;
             CREATE TABLE t (question text, answer text DEFAULT pg_llm_chat('m', 'default'));
             CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.answer := pg_llm_chat('m', NEW.question); RETURN NEW; END $$;
             CREATE TRIGGER fill BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION fill();
             CREATE TABLE written (line text);",
        )
        .unwrap();
    for (sql, expected) in [
        ("SELECT in_sql('sql')", "sql"),
        ("SELECT in_atomic('atomic')", "atomic"),
        ("SELECT in_plpgsql('plpgsql')", "plpgsql"),
        ("SELECT answer FROM in_view", "view"),
        ("INSERT INTO t (question) VALUES ('q') RETURNING answer", "default"),
        ("UPDATE t SET question = 'trigger' RETURNING answer", "trigger"),
        ("WITH c AS MATERIALIZED (SELECT pg_llm_chat('m', 'cte') AS a) SELECT a FROM c", "cte"),
        ("SELECT (SELECT pg_llm_chat('m', 'outer ' || pg_llm_chat('m', 'inner')))", "outer You said: inner"),
        ("SELECT max(pg_llm_chat('m', 'aggregate')) FROM generate_series(1, 2)", "aggregate"),
        ("SELECT CASE WHEN false THEN pg_llm_chat('m', 'never') ELSE 'You said: nothing' END", "nothing"),
    ] {
        assert_eq!(
            asked.value::<String>(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}")),
            format!("You said: {expected}"),
            "{sql}"
        );
    }
    let mut copied = String::new();
    std::io::Read::read_to_string(&mut asked.client.copy_out("COPY (SELECT pg_llm_chat('m', 'copy')) TO STDOUT").unwrap(), &mut copied)
        .unwrap();
    assert_eq!(copied, "You said: copy\n");
    assert!(!asked.upstream.requests().iter().any(|request| request.contains("never")));
}

#[test]
fn what_a_plpgsql_block_catches_does_no_harm_to_what_follows() {
    let mut asked = picky();
    let pid = Backend::of(&mut asked.client);
    asked
        .client
        .batch_execute(
            "CREATE FUNCTION tried(p text) RETURNS text LANGUAGE plpgsql AS $$
             DECLARE detail text; hint text;
             BEGIN
                 RETURN pg_llm_chat('m', p);
             EXCEPTION WHEN OTHERS THEN
                 GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
                 RETURN SQLSTATE || ' ' || SQLERRM || ' / ' || detail;
             END $$;
             CREATE FUNCTION named(p text) RETURNS text LANGUAGE plpgsql AS $$
             BEGIN
                 RETURN pg_llm_chat('m', p);
             EXCEPTION WHEN external_routine_exception THEN RETURN 'caught by its name';
             END $$;",
        )
        .unwrap();
    let caught: String = asked.value("SELECT tried('bad')", &[]).unwrap();
    assert!(
        caught.starts_with("38000 pg_llm: model \"m\" failed: Not that. / Kind: invalid_request, status: 400, code: picky"),
        "{caught}"
    );
    assert_eq!(asked.value::<String>("SELECT named('bad')", &[]).unwrap(), "caught by its name");
    let sql = "SELECT count(*) FILTER (WHERE a LIKE '38000%'), count(*) FILTER (WHERE a LIKE 'You said%') \
                 FROM (SELECT tried(CASE WHEN i % 2 = 0 THEN 'bad' ELSE 'good' END) AS a FROM generate_series(1, 40) AS i) AS t";
    let row = asked.client.query_one(sql, &[]).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (20, 20));
    assert_eq!((asked.says("Hello"), Backend::of(&mut asked.client)), ("You said: Hello".to_owned(), pid));
    asked.database.cluster().assert_no_crash();
}

#[test]
fn a_savepoint_brings_a_transaction_back_from_a_failed_call() {
    let mut asked = picky();
    let mut transaction = asked.client.transaction().unwrap();
    transaction.batch_execute("CREATE TABLE kept (a text)").unwrap();
    for prompt in ["good", "bad", "good", "bad", "good"] {
        let mut savepoint = transaction.transaction().unwrap();
        match savepoint.execute("INSERT INTO kept SELECT pg_llm_chat('m', $1)", &[&prompt]) {
            Ok(_) => savepoint.commit().unwrap(),
            Err(_) => savepoint.rollback().unwrap(),
        }
    }
    transaction.commit().unwrap();
    assert_eq!(asked.value::<i64>("SELECT count(*) FROM kept WHERE a = 'You said: good'", &[]).unwrap(), 3);

    let mut transaction = asked.client.transaction().unwrap();
    assert_eq!(db_error(transaction.query_one("SELECT pg_llm_chat('m', 'bad')", &[])).code().code(), "38000");
    assert_eq!(db_error(transaction.query_one("SELECT 1", &[])).code().code(), "25P02", "as after any error");
    drop(transaction);
    assert_eq!(asked.says("Hello"), "You said: Hello");
}

#[test]
fn read_only_transactions_of_every_isolation_may_call() {
    let mut asked = Asked::echo();
    for mode in [
        "READ ONLY",
        "ISOLATION LEVEL REPEATABLE READ READ ONLY",
        "ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE",
        "ISOLATION LEVEL SERIALIZABLE",
    ] {
        asked.client.batch_execute(&format!("BEGIN {mode}")).unwrap();
        assert_eq!(asked.says("Hello"), "You said: Hello", "{mode}");
        asked.client.batch_execute("COMMIT").unwrap();
    }
    asked.client.batch_execute("SET default_transaction_read_only = on").unwrap();
    assert_eq!(asked.says("Hello"), "You said: Hello");
    let refused = db_error(asked.client.simple_query("SELECT pg_llm_add_model('mock', 'x')"));
    assert_eq!(refused.code().code(), "25006", "adding is writing");
}

#[test]
fn a_parallel_worker_calls_over_a_connection_of_its_own() {
    let mut asked = Asked::echo();
    assert_eq!(asked.says("the leader"), "You said: the leader");
    let setting = if Installation::of_tests().major() >= 16 { "debug_parallel_query" } else { "force_parallel_mode" };
    asked.client.batch_execute(&format!("SET {setting} = on; SET statement_timeout = '{}s'", DEADLINE.as_secs())).unwrap();
    let plan = asked.client.query("EXPLAIN SELECT pg_llm_chat('m', 'Hello')", &[]).unwrap();
    assert!(plan.iter().any(|row| row.get::<_, String>(0).contains("Single Copy: true")), "the plan is a worker's");
    assert_eq!(asked.says("a worker"), "You said: a worker");
    let answer = asked.chat_json("another", &json!({"temperature": 0})).unwrap().unwrap();
    assert_eq!(answer["response"], "You said: another");
    assert_eq!(asked.upstream.connections_total(), 3);
    assert_eq!(db_error(asked.chat("Hello", &json!({"temprature": 0}))).hint(), Some("Perhaps you meant \"temperature\"."));
    asked.upstream.next(openai::error(400, "invalid_request_error", "no", "Words of the provider."));
    let failed = db_error(asked.chat("Hello", &json!({})));
    assert_eq!(failed.code().code(), "38000");
    assert!(failed.detail().is_some_and(|detail| detail.contains("Words of the provider.")), "{failed:?}");
    asked.database.cluster().assert_no_crash();
}

/// The library is loaded by the worker first, with settings that were only names when they were set.
#[test]
fn a_worker_knows_the_settings_of_a_session_that_has_not_called_yet() {
    let asked = Asked::echo();
    let mut fresh = asked.database.superuser();
    let setting = if Installation::of_tests().major() >= 16 { "debug_parallel_query" } else { "force_parallel_mode" };
    fresh.batch_execute(&format!("SET pg_llm.default_model = 'm'; SET pg_llm.on_error = 'null'; SET {setting} = on")).unwrap();
    assert_eq!(fresh.query_one("SELECT pg_llm_chat(NULL, 'Hello')", &[]).unwrap().get::<_, String>(0), "You said: Hello");
    asked.upstream.next(openai::error(400, "invalid_request_error", "no", "No."));
    assert_eq!(fresh.query_one("SELECT pg_llm_chat(NULL, 'Hello')", &[]).unwrap().get::<_, Option<String>>(0), None);
    let mut limited = asked.database.superuser();
    limited.batch_execute(&format!("SET {setting} = on; SET pg_llm.max_response_bytes = 1024")).unwrap();
    let long = "x".repeat(5000);
    assert_eq!(db_error(limited.query_one("SELECT pg_llm_chat('m', $1)", &[&long])).code().code(), "54000");
    asked.database.cluster().assert_no_crash();
}

#[test]
fn a_parallel_scan_spreads_its_calls_over_workers() {
    let mut asked = Asked::echo();
    asked
        .client
        .batch_execute(
            "CREATE TABLE t AS SELECT i, 'row ' || i AS body FROM generate_series(1, 200) AS i; ANALYZE t;
             SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2",
        )
        .unwrap();
    let sql = "SELECT count(*) FROM t WHERE pg_llm_chat('m', body) = 'You said: ' || body";
    assert_eq!(asked.value::<i64>(sql, &[]).unwrap(), 200);
    assert_eq!(asked.upstream.requests().len(), 200, "one call a row");
}

/// Everything that a caller's `search_path` could put in the way of what the extension's own queries name.
#[test]
fn a_hostile_search_path_is_not_asked() {
    let mut asked = Asked::echo();
    asked
        .client
        .batch_execute(
            "CREATE SCHEMA evil;
             CREATE FUNCTION evil.trap(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
             CREATE FUNCTION evil.trap(oid, oid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
             CREATE FUNCTION evil.trap(bytea, bytea) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
             CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.trap);
             CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.trap);
             CREATE OPERATOR evil.= (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = evil.trap);
             CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
             CREATE FUNCTION evil.string_agg(text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
             CREATE FUNCTION evil.has_function_privilege(oid, oid, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
             CREATE TABLE evil.models (instance_name text, model_type text);
             CREATE DOMAIN evil.text AS pg_catalog.text CHECK (VALUE <> 'm');
             CREATE DOMAIN evil.jsonb AS pg_catalog.jsonb CHECK (VALUE IS NULL);
             CREATE FUNCTION public.called() RETURNS pg_catalog.text LANGUAGE plpgsql SET search_path = evil, pg_catalog, public
                 AS $$ BEGIN RETURN public.pg_llm_chat('m', 'Hello'); END $$;",
        )
        .unwrap();
    assert_eq!(asked.value::<String>("SELECT public.called()", &[]).unwrap(), "You said: Hello");
    // A session that never resolved these names in any other way.
    let mut fresh = asked.database.superuser();
    let sql = "SET search_path = evil, pg_catalog; \
               SELECT public.pg_llm_chat('m', 'Hello'); \
               SELECT public.pg_llm_add_model('mock', 'n', 'sk-12345678'); \
               SELECT public.pg_llm_add_model('mock', 'n', 'sk-87654321'); \
               SELECT public.pg_llm_grant_model('n', 'public'), public.pg_llm_revoke_model('n', 'public'), public.pg_llm_set_key('n', 'default', NULL); \
               SELECT count(*) FROM public.pg_llm_models; SELECT count(*) FROM public.pg_llm_providers; \
               SELECT public.pg_llm_chat('n', 'Hello'), public.pg_llm_remove_model('n'), public.pg_llm_remove_provider('nobody')";
    fresh.simple_query(sql).unwrap_or_else(|error| panic!("{error:?}"));
}
