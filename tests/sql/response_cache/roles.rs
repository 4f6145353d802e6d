//! Whose answers are whose.

use pg_llm_tests::{Asked, db_error};
use serde_json::json;

use super::{ask, asked_for, entries, value};

/// Two roles that may use the model, and one that may not.
fn roles(asked: &mut Asked) -> [String; 3] {
    let roles = [(); 3].map(|()| asked.database.create_role());
    for role in &roles[..2] {
        asked.client.execute("SELECT pg_llm_grant_model('m', $1)", &[role]).unwrap();
    }
    roles
}

#[test]
fn a_role_never_sees_another_roles_answers() {
    let mut asked = Asked::echo();
    let [one, other, stranger] = roles(&mut asked);
    let (options, mut first, mut second) = (json!({"cache": true}), asked.database.connect_as(&one), asked.database.connect_as(&other));
    assert_eq!(ask(&mut asked.client, "Hello", &options)["cached"], json!(false));
    assert_eq!(ask(&mut first, "Hello", &options)["cached"], json!(false), "not even the owner's");
    assert_eq!(ask(&mut second, "Hello", &options)["cached"], json!(false));
    for client in [&mut asked.client, &mut first, &mut second] {
        assert_eq!(ask(client, "Hello", &options)["cached"], json!(true));
    }
    assert_eq!(asked_for(&asked), 3);
    let mut stranger = asked.database.connect_as(&stranger);
    for options in [json!({"cache": true}), json!({"cache": {"shared": true}})] {
        let error = db_error(stranger.query_one("SELECT pg_llm_chat_json('m', 'Hello', $1)", &[&options]));
        assert_eq!(error.code().code(), "42501", "the right to the model comes first");
    }
    for sql in ["TABLE _pg_llm_catalog.response_cache", "DELETE FROM _pg_llm_catalog.response_cache"] {
        assert_eq!(db_error(first.simple_query(sql)).code().code(), "42501");
    }
}

#[test]
fn the_role_is_the_one_whose_rights_count() {
    let mut asked = Asked::echo();
    let [one, other, _] = roles(&mut asked);
    let options = json!({"cache": true});
    asked.client.batch_execute(&format!("SET ROLE {one}")).unwrap();
    ask(&mut asked.client, "Hello", &options);
    asked.client.batch_execute(&format!("SET ROLE {other}")).unwrap();
    assert_eq!(ask(&mut asked.client, "Hello", &options)["cached"], json!(false));
    asked.client.batch_execute("RESET ROLE").unwrap();
    assert_eq!(ask(&mut asked.client, "Hello", &options)["cached"], json!(false));
    asked
        .client
        .batch_execute(&format!(
            "CREATE FUNCTION as_one(prompt text) RETURNS jsonb LANGUAGE sql SECURITY DEFINER
             RETURN pg_llm_chat_json('m', prompt, '{{\"cache\": true}}');
             ALTER FUNCTION as_one(text) OWNER TO {one}; GRANT EXECUTE ON FUNCTION as_one(text) TO PUBLIC"
        ))
        .unwrap();
    let mut second = asked.database.connect_as(&other);
    let through: bool = value(&mut second, "SELECT (as_one('Hello') -> 'cached')::bool", &[]);
    assert!(through, "inside a SECURITY DEFINER function, its owner");
    let through: bool = value(&mut second, "SELECT (as_one('secret') -> 'cached')::bool", &[]);
    assert!(!through);
    assert_eq!(ask(&mut second, "secret", &options)["cached"], json!(false), "what it kept is its owner's");
    let whose: Vec<String> = second.query("SELECT role::text FROM pg_llm_cache", &[]).unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(whose, [other]);
}

#[test]
fn shared_answers_are_for_all_who_may_use_the_model_and_share_too() {
    let mut asked = Asked::echo();
    let [one, other, _] = roles(&mut asked);
    let (mut first, mut second) = (asked.database.connect_as(&one), asked.database.connect_as(&other));
    let (own, shared) = (json!({"cache": true}), json!({"cache": {"shared": true}}));
    assert_eq!(ask(&mut first, "Hello", &shared)["cached"], json!(false));
    assert_eq!(ask(&mut second, "Hello", &shared)["cached"], json!(true));
    assert_eq!(ask(&mut second, "Hello", &own)["cached"], json!(false), "who does not share is given none");
    assert_eq!(ask(&mut first, "mine", &own)["cached"], json!(false));
    assert_eq!(ask(&mut second, "mine", &shared)["cached"], json!(false), "what was not shared is not");
    assert_eq!(asked_for(&asked), 4);
    asked.client.execute("SELECT pg_llm_revoke_model('m', $1)", &[&other]).unwrap();
    let error = db_error(second.query_one("SELECT pg_llm_chat_json('m', 'Hello', $1)", &[&shared]));
    assert_eq!(error.code().code(), "42501");
}

#[test]
fn each_clears_what_is_theirs_an_owner_their_models_and_a_superuser_all() {
    let mut asked = Asked::echo();
    let [one, other, _] = roles(&mut asked);
    let (mut first, mut second) = (asked.database.connect_as(&one), asked.database.connect_as(&other));
    asked
        .client
        .batch_execute(&format!(
            "GRANT EXECUTE ON FUNCTION pg_llm_add_model(text, text, text, jsonb, bytea, text) TO {one}; SET ROLE {one};
             SELECT pg_llm_add_model('mock', 'ones', config => '{{\"mock_response\": \"x\"}}'), pg_llm_grant_model('ones', 'public'); RESET ROLE"
        ))
        .unwrap();
    let fill = |clients: &mut [&mut pg_llm_tests::postgres::Client]| {
        for client in clients {
            for model in ["m", "ones"] {
                for options in [json!({"cache": true}), json!({"cache": {"shared": true}})] {
                    client.execute("SELECT pg_llm_chat($1, 'Hello', $2)", &[&model, &options]).unwrap();
                }
            }
        }
    };
    let clear = |client: &mut pg_llm_tests::postgres::Client, model: Option<&str>| -> i64 {
        value(client, "SELECT pg_llm_cache_clear($1)", &[&model])
    };
    fill(&mut [&mut asked.client, &mut first, &mut second]);
    assert_eq!(entries(&mut asked.client), 8, "two models, three roles and what is shared");
    let seen = |client: &mut pg_llm_tests::postgres::Client| -> i64 { value(client, "SELECT sum(entries)::bigint FROM pg_llm_cache", &[]) };
    assert_eq!(seen(&mut second), 4, "its own two, and what is shared of models that it may use");
    assert_eq!(seen(&mut first), 6, "all of its model, its own of the other, and what is shared");
    assert_eq!(seen(&mut asked.client), 8);
    assert_eq!(clear(&mut second, None), 2, "its own");
    assert_eq!(clear(&mut second, Some("m")), 0);
    assert_eq!(clear(&mut second, Some("no such model")), 0);
    assert_eq!(clear(&mut first, Some("ones")), 3, "an owner's model: its own, the superuser's, the shared one");
    assert_eq!(clear(&mut first, None), 1);
    assert_eq!(clear(&mut asked.client, Some("m")), 2);
    assert_eq!(entries(&mut asked.client), 0);
    fill(&mut [&mut first, &mut second]);
    let all: i64 = value(&mut asked.client, "SELECT pg_llm_cache_clear()", &[]);
    assert_eq!((all, entries(&mut asked.client)), (6, 0));
    assert_eq!(value::<i64>(&mut asked.client, "SELECT count(*) FROM pg_llm_cache", &[]), 0);
}
