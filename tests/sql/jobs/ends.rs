//! How jobs end before their time, and how they are forgotten.

use pg_llm_tests::{Cluster, DEADLINE, Settings, db_error, eventually};
use pg_llm_upstream::Upstream;
use serde_json::json;

use super::{becomes, job, results, submit, worker};
use crate::batch::{Held, array, prompt_model, rows, simple};

#[test]
fn a_cancelled_job_breaks_off_what_is_in_flight_and_keeps_what_is_finished() {
    let mut held = Held::new();
    let prompts: Vec<String> = (1..=20).map(|i| format!("p{i}")).collect();
    let id = submit(&mut held.asked.client, &format!("SELECT pg_llm_submit_batch('m', {}, '{{\"max_concurrency\": 4}}')", array(&prompts)));
    let other = submit(&mut held.asked.client, "SELECT pg_llm_submit('m', 'other')");
    held.answers("p1");
    held.asked_for(6);
    assert!(eventually(DEADLINE, || job(&mut held.asked.client, &id)["done"] == 1));
    // Until it commits, nothing.
    simple(&mut held.asked.client, &format!("BEGIN; SELECT pg_llm_cancel_job('{id}'); ROLLBACK"));
    assert_eq!(job(&mut held.asked.client, &id)["state"], "running");
    assert_eq!(simple(&mut held.asked.client, &format!("SELECT pg_llm_cancel_job('{id}')")), ["t"]);
    becomes(&mut held.asked.client, &id, "cancelled");
    assert!(held.asked.upstream.wait_for(|observed| observed.open_connections == 1, DEADLINE), "connections of a cancelled job stay open");
    let rows = results(&mut held.asked.client, &id);
    assert_eq!(rows[0], "1|done|to p1|NULL");
    assert!(rows[1..].iter().enumerate().all(|(at, row)| *row == format!("{}|cancelled|NULL|NULL", at + 2)), "{rows:?}");
    assert_eq!(simple(&mut held.asked.client, &format!("SELECT pg_llm_cancel_job('{id}')")), ["f"], "once");
    held.answers("other");
    assert_eq!(becomes(&mut held.asked.client, &other, "done")["result"]["response"], "to other", "other jobs go on");
    assert_eq!(held.asked.upstream.requests().len(), 6, "no row began after the cancel");
    assert_eq!(job(&mut held.asked.client, &id)["state"], "cancelled");
    held.asked.database.cluster().assert_no_crash();
}

#[test]
fn a_session_that_has_not_committed_its_cancel_holds_up_nobody() {
    let mut held = Held::new();
    let id = submit(&mut held.asked.client, "SELECT pg_llm_submit_batch('m', ARRAY['a', 'b'], '{\"max_concurrency\": 1}')");
    held.asked_for(1);
    let mut slow = held.asked.database.superuser();
    slow.batch_execute(&format!("BEGIN; SELECT pg_llm_cancel_job('{id}')")).unwrap();
    held.answers("a");
    held.answers("b");
    becomes(&mut held.asked.client, &id, "done");
    slow.batch_execute("COMMIT").unwrap();
    assert_eq!(job(&mut held.asked.client, &id)["state"], "done", "it came too late");
    assert_eq!(simple(&mut held.asked.client, &format!("SELECT pg_llm_delete_job('{id}')")), ["t"]);
}

#[test]
fn a_job_that_has_ended_is_deleted_by_its_role_and_no_other_one() {
    let mut held = Held::new();
    let id = submit(&mut held.asked.client, "SELECT pg_llm_submit('m', 'a')");
    assert_eq!(simple(&mut held.asked.client, &format!("SELECT pg_llm_delete_job('{id}')")), ["f"], "it is open");
    held.answers("a");
    becomes(&mut held.asked.client, &id, "done");
    let role = held.asked.database.create_role();
    let mut other = held.asked.database.connect_as(&role);
    assert_eq!(simple(&mut other, &format!("SELECT pg_llm_delete_job('{id}')")), ["f"], "it is another's");
    assert_eq!(simple(&mut held.asked.client, &format!("SELECT pg_llm_delete_job('{id}')")), ["t"]);
    assert_eq!(db_error(rows(&mut held.asked.client, &format!("SELECT pg_llm_job('{id}')"))).code().code(), "42704");
    assert_eq!(simple(&mut held.asked.client, "SELECT count(*) FROM _pg_llm_catalog.job_rows"), ["0"]);
}

