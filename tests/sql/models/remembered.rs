//! A session remembers the models that it has called. Whatever changes, however it is changed, the next call knows.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Asked, Cluster, DEADLINE, Database, Installation, Settings, built, db_error};
use pg_llm_upstream::{Gate, openai};

const ASK: &str = "SELECT pg_llm_chat('m', 'Hello')";

fn mock(word: &str) -> String {
    format!("SELECT pg_llm_add_model('mock', 'm', NULL, '{{\"mock_response\": \"{word}\"}}')")
}

/// A superuser's own hand on the table.
fn by_hand(word: &str) -> String {
    format!("UPDATE _pg_llm_catalog.models SET config = '{{\"mock_response\": \"{word}\"}}' WHERE instance_name = 'm'")
}

/// The answer, else the SQLSTATE.
fn ask(client: &mut Client) -> String {
    match client.query_one(ASK, &[]) {
        Ok(row) => row.get(0),
        Err(error) => db_error::<()>(Err(error)).code().code().to_owned(),
    }
}

/// The model `m`, which says `one`; somebody who changes it, and somebody who has called it already.
fn changer_and_caller(database: &Database<'_>) -> (Client, Client) {
    let (mut changer, mut caller) = (database.superuser(), database.superuser());
    changer.batch_execute(&mock("one")).unwrap();
    assert_eq!([ask(&mut caller), ask(&mut caller)], ["one", "one"]);
    (changer, caller)
}

fn force_parallel() -> &'static str {
    if Installation::of_tests().major() >= 16 { "SET debug_parallel_query = on" } else { "SET force_parallel_mode = on" }
}

#[test]
fn a_warm_call_reads_no_table() {
    let database = Cluster::shared().database();
    let (_, mut caller) = changer_and_caller(&database);
    let scans = "SELECT sum(pg_stat_get_xact_numscans(c.oid))::bigint FROM pg_class c \
                 WHERE relnamespace = '_pg_llm_catalog'::regnamespace AND relkind IN ('r', 'i')";
    caller.batch_execute("BEGIN").unwrap();
    let of = |caller: &mut Client| caller.query_one(scans, &[]).unwrap().get::<_, i64>(0);
    let before = of(&mut caller);
    for _ in 0..3 {
        assert_eq!(ask(&mut caller), "one");
    }
    assert_eq!(of(&mut caller), before);
}

#[test]
fn a_change_made_by_hand_counts_at_once() {
    let database = Cluster::shared().database();
    let (mut changer, mut caller) = changer_and_caller(&database);
    for (n, replica) in ["origin", "replica", "local"].into_iter().enumerate() {
        changer.batch_execute(&format!("SET session_replication_role = {replica}; {}", by_hand(&format!("hand {n}")))).unwrap();
        assert_eq!(ask(&mut caller), format!("hand {n}"), "{replica}");
    }
    if Installation::of_tests().major() >= 15 {
        let merge = "MERGE INTO _pg_llm_catalog.models m USING (VALUES ('m')) AS v (name) ON m.instance_name = v.name \
                     WHEN MATCHED THEN UPDATE SET config = '{\"mock_response\": \"merged\"}'";
        changer.batch_execute(merge).unwrap();
        assert_eq!(ask(&mut caller), "merged");
    }
    changer.batch_execute(&by_hand("last")).unwrap();
    assert_eq!(ask(&mut caller), "last");
    changer.batch_execute("SET session_replication_role = replica; UPDATE _pg_llm_catalog.models SET instance_name = 'n'").unwrap();
    assert_eq!(ask(&mut caller), "42704");
    changer.batch_execute("UPDATE _pg_llm_catalog.models SET instance_name = 'm'").unwrap();
    assert_eq!(ask(&mut caller), "last");
    changer.batch_execute("TRUNCATE _pg_llm_catalog.models CASCADE").unwrap();
    assert_eq!(ask(&mut caller), "42704");
    let copy = "COPY _pg_llm_catalog.models (instance_name, model_type, config, endpoint_trusted) FROM STDIN";
    let mut copy = changer.copy_in(copy).unwrap();
    copy.write_all(b"m\tmock\t{\"mock_response\": \"copied\"}\tf\n").unwrap();
    copy.finish().unwrap();
    assert_eq!(ask(&mut caller), "copied");
}

