//! Roles that change: set, renamed, dropped, lent.

use pg_llm_tests::{Cluster, db_error};

use super::{ADD_GRANT, add_model, chat, code, denied, is_denied, upstream, value, well};

#[test]
fn another_roles_route_and_key_are_not_left_over_in_a_session() {
    let database = Cluster::shared().database();
    let upstream = upstream();
    let (one, two) = (database.create_role(), database.create_role());
    let mut client = database.superuser();
    for role in [&one, &two] {
        add_model(&mut client, &format!("of {role}"), &upstream.url()).unwrap();
        client.execute("SELECT pg_llm_grant_model($1, $2)", &[&format!("of {role}"), role]).unwrap();
    }
    for _ in 0..3 {
        for (role, other) in [(&one, &two), (&two, &one)] {
            client.batch_execute(&format!("SET ROLE {role}")).unwrap();
            assert_eq!(chat(&mut client, &format!("of {role}")), well());
            assert_eq!(upstream.last_request().unwrap().header("authorization"), Some(format!("Bearer key-of-of {role}").as_str()));
            assert_eq!(chat(&mut client, &format!("of {other}")), denied());
            client.batch_execute("RESET ROLE").unwrap();
        }
        client.batch_execute(&format!("SET SESSION AUTHORIZATION {one}")).unwrap();
        assert_eq!((chat(&mut client, &format!("of {one}")), chat(&mut client, &format!("of {two}"))), (well(), denied()));
        client.batch_execute("RESET SESSION AUTHORIZATION").unwrap();
    }
    // A prepared statement, and a kept plan, too.
    client.batch_execute(&format!("PREPARE ask AS SELECT pg_llm_chat('of {one}', 'x'); EXECUTE ask; SET ROLE {two}")).unwrap();
    is_denied(&mut client, "EXECUTE ask");
    client.batch_execute(&format!("SET ROLE {one}; EXECUTE ask")).unwrap();
}

#[test]
fn in_a_security_definer_function_the_definers_rights_count_and_only_there() {
    let database = Cluster::shared().database();
    let upstream = upstream();
    let (definer, caller) = (database.create_role(), database.create_role());
    let mut admin = database.superuser();
    add_model(&mut admin, "m", &upstream.url()).unwrap();
    admin.batch_execute(&format!("SELECT pg_llm_grant_model('m', '{definer}'); CREATE SCHEMA shared AUTHORIZATION {definer}; GRANT USAGE ON SCHEMA shared TO PUBLIC")).unwrap();
    database
        .connect_as(&definer)
        .batch_execute(
            "CREATE FUNCTION shared.ask() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$SELECT public.pg_llm_chat('m', 'x')$$;
             CREATE FUNCTION shared.ask_as_caller() RETURNS text LANGUAGE sql AS $$SELECT public.pg_llm_chat('m', 'x')$$;
             CREATE VIEW shared.asked AS SELECT public.pg_llm_chat('m', 'x') AS answer; GRANT SELECT ON shared.asked TO PUBLIC",
        )
        .unwrap();
    let mut client = database.connect_as(&caller);
    for _ in 0..2 {
        assert_eq!(value::<String>(&mut client, "SELECT shared.ask()", &[]), "well");
        is_denied(&mut client, "SELECT shared.ask_as_caller()");
        is_denied(&mut client, "TABLE shared.asked");
        is_denied(&mut client, "SELECT shared.ask() || pg_llm_chat('m', 'x')");
        is_denied(&mut client, "SELECT pg_llm_chat('m', shared.ask())");
    }
    admin.batch_execute(&format!("SELECT pg_llm_revoke_model('m', '{definer}')")).unwrap();
    is_denied(&mut client, "SELECT shared.ask()");
}

