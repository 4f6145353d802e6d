//! Forks, states, ends; dumps.

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Asked, Cluster};
use pg_llm_upstream::Upstream;
use serde_json::{Value, json};

use super::{ask, code, said, say, sent, session, value};
use crate::recovery::{dump_and_restore, settings};

fn fork(client: &mut Client, session: &str, message: Option<i64>) -> String {
    value(client, "SELECT pg_llm_fork_session($1, $2)", &[&session, &message])
}

#[test]
fn a_fork_begins_as_its_session_and_goes_its_own_way() {
    let mut asked = Asked::echo();
    let id = session(&mut asked.client, 10);
    say(&mut asked.client, &id, "one");
    say(&mut asked.client, &id, "two");
    asked.client.execute("SELECT pg_llm_update_session_state($1, '{\"a\": 1}')", &[&id]).unwrap();
    let whole = fork(&mut asked.client, &id, None);
    let early = fork(&mut asked.client, &id, Some(2));
    let empty = fork(&mut asked.client, &id, Some(0));
    assert_eq!(said(&mut asked.client, &whole), said(&mut asked.client, &id));
    assert_eq!(said(&mut asked.client, &early), ["user: one", "assistant: You said: one"]);
    assert_eq!(said(&mut asked.client, &empty), [""; 0]);
    let shown: Value = value(&mut asked.client, "SELECT pg_llm_get_session($1)", &[&early]);
    assert_eq!((&shown["state"], &shown["message_count"], &shown["max_messages"]), (&json!({"a": 1}), &json!(2), &json!(10)));
    say(&mut asked.client, &early, "other");
    assert_eq!(sent(&asked), ["one", "You said: one", "other"]);
    assert_eq!(said(&mut asked.client, &id).len(), 4);
    for bad in [-1_i64, 5, i64::MAX] {
        assert_eq!(code(&mut asked.client, "SELECT pg_llm_fork_session($1, $2)", &[&id, &bad]), "22023", "{bad}");
    }
    assert!(value::<bool>(&mut asked.client, "SELECT pg_llm_delete_session($1)", &[&id]));
    assert_eq!(said(&mut asked.client, &whole).len(), 4, "a fork is a session of its own");
}

#[test]
fn a_state_is_any_json_and_no_model_sees_it() {
    let mut asked = Asked::echo();
    let id = session(&mut asked.client, 10);
    for state in [json!({"cart": ["shoes"]}), json!([1, 2]), json!(null), json!("text"), json!(1.25)] {
        asked.client.execute("SELECT pg_llm_update_session_state($1, $2)", &[&id, &state]).unwrap();
        assert_eq!(value::<Value>(&mut asked.client, "SELECT pg_llm_get_session($1) -> 'state'", &[&id]), state);
    }
    asked.client.execute("SELECT pg_llm_update_session_state($1, '{\"cart\": [\"shoes\"]}')", &[&id]).unwrap();
    say(&mut asked.client, &id, "x");
    assert!(!asked.sent().to_string().contains("shoes"));
    assert_eq!(value::<Value>(&mut asked.client, "SELECT pg_llm_get_session($1) -> 'state'", &[&id]), json!({"cart": ["shoes"]}));
}

#[test]
fn sessions_that_were_idle_for_so_long_are_deleted_with_what_was_said() {
    let mut asked = Asked::echo();
    let (old, young) = (session(&mut asked.client, 10), session(&mut asked.client, 10));
    say(&mut asked.client, &old, "x");
    say(&mut asked.client, &young, "x");
    asked
        .client
        .execute("UPDATE _pg_llm_catalog.sessions SET last_active_at = last_active_at - interval '1 h' WHERE session_id = $1", &[&old])
        .unwrap();
    asked.client.batch_execute("SELECT pg_llm_cleanup_sessions(3600)").unwrap();
    assert_eq!(code(&mut asked.client, "SELECT pg_llm_get_session($1)", &[&old]), "42704");
    assert_eq!(said(&mut asked.client, &young).len(), 2);
    // Without triggers, the foreign key does nothing.
    asked.client.batch_execute("SET session_replication_role = replica; SELECT pg_llm_cleanup_sessions(0)").unwrap();
    assert_eq!(value::<i64>(&mut asked.client, "SELECT count(*) FROM _pg_llm_catalog.session_messages", &[]), 0);
}

