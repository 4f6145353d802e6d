//! Two sessions at once.

use pg_llm_tests::{DEADLINE, Running, eventually};
use serde_json::json;

use super::{Owner, add, fails, of_length, remove, upload};
use crate::uploads::built;

/// Starts a statement that has to wait for another session's lock.
pub(super) fn waits(owner: &mut Owner, sql: &str) -> Running {
    let running = Running::start(owner.database.superuser(), sql);
    let waiting = format!("SELECT EXISTS (SELECT FROM pg_locks WHERE pid = {} AND NOT granted)", running.pid());
    assert!(eventually(DEADLINE, || owner.value(&waiting)), "it does not wait: {sql}");
    running
}

#[test]
fn of_two_that_add_one_name_the_second_changes_what_the_first_has_added() {
    let mut owner = Owner::new();
    let mut first = owner.database.superuser();
    first.batch_execute("BEGIN").unwrap();
    assert!(add(&mut first, "x", "length-limit", &of_length(1)).unwrap());
    let second = waits(&mut owner, "SELECT pg_llm_add_filter('x', filter_type => 'json-only')");
    first.batch_execute("COMMIT").unwrap();
    assert!(second.finish(DEADLINE).result.is_ok());
    assert_eq!(owner.shown("x")["filter_type"], "json-only");
    // And where the first thinks better of it, the second adds it.
    assert!(remove(&mut owner.client, "x").unwrap());
    first.batch_execute("BEGIN").unwrap();
    assert!(add(&mut first, "x", "length-limit", &of_length(1)).unwrap());
    let second = waits(&mut owner, "SELECT pg_llm_add_filter('x', filter_type => 'json-only')");
    first.batch_execute("ROLLBACK").unwrap();
    assert!(second.finish(DEADLINE).result.is_ok());
    assert_eq!(owner.shown("x")["filter_type"], "json-only");
}

#[test]
fn of_two_that_remove_one_the_second_finds_none() {
    let mut owner = Owner::new();
    assert!(add(&mut owner.client, "x", "length-limit", &of_length(1)).unwrap());
    let mut first = owner.database.superuser();
    first.batch_execute("BEGIN").unwrap();
    assert!(remove(&mut first, "x").unwrap());
    let second = waits(&mut owner, "SELECT pg_llm_remove_filter('x')");
    first.batch_execute("COMMIT").unwrap();
    assert_eq!(second.finish(DEADLINE).column(), [Some("f".to_owned())]);
}

/// A component that one session removes as unused is one that another may be about to use.
#[test]
fn a_component_that_is_uploaded_while_its_last_filter_goes_stays() {
    let mut owner = Owner::new();
    let wasm = built("filter-json-only.wasm");
    assert!(upload(&mut owner.client, "a", &wasm, &json!({})).unwrap());
    owner.client.batch_execute("CREATE TABLE bytes (wasm bytea)").unwrap();
    owner.client.execute("INSERT INTO bytes VALUES ($1)", &[&wasm]).unwrap();

    // The removal first: the upload waits for it, and stores the component anew.
    let mut first = owner.database.superuser();
    first.batch_execute("BEGIN").unwrap();
    assert!(remove(&mut first, "a").unwrap());
    let second = waits(&mut owner, "SELECT pg_llm_add_filter('b', wasm) FROM bytes");
    first.batch_execute("COMMIT").unwrap();
    let outcome = second.finish(DEADLINE);
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    assert_eq!((owner.modules(), owner.names()), (1, vec!["b".to_owned()]));

    // The upload first: the removal waits, and leaves the component where it is.
    first.batch_execute("BEGIN").unwrap();
    assert!(upload(&mut first, "c", &wasm, &json!({})).unwrap());
    let second = waits(&mut owner, "SELECT pg_llm_remove_filter('b')");
    first.batch_execute("COMMIT").unwrap();
    let outcome = second.finish(DEADLINE);
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    assert_eq!((owner.modules(), owner.names()), (1, vec!["c".to_owned()]));

    // The same with filter_type, which stores nothing itself: what is gone is gone.
    first.batch_execute("BEGIN").unwrap();
    assert!(remove(&mut first, "c").unwrap());
    let second = waits(&mut owner, "SELECT pg_llm_add_filter('d', filter_type => 'c')");
    first.batch_execute("COMMIT").unwrap();
    fails(second.finish(DEADLINE).result, "42704", "has just been changed by another session");
    assert_eq!((owner.modules(), owner.names()), (0, vec![]));
}
