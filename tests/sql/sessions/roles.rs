//! A session is its owner's: to others there is none.

use pg_llm_tests::Asked;

use super::{code, requests, said, say, session, value};

#[test]
fn to_another_role_there_is_no_such_session() {
    let mut asked = Asked::echo();
    asked.client.batch_execute("SELECT pg_llm_grant_model('m', 'public')").unwrap();
    let (owner, stranger) = (asked.database.create_role(), asked.database.create_role());
    let (mut owner, mut stranger) = (asked.database.connect_as(&owner), asked.database.connect_as(&stranger));
    let id = session(&mut owner, 10);
    say(&mut owner, &id, "a secret");
    let before = requests(&asked);
    for sql in [
        "SELECT pg_llm_multi_turn_chat('m', $1, 'x')",
        "SELECT pg_llm_multi_turn_chat_json('m', $1, 'x')",
        "SELECT * FROM pg_llm_multi_turn_chat_stream('m', $1, 'x')",
        "SELECT * FROM pg_llm_multi_turn_chat_stream_json('m', $1, 'x')",
        "SELECT pg_llm_get_session($1)",
        "SELECT * FROM pg_llm_get_session_messages($1)",
        "SELECT pg_llm_set_max_messages($1, 1)",
        "SELECT pg_llm_update_session_state($1, '{}')",
        "SELECT pg_llm_fork_session($1)",
    ] {
        assert_eq!(code(&mut stranger, sql, &[&id]), "42704", "{sql}");
    }
    assert!(!value::<bool>(&mut stranger, "SELECT pg_llm_delete_session($1)", &[&id]));
    stranger.batch_execute("SELECT pg_llm_cleanup_sessions(0)").unwrap();
    assert_eq!(value::<i64>(&mut stranger, "SELECT count(*) FROM pg_llm_get_sessions()", &[]), 0);
    for sql in ["SELECT * FROM _pg_llm_catalog.sessions", "SELECT * FROM _pg_llm_catalog.session_messages"] {
        assert_eq!(code(&mut stranger, sql, &[]), "42501", "{sql}");
    }
    assert_eq!(requests(&asked), before);
    assert_eq!(said(&mut owner, &id).len(), 2);
}

#[test]
fn a_stranger_cannot_hold_up_a_session() {
    let mut asked = Asked::echo();
    asked.client.batch_execute("SELECT pg_llm_grant_model('m', 'public')").unwrap();
    let (owner, stranger) = (asked.database.create_role(), asked.database.create_role());
    let (mut owner, mut stranger) = (asked.database.connect_as(&owner), asked.database.connect_as(&stranger));
    let id = session(&mut owner, 10);
    stranger.batch_execute("BEGIN; SELECT pg_llm_cleanup_sessions(0)").unwrap();
    value::<bool>(&mut stranger, "SELECT pg_llm_delete_session($1)", &[&id]);
    owner.batch_execute("SET lock_timeout = '1s'").unwrap();
    assert_eq!(say(&mut owner, &id, "x"), "You said: x");
}

#[test]
fn who_has_the_owners_rights_has_the_session_and_a_superuser_has_all() {
    let mut asked = Asked::echo();
    asked.client.batch_execute("SELECT pg_llm_grant_model('m', 'public')").unwrap();
    let (group, member) = (asked.database.create_role(), asked.database.create_role());
    asked.client.batch_execute(&format!("GRANT {group} TO {member}")).unwrap();
    let (mut of_group, mut of_member) = (asked.database.connect_as(&group), asked.database.connect_as(&member));
    let shared = session(&mut of_group, 10);
    let own = session(&mut of_member, 10);
    say(&mut of_member, &shared, "x");
    assert_eq!(said(&mut of_group, &shared).len(), 2);
    assert_eq!(code(&mut of_group, "SELECT pg_llm_get_session($1)", &[&own]), "42704");
    let count = "SELECT count(*) FROM pg_llm_get_sessions()";
    assert_eq!((value::<i64>(&mut of_group, count, &[]), value::<i64>(&mut of_member, count, &[])), (1, 2));
    assert_eq!(value::<i64>(&mut asked.client, count, &[]), 2);
    assert_eq!(said(&mut asked.client, &own).len(), 0);
    // A fork is its maker's.
    let fork: String = value(&mut of_member, "SELECT pg_llm_fork_session($1)", &[&shared]);
    assert_eq!(code(&mut of_group, "SELECT pg_llm_get_session($1)", &[&fork]), "42704");
}

#[test]
fn the_session_is_no_right_to_the_model() {
    let mut asked = Asked::echo();
    let role = asked.database.create_role();
    let mut client = asked.database.connect_as(&role);
    let id = session(&mut client, 10);
    assert_eq!(code(&mut client, "SELECT pg_llm_multi_turn_chat('m', $1, 'x')", &[&id]), "42501");
    asked.client.execute("SELECT pg_llm_grant_model('m', $1)", &[&role]).unwrap();
    assert_eq!(say(&mut client, &id, "x"), "You said: x");
}

#[test]
fn a_dropped_roles_sessions_are_the_superusers() {
    let mut asked = Asked::echo();
    asked.client.batch_execute("SELECT pg_llm_grant_model('m', 'public')").unwrap();
    let role = asked.database.create_role();
    let id = session(&mut asked.database.connect_as(&role), 10);
    asked.client.batch_execute(&format!("DROP ROLE {role}")).unwrap();
    assert_eq!(value::<i64>(&mut asked.client, "SELECT count(*) FROM pg_llm_get_sessions()", &[]), 1);
    let again = asked.database.create_role();
    assert_eq!(code(&mut asked.database.connect_as(&again), "SELECT pg_llm_get_session($1)", &[&id]), "42704");
    asked.client.batch_execute("SELECT pg_llm_cleanup_sessions(0)").unwrap();
    assert_eq!(value::<i64>(&mut asked.client, "SELECT count(*) FROM pg_llm_get_sessions()", &[]), 0);
}
