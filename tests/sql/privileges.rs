//! Who may do what: rights on models, on making them, on the catalog and the settings; and every way around that we could think of.

mod hosts;
mod installation;
mod predefined;
mod roles;
mod search_path;
mod settings;

use pg_llm_tests::postgres::Client;
use pg_llm_tests::postgres::error::DbError;
use pg_llm_tests::postgres::types::ToSql;
use pg_llm_tests::{Cluster, db_error};
use pg_llm_upstream::{Upstream, openai};

const TABLES: [&str; 8] = ["modules", "providers", "provider_owners", "filters", "filter_owners", "models", "grants", "keys"];

fn upstream() -> Upstream {
    let upstream = Upstream::start();
    upstream.on("/chat/completions").reply(openai::completion("well"));
    upstream
}

fn add_model(client: &mut Client, name: &str, url: &str) -> Result<u64, pg_llm_tests::postgres::Error> {
    let add = "SELECT pg_llm_add_model('openai-compatible', $1, $2, jsonb_build_object('api_endpoint', $3::text))";
    client.execute(add, &[&name, &format!("key-of-{name}"), &url])
}

fn chat(client: &mut Client, name: &str) -> Result<String, String> {
    let asked = client.query_one("SELECT public.pg_llm_chat($1::text, 'Hello'::text)", &[&name]);
    asked.map(|row| row.get(0)).map_err(|error| error.as_db_error().unwrap_or_else(|| panic!("{error:?}")).code().code().to_owned())
}

#[allow(clippy::unnecessary_wraps, reason = "to be compared with what may fail")]
fn well() -> Result<String, String> {
    Ok("well".into())
}

#[allow(clippy::unnecessary_wraps, reason = "to be compared with what may succeed")]
fn denied() -> Result<String, String> {
    Err("42501".into())
}

fn code(error: &DbError) -> &str {
    error.code().code()
}

#[track_caller]
fn is_denied(client: &mut Client, sql: &str) {
    let error = db_error(client.simple_query(sql));
    assert_eq!(code(&error), "42501", "{sql}: {error:?}");
}

