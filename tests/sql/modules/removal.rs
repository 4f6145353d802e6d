//! A module goes when nobody needs it, with its code, and not before.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use pg_llm_tests::{Cluster, Settings};
use serde_json::json;

use super::*;

const REMOVE: &str = "SELECT pg_llm_remove_module($1)";

fn code_files(cluster: &Cluster) -> Vec<PathBuf> {
    cluster.files_in("pg_llm/pgsql_tmp_code")
}

#[test]
fn a_module_in_force_is_not_removed_and_an_earlier_version_is() {
    let mut library = Library::new();
    let (_, mut owner) = library.uploader();
    let (_, mut other) = library.uploader();
    let first = upload(&mut owner, "house", &trapping("one"));
    let second = upload(&mut owner, "house", &trapping("two"));
    let error = refused(&mut owner, REMOVE, &[&second]);
    assert!(error.code().code() == "2BP01" && error.detail().unwrap().contains("\"house\""), "{error:?}");
    assert_eq!(state(&mut other, REMOVE, &[&first]), "42501");
    assert!(value::<bool>(&mut owner, REMOVE, &[&first]));
    assert!(!value::<bool>(&mut owner, REMOVE, &[&first]), "it is gone");
    assert_eq!(state(&mut owner, "SELECT pg_llm_set_provider_version('house', $1)", &[&first]), "42704");
    let left: Value = value(&mut owner, "SELECT jsonb_agg(digest) FROM pg_llm_provider_versions", &[]);
    assert_eq!(left, json!([second]));
    for (digest, expected) in [(Some("x"), "22023"), (None, "22023")] {
        assert_eq!(state(&mut owner, REMOVE, &[&digest]), expected);
    }
    let mock: String = value(&mut owner, "SELECT digest FROM pg_llm_providers WHERE model_type = 'mock'", &[]);
    assert_eq!(state(&mut library.client, REMOVE, &[&mock]), "42501");
}

#[test]
fn a_module_of_several_names_stays_until_the_last_goes() {
    let mut library = Library::new();
    let client = &mut library.client;
    let digest = upload(client, "one", &trapping("shared"));
    upload(client, "other", &trapping("shared"));
    upload(client, "other", &trapping("newer"));
    let bytes = "SELECT count(*) FROM _pg_llm_catalog.modules WHERE digest = decode($1, 'hex')";
    assert!(value::<bool>(client, "SELECT pg_llm_remove_provider('one')", &[]));
    assert_eq!(value::<i64>(client, bytes, &[&digest]), 1, "it is a version of the other");
    assert!(value::<bool>(client, "SELECT pg_llm_set_provider_version('other', $1)", &[&digest]));
    assert!(value::<bool>(client, "SELECT pg_llm_remove_provider('other')", &[]));
    assert_eq!(value::<i64>(client, "SELECT count(*) FROM _pg_llm_catalog.modules", &[]), 0);
    assert_eq!(value::<i64>(client, "SELECT count(*) FROM _pg_llm_catalog.provider_versions", &[]), 0);
}

#[test]
fn the_code_of_a_removed_module_goes_when_the_removal_commits() {
    let cluster = Cluster::start(&Settings::for_models());
    let database = cluster.database();
    let mut client = database.superuser();
    let first = upload(&mut client, "house", &trapping("one"));
    upload(&mut client, "house", &trapping("two"));
    assert_eq!(code_files(&cluster).len(), 2);
    client.batch_execute("BEGIN").unwrap();
    assert!(value::<bool>(&mut client, REMOVE, &[&first]));
    client.batch_execute("ROLLBACK").unwrap();
    assert_eq!(code_files(&cluster).len(), 2, "rolled back");
    client.batch_execute("BEGIN; SAVEPOINT s").unwrap();
    assert!(value::<bool>(&mut client, REMOVE, &[&first]));
    client.batch_execute("ROLLBACK TO s; COMMIT").unwrap();
    assert_eq!(code_files(&cluster).len(), 2, "undone before the commit");
    client.batch_execute("BEGIN; SAVEPOINT s").unwrap();
    assert!(value::<bool>(&mut client, REMOVE, &[&first]));
    client.batch_execute("RELEASE s").unwrap();
    assert_eq!(code_files(&cluster).len(), 2, "not committed");
    client.batch_execute("COMMIT").unwrap();
    assert_eq!(code_files(&cluster).len(), 1);
    client.batch_execute("SELECT pg_llm_remove_provider('house')").unwrap();
    assert!(code_files(&cluster).is_empty());
}

/// Another database may have the same module: it is compiled again where it is needed.
#[test]
fn a_module_that_another_database_removed_is_compiled_again() {
    let cluster = Cluster::start(&Settings::for_models());
    let (one, other) = (cluster.database(), cluster.database());
    let mut client = one.superuser();
    for database in [&one, &other] {
        let mut client = database.superuser();
        upload(&mut client, "house", &answering("both"));
        client.batch_execute("SELECT pg_llm_add_model('house', 'm')").unwrap();
    }
    client.batch_execute("SELECT pg_llm_remove_model('m'), pg_llm_remove_provider('house')").unwrap();
    assert!(code_files(&cluster).is_empty());
    assert_eq!(state(&mut other.superuser(), ASK, &[]), "00000");
    assert_eq!(code_files(&cluster).len(), 1);
    cluster.assert_no_crash();
}

#[test]
fn code_that_nobody_has_used_for_long_is_swept_out_and_what_is_used_is_not() {
    let cluster = Cluster::start(&Settings::for_models());
    let database = cluster.database();
    let mut client = database.superuser();
    upload(&mut client, "used", &answering("used"));
    client.batch_execute("SELECT pg_llm_add_model('used', 'm')").unwrap();
    let used = code_files(&cluster).remove(0);
    upload(&mut client, "unused", &trapping("unused"));
    let unused = code_files(&cluster).into_iter().find(|file| *file != used).unwrap();
    let folder = used.parent().unwrap();
    let foreign = folder.join(format!("{}-another-engine.cwasm", "0".repeat(64)));
    let torn = folder.join(".1-1.tmp");
    let notes = folder.join("README");
    for file in [&foreign, &torn, &notes] {
        fs::write(file, "x").unwrap();
    }
    let old = SystemTime::now() - Duration::from_hours(24 * 40);
    for file in [&used, &unused, &foreign, &torn, &notes] {
        fs::File::options().append(true).open(file).unwrap().set_modified(old).unwrap();
    }
    // A session that loads it says so to those who sweep.
    assert_eq!(state(&mut database.superuser(), ASK, &[]), "00000");
    upload(&mut client, "third", &trapping("third"));
    let left = code_files(&cluster);
    assert!(left.contains(&used) && left.contains(&notes), "{left:?}");
    assert!(![&unused, &foreign, &torn].iter().any(|gone| left.contains(gone)), "{left:?}");
    // It is at worst made again.
    client.batch_execute("SELECT pg_llm_add_model('unused', 'n')").unwrap();
    assert_eq!(state(&mut client, "SELECT pg_llm_chat('n', 'x')", &[]), "38001");
    cluster.assert_no_crash();
}
