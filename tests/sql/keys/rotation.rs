//! Another master key, while everybody goes on.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Barrier};
use std::{fs, thread};

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Cluster, DEADLINE, Running, Settings, db_error, eventually};
use pg_llm_upstream::{Gate, openai};

use super::{KEY, add_model, chat, echoing, sent, words};
use crate::recovery::give;

fn rotate(client: &mut Client) -> i64 {
    client.query_one("SELECT pg_llm_rotate_master_key()", &[]).unwrap().get(0)
}

/// The ids that the keys of a database are encrypted under.
fn ids(client: &mut Client) -> Vec<String> {
    client.query_one("SELECT array_agg(DISTINCT master_key_id) FROM _pg_llm_catalog.keys", &[]).unwrap().get(0)
}

fn names(cluster: &Cluster) -> Vec<String> {
    cluster.files_in("pg_llm").iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

/// Writes a key file that the server may use.
fn put(cluster: &Cluster, name: &str, key: &[u8]) {
    let path = cluster.data_directory().join(name);
    fs::write(&path, key).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    give(cluster, &path);
}

#[test]
fn every_key_is_encrypted_anew_and_the_former_master_key_is_kept_for_the_other_databases() {
    let cluster = Cluster::start(&Settings::for_models());
    let (here, there) = (cluster.database(), cluster.database());
    let upstream = echoing();
    let (mut client, mut warm, mut elsewhere) = (here.superuser(), here.superuser(), there.superuser());
    for name in ["a", "b", "c"] {
        add_model(&mut client, name, &format!("{KEY}-{name}"), &upstream);
    }
    add_model(&mut elsewhere, "m", &format!("{KEY}-m"), &upstream);
    for client in [&mut warm, &mut elsewhere] {
        let name = if chat(client, "a").is_ok() { "a" } else { "m" };
        assert_eq!(chat(client, name).unwrap(), "well");
    }
    let former = ids(&mut client);
    assert_eq!(rotate(&mut client), 3);
    let now = ids(&mut client);
    assert!(former.len() == 1 && now.len() == 1 && former != now, "{former:?} {now:?}");
    assert_eq!(names(&cluster), ["master.key".to_owned(), format!("master.key.{}", former[0])]);
    for client in [&mut client, &mut warm, &mut here.superuser()] {
        for name in ["a", "b", "c"] {
            assert_eq!(chat(client, name).unwrap(), "well");
            assert_eq!(sent(&upstream), Some(format!("Bearer {KEY}-{name}")));
        }
    }
    // The other database still has the former one, in a session that knows it and in one that does not.
    for client in [&mut elsewhere, &mut there.superuser()] {
        assert_eq!(chat(client, "m").unwrap(), "well");
        assert_eq!(ids(client), former);
    }
    let seen: Vec<(String, bool, i64)> = {
        let rows = elsewhere.query("SELECT id, is_current, keys FROM pg_llm_master_keys ORDER BY keys", &[]).unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
    };
    assert_eq!(seen, [(now[0].clone(), true, 0), (former[0].clone(), false, 1)]);
    let again: i64 = elsewhere.query_one("SELECT pg_llm_rotate_master_key(false)", &[]).unwrap().get(0);
    assert_eq!((again, ids(&mut elsewhere), names(&cluster).len()), (1, now.clone(), 2), "without another new one");
    assert_eq!(elsewhere.query_one("SELECT pg_llm_rotate_master_key(false)", &[]).unwrap().get::<_, i64>(0), 0);
    // Nobody needs the former one any more.
    fs::remove_file(cluster.data_directory().join(format!("pg_llm/master.key.{}", former[0]))).unwrap();
    for (client, name) in [(&mut here.superuser(), "a"), (&mut there.superuser(), "m"), (&mut warm, "b")] {
        assert_eq!(chat(client, name).unwrap(), "well");
    }
    cluster.assert_no_crash();
}

#[test]
fn a_call_under_way_goes_on_with_the_key_that_it_has_and_the_next_one_has_the_new_one() {
    let cluster = Cluster::start(&Settings::for_models());
    let database = cluster.database();
    let (upstream, gate) = (echoing(), Gate::new());
    let mut client = database.superuser();
    add_model(&mut client, "m", KEY, &upstream);
    upstream.on("/chat/completions").reply(openai::completion("held back").gated(&gate)).reply(openai::completion("well"));
    let call = Running::start(database.superuser(), "SELECT pg_llm_chat('m', 'Hello')");
    assert!(upstream.wait_for_requests(1, DEADLINE));
    assert_eq!(rotate(&mut client), 1);
    client.execute("SELECT pg_llm_set_key('m', 'default', 'its-successor')", &[]).unwrap();
    gate.open();
    let mut outcome = call.finish(DEADLINE);
    assert_eq!(outcome.column(), [Some("held back".to_owned())]);
    assert_eq!(sent(&upstream), Some(format!("Bearer {KEY}")));
    assert_eq!(chat(&mut outcome.client, "m").unwrap(), "well");
    assert_eq!(sent(&upstream), Some("Bearer its-successor".to_owned()));
}

#[test]
fn rotations_at_once_and_keys_that_are_set_meanwhile_leave_every_key_readable() {
    let cluster = Cluster::start(&Settings::for_models());
    let databases = [cluster.database(), cluster.database()];
    let upstream = echoing();
    for database in &databases {
        for i in 0..4 {
            add_model(&mut database.superuser(), &format!("m{i}"), &format!("{KEY}-{i}-0"), &upstream);
        }
    }
    let start = Barrier::new(12);
    thread::scope(|scope| {
        for database in &databases {
            for _ in 0..2 {
                let (mut client, start) = (database.superuser(), &start);
                scope.spawn(move || {
                    start.wait();
                    for _ in 0..5 {
                        rotate(&mut client);
                    }
                });
            }
            for i in 0..4 {
                let (mut client, start) = (database.superuser(), &start);
                scope.spawn(move || {
                    start.wait();
                    for round in 1..=5 {
                        let name = format!("m{i}");
                        client.execute("SELECT pg_llm_set_key($1, 'default', $2)", &[&name, &format!("{KEY}-{i}-{round}")]).unwrap();
                        assert_eq!(chat(&mut client, &name).unwrap(), "well");
                    }
                });
            }
        }
    });
    for database in &databases {
        let mut client = database.superuser();
        for i in 0..4 {
            assert_eq!(chat(&mut client, &format!("m{i}")).unwrap(), "well");
            assert_eq!(sent(&upstream), Some(format!("Bearer {KEY}-{i}-5")));
        }
        let lost: i64 =
            client.query_one("SELECT count(*) FROM pg_llm_master_keys WHERE source IS NULL OR error IS NOT NULL", &[]).unwrap().get(0);
        assert_eq!(lost, 0);
        let current = "SELECT id FROM pg_llm_master_keys WHERE is_current";
        client.batch_execute("SELECT pg_llm_rotate_master_key(false)").unwrap();
        assert_eq!(ids(&mut client), [client.query_one(current, &[]).unwrap().get::<_, String>(0)]);
    }
    cluster.assert_no_crash();
}

#[test]
fn two_rotations_wait_for_each_other_and_so_does_who_sets_a_key() {
    let cluster = Cluster::start(&Settings::for_models());
    let (here, there) = (cluster.database(), cluster.database());
    let upstream = echoing();
    let mut client = here.superuser();
    add_model(&mut client, "m", KEY, &upstream);
    client.batch_execute("BEGIN").unwrap();
    rotate(&mut client);
    let waiting = [
        Running::start(here.superuser(), "SELECT pg_llm_rotate_master_key()"),
        Running::start(there.superuser(), "SELECT pg_llm_rotate_master_key()"),
        Running::start(here.superuser(), "SELECT pg_llm_set_key('m', 'other', 'another-key')"),
    ];
    let mut watcher = here.superuser();
    for call in &waiting {
        let waits = "SELECT wait_event_type IS NOT DISTINCT FROM 'Lock' FROM pg_stat_activity WHERE pid = $1";
        assert!(eventually(DEADLINE, || watcher.query_one(waits, &[&call.pid()]).unwrap().get(0)));
    }
    // Who calls does not wait, and one who waits can be cancelled.
    assert_eq!(chat(&mut watcher, "m").unwrap(), "well");
    let [first, second, third] = waiting;
    second.cancel();
    assert_eq!(db_error(second.finish(DEADLINE).result).code().code(), "57014");
    client.batch_execute("COMMIT").unwrap();
    for call in [first, third] {
        call.finish(DEADLINE).result.unwrap();
    }
    let mut fresh = here.superuser();
    assert_eq!(chat(&mut fresh, "m").unwrap(), "well");
    assert_eq!(sent(&upstream), Some(format!("Bearer {KEY}")));
    let lost: i64 =
        fresh.query_one("SELECT count(*) FROM pg_llm_master_keys WHERE source IS NULL OR error IS NOT NULL", &[]).unwrap().get(0);
    assert_eq!(lost, 0);
}

#[test]
fn a_rollback_leaves_keys_that_can_be_read() {
    let cluster = Cluster::start(&Settings::for_models());
    let database = cluster.database();
    let (upstream, mut client) = (echoing(), database.superuser());
    add_model(&mut client, "m", KEY, &upstream);
    let former = ids(&mut client);
    for (begin, end) in [("BEGIN", "ROLLBACK"), ("BEGIN; SAVEPOINT s", "ROLLBACK TO s; COMMIT"), ("BEGIN", "SELECT 1 / 0; COMMIT")] {
        client.batch_execute(begin).unwrap();
        assert_eq!(rotate(&mut client), 1);
        assert_eq!(chat(&mut client, "m").unwrap(), "well");
        let _ = client.batch_execute(end);
        client.batch_execute("ROLLBACK").unwrap();
        assert_eq!(ids(&mut client), former);
        for client in [&mut client, &mut database.superuser()] {
            assert_eq!(chat(client, "m").unwrap(), "well");
            assert_eq!(sent(&upstream), Some(format!("Bearer {KEY}")));
        }
    }
    // What is set from now on has the new one, beside what the old one has encrypted.
    client.execute("SELECT pg_llm_set_key('m', 'other', 'another-key')", &[]).unwrap();
    assert_eq!(ids(&mut client).len(), 2);
    assert_eq!(rotate(&mut client), 2);
    assert_eq!(chat(&mut database.superuser(), "m").unwrap(), "well");
}

/// Each state of the files that a crash can leave behind, and a server that is killed in the midst of rotations.
#[test]
fn a_crash_at_any_point_leaves_every_key_readable() {
    let cluster = Cluster::start(&Settings::for_models().lines(&["synchronous_commit = on", "restart_after_crash = on"]));
    let database = cluster.database();
    let (upstream, mut client) = (echoing(), database.superuser());
    add_model(&mut client, "m", KEY, &upstream);
    let file = cluster.data_directory().join("pg_llm/master.key");
    let id = ids(&mut client).remove(0);
    let works = |client: &mut Client, when: &str| {
        assert_eq!(chat(client, "m").map_err(|error| words(&error)), Ok("well".to_owned()), "{when}");
        assert_eq!(sent(&upstream), Some(format!("Bearer {KEY}")), "{when}");
    };
    // The former one has its second name.
    fs::hard_link(&file, file.with_extension(format!("key.{id}"))).unwrap();
    works(&mut database.superuser(), "kept, not replaced");
    // A new one was being written, by a process that is no more; one that lives is left alone.
    put(&cluster, "pg_llm/master.key.2147483646.new", b"half");
    put(&cluster, &format!("pg_llm/master.key.{}.new", std::process::id()), b"half");
    works(&mut database.superuser(), "half of a new one");
    assert_eq!(rotate(&mut client), 1);
    assert!(!names(&cluster).contains(&"master.key.2147483646.new".to_owned()));
    assert!(names(&cluster).contains(&format!("master.key.{}.new", std::process::id())));
    // Replaced, and nothing encrypted with it.
    let id = ids(&mut client).remove(0);
    fs::hard_link(&file, file.with_extension(format!("key.{id}"))).unwrap();
    fs::remove_file(&file).unwrap();
    put(&cluster, "pg_llm/master.key", &[9; 32]);
    works(&mut database.superuser(), "replaced, rows not changed");
    works(&mut client, "replaced, in a session that knows the former one");

    for round in 0..6_u64 {
        let loops = "DO $$ BEGIN FOR i IN 1..100000 LOOP PERFORM pg_llm_rotate_master_key(); COMMIT; END LOOP; END $$";
        let before = names(&cluster).len();
        let call = Running::start(database.superuser(), loops);
        // Somewhere in the midst of it, elsewhere each time.
        assert!(eventually(DEADLINE, || names(&cluster).len() > before));
        thread::sleep(std::time::Duration::from_millis(round * 3));
        cluster.crash(call.pid());
        assert!(call.finish(DEADLINE).result.is_err());
        let mut client = database.superuser();
        works(&mut client, &format!("killed, round {round}"));
        assert_eq!(rotate(&mut client), 1);
        works(&mut client, &format!("rotated again, round {round}"));
    }
}

#[test]
fn where_nothing_can_be_written_no_file_is_touched_and_who_may_not_does_not() {
    let cluster = Cluster::start(&Settings::for_models());
    let database = cluster.database();
    let (upstream, mut client) = (echoing(), database.superuser());
    add_model(&mut client, "m", KEY, &upstream);
    let before = fs::read(cluster.data_directory().join("pg_llm/master.key")).unwrap();
    for (begin, state) in
        [("BEGIN READ ONLY", "25006"), ("BEGIN ISOLATION LEVEL REPEATABLE READ", "55000"), ("BEGIN ISOLATION LEVEL SERIALIZABLE", "55000")]
    {
        client.batch_execute(begin).unwrap();
        let error = db_error(client.query("SELECT pg_llm_rotate_master_key()", &[]));
        assert_eq!(error.code().code(), state, "{begin}: {error:?}");
        client.batch_execute("ROLLBACK").unwrap();
    }
    let role = database.create_role();
    let mut theirs = database.connect_as(&role);
    for sql in ["SELECT pg_llm_rotate_master_key()", "TABLE pg_llm_master_keys", "SELECT _pg_llm_catalog.master_keys()"] {
        assert_eq!(db_error(theirs.query(sql, &[])).code().code(), "42501", "{sql}");
    }
    assert_eq!(fs::read(cluster.data_directory().join("pg_llm/master.key")).unwrap(), before);
    assert_eq!(names(&cluster), ["master.key"]);
    assert_eq!(client.query_one("SELECT pg_llm_rotate_master_key(NULL)", &[]).unwrap().get::<_, i64>(0), 1, "NULL is the default");
}

#[test]
fn a_key_that_nobody_can_open_any_more_is_left_with_a_warning_and_is_in_nobodys_way() {
    let cluster = Cluster::start(&Settings::for_models());
    let database = cluster.database();
    let (upstream, mut client) = (echoing(), database.superuser());
    add_model(&mut client, "m", KEY, &upstream);
    add_model(&mut client, "lost", KEY, &upstream);
    client.batch_execute("UPDATE _pg_llm_catalog.keys SET master_key_id = '0123456789abcdef' WHERE instance_name = 'lost'").unwrap();
    let printed = database.psql(&["-c", "SELECT pg_llm_rotate_master_key()"]);
    assert!(printed.success && printed.errors.contains("model \"lost\" is left as it is") && !printed.errors.contains(KEY), "{printed:?}");
    assert_eq!(chat(&mut client, "m").unwrap(), "well");
    let error = chat(&mut client, "lost").unwrap_err();
    assert!(error.code().code() == "55000" && words(&error).contains("another master key"), "{error:?}");
    let needed = "SELECT keys FROM pg_llm_master_keys WHERE source IS NULL AND id = '0123456789abcdef'";
    assert_eq!(client.query_one(needed, &[]).unwrap().get::<_, i64>(0), 1);
}

/// The way that the documentation names: the next key is put on every server first.
#[test]
fn a_standby_that_has_the_next_key_answers_all_the_time() {
    let primary = Cluster::start(&Settings::for_models().line("synchronous_commit = on"));
    let database = primary.database();
    let (upstream, mut client) = (echoing(), database.superuser());
    add_model(&mut client, "m", KEY, &upstream);
    let standby = primary.standby();
    let there = database.on(&standby);
    let mut warm = there.superuser();
    assert_eq!(chat(&mut warm, "m").unwrap(), "well");
    for cluster in [&primary, &standby] {
        put(cluster, "pg_llm/master.key.next", &[77; 32]);
    }
    assert_eq!(rotate(&mut client), 1);
    assert!(!names(&primary).contains(&"master.key.next".to_owned()), "it is the one in use");
    assert_eq!(fs::read(primary.data_directory().join("pg_llm/master.key")).unwrap(), [77; 32]);
    standby.catch_up_with(&primary);
    for replica in [&mut warm, &mut there.superuser()] {
        assert_eq!(chat(replica, "m").unwrap(), "well");
        assert_eq!(sent(&upstream), Some(format!("Bearer {KEY}")));
    }
    assert_eq!(db_error(warm.query("SELECT pg_llm_rotate_master_key()", &[])).code().code(), "25006");

    // Without: it says what is missing, and works as soon as it has it.
    assert_eq!(rotate(&mut client), 1);
    standby.catch_up_with(&primary);
    let error = chat(&mut warm, "m").unwrap_err();
    assert!(error.code().code() == "55000" && error.hint().is_some_and(|hint| hint.contains("pg_llm/master.key")), "{error:?}");
    put(&standby, "pg_llm/master.key.from-the-primary", &fs::read(primary.data_directory().join("pg_llm/master.key")).unwrap());
    assert_eq!(chat(&mut warm, "m").unwrap(), "well");
    // It takes over.
    primary.stop_immediate();
    warm.batch_execute("SELECT pg_promote()").unwrap();
    assert_eq!(chat(&mut warm, "m").unwrap(), "well");
    assert_eq!(rotate(&mut warm), 1);
    assert_eq!(chat(&mut there.superuser(), "m").unwrap(), "well");
    standby.assert_no_crash();
}

#[test]
fn a_key_file_of_the_administrators_is_changed_without_a_pause() {
    let cluster = Arc::new(Cluster::start(&Settings::for_models()));
    let database = cluster.database();
    let (upstream, mut client, mut warm) = (echoing(), database.superuser(), database.superuser());
    let file = |name: &str| cluster.data_directory().join(name).display().to_string();
    // From the data directory's own key to a file, to another file.
    add_model(&mut client, "m", KEY, &upstream);
    assert_eq!(chat(&mut warm, "m").unwrap(), "well");
    put(&cluster, "one.key", b"the first of the administrator's keys");
    put(&cluster, "two.key", b"the second of the administrator's keys");
    let reload = |line: String| {
        cluster.set(&line);
        let (name, value) = line.split_once(" = ").unwrap();
        let mut fresh = database.superuser();
        fresh.batch_execute("LOAD 'pg_llm'").unwrap();
        let now: String = fresh.query_one(&format!("SELECT current_setting('{name}')"), &[]).unwrap().get(0);
        assert_eq!(format!("'{now}'"), value);
    };
    reload(format!("pg_llm.master_key_file = '{}'", file("one.key")));
    for client in [&mut warm, &mut database.superuser()] {
        assert_eq!(chat(client, "m").unwrap(), "well", "the data directory's key is still found");
    }
    assert_eq!(rotate(&mut database.superuser()), 1);
    assert_eq!(names(&cluster), ["master.key"], "a file of the administrator's is not replaced");
    fs::remove_file(cluster.data_directory().join("pg_llm/master.key")).unwrap();
    for client in [&mut warm, &mut database.superuser()] {
        assert_eq!(chat(client, "m").unwrap(), "well");
    }
    reload(format!("pg_llm.former_master_key_files = '{}, {}'", file("none.key"), file("one.key")));
    reload(format!("pg_llm.master_key_file = '{}'", file("two.key")));
    for client in [&mut warm, &mut database.superuser()] {
        assert_eq!(chat(client, "m").unwrap(), "well");
    }
    assert_eq!(rotate(&mut database.superuser()), 1);
    reload("pg_llm.former_master_key_files = ''".to_owned());
    for client in [&mut warm, &mut database.superuser()] {
        assert_eq!(chat(client, "m").unwrap(), "well");
        assert_eq!(sent(&upstream), Some(format!("Bearer {KEY}")));
    }
    // Without the former file it would have been lost, and says so.
    reload(format!("pg_llm.master_key_file = '{}'", file("one.key")));
    let error = chat(&mut database.superuser(), "m").unwrap_err();
    assert!(error.code().code() == "55000" && error.hint().is_some_and(|hint| hint.contains("former_master_key_files")), "{error:?}");
}