fn value<T: pg_llm_tests::postgres::types::FromSqlOwned>(client: &mut Client, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> T {
    client.query_one(sql, parameters).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

#[test]
fn an_ordinary_role_cannot_add_remove_change_or_upload() {
    let database = Cluster::shared().database();
    let upstream = upstream();
    let mut admin = database.superuser();
    add_model(&mut admin, "theirs", &upstream.url()).unwrap();
    let mut role = database.connect_as(&database.create_role());
    for sql in [
        "SELECT pg_llm_add_model('mock', 'mine')",
        "SELECT pg_llm_add_model('mock', 'theirs')",
        "SELECT pg_llm_add_model(true, 'mock', 'mine', '', '{}')",
        "SELECT pg_llm_add_model('mine', 'mine', module => '\\x00')",
        "SELECT pg_llm_add_provider('mine', '\\x00')",
        "SELECT pg_llm_remove_model('theirs')",
        "SELECT pg_llm_set_key('theirs', 'default', 'mine')",
        "SELECT pg_llm_set_key('theirs', 'default', NULL)",
        "SELECT pg_llm_grant_model('theirs', current_user::text)",
        "SELECT pg_llm_grant_model('theirs', 'public')",
        "SELECT pg_llm_revoke_model('theirs', 'public')",
        "SELECT pg_llm_chat('theirs', 'x')",
        "SELECT pg_llm_chat('theirs', 'x', '{}')",
        "SELECT pg_llm_chat('theirs', 'x', '{\"on_error\": \"null\"}')",
        "SELECT pg_llm_chat_json('theirs', 'x', '{\"on_error\": \"object\"}')",
        "SET pg_llm.default_model = 'theirs'; SELECT pg_llm_chat(NULL, 'x')",
        "DROP EXTENSION pg_llm",
        "DROP FUNCTION pg_llm_chat(text, text)",
        "CREATE OR REPLACE FUNCTION pg_llm_chat(text, text) RETURNS text LANGUAGE sql AS 'SELECT 1::text'",
        "CREATE FUNCTION pg_temp.up(text, bytea, text) RETURNS boolean LANGUAGE c AS '$libdir/pg_llm', 'pg_llm_add_provider_wrapper'",
    ] {
        is_denied(&mut role, sql);
    }
    // Nothing to be told apart from what exists.
    assert!(!value::<bool>(&mut role, "SELECT pg_llm_remove_model('no such')", &[]));
    assert_eq!(value::<i64>(&mut role, "SELECT count(*) FROM pg_llm_models", &[]), 0);
    assert!(upstream.requests().is_empty());
    assert_eq!(chat(&mut admin, "theirs"), well());
}

#[test]
fn a_role_without_rights_cannot_create_the_extension() {
    let database = Cluster::shared().empty_database();
    is_denied(&mut database.connect_as(&database.create_role()), "CREATE EXTENSION pg_llm");
}

#[test]
fn the_catalog_is_closed_in_every_way() {
    let database = Cluster::shared().database();
    let mut admin = database.superuser();
    admin.batch_execute("SELECT pg_llm_add_model('mock', 'theirs', 'a-secret-key'); ANALYZE").unwrap();
    let name = database.create_role();
    admin
        .batch_execute(&format!(
            "GRANT {ADD_GRANT} TO {name}; GRANT CREATE ON SCHEMA public TO {name}; GRANT CREATE ON DATABASE {} TO {name}",
            database.name()
        ))
        .unwrap();
    let mut role = database.connect_as(&name);
    for table in TABLES {
        for sql in [
            format!("TABLE _pg_llm_catalog.{table}"),
            format!("SELECT count(*) FROM _pg_llm_catalog.{table}"),
            format!("INSERT INTO _pg_llm_catalog.{table} DEFAULT VALUES"),
            format!("UPDATE _pg_llm_catalog.{table} SET ctid = ctid"),
            format!("DELETE FROM _pg_llm_catalog.{table}"),
            format!("TRUNCATE _pg_llm_catalog.{table}"),
            format!("DO $$ BEGIN LOCK _pg_llm_catalog.{table}; END $$"),
            format!("COPY _pg_llm_catalog.{table} TO STDOUT"),
            format!("ALTER TABLE _pg_llm_catalog.{table} OWNER TO {name}"),
            format!("CREATE TRIGGER t BEFORE INSERT ON _pg_llm_catalog.{table} EXECUTE FUNCTION suppress_redundant_updates_trigger()"),
            format!("CREATE RULE r AS ON SELECT TO _pg_llm_catalog.{table} DO INSTEAD SELECT 1"),
            format!("CREATE POLICY p ON _pg_llm_catalog.{table}"),
            format!("CREATE TABLE child () INHERITS (_pg_llm_catalog.{table})"),
            format!("CREATE VIEW v AS TABLE _pg_llm_catalog.{table}"),
            format!("CREATE INDEX ON _pg_llm_catalog.{table} ((1))"),
            format!("CREATE STATISTICS s ON ctid, xmin FROM _pg_llm_catalog.{table}"),
        ] {
            let error = db_error(role.simple_query(&sql));
            assert_eq!(code(&error), "42501", "{sql}: {error:?}");
        }
    }
    is_denied(&mut role, "SELECT _pg_llm_catalog.call_limits('{}')");
    is_denied(&mut role, "CREATE TABLE _pg_llm_catalog.mine ()");
    is_denied(&mut role, "CREATE FUNCTION _pg_llm_catalog.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'");
    for file in ["pg_llm/master.key", "pg_llm", "postgresql.conf"] {
        is_denied(&mut role, &format!("SELECT pg_read_binary_file('{file}')"));
        is_denied(&mut role, &format!("SELECT * FROM pg_ls_dir('{file}')"));
        is_denied(&mut role, &format!("SELECT * FROM pg_stat_file('{file}')"));
        is_denied(&mut role, &format!("COPY (SELECT 1) TO '/tmp/{file}'"));
    }
    assert_eq!(value::<i64>(&mut role, "SELECT count(*) FROM pg_stats WHERE schemaname = '_pg_llm_catalog'", &[]), 0);
    let granted: i64 = value(
        &mut admin,
        "SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a WHERE c.relnamespace = '_pg_llm_catalog'::regnamespace AND a.grantee <> c.relowner",
        &[],
    );
    assert_eq!(granted, 0, "nothing in the catalog is granted to anybody");
}

const ADD_GRANT: &str = "EXECUTE ON FUNCTION pg_llm_add_model(text, text, text, jsonb, bytea, text)";

#[test]
fn a_model_is_used_by_its_owner_by_who_was_granted_it_and_by_their_members() {
    let database = Cluster::shared().database();
    let upstream = upstream();
    let mut admin = database.superuser();
    add_model(&mut admin, "m", &upstream.url()).unwrap();
    let (granted, member, distant, noinherit, other) =
        (database.create_role(), database.create_role(), database.create_role(), database.create_role(), database.create_role());
    admin
        .batch_execute(&format!(
            "GRANT {granted} TO {member}; GRANT {member} TO {distant}; ALTER ROLE {noinherit} NOINHERIT; GRANT {granted} TO {noinherit}"
        ))
        .unwrap();
    let grant = |client: &mut Client, role: &str| value::<bool>(client, "SELECT pg_llm_grant_model('m', $1)", &[&role]);
    let revoke = |client: &mut Client, role: &str| value::<bool>(client, "SELECT pg_llm_revoke_model('m', $1)", &[&role]);
    let everybody = [&granted, &member, &distant, &noinherit, &other].map(|name| database.connect_as(name));
    let [mut granted_session, mut member_session, mut distant_session, mut noinherit_session, mut other_session] = everybody;
    for session in [&mut granted_session, &mut member_session, &mut distant_session, &mut noinherit_session, &mut other_session] {
        assert_eq!(chat(session, "m"), denied());
    }
    assert!(grant(&mut admin, &granted));
    assert!(!grant(&mut admin, &granted), "it could already");
    // In the same sessions, at once.
    for session in [&mut granted_session, &mut member_session, &mut distant_session] {
        assert_eq!(chat(session, "m"), well());
        assert_eq!(value::<i64>(session, "SELECT count(*) FROM pg_llm_models", &[]), 1);
    }
    for session in [&mut noinherit_session, &mut other_session] {
        assert_eq!(chat(session, "m"), denied());
        assert_eq!(value::<i64>(session, "SELECT count(*) FROM pg_llm_models", &[]), 0);
    }
    noinherit_session.batch_execute(&format!("SET ROLE {granted}")).unwrap();
    assert_eq!(chat(&mut noinherit_session, "m"), well());
    noinherit_session.batch_execute("RESET ROLE").unwrap();
    assert_eq!(chat(&mut noinherit_session, "m"), denied());
    // Who may use it may not hand it on, change it, or see more of it than it is.
    for sql in ["SELECT pg_llm_grant_model('m', 'public')", "SELECT pg_llm_set_key('m', 'default', 'x')", "SELECT pg_llm_remove_model('m')"]
    {
        is_denied(&mut granted_session, sql);
    }

    admin.batch_execute(&format!("REVOKE {granted} FROM {member}")).unwrap();
    for session in [&mut member_session, &mut distant_session] {
        assert_eq!(chat(session, "m"), denied());
    }
    assert!(grant(&mut admin, "public"));
    for session in [&mut member_session, &mut distant_session, &mut noinherit_session, &mut other_session] {
        assert_eq!(chat(session, "m"), well());
    }
    assert!(revoke(&mut admin, "public") && !revoke(&mut admin, "public"));
    assert_eq!(chat(&mut other_session, "m"), denied());
    assert_eq!(chat(&mut granted_session, "m"), well());
    assert!(revoke(&mut admin, &granted));
    assert_eq!(chat(&mut granted_session, "m"), denied());
    assert!(!revoke(&mut admin, "postgres"), "ownership is no grant");
    assert_eq!(chat(&mut admin, "m"), well());
    for role in ["no such role", "PUBLIC", "", "pg_no_such"] {
        let error = db_error(admin.query("SELECT pg_llm_grant_model('m', $1)", &[&role]));
        assert_eq!(code(&error), "42704", "{role}");
    }
}

#[test]
fn a_name_that_is_taken_is_not_taken_over() {
    let database = Cluster::shared().database();
    let upstream = upstream();
    let (one, two) = (database.create_role(), database.create_role());
    let mut admin = database.superuser();
    admin
        .batch_execute(&format!(
            "GRANT {ADD_GRANT} TO {one}, {two}; GRANT EXECUTE ON FUNCTION pg_llm_add_model(boolean, text, text, text, text) TO {two}"
        ))
        .unwrap();
    add_model(&mut admin, "theirs", &upstream.url()).unwrap();
    let (mut one, mut two) = (database.connect_as(&one), database.connect_as(&two));
    one.batch_execute("SELECT pg_llm_add_model('mock', 'mine')").unwrap();
    let before: String = value(
        &mut admin,
        "SELECT string_agg(m::text || k.key_name, ' ') FROM _pg_llm_catalog.models m LEFT JOIN _pg_llm_catalog.keys k USING (instance_name)",
        &[],
    );
    for name in ["mine", "theirs"] {
        is_denied(&mut two, &format!("SELECT pg_llm_add_model('mock', '{name}')"));
        is_denied(&mut two, &format!("SELECT pg_llm_add_model('mock', '{name}', 'a-key')"));
        is_denied(&mut two, &format!("SELECT pg_llm_add_model(true, 'mock', '{name}', '', '{{}}')"));
    }
    let after: String = value(
        &mut admin,
        "SELECT string_agg(m::text || k.key_name, ' ') FROM _pg_llm_catalog.models m LEFT JOIN _pg_llm_catalog.keys k USING (instance_name)",
        &[],
    );
    assert_eq!(after, before);
    // Names that only look alike are others.
    for name in ["Mine", "mine ", "mi\u{301}ne", "m\u{456}ne"] {
        two.execute("SELECT pg_llm_add_model('mock', $1)", &[&name]).unwrap();
        assert_eq!(
            value::<String>(&mut admin, "SELECT owner::text FROM pg_llm_models WHERE instance_name = 'mine'", &[]),
            value::<String>(&mut one, "SELECT current_user::text", &[])
        );
    }
}

/// The function in WHERE is cheap, and sees what the planner lets it see.
#[test]
fn a_leaky_function_sees_nothing_of_others_models_in_the_view() {
    let database = Cluster::shared().database();
    let name = database.create_role();
    let mut admin = database.superuser();
    admin.batch_execute("SELECT pg_llm_add_model('mock', 'secret model', config => '{\"system\": \"secret words\"}'); SELECT pg_llm_add_model('mock', 'shared')").unwrap();
    admin.batch_execute(&format!("SELECT pg_llm_grant_model('shared', '{name}'); GRANT CREATE ON SCHEMA public TO {name}")).unwrap();
    let mut client = database.connect_as(&name);
    client
        .batch_execute(
            "CREATE TABLE leaked (words text);
             CREATE FUNCTION leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN INSERT INTO leaked VALUES ($1); RETURN true; END $$",
        )
        .unwrap();
    client.batch_execute("SELECT * FROM pg_llm_models WHERE leak(instance_name || config::text)").unwrap();
    let leaked: Vec<String> = client.query("SELECT words FROM leaked", &[]).unwrap().iter().map(|row| row.get(0)).collect();
    assert!(leaked.len() == 1 && leaked[0].starts_with("shared"), "{leaked:?}");
    for sql in
        ["UPDATE pg_llm_models SET config = '{}'", "DELETE FROM pg_llm_models", "INSERT INTO pg_llm_models (instance_name) VALUES ('x')"]
    {
        assert!(client.batch_execute(sql).is_err(), "{sql}");
    }
}
