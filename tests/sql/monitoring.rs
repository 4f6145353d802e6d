//! What the ledger comes to: `pg_llm_usage`, `pg_llm_stat_models`, `pg_llm_health`, and what is read from them elsewhere.
//!
//! Rows of the ledger are written by hand here: what is counted has to be known.

use std::fs;
use std::path::Path;

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Asked, db_error};
use pg_llm_upstream::{Upstream, openai};
use serde_json::{Value, json};

/// A row of the ledger with these columns besides what it must have.
#[track_caller]
fn entry(client: &mut Client, columns: &Value) {
    let mut row = json!({
        "request_id": format!("00000000-0000-0000-0000-{:012}", rows_so_far(client)), "attempt": 1, "final": true, "began_at": "now", "operation": "chat", "via": "chat",
        "role_name": "postgres", "instance_name": "m", "provider": "openai-compatible", "model_name": "test-model", "total_us": 1000, "outcome": "ok", "streamed": false,
    });
    for (name, value) in columns.as_object().unwrap() {
        row[name] = value.clone();
    }
    let sql = "INSERT INTO _pg_llm_catalog.ledger OVERRIDING USER VALUE
               SELECT r.* FROM jsonb_populate_record(NULL::_pg_llm_catalog.ledger, $1::jsonb || jsonb_build_object('role', (SELECT oid::text FROM pg_roles WHERE rolname = $1::jsonb ->> 'role_name'))) AS r";
    client.execute(sql, &[&row]).unwrap_or_else(|error| panic!("{error:?}"));
}

fn minutes_ago(client: &mut Client, minutes: i32) -> String {
    client.query_one("SELECT (now() - make_interval(mins => $1))::text", &[&minutes]).unwrap().get(0)
}

fn rows_so_far(client: &mut Client) -> i64 {
    client.query_one("SELECT count(*) FROM _pg_llm_catalog.ledger", &[]).unwrap().get(0)
}

fn rows(client: &mut Client, sql: &str) -> Value {
    client
        .query_one(&format!("SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]') FROM ({sql}) AS t"), &[])
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
        .get(0)
}

/// A model `m` whose own calls stand in no ledger.
fn quiet() -> Asked {
    let asked = Asked::at(Upstream::start(), json!({}));
    asked.upstream.on(Asked::PATH).reply(openai::completion("ok"));
    asked
}

#[test]
fn usage_is_counted_by_day_role_and_model_and_what_has_no_price_is_counted_as_such() {
    let mut asked = quiet();
    let call = "00000000-0000-0000-0001-000000000000";
    for columns in [
        json!({"request_id": call, "attempt": 1, "final": false, "outcome": "error", "error_kind": "provider", "cost": 0, "currency": "USD", "began_at": "2026-03-01 23:59:59Z"}),
        json!({"request_id": call, "attempt": 2, "cost": 0.1, "currency": "USD", "input_tokens": 7, "output_tokens": 3, "began_at": "2026-03-01 23:59:59Z"}),
        json!({"attempt": 0, "outcome": "cached", "cost": 0, "began_at": "2026-03-01 12:00:00Z"}),
        json!({"cost": 0.2, "currency": "USD", "input_tokens": 1, "began_at": "2026-03-01 00:00:00Z"}),
        json!({"began_at": "2026-03-01 01:00:00Z", "output_tokens": 9}),
        json!({"began_at": "2026-03-02 00:00:00Z", "cost": 5, "currency": "USD"}),
        json!({"began_at": "2026-03-02 01:00:00Z", "cost": 5, "currency": "EUR"}),
    ] {
        entry(&mut asked.client, &columns);
    }
    let days = rows(&mut asked.client, "SELECT * FROM pg_llm_usage ORDER BY day");
    let first = &days[0];
    for (column, expected) in [
        ("day", json!("2026-03-01")),
        ("role", json!("postgres")),
        ("instance_name", json!("m")),
        ("calls", json!(4)),
        ("requests", json!(4)),
        ("retries", json!(1)),
        ("cached", json!(1)),
        ("errors", json!(1)),
        ("input_tokens", json!(8)),
        ("output_tokens", json!(12)),
        ("cost", json!(0.3)),
        ("currency", json!("USD")),
        ("unpriced", json!(1)),
    ] {
        assert_eq!(first[column], expected, "{column} of {first}");
    }
    assert_eq!(
        (&days[1]["cost"], &days[1]["currency"], &days[1]["calls"]),
        (&json!(null), &json!(null), &json!(2)),
        "two currencies have no sum"
    );
}