#[test]
fn a_renamed_role_keeps_its_models_and_a_dropped_ones_name_inherits_nothing() {
    let database = Cluster::shared().database();
    let upstream = upstream();
    let (owner, user) = (database.create_role(), database.create_role());
    let mut admin = database.superuser();
    admin.batch_execute(&format!("GRANT {ADD_GRANT} TO {owner}")).unwrap();
    database
        .connect_as(&owner)
        .batch_execute(&format!("SELECT pg_llm_add_model('mock', 'mine'); SELECT pg_llm_grant_model('mine', '{user}')"))
        .unwrap();
    add_model(&mut admin, "shared", &upstream.url()).unwrap();
    admin.batch_execute(&format!("SELECT pg_llm_grant_model('shared', '{owner}')")).unwrap();
    admin
        .batch_execute(&format!(
            "ALTER ROLE {owner} RENAME TO \"{owner} Renamed\"; CREATE ROLE {owner} LOGIN; GRANT {ADD_GRANT} TO {owner}"
        ))
        .unwrap();
    let mut impostor = database.connect_as(&owner);
    assert_eq!(chat(&mut impostor, "shared"), denied());
    assert_eq!(chat(&mut impostor, "mine"), denied());
    is_denied(&mut impostor, "SELECT pg_llm_remove_model('mine')");
    let renamed = format!("{owner} Renamed");
    let mut client = database.connect_as(&renamed);
    assert_eq!(chat(&mut client, "shared"), well());
    assert!(chat(&mut client, "mine").is_ok());
    assert_eq!(
        value::<String>(&mut admin, "SELECT owner::text FROM pg_llm_models WHERE instance_name = 'mine'", &[]),
        format!("\"{renamed}\"")
    );
    drop(client);

    admin
        .batch_execute(&format!(
            "DROP OWNED BY \"{renamed}\"; DROP ROLE \"{renamed}\"; CREATE ROLE \"{renamed}\" LOGIN; GRANT {ADD_GRANT} TO \"{renamed}\""
        ))
        .unwrap();
    let mut impostor = database.connect_as(&renamed);
    assert_eq!(chat(&mut impostor, "shared"), denied());
    assert_eq!(chat(&mut impostor, "mine"), denied());
    is_denied(&mut impostor, "SELECT pg_llm_add_model('mock', 'mine')");
    is_denied(&mut impostor, "SELECT pg_llm_remove_model('mine')");
    // Others go on, the views too, and the administrator can clear up.
    assert!(chat(&mut database.connect_as(&user), "mine").is_ok());
    admin
        .batch_execute("TABLE pg_llm_models; SELECT pg_llm_grant_model('mine', 'public'); SELECT pg_llm_revoke_model('mine', 'public')")
        .unwrap();
    assert!(value::<bool>(&mut admin, "SELECT pg_llm_remove_model('mine')", &[]));
}

#[test]
fn roles_are_named_exactly() {
    let database = Cluster::shared().database();
    let mut admin = database.superuser();
    let suffix = database.name();
    let odd = format!("Odd \"Role\"; -- ' {suffix}");
    let quoted = format!("\"{}\"", odd.replace('"', "\"\""));
    admin.batch_execute(&format!("CREATE ROLE {quoted} LOGIN; SELECT pg_llm_add_model('mock', 'm')")).unwrap();
    assert!(value::<bool>(&mut admin, "SELECT pg_llm_grant_model('m', $1)", &[&odd]));
    assert!(chat(&mut database.connect_as(&odd), "m").is_ok());
    let shown: Vec<String> = value(&mut admin, "SELECT granted_to FROM pg_llm_models WHERE instance_name = 'm'", &[]);
    assert_eq!(shown, std::slice::from_ref(&quoted));
    for near in [odd.to_lowercase(), format!(" {odd}"), quoted.clone()] {
        assert_eq!(code(&db_error(admin.query("SELECT pg_llm_grant_model('m', $1)", &[&near]))), "42704", "{near}");
    }
    admin.batch_execute(&format!("SELECT pg_llm_remove_model('m'); DROP ROLE {quoted}")).unwrap();
}

/// `current_user` in a view is who reads, whoever made it.
#[test]
fn a_view_over_ours_shows_what_its_reader_may_see() {
    let database = Cluster::shared().database();
    let (reader, definer) = (database.create_role(), database.create_role());
    let mut admin = database.superuser();
    admin
        .batch_execute(&format!(
            "SELECT pg_llm_add_model('mock', 'hidden'), pg_llm_add_model('mock', 'shown'), pg_llm_add_model('mock', 'definers');
             SELECT pg_llm_grant_model('shown', '{reader}'), pg_llm_grant_model('definers', '{definer}');
             CREATE VIEW all_models AS SELECT instance_name::text FROM pg_llm_models; GRANT SELECT ON all_models TO PUBLIC;
             CREATE VIEW barred WITH (security_barrier) AS SELECT * FROM all_models; GRANT SELECT ON barred TO PUBLIC;
             CREATE FUNCTION models_of_definer() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS 'SELECT instance_name FROM pg_llm_models';
             ALTER FUNCTION models_of_definer() OWNER TO {definer}"
        ))
        .unwrap();
    let mut client = database.connect_as(&reader);
    let mut seen = |what: &str| -> Vec<String> {
        client.query(&format!("SELECT * FROM {what} ORDER BY 1"), &[]).unwrap().iter().map(|row| row.get(0)).collect()
    };
    assert_eq!(seen("all_models"), ["shown"]);
    assert_eq!(seen("barred"), ["shown"]);
    assert_eq!(seen("models_of_definer()"), ["definers"]);
    // Filled by its owner, as its owner; read as what it is: a table of the owner's.
    admin.batch_execute(&format!("CREATE MATERIALIZED VIEW kept AS SELECT instance_name FROM pg_llm_models; ALTER MATERIALIZED VIEW kept OWNER TO {definer}; REFRESH MATERIALIZED VIEW kept")).unwrap();
    assert_eq!(value::<Vec<String>>(&mut admin, "SELECT array_agg(instance_name) FROM kept", &[]), ["definers"]);
    assert_eq!(value::<i64>(&mut admin, "SELECT count(*) FROM all_models", &[]), 3);
}

