//! `pg_llm_doctor`: what is set up wrong, and how to mend it.

use super::*;

/// Status, detail and hint of a check.
fn findings(client: &mut Client, check: &str) -> Vec<(String, String, String)> {
    let rows = client.query("SELECT status, detail, coalesce(hint, '') FROM pg_llm_doctor() WHERE check_name = $1", &[&check]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[track_caller]
fn finding(client: &mut Client, check: &str) -> (String, String, String) {
    let mut all = findings(client, check);
    assert_eq!(all.len(), 1, "{check}: {all:?}");
    all.remove(0)
}

#[test]
fn a_server_that_is_set_up_well_has_nothing_but_ok() {
    let limited = Limited::new(&json!({}));
    let ill = limited.session().query("SELECT check_name, detail FROM pg_llm_doctor() WHERE status <> 'ok'", &[]).unwrap();
    let ill: Vec<(String, String)> = ill.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert!(ill.is_empty(), "{ill:?}");
    assert_eq!(limited.requests(), 0, "it calls nobody");
    let names = "SELECT string_agg(DISTINCT status, ',') FROM pg_llm_doctor()";
    assert_eq!(limited.session().query_one(names, &[]).unwrap().get::<_, String>(0), "ok");
}

#[test]
fn without_preload_it_says_that_limits_are_each_sessions_own() {
    let limited = Limited::on(Cluster::shared(), &json!({}));
    let (status, detail, hint) = finding(&mut limited.session(), "preload");
    assert_eq!(status, "warning");
    assert!(detail.contains("each session by itself") && hint.contains("shared_preload_libraries"), "{detail} {hint}");
}

#[test]
fn what_is_wrong_with_the_settings_is_the_superusers_to_read() {
    // Whose settings nobody else minds.
    static OWN: OnceLock<Cluster> = OnceLock::new();
    let limited = Limited::on(OWN.get_or_init(|| Cluster::start(&preloaded())), &json!({}));
    let role = limited.database.create_role();
    limited
        .session()
        .batch_execute(&format!(
            "ALTER DATABASE {0} SET pg_llm.ca_file = '/nowhere/ca.pem'; ALTER DATABASE {0} SET pg_llm.allowed_hosts = 'http://[not a host'",
            limited.database.name()
        ))
        .unwrap();
    limited.database.cluster().set("pg_llm.master_key_file = '/nowhere/key'");
    for check in ["certificates", "master_key", "allowed_hosts"] {
        let (status, detail, _) = finding(&mut limited.session(), check);
        assert_eq!(status, "error", "{detail}");
        assert!(detail.contains("/nowhere/") || detail.contains("[not"), "{detail}");
        let (status, detail, hint) = finding(&mut limited.database.connect_as(&role), check);
        assert_eq!(status, "error");
        assert!(!detail.contains("/nowhere/") && !detail.contains("[not") && hint.contains("superuser"), "{detail}");
    }
    let models = findings(&mut limited.session(), "model");
    assert!(models.len() == 1 && models[0].1.contains("Model \"m\" cannot be called"), "{models:?}");
    assert!(findings(&mut limited.database.connect_as(&role), "model").is_empty(), "models of others are nobody's business");
}

#[test]
fn private_networks_behind_a_wildcard_are_warned_of() {
    let limited = Limited::new(&json!({}));
    let mut client = limited.session();
    client.batch_execute("SET pg_llm.allow_private_networks = on; SET pg_llm.allowed_hosts = '*'").unwrap();
    assert_eq!(finding(&mut client, "private_networks").0, "warning");
}

#[test]
fn a_model_whose_keys_cannot_be_opened_is_named() {
    let limited = Limited::new(&json!({}));
    let mut client = limited.session();
    client.batch_execute("UPDATE _pg_llm_catalog.keys SET master_key_id = '0123456789abcdef'").unwrap();
    let models = findings(&mut client, "model");
    assert!(models.len() == 1 && models[0].0 == "error" && models[0].1.contains("Model \"m\""), "{models:?}");
}

#[test]
fn a_model_whose_type_has_gone_or_whose_breaker_is_open_is_named() {
    let limited = Limited::new(&json!({"circuit_breaker": {"failures": 1, "pause_ms": 100_000}, "max_attempts": 1}));
    limited.upstream.on(PATH).reply(openai::error(500, "server_error", "x", "No"));
    limited.session().query_one("SELECT pg_llm_chat('m', 'Hello')", &[]).unwrap_err();
    let (status, detail, _) = finding(&mut limited.session(), "model");
    assert!(status == "warning" && detail.contains("circuit breaker is open"), "{detail}");
    limited.session().batch_execute("UPDATE _pg_llm_catalog.models SET model_type = 'gone'").unwrap();
    let (status, detail, _) = finding(&mut limited.session(), "model");
    assert!(status == "error" && detail.contains("\"gone\" does not exist"), "{detail}");
}

#[test]
fn fallback_chains_that_lead_nowhere_are_named() {
    let limited = Limited::new(&json!({}));
    limited.session().batch_execute("UPDATE _pg_llm_catalog.models SET config = config || '{\"fallback_instance\": \"nobody\"}'").unwrap();
    let (status, detail, _) = finding(&mut limited.session(), "fallback");
    assert!(status == "error" && detail.contains("\"nobody\" of model \"m\""), "{detail}");
    limited.session().batch_execute("UPDATE _pg_llm_catalog.models SET config = config || '{\"fallback_instance\": \"m\"}'").unwrap();
    let (status, detail, _) = finding(&mut limited.session(), "fallback");
    assert!(status == "warning" && detail.contains("leads back"), "{detail}");
}