#[test]
fn models_have_percentiles_and_errors_by_kind() {
    let mut asked = quiet();
    asked.add("openai-compatible", "never called", &json!({}));
    for n in 1..=100 {
        entry(&mut asked.client, &json!({"total_us": n * 10_000, "first_byte_us": n * 1000, "queue_us": 0}));
    }
    entry(&mut asked.client, &json!({"outcome": "error", "error_kind": "provider", "total_us": 900_000_000}));
    entry(&mut asked.client, &json!({"outcome": "denied", "error_kind": "over_budget", "attempt": 0}));
    entry(&mut asked.client, &json!({"outcome": "ok", "began_at": "yesterday", "total_us": 900_000_000}));
    entry(&mut asked.client, &json!({"outcome": "ok", "began_at": "2020-01-01 00:00:00Z", "total_us": 900_000_000}));
    entry(&mut asked.client, &json!({"instance_name": "removed", "operation": "embeddings"}));
    asked
        .client
        .execute(
            "DELETE FROM _pg_llm_catalog.ledger WHERE total_us = 900000000 AND outcome = 'ok' AND began_at >= now() - interval '1 day'",
            &[],
        )
        .unwrap();
    let models = rows(&mut asked.client, "SELECT * FROM pg_llm_stat_models ORDER BY instance_name");
    let m = &models[0];
    for (column, expected) in [
        ("instance_name", json!("m")),
        ("gen_ai_operation_name", json!("chat")),
        ("gen_ai_provider_name", json!("openai-compatible")),
        ("gen_ai_response_model", json!("test-model")),
        ("requests", json!(101)),
        ("ok", json!(100)),
        ("failed", json!(2)),
        ("errors", json!({"provider": 1, "over_budget": 1})),
        ("operation_duration_p50", json!(0.505)),
        ("operation_duration_p95", json!(0.9505)),
        ("in_flight", json!(0)),
        ("breaker", json!("closed")),
    ] {
        assert_eq!(m[column], expected, "{column} of {m}");
    }
    assert_eq!((&models[1]["instance_name"], &models[1]["calls"], &models[1]["errors"]), (&json!("never called"), &json!(0), &json!({})));
    assert_eq!(
        (&models[2]["instance_name"], &models[2]["gen_ai_operation_name"], &models[2]["breaker"]),
        (&json!("removed"), &json!("embeddings"), &json!(null))
    );
}

#[test]
fn a_role_sees_what_it_did_itself_and_monitors_see_all_and_nobody_sees_the_table() {
    let mut asked = quiet();
    let (one, monitor) = (asked.database.create_role(), asked.database.create_role());
    asked.client.batch_execute(&format!("GRANT pg_read_all_stats TO {monitor}")).unwrap();
    entry(&mut asked.client, &json!({}));
    entry(&mut asked.client, &json!({"role_name": one}));
    for (role, usage) in [(&one, json!([{"role": one}])), (&monitor, json!([{"role": one}, {"role": "postgres"}]))] {
        let mut session = asked.database.connect_as(role);
        let mut seen = rows(&mut session, "SELECT role FROM pg_llm_usage ORDER BY role = 'postgres'");
        seen.as_array_mut().unwrap().sort_by_key(|row| row["role"] == "postgres");
        assert_eq!(seen, usage);
        for table in ["ledger", "seen_ledger", "budgets"] {
            assert_eq!(db_error(session.query(&format!("SELECT FROM _pg_llm_catalog.{table}"), &[])).code().code(), "42501", "{table}");
        }
    }
    // A role that has the name of another, which was dropped, did nothing of what that did.
    asked.client.batch_execute(&format!("UPDATE _pg_llm_catalog.ledger SET role = 1 WHERE role_name = '{one}'")).unwrap();
    assert_eq!(rows(&mut asked.database.connect_as(&one), "SELECT role FROM pg_llm_usage"), json!([]));
}

