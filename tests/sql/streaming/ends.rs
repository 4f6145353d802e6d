//! A stream that nobody pulls any more is over: its upstream sees the connection closed, and the session goes on.

use pg_llm_tests::postgres::{Client, SimpleQueryMessage};
use pg_llm_tests::{DEADLINE, Running, db_error};
use pg_llm_upstream::openai;

use super::{Paced, rows_and_error, texts};

const SQL: &str = "SELECT chunk FROM pg_llm_chat_stream('m', 'Hello')";
const DECLARE: &str = "DECLARE c CURSOR FOR SELECT chunk FROM pg_llm_chat_stream('m', 'Hello')";

fn simple(client: &mut Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    messages.iter().filter_map(|m| if let SimpleQueryMessage::Row(row) = m { row.get(0).map(str::to_owned) } else { None }).collect()
}

impl Paced {
    fn is_closed(&self) {
        assert!(self.asked.upstream.wait_until_closed(DEADLINE), "the upstream still has a connection");
    }

    fn works(&mut self) {
        self.asked.upstream.on(pg_llm_tests::Asked::PATH).reply(openai::stream(&["well"]));
        assert_eq!(simple(&mut self.asked.client, SQL), ["well", ""]);
        self.asked.database.cluster().assert_no_crash();
    }
}

#[test]
fn a_limit_ends_it() {
    for sql in [
        format!("{SQL} LIMIT 2"),
        "SELECT (pg_llm_chat_stream('m', 'Hello')).chunk LIMIT 2".to_owned(),
        "SELECT s.chunk FROM generate_series(1, 3) AS i, pg_llm_chat_stream('m', 'Hello ' || i) AS s LIMIT 2".to_owned(),
        format!("SELECT x.chunk FROM ({SQL} LIMIT 2) AS x, (VALUES (1)) AS y"),
    ] {
        let extended = |client: &mut Client, sql: &str| texts(&client.query(sql, &[]).unwrap());
        for protocol in [simple, extended] {
            let mut paced = Paced::new();
            paced.says(2);
            assert_eq!(protocol(&mut paced.asked.client, &sql), super::PIECES[..2], "{sql}");
            paced.is_closed();
            assert_eq!(paced.asked.upstream.requests().len(), 1, "{sql}");
            paced.works();
        }
    }
}

#[test]
fn who_only_asks_whether_there_is_a_row_ends_it() {
    let mut paced = Paced::new();
    paced.says(1);
    assert_eq!(simple(&mut paced.asked.client, &format!("SELECT 'yes' WHERE EXISTS ({SQL})")), ["yes"]);
    paced.is_closed();
    paced.works();
}

/// In a transaction, the protocol keeps a portal until the next one takes its place.
#[test]
fn a_limit_in_a_transaction_ends_it_with_the_next_statement_at_the_latest() {
    let mut paced = Paced::new();
    paced.says(2);
    let mut transaction = paced.asked.client.transaction().unwrap();
    assert_eq!(transaction.query(&format!("{SQL} LIMIT 2"), &[]).unwrap().len(), 2);
    transaction.query("SELECT 1", &[]).unwrap();
    assert!(paced.asked.upstream.wait_until_closed(DEADLINE));
}

#[test]
fn closing_its_cursor_or_its_transaction_ends_it() {
    for end in ["CLOSE c; COMMIT", "COMMIT", "ROLLBACK", "CLOSE ALL; ROLLBACK"] {
        let mut paced = Paced::new();
        paced.says(1);
        let client = &mut paced.asked.client;
        assert_eq!(simple(client, &format!("BEGIN; {DECLARE}; FETCH c")), super::PIECES[..1]);
        assert_eq!(paced.asked.upstream.open_connections(), 1);
        simple(&mut paced.asked.client, end);
        paced.is_closed();
        paced.works();
    }
}

#[test]
fn rolling_back_to_before_its_cursor_ends_it_and_to_after_does_not() {
    let mut paced = Paced::new();
    paced.says(1);
    assert_eq!(simple(&mut paced.asked.client, &format!("BEGIN; SAVEPOINT s; {DECLARE}; FETCH c")), super::PIECES[..1]);
    simple(&mut paced.asked.client, "ROLLBACK TO s");
    paced.is_closed();
    simple(&mut paced.asked.client, "COMMIT");
    paced.works();

    let mut paced = Paced::new();
    paced.says(2);
    assert_eq!(simple(&mut paced.asked.client, &format!("BEGIN; {DECLARE}; SAVEPOINT s; FETCH c")), super::PIECES[..1]);
    assert!(paced.asked.client.simple_query("SELECT 1 / 0").is_err());
    assert_eq!(simple(&mut paced.asked.client, "ROLLBACK TO s; FETCH c"), super::PIECES[1..2]);
    paced.gate.open();
    assert_eq!(simple(&mut paced.asked.client, "FETCH ALL c; COMMIT"), ["three", ""]);
    assert_eq!(paced.asked.upstream.requests().len(), 1);
    paced.works();
}

