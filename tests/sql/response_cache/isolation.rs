//! Transactions: what rolls back was never there, nobody waits for anybody, and where nothing can be written nothing fails.

use pg_llm_tests::postgres::IsolationLevel;
use pg_llm_tests::{Asked, Installation};
use serde_json::json;

use super::{ask, asked_for, entries, value};

const CALL: &str = "SELECT pg_llm_chat_json('m', 'Hello', '{\"cache\": true}') ->> 'cached'";

#[test]
fn what_is_rolled_back_was_not_kept() {
    let mut asked = Asked::echo();
    let mut transaction = asked.client.transaction().unwrap();
    assert_eq!(transaction.query_one(CALL, &[]).unwrap().get::<_, String>(0), "false");
    assert_eq!(transaction.query_one(CALL, &[]).unwrap().get::<_, String>(0), "true", "the transaction sees its own");
    transaction.rollback().unwrap();
    assert_eq!(value::<String>(&mut asked.client, CALL, &[]), "false");
    assert_eq!(value::<String>(&mut asked.client, CALL, &[]), "true");
    asked.client.batch_execute("SELECT pg_llm_cache_clear(); BEGIN; SAVEPOINT s").unwrap();
    assert_eq!(value::<String>(&mut asked.client, CALL, &[]), "false");
    asked.client.batch_execute("ROLLBACK TO s").unwrap();
    assert_eq!(value::<String>(&mut asked.client, CALL, &[]), "false");
    asked.client.batch_execute("COMMIT").unwrap();
    assert_eq!(value::<String>(&mut asked.client, CALL, &[]), "true");
}

#[test]
fn a_read_only_transaction_takes_answers_and_keeps_none() {
    let mut asked = Asked::echo();
    asked.client.batch_execute("SET default_transaction_read_only = on").unwrap();
    assert_eq!(value::<String>(&mut asked.client, CALL, &[]), "false");
    assert_eq!(value::<String>(&mut asked.client, CALL, &[]), "false");
    asked.client.batch_execute("SET default_transaction_read_only = off").unwrap();
    assert_eq!((asked_for(&asked), entries(&mut asked.client)), (2, 0));
    assert_eq!(value::<String>(&mut asked.client, CALL, &[]), "false");
    asked.client.batch_execute("SET default_transaction_read_only = on").unwrap();
    assert_eq!(value::<String>(&mut asked.client, CALL, &[]), "true");
}

#[test]
fn a_parallel_worker_takes_answers_and_keeps_none() {
    let mut asked = Asked::echo();
    let setting = if Installation::of_tests().major() >= 16 { "debug_parallel_query" } else { "force_parallel_mode" };
    asked.client.batch_execute(&format!("SET {setting} = on")).unwrap();
    let plan = asked.client.query(&format!("EXPLAIN {CALL}"), &[]).unwrap();
    assert!(plan.iter().any(|row| row.get::<_, String>(0).contains("Single Copy: true")), "the plan is a worker's");
    assert_eq!(value::<String>(&mut asked.client, CALL, &[]), "false");
    assert_eq!(value::<String>(&mut asked.client, CALL, &[]), "false");
    asked.client.batch_execute(&format!("SET {setting} = off")).unwrap();
    assert_eq!((asked_for(&asked), entries(&mut asked.client)), (2, 0));
    assert_eq!(value::<String>(&mut asked.client, CALL, &[]), "false");
    asked.client.batch_execute(&format!("SET {setting} = on")).unwrap();
    assert_eq!(value::<String>(&mut asked.client, CALL, &[]), "true", "and finds what others kept");
    asked.database.cluster().assert_no_crash();
}

#[test]
fn two_sessions_that_keep_the_same_answer_in_open_transactions_do_not_wait_for_each_other() {
    let mut asked = Asked::echo();
    let mut other = asked.database.superuser();
    for client in [&mut asked.client, &mut other] {
        client.batch_execute("SET lock_timeout = '1s'; BEGIN").unwrap();
        assert_eq!(value::<String>(client, CALL, &[]), "false");
    }
    for client in [&mut asked.client, &mut other] {
        client.batch_execute("COMMIT").unwrap();
    }
    assert_eq!((asked_for(&asked), entries(&mut asked.client)), (2, 2), "both are kept");
    assert_eq!(value::<String>(&mut asked.client, CALL, &[]), "true");
    // Whoever keeps the next, here because the others are too old, removes them.
    asked.client.execute("UPDATE _pg_llm_catalog.response_cache SET created_at = created_at - interval '1 h'", &[]).unwrap();
    ask(&mut asked.client, "Hello", &json!({"cache": {"ttl_s": 5}}));
    assert_eq!(entries(&mut asked.client), 1);
}

