//! What ends a statement takes no row away.

use pg_llm_tests::{DEADLINE, Running, db_error, eventually};
use pg_llm_upstream::Reply;
use serde_json::json;

use super::{Kept, members};

#[test]
fn a_rollback_takes_no_row_away() {
    let mut kept = Kept::new();
    kept.chat("BEGIN; SELECT pg_llm_chat('m', 'a'); ROLLBACK; BEGIN; SAVEPOINT s; SELECT pg_llm_chat('m', 'b'); ROLLBACK TO s; COMMIT");
    assert_eq!(members(&kept.rows(), &["outcome", "final"]), json!([["ok", true], ["ok", true]]));
}

#[test]
fn an_error_after_the_call_takes_no_row_away() {
    let mut kept = Kept::new();
    assert_eq!(db_error(kept.client.simple_query("SELECT 1 / length(pg_llm_chat('m', 'a')) * 0 / 0")).code().code(), "22012");
    assert_eq!(kept.row()["outcome"], "ok");
}

#[test]
fn a_cancelled_call_has_a_row_that_says_so() {
    let mut kept = Kept::new();
    kept.upstream.on("/v1/chat/completions").reply(Reply::hang());
    let running = Running::start(kept.database.superuser(), "SELECT pg_llm_chat('m', 'a')");
    assert!(kept.upstream.wait_for_requests(1, DEADLINE));
    running.cancel();
    assert_eq!(db_error(running.finish(DEADLINE).result).code().code(), "57014");
    let row = kept.row();
    assert_eq!((&row["outcome"], &row["error_kind"], &row["sqlstate"]), (&json!("cancelled"), &json!("cancelled"), &json!("57014")));
}

#[test]
fn a_call_whose_session_is_terminated_has_a_row() {
    let mut kept = Kept::new();
    kept.upstream.on("/v1/chat/completions").reply(Reply::hang());
    let running = Running::start(kept.database.superuser(), "SELECT pg_llm_chat('m', 'a')");
    assert!(kept.upstream.wait_for_requests(1, DEADLINE));
    let backend = running.backend();
    assert!(kept.database.cluster().terminate_backend(running.pid()));
    assert!(running.finish(DEADLINE).result.is_err());
    assert!(eventually(DEADLINE, || !backend.exists()));
    assert_eq!(members(&kept.rows(), &["outcome", "final"]), json!([["cancelled", true]]));
}

#[test]
fn candidates_and_rows_of_a_terminated_session_have_a_row_each() {
    let mut kept = Kept::new();
    kept.upstream.on("/v1/chat/completions").reply(Reply::hang());
    let running = Running::start(kept.database.superuser(), "SELECT * FROM pg_llm_chat_batch('m', ARRAY['a', 'b', 'c'])");
    assert!(kept.upstream.wait_for_requests(3, DEADLINE));
    let backend = running.backend();
    assert!(kept.database.cluster().terminate_backend(running.pid()));
    assert!(running.finish(DEADLINE).result.is_err());
    assert!(eventually(DEADLINE, || !backend.exists()));
    assert_eq!(members(&kept.rows(), &["via", "outcome"]), json!([["batch", "cancelled"], ["batch", "cancelled"], ["batch", "cancelled"]]));
}

#[test]
fn a_session_in_which_the_writer_is_terminated_loses_nothing() {
    let mut kept = Kept::new();
    for _ in 0..20 {
        kept.chat("SELECT pg_llm_chat('m', 'a')");
        kept.chat("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_llm ledger writer' AND datname = current_database()");
    }
    assert_eq!(kept.rows().len(), 20);
}