#[test]
fn an_uploaded_provider_counts_until_it_is_replaced_or_removed() {
    let database = Cluster::shared().database();
    let (mut changer, mut caller) = changer_and_caller(&database);
    let house = "SELECT pg_llm_add_model('house', 'm', NULL::text, '{\"mock_response\": \"of the house\"}'::jsonb, $1)";
    changer.execute(house, &[&built("mock.wasm")]).unwrap();
    assert_eq!([ask(&mut caller), ask(&mut caller)], ["of the house", "of the house"]);
    // An endpoint is what that one wants.
    changer.execute("SELECT pg_llm_add_provider('openai-house', $1)", &[&built("openai.wasm")]).unwrap();
    let both = "UPDATE _pg_llm_catalog.providers SET (digest, profile) = (SELECT digest, profile FROM _pg_llm_catalog.providers WHERE model_type = 'openai-house')";
    changer.batch_execute(&format!("BEGIN; {both}")).unwrap();
    assert_eq!([ask(&mut changer), ask(&mut caller)], ["22023", "of the house"], "not committed");
    changer.batch_execute("ROLLBACK").unwrap();
    assert_eq!([ask(&mut changer), ask(&mut caller)], ["of the house", "of the house"]);
    changer.batch_execute(both).unwrap();
    assert_eq!(ask(&mut caller), "22023");
    changer.batch_execute("DELETE FROM _pg_llm_catalog.providers").unwrap();
    assert_eq!(ask(&mut caller), "42704");
}

#[test]
fn a_right_counts_until_it_is_revoked_and_no_call_longer() {
    let database = Cluster::shared().database();
    let (mut changer, _) = changer_and_caller(&database);
    let (user, group) = (database.create_role(), database.create_role());
    let mut caller = database.connect_as(&user);
    let grant = format!("INSERT INTO _pg_llm_catalog.grants VALUES ('m', '{user}'::regrole, false)");
    let rights = [
        (format!("SELECT pg_llm_grant_model('m', '{user}')"), format!("SELECT pg_llm_revoke_model('m', '{user}')")),
        ("SELECT pg_llm_grant_model('m', 'public')".to_owned(), "SELECT pg_llm_revoke_model('m', 'public')".to_owned()),
        (format!("SELECT pg_llm_grant_model('m', '{group}'); GRANT {group} TO {user}"), format!("REVOKE {group} FROM {user}")),
        (grant.clone(), "DELETE FROM _pg_llm_catalog.grants WHERE NOT is_owner".to_owned()),
        (
            grant.clone(),
            "SET session_replication_role = replica; DELETE FROM _pg_llm_catalog.grants WHERE NOT is_owner; RESET ALL".to_owned(),
        ),
        (grant.clone(), format!("UPDATE _pg_llm_catalog.grants SET role = '{group}'::regrole WHERE NOT is_owner")),
        (format!("DELETE FROM _pg_llm_catalog.grants; {grant}"), "TRUNCATE _pg_llm_catalog.grants".to_owned()),
        (format!("ALTER ROLE {user} SUPERUSER"), format!("ALTER ROLE {user} NOSUPERUSER")),
    ];
    for (given, taken) in rights {
        assert_eq!(ask(&mut caller), "42501", "before {given}");
        changer.batch_execute(&given).unwrap();
        assert_eq!([ask(&mut caller), ask(&mut caller)], ["one", "one"], "{given}");
        changer.batch_execute("BEGIN").unwrap();
        changer.batch_execute(&taken).unwrap();
        assert_eq!(ask(&mut caller), "one", "not committed: {taken}");
        changer.batch_execute("ROLLBACK").unwrap();
        assert_eq!(ask(&mut caller), "one", "rolled back: {taken}");
        changer.batch_execute(&taken).unwrap();
        assert_eq!([ask(&mut caller), ask(&mut caller)], ["42501", "42501"], "{taken}");
    }
}