/// A function that calls a model with its owner's rights takes no fallback that its caller has set, if it says so.
#[test]
fn a_definers_prompt_does_not_go_to_a_fallback_of_the_callers_when_the_call_says_none() {
    let database = Cluster::shared().database();
    let (failing, thief) = (pg_llm_upstream::Upstream::start(), upstream());
    failing.otherwise(|_| pg_llm_upstream::Reply::status(500));
    let (definer, caller) = (database.create_role(), database.create_role());
    let mut admin = database.superuser();
    add_model(&mut admin, "m", &failing.url()).unwrap();
    add_model(&mut admin, "thief", &thief.url()).unwrap();
    admin
        .batch_execute(&format!(
            "SELECT pg_llm_grant_model('m', '{definer}'), pg_llm_grant_model('thief', 'public'); GRANT CREATE ON SCHEMA public TO {definer}; SET ROLE {definer};
             CREATE FUNCTION told() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp SET pg_llm.default_local_fallback = '' SET pg_llm.default_model = ''
             AS $$SELECT pg_llm_chat('m', 'a secret', '{{\"max_attempts\": 1}}')$$;
             CREATE FUNCTION told_in_options() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
             AS $$SELECT pg_llm_chat('m', 'a secret', '{{\"max_attempts\": 1, \"fallback_instance\": false}}')$$"
        ))
        .unwrap();
    let mut client = database.connect_as(&caller);
    client
        .batch_execute("SELECT pg_llm_chat('thief', 'x'); SET pg_llm.default_local_fallback = 'thief'; SET pg_llm.default_model = 'thief'")
        .unwrap();
    let before = thief.requests().len();
    for call in ["told()", "told_in_options()"] {
        assert!(code(&db_error(client.simple_query(&format!("SELECT {call}")))).starts_with("38"), "{call}");
    }
    assert_eq!(thief.requests().len(), before, "nothing of the definer's was sent there");
}

#[test]
fn a_role_that_is_dropped_amid_its_call_harms_nobody() {
    let database = Cluster::shared().database();
    let (upstream, gate) = (pg_llm_upstream::Upstream::start(), pg_llm_upstream::Gate::new());
    upstream.on("/chat/completions").reply(pg_llm_upstream::openai::completion("late").gated(&gate));
    let role = database.create_role();
    let mut admin = database.superuser();
    add_model(&mut admin, "m", &upstream.url()).unwrap();
    admin.execute("SELECT pg_llm_grant_model('m', $1)", &[&role]).unwrap();
    let running = pg_llm_tests::Running::start(database.connect_as(&role), "SELECT pg_llm_chat('m', 'x', '{\"cache\": true}')");
    assert!(upstream.wait_for_requests(1, pg_llm_tests::DEADLINE));
    admin.batch_execute(&format!("DROP ROLE {role}")).unwrap();
    gate.open();
    let mut outcome = running.finish(pg_llm_tests::DEADLINE);
    assert_eq!(outcome.column(), [Some("late".to_owned())], "the call had begun when there was a role");
    // Postgres lets a session outlive its role, with what was granted to that; a role of its name has none of it.
    assert!(outcome.client.simple_query("SELECT 1").is_ok());
    admin.batch_execute(&format!("CREATE ROLE {role} LOGIN")).unwrap();
    assert_eq!(chat(&mut database.connect_as(&role), "m"), denied());
    admin.batch_execute("TABLE pg_llm_models; TABLE pg_llm_cache").unwrap();
    database.cluster().assert_no_crash();
}
