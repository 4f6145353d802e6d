//! What is kept of the statement that sets a key, and of one that says where it is.

use pg_llm_tests::{Cluster, Settings, db_error};
use serde_json::json;

use super::{KEY, add_model, chat, echoing, sent};

/// As the documentation says: the log and the statistics of statements are Postgres's, and show what a statement says. A reference says nothing.
#[test]
fn a_statement_with_a_key_is_in_the_log_and_one_with_a_reference_has_no_key_to_show() {
    let settings = Settings::for_models()
        .lines(&["log_statement = all", "log_min_duration_statement = 0", "log_min_messages = debug1", "log_parameter_max_length = -1"])
        .env("PG_LLM_TEST_KEY", KEY);
    let cluster = Cluster::start(&settings);
    let database = cluster.database();
    let (upstream, mut client) = (echoing(), database.superuser());
    let config = json!({"api_endpoint": upstream.url(), "api_key": {"env": "PG_LLM_TEST_KEY"}});
    client.execute("SELECT pg_llm_add_model('openai-compatible', 'm', config => $1)", &[&config]).unwrap();
    client.batch_execute("SELECT pg_llm_set_key('m', 'default', '{\"env\": \"PG_LLM_TEST_KEY\"}'::jsonb)").unwrap();
    assert_eq!(chat(&mut client, "m").unwrap(), "well");
    assert_eq!(sent(&upstream), Some(format!("Bearer {KEY}")));
    client.batch_execute("SELECT pg_llm_rotate_master_key(); TABLE pg_llm_master_keys; TABLE pg_llm_models").unwrap();
    upstream.on("/chat/completions").reply(pg_llm_upstream::Reply::echo_headers(401));
    chat(&mut client, "m").unwrap_err();
    assert!(cluster.log().contains("PG_LLM_TEST_KEY") && !cluster.log().contains(KEY));
    let activity = "SELECT string_agg(a::text, ' ') FROM pg_stat_activity a";
    assert!(!database.superuser().query_one(activity, &[]).unwrap().get::<_, String>(0).contains(KEY));

    // By value it is there: as text, and as a parameter.
    add_model(&mut client, "by parameter", &format!("{KEY}-parameter"), &upstream);
    client.batch_execute(&format!("SELECT pg_llm_set_key('m', 'default', '{KEY}-text')")).unwrap();
    let shown: String = database.superuser().query_one(activity, &[]).unwrap().get(0);
    assert!(shown.contains(&format!("{KEY}-text")), "pg_stat_activity has what ran last");
    for kind in ["parameter", "text"] {
        assert!(cluster.log().contains(&format!("{KEY}-{kind}")), "the documentation says that a {kind} is logged");
    }
    client.batch_execute("SELECT 1").unwrap();
    let shown: String = database.superuser().query_one(activity, &[]).unwrap().get(0);
    assert!(!shown.contains(KEY));
}

#[test]
fn a_plan_and_a_prepared_statement_show_a_key_by_reference_as_a_reference() {
    let database = Cluster::shared().database();
    let mut client = database.superuser();
    client.batch_execute("SELECT pg_llm_add_model('mock', 'm')").unwrap();
    let sql = "EXPLAIN (VERBOSE) SELECT pg_llm_set_key('m', 'default', '{\"env\": \"PATH\"}'::jsonb)";
    assert!(format!("{:?}", client.simple_query(sql).unwrap()).contains("PATH"));
    let none: bool = client.query_one("SELECT key_sources IS NULL FROM pg_llm_models", &[]).unwrap().get(0);
    assert!(none, "a plan sets nothing");
    client.batch_execute("PREPARE p(text) AS SELECT pg_llm_set_key('m', 'default', $1)").unwrap();
    client.batch_execute(&format!("EXECUTE p('{KEY}')")).unwrap();
    let shown: String = client.query_one("SELECT string_agg(p::text, ' ') FROM pg_prepared_statements p", &[]).unwrap().get(0);
    assert!(!shown.contains(KEY), "{shown}");
    let error = db_error(client.simple_query(&format!("SELECT pg_llm_set_key('no such model', 'default', '{KEY}')")));
    assert!(!format!("{error:?}").contains(KEY), "{error:?}");
}