/// A snapshot that is older than the change neither lets the old right count nor leaves it behind.
#[test]
fn a_transaction_of_an_older_view_has_the_rights_and_the_models_of_now() {
    let database = Cluster::shared().database();
    let (mut changer, _) = changer_and_caller(&database);
    let user = database.create_role();
    for isolation in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        changer.batch_execute(&format!("{}; SELECT pg_llm_grant_model('m', '{user}')", by_hand("one"))).unwrap();
        let (mut warm, mut cold) = (database.connect_as(&user), database.connect_as(&user));
        assert_eq!(ask(&mut warm), "one");
        for caller in [&mut warm, &mut cold] {
            caller.batch_execute(&format!("BEGIN ISOLATION LEVEL {isolation}; SELECT count(*) FROM pg_class")).unwrap();
        }
        changer.batch_execute(&by_hand("two")).unwrap();
        assert_eq!([ask(&mut warm), ask(&mut cold)], ["two", "two"], "{isolation}");
        changer.batch_execute(&format!("SELECT pg_llm_revoke_model('m', '{user}')")).unwrap();
        assert_eq!([ask(&mut warm), ask(&mut cold)], ["42501", "42501"], "{isolation}");
        for caller in [&mut warm, &mut cold] {
            caller.batch_execute("ROLLBACK").unwrap();
            assert_eq!(ask(caller), "42501", "after {isolation}");
        }
    }
}

#[test]
fn a_right_that_is_revoked_in_the_midst_of_a_statement_ends_it_there() {
    let mut asked = Asked::echo();
    let user = asked.database.create_role();
    asked.client.batch_execute(&format!("SELECT pg_llm_grant_model('m', '{user}')")).unwrap();
    let mut caller = asked.database.connect_as(&user);
    // The upstream holds the second call's answer back until the right is gone.
    let (upstream, hold) = (&asked.upstream, Gate::new());
    upstream.next(openai::completion("first"));
    upstream.next(openai::completion("second").gated(&hold));
    let statement = thread::spawn(move || {
        let failed = caller.query("SELECT i, pg_llm_chat('m', i::text) FROM generate_series(1, 3) AS i", &[]).map(|_| ());
        db_error(failed).code().code().to_owned()
    });
    assert!(upstream.wait_for_requests(2, DEADLINE));
    asked.client.batch_execute(&format!("SELECT pg_llm_revoke_model('m', '{user}')")).unwrap();
    hold.open();
    assert_eq!(statement.join().unwrap(), "42501");
    assert_eq!(asked.upstream.observe(|seen| seen.requests_total), 2);
}

#[test]
fn a_key_is_of_use_until_it_is_changed_or_removed_by_whatever_way() {
    let mut asked = Asked::echo();
    let mut caller = asked.database.superuser();
    let mut key = |asked: &Asked| {
        let (before, answer) = (asked.upstream.observe(|seen| seen.requests_total), ask(&mut caller));
        let sent = asked.upstream.observe(|seen| seen.requests_total) > before;
        let key = asked.upstream.last_request().and_then(|request| request.header("authorization").map(str::to_owned));
        if sent { key.unwrap_or_default() } else { answer }
    };
    let first = format!("Bearer {}", Asked::KEY);
    assert_eq!([key(&asked), key(&asked)], [first.as_str(), first.as_str()]);
    asked.client.batch_execute("CREATE TABLE kept AS TABLE _pg_llm_catalog.keys").unwrap();
    let put_back = "INSERT INTO _pg_llm_catalog.keys TABLE kept";
    for removed in [
        "SELECT pg_llm_set_key('m', 'default', NULL)",
        "DELETE FROM _pg_llm_catalog.keys",
        "SET session_replication_role = replica; DELETE FROM _pg_llm_catalog.keys; RESET session_replication_role",
        "TRUNCATE _pg_llm_catalog.keys",
    ] {
        asked.client.batch_execute(removed).unwrap();
        assert_ne!(key(&asked), first, "{removed}");
        asked.client.batch_execute(put_back).unwrap();
        assert_eq!(key(&asked), first, "put back after {removed}");
    }
    asked.client.batch_execute("UPDATE _pg_llm_catalog.keys SET sealed = '\\x00'").unwrap();
    assert_eq!(key(&asked), "55000", "damaged");
    asked.client.batch_execute("UPDATE _pg_llm_catalog.keys k SET sealed = kept.sealed FROM kept").unwrap();
    assert_eq!(key(&asked), first);
}

