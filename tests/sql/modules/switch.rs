//! A module that is switched off is called by nobody.

use pg_llm_tests::{DEADLINE, Running};
use pg_llm_upstream::{Gate, Upstream, openai};
use serde_json::json;

use super::*;

const SWITCH: &str = "SELECT pg_llm_enable_module($1, $2)";

#[test]
fn a_disabled_module_fails_at_once_in_warm_sessions_until_it_is_enabled() {
    let mut library = Library::new();
    let (role, mut owner) = library.uploader();
    let digest = upload(&mut owner, "house", &answering("on"));
    owner.batch_execute("SELECT pg_llm_add_model('house', 'm')").unwrap();
    let mut caller = library.database.connect_as(&role);
    assert_eq!([state(&mut caller, ASK, &[]), state(&mut caller, ASK, &[])], ["00000", "00000"]);
    assert!(value::<bool>(&mut owner, SWITCH, &[&digest, &false]));
    assert!(!value::<bool>(&mut owner, SWITCH, &[&digest, &false]), "it is so already");
    let error = refused(&mut caller, ASK, &[]);
    assert_eq!((error.code().code(), error.message()), ("55000", "pg_llm: the module of provider \"house\" is disabled"));
    assert!(error.detail().unwrap().contains(&digest) && error.hint().unwrap().contains("pg_llm_enable_module"), "{error:?}");
    for sql in
        ["SELECT pg_llm_chat_json('m', 'Hello', '{\"on_error\": \"object\"}')", "SELECT count(*) FROM pg_llm_chat_stream('m', 'Hello')"]
    {
        assert_eq!(state(&mut caller, sql, &[]), "55000", "{sql}");
    }
    let ill: String = value(&mut caller, "SELECT detail FROM pg_llm_doctor() WHERE status = 'error' AND detail LIKE '%\"m\"%'", &[]);
    assert!(ill.contains("disabled"), "{ill}");
    assert!(value::<bool>(&mut owner, SWITCH, &[&digest, &true]));
    assert_eq!(state(&mut caller, ASK, &[]), "00000");
}

#[test]
fn what_is_disabled_in_a_transaction_is_so_for_its_own_next_call_and_for_others_when_it_commits() {
    let mut library = Library::new();
    let digest = upload(&mut library.client, "house", &answering("on"));
    library.client.batch_execute("SELECT pg_llm_add_model('house', 'm')").unwrap();
    let mut caller = library.database.superuser();
    assert_eq!(state(&mut caller, ASK, &[]), "00000");
    library.client.batch_execute("BEGIN").unwrap();
    assert!(value::<bool>(&mut library.client, SWITCH, &[&digest, &false]));
    assert_eq!(state(&mut caller, ASK, &[]), "00000");
    library.client.batch_execute("SAVEPOINT s").unwrap();
    assert_eq!(state(&mut library.client, ASK, &[]), "55000");
    library.client.batch_execute("ROLLBACK TO s; COMMIT").unwrap();
    assert_eq!(state(&mut caller, ASK, &[]), "55000");
    // By hand, without any trigger that could be turned off.
    library
        .client
        .batch_execute("SET session_replication_role = replica; UPDATE _pg_llm_catalog.modules SET enabled = true; RESET ALL")
        .unwrap();
    assert_eq!([state(&mut caller, ASK, &[]), state(&mut caller, ASK, &[])], ["00000", "00000"]);
}

#[test]
fn a_call_in_flight_ends_as_it_would_have() {
    let mut library = Library::new();
    let upstream = Upstream::start();
    let gate = Gate::new();
    upstream.on("/chat/completions").reply(openai::completion("well").gated(&gate));
    let digest = upload(&mut library.client, "house", &with_word(built("openai.wasm"), "flight"));
    let config = json!({"api_endpoint": upstream.url(), "model_name": "x"});
    library.client.execute("SELECT pg_llm_add_model('house', 'm', 'sk-123456789', $1)", &[&config]).unwrap();
    let call = Running::start(library.database.superuser(), ASK);
    assert!(upstream.wait_for_requests(1, DEADLINE));
    assert!(value::<bool>(&mut library.client, SWITCH, &[&digest, &false]));
    gate.open();
    let mut outcome = call.finish(DEADLINE);
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    assert_eq!(state(&mut outcome.client, ASK, &[]), "55000");
}

