//! The views: what a role may know, and no secret.

use pg_llm_tests::{Asked, Cluster, db_error, postgres::Client};
use serde_json::{Value, json};

/// One column, sorted.
fn names(client: &mut Client, sql: &str) -> Vec<String> {
    let mut names: Vec<String> = client.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    names.sort();
    names
}

const MODELS: &str = "SELECT instance_name FROM pg_llm_models";

#[test]
fn the_built_in_providers_are_listed_with_what_they_are_and_may() {
    let mut client = Cluster::shared().database().superuser();
    let types = names(&mut client, "SELECT model_type FROM pg_llm_providers WHERE builtin");
    for expected in [
        "openai",
        "openai-compatible",
        "azure-openai",
        "deepseek",
        "mistral",
        "groq",
        "xai",
        "openrouter",
        "vllm",
        "llamacpp",
        "qwen",
        "hunyuan",
        "moonshot",
        "zhipu",
        "mock",
    ] {
        assert!(types.iter().any(|name| name == expected), "{expected} in {types:?}");
    }
    let row: Value = client.query_one("SELECT to_jsonb(p) FROM pg_llm_providers p WHERE model_type = 'openai'", &[]).unwrap().get(0);
    assert_eq!(row["aliases"], json!(["chatgpt"]));
    assert_eq!((&row["adapter"], &row["default_endpoint"]), (&json!("openai"), &json!("https://api.openai.com/v1")));
    assert_eq!((&row["wit_version"], &row["owner"], &row["uploaded_at"]), (&json!("1.0.0"), &Value::Null, &Value::Null));
    assert_eq!(row["digest"].as_str().map(str::len), Some(64), "{row}");
    assert!(row["size"].as_i64().is_some_and(|size| size > 10_000), "{row}");
    assert!(row["capabilities"].as_array().is_some_and(|list| !list.is_empty()), "{row}");
    assert!(
        row["exports"].as_array().is_some_and(|list| list.iter().any(|name| name.as_str().is_some_and(|name| name.contains("chat")))),
        "{row}"
    );
    let imports = row["imports"].as_array().unwrap();
    assert!(imports.iter().all(|name| name.as_str().is_some_and(|name| name.contains("pg-llm:guest/"))), "no WASI: {row}");
    let mock: Value = client.query_one("SELECT to_jsonb(p) FROM pg_llm_providers p WHERE model_type = 'mock'", &[]).unwrap().get(0);
    assert_eq!((&mock["default_endpoint"], &mock["keys"]), (&Value::Null, &json!([])), "it needs neither");
}

#[test]
fn the_limits_shown_are_those_of_a_call_that_would_begin_now() {
    let mut client = Cluster::shared().database().superuser();
    client.batch_execute("SET pg_llm.guest_memory_mb = 7; SET pg_llm.guest_cpu_ms = 1234; SET pg_llm.max_response_bytes = '2MB'; SET pg_llm.timeout_ms = '5s'").unwrap();
    let limits: Value = client.query_one("SELECT limits FROM pg_llm_providers LIMIT 1", &[]).unwrap().get(0);
    for (name, expected) in [("memory_bytes", 7 << 20), ("cpu_ms", 1234), ("response_bytes", 2 << 20), ("timeout_ms", 5000)] {
        assert_eq!(limits[name], expected, "{name} of {limits}");
    }
    for name in ["table_elements", "instances", "request_bytes", "log_bytes", "http_requests"] {
        assert!(limits[name].is_u64(), "{name} of {limits}");
    }
}

#[test]
fn a_role_sees_the_models_that_it_may_use_and_no_others() {
    let mut asked = Asked::echo();
    let [user, member, stranger] = [(); 3].map(|()| asked.database.create_role());
    asked
        .client
        .batch_execute(&format!("GRANT {user} TO {member}; SELECT pg_llm_add_model('mock', 'granted'), pg_llm_add_model('mock', 'secret')"))
        .unwrap();
    let seen = |role: &str| names(&mut asked.database.connect_as(role), MODELS);
    assert_eq!(seen("postgres"), ["granted", "m", "secret"]);
    assert_eq!(seen(&user), [""; 0]);
    asked.value::<bool>("SELECT pg_llm_grant_model('granted', $1)", &[&user]).unwrap();
    let seen = |role: &str| names(&mut asked.database.connect_as(role), MODELS);
    assert_eq!((seen(&user), seen(&member), seen(&stranger)), (vec!["granted".to_owned()], vec!["granted".to_owned()], vec![]));
    asked.client.batch_execute("SELECT pg_llm_grant_model('m', 'public')").unwrap();
    let seen = |role: &str| names(&mut asked.database.connect_as(role), MODELS);
    assert_eq!((seen(&user), seen(&stranger)), (vec!["granted".to_owned(), "m".to_owned()], vec!["m".to_owned()]));
    asked.value::<bool>("SELECT pg_llm_revoke_model('granted', $1)", &[&user]).unwrap();
    asked.client.batch_execute("SELECT pg_llm_revoke_model('m', 'public')").unwrap();
    let seen = |role: &str| names(&mut asked.database.connect_as(role), MODELS);
    assert_eq!((seen(&user), seen(&member)), (vec![], vec![]));
}

