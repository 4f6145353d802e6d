//! Who is asked: the models that are named, else all that the caller may use.

use pg_llm_tests::postgres::IsolationLevel;
use pg_llm_tests::{Cluster, db_error};
use serde_json::{Value, json};

use super::{Panel, each};

#[test]
fn a_null_prompt_is_null_and_no_call() {
    let mut panel = Panel::saying(&["one"]);
    for sql in [
        "SELECT pg_llm_parallel_chat(NULL)",
        "SELECT pg_llm_parallel_chat(NULL, '{m1}')",
        "SELECT pg_llm_parallel_chat(NULL, NULL, NULL)",
        "SELECT pg_llm_parallel_chat(NULL, '{nobody}', '{\"no\": 1}')",
        "SELECT pg_llm_parallel_chat_json(NULL, '{m1}')::text",
        "SELECT pg_llm_parallel_chat_json(NULL, NULL, NULL)::text",
    ] {
        assert_eq!(panel.client.query_one(sql, &[]).unwrap().get::<_, Option<String>>(0), None, "{sql}");
    }
    assert_eq!(panel.requests(), [0]);
}

#[test]
fn an_empty_list_is_all_that_the_caller_may_use() {
    let mut panel = Panel::saying(&["one", "two", "three"]);
    for sql in ["SELECT pg_llm_parallel_chat_json('Which?')", "SELECT pg_llm_parallel_chat_json('Which?', '{}', NULL)"] {
        let answer: Value = panel.client.query_one(sql, &[]).unwrap().get(0);
        assert_eq!(each(&answer, "instance_name"), ["m1", "m2", "m3"], "{sql}");
    }
    let role = panel.database.create_role();
    let mut other = panel.database.connect_as(&role);
    let none = db_error(other.query("SELECT pg_llm_parallel_chat('Which?')", &[]));
    assert_eq!((none.code().code(), none.message()), ("42704", "pg_llm: there is no model that you may use"));
    panel.client.batch_execute(&format!("SELECT pg_llm_grant_model('m3', '{role}'), pg_llm_grant_model('m1', 'public')")).unwrap();
    let answer: Value = other.query_one("SELECT pg_llm_parallel_chat_json('Which?')", &[]).unwrap().get(0);
    assert_eq!(each(&answer, "instance_name"), ["m1", "m3"]);
    let said: String = other.query_one("SELECT pg_llm_parallel_chat('Which?')", &[]).unwrap().get(0);
    assert_eq!(said, "one");
    assert_eq!(panel.requests(), [4, 2, 4]);
}

#[test]
fn a_model_that_is_unknown_or_not_allowed_stops_it_before_anything_is_sent() {
    let mut panel = Panel::saying(&["one", "two"]);
    let role = panel.database.create_role();
    panel.client.batch_execute(&format!("SELECT pg_llm_grant_model('m1', '{role}')")).unwrap();
    for (names, state, words) in [
        ("'{m1,nobody,m2}'", "42704", "model \"nobody\" does not exist"),
        ("'{\"\"}'", "42704", "model \"\" does not exist"),
        ("'{m1,NULL}'", "22023", "model_names must not have a NULL in it"),
        ("'{NULL}'", "22023", "model_names must not have a NULL in it"),
        ("NULL", "22023", "model_names must not be NULL"),
        ("array_fill('m1'::text, ARRAY[65])", "54000", "at most 64 candidates"),
        ("array_fill('nobody'::text, ARRAY[100000])", "54000", "at most 64 candidates"),
    ] {
        for function in ["pg_llm_parallel_chat", "pg_llm_parallel_chat_json"] {
            let error = db_error(panel.client.query(&format!("SELECT {function}('Which?', {names})"), &[]));
            assert_eq!(error.code().code(), state, "{names}: {error:?}");
            assert!(error.message().contains(words), "{names}: {error:?}");
        }
    }
    let mut other = panel.database.connect_as(&role);
    let denied = db_error(other.query("SELECT pg_llm_parallel_chat('Which?', '{m1,m2}')", &[]));
    assert_eq!((denied.code().code(), denied.message()), ("42501", "pg_llm: permission denied for model \"m2\""));
    assert_eq!(panel.requests(), [0, 0]);
    // on_error is for calls that fail, and not for these.
    let error = db_error(panel.client.query("SELECT pg_llm_parallel_chat('x', '{nobody}', '{\"on_error\": \"null\"}')", &[]));
    assert_eq!(error.code().code(), "42704");
}

