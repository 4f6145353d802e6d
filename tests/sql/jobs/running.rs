//! What a job that nobody disturbs does.

use std::collections::HashMap;
use std::time::Duration;

use pg_llm_tests::postgres::fallible_iterator::FallibleIterator;
use pg_llm_tests::{Asked, DEADLINE, eventually};
use pg_llm_upstream::{Received, Upstream};
use serde_json::{Value, json};

use super::{becomes, job, results, submit, worker};
use crate::batch::{Held, answer, array, prompt, prompt_model, simple};

#[test]
fn a_submitted_chat_is_answered_in_the_background() {
    let mut asked = prompt_model();
    let id = submit(&mut asked.client, "SELECT pg_llm_submit('m', 'a', '{\"max_tokens\": 9, \"temperature\": 0}')");
    let done = becomes(&mut asked.client, &id, "done");
    assert_eq!((&done["total"], &done["done"], &done["failed"]), (&json!(1), &json!(1), &json!(0)));
    assert_eq!((&done["job_id"], &done["instance_name"], &done["role"]), (&json!(id), &json!("m"), &json!("postgres")));
    assert_eq!(done["result"]["response"], "to a");
    assert!(done["error"].is_null() && ["submitted_at", "started_at", "ended_at"].iter().all(|time| done[time].is_string()), "{done}");
    assert_eq!((&asked.sent()["max_tokens"], &asked.sent()["temperature"]), (&json!(9), &json!(0.0)));
    assert_eq!(results(&mut asked.client, &id), ["1|done|to a|NULL"]);
    let row: Value = asked.value("SELECT to_jsonb(r) FROM pg_llm_job_rows AS r WHERE r.job_id = $1::text::uuid", &[&id]).unwrap();
    assert_eq!((&row["prompt"], &row["attempts"], &row["usage"]), (&json!("a"), &json!(1), &done["result"]["usage"]));
    assert_eq!(
        simple(&mut asked.client, "SELECT state, total, done, failed, role, channel FROM pg_llm_jobs"),
        ["done|1|1|0|postgres|pg_llm_jobs"]
    );
    assert!(eventually(DEADLINE, || worker(&mut asked.client).is_none()), "a worker without work ends");
    asked.database.cluster().assert_no_crash();
}

#[test]
fn the_rows_of_a_batch_and_of_a_query_have_each_its_own_end() {
    let mut asked = prompt_model();
    let id = submit(&mut asked.client, "SELECT pg_llm_submit_batch('m', ARRAY['a', NULL, 'fail c', 'd'])");
    let done = becomes(&mut asked.client, &id, "done");
    assert_eq!((&done["total"], &done["done"], &done["failed"], &done["result"]), (&json!(4), &json!(3), &json!(1), &Value::Null));
    assert_eq!(results(&mut asked.client, &id), ["1|done|to a|NULL", "2|done|NULL|NULL", "3|failed|NULL|38000", "4|done|to d|NULL"]);
    let error: Value = asked.value("SELECT error FROM pg_llm_job_results($1::text::uuid) WHERE ord = 3", &[&id]).unwrap();
    assert!(error["message"].as_str().unwrap().contains("not fail c") && error["kind"] == "provider" && error["attempts"] == 1, "{error}");

    let query = "VALUES (7, 'a', '{\"seed\": 5}'::jsonb), (8, 'b', '{\"sead\": 5}'), (NULL, NULL, NULL)";
    let id = submit(&mut asked.client, &format!("SELECT pg_llm_submit_map('m', $q${query}$q$, '{{\"max_concurrency\": 2}}')"));
    becomes(&mut asked.client, &id, "done");
    let sql = format!("SELECT key, state, response, error ->> 'sqlstate' FROM pg_llm_job_results('{id}')");
    assert_eq!(simple(&mut asked.client, &sql), ["7|done|to a|NULL", "8|failed|NULL|22023", "NULL|done|NULL|NULL"]);
    assert!(asked.upstream.requests().iter().map(Received::json).any(|body| body["seed"] == 5));

    let id = submit(&mut asked.client, "SELECT pg_llm_submit_batch('m', ARRAY['fail a', 'fail b'])");
    let failed = becomes(&mut asked.client, &id, "failed");
    assert!(failed["error"]["message"].as_str().unwrap().contains("not fail a"), "no row was answered: {failed}");
    let id = submit(&mut asked.client, "SELECT pg_llm_submit_batch('m', '{}')");
    assert_eq!(becomes(&mut asked.client, &id, "done")["total"], 0);
}

