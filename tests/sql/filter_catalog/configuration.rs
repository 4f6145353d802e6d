//! The filter itself checks its configuration when it is added, under the limits of a call.

use pg_llm_tests::{DEADLINE, Running, db_error, eventually};
use serde_json::{Value, json};

use super::{Owner, add, fails, of_length, upload};
use crate::uploads::built;

#[test]
fn a_filter_refuses_a_configuration_in_its_own_words() {
    let mut owner = Owner::new();
    assert!(add(&mut owner.client, "x", "length-limit", &of_length(10)).unwrap());
    for (filter_type, config, words) in [
        ("length-limit", json!({"banana": 1}), "banana"),
        ("length-limit", json!({"prompt": {}}), "\"max\" is missing"),
        ("length-limit", json!({"prompt": {"max": -1}}), "max"),
        ("json-only", json!({"type": "tree"}), "type"),
        ("pii-redact", json!({"kinds": ["shoe_size"]}), "kinds"),
        ("pii-redact", json!({"kinds": "email"}), "kinds"),
        ("regex-replace", json!({"rules": [{"pattern": "(", "replacement": ""}]}), "pattern"),
        ("prompt-guard", json!({"threshold": "high"}), "threshold"),
        ("secret-redact", json!({"answers": 1}), "answers"),
    ] {
        let error = fails(add(&mut owner.client, "x", filter_type, &config), "22023", words);
        assert!(error.message().starts_with("pg_llm: filter \"x\" refuses its configuration: "), "{error:?}");
        assert!(error.hint().unwrap().contains("config_schema"), "{error:?}");
    }
    assert_eq!(owner.shown("x")["config"], of_length(10), "the former one stays");
}

#[test]
fn a_configuration_is_an_object_of_some_size() {
    let mut owner = Owner::new();
    for config in [json!([]), json!("x"), json!(1), json!(null), json!([{}])] {
        fails(add(&mut owner.client, "x", "json-only", &config), "22023", "config must be a JSON object");
    }
    let rule = |pattern: String| json!({"rules": [{"pattern": pattern, "replacement": ""}]});
    fails(add(&mut owner.client, "x", "regex-replace", &rule("x".repeat(256 << 10))), "54000", "262144");
    fails(add(&mut owner.client, "x", "regex-replace", &rule("x".repeat(200 << 10))), "22023", "refuses its configuration");
    let deep = format!(
        "SELECT pg_llm_add_filter('x', filter_type => 'json-only', config => '{{\"a\": {}1{}}}')",
        "[".repeat(500),
        "]".repeat(500)
    );
    fails(owner.client.simple_query(&deep), "22023", "JSON");
    let nul = json!({"type": "a\u{1}b"});
    fails(add(&mut owner.client, "x", "json-only", &nul), "22023", "type");
    assert_eq!(owner.names(), [""; 0]);
}

fn crime(name: &str) -> Value {
    json!({"crime": name})
}

#[test]
fn a_module_that_misbehaves_over_its_configuration_is_not_added() {
    let mut owner = Owner::new();
    let hostile = built("hostile-filter.wasm");
    owner.client.batch_execute("SET pg_llm.guest_cpu_ms = 300").unwrap();
    for (name, words) in [
        ("loop", "computed for more than 300 ms"),
        ("memory-bomb", "bytes of memory"),
        ("recursion", "trapped"),
        ("panic", "as planned"),
        ("false-memo", "memo"),
        ("message-flood", ""),
    ] {
        let error = fails(upload(&mut owner.client, "x", &hostile, &crime(name)), "38001", words);
        assert!(error.message().contains("filter \"x\" could not check its configuration"), "{name}: {error:?}");
        assert_eq!((owner.names(), owner.modules()), (vec![], 0), "{name}");
    }
    fails(upload(&mut owner.client, "x", &hostile, &crime("error")), "22023", "refuses its configuration: it cannot");
    owner.client.batch_execute("RESET pg_llm.guest_cpu_ms; SET pg_llm.timeout_ms = 300").unwrap();
    fails(upload(&mut owner.client, "x", &hostile, &crime("loop")), "38001", "in time");
    // Nobody is hurt by what it will do with a prompt.
    assert!(upload(&mut owner.client, "x", &hostile, &crime("log-flood")).unwrap());
    assert_eq!(owner.shown("x")["filter_type"], "hostile-filter");
}

#[test]
fn checking_a_configuration_ends_with_the_statement() {
    let mut owner = Owner::new();
    let cluster = owner.database.cluster();
    assert!(upload(&mut owner.client, "idle", &built("hostile-filter.wasm"), &json!({})).unwrap());
    let sql = "SET pg_llm.guest_cpu_ms = '10min'; SET pg_llm.timeout_ms = '10min'; \
               SELECT pg_llm_add_filter('x', filter_type => 'idle', config => '{\"crime\": \"loop\"}')";
    let run = |before: &str| Running::start(owner.database.superuser(), &format!("{before}{sql}"));
    let computing = || {
        let running = run("");
        let backend = running.backend();
        assert!(eventually(DEADLINE, || backend.threads().len() > 1), "it computes");
        running
    };
    let cancelled = computing();
    cancelled.cancel();
    assert_eq!(db_error(cancelled.finish(DEADLINE).result).code().code(), "57014");
    let timed_out = run("SET statement_timeout = '400ms'; ");
    assert_eq!(db_error(timed_out.finish(DEADLINE).result).code().code(), "57014");
    let terminated = computing();
    assert!(cluster.terminate_backend(terminated.pid()));
    let pid = terminated.pid();
    assert!(terminated.finish(DEADLINE).result.is_err());
    assert_eq!(cluster.fatal_of(pid).map(|(state, _)| state).as_deref(), Some("57P01"));
    assert_eq!(owner.names(), ["idle"]);
}
