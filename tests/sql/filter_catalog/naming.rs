//! Models and calls name filters, which have to be there.

use pg_llm_tests::postgres::{Client, Error};
use pg_llm_tests::{Asked, DEADLINE, Running};
use serde_json::{Value, json};

use super::races::waits;
use super::{Owner, add, fails, of_length, remove, upload};
use crate::uploads::built;

/// Adds a model that names these, and answers "fine".
fn model(client: &mut Client, filters: &Value) -> Result<bool, Error> {
    let config = json!({"mock_response": "fine", "filters": filters});
    client.query_one("SELECT pg_llm_add_model('mock', 'm', config => $1)", &[&config]).map(|row| row.get(0))
}

fn ask(client: &mut Client, options: &Value) -> Result<String, Error> {
    client.query_one("SELECT pg_llm_chat('m', 'Hello, world', $1)", &[options]).map(|row| row.get(0))
}

#[test]
fn a_model_names_filters_that_there_are() {
    let mut owner = Owner::new();
    for unknown in [json!(["x"]), json!(["pii-redact", "x"]), json!(["PII-redact"])] {
        let error = fails(model(&mut owner.client, &unknown), "42704", "does not exist");
        assert!(
            error.hint().unwrap().contains("pii-redact, prompt-guard") && error.hint().unwrap().contains("pg_llm_filters"),
            "{error:?}"
        );
    }
    assert_eq!(owner.value::<i64>("SELECT count(*) FROM pg_llm_models"), 0);
    assert!(add(&mut owner.client, "short", "length-limit", &of_length(5)).unwrap());
    assert!(model(&mut owner.client, &json!(["pii-redact", "short"])).unwrap());
    fails(ask(&mut owner.client, &json!({})), "42501", "filter \"short\"");
    assert!(model(&mut owner.client, &json!(["pii-redact"])).unwrap());
    assert_eq!(ask(&mut owner.client, &json!({})).unwrap(), "fine");
    fails(ask(&mut owner.client, &json!({"filters": ["short"]})), "42501", "filter \"short\"");
    let error = fails(ask(&mut owner.client, &json!({"filters": ["shorter"]})), "42704", "filter \"shorter\" does not exist");
    assert!(error.hint().unwrap().contains("length-limit"), "{error:?}");
}

#[test]
fn a_filter_stays_while_a_model_names_it() {
    let mut owner = Owner::new();
    assert!(add(&mut owner.client, "short", "length-limit", &of_length(5)).unwrap());
    assert!(model(&mut owner.client, &json!(["json-only", "short"])).unwrap());
    let error = fails(remove(&mut owner.client, "short"), "2BP01", "pg_llm_add_model()");
    assert_eq!(error.detail(), Some("Model \"m\" names it."));
    assert!(add(&mut owner.client, "short", "length-limit", &of_length(50)).unwrap(), "it may be changed");
    assert!(model(&mut owner.client, &json!(["json-only"])).unwrap());
    assert!(remove(&mut owner.client, "short").unwrap());
    assert!(add(&mut owner.client, "short", "length-limit", &of_length(5)).unwrap());
    assert!(model(&mut owner.client, &json!(["short"])).unwrap());
    assert!(owner.value::<bool>("SELECT pg_llm_remove_model('m')"));
    assert!(remove(&mut owner.client, "short").unwrap());
}

#[test]
fn whoever_removes_a_filter_behind_its_models_back_stops_its_calls() {
    let mut owner = Owner::new();
    assert!(add(&mut owner.client, "short", "length-limit", &of_length(50)).unwrap());
    assert!(model(&mut owner.client, &json!(["short"])).unwrap());
    let mut caller = owner.database.superuser();
    assert_eq!(ask(&mut caller, &json!({})).unwrap(), "fine");
    owner.client.batch_execute("DELETE FROM _pg_llm_catalog.filters").unwrap();
    fails(ask(&mut caller, &json!({})), "42704", "filter \"short\" does not exist");
    // A built-in filter that this version does not have.
    owner.client.batch_execute("INSERT INTO _pg_llm_catalog.filters VALUES ('short', 'of-tomorrow', NULL, '{}')").unwrap();
    fails(ask(&mut caller, &json!({})), "55000", "of-tomorrow");
    fails(add(&mut owner.client, "x", "short", &json!({})), "42704", "of-tomorrow");
    assert_eq!(owner.shown("short")["filter_type"], "of-tomorrow");
}