#[test]
fn two_sessions_that_clear_and_replace_the_same_rows_in_open_transactions_do_not_wait_either() {
    let mut asked = Asked::echo();
    let mut other = asked.database.superuser();
    assert_eq!(value::<String>(&mut asked.client, CALL, &[]), "false");
    asked.client.execute("UPDATE _pg_llm_catalog.response_cache SET created_at = created_at - interval '1 h'", &[]).unwrap();
    for client in [&mut asked.client, &mut other] {
        client.batch_execute("SET lock_timeout = '1s'; BEGIN").unwrap();
        assert_eq!(ask(client, "Hello", &json!({"cache": {"ttl_s": 5}}))["cached"], json!(false));
    }
    let cleared: i64 = value(&mut other, "SELECT pg_llm_cache_clear()", &[]);
    assert_eq!(cleared, 1, "its own: the former one is being removed by the other session");
    other.batch_execute("SELECT pg_llm_add_model('mock', 'another'); SELECT pg_llm_remove_model('another'); COMMIT").unwrap();
    asked.client.batch_execute("COMMIT").unwrap();
    assert_eq!(entries(&mut asked.client), 1);
}

#[test]
fn a_transaction_that_sees_as_of_its_beginning_keeps_its_answers_and_never_fails_for_it() {
    let mut asked = Asked::echo();
    let mut other = asked.database.superuser();
    // An entry that its snapshot sees, and that another session replaces meanwhile.
    assert_eq!(value::<String>(&mut asked.client, CALL, &[]), "false");
    asked.client.execute("UPDATE _pg_llm_catalog.response_cache SET created_at = created_at - interval '1 h'", &[]).unwrap();
    let mut transaction = asked.client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().unwrap();
    transaction.query_one("SELECT count(*) FROM _pg_llm_catalog.response_cache", &[]).unwrap();
    assert_eq!(ask(&mut other, "Hello", &json!({"cache": {"ttl_s": 5}}))["cached"], json!(false));
    let call = "SELECT pg_llm_chat_json('m', $1, '{\"cache\": {\"ttl_s\": 5}}') ->> 'cached'";
    let mut cached = |prompt: &str| transaction.query_one(call, &[&prompt]).unwrap().get::<_, String>(0);
    assert_eq!(cached("Hello"), "false", "what it cannot see is not found");
    assert_eq!(cached("Hello"), "true", "its own is");
    assert_eq!([cached("later"), cached("later")], ["false", "true"]);
    transaction.commit().unwrap();
    assert_eq!(ask(&mut other, "later", &json!({"cache": true}))["cached"], json!(true));
}

#[test]
fn serializable_transactions_do_not_fail_because_of_the_cache() {
    let mut asked = Asked::echo();
    asked.client.batch_execute("CREATE TABLE log (text text)").unwrap();
    let mut other = asked.database.superuser();
    for client in [&mut asked.client, &mut other] {
        client.batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE").unwrap();
    }
    // Each looks for what is not there, and gets it.
    for client in [&mut asked.client, &mut other] {
        assert_eq!(value::<String>(client, CALL, &[]), "false");
        client.batch_execute("INSERT INTO log VALUES ('x')").unwrap();
    }
    for client in [&mut asked.client, &mut other] {
        client.batch_execute("COMMIT").unwrap();
    }
    assert_eq!(entries(&mut asked.client), 0, "it is read there, and not written");
    assert_eq!(value::<String>(&mut asked.client, CALL, &[]), "false");
    asked.client.batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE").unwrap();
    assert_eq!(value::<String>(&mut asked.client, CALL, &[]), "true");
    asked.client.batch_execute("COMMIT").unwrap();
}
