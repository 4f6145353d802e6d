//! Jobs: calls that a background worker makes, whatever becomes of the session that submitted them, of the worker, and of the server.

mod ends;
mod recovery;
mod rights;
mod running;
mod submitting;

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{DEADLINE, eventually};
use serde_json::Value;

use crate::batch::simple;

/// Runs a statement that submits a job, and gives back its id.
#[track_caller]
fn submit(client: &mut Client, sql: &str) -> String {
    let mut rows = simple(client, sql);
    assert_eq!(rows.len(), 1, "{sql}");
    rows.remove(0)
}

/// `pg_llm_job`.
#[track_caller]
fn job(client: &mut Client, id: &str) -> Value {
    client.query_one(&format!("SELECT pg_llm_job('{id}')"), &[]).unwrap_or_else(|error| panic!("{error:?}")).get(0)
}

/// Waits until a job is in this state.
#[track_caller]
fn becomes(client: &mut Client, id: &str, state: &str) -> Value {
    let mut shown = Value::Null;
    let so = eventually(DEADLINE, || {
        shown = job(client, id);
        shown["state"] == state
    });
    assert!(so, "{shown}");
    shown
}

/// `pg_llm_job_results`: `ord|state|response|sqlstate`.
#[track_caller]
fn results(client: &mut Client, id: &str) -> Vec<String> {
    simple(client, &format!("SELECT ord, state, response, error ->> 'sqlstate' FROM pg_llm_job_results('{id}')"))
}

/// The process of the worker of this session's database.
fn worker(client: &mut Client) -> Option<i32> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_llm jobs' AND datname = current_database() ORDER BY backend_start LIMIT 1";
    client.query_opt(sql, &[]).unwrap().map(|row| row.get(0))
}

/// The one that has the work, waited for: several may have been started for it, and the others end soon.
#[track_caller]
fn live_worker(client: &mut Client) -> i32 {
    let sql = "SELECT a.pid FROM pg_stat_activity a JOIN pg_locks l USING (pid) \
                WHERE a.backend_type = 'pg_llm jobs' AND a.datname = current_database() \
                  AND l.locktype = 'object' AND l.classid = 'pg_namespace'::regclass AND l.objid = 0 AND l.mode = 'ExclusiveLock' AND l.granted";
    let mut found = None;
    assert!(eventually(DEADLINE, || {
        found = client.query_opt(sql, &[]).unwrap().map(|row| row.get(0));
        found.is_some()
    }));
    found.unwrap()
}