#[test]
fn health_asks_nobody_unless_it_is_told_to() {
    let mut asked = quiet();
    let health = |asked: &mut Asked, arguments: &str| rows(&mut asked.client, &format!("SELECT * FROM pg_llm_health({arguments})"));
    let before = health(&mut asked, "");
    assert_eq!((&before[0]["instance"], &before[0]["status"], &before[0]["probed"]), (&json!("m"), &json!("unknown"), &json!(false)));
    let (before, after) = (minutes_ago(&mut asked.client, 2), minutes_ago(&mut asked.client, 1));
    entry(&mut asked.client, &json!({"began_at": before}));
    assert_eq!(health(&mut asked, "'m'")[0]["status"], json!("ok"));
    entry(&mut asked.client, &json!({"outcome": "error", "error_kind": "timed_out", "began_at": after}));
    let failing = health(&mut asked, "'m'");
    assert_eq!((&failing[0]["status"], &failing[0]["last_error"]), (&json!("failing"), &json!("timed_out")));
    assert_eq!(health(&mut asked, "'nobody'"), json!([]));
    assert_eq!(asked.upstream.observe(|observed| observed.requests_total), 0);

    let probed = health(&mut asked, "'m', probe => true");
    assert_eq!((&probed[0]["status"], &probed[0]["probed"], &probed[0]["probe_error"]), (&json!("ok"), &json!(true), &json!(null)));
    assert_eq!(asked.upstream.observe(|observed| observed.requests_total), 1);
    asked.upstream.on(Asked::PATH).reply(openai::error(401, "authentication_error", "invalid_api_key", "No."));
    let refused = health(&mut asked, "probe => true");
    assert_eq!((&refused[0]["status"], &refused[0]["probe_error"]["sqlstate"]), (&json!("failing"), &json!("38000")), "{refused}");
}

fn monitoring(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring").join(file)).unwrap()
}

/// The queries of the exporter's file, each with the columns that it is to have.
fn exported() -> Vec<(String, Vec<String>)> {
    let mut queries: Vec<(String, Vec<String>)> = Vec::new();
    let mut in_query = false;
    for line in monitoring("postgres_exporter.yaml").lines() {
        match line {
            "  query: |" => {
                queries.push((String::new(), Vec::new()));
                in_query = true;
            }
            "  metrics:" => in_query = false,
            _ => {
                if in_query {
                    let query = &mut queries.last_mut().unwrap().0;
                    *query += line;
                    *query += "\n";
                } else if let Some(metric) = line.strip_prefix("    - ") {
                    let (name, rest) = metric.split_once(": {usage: ").unwrap_or_else(|| panic!("{line}"));
                    assert!(["LABEL", "COUNTER", "GAUGE"].iter().any(|usage| rest.starts_with(usage)), "{line}");
                    queries.last_mut().unwrap().1.push(name.to_owned());
                }
            }
        }
    }
    queries
}

/// A member of `pg_monitor`, and something to see.
fn monitor() -> (Asked, Client) {
    let mut asked = quiet();
    let config = json!({"price": {"input": 1, "output": 1}, "budget": {"amount": 1, "period": "day"}});
    asked.add("openai-compatible", "m", &config);
    for columns in [
        json!({"cost": 0.5, "currency": "USD", "input_tokens": 1, "first_byte_us": 1, "queue_us": 1}),
        json!({"outcome": "error", "error_kind": "provider"}),
    ] {
        entry(&mut asked.client, &columns);
    }
    let role = asked.database.create_role();
    asked.client.batch_execute(&format!("GRANT pg_monitor TO {role}; SELECT pg_llm_grant_model('m', '{role}')")).unwrap();
    let client = asked.database.connect_as(&role);
    (asked, client)
}

#[test]
fn every_query_for_the_exporter_runs_as_a_monitor_and_has_the_columns_that_its_metrics_name() {
    let (_asked, mut client) = monitor();
    let queries = exported();
    assert_eq!(queries.len(), 4);
    for (sql, columns) in queries {
        let rows = client.query(&sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let names: Vec<&str> =
            rows.first().unwrap_or_else(|| panic!("nothing of {sql}")).columns().iter().map(pg_llm_tests::postgres::Column::name).collect();
        assert_eq!(names, columns);
    }
}

#[test]
fn every_query_of_the_dashboard_runs_as_a_monitor_and_shows_something() {
    let (_asked, mut client) = monitor();
    let dashboard: Value = serde_json::from_str(&monitoring("grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 8);
    for panel in panels {
        for target in panel["targets"].as_array().unwrap() {
            let mut sql = target["rawSql"].as_str().unwrap().to_owned();
            while let Some(begin) = sql.find("$__timeFilter(") {
                // As Grafana replaces it.
                let inner = begin + "$__timeFilter(".len();
                let mut depth = 1;
                let end = inner
                    + sql[inner..]
                        .find(|c| {
                            depth += i32::from(c == '(') - i32::from(c == ')');
                            depth == 0
                        })
                        .unwrap();
                let column = sql[inner..end].to_owned();
                sql.replace_range(begin..=end, &format!("{column} BETWEEN now() - interval '30 days' AND now()"));
            }
            assert!(!sql.contains("$__"), "{sql}");
            let rows = client.query(&sql, &[]).unwrap_or_else(|error| panic!("{}: {error:?}", panel["title"]));
            assert!(!rows.is_empty(), "{}", panel["title"]);
            if target["format"] == "time_series" {
                assert_eq!(rows[0].columns()[0].name(), "time");
            }
        }
    }
}
