//! What jobs are after the worker or the server has ended, in order or not. Each test has a server of its own.

use std::collections::HashMap;

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Cluster, DEADLINE, Database, Settings, eventually};
use pg_llm_upstream::{Reply, Upstream};
use serde_json::json;

use super::{becomes, job, live_worker, results, submit};
use crate::batch::{answer, array, prompt, simple};
use crate::recovery::settings;

/// A model `m` that answers prompts which begin with "quick", and others never, until it is told to.
fn model(database: &Database<'_>) -> (Upstream, Client) {
    let upstream = Upstream::start();
    upstream.on("/v1/chat/completions").handle(|received| {
        let prompt = prompt(received);
        if prompt.starts_with("quick") { answer(&prompt) } else { Reply::hang() }
    });
    let mut client = database.superuser();
    let config = json!({"api_endpoint": format!("{}/v1", upstream.url())});
    client.execute("SELECT pg_llm_add_model('openai-compatible', 'm', 'sk-12345678', $1)", &[&config]).unwrap();
    (upstream, client)
}

/// From the next request on; the latest may be answered, too, that was counted and whose answer was not yet chosen.
fn answers_all(upstream: &Upstream) {
    upstream.on("/v1/chat/completions").handle(|received| answer(&prompt(received)));
}

fn times(upstream: &Upstream) -> HashMap<String, usize> {
    let mut times = HashMap::new();
    for received in upstream.requests() {
        *times.entry(prompt(&received)).or_default() += 1;
    }
    times
}

/// Forty rows, of which the first thirty are answered and the rest hang; and then one more job.
fn half_done(upstream: &Upstream, client: &mut Client) -> (String, String) {
    let prompts: Vec<String> = (1..=40).map(|i| if i <= 30 { format!("quick {i}") } else { format!("slow {i}") }).collect();
    let id = submit(client, &format!("SELECT pg_llm_submit_batch('m', {})", array(&prompts)));
    assert!(eventually(DEADLINE, || job(client, &id)["done"] == 30));
    assert!(upstream.wait_for_requests(40, DEADLINE));
    (id, submit(client, "SELECT pg_llm_submit('m', 'slow other')"))
}

#[track_caller]
fn is_finished_without_repeating_what_was_finished(upstream: &Upstream, client: &mut Client, ids: (&str, &str), begun: usize) {
    answers_all(upstream);
    let done = becomes(client, ids.0, "done");
    assert_eq!((&done["total"], &done["done"]), (&json!(40), &json!(40)));
    assert_eq!(becomes(client, ids.1, "done")["result"]["response"], "to slow other");
    let times = times(upstream);
    for i in 1..=40 {
        let (prompt, expected) = if i <= 30 { (format!("quick {i}"), 1) } else { (format!("slow {i}"), begun) };
        assert_eq!(times.get(&prompt), Some(&expected), "{prompt}");
    }
    let attempts = format!("SELECT DISTINCT prompt LIKE 'quick%', attempts FROM pg_llm_job_rows WHERE job_id = '{}' ORDER BY 1", ids.0);
    assert_eq!(simple(client, &attempts), [format!("f|{begun}"), "t|1".to_owned()], "how often each was begun can be seen");
}

#[test]
fn a_restart_of_the_server_loses_no_row_and_repeats_none_that_was_finished() {
    let cluster = Cluster::start(&settings());
    let database = cluster.database();
    let (upstream, mut client) = model(&database);
    let (id, other) = half_done(&upstream, &mut client);
    assert!(upstream.wait_for_requests(41, DEADLINE));
    cluster.restart();
    assert!(upstream.wait_for(|observed| observed.answering == 0, DEADLINE), "its calls end with the server");
    cluster.assert_no_crash();
    let mut client = database.superuser();
    let put_back = simple(&mut client, "SELECT state, count(*) FROM _pg_llm_catalog.job_rows GROUP BY 1 ORDER BY 1");
    assert_eq!(put_back, ["done|30", "queued|11"], "a server that stops in order leaves no row in flight");
    is_finished_without_repeating_what_was_finished(&upstream, &mut client, (&id, &other), 2);
    cluster.assert_no_crash();
}

