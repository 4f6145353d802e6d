//! Who shares a limit with whom.

use std::time::Duration;

use super::*;

#[test]
fn sixteen_sessions_have_three_requests_in_flight_and_all_are_answered() {
    let limited = Limited::new(&json!({"max_concurrency": 3}));
    limited.upstream.on(PATH).reply(openai::completion("well").delay_headers(Duration::from_millis(3)));
    let sql = "SELECT count(pg_llm_chat('m', i::text)) FROM generate_series(1, 10) AS i";
    let sessions: Vec<Running> = (0..16).map(|_| Running::start(limited.session(), sql)).collect();
    for session in sessions {
        assert_eq!(session.finish(DEADLINE).column(), [Some("10".to_owned())]);
    }
    assert_eq!(limited.upstream.max_concurrent(), 3);
    assert_eq!(limited.requests(), 160);
    let stat = limited.stat();
    assert_eq!(
        (&stat["admitted"], &stat["rejected"], &stat["in_flight"], &stat["waiting"]),
        (&json!(160), &json!(0), &json!(0), &json!(0))
    );
    assert!(stat["waited"].as_i64().unwrap() > 0, "{stat}");
    assert_eq!(stat["shared"], json!(true));
    limited.database.cluster().assert_no_crash();
}

#[test]
fn who_came_first_is_let_in_first() {
    let limited = Limited::new(&json!({"max_concurrency": 1}));
    let gate = limited.held_up();
    let mut calls = vec![limited.call_in_flight()];
    calls.extend((1..6).map(|n| limited.call_waiting(&format!("SELECT pg_llm_chat('m', 'number {n}')"))));
    gate.open();
    for call in calls {
        assert_eq!(call.finish(DEADLINE).column(), [Some("well".to_owned())]);
    }
    let asked: Vec<bool> =
        (1..).zip(&limited.upstream.requests()[1..]).map(|(n, request)| request.contains(&format!("number {n}"))).collect();
    assert_eq!(asked, [true; 5]);
}

#[test]
fn without_preload_a_limit_is_each_sessions_own() {
    let limited = Limited::on(Cluster::shared(), &json!({"max_concurrency": 1}));
    let gate = limited.held_up();
    let calls = [limited.call_in_flight(), limited.call_in_flight()];
    assert_eq!(limited.stat()["shared"], json!(false));
    gate.open();
    for call in calls {
        let mut outcome = call.finish(DEADLINE);
        assert!(outcome.result.is_ok());
        let stat = stat(&mut outcome.client);
        assert_eq!((&stat["admitted"], &stat["in_flight"], &stat["shared"]), (&json!(1), &json!(0), &json!(false)));
    }
}

#[test]
fn models_of_the_same_name_in_two_databases_share_nothing() {
    let [one, other] = [json!({"max_concurrency": 1}), json!({"max_concurrency": 1})].map(|config| Limited::new(&config));
    let gates = [one.held_up(), other.held_up()];
    let calls = [one.call_in_flight(), other.call_in_flight()];
    assert_eq!((one.number("in_flight"), other.number("in_flight")), (1, 1));
    gates.iter().for_each(Gate::open);
    for call in calls {
        assert!(call.finish(DEADLINE).result.is_ok());
    }
}

#[test]
fn a_model_that_is_removed_and_added_again_has_its_new_limits_and_its_old_requests() {
    let limited = Limited::new(&json!({"max_concurrency": 5}));
    let gate = limited.held_up();
    let calls = [limited.call_in_flight(), limited.call_in_flight()];
    limited.session().execute("SELECT pg_llm_remove_model('m')", &[]).unwrap();
    limited.add(&json!({"max_concurrency": 2}));
    let stat = limited.stat();
    assert_eq!((&stat["max_concurrency"], &stat["in_flight"]), (&json!(2), &json!(2)));
    let waiting = limited.call_waiting("SELECT pg_llm_chat('m', 'Hello')");
    // Room for the two, for the one who waits under the limit of before, and for one more.
    limited.add(&json!({"max_concurrency": 4}));
    let fourth = limited.call_in_flight();
    gate.open();
    for call in calls.into_iter().chain([waiting, fourth]) {
        assert!(call.finish(DEADLINE).result.is_ok());
    }
    limited.is_free();
}