/// The function runs when the row has been changed, and before the statement fails.
#[test]
fn what_a_failed_statement_had_changed_is_forgotten() {
    let database = Cluster::shared().database();
    let (mut changer, mut caller) = changer_and_caller(&database);
    let update = by_hand("never");
    for failing in [
        format!("{update} RETURNING pg_llm_chat('m', 'x'), 1 / (length(instance_name) - 1)"),
        format!("BEGIN; {update} RETURNING pg_llm_chat('m', 'x'); SELECT pg_llm_chat('m', 'x'); SELECT 1 / 0"),
        format!("DO $$ BEGIN {update}; PERFORM pg_llm_chat('m', 'x'); RAISE 'no'; END $$"),
    ] {
        changer.batch_execute(&failing).unwrap_err();
        changer.batch_execute("ROLLBACK").unwrap();
        assert_eq!([ask(&mut changer), ask(&mut caller)], ["one", "one"], "{failing}");
    }
    let seen: String = changer.query_one(&format!("{update} RETURNING pg_llm_chat('m', 'x')"), &[]).unwrap().get(0);
    assert_eq!(seen, "never", "a call sees what its own statement has changed");
    assert_eq!(ask(&mut caller), "never");
}

#[test]
fn savepoints_and_blocks_that_fail_take_back_what_is_remembered() {
    let database = Cluster::shared().database();
    let (mut changer, mut caller) = changer_and_caller(&database);
    changer.batch_execute(&format!("BEGIN; SAVEPOINT a; {}", by_hand("two"))).unwrap();
    assert_eq!([ask(&mut changer), ask(&mut caller)], ["two", "one"]);
    changer.batch_execute(&format!("SAVEPOINT b; TRUNCATE _pg_llm_catalog.keys, _pg_llm_catalog.grants; {}", by_hand("three"))).unwrap();
    assert_eq!(ask(&mut changer), "three");
    changer.batch_execute("ROLLBACK TO b").unwrap();
    assert_eq!(ask(&mut changer), "two");
    changer.batch_execute("ROLLBACK TO a").unwrap();
    assert_eq!(ask(&mut changer), "one");
    changer.batch_execute(&format!("SAVEPOINT c; {}; RELEASE c", by_hand("four"))).unwrap();
    assert_eq!([ask(&mut changer), ask(&mut caller)], ["four", "one"]);
    changer.batch_execute("COMMIT").unwrap();
    assert_eq!([ask(&mut changer), ask(&mut caller)], ["four", "four"]);
    let block = format!(
        "DO $$ BEGIN BEGIN {}; PERFORM pg_llm_chat('m', 'x'); RAISE 'no'; EXCEPTION WHEN others THEN NULL; END; END $$",
        by_hand("no")
    );
    changer.batch_execute(&block).unwrap();
    assert_eq!([ask(&mut changer), ask(&mut caller)], ["four", "four"]);
    // In one statement: changed, committed, changed, rolled back.
    let procedure = format!(
        "DO $$ BEGIN {}; COMMIT; PERFORM pg_llm_chat('m', 'x'); {}; PERFORM pg_llm_chat('m', 'x'); ROLLBACK; \
         IF pg_llm_chat('m', 'x') <> 'five' THEN RAISE 'stale'; END IF; END $$",
        by_hand("five"),
        by_hand("six")
    );
    changer.batch_execute(&procedure).unwrap();
    assert_eq!([ask(&mut changer), ask(&mut caller)], ["five", "five"]);
    // A table that only this transaction sees empty.
    changer.batch_execute("BEGIN; TRUNCATE _pg_llm_catalog.grants; ").unwrap();
    assert_eq!(ask(&mut changer), "five", "a superuser needs no grant");
    changer.batch_execute("ROLLBACK").unwrap();
    let grants: i64 = changer.query_one("SELECT count(*) FROM _pg_llm_catalog.grants", &[]).unwrap().get(0);
    assert_eq!(grants, 1);
}

