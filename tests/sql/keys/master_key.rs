//! The key of the keys: its file, its settings.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};
use std::{fs, thread};

use pg_llm_tests::{Cluster, Settings, db_error};

use super::{KEY, add_model, chat, echoing, sent, words};

const MASTER: &str = "Hg4Tf6Rd2Ws8Ea1Qz9Xc";

fn master_key_file(cluster: &Cluster) -> PathBuf {
    cluster.data_directory().join("pg_llm/master.key")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn the_master_key_is_made_on_first_use_for_the_servers_user_alone_and_backends_that_race_agree() {
    let cluster = Cluster::start(&Settings::for_models());
    let database = cluster.database();
    let upstream = Arc::new(echoing());
    let mut client = database.superuser();
    client
        .batch_execute("LOAD 'pg_llm'; SELECT pg_llm_add_model('mock', 'keyless'); SELECT pg_llm_chat('keyless', 'x'); TABLE pg_llm_models")
        .unwrap();
    assert!(cluster.files_in("pg_llm").is_empty(), "nothing needed it yet");

    let start = Arc::new(Barrier::new(12));
    let racers = (0..12).map(|i| {
        let (mut client, start, upstream) = (database.superuser(), Arc::clone(&start), Arc::clone(&upstream));
        thread::spawn(move || {
            start.wait();
            add_model(&mut client, &format!("m{i}"), &format!("{KEY}-{i}"), &upstream);
        })
    });
    racers.collect::<Vec<_>>().into_iter().for_each(|racer| racer.join().unwrap());

    let file = master_key_file(&cluster);
    assert_eq!(cluster.files_in("pg_llm"), std::slice::from_ref(&file), "and no other file stays behind");
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    assert_eq!(fs::metadata(&file).unwrap().len(), 32);
    assert_eq!(fs::metadata(&file).unwrap().uid(), fs::metadata(cluster.data_directory()).unwrap().uid());
    let ids: i64 = client.query_one("SELECT count(DISTINCT master_key_id) FROM _pg_llm_catalog.keys", &[]).unwrap().get(0);
    assert_eq!(ids, 1);

    let before = fs::read(&file).unwrap();
    cluster.restart();
    let mut client = database.superuser();
    for i in 0..12 {
        assert_eq!(chat(&mut client, &format!("m{i}")).unwrap(), "well");
        assert_eq!(sent(&upstream), Some(format!("Bearer {KEY}-{i}")));
    }
    assert_eq!(fs::read(&file).unwrap(), before);
}

/// One cluster, its key file in every bad state, each seen by a new backend.
#[test]
fn a_master_key_file_that_is_not_sound_is_refused_with_a_hint() {
    let cluster = Cluster::start(&Settings::for_models());
    let database = cluster.database();
    let upstream = echoing();
    add_model(&mut database.superuser(), "m", KEY, &upstream);
    let mut old = database.superuser();
    assert_eq!(chat(&mut old, "m").unwrap(), "well");
    let (file, sound) = (master_key_file(&cluster), fs::read(master_key_file(&cluster)).unwrap());
    let owner = fs::metadata(&file).unwrap();
    let put = |bytes: &[u8], mode: u32| {
        let _ = fs::remove_file(&file);
        let _ = fs::remove_dir(&file);
        fs::write(&file, bytes).unwrap();
        let _ = std::os::unix::fs::chown(&file, Some(owner.uid()), Some(owner.gid()));
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    };
    let refused = |expected: &str| {
        for sql in [
            "SELECT pg_llm_chat('m', 'x')",
            "SELECT pg_llm_set_key('m', 'default', 'another-key')",
            "SELECT pg_llm_add_model('mock', 'other', 'some-key')",
        ] {
            let error = db_error(database.superuser().query(sql, &[]));
            assert!(matches!(error.code().code(), "55000" | "58030"), "{expected}: {error:?}");
            assert!(error.message().contains("master") && words(&error).contains(expected), "{expected}: {error:?}");
            assert!(error.code().code() == "58030" || error.hint().is_some(), "{expected}: {error:?}");
            assert!(!words(&error).contains(KEY));
        }
        assert_eq!(upstream.observe(|seen| seen.requests_total), 1, "{expected}");
    };
    for mode in [0o644, 0o640, 0o604, 0o660, 0o777] {
        put(&sound, mode);
        refused("chmod 0600");
    }
    put(&sound[..15], 0o600);
    refused("at least 16");
    put(b"", 0o600);
    refused("at least 16");
    put(&[7; 4097], 0o600);
    refused("too large");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    refused("key file");
    fs::remove_dir(&file).unwrap();
    if rustix::process::geteuid().is_root() {
        put(&sound, 0o600);
        std::os::unix::fs::chown(&file, Some(0), Some(0)).unwrap();
        refused("key file");
    }

    // Missing: what is stored cannot be opened; a new key would hide that.
    fs::remove_file(&file).unwrap();
    let error = chat(&mut database.superuser(), "m").unwrap_err();
    assert_eq!(error.code().code(), "55000");
    assert!(
        words(&error).contains("master key file is missing") && error.hint().is_some_and(|hint| hint.contains("pg_llm_set_key")),
        "{error:?}"
    );
    assert!(!file.exists(), "a call makes none");

    // Another: says so, and the keys can be given again.
    put(&[42; 32], 0o600);
    let mut client = database.superuser();
    let error = chat(&mut client, "m").unwrap_err();
    assert_eq!(error.code().code(), "55000");
    assert!(words(&error).contains("another master key") && error.hint().is_some_and(|hint| hint.contains("pg_llm_set_key")), "{error:?}");
    client.execute("SELECT pg_llm_set_key('m', 'default', 'given-again-key')", &[]).unwrap();
    assert_eq!(chat(&mut client, "m").unwrap(), "well");
    assert_eq!(sent(&upstream), Some("Bearer given-again-key".into()));
    // A backend that has the old one in memory finds the new one.
    assert_eq!(chat(&mut old, "m").unwrap(), "well");

    // Its folder.
    let folder = file.parent().unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(&file).unwrap();
    let error = db_error(database.superuser().query("SELECT pg_llm_set_key('m', 'default', 'another-key')", &[]));
    assert!(error.code().code() == "58030" && words(&error).contains("0700"), "{error:?}");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    cluster.assert_no_crash();
}

#[test]
fn a_master_key_file_of_the_administrators_is_used_and_never_made() {
    let cluster = Cluster::start(&Settings::for_models().line("pg_llm.master_key_file = '{folder}/data/elsewhere.key'"));
    let database = cluster.database();
    let (upstream, mut client) = (echoing(), database.superuser());
    let add = "SELECT pg_llm_add_model('openai-compatible', 'm', 'some-key', jsonb_build_object('api_endpoint', $1::text))";
    let error = db_error(client.query(add, &[&upstream.url()]));
    assert!(error.code().code() == "55000" && words(&error).contains("does not exist") && error.hint().is_some(), "{error:?}");
    let file = cluster.data_directory().join("elsewhere.key");
    assert!(!file.exists());
    fs::write(&file, MASTER).unwrap();
    let owner = fs::metadata(cluster.data_directory()).unwrap();
    let _ = std::os::unix::fs::chown(&file, Some(owner.uid()), Some(owner.gid()));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    add_model(&mut client, "m", KEY, &upstream);
    assert_eq!(chat(&mut client, "m").unwrap(), "well");
    assert_eq!(sent(&upstream), Some(format!("Bearer {KEY}")));
    assert!(!master_key_file(&cluster).exists());
}

#[test]
fn the_master_key_setting_is_honoured_and_never_shown() {
    let settings = Settings::for_models().line(&format!("pg_llm.master_key = '{MASTER}'")).line("shared_preload_libraries = 'pg_llm'");
    let cluster = Cluster::start(&settings);
    let database = cluster.database();
    let (upstream, mut client) = (echoing(), database.superuser());
    add_model(&mut client, "m", KEY, &upstream);
    assert_eq!(chat(&mut client, "m").unwrap(), "well");
    assert!(!master_key_file(&cluster).exists());

    let (role, reader) = (database.create_role(), database.create_role());
    client.batch_execute(&format!("GRANT pg_read_all_settings, pg_monitor TO {reader}")).unwrap();
    for (role, may_look) in [("postgres", true), (reader.as_str(), true), (role.as_str(), false)] {
        let mut fresh = database.connect_as(role);
        for sql in
            ["SHOW pg_llm.master_key", "SELECT current_setting('pg_llm.master_key')", "SELECT current_setting('pg_llm.master_key', true)"]
        {
            match fresh.simple_query(sql) {
                Ok(rows) => assert!(
                    may_look && format!("{rows:?}").contains("********") && !format!("{rows:?}").contains(MASTER),
                    "{role}: {rows:?}"
                ),
                Err(error) => assert!(!may_look && db_error::<()>(Err(error)).code().code() == "42501", "{role}: {sql}"),
            }
        }
        for sql in [
            "SHOW ALL",
            "SELECT * FROM pg_settings",
            "SELECT * FROM pg_db_role_setting",
            "EXPLAIN (SETTINGS, VERBOSE) SELECT pg_llm_chat('m', 'x')",
        ] {
            let rows = fresh.simple_query(sql).unwrap();
            assert!(!format!("{rows:?}").contains(MASTER), "{role}: {sql}");
        }
        for sql in ["SELECT * FROM pg_file_settings", "SELECT * FROM pg_show_all_file_settings()", "SELECT pg_read_file('postgresql.conf')"]
        {
            assert!(role == "postgres" || fresh.simple_query(sql).is_err(), "{role}: {sql}");
        }
    }
    client.batch_execute("SET pg_llm.master_key = 'another-master-key'").unwrap();
    let error = chat(&mut client, "m").unwrap_err();
    assert!(error.code().code() == "55000" && words(&error).contains("another master key"), "{error:?}");
    client.batch_execute("RESET pg_llm.master_key").unwrap();
    assert_eq!(chat(&mut client, "m").unwrap(), "well");
    client.batch_execute("SET pg_llm.master_key = 'fifteen-bytes-x'").unwrap();
    let error = chat(&mut client, "m").unwrap_err();
    assert!(error.code().code() == "55000" && words(&error).contains("at least 16") && error.hint().is_some(), "{error:?}");
    assert!(!words(&error).contains("fifteen"));
}

/// What stands in `postgresql.conf` under a name of ours is a placeholder until the library is loaded, and a placeholder is shown to everybody.
#[test]
fn a_master_key_that_every_role_can_read_is_refused() {
    let cluster = Cluster::start(&Settings::for_models().line(&format!("pg_llm.master_key = '{MASTER}'")));
    let database = cluster.database();
    let shown: String = database.connect_as(&database.create_role()).query_one("SHOW pg_llm.master_key", &[]).unwrap().get(0);
    assert_eq!(shown, MASTER, "Postgres hides it: then this need not be refused");
    let mut client = database.superuser();
    for _ in 0..2 {
        let error = db_error(client.query("SELECT pg_llm_add_model('mock', 'm', 'some-key')", &[]));
        assert!(error.code().code() == "55000" && error.hint().is_some_and(|hint| hint.contains("shared_preload_libraries")), "{error:?}");
        assert!(!words(&error).contains(MASTER));
    }
    client.batch_execute("SET pg_llm.master_key = 'one of this session alone'; SELECT pg_llm_add_model('mock', 'm', 'some-key')").unwrap();
    assert_eq!(chat(&mut client, "m").map_err(|error| words(&error)).map(|_| ()), Ok(()));
    cluster.set("shared_preload_libraries = 'pg_llm'");
    cluster.restart();
    database.superuser().batch_execute("SELECT pg_llm_set_key('m', 'default', 'some-key'); SELECT pg_llm_chat('m', 'x')").unwrap();
}
