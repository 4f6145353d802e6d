//! `pg_llm.master_key_command`: what it prints is the master key; it gets nothing, leaves nothing and stops nobody.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pg_llm_tests::{Cluster, DEADLINE, Database, Running, Settings, db_error, eventually};

use super::{KEY, add_model, chat, echoing, sent, words};

const MASTER: &str = "Yt6Gv3Bn8Mk2Lp5Qw9Ze";

/// A cluster whose master key a script prints.
fn cluster() -> Cluster {
    Cluster::start(
        &Settings::for_models().line("pg_llm.master_key_command = '{folder}/key \"an argument\" $(touch expanded) ; touch more'"),
    )
}

fn script(cluster: &Cluster, text: &str) -> PathBuf {
    let path = cluster.lend("key.new", format!("#!/bin/sh\n{text}\n").as_bytes());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    // Another file: one that runs cannot be written.
    fs::rename(&path, path.with_file_name("key")).unwrap();
    path.with_file_name("key")
}

fn printing() -> String {
    format!("echo run >> runs; echo {MASTER}")
}

fn runs(cluster: &Cluster) -> usize {
    fs::read_to_string(cluster.data_directory().join("runs")).map_or(0, |text| text.lines().count())
}

/// The processes that run this program.
fn processes(program: &Path) -> Vec<i32> {
    let is_it = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(program.to_str().unwrap())
    };
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_it).collect()
}

fn refused(database: &Database<'_>, expected: &str) {
    for sql in ["SELECT pg_llm_chat('m', 'x')", "SELECT pg_llm_set_key('m', 'default', 'another-key')"] {
        let error = db_error(database.superuser().query(sql, &[]));
        assert!(error.code().code() == "55000" && words(&error).contains(expected), "{expected}: {error:?}");
        assert!(!words(&error).contains(MASTER) && !words(&error).contains(KEY), "{error:?}");
    }
}

#[test]
fn what_the_command_prints_is_the_master_key_and_a_session_runs_it_once() {
    let cluster = cluster();
    let database = cluster.database();
    script(&cluster, &printing());
    let (upstream, mut client) = (echoing(), database.superuser());
    add_model(&mut client, "m", KEY, &upstream);
    assert_eq!(runs(&cluster), 1);
    for _ in 0..5 {
        assert_eq!(chat(&mut client, "m").unwrap(), "well");
    }
    assert_eq!(runs(&cluster), 1, "who has set a key knows it");
    let mut fresh = database.superuser();
    for _ in 0..5 {
        assert_eq!(chat(&mut fresh, "m").unwrap(), "well");
        assert_eq!(sent(&upstream), Some(format!("Bearer {KEY}")));
    }
    assert_eq!(runs(&cluster), 2);
    assert!(cluster.files_in("pg_llm").is_empty(), "no key is on this disk");

    // Another key behind the same command: rows say which they need, and a session that does not have it asks again.
    let former = cluster.data_directory().join("former.key");
    fs::write(&former, MASTER).unwrap();
    fs::set_permissions(&former, fs::Permissions::from_mode(0o600)).unwrap();
    crate::recovery::give(&cluster, &former);
    cluster.set(&format!("pg_llm.former_master_key_files = '{}'", former.display()));
    script(&cluster, &format!("echo another-{MASTER}"));
    let count: i64 = database.superuser().query_one("SELECT pg_llm_rotate_master_key()", &[]).unwrap().get(0);
    assert_eq!(count, 1);
    for client in [&mut fresh, &mut client, &mut database.superuser()] {
        assert_eq!(chat(client, "m").unwrap(), "well");
    }
    cluster.assert_no_crash();
}

#[test]
fn the_command_gets_no_environment_no_input_no_descriptor_and_no_shell() {
    let cluster = cluster();
    let database = cluster.database();
    script(
        &cluster,
        &format!(
            "for i in \"$@\"; do echo \"<$i>\"; done > arguments; cat /proc/$$/environ > environment; cat > input
             ls /proc/self/fd > descriptors
             while read -r line; do case $line in Sig[BI]*) echo \"$line\" ;; esac; done < /proc/$$/status > signals; echo {MASTER}"
        ),
    );
    add_model(&mut database.superuser(), "m", KEY, &echoing());
    let seen = |name: &str| fs::read_to_string(cluster.data_directory().join(name)).unwrap_or_else(|_| panic!("no {name}"));
    assert_eq!(seen("arguments"), "<an argument>\n<$(touch>\n<expanded)>\n<;>\n<touch>\n<more>\n");
    assert_eq!(seen("environment"), "");
    assert_eq!(seen("input"), "");
    // Those of ls, which has inherited what the script has: the three, and the folder that it lists.
    assert_eq!(seen("descriptors"), "0\n1\n2\n3\n");
    // Read by the shell itself: while it waits for another program it may block them all.
    assert_eq!(seen("signals").lines().count(), 2);
    assert!(seen("signals").lines().all(|line| line.ends_with("0000000000000000")), "{}", seen("signals"));
    for name in ["expanded", "expanded)", "more"] {
        assert!(!cluster.data_directory().join(name).exists(), "{name}");
    }
}

