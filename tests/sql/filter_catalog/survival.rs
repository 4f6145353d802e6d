//! Filters after a dump, on a standby, without their code.

use std::fs;

use pg_llm_tests::Cluster;
use pg_llm_tests::postgres::Client;
use serde_json::json;

use super::{ADD, add, fails, upload, value};
use crate::recovery::{dump_and_restore, settings};
use crate::uploads::built;

/// A model whose prompts go through an uploaded filter and a built-in one with a configuration.
fn add_all(client: &mut Client) {
    let rule = |from: &str, to: &str| json!({"rules": [{"pattern": from, "replacement": to}]});
    assert!(upload(client, "house", &built("filter-regex-replace.wasm"), &rule("fine", "well")).unwrap());
    assert!(add(client, "odd \"name\"; '' é😀", "length-limit", &json!({"prompt": {"max": 5}})).unwrap());
    let config = json!({"mock_response": "fine", "filters": ["house", "odd \"name\"; '' é😀"]});
    client.execute("SELECT pg_llm_add_model('mock', 'filtered', config => $1)", &[&config]).unwrap();
}

fn ask(client: &mut Client, prompt: &str) -> Result<String, pg_llm_tests::postgres::Error> {
    client.query_one("SELECT pg_llm_chat('filtered', $1)", &[&prompt]).map(|row| row.get(0))
}

#[track_caller]
fn all_is_well(client: &mut Client) {
    assert_eq!(ask(client, "Hello").unwrap(), "well");
    fails(ask(client, "Hello, world"), "42501", "filter \"odd \"name\"");
}

const CHANGES: [&str; 2] = ["SELECT pg_llm_add_filter('x', filter_type => 'pii-redact')", "SELECT pg_llm_remove_filter('house')"];

const CONTENT: &str = "SELECT concat((SELECT string_agg(f::text, E'\\n' ORDER BY name) FROM _pg_llm_catalog.filters f), E'\\n',
                                     (SELECT string_agg(o::text, E'\\n' ORDER BY name) FROM _pg_llm_catalog.filter_owners o))";

#[test]
fn a_dump_restores_filters_that_work() {
    let cluster = Cluster::start(&settings());
    let database = cluster.database();
    let (owner, gone) = (database.create_role(), database.create_role());
    let mut client = database.superuser();
    add_all(&mut client);
    client.batch_execute(&format!("GRANT EXECUTE ON FUNCTION {ADD} TO PUBLIC")).unwrap();
    for role in [&owner, &gone] {
        assert!(add(&mut database.connect_as(role), &format!("of {role}"), "pii-redact", &json!({"answers": true})).unwrap());
    }
    client.batch_execute(&format!("DROP OWNED BY {gone}; DROP ROLE {gone}")).unwrap();
    let before: String = value(&mut client, CONTENT, &[]);
    for format in ["plain", "custom"] {
        let restored = cluster.empty_database();
        dump_and_restore(&database, &restored, format);
        let mut there = restored.superuser();
        all_is_well(&mut there);
        let after: String = value(&mut there, CONTENT, &[]);
        let lost: Vec<&str> = before.lines().filter(|line| !after.lines().any(|other| other == *line)).collect();
        assert!(lost.len() == 1 && lost[0].contains("of ") && after.lines().count() + 1 == before.lines().count(), "{format}: {lost:?}");
        // What was somebody's is still theirs, and what was nobody's any more is no other role's.
        let mut theirs = restored.connect_as(&owner);
        assert!(value::<bool>(&mut theirs, "SELECT pg_llm_remove_filter($1)", &[&format!("of {owner}")]));
        let stranger = restored.create_role();
        let removal = restored.connect_as(&stranger).query_one("SELECT pg_llm_remove_filter($1)", &[&format!("of {gone}")]);
        fails(removal, "42501", "must be owner");
    }
    cluster.assert_no_crash();
}

#[test]
fn filters_whose_compiled_code_is_lost_are_compiled_again() {
    let cluster = Cluster::start(&settings());
    let database = cluster.database();
    let mut client = database.superuser();
    add_all(&mut client);
    let compiled = || cluster.log().matches("compiling it again").count();
    all_is_well(&mut database.superuser());
    assert_eq!(compiled(), 0);
    let files = cluster.files_in("pg_llm/pgsql_tmp_code");
    assert_eq!(files.len(), 1, "built-in filters have none");
    fs::remove_file(&files[0]).unwrap();
    all_is_well(&mut client);
    assert_eq!(compiled(), 0, "what is loaded goes on");
    all_is_well(&mut database.superuser());
    assert_eq!(compiled(), 1);
    all_is_well(&mut database.superuser());
    assert_eq!(compiled(), 1);
    // Code of a provider under its name is not taken for a filter's.
    client.execute("SELECT pg_llm_add_provider('house', $1)", &[&built("mock.wasm")]).unwrap();
    let provider = cluster.files_in("pg_llm/pgsql_tmp_code").into_iter().find(|file| *file != files[0]).unwrap();
    fs::copy(provider, &files[0]).unwrap();
    all_is_well(&mut database.superuser());
    assert_eq!(compiled(), 2);
    cluster.assert_no_crash();
}

#[test]
fn a_read_only_transaction_and_a_standby_chat_through_filters() {
    let primary = Cluster::start(&settings());
    let database = primary.database();
    let mut client = database.superuser();
    add_all(&mut client);
    client.batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY").unwrap();
    all_is_well_in_savepoints(&mut client);
    client.batch_execute("ROLLBACK").unwrap();

    let standby = primary.standby();
    let there = database.on(&standby);
    let mut replica = there.superuser();
    assert!(standby.files_in("pg_llm/pgsql_tmp_code").is_empty());
    all_is_well(&mut replica);
    assert_eq!(standby.files_in("pg_llm/pgsql_tmp_code").len(), 1, "made on the standby");
    assert_eq!(value::<i64>(&mut replica, "SELECT count(*) FROM pg_llm_filters WHERE NOT builtin", &[]), 2);
    for sql in CHANGES {
        fails(replica.simple_query(sql), "25006", "");
    }
    // What changes on the primary is known in a session that has called already.
    assert!(add(&mut client, "house", "regex-replace", &json!({"rules": [{"pattern": "fine", "replacement": "better"}]})).unwrap());
    standby.catch_up_with(&primary);
    assert_eq!(ask(&mut replica, "Hello").unwrap(), "better");
    standby.assert_no_crash();
}

fn all_is_well_in_savepoints(client: &mut Client) {
    client.batch_execute("SAVEPOINT s").unwrap();
    all_is_well(client);
    client.batch_execute("ROLLBACK TO s").unwrap();
    for sql in CHANGES {
        fails(client.simple_query(sql), "25006", "");
        client.batch_execute("ROLLBACK TO s").unwrap();
    }
    assert_eq!(ask(client, "Hello").unwrap(), "well");
}
