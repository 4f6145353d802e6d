//! What a provider has stood for is kept, with who and when, and can be put in force again.

use pg_llm_tests::Running;
use serde_json::json;

use super::*;

const VERSIONS: &str =
    "SELECT coalesce(jsonb_agg(to_jsonb(v) ORDER BY v.uploaded_at, v.digest), '[]') FROM pg_llm_provider_versions v WHERE model_type = $1";

#[test]
fn a_provider_goes_back_to_an_earlier_version_and_forth_again_in_warm_sessions_too() {
    let mut library = Library::new();
    let (role, mut owner) = library.uploader();
    let first = upload(&mut owner, "house", &answering("one"));
    owner.batch_execute("SELECT pg_llm_add_model('house', 'm')").unwrap();
    let mut caller = library.database.connect_as(&role);
    assert_eq!([state(&mut caller, ASK, &[]), state(&mut caller, ASK, &[])], ["00000", "00000"]);
    let second = upload(&mut owner, "house", &trapping("two"));
    assert_eq!(state(&mut caller, ASK, &[]), "38001", "the second version");
    let versions: Value = value(&mut owner, VERSIONS, &[&"house"]);
    let of = |digest: &str, key: &str| {
        let found = versions.as_array().unwrap().iter().find(|version| version["digest"] == json!(digest));
        found.unwrap_or_else(|| panic!("{digest} in {versions}"))[key].clone()
    };
    assert_eq!(versions.as_array().unwrap().len(), 2, "{versions}");
    assert_eq!([of(&first, "in_force"), of(&second, "in_force")], [json!(false), json!(true)]);
    assert_eq!([of(&first, "uploaded_by"), of(&second, "in_force_by")], [json!(role), json!(role)]);
    assert_eq!([of(&first, "adapter"), of(&second, "adapter")], [json!("mock"), json!("tiny")]);

    let set = "SELECT pg_llm_set_provider_version('house', $1)";
    assert!(value::<bool>(&mut owner, set, &[&first]));
    assert!(!value::<bool>(&mut owner, set, &[&first]), "it is in force");
    assert_eq!((in_force(&mut owner, "house"), state(&mut caller, ASK, &[])), (first.clone(), "00000".to_owned()));
    assert!(value::<bool>(&mut library.client, set, &[&format!("\\x{}", second.to_uppercase())]), "by a superuser, in another form");
    assert_eq!(state(&mut caller, ASK, &[]), "38001");
    let by: String = value(&mut owner, "SELECT in_force_by FROM pg_llm_provider_versions WHERE in_force", &[]);
    assert_eq!(by, "postgres");
    // Uploading the same bytes once more is going back to them.
    upload(&mut owner, "house", &answering("one"));
    assert_eq!((in_force(&mut owner, "house"), state(&mut caller, ASK, &[])), (first, "00000".to_owned()));
    assert_eq!(value::<Value>(&mut owner, VERSIONS, &[&"house"]).as_array().unwrap().len(), 2);
    owner.batch_execute("BEGIN").unwrap();
    assert!(value::<bool>(&mut owner, set, &[&second]));
    assert_eq!([state(&mut caller, ASK, &[]), state(&mut owner, ASK, &[])], ["00000", "38001"], "not committed");
    owner.batch_execute("ROLLBACK").unwrap();
    assert_eq!([state(&mut caller, ASK, &[]), state(&mut owner, ASK, &[])], ["00000", "00000"]);
}

#[test]
fn only_versions_of_a_provider_can_be_put_in_force_and_only_by_its_owner() {
    let mut library = Library::new();
    let (_, mut owner) = library.uploader();
    let (_, mut other) = library.uploader();
    let mine = upload(&mut owner, "mine", &trapping("mine"));
    upload(&mut owner, "mine", &trapping("newer"));
    let theirs = upload(&mut other, "theirs", &trapping("theirs"));
    let set = "SELECT pg_llm_set_provider_version($1, $2)";
    assert_eq!(state(&mut other, set, &[&"mine", &mine]), "42501");
    let zeros = "0".repeat(64);
    for (name, digest, expected) in [
        (Some("mine"), Some(theirs.as_str()), "42704"),
        (Some("mine"), Some(&zeros), "42704"),
        (Some("nobodys"), Some(&mine), "42704"),
        (Some("openai"), Some(&mine), "42501"),
        (Some("mine"), Some("12"), "22023"),
        (Some("mine"), Some(""), "22023"),
        (Some("mine"), None, "22023"),
        (None, Some(&mine), "22023"),
        (Some("mine"), Some(&mine), "00000"),
    ] {
        assert_eq!(state(&mut owner, set, &[&name, &digest]), expected, "{name:?} {digest:?}");
    }
}