#[test]
fn a_block_that_catches_an_error_ends_what_was_opened_in_it() {
    let mut paced = Paced::new();
    paced.says(1);
    let block = "DO $$ DECLARE c refcursor; r record; BEGIN
                   BEGIN OPEN c FOR SELECT * FROM pg_llm_chat_stream('m', 'Hello'); FETCH c INTO r; RAISE division_by_zero;
                   EXCEPTION WHEN division_by_zero THEN NULL; END;
                   PERFORM set_config('test.first', r.chunk, false);
                   PERFORM pg_sleep(0.01);
                 END $$";
    paced.asked.client.batch_execute(block).unwrap();
    paced.is_closed();
    assert_eq!(simple(&mut paced.asked.client, "SELECT current_setting('test.first')"), super::PIECES[..1]);
    paced.works();
}

#[test]
fn an_error_elsewhere_in_the_query_ends_it_after_the_rows_that_came() {
    let mut paced = Paced::new();
    paced.says(2);
    let (rows, error) = rows_and_error(&mut paced.asked.client, "SELECT chunk, 1 / (seq_no - 2) FROM pg_llm_chat_stream('m', 'Hello')");
    assert_eq!((texts(&rows), db_error::<()>(Err(error.unwrap())).code().code()), (vec![super::PIECES[0].to_owned()], "22012"));
    paced.is_closed();
    paced.works();
}

#[test]
fn the_end_of_its_session_ends_it() {
    let paced = Paced::new();
    paced.says(1);
    let mut client = paced.asked.database.superuser();
    assert_eq!(simple(&mut client, &format!("BEGIN; {DECLARE}; FETCH c")), super::PIECES[..1]);
    assert_eq!(paced.asked.upstream.open_connections(), 1);
    drop(client);
    paced.is_closed();
    paced.asked.database.cluster().assert_no_crash();
}

#[test]
fn a_session_that_is_terminated_with_an_idle_stream_ends_it() {
    let paced = Paced::new();
    paced.says(1);
    let mut client = paced.asked.database.superuser();
    let backend = pg_llm_tests::Backend::of(&mut client);
    simple(&mut client, &format!("BEGIN; {DECLARE}; FETCH c"));
    assert!(paced.asked.database.cluster().terminate_backend(backend.0));
    paced.is_closed();
    assert!(pg_llm_tests::eventually(DEADLINE, || !backend.exists()));
    paced.asked.database.cluster().assert_no_crash();
}

/// A cancel while a cursor waits for its next row ends the fetch; the stream has gone with it.
#[test]
fn a_cancelled_fetch_ends_its_stream() {
    let mut paced = Paced::new();
    paced.says(1);
    simple(&mut paced.asked.client, &format!("BEGIN; {DECLARE}; FETCH c"));
    let fetch = Running::start(std::mem::replace(&mut paced.asked.client, paced.asked.database.superuser()), "SAVEPOINT s; FETCH c");
    assert!(pg_llm_tests::eventually(DEADLINE, || waits(fetch.pid())));
    fetch.cancel();
    let mut outcome = fetch.finish(DEADLINE);
    assert_eq!(db_error(outcome.result).code().code(), "57014");
    paced.is_closed();
    simple(&mut outcome.client, "ROLLBACK TO s");
    assert!(outcome.client.simple_query("FETCH c").is_err(), "there is nothing more to fetch");
    simple(&mut outcome.client, "ROLLBACK");
    paced.asked.client = outcome.client;
    paced.works();
}

/// Whether the backend sleeps in a statement.
fn waits(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S')) && String::from_utf8_lossy(&command).contains("FETCH")
}

#[test]
fn statement_timeout_ends_it_in_its_midst() {
    let mut paced = Paced::new();
    paced.says(2);
    paced.asked.client.batch_execute("SET statement_timeout = '1500ms'").unwrap();
    let (rows, error) = rows_and_error(&mut paced.asked.client, SQL);
    assert_eq!(
        (texts(&rows), db_error::<()>(Err(error.unwrap())).code().code()),
        (super::PIECES[..2].iter().map(ToString::to_string).collect(), "57014")
    );
    paced.is_closed();
    paced.asked.client.batch_execute("SET statement_timeout = 0").unwrap();
    paced.works();
}

/// Two streams in one session, pulled in turn, with other calls between.
#[test]
fn streams_of_one_session_do_not_disturb_each_other() {
    let (mut paced, other) = (Paced::new(), Paced::new());
    let add = "SELECT pg_llm_add_model('openai-compatible', 'other', 'sk-other-other', jsonb_build_object('api_endpoint', $1::text))";
    paced.asked.client.execute(add, &[&format!("{}/v1", other.asked.upstream.url())]).unwrap();
    paced.asked.client.execute("SELECT pg_llm_add_model('mock', 'mock')", &[]).unwrap();
    let client = &mut paced.asked.client;
    simple(client, &format!("BEGIN; {DECLARE}; DECLARE d CURSOR FOR SELECT chunk FROM pg_llm_chat_stream('other', 'Hello')"));
    paced.gate.pass(1);
    other.gate.pass(1);
    for piece in super::PIECES {
        for (gate, cursor) in [(&paced.gate, "c"), (&other.gate, "d")] {
            gate.pass(1);
            assert_eq!(simple(client, &format!("FETCH {cursor}")), [piece], "{cursor}");
            assert_eq!(simple(client, "SELECT pg_llm_chat('mock', 'between')"), ["You said: between"]);
        }
    }
    // One is given up, the other goes to its end.
    simple(client, "CLOSE d");
    assert!(other.asked.upstream.wait_until_closed(DEADLINE));
    paced.gate.open();
    assert_eq!(simple(client, "FETCH ALL c; COMMIT"), [""]);
    paced.works();
}
