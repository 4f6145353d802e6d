//! Two callers of one session take turns; nobody waits for ever.

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Asked, DEADLINE, Running, db_error, eventually};
use pg_llm_upstream::{Gate, Upstream, openai};
use serde_json::json;

use super::{code, requests, said, say, sent, session, value};

/// Whether this backend waits for a lock.
fn waits(client: &mut Client, pid: i32) -> bool {
    value(client, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock')", &[&pid])
}

/// A turn that has been asked for and is answered when the gate opens; and another caller's that waits for it.
fn one_waits_for_another(asked: &mut Asked, gate: &Gate, second: &str) -> (Running, Running, String) {
    asked.upstream.on(Asked::PATH).reply(openai::completion("first").gated(gate)).reply(openai::completion("second"));
    let id = session(&mut asked.client, 10);
    let first = Running::start(asked.database.superuser(), &format!("SELECT pg_llm_multi_turn_chat('m', '{id}', 'one')"));
    assert!(asked.upstream.wait_for_requests(1, DEADLINE));
    let second = Running::start(asked.database.superuser(), &second.replace("{id}", &id));
    let pid = second.pid();
    assert!(eventually(DEADLINE, || waits(&mut asked.client, pid)), "the second caller waits");
    (first, second, id)
}

const SECOND: &str = "SELECT pg_llm_multi_turn_chat('m', '{id}', 'two')";

#[test]
fn the_second_caller_sees_the_first_ones_turn() {
    let (mut asked, gate) = (Asked::at(Upstream::start(), json!({})), Gate::new());
    let (first, second, id) = one_waits_for_another(&mut asked, &gate, SECOND);
    assert_eq!(requests(&asked), 1, "and has asked nobody yet");
    gate.open();
    assert_eq!(first.finish(DEADLINE).column(), [Some("first".to_owned())]);
    assert_eq!(second.finish(DEADLINE).column(), [Some("second".to_owned())]);
    assert_eq!(sent(&asked), ["one", "first", "two"]);
    assert_eq!(said(&mut asked.client, &id), ["user: one", "assistant: first", "user: two", "assistant: second"]);
}

#[test]
fn the_second_caller_goes_on_when_the_first_one_is_cancelled() {
    let (mut asked, gate) = (Asked::at(Upstream::start(), json!({})), Gate::new());
    let (first, second, id) = one_waits_for_another(&mut asked, &gate, SECOND);
    first.cancel();
    assert_eq!(db_error(first.finish(DEADLINE).result).code().code(), "57014");
    assert_eq!(second.finish(DEADLINE).column(), [Some("second".to_owned())]);
    assert_eq!(said(&mut asked.client, &id), ["user: two", "assistant: second"]);
}

#[test]
fn who_waits_can_be_cancelled_and_has_its_time_for_a_lock() {
    let (mut asked, gate) = (Asked::at(Upstream::start(), json!({})), Gate::new());
    let (first, second, id) = one_waits_for_another(&mut asked, &gate, SECOND);
    second.cancel();
    assert_eq!(db_error(second.finish(DEADLINE).result).code().code(), "57014");
    let mut other = asked.database.superuser();
    other.batch_execute("SET lock_timeout = '50ms'").unwrap();
    assert_eq!(code(&mut other, "SELECT pg_llm_multi_turn_chat('m', $1, 'three')", &[&id]), "55P03");
    // To look, and to fork, nobody has to wait.
    assert_eq!(said(&mut other, &id), [""; 0]);
    value::<String>(&mut other, "SELECT pg_llm_fork_session($1)", &[&id]);
    gate.open();
    first.finish(DEADLINE).result.unwrap();
    assert_eq!(requests(&asked), 1);
}

#[test]
fn in_a_transaction_that_sees_as_of_its_beginning_the_second_caller_is_told_before_it_pays() {
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let (mut asked, gate) = (Asked::at(Upstream::start(), json!({})), Gate::new());
        let second = format!("BEGIN ISOLATION LEVEL {level}; {SECOND}; COMMIT");
        let (first, second, id) = one_waits_for_another(&mut asked, &gate, &second);
        gate.open();
        first.finish(DEADLINE).result.unwrap();
        assert_eq!(db_error(second.finish(DEADLINE).result).code().code(), "40001", "{level}");
        assert_eq!(requests(&asked), 1, "{level}");
        // Alone, it works there as well, turn after turn.
        asked.client.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}")).unwrap();
        say(&mut asked.client, &id, "x");
        say(&mut asked.client, &id, "y");
        asked.client.batch_execute("COMMIT").unwrap();
        assert_eq!(said(&mut asked.client, &id).len(), 6);
    }
}

