//! `pg_llm_stat_limits`, and what a configuration may say.

use super::*;

#[test]
fn a_model_that_nobody_has_called_is_in_the_view_with_its_limits() {
    let limited = Limited::new(&json!({"max_concurrency": 7, "rate_limit": {"rpm": 60, "tpm": 9000}}));
    let expected = json!({
        "instance_name": "m", "in_flight": 0, "waiting": 0, "max_concurrency": 7, "admitted": 0, "waited": 0, "rejected": 0,
        "rpm": 60, "rpm_left": 60, "tpm": 9000, "tpm_left": 9000, "held_back_until": null, "breaker": "closed", "opened_at": null,
        "consecutive_failures": 0, "shared": true,
    });
    assert_eq!(limited.stat(), expected);
}

#[test]
fn only_the_models_that_a_role_may_use_are_shown() {
    let limited = Limited::new(&json!({}));
    let role = limited.database.cluster().create_role();
    let mut client = limited.database.connect_as(&role);
    let count = |client: &mut Client| client.query_one("SELECT count(*) FROM pg_llm_stat_limits", &[]).unwrap().get::<_, i64>(0);
    assert_eq!(count(&mut client), 0);
    limited.session().execute("SELECT pg_llm_grant_model('m', $1)", &[&role]).unwrap();
    assert_eq!(count(&mut client), 1);
    let error = db_error(client.query_one("SELECT _pg_llm_catalog.limit_state('m', NULL)", &[]));
    assert_eq!(error.code().code(), "42501");
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let limited = Limited::new(&json!({}));
    for config in [
        json!({"max_concurrency": 0}),
        json!({"max_concurrency": -1}),
        json!({"max_concurrency": 10_001}),
        json!({"max_concurrency": "3"}),
        json!({"max_concurrency": 1e30}),
        json!({"rate_limit": 3}),
        json!({"rate_limit": []}),
        json!({"rate_limit": {"rpm": 0}}),
        json!({"rate_limit": {"rpm": 1.5}}),
        json!({"rate_limit": {"rpm": -1}}),
        json!({"rate_limit": {"tpm": 1_000_000_001}}),
        json!({"rate_limit": {"rpd": 5}}),
        json!({"circuit_breaker": 3}),
        json!({"circuit_breaker": {"failures": 0}}),
        json!({"circuit_breaker": {"pause_ms": 0}}),
        json!({"circuit_breaker": {"pause": 1}}),
    ] {
        let error = db_error(limited.session().execute("SELECT pg_llm_add_model('mock', 'x', NULL, $1)", &[&config]));
        assert_eq!(error.code().code(), "22023", "{config}: {error:?}");
    }
    for config in
        [json!({"max_concurrency": null, "rate_limit": null}), json!({"rate_limit": {"rpm": null}}), json!({"circuit_breaker": true})]
    {
        limited.session().execute("SELECT pg_llm_add_model('mock', 'x', NULL, $1)", &[&config]).unwrap();
        limited.session().query("SELECT * FROM pg_llm_stat_limits", &[]).unwrap();
    }
}

#[test]
fn more_models_than_the_table_has_room_for_are_all_answered() {
    let limited = Limited::new(&json!({}));
    let mut client = limited.session();
    client
        .batch_execute("DO $$ BEGIN FOR i IN 1..300 LOOP PERFORM pg_llm_add_model('mock', 'm' || i, NULL, '{}'::jsonb); END LOOP; END $$")
        .unwrap();
    for _ in 0..2 {
        let answered = "SELECT count(pg_llm_chat('m' || i, 'Hello')) FROM generate_series(1, 300) AS i";
        assert_eq!(client.query_one(answered, &[]).unwrap().get::<_, i64>(0), 300);
    }
    let in_flight: i64 = client.query_one("SELECT sum(in_flight) FROM pg_llm_stat_limits", &[]).unwrap().get(0);
    assert_eq!(in_flight, 0);
    limited.database.cluster().assert_no_crash();
}
