//! Who may do what.

use pg_llm_tests::db_error;
use serde_json::{Value, json};

use super::{ADD, Owner, UPLOAD, add, fails, of_length, remove, upload, value};
use crate::uploads::built;

const CONFIG: &str = "SELECT config FROM pg_llm_filters WHERE name = 'theirs'";

#[test]
fn making_a_filter_and_uploading_one_are_rights_of_their_own() {
    let mut owner = Owner::new();
    let role = owner.database.create_role();
    let mut client = owner.database.connect_as(&role);
    fails(add(&mut client, "x", "pii-redact", &json!({})), "42501", "pg_llm_add_filter");
    owner.client.batch_execute(&format!("GRANT EXECUTE ON FUNCTION {ADD} TO {role}")).unwrap();
    assert!(add(&mut client, "x", "pii-redact", &json!({})).unwrap());
    let wasm = built("filter-json-only.wasm");
    fails(upload(&mut client, "y", &wasm, &json!({})), "42501", "GRANT EXECUTE ON FUNCTION pg_llm_add_provider");
    owner
        .client
        .batch_execute(&format!("GRANT EXECUTE ON FUNCTION {UPLOAD} TO {role}; REVOKE EXECUTE ON FUNCTION {ADD} FROM {role}"))
        .unwrap();
    fails(upload(&mut client, "y", &wasm, &json!({})), "42501", "pg_llm_add_filter");
    owner.client.batch_execute(&format!("GRANT EXECUTE ON FUNCTION {ADD} TO {role}")).unwrap();
    assert!(upload(&mut client, "y", &wasm, &json!({})).unwrap());
    assert_eq!((&owner.shown("x")["owner"], &owner.shown("y")["owner"]), (&json!(role), &json!(role)));
    // What is its own it may remove without the right to make one.
    owner.client.batch_execute(&format!("REVOKE EXECUTE ON FUNCTION {ADD} FROM {role}")).unwrap();
    assert!(remove(&mut client, "x").unwrap() && remove(&mut client, "y").unwrap());
}

#[test]
fn a_filter_is_changed_and_removed_by_its_owner_and_by_a_superuser() {
    let mut owner = Owner::new();
    let [role, member, stranger] = [(); 3].map(|()| owner.database.create_role());
    owner.client.batch_execute(&format!("GRANT EXECUTE ON FUNCTION {ADD} TO PUBLIC; GRANT {role} TO {member}")).unwrap();
    assert!(add(&mut owner.database.connect_as(&role), "theirs", "length-limit", &of_length(1)).unwrap());
    assert!(add(&mut owner.client, "mine", "pii-redact", &json!({})).unwrap());
    let mut other = owner.database.connect_as(&stranger);
    for name in ["theirs", "mine"] {
        fails(add(&mut other, name, "length-limit", &of_length(2)), "42501", &format!("must be owner of filter \"{name}\""));
        fails(add(&mut other, name, name, &json!({})), "42501", "must be owner");
        fails(remove(&mut other, name), "42501", "must be owner");
    }
    assert_eq!(owner.shown("theirs")["config"], of_length(1));
    // Its component is for all to use, under another name.
    assert!(add(&mut other, "copy", "theirs", &of_length(3)).unwrap());
    assert!(add(&mut owner.database.connect_as(&member), "theirs", "length-limit", &of_length(4)).unwrap());
    assert!(add(&mut owner.client, "theirs", "length-limit", &of_length(5)).unwrap());
    assert_eq!((&owner.shown("theirs")["owner"], &owner.shown("theirs")["config"]), (&json!(role), &of_length(5)), "it stays theirs");
    // SET ROLE counts, for a superuser too.
    owner.client.batch_execute(&format!("SET ROLE {stranger}")).unwrap();
    fails(remove(&mut owner.client, "theirs"), "42501", "must be owner");
    owner.client.batch_execute(&format!("RESET ROLE; SET ROLE {role}")).unwrap();
    assert!(remove(&mut owner.client, "theirs").unwrap());
    owner.client.batch_execute("RESET ROLE").unwrap();
    assert!(remove(&mut owner.client, "copy").unwrap(), "a superuser removes anybody's");
}

#[test]
fn a_configuration_shows_to_its_owner_and_to_superusers() {
    let mut owner = Owner::new();
    let [role, member, stranger] = [(); 3].map(|()| owner.database.create_role());
    owner.client.batch_execute(&format!("GRANT EXECUTE ON FUNCTION {ADD} TO {role}; GRANT {role} TO {member}")).unwrap();
    let secret = json!({"rules": [{"pattern": "Project Zebra", "replacement": "[PROJECT]"}]});
    assert!(add(&mut owner.database.connect_as(&role), "theirs", "regex-replace", &secret).unwrap());
    assert_eq!(owner.value::<Value>(CONFIG), secret);
    for role in [&role, &member] {
        assert_eq!(value::<Value>(&mut owner.database.connect_as(role), CONFIG, &[]), secret, "{role}");
    }
    let mut other = owner.database.connect_as(&stranger);
    assert_eq!(value::<Option<Value>>(&mut other, CONFIG, &[]), None);
    let all: String = value(&mut other, "SELECT string_agg(to_jsonb(f)::text, '') FROM pg_llm_filters f", &[]);
    assert!(all.contains("theirs") && !all.contains("Zebra"), "{all}");
    let leaky = "CREATE FUNCTION pg_temp.leak(v jsonb) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
                 $$ BEGIN IF v::text LIKE '%Zebra%' THEN RAISE EXCEPTION 'heard'; END IF; RETURN true; END $$";
    other.batch_execute(leaky).unwrap();
    other.simple_query("SELECT 1 FROM pg_llm_filters WHERE pg_temp.leak(config)").unwrap();
    // A superuser in another's clothes is that other.
    owner.client.batch_execute(&format!("SET ROLE {stranger}")).unwrap();
    assert_eq!(owner.value::<Option<Value>>(CONFIG), None);
    owner.client.batch_execute("RESET ROLE").unwrap();
    for relation in ["filters", "filter_owners"] {
        let error = db_error(other.query(&format!("SELECT * FROM _pg_llm_catalog.{relation}"), &[]));
        assert_eq!(error.code().code(), "42501", "{relation}: {error:?}");
    }
}

#[test]
fn a_dropped_roles_name_inherits_none_of_its_filters() {
    let mut owner = Owner::new();
    let role = owner.database.create_role();
    owner.client.batch_execute(&format!("GRANT EXECUTE ON FUNCTION {ADD} TO {role}")).unwrap();
    assert!(add(&mut owner.database.connect_as(&role), "theirs", "length-limit", &of_length(1)).unwrap());
    owner.client.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}; CREATE ROLE {role} LOGIN")).unwrap();
    let mut impostor = owner.database.connect_as(&role);
    fails(remove(&mut impostor, "theirs"), "42501", "must be owner");
    assert_eq!(value::<Option<Value>>(&mut impostor, CONFIG, &[]), None);
    assert!(remove(&mut owner.client, "theirs").unwrap());
}