#[test]
fn a_prepared_transaction_counts_when_it_is_committed() {
    let cluster = Cluster::start(&Settings::for_models().line("max_prepared_transactions = 2"));
    let database = cluster.database();
    let (mut changer, mut caller) = changer_and_caller(&database);
    for (end, expected) in [("ROLLBACK", "one"), ("COMMIT", "two")] {
        changer.batch_execute(&format!("BEGIN; {}; SELECT pg_llm_chat('m', 'x'); PREPARE TRANSACTION 'p'", by_hand("two"))).unwrap();
        assert_eq!([ask(&mut changer), ask(&mut caller)], ["one", "one"]);
        changer.batch_execute(&format!("{end} PREPARED 'p'")).unwrap();
        assert_eq!([ask(&mut changer), ask(&mut caller)], [expected, expected]);
    }
}

/// As `pg_restore --data-only --disable-triggers` does it, which enables them again in another way than they were.
#[test]
fn nothing_is_remembered_while_triggers_are_disabled() {
    let database = Cluster::shared().database();
    let (mut changer, mut caller) = changer_and_caller(&database);
    changer.batch_execute("ALTER TABLE _pg_llm_catalog.models DISABLE TRIGGER ALL").unwrap();
    assert_eq!(ask(&mut caller), "one");
    changer.batch_execute(&by_hand("two")).unwrap();
    assert_eq!(ask(&mut caller), "two");
    changer.batch_execute("ALTER TABLE _pg_llm_catalog.models ENABLE TRIGGER ALL").unwrap();
    assert_eq!(ask(&mut caller), "two");
    changer.batch_execute(&format!("SET session_replication_role = replica; {}", by_hand("three"))).unwrap();
    assert_eq!(ask(&mut caller), "three");
    changer.batch_execute("DROP TRIGGER announce_change ON _pg_llm_catalog.models").unwrap();
    assert_eq!(ask(&mut caller), "three");
    changer.batch_execute(&by_hand("four")).unwrap();
    assert_eq!(ask(&mut caller), "four");
}

#[test]
fn the_extension_made_anew_has_none_of_the_former_ones_models() {
    let database = Cluster::shared().database();
    let (mut changer, mut caller) = changer_and_caller(&database);
    changer.batch_execute("BEGIN; DROP EXTENSION pg_llm; ROLLBACK").unwrap();
    assert_eq!([ask(&mut changer), ask(&mut caller)], ["one", "one"]);
    changer.batch_execute("DROP EXTENSION pg_llm; CREATE EXTENSION pg_llm").unwrap();
    assert_eq!(ask(&mut caller), "42704");
    changer.batch_execute(&mock("two")).unwrap();
    assert_eq!(ask(&mut caller), "two");
    // In one transaction, which is then rolled back.
    changer.batch_execute(&format!("BEGIN; DROP EXTENSION pg_llm; CREATE EXTENSION pg_llm; {}", mock("three"))).unwrap();
    assert_eq!(ask(&mut changer), "three");
    changer.batch_execute("ROLLBACK").unwrap();
    assert_eq!([ask(&mut changer), ask(&mut caller)], ["two", "two"]);
}

