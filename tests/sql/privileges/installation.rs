//! CREATE EXTENSION where others have been before: objects that wait for it, rights that its owner gives by default, other extensions.

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Cluster, db_error};

use super::value;

fn lines(client: &mut Client, sql: &str) -> Vec<String> {
    client.query(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}")).iter().map(|row| row.get(0)).collect()
}

/// What anybody but its owner may do with an object of the extension.
const RIGHTS: &str = "
    WITH ours AS (SELECT classid, objid FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid AND e.extname = 'pg_llm'
                   WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'),
         acls AS (SELECT 'pg_proc'::regclass AS classid, p.oid, p.proowner AS owner, coalesce(p.proacl, acldefault('f', p.proowner)) AS acl FROM pg_proc p
                  UNION ALL SELECT 'pg_class'::regclass, c.oid, c.relowner, coalesce(c.relacl, acldefault('r', c.relowner)) FROM pg_class c
                  UNION ALL SELECT 'pg_namespace'::regclass, n.oid, n.nspowner, coalesce(n.nspacl, acldefault('n', n.nspowner)) FROM pg_namespace n)
    SELECT pg_describe_object(o.classid, o.objid, 0) || ': ' || coalesce(string_agg(CASE x.grantee WHEN 0 THEN 'public' ELSE x.grantee::regrole::text END || '=' || x.privilege_type
                || CASE WHEN x.is_grantable THEN '*' ELSE '' END, ' ' ORDER BY x.grantee, x.privilege_type), 'nobody')
      FROM ours o JOIN acls a ON a.classid = o.classid AND a.oid = o.objid LEFT JOIN LATERAL aclexplode(a.acl) x ON x.grantee <> a.owner
     GROUP BY o.classid, o.objid ORDER BY pg_describe_object(o.classid, o.objid, 0)";

#[test]
fn default_privileges_of_the_creating_role_open_nothing() {
    let usual = lines(&mut Cluster::shared().database().superuser(), RIGHTS);
    assert!(usual.len() > 30 && usual.iter().any(|line| line.ends_with("pg_llm_models: public=SELECT")), "{usual:#?}");
    for within in ["", "IN SCHEMA public"] {
        let database = Cluster::shared().empty_database();
        let role = database.create_role();
        let mut admin = database.superuser();
        for what in ["TABLES", "FUNCTIONS", "SEQUENCES", "TYPES"] {
            admin.batch_execute(&format!("ALTER DEFAULT PRIVILEGES {within} GRANT ALL ON {what} TO {role} WITH GRANT OPTION")).unwrap();
        }
        if within.is_empty() {
            admin
                .batch_execute(&format!(
                    "ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO {role}; ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO PUBLIC"
                ))
                .unwrap();
        }
        admin.batch_execute("CREATE EXTENSION pg_llm").unwrap();
        // Of what PUBLIC has as well, it does not matter who else has it.
        let rights = lines(&mut admin, RIGHTS);
        let others = format!(" {role}=EXECUTE*");
        let rights: Vec<String> =
            rights.iter().map(|line| if line.contains("public=EXECUTE") { line.replace(&others, "") } else { line.clone() }).collect();
        assert_eq!(rights, usual, "{within}");
        let mut client = database.connect_as(&role);
        super::is_denied(&mut client, "TABLE _pg_llm_catalog.keys");
        super::is_denied(&mut client, "SELECT pg_llm_add_model('mock', 'mine')");
        super::is_denied(&mut client, "SELECT pg_llm_use_vector_type()");
    }
}

/// The usual hardening: functions are granted one by one.
#[test]
fn where_functions_are_nobodys_by_default_granting_the_ones_that_users_call_is_enough() {
    let database = Cluster::shared().empty_database();
    let role = database.create_role();
    let mut admin = database.superuser();
    admin.batch_execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC; CREATE EXTENSION pg_llm").unwrap();
    admin.batch_execute("SELECT pg_llm_add_model('mock', 'm'); SELECT pg_llm_grant_model('m', 'public')").unwrap();
    let mut client = database.connect_as(&role);
    for call in ["pg_llm_chat('m', 'x')", "pg_llm_chat_stream('m', 'x')", "pg_llm_doctor()"] {
        super::is_denied(&mut client, &format!("SELECT * FROM {call}"));
    }
    admin
        .batch_execute(&format!(
            "GRANT EXECUTE ON FUNCTION pg_llm_chat(text, text), pg_llm_chat_stream(text, text, jsonb), pg_llm_map(text, text, jsonb), pg_llm_doctor() TO {role}"
        ))
        .unwrap();
    for call in [
        "pg_llm_chat('m', 'x')",
        "pg_llm_chat_stream('m', 'x')",
        "pg_llm_map('m', 'SELECT 1::text')",
        "pg_llm_doctor()",
        "pg_llm_models",
        "pg_llm_providers",
        "pg_llm_stat_limits",
    ] {
        client.batch_execute(&format!("SELECT * FROM {call}")).unwrap_or_else(|error| panic!("{call}: {error:?}"));
    }
}

/// CVE-2022-2625: a script that makes an object unless it is there takes over what somebody has put there before.
#[test]
fn an_object_that_waits_under_a_name_of_ours_is_not_adopted() {
    let usual = Cluster::shared().database();
    let mut there = usual.superuser();
    let functions = lines(
        &mut there,
        "SELECT format('CREATE FUNCTION %s.%I(%s) RETURNS trigger LANGUAGE plpgsql AS ''BEGIN RETURN NULL; END''', n.nspname, p.proname,
                       (SELECT string_agg(format_type(t, NULL), ', ' ORDER BY at) FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, at)))
           FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e' AND d.classid = 'pg_proc'::regclass
           JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_llm' WHERE n.nspname = 'public'",
    );
    let views = lines(
        &mut there,
        "SELECT format('CREATE VIEW public.%I AS SELECT 1 AS instance_name', c.relname)
           FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.deptype = 'e' AND d.classid = 'pg_class'::regclass
           JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_llm' WHERE c.relkind = 'v' AND c.relnamespace = 'public'::regnamespace",
    );
    assert!(functions.len() > 20 && views.len() >= 4, "{functions:#?} {views:#?}");
    let database = Cluster::shared().empty_database();
    let role = database.create_role();
    let mut admin = database.superuser();
    admin
        .batch_execute(&format!("GRANT CREATE ON SCHEMA public TO {role}; GRANT CREATE ON DATABASE {} TO {role}", database.name()))
        .unwrap();
    let mut attacker = database.connect_as(&role);
    let waiting = functions.iter().chain(&views).cloned().chain(["CREATE SCHEMA _pg_llm_catalog".to_owned()]);
    for sql in waiting {
        // A function of no arguments that returns a trigger may be made; one of arguments may not.
        let sql = if sql.contains("()") {
            sql
        } else {
            sql.replace("RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'", "RETURNS int LANGUAGE sql AS 'SELECT 1'")
        };
        attacker.batch_execute(&sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let error = db_error(admin.batch_execute("CREATE EXTENSION pg_llm"));
        assert!(error.code().code().starts_with("42") || error.code().code() == "55000", "{sql}: {error:?}");
        assert_eq!(value::<i64>(&mut admin, "SELECT count(*) FROM pg_extension WHERE extname = 'pg_llm'", &[]), 0, "{sql}");
        let away = [
            "DROP OWNED BY ",
            &role,
            "; GRANT CREATE ON SCHEMA public TO ",
            &role,
            "; GRANT CREATE ON DATABASE ",
            database.name(),
            " TO ",
            &role,
        ]
        .concat();
        admin.batch_execute(&away).unwrap();
    }
    // What stands beside ours, and is another, is no hindrance; and it is nobody else's word.
    attacker
        .batch_execute(
            "CREATE FUNCTION public.pg_llm_use_vector_type(int) RETURNS boolean LANGUAGE sql AS 'SELECT true';
             CREATE FUNCTION public.pg_llm_use_vector_type(text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
             CREATE TYPE public.vector AS (x float8)",
        )
        .unwrap();
    admin.batch_execute("CREATE EXTENSION pg_llm").unwrap();
    assert!(!value::<bool>(&mut admin, "SELECT pg_llm_use_vector_type()", &[]));
    let theirs = value::<i64>(
        &mut admin,
        "SELECT count(*) FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid AND e.extname = 'pg_llm' WHERE d.deptype = 'e' AND d.objid IN (SELECT oid FROM pg_proc WHERE proowner <> e.extowner UNION SELECT oid FROM pg_class WHERE relowner <> e.extowner UNION SELECT oid FROM pg_type WHERE typowner <> e.extowner)",
        &[],
    );
    assert_eq!(theirs, 0, "all that is ours is the creator's");
}

/// A function declared anew takes its types from where they are meant, whatever the administrator's path is.
#[test]
fn functions_that_are_declared_anew_have_the_types_of_postgres() {
    let database = Cluster::shared().database();
    let mut admin = database.superuser();
    let declared = "SELECT string_agg(pg_catalog.concat_ws(' ', p.oid::pg_catalog.regprocedure, p.proallargtypes::pg_catalog.text, p.proargtypes::pg_catalog.text), '; ' ORDER BY p.proname, p.pronargs)
                      FROM pg_catalog.pg_proc p WHERE p.proname ~ 'embedding' AND p.proname ~ '^pg_llm|^map'";
    let before: String = value(&mut admin, declared, &[]);
    admin
        .batch_execute(
            "CREATE SCHEMA evil; CREATE DOMAIN evil.text AS pg_catalog.text; CREATE DOMAIN evil.jsonb AS pg_catalog.jsonb; CREATE DOMAIN evil.int8 AS pg_catalog.int8;
             CREATE DOMAIN evil.float4 AS pg_catalog.float4; SET search_path = evil, pg_catalog, public; SELECT public.pg_llm_use_vector_type(); RESET search_path",
        )
        .unwrap();
    assert_eq!(value::<String>(&mut admin, declared, &[]), before);
}

#[test]
fn an_ordinary_role_adds_nothing_to_the_extension_and_takes_nothing_from_it() {
    let database = Cluster::shared().database();
    let role = database.create_role();
    let mut admin = database.superuser();
    admin.batch_execute(&format!("GRANT CREATE ON SCHEMA public TO {role}")).unwrap();
    let mut client = database.connect_as(&role);
    client
        .batch_execute(
            "CREATE FUNCTION public.pg_llm_add_provider(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TABLE public.mine (x int)",
        )
        .unwrap();
    for sql in [
        "ALTER EXTENSION pg_llm ADD FUNCTION public.pg_llm_add_provider(int)",
        "ALTER EXTENSION pg_llm ADD TABLE public.mine",
        "ALTER EXTENSION pg_llm DROP FUNCTION pg_llm_chat(text, text)",
        "ALTER EXTENSION pg_llm DROP SCHEMA _pg_llm_catalog",
        "ALTER EXTENSION pg_llm SET SCHEMA pg_temp",
        "ALTER EXTENSION pg_llm UPDATE TO '0.1.0'",
        "COMMENT ON EXTENSION pg_llm IS 'mine'",
        "DROP EXTENSION pg_llm CASCADE",
        "ALTER FUNCTION pg_llm_chat(text, text) SET search_path = evil",
        "ALTER FUNCTION pg_llm_chat(text, text) LEAKPROOF",
        "ALTER FUNCTION pg_llm_chat(text, text) OWNER TO CURRENT_USER",
        "ALTER FUNCTION pg_llm_chat(text, text) RENAME TO theirs",
        "ALTER VIEW pg_llm_models SET (security_barrier = off)",
        "CREATE OR REPLACE VIEW pg_llm_models AS SELECT 1",
        "CREATE RULE r AS ON INSERT TO pg_llm_models DO INSTEAD NOTHING",
        "CREATE TRIGGER t INSTEAD OF INSERT ON pg_llm_models FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE EVENT TRIGGER t ON ddl_command_end EXECUTE FUNCTION pg_event_trigger_ddl_commands()",
        "SELECT pg_extension_config_dump('public.mine', '')",
    ] {
        let error = db_error(client.batch_execute(sql));
        assert!(["42501", "0A000", "42883", "42P17", "42809", "55000"].contains(&error.code().code()), "{sql}: {error:?}");
    }
    // To grant or revoke what one cannot is a warning, and changes nothing.
    let before = lines(&mut admin, RIGHTS);
    client
        .batch_execute("GRANT ALL ON pg_llm_models TO PUBLIC; REVOKE SELECT ON pg_llm_models FROM PUBLIC; REVOKE EXECUTE ON FUNCTION pg_llm_chat(text, text) FROM PUBLIC")
        .unwrap();
    assert_eq!(lines(&mut admin, RIGHTS), before);
}

/// All objects but ours, to the byte.
const THEIRS: &str = "
    WITH ours AS MATERIALIZED (SELECT classid, objid FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid AND e.extname = 'pg_llm'
                   WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'),
         mine (oid) AS MATERIALIZED (SELECT objid FROM ours UNION SELECT oid FROM pg_extension WHERE extname = 'pg_llm'
                  UNION SELECT d.objid FROM pg_depend d JOIN ours o ON d.refclassid = o.classid AND d.refobjid = o.objid WHERE d.deptype IN ('i', 'a'))
    SELECT 'function ' || p::text FROM pg_proc p WHERE oid NOT IN (SELECT oid FROM mine)
    UNION ALL SELECT 'type ' || t::text FROM pg_type t WHERE oid >= 16384 AND typnamespace NOT IN (SELECT oid FROM mine) AND typrelid NOT IN (SELECT oid FROM mine)
                AND NOT EXISTS (SELECT FROM pg_type e WHERE e.oid = t.typelem AND (e.typrelid IN (SELECT oid FROM mine) OR e.typnamespace IN (SELECT oid FROM mine)))
    UNION ALL SELECT 'relation ' || concat_ws(' ', oid, relname, relnamespace, relowner, relacl::text, reloptions::text, relkind, relhasrules, relhastriggers) FROM pg_class
               WHERE oid >= 16384 AND oid NOT IN (SELECT oid FROM mine) AND relnamespace NOT IN (SELECT oid FROM mine) AND relnamespace <> 'pg_toast'::regnamespace
    UNION ALL SELECT 'schema ' || n::text FROM pg_namespace n WHERE oid NOT IN (SELECT oid FROM mine)
    UNION ALL SELECT 'operator ' || o::text FROM pg_operator o UNION ALL SELECT 'cast ' || c::text FROM pg_cast c UNION ALL SELECT 'class ' || c::text FROM pg_opclass c
    UNION ALL SELECT 'family ' || f::text FROM pg_opfamily f UNION ALL SELECT 'method ' || m::text FROM pg_am m UNION ALL SELECT 'language ' || l::text FROM pg_language l
    UNION ALL SELECT 'event trigger ' || e::text FROM pg_event_trigger e UNION ALL SELECT 'default acl ' || d::text FROM pg_default_acl d
    UNION ALL SELECT 'setting ' || s::text FROM pg_db_role_setting s UNION ALL SELECT 'extension ' || e::text FROM pg_extension e WHERE extname <> 'pg_llm'
    UNION ALL SELECT 'role ' || r::text FROM pg_authid r WHERE rolname !~ '^role_' UNION ALL SELECT 'label ' || l::text FROM pg_seclabel l
    UNION ALL SELECT 'policy ' || p::text FROM pg_policy p UNION ALL SELECT 'publication ' || p::text FROM pg_publication p
    ORDER BY 1";

#[test]
fn creating_using_and_dropping_the_extension_touches_no_object_of_others() {
    let database = Cluster::shared().empty_database();
    let mut admin = database.superuser();
    admin
        .batch_execute("CREATE EXTENSION vector; CREATE TABLE documents (body text, embedding vector(3)); CREATE INDEX ON documents USING hnsw (embedding vector_l2_ops)")
        .unwrap();
    let before = lines(&mut admin, THEIRS);
    assert!(before.iter().any(|line| line.starts_with("relation") && line.contains("documents")) && before.len() > 3000);
    let same = |admin: &mut Client, when: &str| {
        let after = lines(admin, THEIRS);
        let differ: Vec<_> =
            after.iter().filter(|line| !before.contains(line)).chain(before.iter().filter(|line| !after.contains(line))).collect();
        assert!(differ.is_empty(), "{when}: {differ:#?}");
    };
    admin.batch_execute("CREATE EXTENSION pg_llm").unwrap();
    same(&mut admin, "created");
    admin
        .batch_execute("SELECT pg_llm_add_model('mock', 'm', 'sk-12345678'), pg_llm_chat('m', 'x'); SELECT pg_llm_use_vector_type(false); SELECT pg_llm_use_vector_type()")
        .unwrap();
    same(&mut admin, "used");
    admin.batch_execute("SELECT pg_llm_use_vector_type(false)").unwrap();
    // pgvector goes and comes while we stay: what was its is its again, and ours is as it was.
    let ours = lines(&mut admin, RIGHTS);
    admin.batch_execute("DROP EXTENSION vector CASCADE; CREATE EXTENSION vector").unwrap();
    assert_eq!(lines(&mut admin, RIGHTS), ours);
    assert!(value::<bool>(&mut admin, "SELECT pg_llm_use_vector_type()", &[]));
    let before = lines(&mut admin, THEIRS);
    admin.batch_execute("DROP EXTENSION pg_llm").unwrap();
    assert_eq!(lines(&mut admin, THEIRS), before, "dropped");
}