#[test]
fn a_role_sees_versions_and_modules_of_its_own_providers_and_no_others() {
    let mut library = Library::new();
    let (role, mut owner) = library.uploader();
    let (_, mut other) = library.uploader();
    let member = library.database.create_role();
    let watcher = library.database.create_role();
    library.client.batch_execute(&format!("GRANT {role} TO {member}; GRANT pg_read_all_stats TO {watcher}")).unwrap();
    let mine = upload(&mut owner, "mine", &trapping("mine"));
    let theirs = upload(&mut other, "theirs", &trapping("theirs"));
    let shared = upload(&mut owner, "mine", &trapping("shared"));
    upload(&mut other, "theirs", &trapping("shared"));
    let list = |client: &mut Client, sql: &str| {
        let mut list: Vec<String> = client.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect();
        list.sort();
        list
    };
    let sorted = |digests: &[&String]| {
        let mut digests: Vec<String> = digests.iter().map(|digest| (*digest).clone()).collect();
        digests.sort();
        digests
    };
    let modules = "SELECT digest FROM pg_llm_modules WHERE NOT builtin";
    let versions = "SELECT digest FROM pg_llm_provider_versions";
    let mut member = library.database.connect_as(&member);
    for client in [&mut owner, &mut member] {
        assert_eq!(list(client, modules), sorted(&[&mine, &shared]));
        assert_eq!(list(client, versions), sorted(&[&mine, &shared]));
        assert_eq!(list(client, "SELECT digest FROM pg_llm_modules WHERE builtin"), [""; 0]);
    }
    let mut watcher = library.database.connect_as(&watcher);
    assert_eq!(list(&mut watcher, modules), sorted(&[&mine, &shared, &theirs]));
    assert_eq!(list(&mut watcher, versions), [""; 0], "statistics are what it may read");
    assert!(list(&mut library.client, "SELECT digest FROM pg_llm_modules WHERE builtin").len() > 5);
    let seen = row(&mut library.client, &shared);
    assert_eq!((&seen["used_by"], &seen["version_of"]), (&json!(["mine", "theirs"]), &json!(["mine", "theirs"])), "{seen}");
    assert_eq!(
        (&seen["kind"], &seen["uploaded_by"], &seen["enabled"], &seen["limits"]),
        (&json!("provider"), &json!(role), &json!(true), &json!({}))
    );
    let seen = row(&mut library.client, &mine);
    assert_eq!((&seen["used_by"], &seen["version_of"]), (&json!([]), &json!(["mine"])), "{seen}");
    let stranger = library.database.create_role();
    let mut stranger = library.database.connect_as(&stranger);
    assert_eq!((list(&mut stranger, modules), list(&mut stranger, versions)), (vec![], vec![]));
    for relation in ["provider_versions", "modules"] {
        assert_eq!(state(&mut stranger, &format!("SELECT FROM _pg_llm_catalog.{relation}"), &[]), "42501");
    }
}

#[test]
fn two_sessions_that_put_versions_in_force_take_turns() {
    let mut library = Library::new();
    let first = upload(&mut library.client, "house", &trapping("one"));
    let second = upload(&mut library.client, "house", &trapping("two"));
    library.client.batch_execute("BEGIN").unwrap();
    assert!(value::<bool>(&mut library.client, "SELECT pg_llm_set_provider_version('house', $1)", &[&first]));
    let waiting = Running::start(library.database.superuser(), &format!("SELECT pg_llm_set_provider_version('house', '{first}')"));
    let other = Running::start(library.database.superuser(), &format!("SELECT pg_llm_remove_module('{second}')"));
    library.client.batch_execute("COMMIT").unwrap();
    assert_eq!(waiting.finish(pg_llm_tests::DEADLINE).column(), [Some("f".to_owned())], "it was in force when its turn came");
    // The other one came before the commit or after it.
    let removed = other.finish(pg_llm_tests::DEADLINE).result;
    assert!(removed.is_ok() || db_error(removed).code().code() == "2BP01");
    assert_eq!(in_force(&mut library.client, "house"), first);
}