#[test]
fn a_parallel_worker_leaves_nothing_stale_behind() {
    let database = Cluster::shared().database();
    let (mut changer, mut caller) = changer_and_caller(&database);
    caller.batch_execute(force_parallel()).unwrap();
    for word in ["two", "three"] {
        changer.batch_execute(&by_hand(word)).unwrap();
        assert_eq!([ask(&mut caller), ask(&mut caller)], [word, word]);
    }
    // An older view, that the workers have to take over.
    caller.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").unwrap();
    changer.batch_execute(&by_hand("four")).unwrap();
    ask(&mut caller);
    caller.batch_execute("COMMIT").unwrap();
    assert_eq!(ask(&mut caller), "four");
    caller.batch_execute("RESET ALL").unwrap();
    assert_eq!(ask(&mut caller), "four");
    // What the transaction has changed itself.
    caller.batch_execute(&format!("BEGIN; {}; {}", by_hand("five"), force_parallel())).unwrap();
    assert_eq!([ask(&mut caller), ask(&mut changer)], ["five", "four"]);
    caller.batch_execute("ROLLBACK; RESET ALL").unwrap();
    assert_eq!([ask(&mut caller), ask(&mut changer)], ["four", "four"]);
}

#[test]
fn a_standby_hears_of_changes_too() {
    let primary = Cluster::start(&Settings::for_models());
    let database = primary.database();
    let (mut changer, _) = changer_and_caller(&database);
    let user = database.create_role();
    changer.batch_execute(&format!("SELECT pg_llm_grant_model('m', '{user}')")).unwrap();
    let standby = primary.standby();
    let there = database.on(&standby);
    let mut caller = there.connect_as(&user);
    let changes = [
        (by_hand("two"), "two"),
        (format!("SET session_replication_role = replica; {}; RESET ALL", by_hand("three")), "three"),
        (format!("SELECT pg_llm_revoke_model('m', '{user}')"), "42501"),
        ("SELECT pg_llm_grant_model('m', 'public')".to_owned(), "three"),
        ("TRUNCATE _pg_llm_catalog.grants".to_owned(), "42501"),
    ];
    assert_eq!([ask(&mut caller), ask(&mut caller)], ["one", "one"]);
    for (change, expected) in changes {
        changer.batch_execute(&change).unwrap();
        standby.catch_up_with(&primary);
        assert_eq!([ask(&mut caller), ask(&mut caller)], [expected, expected], "{change}");
    }
    // A view of before, which a standby has as well.
    changer.batch_execute("SELECT pg_llm_grant_model('m', 'public')").unwrap();
    standby.catch_up_with(&primary);
    caller.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").unwrap();
    assert_eq!(ask(&mut caller), "three");
    changer.batch_execute("SELECT pg_llm_revoke_model('m', 'public')").unwrap();
    standby.catch_up_with(&primary);
    assert_eq!(ask(&mut caller), "42501");
    caller.batch_execute("ROLLBACK").unwrap();
    assert_eq!(ask(&mut caller), "42501");
}

/// Two sessions without pause: whoever calls after a COMMIT has returned knows of it.
#[test]
fn no_call_after_a_commit_is_older_than_it() {
    let database = Cluster::shared().database();
    let (mut changer, mut caller) = changer_and_caller(&database);
    let mut noise = database.superuser();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let busy = thread::spawn(move || {
        // Many messages, so that queues overflow and caches are reset while they are filled.
        while !stopped.load(Ordering::Relaxed) {
            noise.batch_execute("CREATE TEMP TABLE t (i int); ALTER TABLE t ADD COLUMN j int; DROP TABLE t").unwrap();
        }
    });
    for n in 0..300 {
        changer.batch_execute(&by_hand(&format!("n {n}"))).unwrap();
        assert_eq!(ask(&mut caller), format!("n {n}"));
    }
    stop.store(true, Ordering::Relaxed);
    busy.join().unwrap();
}