#[test]
fn what_is_older_than_it_is_kept_is_deleted_by_the_worker() {
    let mut asked = prompt_model();
    let old = submit(&mut asked.client, "SELECT pg_llm_submit_batch('m', ARRAY(SELECT 'p' || i FROM generate_series(1, 1500) AS i))");
    becomes(&mut asked.client, &old, "done");
    assert!(eventually(DEADLINE, || worker(&mut asked.client).is_none()));
    let young = submit(&mut asked.client, "SELECT pg_llm_submit('m', 'a')");
    becomes(&mut asked.client, &young, "done");
    assert_eq!(simple(&mut asked.client, "SELECT count(*) FROM pg_llm_jobs"), ["2"], "a week is not over");
    let age = "UPDATE _pg_llm_catalog.jobs SET ended_at = ended_at - interval '8 days' WHERE total > 1";
    asked.client.batch_execute(age).unwrap();
    submit(&mut asked.client, "SELECT pg_llm_submit('m', 'b')");
    assert!(eventually(DEADLINE, || simple(&mut asked.client, "SELECT count(*) FROM _pg_llm_catalog.job_rows WHERE ord > 1") == ["0"]));
    assert!(eventually(DEADLINE, || simple(&mut asked.client, "SELECT count(*), count(*) FILTER (WHERE total > 1) FROM pg_llm_jobs")
        == ["2|0"]));
}

#[test]
fn with_a_retention_of_minus_one_nothing_is_deleted_and_with_nought_all_that_ended() {
    let cluster = Cluster::start(&Settings::for_models().line("pg_llm.job_retention = -1"));
    let database = cluster.database();
    let upstream = Upstream::start_echo();
    let mut client = database.superuser();
    let config = json!({"api_endpoint": format!("{}/v1", upstream.url())});
    client.execute("SELECT pg_llm_add_model('openai-compatible', 'm', 'sk-12345678', $1)", &[&config]).unwrap();
    let id = submit(&mut client, "SELECT pg_llm_submit('m', 'a')");
    becomes(&mut client, &id, "done");
    client.batch_execute("UPDATE _pg_llm_catalog.jobs SET ended_at = '2001-01-01'").unwrap();
    let other = submit(&mut client, "SELECT pg_llm_submit('m', 'a')");
    becomes(&mut client, &other, "done");
    assert_eq!(simple(&mut client, "SELECT count(*) FROM pg_llm_jobs"), ["2"]);
    assert!(eventually(DEADLINE, || worker(&mut client).is_none()));
    client.batch_execute(&format!("ALTER DATABASE {} SET pg_llm.job_retention = 0", database.name())).unwrap();
    submit(&mut client, "SELECT pg_llm_submit('m', 'a')");
    assert!(eventually(DEADLINE, || {
        let gone = format!("SELECT count(*) FROM _pg_llm_catalog.job_rows WHERE job IN ('{id}', '{other}')");
        simple(&mut client, &gone) == ["0"]
    }));
}

#[test]
fn dropping_the_extension_or_the_database_ends_its_worker() {
    let mut held = Held::new();
    submit(&mut held.asked.client, "SELECT pg_llm_submit('m', 'a')");
    held.asked_for(1);
    held.asked.client.batch_execute("DROP EXTENSION pg_llm").unwrap();
    // The next thing that it has to write down is not there any more.
    held.answers("a");
    assert!(eventually(DEADLINE, || worker(&mut held.asked.client).is_none()));

    let mut held = Held::new();
    submit(&mut held.asked.client, "SELECT pg_llm_submit('m', 'a')");
    held.asked_for(1);
    let cluster = held.asked.database.cluster();
    let name = held.asked.database.name().to_owned();
    cluster.execute(&format!("DROP DATABASE {name} WITH (FORCE)"));
    assert!(held.asked.upstream.wait_until_closed(DEADLINE));
    let mut elsewhere = cluster.database().superuser();
    let gone = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_llm jobs' AND datname IS NULL";
    assert!(eventually(DEADLINE, || simple(&mut elsewhere, gone) == ["0"]));
    cluster.assert_no_crash();
}
