//! Every way to ask, and each row arrives before the model has said the next piece.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::thread;

use pg_llm_tests::DEADLINE;
use pg_llm_tests::postgres::NoTls;

use super::Paced;

#[test]
fn a_plain_select_from_it_streams() {
    Paced::streams("SELECT chunk FROM pg_llm_chat_stream('m', 'Hello')", &[""]);
}

#[test]
fn all_of_its_columns_stream() {
    Paced::streams("SELECT s.chunk, s.* FROM (SELECT * FROM pg_llm_chat_stream('m', 'Hello')) AS s", &[""]);
}

#[test]
fn the_select_list_streams() {
    Paced::streams("SELECT (pg_llm_chat_stream('m', 'Hello')).chunk", &[""]);
}

#[test]
fn objects_stream() {
    Paced::streams("SELECT e ->> 'text' FROM pg_llm_chat_stream_json('m', 'Hello') AS e WHERE e ->> 'type' = 'text'", &[]);
    Paced::streams("SELECT pg_llm_chat_stream_json('m', 'Hello') ->> 'text' OFFSET 1", &[""]);
}

#[test]
fn a_prompt_from_a_table_streams() {
    Paced::streams("SELECT s.chunk FROM (VALUES ('Hello')) AS t (prompt), pg_llm_chat_stream('m', t.prompt) AS s", &[""]);
    Paced::streams(
        "SELECT s.chunk FROM (SELECT 'Hello' || random() AS prompt) AS t, LATERAL pg_llm_chat_stream('m', t.prompt) AS s",
        &[""],
    );
}

#[test]
fn conditions_and_joins_do_not_hold_rows_back() {
    Paced::streams("SELECT chunk FROM pg_llm_chat_stream('m', 'Hello') WHERE NOT is_final", &[]);
    Paced::streams(
        "WITH s AS NOT MATERIALIZED (TABLE pg_class) SELECT chunk FROM pg_llm_chat_stream('m', 'Hello') WHERE EXISTS (TABLE s)",
        &[""],
    );
    Paced::streams("SELECT chunk FROM pg_llm_chat_stream('m', 'Hello') UNION ALL SELECT 'more'", &["", "more"]);
}

#[test]
fn a_prepared_statement_streams_with_custom_and_generic_plans() {
    for mode in ["force_custom_plan", "force_generic_plan"] {
        let mut paced = Paced::new();
        let client = &mut paced.asked.client;
        client.batch_execute(&format!("SET plan_cache_mode = {mode}")).unwrap();
        let statement = client.prepare("SELECT chunk FROM pg_llm_chat_stream($1, $2, $3)").unwrap();
        let options = serde_json::json!({"max_tokens": 5});
        let parameters: [&(dyn super::ToSql + Sync); 3] = [&"m", &"Hello", &options];
        let mut rows = client.query_raw(&statement, parameters).unwrap();
        let next = || super::FallibleIterator::next(&mut rows).unwrap().map(|row| row.get(0));
        Paced::comes_piece_by_piece(&paced.gate, &paced.late, &[""], next);
    }
}

#[test]
fn a_cursor_gives_each_row_when_it_is_there() {
    let mut paced = Paced::new();
    let mut transaction = paced.asked.client.transaction().unwrap();
    transaction.batch_execute("DECLARE c CURSOR FOR SELECT chunk FROM pg_llm_chat_stream('m', 'Hello')").unwrap();
    assert_eq!(paced.asked.upstream.connections_total(), 0, "who fetches nothing asks nothing");
    let next = || transaction.query("FETCH c", &[]).unwrap().first().map(|row| row.get(0));
    Paced::comes_piece_by_piece(&paced.gate, &paced.late, &[""], next);
}

#[test]
fn a_scrollable_cursor_gives_each_row_when_it_is_there_and_again_without_a_call() {
    let mut paced = Paced::new();
    let mut transaction = paced.asked.client.transaction().unwrap();
    transaction.batch_execute("DECLARE c SCROLL CURSOR FOR SELECT chunk FROM pg_llm_chat_stream('m', 'Hello')").unwrap();
    let next = || transaction.query("FETCH c", &[]).unwrap().first().map(|row| row.get(0));
    Paced::comes_piece_by_piece(&paced.gate, &paced.late, &[""], next);
    let first: String = transaction.query_one("FETCH FIRST c", &[]).unwrap().get(0);
    assert_eq!((first.as_str(), paced.asked.upstream.requests().len()), (super::PIECES[0], 1));
}

