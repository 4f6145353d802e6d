//! What may be submitted, and when it counts.

use pg_llm_tests::{Asked, Cluster, DEADLINE, Settings, db_error, eventually};
use pg_llm_upstream::Upstream;
use serde_json::json;

use super::{becomes, results, submit, worker};
use crate::batch::{prompt_model, rows, simple};

#[test]
fn a_job_begins_when_its_transaction_commits_and_never_where_that_rolls_back() {
    let mut asked = prompt_model();
    let mut other = asked.database.superuser();
    asked.client.batch_execute("BEGIN").unwrap();
    let id = submit(&mut asked.client, "SELECT pg_llm_submit('m', 'a')");
    assert_eq!(simple(&mut asked.client, &format!("SELECT pg_llm_job('{id}') ->> 'state'")), ["queued"]);
    assert_eq!(db_error(rows(&mut other, &format!("SELECT pg_llm_job('{id}')"))).code().code(), "42704");
    asked.client.batch_execute("ROLLBACK").unwrap();
    asked.client.batch_execute("BEGIN; SAVEPOINT s; SELECT pg_llm_submit('m', 'b'); ROLLBACK TO s").unwrap();
    let id = submit(&mut asked.client, "SELECT pg_llm_submit('m', 'c')");
    asked.client.batch_execute("COMMIT").unwrap();
    becomes(&mut asked.client, &id, "done");
    let sent: Vec<String> = asked.upstream.requests().iter().map(crate::batch::prompt).collect();
    assert_eq!(sent, ["c"]);
    assert_eq!(simple(&mut asked.client, "SELECT count(*) FROM pg_llm_jobs"), ["1"]);
    // Submitted and taken back in one transaction.
    let cancelled = "BEGIN; SELECT pg_llm_cancel_job(pg_llm_submit('m', 'd')); COMMIT";
    assert_eq!(simple(&mut asked.client, cancelled), ["t"]);
    assert!(
        eventually(DEADLINE, || simple(&mut asked.client, "SELECT state FROM pg_llm_jobs ORDER BY submitted_at") == ["done", "cancelled"])
    );
    assert_eq!(asked.upstream.requests().len(), 1);
}

#[test]
fn what_a_call_would_be_refused_with_is_refused_at_once() {
    let mut asked = prompt_model();
    let role = asked.database.create_role();
    for (call, state) in [
        ("pg_llm_submit('nobody', 'a')", "42704"),
        ("pg_llm_submit(NULL, 'a')", "22023"),
        ("pg_llm_submit('m', 'a', '{\"temprature\": 0}')", "22023"),
        ("pg_llm_submit('m', 'a', '{\"temperature\": \"hot\"}')", "22023"),
        ("pg_llm_submit('m', 'a', '[]')", "22023"),
        ("pg_llm_submit('m', 'a', 'null')", "22023"),
        ("pg_llm_submit('m', 'a', '{\"filters\": [\"none\"]}')", "42704"),
        ("pg_llm_submit('m', 'a', '{\"first_token_timeout_ms\": 5}')", "22023"),
        ("pg_llm_submit('m', 'a', '{\"max_concurrency\": 5}')", "22023"),
        ("pg_llm_submit('m', 'a', '{\"on_error\": \"null\"}')", "22023"),
        ("pg_llm_submit('m', 'a', '{\"strategy\": \"vote\"}')", "22023"),
        ("pg_llm_submit('m', 'a', '{\"notify\": \"\"}')", "22023"),
        ("pg_llm_submit('m', 'a', '{\"notify\": 5}')", "22023"),
        ("pg_llm_submit('m', 'a', jsonb_build_object('notify', repeat('x', 64)))", "22023"),
        ("pg_llm_submit_batch('m', '{a}', '{\"order\": \"ord\"}')", "22023"),
        ("pg_llm_submit_batch('m', '{a}', '{\"max_concurrency\": 0}')", "22023"),
        ("pg_llm_submit_map('m', 'DELETE FROM pg_class')", "22023"),
        ("pg_llm_submit_map('m', 'SELECT 1, 2, 3')", "22023"),
        ("pg_llm_submit_map('m', 'SELECT 1 / 0')", "22012"),
    ] {
        let error = db_error(rows(&mut asked.client, &format!("SELECT {call}")));
        assert_eq!(error.code().code(), state, "{call}: {error:?}");
    }
    let mut user = asked.database.connect_as(&role);
    assert_eq!(db_error(rows(&mut user, "SELECT pg_llm_submit('m', 'a')")).code().code(), "42501");
    let read_only = "BEGIN READ ONLY; SELECT pg_llm_submit('m', 'a')";
    assert_eq!(db_error(rows(&mut asked.client, read_only)).code().code(), "25006");
    asked.client.batch_execute("ROLLBACK").unwrap();
    assert_eq!(simple(&mut asked.client, "SELECT count(*) FROM pg_llm_jobs"), ["0"]);
    assert!(asked.upstream.requests().is_empty() && worker(&mut asked.client).is_none());
}

