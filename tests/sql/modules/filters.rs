//! Filters are modules too.

use serde_json::json;

use super::*;

#[test]
fn a_filters_module_has_its_switch_its_limits_and_its_owner() {
    let mut library = Library::new();
    let (role, mut owner) = library.uploader();
    let (_, mut other) = library.uploader();
    let admin = &mut library.client;
    admin.batch_execute(&format!("GRANT EXECUTE ON FUNCTION pg_llm_add_filter TO {role}")).unwrap();
    let module = with_word(built("filter-length-limit.wasm"), "house");
    let add = "SELECT pg_llm_add_filter('short', $1, '{\"prompt\": {\"max\": 10}}')";
    assert_eq!(state(&mut owner, add, &[&module]), "00000");
    let digest = sha256(admin, &module);
    let seen = row(&mut owner, &digest);
    assert_eq!(
        (&seen["kind"], &seen["used_by"], &seen["version_of"], &seen["name"]),
        (&json!("filter"), &json!(["short"]), &json!([]), &json!("length-limit"))
    );
    assert!(other.query("SELECT FROM pg_llm_modules WHERE digest = $1", &[&digest]).unwrap().is_empty());
    owner.batch_execute("SELECT pg_llm_add_model('mock', 'm', config => '{\"filters\": [\"short\"]}')").unwrap();
    assert_eq!(state(&mut owner, "SELECT pg_llm_chat('m', 'Hi')", &[]), "00000");

    assert_eq!(state(&mut owner, "SELECT pg_llm_remove_module($1)", &[&digest]), "2BP01");
    assert_eq!(state(&mut other, "SELECT pg_llm_enable_module($1, false)", &[&digest]), "42501");
    assert!(value::<bool>(&mut owner, "SELECT pg_llm_enable_module($1, false)", &[&digest]));
    let error = refused(&mut owner, "SELECT pg_llm_chat('m', 'Hi')", &[]);
    assert_eq!((error.code().code(), error.message()), ("55000", "pg_llm: the module of filter \"short\" is disabled"), "{error:?}");
    assert_eq!(state(&mut owner, add, &[&module]), "55000");
    assert_eq!(state(&mut owner, "SELECT pg_llm_add_filter('again', filter_type => 'short')", &[]), "55000");
    assert!(value::<bool>(&mut owner, "SELECT pg_llm_enable_module($1, true)", &[&digest]));
    assert_eq!(state(&mut owner, "SELECT pg_llm_chat('m', 'Hi')", &[]), "00000");

    // Another component in its place has the limits of the former, which goes.
    assert!(value::<bool>(&mut owner, "SELECT pg_llm_set_module_limits($1, '{\"cpu_ms\": 900}')", &[&digest]));
    let newer = with_word(built("filter-length-limit.wasm"), "newer");
    assert_eq!(state(&mut owner, add, &[&newer]), "00000");
    let newer = sha256(&mut owner, &newer);
    assert_eq!(row(&mut owner, &newer)["limits"], json!({"cpu_ms": 900}));
    assert!(owner.query("SELECT FROM pg_llm_modules WHERE digest = $1", &[&digest]).unwrap().is_empty());
    let builtin: String = value(&mut owner, "SELECT digest FROM pg_llm_filters WHERE name = 'pii-redact'", &[]);
    assert_eq!(state(&mut library.client, "SELECT pg_llm_enable_module($1, false)", &[&builtin]), "42501");
    assert_eq!(row(&mut library.client, &builtin)["kind"], json!("filter"));
}
