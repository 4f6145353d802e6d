//! Whose jobs are whose, and with which rights they run.

use pg_llm_tests::{Cluster, DEADLINE, Settings, db_error, eventually};
use pg_llm_upstream::Upstream;
use serde_json::json;

use super::{becomes, job, results, submit};
use crate::batch::{Held, array, rows, simple};

#[test]
fn another_role_sees_and_does_nothing_and_a_monitor_sees_no_words() {
    let mut held = Held::new();
    let [owner, member, other, monitor] = [(); 4].map(|()| held.asked.database.create_role());
    held.asked
        .client
        .batch_execute(&format!("SELECT pg_llm_grant_model('m', '{owner}'); GRANT {owner} TO {member}; GRANT pg_monitor TO {monitor}"))
        .unwrap();
    let mut client = held.asked.database.connect_as(&owner);
    let id = submit(&mut client, "SELECT pg_llm_submit_batch('m', ARRAY['fail secret', 'open'])");
    held.answers("fail secret");
    held.asked_for(2);
    assert!(eventually(DEADLINE, || job(&mut client, &id)["failed"] == 1));
    for (role, jobs) in [(&other, "0"), (&monitor, "1")] {
        let mut client = held.asked.database.connect_as(role);
        assert_eq!(db_error(rows(&mut client, &format!("SELECT pg_llm_job('{id}')"))).code().code(), "42704");
        assert_eq!(simple(&mut client, &format!("SELECT pg_llm_cancel_job('{id}'), pg_llm_delete_job('{id}')")), ["f|f"]);
        assert!(results(&mut client, &id).is_empty());
        assert_eq!(simple(&mut client, "SELECT count(*) FROM pg_llm_job_rows"), ["0"]);
        assert_eq!(simple(&mut client, "SELECT count(*), count(error) FROM pg_llm_jobs"), [format!("{jobs}|0")]);
        assert_eq!(db_error(rows(&mut client, "TABLE _pg_llm_catalog.job_rows")).code().code(), "42501");
    }
    let mut client = held.asked.database.connect_as(&member);
    assert_eq!(job(&mut client, &id)["role"], json!(owner), "a member of the role may do what it may");
    assert_eq!(simple(&mut client, &format!("SELECT pg_llm_cancel_job('{id}')")), ["t"]);
    becomes(&mut client, &id, "cancelled");
}

#[test]
fn a_view_hides_rows_from_a_function_that_would_see_them() {
    let mut held = Held::new();
    let [owner, thief] = [(); 2].map(|()| held.asked.database.create_role());
    held.asked
        .client
        .batch_execute(&format!("SELECT pg_llm_grant_model('m', '{owner}'); GRANT CREATE ON SCHEMA public TO {thief}"))
        .unwrap();
    let mut client = held.asked.database.connect_as(&owner);
    held.answers("a");
    let id = submit(&mut client, "SELECT pg_llm_submit('m', 'a')");
    becomes(&mut client, &id, "done");
    let mut client = held.asked.database.connect_as(&thief);
    client
        .batch_execute(
            "CREATE FUNCTION tell(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE EXCEPTION 'seen: %', $1; END $$",
        )
        .unwrap();
    assert_eq!(simple(&mut client, "SELECT count(*) FROM pg_llm_job_rows WHERE tell(prompt)"), ["0"]);
    assert_eq!(simple(&mut client, "SELECT count(*) FROM pg_llm_jobs WHERE tell(job_id::text)"), ["0"]);
    assert_eq!(simple(&mut client, &format!("SELECT count(*) FROM pg_llm_job_results('{id}') AS r WHERE tell(r.response)")), ["0"]);
}

