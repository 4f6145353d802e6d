//! A session remembers the filters that it has called. Whatever changes, however it is changed, the next call knows.

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Asked, db_error};
use serde_json::{Value, json};

use super::{add, remove, upload};
use crate::uploads::built;

fn replacing(replacement: &str) -> Value {
    json!({"rules": [{"pattern": "Zebra", "replacement": replacement, "sides": "prompt"}]})
}

/// The answer, which repeats the prompt, else the SQLSTATE.
fn ask(client: &mut Client, options: &Value) -> String {
    match client.query_one("SELECT pg_llm_chat('m', 'Zebra', $1)", &[options]) {
        Ok(row) => row.get::<_, String>(0).trim_start_matches("You said: ").to_owned(),
        Err(error) => db_error::<()>(Err(error)).code().code().to_owned(),
    }
}

/// The model `m`, which names the filter `names`, and somebody who has called it already.
fn changer_and_caller() -> (Asked, Client) {
    let mut asked = Asked::echo();
    assert!(add(&mut asked.client, "names", "regex-replace", &replacing("one")).unwrap());
    asked.add("openai-compatible", "m", &json!({"filters": ["names"]}));
    let mut caller = asked.database.superuser();
    assert_eq!([ask(&mut caller, &json!({})), ask(&mut caller, &json!({}))], ["one", "one"]);
    (asked, caller)
}

#[test]
fn a_warm_call_through_filters_reads_no_table() {
    let (mut asked, mut caller) = changer_and_caller();
    assert!(upload(&mut asked.client, "house", &built("filter-pii-redact.wasm"), &json!({})).unwrap());
    let options = json!({"filters": ["secret-redact", "house"]});
    let _ = ask(&mut caller, &options);
    let scans = "SELECT sum(pg_stat_get_xact_numscans(c.oid))::bigint FROM pg_class c \
                 WHERE relnamespace = '_pg_llm_catalog'::regnamespace AND relkind IN ('r', 'i')";
    caller.batch_execute("BEGIN").unwrap();
    let of = |caller: &mut Client| caller.query_one(scans, &[]).unwrap().get::<_, i64>(0);
    let before = of(&mut caller);
    for _ in 0..3 {
        assert_eq!(ask(&mut caller, &options), "one");
    }
    assert_eq!(of(&mut caller), before);
}

#[test]
fn a_changed_filter_counts_from_the_next_call_on() {
    let (mut asked, mut caller) = changer_and_caller();
    let none = json!({});
    assert!(add(&mut asked.client, "names", "names", &replacing("two")).unwrap());
    assert_eq!(ask(&mut caller, &none), "two");
    let by_hand = "UPDATE _pg_llm_catalog.filters SET config = '{\"rules\": []}' WHERE name = 'names'";
    for replica in ["origin", "replica"] {
        asked.client.batch_execute(&format!("BEGIN; SET LOCAL session_replication_role = {replica}; {by_hand}")).unwrap();
        assert_eq!([ask(&mut asked.client, &none), ask(&mut caller, &none)], ["Zebra", "two"], "not committed: {replica}");
        asked.client.batch_execute("ROLLBACK").unwrap();
        assert_eq!([ask(&mut asked.client, &none), ask(&mut caller, &none)], ["two", "two"], "{replica}");
    }
    asked.client.batch_execute(by_hand).unwrap();
    assert_eq!(ask(&mut caller, &none), "Zebra");
    // Without its trigger nobody is told, and everybody looks.
    asked.client.batch_execute("ALTER TABLE _pg_llm_catalog.filters DISABLE TRIGGER announce_change").unwrap();
    assert_eq!(ask(&mut caller, &none), "Zebra");
    assert!(add(&mut asked.client, "names", "names", &replacing("three")).unwrap());
    assert_eq!(ask(&mut caller, &none), "three");
    asked.client.batch_execute("ALTER TABLE _pg_llm_catalog.filters ENABLE ALWAYS TRIGGER announce_change").unwrap();
    // A transaction of an older view has the filters of now, as it has the models.
    caller.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").unwrap();
    assert!(add(&mut asked.client, "names", "names", &replacing("four")).unwrap());
    assert_eq!(ask(&mut caller, &none), "four");
    caller.batch_execute("COMMIT").unwrap();
    asked.client.batch_execute("TRUNCATE _pg_llm_catalog.filters CASCADE").unwrap();
    assert_eq!(ask(&mut caller, &none), "42704");
}

#[test]
fn an_uploaded_filter_counts_until_it_is_replaced_or_removed() {
    let (mut asked, mut caller) = changer_and_caller();
    let of_call = json!({"filters": ["house"]});
    assert_eq!(ask(&mut caller, &of_call), "42704");
    assert!(upload(&mut asked.client, "house", &built("filter-length-limit.wasm"), &json!({"prompt": {"max": 2}})).unwrap());
    assert_eq!([ask(&mut caller, &of_call), ask(&mut caller, &of_call)], ["42501", "42501"]);
    assert!(upload(&mut asked.client, "house", &built("filter-regex-replace.wasm"), &replacing("of the house")).unwrap());
    assert_eq!(ask(&mut caller, &of_call), "of the house", "the call's come before the model's");
    assert!(add(&mut asked.client, "house", "pii-redact", &json!({})).unwrap());
    assert_eq!(ask(&mut caller, &of_call), "one");
    assert!(remove(&mut asked.client, "house").unwrap());
    assert_eq!(ask(&mut caller, &of_call), "42704");
    assert_eq!(ask(&mut caller, &json!({})), "one");
    asked.database.cluster().assert_no_crash();
}