#[test]
fn of_a_thousand_rows_each_is_asked_once_and_no_more_at_a_time_than_there_are_places() {
    let mut asked = prompt_model();
    let prompts = "ARRAY(SELECT 'row ' || i FROM generate_series(1, 1000) AS i)";
    let id = submit(&mut asked.client, &format!("SELECT pg_llm_submit_batch('m', {prompts})"));
    let done = becomes(&mut asked.client, &id, "done");
    assert_eq!((&done["total"], &done["done"]), (&json!(1000), &json!(1000)));
    let mut times: HashMap<String, usize> = HashMap::new();
    for received in asked.upstream.requests() {
        *times.entry(prompt(&received)).or_default() += 1;
    }
    assert_eq!((times.len(), times.values().max()), (1000, Some(&1)));
    assert!((2..=16).contains(&asked.upstream.max_concurrent()), "{}", asked.upstream.max_concurrent());
    let right = format!(
        "SELECT count(*) FROM pg_llm_job_rows WHERE job_id = '{id}' AND response = 'to ' || prompt AND prompt = 'row ' || ord AND attempts = 1"
    );
    assert_eq!(simple(&mut asked.client, &right), ["1000"]);
}

#[test]
fn a_jobs_max_concurrency_and_its_models_bound_it() {
    let mut held = Held::new();
    let client = &mut held.asked.client;
    let prompts: Vec<String> = (1..=6).map(|i| format!("p{i}")).collect();
    let id = submit(client, &format!("SELECT pg_llm_submit_batch('m', {}, '{{\"max_concurrency\": 2}}')", array(&prompts)));
    assert!(held.asked.upstream.wait_for_requests(2, DEADLINE));
    for prompt in &prompts {
        held.answers(prompt);
    }
    becomes(&mut held.asked.client, &id, "done");
    assert_eq!(held.asked.upstream.max_concurrent(), 2);

    let mut held = Held::with(json!({"max_concurrency": 3}));
    let client = &mut held.asked.client;
    let ids = [(); 2].map(|()| submit(client, &format!("SELECT pg_llm_submit_batch('m', {})", array(&prompts))));
    assert!(held.asked.upstream.wait_for_requests(3, DEADLINE));
    for prompt in &prompts {
        held.answers(prompt);
    }
    for id in ids {
        assert_eq!(becomes(&mut held.asked.client, &id, "done")["done"], 6);
    }
    assert_eq!(held.asked.upstream.max_concurrent(), 3);
}

#[test]
fn one_roles_many_rows_do_not_hold_up_anothers_few() {
    let mut held = Held::new();
    let (many, few) = (held.asked.database.create_role(), held.asked.database.create_role());
    held.asked.client.batch_execute(&format!("SELECT pg_llm_grant_model('m', '{many}'), pg_llm_grant_model('m', '{few}')")).unwrap();
    let prompts: Vec<String> = (1..=100).map(|i| format!("many {i}")).collect();
    let mut of_many = held.asked.database.connect_as(&many);
    let of_all = submit(&mut of_many, &format!("SELECT pg_llm_submit_batch('m', {})", array(&prompts)));
    held.asked_for(16);
    let mut of_few = held.asked.database.connect_as(&few);
    held.answers("few");
    let id = submit(&mut of_few, "SELECT pg_llm_submit('m', 'few')");
    held.answers("many 3");
    assert_eq!(becomes(&mut of_few, &id, "done")["result"]["response"], "to few");
    let asked = held.asked.upstream.requests();
    assert_eq!(prompt(&asked[16]), "few", "the first place that is free");
    let progress = job(&mut of_many, &of_all);
    assert_eq!((&progress["state"], &progress["done"], &progress["total"]), (&json!("running"), &json!(1), &json!(100)));
    assert_eq!(results(&mut of_many, &of_all)[2], "3|done|to many 3|NULL", "what is there can be read");
}

#[test]
fn the_end_is_told_where_the_submitter_wants_it() {
    let mut asked = prompt_model();
    let mut listener = asked.database.superuser();
    listener.batch_execute("LISTEN pg_llm_jobs; LISTEN \"my \"\"own\"\" channel\"").unwrap();
    let ids = ["{}", "{\"notify\": \"my \\\"own\\\" channel\"}", "{\"notify\": false}", "{\"notify\": true}"]
        .map(|options| submit(&mut asked.client, &format!("SELECT pg_llm_submit('m', 'a', '{options}')")));
    let failing = submit(&mut asked.client, "SELECT pg_llm_submit('m', 'fail')");
    let mut told = Vec::new();
    let heard = eventually(DEADLINE, || {
        told.extend(listener.notifications().timeout_iter(Duration::from_millis(20)).iterator().flatten());
        told.len() >= 4
    });
    assert!(heard, "{told:?}");
    for id in &ids {
        becomes(&mut asked.client, id, "done");
    }
    let mut told: Vec<(String, Value)> =
        told.iter().map(|told| (told.channel().to_owned(), serde_json::from_str(told.payload()).unwrap())).collect();
    told.sort_by_key(|(_, payload)| payload["job_id"].to_string());
    let (ours, own) = ("pg_llm_jobs".to_owned(), "my \"own\" channel".to_owned());
    let done = |id: &String| json!({"job_id": id, "state": "done"});
    let failed = json!({"job_id": failing, "state": "failed"});
    assert_eq!(told, [(ours.clone(), done(&ids[0])), (own, done(&ids[1])), (ours.clone(), done(&ids[3])), (ours, failed)]);
}

