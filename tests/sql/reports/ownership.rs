//! Whose a report is, how long it lives, and where none can be kept.

use pg_llm_tests::db_error;
use serde_json::{Value, json};

use super::{narrative, report, saying};

#[test]
fn a_report_is_its_roles_alone() {
    let mut asked = saying(&narrative("Mine."));
    let (one, other) = (asked.database.create_role(), asked.database.create_role());
    asked.client.batch_execute(&format!("SELECT pg_llm_grant_model('m', '{one}'), pg_llm_grant_model('m', '{other}')")).unwrap();
    let mut owner = asked.database.connect_as(&one);
    let made: Value = owner.query_one("SELECT pg_llm_generate_report('m', 'SELECT 1 AS n')", &[]).unwrap().get(0);
    let id = made["request_id"].as_str().unwrap().to_owned();
    let html = "SELECT pg_llm_report_html($1::text::uuid)";
    let delete = "SELECT pg_llm_delete_report($1::text::uuid)";
    assert!(owner.query_one(html, &[&id]).is_ok());
    let mut stranger = asked.database.connect_as(&other);
    for client in [&mut stranger, &mut asked.client] {
        assert_eq!(db_error(client.query_one(html, &[&id])).code().code(), "42704");
        assert!(!client.query_one(delete, &[&id]).unwrap().get::<_, bool>(0));
    }
    assert_eq!(db_error(stranger.query_one("SELECT * FROM _pg_llm_catalog.reports", &[])).code().code(), "42501");
    assert!(owner.query_one(delete, &[&id]).unwrap().get::<_, bool>(0));
    assert_eq!(db_error(owner.query_one(html, &[&id])).code().code(), "42704");
    assert!(!owner.query_one(delete, &[&id]).unwrap().get::<_, bool>(0));
}

#[test]
fn a_report_runs_with_its_callers_rights_and_policies() {
    let mut asked = saying(&narrative("."));
    let poor = asked.database.create_role();
    asked
        .client
        .batch_execute(&format!(
            "CREATE TABLE secret (body text); CREATE TABLE own (owner name); INSERT INTO own VALUES ('{poor}'), ('other');
             ALTER TABLE own ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON own USING (owner = current_user); GRANT SELECT ON own TO {poor};
             SELECT pg_llm_grant_model('m', '{poor}')"
        ))
        .unwrap();
    let mut client = asked.database.connect_as(&poor);
    assert_eq!(db_error(client.query_one("SELECT pg_llm_generate_report('m', 'SELECT * FROM secret')", &[])).code().code(), "42501");
    let made: Value = client.query_one("SELECT pg_llm_generate_report('m', 'SELECT * FROM own')", &[]).unwrap().get(0);
    assert_eq!((&made["statistics"]["rows"], &made["statistics"]["columns"][0]["top"]), (&json!(1), &json!([{"value": poor, "count": 1}])));
}

#[test]
fn where_nothing_can_be_written_a_report_is_made_and_not_kept() {
    let mut asked = saying(&narrative("."));
    assert_eq!(report(&mut asked, "SELECT 1", &json!({"store": false}))["stored"], false);
    asked.client.batch_execute("BEGIN READ ONLY").unwrap();
    assert_eq!(report(&mut asked, "SELECT 1", &json!({}))["stored"], false);
    asked.client.batch_execute("COMMIT").unwrap();
    assert_eq!(asked.value::<i64>("SELECT count(*) FROM _pg_llm_catalog.reports", &[]).unwrap(), 0);
    assert_eq!(report(&mut asked, "SELECT 1", &json!({}))["stored"], true);
}

#[test]
fn reports_go_when_their_time_is_over() {
    let mut asked = saying(&narrative("."));
    report(&mut asked, "SELECT 1", &json!({}));
    asked.client.batch_execute("UPDATE _pg_llm_catalog.reports SET created_at = now() - interval '91 days'").unwrap();
    report(&mut asked, "SELECT 2", &json!({}));
    assert_eq!(asked.value::<String>("SELECT string_agg(sql, ',') FROM _pg_llm_catalog.reports", &[]).unwrap(), "SELECT 2");
    asked
        .client
        .batch_execute("UPDATE _pg_llm_catalog.reports SET created_at = now() - interval '91 days'; SET pg_llm.report_retention = 0")
        .unwrap();
    report(&mut asked, "SELECT 3", &json!({}));
    assert_eq!(asked.value::<i64>("SELECT count(*) FROM _pg_llm_catalog.reports", &[]).unwrap(), 2);
}

#[test]
fn a_kept_answer_makes_a_report_of_its_own() {
    let mut asked = saying(&narrative("."));
    let first = report(&mut asked, "SELECT 1", &json!({"cache": true}));
    let second = report(&mut asked, "SELECT 1", &json!({"cache": true}));
    assert_eq!(asked.upstream.requests().len(), 1);
    assert_ne!(first["request_id"], second["request_id"]);
    assert_eq!(asked.value::<i64>("SELECT count(*) FROM _pg_llm_catalog.reports", &[]).unwrap(), 2);
}
