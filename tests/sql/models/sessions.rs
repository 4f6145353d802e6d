//! Several sessions and one model.

use pg_llm_tests::{Asked, DEADLINE, Running, db_error, eventually, postgres::Client};
use serde_json::json;

fn ask(client: &mut Client) -> Result<String, pg_llm_tests::postgres::Error> {
    client.query_one("SELECT pg_llm_chat('m', 'Hello')", &[]).map(|row| row.get(0))
}

fn mock(word: &str) -> String {
    format!("SELECT pg_llm_add_model('mock', 'm', NULL, '{{\"mock_response\": \"{word}\"}}')")
}

#[test]
fn a_change_is_seen_by_the_next_call_of_every_session() {
    let mut asked = Asked::echo();
    let mut others = [asked.database.superuser(), asked.database.superuser()];
    for other in &mut others {
        assert_eq!(ask(other).unwrap(), "You said: Hello", "what a session knows of a model it keeps");
    }
    asked.client.batch_execute(&mock("changed")).unwrap();
    for other in &mut others {
        assert_eq!(ask(other).unwrap(), "changed");
    }
    asked.add("openai-compatible", "m", &json!({"system": "S"}));
    for other in &mut others {
        assert_eq!(ask(other).unwrap(), "You said: Hello");
        assert_eq!(asked.sent()["messages"][0]["content"], "S");
    }
    asked.client.batch_execute("SELECT pg_llm_remove_model('m')").unwrap();
    for other in &mut others {
        assert_eq!(db_error(ask(other)).code().code(), "42704");
    }
    asked.client.batch_execute(&mock("back")).unwrap();
    for other in &mut others {
        assert_eq!(ask(other).unwrap(), "back");
    }
}

#[test]
fn what_is_not_committed_is_not_seen_by_others() {
    let asked = Asked::echo();
    let (mut one, mut other) = (asked.database.superuser(), asked.database.superuser());
    one.batch_execute(&format!("BEGIN; {}", mock("not yet"))).unwrap();
    assert_eq!(ask(&mut one).unwrap(), "not yet");
    assert_eq!(ask(&mut other).unwrap(), "You said: Hello");
    one.batch_execute("COMMIT").unwrap();
    assert_eq!(ask(&mut other).unwrap(), "not yet");
}

#[test]
fn a_key_rotated_in_one_session_is_used_by_the_next_call_of_another() {
    let mut asked = Asked::echo();
    let mut other = asked.database.superuser();
    let key_of = |asked: &Asked| asked.upstream.last_request().unwrap().header("authorization").map(str::to_owned);
    ask(&mut other).unwrap();
    for key in ["sk-rotated-1", "sk-rotated-2", "sk-rotated-3"] {
        asked.value::<bool>("SELECT pg_llm_set_key('m', 'default', $1)", &[&key]).unwrap();
        ask(&mut other).unwrap();
        assert_eq!(key_of(&asked), Some(format!("Bearer {key}")));
    }
    asked.client.batch_execute("BEGIN; SELECT pg_llm_set_key('m', 'default', 'sk-not-committed')").unwrap();
    ask(&mut other).unwrap();
    assert_eq!(key_of(&asked).as_deref(), Some("Bearer sk-rotated-3"));
    ask(&mut asked.client).unwrap();
    assert_eq!(key_of(&asked).as_deref(), Some("Bearer sk-not-committed"));
    asked.client.batch_execute("ROLLBACK").unwrap();
    ask(&mut asked.client).unwrap();
    assert_eq!(key_of(&asked).as_deref(), Some("Bearer sk-rotated-3"));
    assert_eq!(asked.upstream.connections_total(), 2, "a key belongs to no connection");
}

/// Waits until a statement waits for another session's transaction.
#[track_caller]
fn waits(asked: &Asked, call: &Running) {
    let mut watcher = asked.database.superuser();
    let sql = format!("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = {}", call.pid());
    assert!(eventually(DEADLINE, || watcher.query_one(&sql, &[]).unwrap().get::<_, Option<bool>>(0) == Some(true)));
}

#[test]
fn two_sessions_that_add_one_name_at_once_both_succeed_and_the_later_one_counts() {
    for (end, expected) in [("COMMIT", "second"), ("ROLLBACK", "second")] {
        let asked = Asked::echo();
        let mut first = asked.database.superuser();
        first.batch_execute("SELECT pg_llm_remove_model('m')").unwrap();
        first.batch_execute(&format!("BEGIN; {}", mock("first"))).unwrap();
        let second = Running::start(asked.database.superuser(), &mock("second"));
        waits(&asked, &second);
        first.batch_execute(end).unwrap();
        let mut outcome = second.finish(DEADLINE);
        assert_eq!(outcome.column(), [Some("t".to_owned())]);
        for client in [&mut first, &mut outcome.client] {
            assert_eq!(ask(client).unwrap(), expected, "after {end}");
        }
        let owners: i64 = first.query_one("SELECT count(*) FROM _pg_llm_catalog.grants WHERE instance_name = 'm'", &[]).unwrap().get(0);
        assert_eq!(owners, 1);
    }
}

#[test]
fn changing_a_model_that_another_session_removes_adds_it_or_says_so() {
    let mut asked = Asked::echo();
    asked.client.batch_execute("BEGIN; SELECT pg_llm_remove_model('m')").unwrap();
    let change = Running::start(asked.database.superuser(), &mock("changed"));
    waits(&asked, &change);
    asked.client.batch_execute("COMMIT").unwrap();
    let mut outcome = change.finish(DEADLINE);
    assert_eq!(outcome.column(), [Some("t".to_owned())]);
    assert_eq!(ask(&mut outcome.client).unwrap(), "changed", "true is the truth");
}

#[test]
fn many_sessions_may_add_change_and_remove_one_name_without_a_deadlock() {
    let asked = Asked::echo();
    let script = "DO $$ BEGIN FOR i IN 1 .. 20 LOOP \
                      PERFORM pg_llm_add_model('mock', 'm', 'sk-12345678'); COMMIT; \
                      PERFORM pg_llm_set_key('m', 'default', 'sk-87654321') FROM pg_llm_models WHERE false; COMMIT; \
                      PERFORM pg_llm_remove_model('m'); COMMIT; \
                  END LOOP; END $$";
    let sessions: Vec<_> = (0..4).map(|_| Running::start(asked.database.superuser(), script)).collect();
    for session in sessions {
        if let Err(error) = session.finish(DEADLINE).result {
            let error = error.as_db_error().unwrap();
            assert!(["42704", "42710"].contains(&error.code().code()), "{error:?}");
        }
    }
    asked.database.cluster().assert_no_crash();
    let left: i64 = asked.database.superuser().query_one("SELECT count(*) FROM _pg_llm_catalog.keys", &[]).unwrap().get(0);
    assert!(left <= 1);
}