#[test]
fn null_is_no_job_and_an_unknown_one_an_error() {
    let mut asked = prompt_model();
    for call in
        ["submit('m', NULL)", "submit_batch('m', NULL)", "submit_map('m', NULL)", "job(NULL)", "cancel_job(NULL)", "delete_job(NULL)"]
    {
        assert_eq!(simple(&mut asked.client, &format!("SELECT pg_llm_{call} IS NULL")), ["t"], "{call}");
    }
    assert_eq!(simple(&mut asked.client, "SELECT count(*) FROM pg_llm_job_results(NULL)"), ["0"]);
    let nobodys = "'00000000-0000-7000-8000-00000000000f'";
    assert_eq!(db_error(rows(&mut asked.client, &format!("SELECT pg_llm_job({nobodys})"))).code().code(), "42704");
    assert_eq!(simple(&mut asked.client, &format!("SELECT pg_llm_cancel_job({nobodys}), pg_llm_delete_job({nobodys})")), ["f|f"]);
    // Options that are NULL are none, and the default model counts for jobs as well.
    let id = submit(&mut asked.client, "SET pg_llm.default_model = 'm'; SELECT pg_llm_submit(NULL, 'a', NULL)");
    assert_eq!(becomes(&mut asked.client, &id, "done")["instance_name"], "m");
}

#[test]
fn a_query_is_run_by_its_submitter_and_where_it_fails_there_is_no_job() {
    let mut asked = prompt_model();
    let role = asked.database.create_role();
    asked
        .client
        .batch_execute(&format!("CREATE TABLE secret AS SELECT 's' AS body; CREATE TABLE own AS SELECT current_user AS who; SELECT pg_llm_grant_model('m', '{role}')"))
        .unwrap();
    let mut user = asked.database.connect_as(&role);
    assert_eq!(db_error(rows(&mut user, "SELECT pg_llm_submit_map('m', 'SELECT body FROM secret')")).code().code(), "42501");
    let id = submit(&mut user, "SELECT pg_llm_submit_map('m', 'SELECT ''I am '' || current_user')");
    becomes(&mut user, &id, "done");
    assert_eq!(results(&mut user, &id), [format!("1|done|to I am {role}|NULL")]);
    let midway = "SELECT pg_llm_submit_map('m', 'SELECT 1 / (50 - i) FROM generate_series(1, 100) AS i')";
    assert_eq!(db_error(rows(&mut user, midway)).code().code(), "22012");
    assert_eq!(simple(&mut user, "SELECT count(*) FROM pg_llm_jobs"), ["1"]);
}

#[test]
fn texts_that_are_awkward_come_through() {
    let mut asked = prompt_model();
    let awkward = ["", " ", "''\"\\{}", "ünïcödé 🦀", "a\nb\tc", "\\u0000"];
    let id: String = asked.value("SELECT pg_llm_submit_batch('m', $1)::text", &[&awkward.to_vec()]).unwrap();
    becomes(&mut asked.client, &id, "done");
    let got: Vec<String> = asked
        .client
        .query("SELECT response FROM pg_llm_job_results($1::text::uuid)", &[&id])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(got, awkward.map(|prompt| format!("to {prompt}")));
    // An answer that jsonb cannot hold as it is.
    asked.upstream.on(Asked::PATH).reply(pg_llm_upstream::openai::completion("a\0b"));
    let id = submit(&mut asked.client, "SELECT pg_llm_submit('m', 'nul')");
    assert_eq!(becomes(&mut asked.client, &id, "done")["result"]["response"], "a\u{fffd}b");
}

#[test]
fn a_standby_takes_no_job_and_shows_those_of_its_primary() {
    let primary = Cluster::start(&Settings::for_models());
    let database = primary.database();
    let upstream = Upstream::start_echo();
    let mut client = database.superuser();
    let config = json!({"api_endpoint": format!("{}/v1", upstream.url())});
    client.execute("SELECT pg_llm_add_model('openai-compatible', 'm', 'sk-12345678', $1)", &[&config]).unwrap();
    let id = submit(&mut client, "SELECT pg_llm_submit('m', 'a')");
    becomes(&mut client, &id, "done");
    let standby = primary.standby();
    let mut there = database.on(&standby).superuser();
    let error = db_error(rows(&mut there, "SELECT pg_llm_submit('m', 'a')"));
    assert!(error.code().code() == "55000" && error.message().contains("standby") && error.hint().is_some(), "{error:?}");
    assert_eq!(super::job(&mut there, &id)["state"], "done");
    assert_eq!(results(&mut there, &id), ["1|done|You said: a|NULL"]);
    assert_eq!(db_error(rows(&mut there, &format!("SELECT pg_llm_cancel_job('{id}')"))).code().code(), "25006");
    standby.assert_no_crash();
}
