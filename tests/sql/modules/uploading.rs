//! Uploads that meet, and uploads that end in the middle.

use pg_llm_tests::{Backend, Cluster, DEADLINE, Running, Settings, eventually};

use super::*;
use crate::uploads::{compiler_of, slow};

const MODULES: &str = "SELECT count(*) FROM _pg_llm_catalog.modules";

#[test]
fn two_sessions_upload_the_same_module_at_once() {
    let mut library = Library::new();
    library.client.batch_execute("CREATE TABLE bytes (module bytea)").unwrap();
    let module = answering("twice");
    library.client.execute("INSERT INTO bytes VALUES ($1)", &[&module]).unwrap();
    // The same name and different ones.
    let names = ["a", "a", "b", "c", "c", "c"];
    let running: Vec<Running> = names
        .iter()
        .map(|name| Running::start(library.database.superuser(), &format!("SELECT pg_llm_add_provider('{name}', module) FROM bytes")))
        .collect();
    for upload in running {
        assert_eq!(upload.finish(DEADLINE).column(), [Some("t".to_owned())]);
    }
    assert_eq!(value::<i64>(&mut library.client, MODULES, &[]), 1);
    assert_eq!(value::<i64>(&mut library.client, "SELECT count(*) FROM pg_llm_provider_versions", &[]), 3);
    for name in ["a", "b", "c"] {
        library.client.execute("SELECT pg_llm_add_model($1, $1)", &[&name]).unwrap();
        assert_eq!(state(&mut library.client, "SELECT pg_llm_chat($1, 'x')", &[&name]), "00000");
    }
}

#[test]
fn who_waits_for_an_upload_that_is_rolled_back_has_stored_it_itself() {
    let mut library = Library::new();
    let module = answering("rolled back");
    library.client.batch_execute("CREATE TABLE bytes (module bytea)").unwrap();
    library.client.execute("INSERT INTO bytes VALUES ($1)", &[&module]).unwrap();
    let mut first = library.database.superuser();
    first.batch_execute("BEGIN").unwrap();
    upload(&mut first, "first", &module);
    let second = Running::start(library.database.superuser(), "SELECT pg_llm_add_provider('second', module) FROM bytes");
    let waits = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1";
    assert!(eventually(DEADLINE, || value::<Option<bool>>(&mut library.client, waits, &[&second.pid()]) == Some(true)));
    first.batch_execute("ROLLBACK").unwrap();
    assert_eq!(second.finish(DEADLINE).column(), [Some("t".to_owned())]);
    assert_eq!(value::<i64>(&mut library.client, MODULES, &[]), 1);
    let names: Vec<String> = value(&mut library.client, "SELECT array_agg(model_type) FROM pg_llm_provider_versions", &[]);
    assert_eq!(names, ["second"]);
    library.client.batch_execute("SELECT pg_llm_add_model('second', 'm')").unwrap();
    assert_eq!(state(&mut library.client, ASK, &[]), "00000");
}

/// Whoever uploads what another session is about to remove has it, whichever comes first.
#[test]
fn an_upload_that_meets_a_removal_has_its_module() {
    let mut library = Library::new();
    let module = answering("removed");
    library.client.batch_execute("CREATE TABLE bytes (module bytea)").unwrap();
    library.client.execute("INSERT INTO bytes VALUES ($1)", &[&module]).unwrap();
    for round in 0..3 {
        upload(&mut library.client, "first", &module);
        let mut remover = library.database.superuser();
        remover.batch_execute("BEGIN; SELECT pg_llm_remove_provider('first')").unwrap();
        let uploading = Running::start(library.database.superuser(), "SELECT pg_llm_add_provider('second', module) FROM bytes");
        let waits = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1";
        assert!(eventually(DEADLINE, || value::<Option<bool>>(&mut library.client, waits, &[&uploading.pid()]) == Some(true)));
        remover.batch_execute("COMMIT").unwrap();
        assert_eq!(uploading.finish(DEADLINE).column(), [Some("t".to_owned())], "round {round}");
        library.client.batch_execute("SELECT pg_llm_add_model('second', 'm')").unwrap();
        assert_eq!(state(&mut library.client, ASK, &[]), "00000");
        library.client.batch_execute("SELECT pg_llm_remove_model('m'), pg_llm_remove_provider('second')").unwrap();
    }
}

#[test]
fn a_backend_that_is_killed_while_its_compiler_runs_leaves_neither_rows_nor_a_compiler() {
    let cluster = Cluster::start(&Settings::for_models().lines(&["synchronous_commit = on", "restart_after_crash = on"]));
    let database = cluster.database();
    let mut client = database.superuser();
    client.batch_execute("CREATE TABLE slow (module bytea)").unwrap();
    client.execute("INSERT INTO slow VALUES ($1)", &[&slow(8_000)]).unwrap();
    let kept = upload(&mut client, "kept", &answering("kept"));
    let uploading = Running::start(database.superuser(), "SELECT pg_llm_add_provider('slow', module) FROM slow");
    let mut compiler = None;
    assert!(eventually(DEADLINE, || {
        compiler = compiler_of(uploading.backend());
        compiler.is_some()
    }));
    cluster.crash(uploading.pid());
    assert!(uploading.finish(DEADLINE).result.is_err());
    assert!(eventually(DEADLINE, || !Backend(compiler.unwrap()).exists()), "the compiler runs on");
    drop(client);
    let mut client = database.superuser();
    let names: Vec<String> = value(&mut client, "SELECT array_agg(encode(digest, 'hex')) FROM _pg_llm_catalog.modules", &[]);
    assert_eq!(names, [kept]);
    client.batch_execute("SELECT pg_llm_add_model('kept', 'm')").unwrap();
    assert_eq!(state(&mut client, ASK, &[]), "00000");
    assert!(cluster.files_in("pg_llm/pgsql_tmp_code").len() == 1, "and no torn file");
}

#[test]
fn versions_switch_and_limits_are_on_a_standby_and_in_a_dump_of_it() {
    let cluster = Cluster::start(&Settings::for_models());
    let database = cluster.database();
    let mut client = database.superuser();
    let first = upload(&mut client, "house", &answering("one"));
    let second = upload(&mut client, "house", &answering("two"));
    client.execute("SELECT pg_llm_set_module_limits($1, '{\"cpu_ms\": 900}')", &[&first]).unwrap();
    client.batch_execute("SELECT pg_llm_add_model('house', 'm')").unwrap();
    let standby = cluster.standby();
    let there = database.on(&standby);
    let mut reader = there.superuser();
    let all = "SELECT jsonb_agg(jsonb_build_array(digest, used_by, version_of, enabled, limits, uploaded_by, uploaded_at) ORDER BY digest) FROM pg_llm_modules WHERE NOT builtin";
    assert_eq!(value::<Value>(&mut reader, all, &[]), value::<Value>(&mut client, all, &[]));
    assert_eq!(state(&mut reader, ASK, &[]), "00000");
    client.execute("SELECT pg_llm_enable_module($1, false)", &[&second]).unwrap();
    standby.catch_up_with(&cluster);
    assert_eq!(state(&mut reader, ASK, &[]), "55000", "a warm session of a standby");
    assert_eq!(state(&mut reader, "SELECT pg_llm_enable_module($1, true)", &[&second]), "25006");
    client.execute("SELECT pg_llm_set_provider_version('house', $1)", &[&first]).unwrap();
    standby.catch_up_with(&cluster);
    assert_eq!(state(&mut reader, ASK, &[]), "00000");
}
