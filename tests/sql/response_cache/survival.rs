//! Crashes, standbys, dumps.

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Cluster, Settings};
use pg_llm_upstream::Upstream;
use serde_json::json;

use super::{ask, entries, value};

fn add_model(client: &mut Client, upstream: &Upstream) {
    client
        .execute(
            "SELECT pg_llm_add_model('openai-compatible', 'm', config => jsonb_build_object('api_endpoint', $1::text))",
            &[&format!("{}/v1", upstream.url())],
        )
        .unwrap();
}

fn cached(client: &mut Client) -> bool {
    ask(client, "Hello", &json!({"cache": true}))["cached"] == json!(true)
}

#[test]
fn a_crash_empties_it_and_a_restart_does_not() {
    let cluster = Cluster::start(&Settings::for_models().lines(&["restart_after_crash = on", "synchronous_commit = on"]));
    let (database, upstream) = (cluster.database(), Upstream::start_echo());
    let mut client = database.superuser();
    add_model(&mut client, &upstream);
    assert_eq!([cached(&mut client), cached(&mut client)], [false, true]);
    cluster.restart();
    let mut client = database.superuser();
    assert!(cached(&mut client), "an orderly restart keeps it");
    let pid: i32 = value(&mut client, "SELECT pg_backend_pid()", &[]);
    cluster.crash(pid);
    drop(client);
    let mut client = database.superuser();
    assert_eq!(entries(&mut client), 0);
    assert_eq!([cached(&mut client), cached(&mut client)], [false, true]);
}

#[test]
fn a_standby_asks_the_model_and_one_that_is_promoted_begins_with_nothing() {
    let primary = Cluster::start(&Settings::for_models());
    let (database, upstream) = (primary.database(), Upstream::start_echo());
    let mut client = database.superuser();
    add_model(&mut client, &upstream);
    assert_eq!([cached(&mut client), cached(&mut client)], [false, true]);
    let standby = primary.standby();
    let mut replica = database.on(&standby).superuser();
    for _ in 0..2 {
        assert!(!cached(&mut replica), "unlogged tables are not replicated");
    }
    let rows = replica.query("SELECT * FROM pg_llm_chat_stream('m', 'Hello', '{\"cache\": true}')", &[]).unwrap();
    assert!(rows.len() > 1);
    primary.stop_immediate();
    assert!(value::<bool>(&mut replica, "SELECT pg_promote()", &[]));
    assert_eq!([cached(&mut replica), cached(&mut replica)], [false, true]);
    standby.assert_no_crash();
}

#[test]
fn a_dump_has_no_answers() {
    let cluster = Cluster::start(&Settings::for_models());
    let (database, upstream) = (cluster.database(), Upstream::start_echo());
    let mut client = database.superuser();
    add_model(&mut client, &upstream);
    ask(&mut client, "a secret of mine", &json!({"cache": true}));
    let psql = database.psql_command();
    let variables: Vec<_> = psql.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    let program = pg_llm_tests::Installation::of_tests().program("pg_dump");
    let dumped = std::process::Command::new(program).envs(variables).output().unwrap();
    let text = String::from_utf8_lossy(&dumped.stdout);
    assert!(dumped.status.success() && text.contains("_pg_llm_catalog.models"), "{}", String::from_utf8_lossy(&dumped.stderr));
    assert!(!text.contains("response_cache") && !text.contains("a secret of mine"));
}
