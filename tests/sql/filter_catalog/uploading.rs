//! Components of one's own.

use serde_json::{Value, json};

use super::{Owner, add, fails, remove, upload};
use crate::uploads::{assembled, built};

#[test]
fn an_uploaded_filter_is_listed_with_what_it_says_of_itself() {
    let mut owner = Owner::new();
    let wasm = built("filter-pii-redact.wasm");
    assert!(upload(&mut owner.client, "house", &wasm, &json!({"kinds": ["email"]})).unwrap());
    let (row, built_in) = (owner.shown("house"), owner.shown("pii-redact"));
    for column in ["digest", "size", "sides", "config_schema", "version", "summary", "imports", "wit_version", "filter_type"] {
        assert_eq!(row[column], built_in[column], "{column}");
    }
    assert_eq!((&row["builtin"], &row["owner"], &row["config"]), (&json!(false), &json!("postgres"), &json!({"kinds": ["email"]})));
    assert!(row["uploaded_at"].is_string(), "{row}");
}

#[test]
fn what_is_no_filter_is_refused_with_the_function_that_takes_it() {
    let mut owner = Owner::new();
    let error = fails(upload(&mut owner.client, "x", &built("mock.wasm"), &json!({})), "22023", "pg_llm_add_provider()");
    assert!(error.message().ends_with("the component is a provider, not a filter"), "{error:?}");
    let filter = built("filter-json-only.wasm");
    for sql in ["SELECT pg_llm_add_provider('x', $1)", "SELECT pg_llm_add_model('x', 'x', module => $1)"] {
        let error = fails(owner.client.query_one(sql, &[&filter]), "22023", "pg_llm_add_filter()");
        assert!(error.message().ends_with("the component is a filter, not a provider"), "{error:?}");
    }
    let exports = ["describe", "chat", "describe-filter", "prompt", "response"]
        .map(|name| format!("(export \"pg-llm:guest/{name}@1.0.0\" (instance $empty))"));
    let both = assembled(&format!("(component (instance $empty) {})", exports.concat()));
    fails(upload(&mut owner.client, "x", &both, &json!({})), "22023", "a provider and a filter at once");
    fails(owner.client.query_one("SELECT pg_llm_add_provider('x', $1)", &[&both]), "22023", "a provider and a filter at once");
    for (module, words) in [
        (Vec::new(), "not a WebAssembly component"),
        (filter[..filter.len() / 2].to_vec(), "not a valid WebAssembly component"),
        (built("filter-json-only.cwasm"), "machine code"),
        (assembled("(component)"), "does not export \"pg-llm:guest/describe-filter@1.0.0\""),
        (
            assembled("(component (import \"pg-llm:guest/http@1.0.0\" (instance)))"),
            "imports \"pg-llm:guest/http@1.0.0\", which is not granted",
        ),
        (
            assembled("(component (import \"pg-llm:guest/keys@1.0.0\" (instance)))"),
            "imports \"pg-llm:guest/keys@1.0.0\", which is not granted",
        ),
    ] {
        fails(upload(&mut owner.client, "x", &module, &json!({})), "22023", words);
    }
    assert_eq!((owner.names(), owner.modules()), (vec![], 0));
}

#[test]
fn an_upload_has_the_digest_that_is_given_and_no_more_bytes_than_allowed() {
    let mut owner = Owner::new();
    let wasm = built("filter-json-only.wasm");
    let right: String = super::value(&mut owner.client, "SELECT encode(sha256($1), 'hex')", &[&wasm]);
    let sql = "SELECT pg_llm_add_filter('x', $1, sha256 => $2)";
    for wrong in ["", "00", &"0".repeat(64)] {
        fails(owner.client.query_one(sql, &[&wasm, &wrong]), "22023", &right);
    }
    owner.client.batch_execute("SET pg_llm.max_module_bytes = '1kB'").unwrap();
    fails(owner.client.query_one(sql, &[&wasm, &right]), "54000", "1024");
    owner.client.batch_execute("RESET pg_llm.max_module_bytes").unwrap();
    assert!(owner.client.query_one(sql, &[&wasm, &right.to_uppercase()]).unwrap().get::<_, bool>(0));
    assert_eq!(owner.shown("x")["digest"], right);
}

/// A component is stored once, for as long as something refers to it.
#[test]
fn filters_share_a_component_that_leaves_with_the_last_of_them() {
    let mut owner = Owner::new();
    let (one, other) = (built("filter-json-only.wasm"), built("filter-length-limit.wasm"));
    assert!(upload(&mut owner.client, "a", &one, &json!({})).unwrap());
    assert!(upload(&mut owner.client, "b", &one, &json!({"type": "object"})).unwrap());
    assert!(add(&mut owner.client, "c", "a", &json!({"type": "array"})).unwrap(), "and without its bytes");
    assert_eq!(owner.modules(), 1);
    let of = |owner: &mut Owner, name| owner.shown(name)["digest"].clone();
    let digest = of(&mut owner, "a");
    assert!(upload(&mut owner.client, "a", &other, &json!({})).unwrap());
    assert_eq!((owner.modules(), of(&mut owner, "b"), of(&mut owner, "c")), (2, digest.clone(), digest), "others keep what they have");
    assert_eq!((&owner.shown("a")["filter_type"], &owner.shown("c")["filter_type"]), (&json!("length-limit"), &json!("json-only")));
    assert!(add(&mut owner.client, "a", "length-limit", &json!({})).unwrap());
    assert_eq!((owner.modules(), &owner.shown("a")["uploaded_at"]), (1, &Value::Null), "its own is gone, for the built-in one");
    for (name, left) in [("b", 1), ("c", 0), ("a", 0)] {
        assert!(remove(&mut owner.client, name).unwrap());
        assert_eq!(owner.modules(), left, "{name}");
    }
}

#[test]
fn providers_and_filters_leave_each_others_components_alone() {
    let mut owner = Owner::new();
    let (filter, provider) = (built("filter-json-only.wasm"), built("mock.wasm"));
    assert!(upload(&mut owner.client, "x", &filter, &json!({})).unwrap());
    owner.client.execute("SELECT pg_llm_add_provider('x', $1)", &[&provider]).unwrap();
    assert_eq!(owner.modules(), 2);
    assert!(owner.value::<bool>("SELECT pg_llm_remove_provider('x')"));
    assert_eq!((owner.modules(), owner.names()), (1, vec!["x".to_owned()]));
    assert!(remove(&mut owner.client, "x").unwrap());
    assert_eq!(owner.modules(), 0);
}