#[test]
fn a_crash_of_the_server_loses_no_row_and_repeats_none_that_was_finished() {
    let cluster = Cluster::start(&settings());
    let database = cluster.database();
    let (upstream, mut client) = model(&database);
    let (id, other) = half_done(&upstream, &mut client);
    assert!(upstream.wait_for_requests(41, DEADLINE));
    cluster.stop_immediate();
    assert!(upstream.wait_for(|observed| observed.answering == 0, DEADLINE));
    cluster.start_again();
    is_finished_without_repeating_what_was_finished(&upstream, &mut database.superuser(), (&id, &other), 2);
}

#[test]
fn a_worker_that_is_killed_comes_back_by_itself_and_goes_on() {
    // Where its submitter has turned it off, the worker's own commits are on the disk all the same.
    let cluster = Cluster::start(&settings().line("synchronous_commit = off"));
    let database = cluster.database();
    let (upstream, mut client) = model(&database);
    let (id, other) = half_done(&upstream, &mut client);
    assert!(upstream.wait_for_requests(41, DEADLINE));
    answers_all(&upstream);
    cluster.crash(live_worker(&mut client));
    // Nobody asks for it.
    assert!(upstream.wait_for_requests(51, DEADLINE), "{}", cluster.log());
    let mut client = database.superuser();
    is_finished_without_repeating_what_was_finished(&upstream, &mut client, (&id, &other), 2);
}

#[test]
fn a_worker_that_is_terminated_comes_back_and_one_whose_statement_is_cancelled_goes_on() {
    let cluster = Cluster::start(&settings());
    let database = cluster.database();
    let (upstream, mut client) = model(&database);
    let (id, other) = half_done(&upstream, &mut client);
    assert!(upstream.wait_for_requests(41, DEADLINE));
    let pid = live_worker(&mut client);
    for _ in 0..20 {
        cluster.cancel_backend(pid);
    }
    answers_all(&upstream);
    assert_eq!(live_worker(&mut client), pid, "a cancel is nothing to a worker that waits");
    assert_eq!(upstream.requests().len(), 41);
    cluster.terminate_backend(pid);
    assert!(upstream.wait_for_requests(51, DEADLINE), "it comes back by itself\n{}", cluster.log());
    is_finished_without_repeating_what_was_finished(&upstream, &mut client, (&id, &other), 2);
    cluster.assert_no_crash();
}

#[test]
fn a_row_that_was_in_flight_as_often_as_allowed_fails_and_the_others_go_on() {
    let cluster = Cluster::start(&settings().line("pg_llm.job_attempts = 1"));
    let database = cluster.database();
    let (upstream, mut client) = model(&database);
    let id = submit(&mut client, "SELECT pg_llm_submit_batch('m', ARRAY['quick a', 'slow b', 'quick c'], '{\"max_concurrency\": 1}')");
    assert!(upstream.wait_for_requests(2, DEADLINE));
    cluster.crash(live_worker(&mut client));
    let mut client = database.superuser();
    let done = becomes(&mut client, &id, "done");
    assert_eq!((&done["done"], &done["failed"]), (&json!(2), &json!(1)));
    assert_eq!(results(&mut client, &id), ["1|done|to quick a|NULL", "2|failed|NULL|08006", "3|done|to quick c|NULL"]);
    assert_eq!(times(&upstream)["slow b"], 1);
}

