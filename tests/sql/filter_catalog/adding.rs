//! Adding, listing, changing, removing.

use std::fs;
use std::path::Path;

use pg_llm_tests::Cluster;
use serde_json::{Value, json};

use super::{Owner, add, fails, of_length, remove};

#[test]
fn the_built_in_filters_are_listed_with_what_they_are() {
    let mut owner = Owner::new();
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).join("../providers-wasm/filters");
    let mut folders: Vec<String> =
        fs::read_dir(folders).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    folders.sort();
    assert_eq!(owner.value::<Vec<String>>("SELECT array_agg(name ORDER BY name COLLATE \"C\") FROM pg_llm_filters WHERE builtin"), folders);
    for (name, sides) in
        [("json-only", json!(["response"])), ("prompt-guard", json!(["prompt"])), ("pii-redact", json!(["prompt", "response"]))]
    {
        let row = owner.shown(name);
        assert_eq!((&row["filter_type"], &row["sides"], &row["config"]), (&json!(name), &sides, &json!({})), "{row}");
        assert_eq!((&row["owner"], &row["uploaded_at"], &row["wit_version"]), (&Value::Null, &Value::Null, &json!("1.0.0")), "{row}");
        assert_eq!(row["config_schema"]["type"], "object", "{row}");
        assert!(row["size"].as_i64().is_some_and(|size| size > 10_000) && row["digest"].as_str().is_some_and(|d| d.len() == 64), "{row}");
        let imports = row["imports"].as_array().unwrap();
        let harmless = |import: &Value| ["types", "log"].iter().any(|name| import == &json!(format!("pg-llm:guest/{name}@1.0.0")));
        assert!(imports.iter().all(harmless), "no HTTP and no key: {row}");
        assert!(row["summary"].as_str().is_some_and(|text| !text.is_empty()), "{row}");
    }
}

#[test]
fn a_built_in_filter_gets_a_configuration_under_a_name_of_its_own() {
    let mut owner = Owner::new();
    assert!(add(&mut owner.client, "short", "length-limit", &of_length(10)).unwrap());
    let row = owner.shown("short");
    assert_eq!((&row["filter_type"], &row["builtin"], &row["config"]), (&json!("length-limit"), &json!(false), &of_length(10)), "{row}");
    assert_eq!((&row["owner"], &row["uploaded_at"]), (&json!("postgres"), &Value::Null), "{row}");
    let built_in = owner.shown("length-limit");
    for column in ["digest", "size", "sides", "config_schema", "version", "summary", "imports", "wit_version"] {
        assert_eq!(row[column], built_in[column], "{column}");
    }
    // Again: another configuration, another type.
    assert!(add(&mut owner.client, "short", "short", &of_length(20)).unwrap());
    assert_eq!(owner.shown("short")["config"], of_length(20));
    assert!(add(&mut owner.client, "short", "json-only", &json!({})).unwrap());
    assert_eq!((&owner.shown("short")["filter_type"], &owner.shown("short")["config"]), (&json!("json-only"), &json!({})));
    assert!(owner.value::<bool>("SELECT pg_llm_add_filter('plain', filter_type => 'pii-redact', config => NULL)"));
    assert_eq!(owner.names(), ["plain", "short"]);
    assert!(remove(&mut owner.client, "short").unwrap());
    assert!(!remove(&mut owner.client, "short").unwrap(), "there is none any more");
    assert_eq!(owner.names(), ["plain"]);
}