#[test]
fn a_disabled_module_can_neither_be_uploaded_again_nor_put_in_force() {
    let mut library = Library::new();
    let (_, mut owner) = library.uploader();
    let module = trapping("bad");
    let bad = upload(&mut owner, "house", &module);
    upload(&mut owner, "house", &trapping("good"));
    assert!(value::<bool>(&mut owner, SWITCH, &[&bad, &false]));
    assert_eq!(state(&mut owner, "SELECT pg_llm_add_provider('house', $1)", &[&module]), "55000");
    assert_eq!(state(&mut owner, "SELECT pg_llm_add_provider('elsewhere', $1)", &[&module]), "55000");
    assert_eq!(state(&mut owner, "SELECT pg_llm_add_model('other', 'n', module => $1)", &[&module]), "55000");
    assert_eq!(state(&mut owner, "SELECT pg_llm_set_provider_version('house', $1)", &[&bad]), "55000");
    assert!(value::<bool>(&mut owner, SWITCH, &[&bad, &true]));
    assert_eq!(state(&mut owner, "SELECT pg_llm_set_provider_version('house', $1)", &[&bad]), "00000");
}

#[test]
fn who_owns_every_provider_of_a_module_switches_it_and_nobody_overrules_a_superuser() {
    let mut library = Library::new();
    let (role, mut owner) = library.uploader();
    let (_, mut other) = library.uploader();
    let module = trapping("shared");
    let digest = upload(&mut owner, "mine", &module);
    assert_eq!(state(&mut other, SWITCH, &[&digest, &false]), "42501");
    upload(&mut other, "theirs", &module);
    for client in [&mut owner, &mut other] {
        assert_eq!(state(client, SWITCH, &[&digest, &false]), "42501", "it would hurt somebody else");
        assert_eq!(state(client, "SELECT pg_llm_set_module_limits($1, '{\"cpu_ms\": 1}')", &[&digest]), "42501");
    }
    other.batch_execute("SELECT pg_llm_remove_provider('theirs')").unwrap();
    assert!(value::<bool>(&mut owner, SWITCH, &[&digest, &false]), "it is its own again");
    assert!(value::<bool>(&mut owner, SWITCH, &[&digest, &true]));

    let admin = &mut library.client;
    assert!(value::<bool>(admin, SWITCH, &[&digest, &false]));
    let error = refused(&mut owner, SWITCH, &[&digest, &true]);
    assert!(error.code().code() == "42501" && error.message().contains("a superuser has disabled"), "{error:?}");
    assert_eq!(state(&mut owner, "SELECT pg_llm_remove_module($1)", &[&digest]), "42501");
    // Nor by removing it and coming again.
    assert!(value::<bool>(&mut owner, "SELECT pg_llm_remove_provider('mine')", &[]));
    assert_eq!(state(&mut owner, "SELECT pg_llm_add_provider('mine', $1)", &[&module]), "55000");
    assert_eq!(row(admin, &digest)["version_of"], json!([]));
    assert!(value::<bool>(admin, SWITCH, &[&digest, &true]));
    upload(&mut owner, "mine", &module);
    assert!(value::<bool>(&mut owner, SWITCH, &[&digest, &false]), "the superuser's word is taken back");
    // A provider whose owner is no more is nobody's but the superusers'.
    admin.batch_execute(&format!("DELETE FROM _pg_llm_catalog.provider_owners WHERE role = '{role}'::regrole")).unwrap();
    assert_eq!(state(&mut owner, SWITCH, &[&digest, &true]), "42501");
}

#[test]
fn what_is_no_uploaded_module_cannot_be_switched() {
    let mut library = Library::new();
    let mock: String = value(&mut library.client, "SELECT digest FROM pg_llm_providers WHERE model_type = 'mock'", &[]);
    let zeros = "0".repeat(64);
    let no: Option<bool> = None;
    for (digest, enabled, expected) in [
        (Some(mock.as_str()), Some(false), "42501"),
        (Some(zeros.as_str()), Some(false), "42704"),
        (Some("mock"), Some(false), "22023"),
        (None, Some(false), "22023"),
        (Some(zeros.as_str()), no, "22023"),
    ] {
        assert_eq!(state(&mut library.client, SWITCH, &[&digest, &enabled]), expected, "{digest:?} {enabled:?}");
    }
}