#[test]
fn a_job_for_which_there_was_no_room_for_a_worker_begins_when_somebody_looks() {
    let cluster = Cluster::start(&settings().line("max_worker_processes = 2"));
    let (database, other) = (cluster.database(), cluster.database());
    let (upstream, mut client) = model(&database);
    let (there, mut elsewhere) = model(&other);
    let slow = submit(&mut client, "SELECT pg_llm_submit('m', 'slow')");
    assert!(upstream.wait_for_requests(1, DEADLINE));
    let quick = submit(&mut elsewhere, "SELECT pg_llm_submit('m', 'quick')");
    assert!(eventually(DEADLINE, || cluster.log().contains("there is no room for a background worker")));
    assert_eq!(job(&mut elsewhere, &quick)["state"], "queued");
    simple(&mut client, &format!("SELECT pg_llm_cancel_job('{slow}')"));
    becomes(&mut client, &slow, "cancelled");
    becomes(&mut elsewhere, &quick, "done");
    assert_eq!(there.requests().len(), 1);
    cluster.assert_no_crash();
}

#[test]
fn sessions_that_submit_at_once_start_one_worker_and_lose_no_job() {
    let cluster = Cluster::start(&Settings::for_models().line("max_worker_processes = 4"));
    let database = cluster.database();
    let (upstream, mut client) = model(&database);
    let threads: Vec<_> = (0..8)
        .map(|session| {
            let mut client = database.superuser();
            std::thread::spawn(move || {
                for i in 0..25 {
                    submit(&mut client, &format!("SELECT pg_llm_submit('m', 'quick {session} {i}')"));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    // Nobody looks by pg_llm_job, which would wake it.
    let open = "SELECT count(*) FROM pg_llm_jobs WHERE state <> 'done'";
    assert!(eventually(DEADLINE, || simple(&mut client, open) == ["0"]), "{}", cluster.log());
    let times = times(&upstream);
    assert_eq!((times.len(), times.values().max()), (200, Some(&1)));
    cluster.assert_no_crash();
}

#[test]
fn where_the_library_is_preloaded_open_jobs_go_on_after_a_restart_without_anybody_asking() {
    let cluster = Cluster::start(&settings().lines(&["shared_preload_libraries = 'pg_llm'", "max_worker_processes = 16"]));
    let databases = [(); 3].map(|()| cluster.database());
    let mut models = Vec::new();
    for database in &databases {
        let (upstream, mut client) = model(database);
        submit(&mut client, "SELECT pg_llm_submit_batch('m', ARRAY['quick a', 'slow b'])");
        models.push(upstream);
    }
    for (database, upstream) in databases.iter().zip(&models) {
        assert!(upstream.wait_for_requests(2, DEADLINE), "{}", cluster.log());
        let mut client = database.superuser();
        assert!(
            eventually(DEADLINE, || simple(&mut client, "SELECT done FROM pg_llm_jobs") == ["1"]),
            "what is not yet kept is asked again"
        );
        answers_all(upstream);
    }
    cluster.restart();
    for upstream in &models {
        assert!(upstream.wait_for_requests(3, DEADLINE), "{}", cluster.log());
    }
    for (database, upstream) in databases.iter().zip(&models) {
        let mut client = database.superuser();
        assert!(eventually(DEADLINE, || simple(&mut client, "SELECT state, done FROM pg_llm_jobs") == ["done|2"]));
        assert_eq!((times(upstream)["quick a"], times(upstream)["slow b"]), (1, 2));
        let told = "SELECT count(*) FROM _pg_llm_catalog.ledger AS l JOIN pg_llm_jobs AS j USING (job_id) WHERE l.via = 'job' AND l.outcome = 'ok'";
        assert!(eventually(DEADLINE, || simple(&mut client, told) == ["2"]), "the ledger knows which job a call was of");
    }
    cluster.assert_no_crash();
}

#[test]
fn a_database_that_is_read_only_by_default_runs_its_jobs() {
    let cluster = Cluster::start(&settings());
    let database = cluster.database();
    let (_upstream, mut client) = model(&database);
    let name = database.name();
    client
        .batch_execute(&format!(
            "ALTER DATABASE {name} SET default_transaction_read_only = on; ALTER DATABASE {name} SET default_transaction_isolation = serializable"
        ))
        .unwrap();
    let id = submit(&mut client, "SELECT pg_llm_submit('m', 'quick')");
    becomes(&mut client, &id, "done");
}