#[test]
fn a_list_of_two_dimensions_is_one_list() {
    let mut panel = Panel::saying(&["one", "two"]);
    let answer: Value = panel.client.query_one("SELECT pg_llm_parallel_chat_json('x', '{{m1,m2},{m2,m1}}')", &[]).unwrap().get(0);
    assert_eq!(each(&answer, "instance_name"), ["m1", "m2", "m2", "m1"]);
}

#[test]
fn more_models_than_a_call_can_have_must_be_named() {
    let database = Cluster::shared().database();
    let mut client = database.superuser();
    client.batch_execute("SELECT pg_llm_add_model('mock', 'mock ' || i) FROM generate_series(1, 64) AS i").unwrap();
    let answer: Value = client.query_one("SELECT pg_llm_parallel_chat_json('Which?')", &[]).unwrap().get(0);
    assert_eq!(answer["candidates"].as_array().unwrap().len(), 64);
    client.batch_execute("SELECT pg_llm_add_model('mock', 'one more')").unwrap();
    let error = db_error(client.query("SELECT pg_llm_parallel_chat('Which?')", &[]));
    assert_eq!((error.code().code(), error.hint().is_some_and(|hint| hint.contains("model_names"))), ("54000", true));
    let said: Value = client.query_one("SELECT pg_llm_parallel_chat_json('Which?', '{one more}')", &[]).unwrap().get(0);
    assert_eq!(said["winner"], json!({"index": 1, "instance_name": "one more"}));
}

#[test]
fn an_empty_list_is_the_models_of_now_however_old_the_snapshot_is() {
    let mut panel = Panel::saying(&["one", "two"]);
    let mut other = panel.database.superuser();
    let mut transaction = panel.client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().unwrap();
    transaction.batch_execute("TABLE pg_llm_models").unwrap();
    other.batch_execute("SELECT pg_llm_remove_model('m1'), pg_llm_add_model('mock', 'm3')").unwrap();
    let answer: Value = transaction.query_one("SELECT pg_llm_parallel_chat_json('Which?')", &[]).unwrap().get(0);
    assert_eq!(each(&answer, "instance_name"), ["m2", "m3"]);
}

#[test]
fn a_right_that_was_revoked_counts_for_the_next_call_and_a_members_right_for_its_role() {
    let mut panel = Panel::saying(&["one", "two"]);
    let (group, role) = (panel.database.create_role(), panel.database.create_role());
    panel
        .client
        .batch_execute(&format!("GRANT {group} TO {role}; SELECT pg_llm_grant_model('m1', '{group}'), pg_llm_grant_model('m2', '{role}')"))
        .unwrap();
    let mut other = panel.database.connect_as(&role);
    let mut asked = |sql: &str| {
        let answer: Value = other.query_one(sql, &[]).unwrap().get(0);
        each(&answer, "instance_name")
    };
    assert_eq!(asked("SELECT pg_llm_parallel_chat_json('Which?')"), ["m1", "m2"]);
    panel.client.batch_execute(&format!("SELECT pg_llm_revoke_model('m2', '{role}')")).unwrap();
    assert_eq!(asked("SELECT pg_llm_parallel_chat_json('Which?')"), ["m1"]);
    let denied = db_error(other.query("SELECT pg_llm_parallel_chat('Which?', '{m1,m2}')", &[]));
    assert_eq!(denied.code().code(), "42501");
}

#[test]
fn what_would_not_fit_into_memory_for_all_candidates_is_54000_before_anything_is_sent() {
    let mut panel = Panel::saying(&["one"]);
    for (prompt, options) in [("repeat('x', 5000000)", "{}"), ("'x'", r#"{"documents": [{"text": "MUCH", "name": "a"}]}"#)] {
        let sql = format!(
            "SELECT pg_llm_parallel_chat({prompt}, array_fill('m1'::text, ARRAY[64]), replace('{options}', 'MUCH', repeat('x', 5000000))::jsonb)"
        );
        let error = db_error(panel.client.query(&sql, &[]));
        assert_eq!(error.code().code(), "54000", "{error:?}");
        assert!(error.message().contains("64 candidates cannot be asked 50000"), "{error:?}");
    }
    assert_eq!(panel.requests(), [0]);
    // One of them can be.
    panel.client.batch_execute("SELECT pg_llm_parallel_chat(repeat('x', 5000000), '{m1,m1}')").unwrap();
}