#[test]
fn two_sessions_in_opposite_order_end_in_an_error_and_not_in_waiting() {
    let mut asked = Asked::echo();
    let (a, b) = (session(&mut asked.client, 10), session(&mut asked.client, 10));
    let (mut one, mut other) = (asked.database.superuser(), asked.database.superuser());
    one.batch_execute("SET deadlock_timeout = '100ms'; BEGIN").unwrap();
    other.batch_execute("SET deadlock_timeout = '1h'; BEGIN").unwrap();
    say(&mut one, &a, "x");
    say(&mut other, &b, "x");
    let waiting = Running::start(other, &format!("SELECT pg_llm_multi_turn_chat('m', '{a}', 'y')"));
    let pid = waiting.pid();
    assert!(eventually(DEADLINE, || waits(&mut asked.client, pid)));
    assert_eq!(code(&mut one, "SELECT pg_llm_multi_turn_chat('m', $1, 'y')", &[&b]), "40P01");
    one.batch_execute("ROLLBACK").unwrap();
    let mut outcome = waiting.finish(DEADLINE);
    assert_eq!(outcome.column(), [Some("You said: y".to_owned())]);
    outcome.client.batch_execute("COMMIT").unwrap();
    assert_eq!((said(&mut asked.client, &a).len(), said(&mut asked.client, &b).len()), (2, 2));
}

#[test]
fn many_callers_of_one_session_lose_no_turn() {
    let mut asked = Asked::echo();
    let id = session(&mut asked.client, 1000);
    let (callers, turns) = (4, 10);
    std::thread::scope(|scope| {
        for caller in 0..callers {
            let (mut client, id) = (asked.database.superuser(), &id);
            scope.spawn(move || (0..turns).for_each(|turn| drop(say(&mut client, id, &format!("{caller} {turn}")))));
        }
    });
    let all = said(&mut asked.client, &id);
    assert_eq!(all.len(), callers * turns * 2);
    for turn in all.chunks(2) {
        assert_eq!(turn[1], turn[0].replace("user: ", "assistant: You said: "));
    }
    // One after another: each went with all that was said before it.
    let sent = |request: &pg_llm_upstream::Received| request.json()["messages"].as_array().map_or(0, Vec::len);
    let mut lengths: Vec<usize> = asked.upstream.requests().iter().map(sent).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, (0..callers * turns).map(|before| before * 2 + 1).collect::<Vec<_>>());
}

#[test]
fn a_session_that_is_deleted_meanwhile_is_gone_for_who_waited() {
    let mut asked = Asked::echo();
    let id = session(&mut asked.client, 10);
    let mut deleter = asked.database.superuser();
    deleter.batch_execute("BEGIN").unwrap();
    assert!(value::<bool>(&mut deleter, "SELECT pg_llm_delete_session($1)", &[&id]));
    let waiting = Running::start(asked.database.superuser(), &format!("SELECT pg_llm_multi_turn_chat('m', '{id}', 'x')"));
    let pid = waiting.pid();
    assert!(eventually(DEADLINE, || waits(&mut asked.client, pid)));
    deleter.batch_execute("COMMIT").unwrap();
    assert_eq!(db_error(waiting.finish(DEADLINE).result).code().code(), "42704");
    assert_eq!(requests(&asked), 0);
}

#[test]
fn deleting_waits_for_the_turn_and_takes_it_along_and_cleaning_up_leaves_it() {
    let (mut asked, gate) = (Asked::at(Upstream::start(), json!({})), Gate::new());
    let (first, second, id) = one_waits_for_another(&mut asked, &gate, "SELECT pg_llm_delete_session('{id}')");
    // It is not idle, however long it has been so.
    let mut other = asked.database.superuser();
    other.batch_execute("SET lock_timeout = '1s'; SELECT pg_llm_cleanup_sessions(0)").unwrap();
    gate.open();
    first.finish(DEADLINE).result.unwrap();
    assert_eq!(second.finish(DEADLINE).column(), [Some("t".to_owned())]);
    assert_eq!(code(&mut asked.client, "SELECT pg_llm_get_session($1)", &[&id]), "42704");
    let left: i64 = value(&mut asked.client, "SELECT count(*) FROM _pg_llm_catalog.session_messages", &[]);
    assert_eq!(left, 0);
}
