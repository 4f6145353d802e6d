//! A dump, restored here and elsewhere.

use std::fs;
use std::process::{Command, Output};

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Cluster, Database, Installation};

use super::{KEY, add_models, all_is_well, chat, settings, upstream, value};

/// One of Postgres's client programs, at this database.
fn run(database: &Database<'_>, program: &str, arguments: &[&str]) -> Output {
    let psql = database.psql_command();
    let variables: Vec<_> = psql.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    Command::new(Installation::of_tests().program(program)).envs(variables).args(arguments).output().unwrap()
}

pub(crate) fn dump_and_restore(from: &Database<'_>, to: &Database<'_>, format: &str) {
    let file = from.cluster().folder().join(format!("dump-{}", to.name()));
    let path = file.display().to_string();
    let dumped = run(from, "pg_dump", &[&format!("--format={format}"), "--file", &path]);
    assert!(dumped.status.success() && dumped.stderr.is_empty(), "{}", String::from_utf8_lossy(&dumped.stderr));
    let restored = match format {
        "plain" => run(to, "psql", &["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file", &path]),
        _ => run(to, "pg_restore", &["--exit-on-error", "--dbname", to.name(), &path]),
    };
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
}

fn content(client: &mut Client) -> String {
    let tables = ["modules", "providers", "provider_owners", "provider_versions", "models", "grants", "keys"];
    let each = tables.map(|table| {
        value::<Option<String>>(client, &format!("SELECT string_agg(t::text, E'\\n' ORDER BY t::text) FROM _pg_llm_catalog.{table} t"))
    });
    each.map(Option::unwrap_or_default).join("\n--\n")
}

#[test]
fn a_dump_restores_models_modules_grants_and_keys_that_work() {
    let cluster = Cluster::start(&settings());
    let database = cluster.database();
    let upstream = upstream();
    let (owner, user, gone) = (database.create_role(), database.create_role(), database.create_role());
    let mut client = database.superuser();
    add_models(&mut client, &upstream);
    client
        .batch_execute(&format!(
            "GRANT EXECUTE ON FUNCTION pg_llm_add_model(text, text, text, jsonb, bytea, text) TO {owner}; SET ROLE {owner};
             SELECT pg_llm_add_model('mock', 'theirs'); SELECT pg_llm_grant_model('theirs', '{gone}'); RESET ROLE;
             SELECT pg_llm_grant_model('keyed', '{user}'); SELECT pg_llm_grant_model('uploaded', 'public'); SELECT pg_llm_set_key('keyed', 'other', '{KEY}');
             SET ROLE {owner}; SELECT pg_llm_add_model('mock', 'odd \"name\"; '' \\ é😀', config => '{{\"system\": \"a\\nb\\\\c\\t\"}}'); RESET ROLE; DROP ROLE {gone}"
        ))
        .unwrap();
    let before = content(&mut client);
    for format in ["plain", "custom", "tar"] {
        let restored = cluster.empty_database();
        dump_and_restore(&database, &restored, format);
        let mut there = restored.superuser();
        all_is_well(&mut there, &upstream);
        // All but what was granted to the role that is no more.
        let after = content(&mut there);
        let lost: Vec<&str> = before.lines().filter(|line| !after.lines().any(|other| other == *line)).collect();
        assert!(
            lost.len() == 1 && lost[0].starts_with("(theirs,") && after.lines().count() == before.lines().count() - 1,
            "{format}: {lost:?}"
        );
        let mut user = restored.connect_as(&user);
        assert_eq!(chat(&mut user, "keyed").unwrap(), "well");
        assert_eq!(chat(&mut user, "theirs").unwrap_err().code().code(), "42501");
        let mut owner = restored.connect_as(&owner);
        owner.batch_execute("SELECT pg_llm_add_model('mock', 'theirs'); SELECT pg_llm_add_model('mock', 'another'); SELECT pg_llm_remove_model('theirs')").unwrap();
    }
    // A dump of a restored one is the same: nothing of the extension's own is dumped twice or lost on the second way.
    let (once, twice) = (cluster.empty_database(), cluster.empty_database());
    dump_and_restore(&database, &once, "plain");
    dump_and_restore(&once, &twice, "custom");
    assert_eq!(content(&mut once.superuser()), content(&mut twice.superuser()));
    cluster.assert_no_crash();
}

#[test]
fn keys_restored_under_another_master_key_say_so_and_can_be_given_again() {
    let (from, to) = (Cluster::start(&settings()), Cluster::start(&settings()));
    let database = from.database();
    let upstream = upstream();
    add_models(&mut database.superuser(), &upstream);
    // The other server has a master key of its own, or none yet.
    for has_one in [false, true] {
        if has_one {
            to.database().superuser().batch_execute("SELECT pg_llm_add_model('mock', 'm', 'a-key-of-this-server')").unwrap();
        }
        let restored = to.empty_database();
        dump_and_restore(&database, &restored, "custom");
        let mut client = restored.superuser();
        upstream.forget();
        for _ in 0..2 {
            let error = chat(&mut client, "keyed").unwrap_err();
            assert_eq!(error.code().code(), "55000", "{error:?}");
            assert!(
                error.message().contains("master key")
                    && error.hint().is_some_and(|hint| hint.contains("pg_llm_set_key") && hint.contains("master.key")),
                "{error:?}"
            );
        }
        assert!(upstream.requests().is_empty());
        assert_eq!(chat(&mut client, "uploaded").unwrap(), "mocked", "what has no key works");
        client.execute("SELECT pg_llm_set_key('keyed', 'default', $1)", &[&KEY]).unwrap();
        all_is_well(&mut client, &upstream);
    }
    // Or the old master key is brought along.
    let restored = to.empty_database();
    dump_and_restore(&database, &restored, "custom");
    let master = |cluster: &Cluster| cluster.data_directory().join("pg_llm/master.key");
    fs::copy(master(&from), master(&to)).unwrap();
    all_is_well(&mut restored.superuser(), &upstream);
    to.assert_no_crash();
}

#[test]
fn a_dump_restores_pgvector_before_the_functions_that_return_its_type() {
    let cluster = Cluster::shared();
    let (database, restored) = (cluster.empty_database(), cluster.empty_database());
    let view = "CREATE VIEW v AS SELECT pg_llm_get_embedding('e', 'x') <-> '[1]'::vector AS distance";
    database.superuser().batch_execute(&format!("CREATE EXTENSION vector; CREATE EXTENSION pg_llm; {view}")).unwrap();
    dump_and_restore(&database, &restored, "plain");
    let of_the_view = "SELECT atttypid::regtype::text FROM pg_attribute WHERE attrelid = 'v'::regclass";
    let restored: String = restored.superuser().query_one(of_the_view, &[]).unwrap().get(0);
    assert_eq!(restored, "double precision");
}