#[test]
fn a_portal_gives_as_many_rows_as_it_is_asked_for() {
    let mut paced = Paced::new();
    let mut transaction = paced.asked.client.transaction().unwrap();
    let portal = transaction.bind("SELECT chunk FROM pg_llm_chat_stream('m', 'Hello')", &[]).unwrap();
    let next = || transaction.query_portal(&portal, 1).unwrap().first().map(|row| row.get(0));
    Paced::comes_piece_by_piece(&paced.gate, &paced.late, &[""], next);
}

#[test]
fn copy_streams() {
    let mut paced = Paced::new();
    let copy = "COPY (SELECT chunk || '|' FROM pg_llm_chat_stream('m', 'Hello')) TO STDOUT";
    let mut lines = paced.asked.client.copy_out(copy).unwrap().lines();
    let next = || lines.next().map(|line| line.unwrap().trim_end_matches('|').to_owned());
    Paced::comes_piece_by_piece(&paced.gate, &paced.late, &[""], next);
}

#[test]
fn psql_with_a_fetch_count_shows_each_row_when_it_is_there() {
    let paced = Paced::new();
    let mut psql = paced.asked.database.psql_command();
    psql.args(["-t", "--set=FETCH_COUNT=1", "-c", "SELECT chunk || '|' FROM pg_llm_chat_stream('m', 'Hello')"]).stdout(Stdio::piped());
    let mut psql = psql.spawn().unwrap();
    // Aligned: without, psql ends a line when it has the next.
    let mut lines = BufReader::new(psql.stdout.take().unwrap()).lines().map(Result::unwrap).filter(|line| line.contains('|'));
    let next = || lines.next().map(|line| line.trim_end().trim_end_matches('|').trim_start().to_owned());
    Paced::comes_piece_by_piece(&paced.gate, &paced.late, &[""], next);
    assert!(psql.wait().unwrap().success());
}

/// A loop over a query fetches ten rows ahead, which is PL/pgSQL's; one over a cursor does not.
#[test]
fn a_loop_over_a_cursor_in_plpgsql_has_each_row_when_it_is_there() {
    let paced = Paced::new();
    let (sender, notices) = channel();
    let mut config = paced.asked.database.config();
    config.notice_callback(move |notice| _ = sender.send(notice.message().trim_end_matches('|').to_owned()));
    let session = thread::spawn(move || {
        let block = "DO $$ DECLARE c CURSOR FOR SELECT * FROM pg_llm_chat_stream('m', 'Hello');
                     BEGIN FOR r IN c LOOP RAISE NOTICE '%|', r.chunk; END LOOP; END $$";
        config.connect(NoTls).unwrap().batch_execute(block).unwrap();
    });
    Paced::comes_piece_by_piece(&paced.gate, &paced.late, &[""], || notices.recv_timeout(DEADLINE).ok());
    session.join().unwrap();
}

#[test]
fn functions_between_that_can_stream_do() {
    let mut paced = Paced::new();
    paced
        .asked
        .client
        .batch_execute(
            "CREATE FUNCTION say(prompt text) RETURNS SETOF text LANGUAGE sql STABLE AS $$SELECT chunk FROM pg_llm_chat_stream('m', prompt)$$;
             CREATE VIEW said AS SELECT chunk FROM pg_llm_chat_stream('m', 'Hello')",
        )
        .unwrap();
    let mut rows = paced.asked.client.query_raw("SELECT say('Hello')", super::no_parameters()).unwrap();
    let next = || super::FallibleIterator::next(&mut rows).unwrap().map(|row| row.get(0));
    Paced::comes_piece_by_piece(&paced.gate, &paced.late, &[""], next);
    drop(rows);
    for sql in ["SELECT * FROM said", "SELECT * FROM say('Hello')"] {
        let gate = pg_llm_upstream::Gate::new();
        paced.asked.upstream.on(pg_llm_tests::Asked::PATH).reply(pg_llm_upstream::openai::stream(&super::PIECES).gated(&gate));
        let mut rows = paced.asked.client.query_raw(sql, super::no_parameters()).unwrap();
        let next = || super::FallibleIterator::next(&mut rows).unwrap().map(|row| row.get(0));
        Paced::comes_piece_by_piece(&gate, &paced.late, &[""], next);
    }
}