#[test]
fn who_uses_a_model_sees_its_owner_and_grants_and_the_names_of_its_keys() {
    let mut asked = Asked::echo();
    let user = asked.database.create_role();
    asked.value::<bool>("SELECT pg_llm_grant_model('m', $1)", &[&user]).unwrap();
    asked.client.batch_execute("SELECT pg_llm_grant_model('m', 'public')").unwrap();
    let row: Value = asked.database.connect_as(&user).query_one("SELECT to_jsonb(m) FROM pg_llm_models m", &[]).unwrap().get(0);
    assert_eq!((&row["owner"], &row["key_names"], &row["builtin"]), (&json!("postgres"), &json!(["default"]), &json!(true)));
    assert_eq!(row["granted_to"].as_array().map(Vec::len), Some(2), "{row}");
    assert_eq!(row["api_endpoint"], json!(format!("{}/v1", asked.upstream.url())));
    assert_eq!((&row["model_type"], &row["local_model"]), (&json!("openai-compatible"), &json!(false)));
}

#[test]
fn no_view_shows_a_secret() {
    let mut asked = Asked::echo();
    let config = json!({"api_endpoint": format!("{}/v1", asked.upstream.url()), "keys": {"other": "sk-another-secret"}, "access_key_secret": "sk-third-secret"});
    asked.client.execute("SELECT pg_llm_add_model('openai-compatible', 'm', 'sk-first-secret', $1)", &[&config]).unwrap();
    asked.says("Hello");
    for view in ["pg_llm_models", "pg_llm_providers"] {
        let text: String = asked.value(&format!("SELECT string_agg(to_jsonb(v)::text, '') FROM {view} v"), &[]).unwrap();
        assert!(!text.contains("sk-"), "{view}: {text}");
    }
}

#[test]
fn an_ordinary_role_reaches_nothing_behind_the_views() {
    let asked = Asked::echo();
    let mut client = asked.database.connect_as(&asked.database.create_role());
    for relation in ["models", "keys", "grants", "modules", "providers", "provider_owners"] {
        let error = db_error(client.query(&format!("SELECT * FROM _pg_llm_catalog.{relation}"), &[]));
        assert_eq!(error.code().code(), "42501", "{relation}: {error:?}");
    }
    for sql in
        ["DELETE FROM pg_llm_models", "INSERT INTO pg_llm_providers (model_type) VALUES ('x')", "UPDATE pg_llm_models SET model_type = 'x'"]
    {
        assert!(client.execute(sql, &[]).is_err(), "{sql}");
    }
    assert!(client.query("SELECT * FROM pg_llm_providers", &[]).unwrap().len() > 10, "providers are for all to see");
}

/// A condition that talks is asked only about rows that its caller may see.
#[test]
fn a_leaky_condition_learns_of_no_other_model() {
    let mut asked = Asked::echo();
    let role = asked.database.create_role();
    asked
        .client
        .batch_execute(&format!(
            "SELECT pg_llm_add_model('mock', 'granted'), pg_llm_grant_model('granted', '{role}');
             CREATE TABLE heard (name text); GRANT ALL ON heard TO PUBLIC;
             CREATE FUNCTION leak(name text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
                 $$ BEGIN RAISE NOTICE 'heard %', name; RETURN true; END $$;"
        ))
        .unwrap();
    let printed = asked.database.psql(&["-U", &role, "-c", "SELECT instance_name FROM pg_llm_models WHERE leak(instance_name)"]);
    assert!(printed.success, "{}", printed.errors);
    assert!(printed.errors.contains("heard granted") && !printed.errors.contains("heard m"), "{}", printed.errors);
}