#[test]
fn databases_have_workers_of_their_own() {
    let (mut one, mut other) = (Held::new(), Held::new());
    let ids = [&mut one, &mut other].map(|held| submit(&mut held.asked.client, "SELECT pg_llm_submit('m', 'a')"));
    for held in [&mut one, &mut other] {
        held.asked_for(1);
        held.answers("a");
    }
    for (held, id) in [&mut one, &mut other].into_iter().zip(&ids) {
        assert_eq!(becomes(&mut held.asked.client, id, "done")["result"]["response"], "to a");
        assert_eq!(simple(&mut held.asked.client, "SELECT count(*) FROM pg_llm_jobs"), ["1"]);
    }
}

#[test]
fn a_call_has_the_settings_of_its_submitter() {
    let upstream = Upstream::start();
    upstream.on(Asked::PATH).handle(|received| answer(&prompt(received)));
    upstream.on("/v1/slow").reply(pg_llm_upstream::Reply::hang());
    let mut asked = Asked::at(upstream, json!({"max_attempts": 1}));
    let hanging = Upstream::start();
    hanging.on(Asked::PATH).reply(pg_llm_upstream::Reply::hang());
    let endpoint = format!("{}/v1", hanging.url());
    asked
        .client
        .execute(
            "SELECT pg_llm_add_model('openai-compatible', 'h', 'sk-12345678', jsonb_build_object('api_endpoint', $1::text))",
            &[&endpoint],
        )
        .unwrap();
    // Its own taste, of the session that submits.
    let id = submit(&mut asked.client, "SET pg_llm.timeout_ms = 50; SELECT pg_llm_submit('h', 'a')");
    let failed = becomes(&mut asked.client, &id, "failed");
    assert!(failed["error"]["message"].as_str().unwrap().contains("within 50 ms"), "{failed}");
    asked.client.batch_execute("SET pg_llm.timeout_ms = '1min'; SET pg_llm.default_local_fallback = 'm'").unwrap();
    let id = submit(&mut asked.client, "SELECT pg_llm_submit('h', 'a', '{\"timeout_ms\": 3000, \"max_attempts\": 1}')");
    let _ = becomes(&mut asked.client, &id, "failed");
    // What the administrator sets for the role.
    let role = asked.database.create_role();
    asked
        .client
        .batch_execute(&format!("SELECT pg_llm_grant_model('m', '{role}'); ALTER ROLE {role} SET pg_llm.max_response_bytes = 1024"))
        .unwrap();
    let mut user = asked.database.connect_as(&role);
    let long = "x".repeat(4000);
    let id = submit(&mut user, &format!("SELECT pg_llm_submit('m', '{long}')"));
    assert_eq!(becomes(&mut user, &id, "failed")["error"]["sqlstate"], "54000");
    let id = submit(&mut asked.client, &format!("SELECT pg_llm_submit('m', '{long}')"));
    becomes(&mut asked.client, &id, "done");
}

#[test]
fn an_answer_that_was_kept_is_not_asked_for_again() {
    let mut asked = prompt_model();
    let cached = "'{\"cache\": true}'";
    let id = submit(&mut asked.client, &format!("SELECT pg_llm_submit('m', 'a', {cached})"));
    becomes(&mut asked.client, &id, "done");
    assert_eq!(simple(&mut asked.client, &format!("SELECT pg_llm_chat('m', 'a', {cached})")), ["to a"]);
    let id = submit(&mut asked.client, &format!("SELECT pg_llm_submit_batch('m', ARRAY['a', 'b', 'a'], {cached})"));
    becomes(&mut asked.client, &id, "done");
    assert_eq!(results(&mut asked.client, &id), ["1|done|to a|NULL", "2|done|to b|NULL", "3|done|to a|NULL"]);
    assert_eq!(asked.upstream.requests().len(), 2);
}