#[test]
fn naming_a_filter_and_removing_it_at_once_leaves_no_dangling_name() {
    let mut owner = Owner::new();
    let mut first = owner.database.superuser();
    let add_model = "SELECT pg_llm_add_model('mock', 'm', config => '{\"filters\": [\"short\"]}')";
    for end in ["COMMIT", "ROLLBACK"] {
        let done = end == "COMMIT";
        assert!(add(&mut owner.client, "short", "length-limit", &of_length(5)).unwrap());
        first.batch_execute(&format!("BEGIN; {add_model}")).unwrap();
        let removal = waits(&mut owner, "SELECT pg_llm_remove_filter('short')");
        first.batch_execute(end).unwrap();
        let outcome = removal.finish(DEADLINE);
        if done {
            fails(outcome.result, "2BP01", "Model \"m\" names it");
            owner.client.batch_execute("SELECT pg_llm_remove_model('m')").unwrap();
        } else {
            assert_eq!(outcome.column(), [Some("t".to_owned())]);
            assert!(add(&mut owner.client, "short", "length-limit", &of_length(5)).unwrap());
        }

        first.batch_execute("BEGIN; SELECT pg_llm_remove_filter('short')").unwrap();
        let naming = waits(&mut owner, add_model);
        first.batch_execute(end).unwrap();
        let outcome = naming.finish(DEADLINE);
        if done {
            fails(outcome.result, "42704", "filter \"short\" does not exist");
        } else {
            assert!(outcome.result.is_ok());
        }
        owner.client.batch_execute("SELECT pg_llm_remove_model('m'), pg_llm_remove_filter('short')").unwrap();
    }
}

#[test]
fn a_transaction_of_an_older_view_removes_no_filter_that_has_been_named_since() {
    let mut owner = Owner::new();
    assert!(add(&mut owner.client, "short", "length-limit", &of_length(5)).unwrap());
    let mut old = owner.database.superuser();
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        old.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}; SELECT 1")).unwrap();
        assert!(model(&mut owner.client, &json!(["short"])).unwrap());
        fails(remove(&mut old, "short"), "2BP01", "Model \"m\" names it");
        old.batch_execute("ROLLBACK").unwrap();
        // And names none that has been removed since.
        old.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}; SELECT 1 FROM _pg_llm_catalog.filters")).unwrap();
        owner.client.batch_execute("SELECT pg_llm_remove_model('m'), pg_llm_remove_filter('short')").unwrap();
        fails(model(&mut old, &json!(["short"])), "40001", "");
        old.batch_execute("ROLLBACK").unwrap();
        assert!(add(&mut owner.client, "short", "length-limit", &of_length(5)).unwrap());
    }
}

/// Many at once, in any order: every model that there is at the end has its filter.
#[test]
fn a_crowd_that_names_and_removes_leaves_no_dangling_name() {
    let owner = Owner::new();
    let crowd: Vec<Running> = (0..6)
        .map(|n| {
            let round = match n % 3 {
                0 => "PERFORM pg_llm_add_filter('short', filter_type => 'length-limit')",
                1 => "PERFORM pg_llm_remove_filter('short')",
                _ => "PERFORM pg_llm_add_model('mock', 'm', config => '{\"filters\": [\"short\"]}'); PERFORM pg_llm_remove_model('m')",
            };
            let rounds = format!(
                "DO $$ BEGIN FOR i IN 1..40 LOOP BEGIN {round}; EXCEPTION WHEN undefined_object OR dependent_objects_still_exist THEN NULL; END; COMMIT; END LOOP; END $$"
            );
            Running::start(owner.database.superuser(), &rounds)
        })
        .collect();
    for running in crowd {
        let outcome = running.finish(DEADLINE);
        assert!(outcome.result.is_ok(), "{:?}", outcome.result.err());
    }
}

/// And in each call a fresh instance of it.
#[test]
fn an_uploaded_filter_works_in_a_chat() {
    let mut asked = Asked::echo();
    let hostile = built("hostile-filter.wasm");
    assert!(upload(&mut asked.client, "counts", &hostile, &json!({"crime": "remember"})).unwrap());
    assert!(upload(&mut asked.client, "does nothing", &hostile, &json!({})).unwrap());
    assert!(add(&mut asked.client, "no words", "does nothing", &json!({"crime": "block"})).unwrap());
    assert_eq!(asked.chat("Hello", &json!({"filters": ["does nothing"]})).unwrap().as_deref(), Some("You said: Hello"));
    for _ in 0..2 {
        assert_eq!(asked.chat("Hello", &json!({"filters": ["counts"]})).unwrap().as_deref(), Some("1"), "on both sides");
        assert_eq!(asked.sent()["messages"][0]["content"], "1");
    }
    let blocked = fails(asked.chat("Hello", &json!({"filters": ["no words"]})), "42501", "filter: no words, side: response");
    assert!(blocked.message().contains("no words"), "{blocked:?}");
    asked.add("openai-compatible", "m", &json!({"filters": ["counts"]}));
    assert_eq!(asked.says("Hello"), "1");
    asked.database.cluster().assert_no_crash();
}
