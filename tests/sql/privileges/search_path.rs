//! Objects of others under our names, or under those that we use.

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Cluster, db_error};

use crate::nulls::Function;

use super::{ADD_GRANT, chat, code, is_denied, upstream, value, well};

/// Everything that a query of ours or a view of ours could be led astray by, in a schema before `pg_catalog`.
const SHADOWS: &str = "
    CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO PUBLIC;
    CREATE TABLE evil.victims (who text, what text); GRANT ALL ON evil.victims TO PUBLIC; CREATE SEQUENCE evil.sprung; GRANT ALL ON evil.sprung TO PUBLIC;
    CREATE FUNCTION evil.trap(what text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_catalog.nextval('evil.sprung'); INSERT INTO evil.victims VALUES (current_user, what); RETURN true; END $$;
    CREATE FUNCTION evil.eq(a text, b text) RETURNS boolean LANGUAGE sql AS $$SELECT evil.trap('text = text')$$;
    CREATE FUNCTION evil.eq(a bytea, b bytea) RETURNS boolean LANGUAGE sql AS $$SELECT evil.trap('bytea = bytea')$$;
    CREATE FUNCTION evil.eq(a oid, b oid) RETURNS boolean LANGUAGE sql AS $$SELECT evil.trap('oid = oid')$$;
    CREATE FUNCTION evil.eq(a regrole, b oid) RETURNS boolean LANGUAGE sql AS $$SELECT evil.trap('regrole = oid')$$;
    CREATE FUNCTION evil.eq(a oid, b regrole) RETURNS boolean LANGUAGE sql AS $$SELECT evil.trap('oid = regrole')$$;
    CREATE FUNCTION evil.eq(a name, b name) RETURNS boolean LANGUAGE sql AS $$SELECT evil.trap('name = name')$$;
    CREATE FUNCTION evil.eq(a name, b text) RETURNS boolean LANGUAGE sql AS $$SELECT evil.trap('name = text')$$;
    CREATE OPERATOR evil.= (FUNCTION = evil.eq, LEFTARG = text, RIGHTARG = text);
    CREATE OPERATOR evil.= (FUNCTION = evil.eq, LEFTARG = bytea, RIGHTARG = bytea);
    CREATE OPERATOR evil.= (FUNCTION = evil.eq, LEFTARG = oid, RIGHTARG = oid);
    CREATE OPERATOR evil.= (FUNCTION = evil.eq, LEFTARG = regrole, RIGHTARG = oid);
    CREATE OPERATOR evil.= (FUNCTION = evil.eq, LEFTARG = oid, RIGHTARG = regrole);
    CREATE OPERATOR evil.= (FUNCTION = evil.eq, LEFTARG = name, RIGHTARG = name);
    CREATE OPERATOR evil.= (FUNCTION = evil.eq, LEFTARG = name, RIGHTARG = text);
    CREATE OPERATOR evil.<> (FUNCTION = evil.eq, LEFTARG = oid, RIGHTARG = oid); CREATE OPERATOR evil.<> (FUNCTION = evil.eq, LEFTARG = text, RIGHTARG = text);
    CREATE FUNCTION evil.has(a jsonb, b text) RETURNS boolean LANGUAGE sql AS $$SELECT evil.trap('jsonb ? text')$$;
    CREATE OPERATOR evil.? (FUNCTION = evil.has, LEFTARG = jsonb, RIGHTARG = text);
    CREATE FUNCTION evil.before(a timestamptz, b timestamptz) RETURNS boolean LANGUAGE sql AS $$SELECT evil.trap('timestamptz <= timestamptz')$$;
    CREATE OPERATOR evil.<= (FUNCTION = evil.before, LEFTARG = timestamptz, RIGHTARG = timestamptz);
    CREATE OPERATOR evil.> (FUNCTION = evil.before, LEFTARG = timestamptz, RIGHTARG = timestamptz);
    CREATE FUNCTION evil.arrow(a jsonb, b text) RETURNS text LANGUAGE sql AS $$SELECT evil.trap('jsonb ->> text')::text$$;
    CREATE OPERATOR evil.->> (FUNCTION = evil.arrow, LEFTARG = jsonb, RIGHTARG = text);
    CREATE FUNCTION evil.arrow(a jsonb, b jsonb) RETURNS text LANGUAGE sql AS $$SELECT evil.trap('jsonb ->> jsonb')::text$$;
    CREATE OPERATOR evil.->> (FUNCTION = evil.arrow, LEFTARG = jsonb, RIGHTARG = jsonb);
    CREATE OPERATOR evil.#>> (FUNCTION = evil.arrow, LEFTARG = jsonb, RIGHTARG = jsonb);
    CREATE FUNCTION evil.pick(a jsonb, b jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.trap('jsonb -> jsonb'); RETURN a; END $$;
    CREATE OPERATOR evil.-> (FUNCTION = evil.pick, LEFTARG = jsonb, RIGHTARG = jsonb);
    CREATE OPERATOR evil.#> (FUNCTION = evil.pick, LEFTARG = jsonb, RIGHTARG = jsonb);
    CREATE FUNCTION evil.pg_has_role(name, oid, text) RETURNS boolean LANGUAGE sql AS $$SELECT evil.trap('pg_has_role')$$;
    CREATE FUNCTION evil.pg_has_role(name, regrole, text) RETURNS boolean LANGUAGE sql AS $$SELECT evil.trap('pg_has_role of regrole')$$;
    CREATE FUNCTION evil.has_function_privilege(oid, oid, text) RETURNS boolean LANGUAGE sql AS $$SELECT evil.trap('has_function_privilege')$$;
    CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.trap('now'); RETURN NULL; END $$;
    CREATE FUNCTION evil.octet_length(bytea) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.trap('octet_length'); RETURN 32; END $$;
    CREATE FUNCTION evil.concat_text(state text, a text, b text) RETURNS text LANGUAGE sql AS $$SELECT evil.trap('string_agg')::text$$;
    CREATE AGGREGATE evil.string_agg(text, text) (SFUNC = evil.concat_text, STYPE = text);
    CREATE FUNCTION evil.pg_llm_chat(text, text) RETURNS text LANGUAGE sql AS $$SELECT evil.trap('pg_llm_chat')::text$$;
    CREATE FUNCTION evil.pg_llm_add_provider(int) RETURNS int LANGUAGE sql AS $$SELECT 1$$;
    CREATE DOMAIN evil.text AS pg_catalog.text; CREATE DOMAIN evil.jsonb AS pg_catalog.jsonb; CREATE DOMAIN evil.oid AS pg_catalog.oid;
    CREATE DOMAIN evil.regrole AS pg_catalog.regrole; CREATE DOMAIN evil.bytea AS pg_catalog.bytea;
    CREATE TABLE evil.models (instance_name text); CREATE TABLE evil.grants (role oid); CREATE TABLE evil.keys (key_name text);
    CREATE VIEW evil.pg_proc AS SELECT 1 AS oid; CREATE VIEW evil.pg_extension AS SELECT 'pg_llm'::name AS extname; CREATE VIEW evil.pg_roles AS SELECT true AS rolsuper;
";

const TEMPORARY: &str = "
    CREATE TEMP TABLE models (instance_name text); CREATE TEMP TABLE grants (role oid); CREATE TEMP TABLE keys (key_name text, sealed bytea);
    CREATE TEMP TABLE modules (digest bytea); CREATE TEMP TABLE providers (model_type text); CREATE TEMP VIEW pg_llm_models AS SELECT 1;
    CREATE TEMP TABLE pg_proc (oid oid); CREATE TEMP TABLE pg_extension (extname name); CREATE TEMP TABLE pg_roles (rolsuper boolean);";

#[test]
fn a_hostile_search_path_and_temporary_tables_of_our_names_have_no_say() {
    let database = Cluster::shared().database();
    let upstream = upstream();
    let mut admin = database.superuser();
    admin.batch_execute(SHADOWS).unwrap();
    let role = database.create_role();
    admin.batch_execute(&format!("GRANT {ADD_GRANT} TO {role}")).unwrap();
    for (name, hostile_from_the_start) in [("postgres", true), ("postgres", false), (role.as_str(), true), (role.as_str(), false)] {
        let mut client = database.connect_as(name);
        let hostile = format!("{TEMPORARY} SET search_path = pg_temp, evil, pg_catalog, public");
        // Plans are made when first used: under the hostile path, or before it and used under it.
        if hostile_from_the_start {
            client.batch_execute(&hostile).unwrap();
        }
        let round = |client: &mut Client| {
            let m = format!("m of {name}");
            if name == "postgres" {
                let add = "SELECT public.pg_llm_add_model('openai-compatible'::pg_catalog.text, $1::pg_catalog.text, 'a-key'::pg_catalog.text, pg_catalog.jsonb_build_object('api_endpoint', $2::pg_catalog.text))";
                client.execute(add, &[&m, &upstream.url()]).unwrap();
            } else {
                client.execute("SELECT public.pg_llm_add_model('mock'::pg_catalog.text, $1::pg_catalog.text)", &[&m]).unwrap();
            }
            let chat = "SELECT public.pg_llm_chat($1::pg_catalog.text, 'x'::pg_catalog.text)";
            client.query_one(chat, &[&m]).unwrap();
            let shown =
                client.query("SELECT m.instance_name, m.owner::pg_catalog.text, m.model_name FROM public.pg_llm_models m", &[]).unwrap();
            assert!(shown.iter().any(|row| row.get::<_, String>(0) == m), "{name}: {shown:?}");
            assert!(client.query("SELECT p.model_type FROM public.pg_llm_providers p", &[]).unwrap().len() > 1);
            let mut all = |sql: &str| client.query(sql, &[&m]).unwrap();
            all("SELECT public.pg_llm_set_key($1::pg_catalog.text, 'other', 'a-key')");
            all("SELECT public.pg_llm_grant_model($1::pg_catalog.text, 'public')");
            all("SELECT public.pg_llm_revoke_model($1::pg_catalog.text, 'public')");
            let uploading =
                client.query("SELECT public.pg_llm_add_model('mine'::pg_catalog.text, 'mine', module => '\\x00'::pg_catalog.bytea)", &[]);
            assert_eq!(code(&db_error(uploading)), if name == "postgres" { "22023" } else { "42501" });
            let _ = client.query("SELECT public.pg_llm_add_provider('mine', '\\x00'::pg_catalog.bytea)", &[]);
            let _ = client.query("SELECT public.pg_llm_remove_provider('mine')", &[]);
            client.query("SELECT public.pg_llm_remove_model($1::pg_catalog.text)", &[&m]).unwrap();
        };
        round(&mut client);
        if !hostile_from_the_start {
            client.batch_execute(&hostile).unwrap();
            round(&mut client);
        }
        let victims = client.query("SELECT v.who::pg_catalog.text, v.what::pg_catalog.text FROM evil.victims v", &[]).unwrap();
        let victims: Vec<(String, String)> = victims.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(victims, [], "{name}");
    }
    database.cluster().assert_no_crash();
}

/// Whatever there is, so that what comes later is attacked as well.
#[test]
fn no_function_and_no_view_of_ours_is_led_astray_by_a_hostile_search_path() {
    let database = Cluster::shared().database();
    let upstream = upstream();
    let mut admin = database.superuser();
    super::add_model(&mut admin, "m", &upstream.url()).unwrap();
    let functions = Function::all(&mut admin);
    let views = "SELECT format('%I.%I', c.relnamespace::regnamespace::text, c.relname) FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
                   JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_llm' WHERE c.relkind = 'v'";
    let views: Vec<String> = admin.query(views, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    assert!(functions.len() > 30 && views.len() >= 4, "they are found");
    admin.batch_execute(SHADOWS).unwrap();
    let role = database.create_role();
    admin
        .batch_execute(&format!("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {role}; SELECT pg_llm_grant_model('m', '{role}')"))
        .unwrap();
    for name in ["postgres", role.as_str()] {
        let mut client = database.connect_as(name);
        client
            .batch_execute(&format!(
                "{TEMPORARY} SET search_path = pg_temp, evil, pg_catalog, public; SET pg_llm.compile_timeout_ms = '10s'"
            ))
            .unwrap_or_else(|_| {
                client.batch_execute("SET search_path = pg_temp, evil, pg_catalog, public").unwrap();
            });
        let mut answered = 0;
        let calls =
            functions.iter().map(|function| function.call(&function.plausible())).chain(views.iter().map(|view| format!("TABLE {view}")));
        for sql in calls {
            client.batch_execute("BEGIN").unwrap();
            answered += usize::from(client.simple_query(&sql).is_ok());
            client.batch_execute("ROLLBACK").unwrap();
            let sprung = client.query_one("SELECT s.is_called FROM evil.sprung s", &[]).unwrap();
            assert!(!sprung.get::<_, bool>(0), "{name}: {sql} ran what was laid for it");
        }
        assert!(answered >= 12, "{name}: {answered} of the calls were right");
    }
    database.cluster().assert_no_crash();
}

/// The installation script runs as a superuser with the target schema in its path, where others may have put things before.
#[test]
fn objects_that_wait_in_the_target_schema_are_not_built_into_the_extension() {
    let database = Cluster::shared().empty_database();
    let mut admin = database.superuser();
    admin
        .batch_execute(
            &SHADOWS
                .replace("CREATE SCHEMA evil;", "")
                .replace("evil", "public")
                .replace("CREATE FUNCTION public.pg_llm_chat(text, text)", "CREATE FUNCTION public.other(text, text)"),
        )
        .unwrap();
    admin.batch_execute("SET search_path = public, pg_temp").unwrap();
    admin.batch_execute("CREATE EXTENSION pg_llm").unwrap();
    assert_eq!(value::<String>(&mut admin, "SHOW search_path", &[]), "public, pg_temp");
    // What members of the extension (and the rules of its views, the defaults of its tables) need, and is neither built in nor a member.
    let foreign = admin
        .query(
            "WITH RECURSIVE ours AS (
               SELECT classid, objid FROM pg_depend d, pg_extension e WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'pg_llm' AND d.deptype = 'e'
               UNION SELECT d.classid, d.objid FROM pg_depend d, ours o WHERE d.refclassid = o.classid AND d.refobjid = o.objid AND d.deptype IN ('i', 'a'))
             SELECT pg_describe_object(d.refclassid, d.refobjid, 0) FROM pg_depend d, ours o
              WHERE d.classid = o.classid AND d.objid = o.objid AND d.refobjid >= 16384 AND d.refclassid <> 'pg_extension'::regclass
                AND (d.refclassid, d.refobjid) NOT IN (SELECT classid, objid FROM ours) AND d.refclassid <> 'pg_namespace'::regclass",
            &[],
        )
        .unwrap();
    let foreign: Vec<String> = foreign.iter().map(|row| row.get(0)).collect();
    assert_eq!(foreign, [] as [&str; 0]);
    admin
        .batch_execute(
            "SELECT pg_llm_add_model('mock'::pg_catalog.text, 'm'::pg_catalog.text); TABLE pg_llm_models; TABLE pg_llm_providers",
        )
        .unwrap();
    assert_eq!(value::<i64>(&mut admin, "SELECT count(*) FROM public.victims", &[]), 0);
}

#[test]
fn execute_on_add_model_is_no_right_to_upload_whatever_stands_beside_the_function() {
    let database = Cluster::shared().database();
    let (role, uploader) = (database.create_role(), database.create_role());
    let mut admin = database.superuser();
    admin.batch_execute(&format!("GRANT {ADD_GRANT} TO {role}, {uploader}; GRANT CREATE ON SCHEMA public TO {role}")).unwrap();
    let mut client = database.connect_as(&role);
    // Functions of the same name, of their own, of every kind, before and after ours in any order.
    for (i, arguments) in ["", "int", "text", "text, bytea", "text, bytea, text, text"].iter().enumerate() {
        client
            .batch_execute(&format!("CREATE FUNCTION public.pg_llm_add_provider({arguments}) RETURNS int LANGUAGE sql AS 'SELECT {i}'"))
            .unwrap();
    }
    is_denied(&mut client, "SELECT pg_llm_add_model('mine', 'mine', module => '\\x00')");
    admin.batch_execute(&format!("GRANT EXECUTE ON FUNCTION pg_llm_add_provider(text, bytea, text, jsonb) TO {uploader}")).unwrap();
    let error = db_error(database.connect_as(&uploader).query("SELECT pg_llm_add_model('mine', 'mine', module => '\\x00')", &[]));
    assert_eq!(code(&error), "22023", "and who has the right is let through to the check: {error:?}");
}

#[test]
fn no_function_of_ours_runs_with_other_rights_than_the_callers() {
    let mut admin = Cluster::shared().database().superuser();
    let members = "FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' \
                   JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_llm'";
    assert!(value::<i64>(&mut admin, &format!("SELECT count(*) {members}"), &[]) > 8);
    assert_eq!(value::<i64>(&mut admin, &format!("SELECT count(*) {members} WHERE p.prosecdef"), &[]), 0);
    let open = admin
        .query(
            &format!(
                // What a role tells of its own questions is its own.
                "SELECT p.oid::regprocedure::text {members} WHERE has_function_privilege('public', p.oid, 'EXECUTE') AND p.proname ~ 'add' \
                  AND p.proname NOT IN ('pg_llm_add_fact', 'pg_llm_add_example')"
            ),
            &[],
        )
        .unwrap();
    assert!(open.is_empty(), "{:?}", open.iter().map(|row| row.get(0)).collect::<Vec<String>>());
}

/// Whatever a session makes of SQL, of values and of plans.
#[test]
fn settings_of_the_session_do_not_change_what_our_queries_mean() {
    let database = Cluster::shared().database();
    let upstream = upstream();
    for set in [
        "standard_conforming_strings = off",
        "backslash_quote = off",
        "transform_null_equals = on",
        "quote_all_identifiers = on",
        "bytea_output = escape",
        "datestyle = 'German'",
        "intervalstyle = 'sql_standard'",
        "extra_float_digits = -15",
        "client_encoding = 'SQL_ASCII'",
        "row_security = off",
        "plan_cache_mode = force_generic_plan",
        "default_transaction_isolation = serializable",
        "enable_seqscan = off; SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_nestloop = off; SET enable_hashjoin = off; SET enable_mergejoin = off",
        "jit = on; SET jit_above_cost = 0",
        "check_function_bodies = off",
        "search_path = ''",
        "session_replication_role = replica",
    ] {
        let mut client = database.superuser();
        client.batch_execute(&format!("SET {set}")).unwrap();
        let add = "SELECT public.pg_llm_add_model('openai-compatible', 'm', 'key-of-m', jsonb_build_object('api_endpoint', $1::text, 'system', $2::text))";
        client.execute(add, &[&upstream.url(), &"a \\ ' \" b"]).unwrap_or_else(|error| panic!("{set}: {error:?}"));
        assert_eq!(chat(&mut client, "m"), well(), "{set}");
        let request = upstream.last_request().unwrap();
        assert_eq!(request.header("authorization"), Some("Bearer key-of-m"), "{set}");
        assert_eq!(request.json()["messages"][0]["content"], "a \\ ' \" b", "{set}");
        assert!(value::<bool>(&mut client, "SELECT public.pg_llm_grant_model('m', 'public')", &[]), "{set}");
        assert_eq!(value::<i64>(&mut client, "SELECT count(*) FROM public.pg_llm_models", &[]), 1, "{set}");
        assert!(value::<bool>(&mut client, "SELECT public.pg_llm_remove_model('m')", &[]), "{set}");
        let left: i64 =
            value(&mut client, "SELECT (SELECT count(*) FROM _pg_llm_catalog.grants) + (SELECT count(*) FROM _pg_llm_catalog.keys)", &[]);
        assert_eq!(left, 0, "{set}: keys and grants go with the model");
    }
}
