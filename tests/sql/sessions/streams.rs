//! A stream's turn is kept when the stream has come to its end, and only then.

use pg_llm_tests::{Asked, DEADLINE, db_error};
use pg_llm_upstream::{Gate, Upstream, openai};
use serde_json::{Value, json};

use super::{code, said, say, sent, session, value};

const SQL: &str = "SELECT chunk FROM pg_llm_multi_turn_chat_stream('m', $1, 'Hello')";

#[test]
fn a_stream_goes_with_what_was_said_and_is_kept_at_its_end() {
    let mut asked = Asked::echo();
    let id = session(&mut asked.client, 10);
    say(&mut asked.client, &id, "one");
    let rows = asked.client.query("SELECT * FROM pg_llm_multi_turn_chat_stream('m', $1, 'two words')", &[&id]).unwrap();
    let text: String = rows.iter().map(|row| row.get::<_, String>("chunk")).collect();
    let last = rows.last().unwrap();
    assert_eq!((text.as_str(), last.get::<_, bool>("is_final"), rows[0].get::<_, i32>("seq_no")), ("You said: two words", true, 1));
    assert_eq!(sent(&asked), ["one", "You said: one", "two words"]);
    assert_eq!(said(&mut asked.client, &id)[2..], ["user: two words", "assistant: You said: two words"]);
    let events: Vec<Value> = asked
        .client
        .query("SELECT event FROM pg_llm_multi_turn_chat_stream_json('m', $1, 'three') AS event", &[&id])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let last = events.last().unwrap();
    assert_eq!(
        (&last["type"], &last["session_id"], &last["message_count"], &last["sent_messages"]),
        (&json!("final"), &json!(id), &json!(6), &json!(4))
    );
    assert_eq!(events[0]["type"], "started");
}

#[test]
fn its_rows_come_as_the_model_speaks() {
    let (mut asked, gate) = (Asked::at(Upstream::start(), json!({})), Gate::new());
    asked.upstream.on(Asked::PATH).reply(openai::stream(&["one ", "two"]).gated(&gate));
    let id = session(&mut asked.client, 10);
    let plan: Vec<String> = asked
        .client
        .query(&format!("EXPLAIN {}", SQL.replace("$1", &format!("'{id}'"))), &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(plan.iter().any(|line| line.contains("ProjectSet")), "{plan:?}");
    let mut transaction = asked.client.transaction().unwrap();
    transaction.batch_execute(&format!("DECLARE c CURSOR FOR {}", SQL.replace("$1", &format!("'{id}'")))).unwrap();
    gate.pass(2);
    assert_eq!(transaction.query_one("FETCH c", &[]).unwrap().get::<_, String>(0), "one ");
    gate.open();
    assert_eq!(transaction.query("FETCH ALL c", &[]).unwrap().len(), 2);
    transaction.commit().unwrap();
    assert_eq!(said(&mut asked.client, &id), ["user: Hello", "assistant: one two"]);
}

#[test]
fn a_stream_that_is_left_is_no_turn() {
    for end in ["CLOSE c; COMMIT", "COMMIT", "ROLLBACK"] {
        let (mut asked, gate) = (Asked::at(Upstream::start(), json!({})), Gate::new());
        asked.upstream.on(Asked::PATH).reply(openai::stream(&["one ", "two"]).gated(&gate)).reply(openai::completion("well"));
        let id = session(&mut asked.client, 10);
        gate.pass(2);
        asked.client.batch_execute(&format!("BEGIN; DECLARE c CURSOR FOR {}; FETCH c", SQL.replace("$1", &format!("'{id}'")))).unwrap();
        asked.client.batch_execute(end).unwrap();
        assert!(asked.upstream.wait_until_closed(DEADLINE), "{end}");
        assert_eq!(said(&mut asked.client, &id), [""; 0], "{end}");
        assert_eq!(say(&mut asked.client, &id, "x"), "well");
    }
    let mut asked = Asked::echo();
    let id = session(&mut asked.client, 10);
    assert_eq!(asked.client.query(&format!("{SQL} LIMIT 1"), &[&id]).unwrap().len(), 1);
    assert_eq!(said(&mut asked.client, &id), [""; 0]);
}

#[test]
fn a_stream_that_breaks_off_is_no_turn() {
    for reply in [
        openai::stream_without_end(&["one ", "two"]),
        openai::stream_with_error(&["one ", "two"], "server_error", "x", "x"),
        openai::stream(&["one ", "two"]).truncate(200),
    ] {
        let mut asked = Asked::at(Upstream::start(), json!({"max_attempts": 1}));
        asked.upstream.on(Asked::PATH).reply(reply);
        let id = session(&mut asked.client, 10);
        db_error(asked.client.query(SQL, &[&id]));
        assert_eq!(said(&mut asked.client, &id), [""; 0]);
        // Where a failure is no error, it is no turn either.
        let quiet = "SELECT count(*) FROM pg_llm_multi_turn_chat_stream('m', $1, 'Hello', '{\"on_error\": \"null\"}')";
        value::<i64>(&mut asked.client, quiet, &[&id]);
        assert_eq!(said(&mut asked.client, &id), [""; 0]);
    }
}

#[test]
fn two_streams_of_one_session_in_one_transaction_are_kept_as_they_end() {
    let mut asked = Asked::echo();
    let id = session(&mut asked.client, 10);
    let declare =
        |name: &str| format!("DECLARE {name} CURSOR FOR SELECT chunk FROM pg_llm_multi_turn_chat_stream('m', '{id}', 'from {name}')");
    asked
        .client
        .batch_execute(&format!("BEGIN; {}; {}; FETCH a; FETCH b; FETCH ALL b; FETCH ALL a; COMMIT", declare("a"), declare("b")))
        .unwrap();
    let prompts: Vec<String> = said(&mut asked.client, &id).into_iter().step_by(2).collect();
    assert_eq!(prompts, ["user: from b", "user: from a"]);
    // A session that is deleted under its stream has no place for the turn.
    asked.client.batch_execute(&format!("BEGIN; {}; FETCH c; SELECT pg_llm_delete_session('{id}')", declare("c"))).unwrap();
    assert_eq!(code(&mut asked.client, "FETCH ALL c", &[]), "42704");
    asked.client.batch_execute("ROLLBACK").unwrap();
    assert_eq!(said(&mut asked.client, &id).len(), 4);
}

#[test]
fn streams_know_what_only_whole_answers_keep_to() {
    let mut asked = Asked::echo();
    let id = session(&mut asked.client, 10);
    for (function, options) in [
        ("pg_llm_multi_turn_chat_stream", "{\"confidence_threshold\": 0.5}"),
        ("pg_llm_multi_turn_chat_stream", "{\"on_error\": \"object\"}"),
        ("pg_llm_multi_turn_chat_stream_json", "{\"confidence_threshold\": 0.5}"),
        ("pg_llm_multi_turn_chat_json", "{\"first_token_timeout_ms\": 5}"),
    ] {
        let sql = format!("SELECT {function}('m', $1, 'x', '{options}')");
        assert_eq!(code(&mut asked.client, &sql, &[&id]), "22023", "{sql}");
    }
}
