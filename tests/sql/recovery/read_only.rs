//! Where nothing can be written: read-only transactions and standbys.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use pg_llm_tests::{Cluster, DEADLINE, Running, built, db_error};
use pg_llm_upstream::{Reply, Upstream, openai};

use super::{add_models, all_is_well, chat, give, settings, upstream, value};

#[test]
fn a_read_only_transaction_can_chat_and_cannot_change_anything() {
    let database = Cluster::shared().database();
    let upstream = upstream();
    let mut client = database.superuser();
    add_models(&mut client, &upstream);
    for begin in
        ["BEGIN READ ONLY", "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY", "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE"]
    {
        client.batch_execute(begin).unwrap();
        all_is_well(&mut client, &upstream);
        client.batch_execute("TABLE pg_llm_models; TABLE pg_llm_providers").unwrap();
        for sql in CHANGES {
            client.batch_execute("SAVEPOINT s").unwrap();
            let error = db_error(client.simple_query(sql));
            assert_eq!(error.code().code(), "25006", "{sql}: {error:?}");
            client.batch_execute("ROLLBACK TO s").unwrap();
        }
        client.batch_execute("COMMIT").unwrap();
    }
    all_is_well(&mut client, &upstream);
}

const CHANGES: [&str; 7] = [
    "SELECT pg_llm_add_model('mock', 'm')",
    "SELECT pg_llm_add_model('mock', 'keyed', 'another-key')",
    "SELECT pg_llm_set_key('keyed', 'default', 'another-key')",
    "SELECT pg_llm_set_key('keyed', 'default', NULL)",
    "SELECT pg_llm_grant_model('keyed', 'public')",
    "SELECT pg_llm_remove_model('keyed')",
    "SELECT pg_llm_remove_provider('house-mock')",
];

#[test]
fn a_standby_answers_with_built_in_and_uploaded_providers_and_takes_over() {
    let primary = Cluster::start(&settings());
    let database = primary.database();
    let upstream = upstream();
    let mut client = database.superuser();
    add_models(&mut client, &upstream);
    let standby = primary.standby();
    let there = database.on(&standby);
    // The base backup brings the master key along, and leaves the code out, which each machine makes for itself.
    assert!(standby.data_directory().join("pg_llm/master.key").exists());
    assert!(standby.files_in("pg_llm/pgsql_tmp_code").is_empty());
    let mut replica = there.superuser();
    all_is_well(&mut replica, &upstream);
    assert_eq!(standby.files_in("pg_llm/pgsql_tmp_code").len(), 1, "made on the standby");
    replica.batch_execute("TABLE pg_llm_models; TABLE pg_llm_providers").unwrap();
    for sql in CHANGES {
        let error = db_error(replica.simple_query(sql));
        assert_eq!(error.code().code(), "25006", "{sql}: {error:?}");
    }
    let error = db_error(replica.query("SELECT pg_llm_add_provider('other', $1)", &[&built("openai.wasm")]));
    assert_eq!(error.code().code(), "25006", "{error:?}");

    // What changes on the primary is seen in a session that has called already.
    client.execute("SELECT pg_llm_set_key('keyed', 'default', 'sk-rotated-on-the-primary')", &[]).unwrap();
    client
        .execute(
            "SELECT pg_llm_add_model('openai-here', 'later', 'sk-later', jsonb_build_object('api_endpoint', $1::text), $2)",
            &[&upstream.url(), &built("openai.wasm")],
        )
        .unwrap();
    client.batch_execute("SELECT pg_llm_remove_model('uploaded')").unwrap();
    standby.catch_up_with(&primary);
    assert_eq!(chat(&mut replica, "keyed").unwrap(), "well");
    assert_eq!(upstream.last_request().unwrap().header("authorization"), Some("Bearer sk-rotated-on-the-primary"));
    assert_eq!(chat(&mut replica, "later").unwrap(), "well");
    assert_eq!(upstream.last_request().unwrap().header("authorization"), Some("Bearer sk-later"));
    assert_eq!(chat(&mut replica, "uploaded").unwrap_err().code().code(), "42704");

    // A call on a standby is cancelled like any other.
    upstream.on("/chat/completions").reply(Reply::hang()).reply(openai::completion("well"));
    let requests = upstream.observe(|seen| seen.requests_total);
    let call = Running::start(there.superuser(), "SELECT pg_llm_chat('keyed', 'x')");
    assert!(upstream.wait_for_requests(requests + 1, DEADLINE));
    assert!(standby.cancel_backend(call.pid()));
    assert_eq!(db_error(call.finish(DEADLINE).result).code().code(), "57014");

    primary.stop_immediate();
    assert!(value::<bool>(&mut replica, "SELECT pg_promote()"));
    assert_eq!(chat(&mut replica, "keyed").unwrap(), "well");
    add_models(&mut replica, &upstream);
    all_is_well(&mut replica, &upstream);
    standby.assert_no_crash();
}

/// The key file is not replicated: a standby that is older than it has to be given it.
#[test]
fn a_standby_that_is_older_than_the_master_key_says_that_it_is_missing_and_makes_none_of_its_own() {
    let primary = Cluster::start(&settings());
    let database = primary.database();
    let standby = primary.standby();
    let upstream = upstream();
    add_models(&mut database.superuser(), &upstream);
    standby.catch_up_with(&primary);
    let there = database.on(&standby);
    let master = |cluster: &Cluster| cluster.data_directory().join("pg_llm/master.key");
    let mut replica = there.superuser();
    assert_eq!(chat(&mut replica, "uploaded").unwrap(), "mocked");
    assert!(!master(&standby).exists(), "one that differs from the primary's would open nothing");
    let error = chat(&mut replica, "keyed").unwrap_err();
    assert_eq!(error.code().code(), "55000", "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("pg_llm/master.key")), "{error:?}");
    fs::create_dir_all(master(&standby).parent().unwrap()).unwrap();
    fs::copy(master(&primary), master(&standby)).unwrap();
    for path in [master(&standby), master(&standby).parent().unwrap().to_owned()] {
        give(&standby, &path);
    }
    fs::set_permissions(master(&standby).parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
    all_is_well(&mut replica, &upstream);
}

#[test]
fn a_call_on_a_standby_that_is_in_the_way_of_recovery_is_cancelled_like_any_query() {
    let primary = Cluster::start(&settings().lines(&["max_standby_streaming_delay = 0", "hot_standby_feedback = off", "autovacuum = off"]));
    let database = primary.database();
    let hanging = Upstream::start();
    hanging.on("/chat/completions").reply(Reply::hang());
    let mut client = database.superuser();
    let add = "SELECT pg_llm_add_model('openai-compatible', 'hanging', config => jsonb_build_object('api_endpoint', $1::text, 'timeout_ms', 600000))";
    client.execute(add, &[&hanging.url()]).unwrap();
    client.batch_execute("CREATE TABLE crowded AS SELECT generate_series(1, 10000) AS i").unwrap();
    let standby = primary.standby();
    let there = database.on(&standby);
    let call = Running::start(
        there.superuser(),
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM crowded; SELECT pg_llm_chat('hanging', 'x')",
    );
    assert!(hanging.wait_for_requests(1, DEADLINE));
    client.batch_execute("DELETE FROM crowded").unwrap();
    client.batch_execute("VACUUM crowded").unwrap();
    let outcome = call.finish(DEADLINE);
    let error = db_error(outcome.result);
    assert_eq!((error.code().code(), error.message()), ("40001", "canceling statement due to conflict with recovery"));
    assert!(hanging.wait_until_closed(DEADLINE));
    standby.assert_no_crash();
}