#[test]
fn a_right_that_is_revoked_meanwhile_ends_the_job() {
    let mut held = Held::new();
    let role = held.asked.database.create_role();
    held.asked.client.batch_execute(&format!("SELECT pg_llm_grant_model('m', '{role}')")).unwrap();
    let mut client = held.asked.database.connect_as(&role);
    let id = submit(&mut client, &format!("SELECT pg_llm_submit_batch('m', {}, '{{\"max_concurrency\": 1}}')", array(&["a", "b", "c"])));
    held.asked_for(1);
    held.asked.client.batch_execute(&format!("SELECT pg_llm_revoke_model('m', '{role}')")).unwrap();
    held.answers("a");
    held.answers("b");
    let failed = becomes(&mut client, &id, "failed");
    assert_eq!((&failed["error"]["sqlstate"], &failed["done"]), (&json!("42501"), &json!(1)), "{failed}");
    assert_eq!(results(&mut client, &id), ["1|done|to a|NULL", "2|cancelled|NULL|NULL", "3|cancelled|NULL|NULL"]);
    assert_eq!(held.asked.upstream.requests().len(), 1);
    // The same where the model is gone.
    held.asked.client.batch_execute(&format!("SELECT pg_llm_grant_model('m', '{role}')")).unwrap();
    let id = submit(&mut client, "SELECT pg_llm_submit_batch('m', ARRAY['d', 'e'], '{\"max_concurrency\": 1}')");
    held.asked_for(2);
    held.asked.client.batch_execute("SELECT pg_llm_remove_model('m')").unwrap();
    held.answers("d");
    assert_eq!(becomes(&mut client, &id, "failed")["error"]["sqlstate"], "42704");
}

#[test]
fn a_role_that_is_dropped_meanwhile_runs_nothing_any_more() {
    let mut held = Held::new();
    let role = held.asked.database.create_role();
    held.asked.client.batch_execute("SELECT pg_llm_grant_model('m', 'public')").unwrap();
    let id =
        submit(&mut held.asked.database.connect_as(&role), "SELECT pg_llm_submit_batch('m', ARRAY['a', 'b'], '{\"max_concurrency\": 1}')");
    held.asked_for(1);
    held.asked.client.batch_execute(&format!("DROP ROLE {role}")).unwrap();
    held.answers("a");
    held.answers("b");
    let failed = becomes(&mut held.asked.client, &id, "failed");
    assert!(failed["error"]["message"].as_str().unwrap().contains("does not exist any more"), "{failed}");
    assert_eq!(held.asked.upstream.requests().len(), 1);
}

#[test]
fn a_job_that_a_security_definer_function_submits_is_its_owners() {
    let mut held = Held::new();
    let role = held.asked.database.create_role();
    held.asked
        .client
        .batch_execute("CREATE FUNCTION lent(text) RETURNS uuid SECURITY DEFINER LANGUAGE sql AS $$ SELECT pg_llm_submit('m', $1) $$")
        .unwrap();
    let mut client = held.asked.database.connect_as(&role);
    held.answers("a");
    let id = submit(&mut client, "SELECT lent('a')");
    assert_eq!(becomes(&mut held.asked.client, &id, "done")["role"], "postgres");
    assert_eq!(simple(&mut client, "SELECT count(*) FROM pg_llm_jobs"), ["0"]);
}

#[test]
fn limits_of_the_settings_are_those_of_the_server_and_not_of_a_session() {
    let cluster = Cluster::start(&Settings::for_models().line("pg_llm.job_concurrency = 2"));
    let database = cluster.database();
    let upstream = Upstream::start();
    let gate = pg_llm_upstream::Gate::default();
    let held = gate.clone();
    upstream.on("/v1/chat/completions").handle(move |received| crate::batch::answer(&crate::batch::prompt(received)).gated(&held));
    let mut client = database.superuser();
    let config = json!({"api_endpoint": format!("{}/v1", upstream.url())});
    client.execute("SELECT pg_llm_add_model('openai-compatible', 'm', 'sk-12345678', $1)", &[&config]).unwrap();
    client.batch_execute("SET pg_llm.job_concurrency = 200").unwrap_or_else(|error| panic!("{error:?}"));
    let ids = [(); 3].map(|()| submit(&mut client, "SELECT pg_llm_submit_batch('m', ARRAY['a', 'b', 'c', 'd'])"));
    assert!(upstream.wait_for_requests(2, DEADLINE));
    gate.open();
    for id in &ids {
        assert_eq!(becomes(&mut client, id, "done")["done"], 4);
    }
    assert_eq!(upstream.max_concurrent(), 2);
}