#[test]
fn void_is_void_and_not_null() {
    let mut asked = Asked::echo();
    let id = session(&mut asked.client, 10);
    for call in ["pg_llm_set_max_messages($1, 5)", "pg_llm_update_session_state($1, '{}')", "pg_llm_cleanup_sessions(length($1) * 1000)"] {
        assert_eq!(value::<String>(&mut asked.client, &format!("SELECT {call}::text"), &[&id]), "", "{call}");
    }
}

fn content(client: &mut Client) -> String {
    ["sessions", "session_messages"]
        .map(|table| {
            let sql = format!("SELECT string_agg(t::text, E'\\n' ORDER BY t::text) FROM _pg_llm_catalog.{table} t");
            value::<Option<String>>(client, &sql, &[]).unwrap_or_default()
        })
        .join("\n--\n")
}

#[test]
fn a_dump_restores_sessions_with_their_owners() {
    let cluster = Cluster::start(&settings());
    let database = cluster.database();
    let upstream = Upstream::start_echo();
    let (owner, gone) = (database.create_role(), database.create_role());
    let mut client = database.superuser();
    let config = json!({ "api_endpoint": format!("{}/v1", upstream.url()) });
    client.execute("SELECT pg_llm_add_model('openai-compatible', 'm', 'sk-12345678', $1)", &[&config]).unwrap();
    client.batch_execute("SELECT pg_llm_grant_model('m', 'public')").unwrap();
    let mut of_owner = database.connect_as(&owner);
    let id = session(&mut of_owner, 10);
    say(&mut of_owner, &id, "one 🦀 \\ \t\n'");
    ask(&mut of_owner, &id, "two", &json!({"images": "iVBORw0KGgo="}));
    let before = content(&mut client);
    let mut of_gone = database.connect_as(&gone);
    let lost = session(&mut of_gone, 10);
    say(&mut of_gone, &lost, "x");
    drop(of_gone);
    client.batch_execute(&format!("DROP ROLE {gone}")).unwrap();
    for format in ["plain", "custom"] {
        let restored = cluster.empty_database();
        dump_and_restore(&database, &restored, format);
        assert_eq!(content(&mut restored.superuser()), before, "{format}: all but those of the role that is no more");
        let mut owner = restored.connect_as(&owner);
        assert_eq!(say(&mut owner, &id, "three"), "You said: three");
        assert_eq!(said(&mut owner, &id).len(), 6);
        assert_eq!(value::<i64>(&mut owner, "SELECT count(*) FROM pg_llm_get_sessions()", &[]), 1);
        let stranger = restored.create_role();
        assert_eq!(code(&mut restored.connect_as(&stranger), "SELECT pg_llm_get_session($1)", &[&id]), "42704");
    }
    cluster.assert_no_crash();
}

#[test]
fn a_standby_shows_sessions_and_makes_no_turn() {
    let cluster = Cluster::start(&settings());
    let database = cluster.database();
    let upstream = Upstream::start_echo();
    let mut client = database.superuser();
    let config = json!({ "api_endpoint": format!("{}/v1", upstream.url()) });
    client.execute("SELECT pg_llm_add_model('openai-compatible', 'm', 'sk-12345678', $1)", &[&config]).unwrap();
    let id = session(&mut client, 10);
    say(&mut client, &id, "one");
    let standby = cluster.standby();
    let mut there = database.on(&standby).superuser();
    assert_eq!(said(&mut there, &id).len(), 2);
    assert_eq!(value::<Value>(&mut there, "SELECT pg_llm_get_session($1)", &[&id])["message_count"], json!(2));
    assert_eq!(code(&mut there, "SELECT pg_llm_multi_turn_chat('m', $1, 'two')", &[&id]), "25006");
    assert_eq!(upstream.requests().len(), 1);
    standby.assert_no_crash();
}
