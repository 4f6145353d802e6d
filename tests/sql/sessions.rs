//! Sessions: what was said goes along with what is said next, is its owner's alone, and is kept only when it was said to the end.

mod failures;
mod history;
mod lifetime;
mod races;
mod roles;
mod streams;
mod summary;

use pg_llm_tests::postgres::Client;
use pg_llm_tests::postgres::types::{FromSqlOwned, ToSql};
use pg_llm_tests::{Asked, db_error};
use serde_json::{Value, json};

#[track_caller]
fn value<T: FromSqlOwned>(client: &mut Client, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> T {
    client.query_one(sql, parameters).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

#[track_caller]
fn session(client: &mut Client, max_messages: i32) -> String {
    value(client, "SELECT pg_llm_create_session($1)", &[&max_messages])
}

/// A turn with model `m`.
#[track_caller]
fn say(client: &mut Client, session: &str, prompt: &str) -> String {
    value(client, "SELECT pg_llm_multi_turn_chat('m', $1, $2)", &[&session, &prompt])
}

/// The same with options, as an object.
#[track_caller]
fn ask(client: &mut Client, session: &str, prompt: &str, options: &Value) -> Value {
    value(client, "SELECT pg_llm_multi_turn_chat_json('m', $1, $2, $3)", &[&session, &prompt, options])
}

/// What was said, as `role: content`.
#[track_caller]
fn said(client: &mut Client, session: &str) -> Vec<String> {
    let rows = client.query("SELECT role || ': ' || content FROM pg_llm_get_session_messages($1)", &[&session]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// The contents of the messages of the latest request.
#[track_caller]
fn sent(asked: &Asked) -> Vec<Value> {
    asked.sent()["messages"].as_array().unwrap().iter().map(|message| message["content"].clone()).collect()
}

fn requests(asked: &Asked) -> u64 {
    asked.upstream.observe(|seen| seen.requests_total)
}

#[track_caller]
fn code(client: &mut Client, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> String {
    db_error(client.query(sql, parameters)).code().code().to_owned()
}

#[test]
fn the_next_prompt_goes_with_what_was_said_before() {
    let mut asked = Asked::echo();
    let id: String = value(&mut asked.client, "SELECT pg_llm_create_session()", &[]);
    assert_eq!(say(&mut asked.client, &id, "one"), "You said: one");
    assert_eq!(say(&mut asked.client, &id, "two"), "You said: two");
    assert_eq!(sent(&asked), ["one", "You said: one", "two"]);
    let answer = ask(&mut asked.client, &id, "three", &json!({"temperature": 0, "system": "Be brief."}));
    assert_eq!(sent(&asked), ["Be brief.", "one", "You said: one", "two", "You said: two", "three"]);
    assert_eq!((&answer["response"], &answer["session_id"]), (&json!("You said: three"), &json!(id)));
    assert_eq!((&answer["message_count"], &answer["sent_messages"], &answer["summary"]), (&json!(6), &json!(4), &json!(null)));
    let ids: Vec<i64> = (1..=6).collect();
    let kept: Vec<i64> = value(&mut asked.client, "SELECT array_agg(id ORDER BY id) FROM pg_llm_get_session_messages($1)", &[&id]);
    assert_eq!(kept, ids);
    let of_call: String = value(
        &mut asked.client,
        "SELECT string_agg(DISTINCT request_id::text, ' ') FROM pg_llm_get_session_messages($1) WHERE id > 4",
        &[&id],
    );
    assert_eq!(json!(of_call), answer["request_id"], "both messages of a turn are of its call");
    // The instructions are the call's, and no part of the conversation.
    assert_eq!(said(&mut asked.client, &id).len(), 6);
}

#[test]
fn a_session_is_shown_with_its_messages_and_its_state() {
    let mut asked = Asked::echo();
    let id = session(&mut asked.client, 7);
    let other = session(&mut asked.client, 3);
    assert_ne!(id, other);
    assert_eq!(id.len(), 36, "{id}");
    say(&mut asked.client, &id, "one");
    asked.client.execute("SELECT pg_llm_update_session_state($1, $2)", &[&id, &json!({"step": 1.10})]).unwrap();
    let shown: Value = value(&mut asked.client, "SELECT pg_llm_get_session($1)", &[&id]);
    assert_eq!((&shown["session_id"], &shown["max_messages"], &shown["message_count"]), (&json!(id), &json!(7), &json!(2)));
    assert_eq!((&shown["state"], &shown["summary"]), (&json!({"step": 1.10}), &json!(null)));
    let user: String = value(&mut asked.client, "SELECT current_user::text", &[]);
    assert_eq!(shown["role"], json!(user));
    assert!(shown["created_at"].is_string() && shown["last_active_at"].is_string(), "{shown}");
    let first = &shown["messages"][0];
    assert_eq!((&first["id"], &first["role"], &first["content"]), (&json!(1), &json!("user"), &json!("one")));
    assert_eq!(first["message"], json!({"role": "user", "content": "one"}));
    assert!(first["request_id"].is_string() && first["created_at"].is_string());
    let rows = asked
        .client
        .query("SELECT session_id, message_count, max_messages FROM pg_llm_get_sessions() WHERE last_active_time <= clock_timestamp()", &[])
        .unwrap();
    let listed: Vec<(String, i32, i32)> = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    assert_eq!(listed, [(id, 2, 7), (other, 0, 3)], "the latest first");
}

#[test]
fn null_is_null_and_no_call_and_what_changes_something_wants_to_know_which() {
    let mut asked = Asked::echo();
    let id = session(&mut asked.client, 10);
    for sql in [
        "SELECT pg_llm_multi_turn_chat('m', $1, NULL)",
        "SELECT pg_llm_multi_turn_chat('m', $1, NULL, '{\"no\": 1}')",
        "SELECT pg_llm_multi_turn_chat_json('m', $1, NULL)::text",
        "SELECT (SELECT chunk FROM pg_llm_multi_turn_chat_stream('m', $1, NULL))",
        "SELECT (SELECT event::text FROM pg_llm_multi_turn_chat_stream_json('m', $1, NULL) AS event)",
        "SELECT pg_llm_get_session(nullif($1, $1))::text",
        "SELECT pg_llm_delete_session(nullif($1, $1))::text",
        "SELECT (SELECT content FROM pg_llm_get_session_messages(nullif($1, $1)))",
    ] {
        assert_eq!(value::<Option<String>>(&mut asked.client, sql, &[&id]), None, "{sql}");
    }
    for sql in [
        "SELECT pg_llm_multi_turn_chat('m', NULL, 'x')",
        "SELECT pg_llm_create_session(NULL)",
        "SELECT pg_llm_set_max_messages(NULL, 1)",
        "SELECT pg_llm_set_max_messages('x', NULL)",
        "SELECT pg_llm_update_session_state('x', NULL)",
        "SELECT pg_llm_fork_session(NULL)",
        "SELECT pg_llm_cleanup_sessions(NULL)",
        "SELECT pg_llm_create_session(0)",
        "SELECT pg_llm_create_session(-1)",
        "SELECT pg_llm_create_session(10001)",
        "SELECT pg_llm_cleanup_sessions(-1)",
    ] {
        assert_eq!(code(&mut asked.client, sql, &[]), "22023", "{sql}");
    }
    assert_eq!(requests(&asked), 0);
    assert_eq!(said(&mut asked.client, &id), [""; 0]);
    // A NULL name stands for the default model here too.
    asked.client.batch_execute("SET pg_llm.default_model = 'm'").unwrap();
    assert_eq!(value::<String>(&mut asked.client, "SELECT pg_llm_multi_turn_chat(NULL, $1, 'x')", &[&id]), "You said: x");
}

#[test]
fn what_cannot_be_a_turn_is_refused_before_any_call() {
    let mut asked = Asked::echo();
    let id = session(&mut asked.client, 10);
    for (prompt, options) in [
        ("x", json!({"summarise": true})),
        ("x", json!({"summarize": "yes"})),
        ("x", json!({"strategy": "vote"})),
        ("x", json!({"on_error": "object"})),
        ("x", json!({"messages": [{"role": "king", "content": "x"}]})),
        ("", json!({})),
        ("", json!({"messages": []})),
    ] {
        let sql = "SELECT pg_llm_multi_turn_chat('m', $1, $2, $3)";
        assert_eq!(code(&mut asked.client, sql, &[&id, &prompt, &options]), "22023", "{options}");
    }
    assert_eq!(code(&mut asked.client, "SELECT pg_llm_chat('m', 'x', '{\"summarize\": true}')", &[]), "22023");
    assert_eq!(code(&mut asked.client, "SELECT pg_llm_multi_turn_chat('nobody', $1, 'x')", &[&id]), "42704");
    for sql in [
        "SELECT pg_llm_multi_turn_chat('m', 'no such', 'x')",
        "SELECT pg_llm_multi_turn_chat('m', 'no such', 'x', '{\"on_error\": \"null\"}')",
        "SELECT pg_llm_get_session('no such')",
        "SELECT * FROM pg_llm_get_session_messages('no such')",
        "SELECT pg_llm_fork_session('no such')",
        "SELECT pg_llm_set_max_messages('no such', 1)",
        "SELECT pg_llm_update_session_state('no such', '{}')",
    ] {
        assert_eq!(code(&mut asked.client, sql, &[]), "42704", "{sql}");
    }
    assert!(!value::<bool>(&mut asked.client, "SELECT pg_llm_delete_session('no such')", &[]));
    assert_eq!(requests(&asked), 0);
}

#[test]
fn several_turns_in_one_statement_follow_each_other() {
    let mut asked = Asked::echo();
    let id = session(&mut asked.client, 10);
    let sql = "SELECT string_agg(pg_llm_multi_turn_chat('m', $1, p), ' ' ORDER BY p) FROM unnest(ARRAY['a', 'b', 'c']) AS p";
    value::<String>(&mut asked.client, sql, &[&id]);
    assert_eq!(said(&mut asked.client, &id).len(), 6);
    assert_eq!(sent(&asked).len(), 5, "the third goes with two turns");
}