#[test]
fn a_command_that_hangs_ends_with_the_statement_and_leaves_no_process() {
    let cluster = cluster();
    let database = cluster.database();
    script(&cluster, &printing());
    add_model(&mut database.superuser(), "m", KEY, &echoing());
    // A child of its own, and deaf to what is polite.
    let program = script(&cluster, "trap '' TERM INT HUP; /bin/sh -c 'trap \"\" TERM INT HUP; while :; do sleep 1; done' \"$0\" & wait");
    for end in ["cancel", "terminate", "statement_timeout"] {
        let sql = "SELECT pg_llm_chat('m', 'x')";
        let call = Running::start(
            database.superuser(),
            &if end == "statement_timeout" { format!("SET statement_timeout = 300; {sql}") } else { sql.into() },
        );
        let (backend, pid) = (call.backend(), call.pid());
        if end != "statement_timeout" {
            assert!(eventually(DEADLINE, || processes(&program).len() >= 2));
        }
        match end {
            "cancel" => call.cancel(),
            "terminate" => assert!(cluster.terminate_backend(pid)),
            _ => {}
        }
        let outcome = call.finish(DEADLINE);
        let error = outcome.result.unwrap_err();
        if let Some(error) = error.as_db_error() {
            assert!(matches!(error.code().code(), "57014" | "57P01"), "{end}: {error:?}");
        }
        // What was started before the kill reached it is found by its file; a zombie has no command line.
        assert!(eventually(DEADLINE, || processes(&program).is_empty()), "{end}");
        if end != "terminate" {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            assert_eq!(children.trim(), "", "{end}: a zombie");
            assert!(backend.exists());
        }
    }
    cluster.assert_no_crash();
}

#[test]
fn a_command_that_fails_says_so_without_its_words_which_are_in_the_log() {
    let cluster = cluster();
    let database = cluster.database();
    script(&cluster, &printing());
    add_model(&mut database.superuser(), "m", KEY, &echoing());
    script(&cluster, &format!("echo {MASTER}; printf 'no\\nLOG: token expired' >&2; exit 3"));
    refused(&database, "exit status: 3");
    assert!(cluster.log().contains("pg_llm.master_key_command: no LOG: token expired"));
    let role = database.create_role();
    let shown = format!("{:?}", database.connect_as(&role).query("SELECT detail, hint FROM pg_llm_doctor()", &[]).unwrap());
    assert!(!shown.contains("token expired") && !shown.contains("exit status"), "{shown}");
    script(&cluster, "kill -9 $$");
    refused(&database, "signal: 9");
    script(&cluster, "echo short");
    refused(&database, "at least 16");
    script(&cluster, "echo; echo");
    refused(&database, "at least 16");
    script(&cluster, "head -c 5000 /dev/zero");
    refused(&database, "4096");
    fs::remove_file(cluster.folder().join("key")).unwrap();
    refused(&database, "could not be started");
    for (line, expected) in [("key", "absolute path"), ("/bin/echo ''a quotation", "quotation mark"), ("''/''", "could not be started")] {
        cluster.set(&format!("pg_llm.master_key_command = '{line}'"));
        refused(&database, expected);
    }
    assert!(!cluster.log().contains(MASTER));
    cluster.assert_no_crash();
}

#[test]
fn where_master_keys_are_is_the_servers_setting_and_no_sessions() {
    let cluster = Cluster::start(&Settings::for_models());
    let database = cluster.database();
    let role = database.create_role();
    for setting in ["master_key_command", "master_key_file", "former_master_key_files"] {
        for (user, states) in [("postgres", ["55P02"; 2]), (&role, ["55P02", "42501"])] {
            let mut client = database.connect_as(user);
            client.batch_execute("SELECT pg_llm_chat('none', NULL)").unwrap();
            for sql in [
                format!("SET pg_llm.{setting} = '/bin/true'"),
                format!("ALTER DATABASE {} SET pg_llm.{setting} = '/bin/true'", database.name()),
                format!("SELECT set_config('pg_llm.{setting}', '/bin/true', true)"),
            ] {
                let error = db_error(client.simple_query(&sql));
                assert!(states.contains(&error.code().code()), "{user}: {sql}: {error:?}");
            }
        }
        let mut theirs = database.connect_as(&role);
        theirs.batch_execute("SELECT pg_llm_chat('none', NULL)").unwrap();
        assert_eq!(db_error(theirs.simple_query(&format!("SHOW pg_llm.{setting}"))).code().code(), "42501");
    }
}