#[test]
fn the_servers_own_limit_counts_the_requests_of_all_models_and_databases() {
    let [one, other] = [Limited::new(&json!({})), Limited::new(&json!({}))];
    // A role's own value, so that the other tests of this server go on.
    let gate = one.held_up();
    let first = one.call_in_flight();
    let mut client = other.session();
    client.batch_execute("SET pg_llm.max_concurrency = 1").unwrap();
    let (state, message, detail) = refused(&mut client, &json!({"timeout_ms": 50}));
    assert_eq!((state.as_str(), other.requests()), ("53400", 0));
    assert!(message.contains("the server") && detail.contains("pg_llm.max_concurrency is 1"), "{message} {detail}");
    let waiting = Running::start(client, "SELECT pg_llm_chat('m', 'Hello')");
    assert!(eventually(DEADLINE, || other.number("waiting") == 1));
    // Who has no such limit is not in its way, nor it in theirs.
    assert_eq!(says(&mut other.session()), "well");
    waiting.cancel();
    assert_eq!(db_error(waiting.finish(DEADLINE).result).code().code(), "57014");
    gate.open();
    assert!(first.finish(DEADLINE).result.is_ok());
    other.is_free();
}

#[test]
fn a_parallel_worker_is_a_session_like_others() {
    let limited = Limited::new(&json!({"max_concurrency": 2}));
    let mut client = limited.session();
    client
        .batch_execute(
            "CREATE TABLE prompts AS SELECT i FROM generate_series(1, 40) AS i; ALTER TABLE prompts SET (parallel_workers = 4); ANALYZE prompts;
             SET max_parallel_workers_per_gather = 4; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
             SET parallel_leader_participation = off",
        )
        .unwrap();
    let sql = "SELECT count(pg_llm_chat('m', i::text)) FROM prompts";
    assert_eq!(client.query_one(sql, &[]).unwrap().get::<_, i64>(0), 40);
    assert!(limited.upstream.max_concurrent() <= 2);
    let stat = limited.stat();
    assert_eq!((&stat["admitted"], &stat["in_flight"]), (&json!(40), &json!(0)));
}

#[test]
fn threads_of_one_session_share_a_limit_without_preload_too() {
    for cluster in [sharing(), Cluster::shared()] {
        let limited = Limited::on(cluster, &json!({"max_concurrency": 2}));
        let sql = "SELECT pg_llm_parallel_chat_json('Hello', array_fill('m'::text, ARRAY[8]), '{\"strategy\": \"all\"}')";
        let answer: Value = limited.session().query_one(sql, &[]).unwrap().get(0);
        assert!(answer["candidates"].as_array().unwrap().iter().all(|candidate| candidate["response"] == json!("well")), "{answer}");
        assert_eq!(limited.requests(), 8);
        assert!(limited.upstream.max_concurrent() <= 2);
    }
}

#[test]
fn a_standby_has_limits_of_its_own() {
    let primary = Cluster::start(&preloaded());
    let (upstream, database) = (Upstream::start(), primary.database());
    add_model(&mut database.superuser(), &upstream, &json!({"max_concurrency": 1}));
    let gate = Gate::new();
    upstream.on(PATH).reply(openai::completion("well").gated(&gate));
    let standby = primary.standby();
    let there = database.on(&standby);
    let sql = "SELECT pg_llm_chat('m', 'Hello')";
    let calls = [Running::start(database.superuser(), sql), Running::start(there.superuser(), sql)];
    assert!(upstream.wait_for_requests(2, DEADLINE), "one of each");
    let waiting = Running::start(there.superuser(), sql);
    let mut replica = there.superuser();
    assert!(eventually(DEADLINE, || stat(&mut replica)["waiting"] == json!(1)), "{}", stat(&mut replica));
    assert_eq!(stat(&mut database.superuser())["waiting"], json!(0));
    let ill = replica.query("SELECT detail FROM pg_llm_doctor() WHERE status = 'error'", &[]).unwrap();
    assert!(ill.is_empty(), "{:?}", ill[0].get::<_, String>(0));
    gate.open();
    for call in calls.into_iter().chain([waiting]) {
        assert_eq!(call.finish(DEADLINE).column(), [Some("well".to_owned())]);
    }
}