#[test]
fn what_is_added_is_one_thing_and_says_which() {
    let mut owner = Owner::new();
    for (sql, state, words) in [
        ("SELECT pg_llm_add_filter(NULL, filter_type => 'pii-redact')", "22023", "name must not be NULL"),
        ("SELECT pg_llm_add_filter('x')", "22023", "neither is given"),
        ("SELECT pg_llm_add_filter('x', NULL, NULL, NULL, NULL)", "22023", "neither is given"),
        ("SELECT pg_llm_add_filter('x', '\\x00', filter_type => 'pii-redact')", "22023", "both is given"),
        ("SELECT pg_llm_add_filter('x', sha256 => '00')", "22023", "sha256 is given without a module"),
        ("SELECT pg_llm_add_filter('x', sha256 => '00', filter_type => 'pii-redact')", "22023", "sha256 is given without a module"),
        ("SELECT pg_llm_add_filter('x', filter_type => 'pii')", "42704", "Built in: json-only, length-limit, pii-redact"),
        ("SELECT pg_llm_add_filter('x', filter_type => 'x')", "42704", "filter \"x\" does not exist"),
        ("SELECT pg_llm_add_filter('x', filter_type => '')", "42704", "does not exist"),
        ("SELECT pg_llm_add_filter('pii-redact', filter_type => 'pii-redact')", "42710", "built-in filter"),
        ("SELECT pg_llm_add_filter('json-only', '\\x00')", "42710", "built-in filter"),
        ("SELECT pg_llm_remove_filter(NULL)", "22023", "name must not be NULL"),
        ("SELECT pg_llm_remove_filter('pii-redact')", "42501", "part of the extension"),
    ] {
        fails(owner.client.simple_query(sql), state, words);
    }
    assert!(!owner.value::<bool>("SELECT pg_llm_remove_filter('x')"), "false when there is none");
    assert_eq!((owner.names(), owner.modules()), (vec![], 0));
}

#[test]
fn a_name_is_any_text_without_control_characters() {
    let mut owner = Owner::new();
    for name in ["é😀", "a b", "'; DROP TABLE x; --", "\"quoted\"", "$1", "PII-Redact", "pii-redact ", &"x".repeat(255)] {
        assert!(add(&mut owner.client, name, "pii-redact", &json!({})).unwrap(), "{name}");
        assert_eq!(owner.shown(name)["name"], name);
        assert!(remove(&mut owner.client, name).unwrap(), "{name}");
    }
    for name in ["", "a\nb", "a\u{1}", "\u{7f}", &"x".repeat(256), &"é".repeat(128)] {
        fails(add(&mut owner.client, name, "pii-redact", &json!({})), "22023", "control characters");
    }
    assert_eq!(owner.names(), [""; 0]);
}

#[test]
fn a_filter_that_was_added_comes_and_goes_with_its_transaction() {
    let mut owner = Owner::new();
    owner.client.batch_execute("BEGIN; SELECT pg_llm_add_filter('x', filter_type => 'pii-redact'); SAVEPOINT s").unwrap();
    owner.client.batch_execute("SELECT pg_llm_remove_filter('x'); ROLLBACK TO s").unwrap();
    assert_eq!(owner.names(), ["x"]);
    owner.client.batch_execute("ROLLBACK").unwrap();
    assert_eq!(owner.names(), [""; 0]);
    owner.client.batch_execute("BEGIN READ ONLY").unwrap();
    fails(add(&mut owner.client, "x", "pii-redact", &json!({})), "25006", "");
    owner.client.batch_execute("ROLLBACK; BEGIN READ ONLY").unwrap();
    fails(remove(&mut owner.client, "x"), "25006", "");
    owner.client.batch_execute("ROLLBACK").unwrap();
}

#[test]
fn dropping_the_extension_takes_the_filters_along() {
    let database = Cluster::shared().empty_database();
    let mut client = database.superuser();
    for _ in 0..2 {
        client.batch_execute("CREATE EXTENSION pg_llm").unwrap();
        assert!(add(&mut client, "short", "length-limit", &of_length(10)).unwrap());
        client.batch_execute("DROP EXTENSION pg_llm").unwrap();
    }
    client.batch_execute("CREATE EXTENSION pg_llm").unwrap();
    assert!(!remove(&mut client, "short").unwrap());
    database.cluster().assert_no_crash();
}
