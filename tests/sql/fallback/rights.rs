//! Whose rights count, and models that are not there.

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Asked, db_error};
use pg_llm_upstream::openai;
use serde_json::json;

use super::{another, answer, asked, failing, who};

fn chat(client: &mut Client) -> Result<String, pg_llm_tests::postgres::Error> {
    client.query_one("SELECT pg_llm_chat('m', 'Hello')", &[]).map(|row| row.get(0))
}

#[test]
fn a_fallback_is_the_callers_to_use_or_it_is_none() {
    let mut asked = asked(openai::completion("From m."), &json!({"fallback_instance": "b"}));
    let b = another(&mut asked, "b", openai::completion("From b."), &json!({}));
    let name = asked.database.create_role();
    asked.client.execute("SELECT pg_llm_grant_model('m', $1)", &[&name]).unwrap();
    let mut role = asked.database.connect_as(&name);
    assert_eq!(chat(&mut role).unwrap(), "From m.", "what is not needed fails no call");
    asked.upstream.on(Asked::PATH).reply(failing());
    let error = db_error(chat(&mut role));
    assert_eq!((error.code().code(), error.message()), ("38000", "pg_llm: model \"m\" failed: Out of order."));
    assert!(error.detail().unwrap().ends_with("\nFallback \"b\": was not asked: permission denied for model \"b\""), "{error:?}");
    role.batch_execute("SET pg_llm.default_local_fallback = 'b'").unwrap();
    assert_eq!(db_error(chat(&mut role)).code().code(), "38000", "a setting gives no right");
    assert_eq!(b.requests().len(), 0);
    assert_eq!(asked.says("Hello"), "From b.", "its owner may");
    asked.client.execute("SELECT pg_llm_grant_model('b', $1)", &[&name]).unwrap();
    assert_eq!(chat(&mut role).unwrap(), "From b.");
    asked.client.execute("SELECT pg_llm_revoke_model('b', $1)", &[&name]).unwrap();
    assert_eq!(db_error(chat(&mut role)).code().code(), "38000", "the next call knows");
}

#[test]
fn a_fallback_that_is_gone_is_passed_over() {
    let mut asked = asked(openai::completion("From m."), &json!({"fallback_instance": "b"}));
    let _b = another(&mut asked, "b", openai::completion("From b."), &json!({}));
    let _c = another(&mut asked, "c", openai::completion("From c."), &json!({}));
    asked.client.batch_execute("SELECT pg_llm_remove_model('b')").unwrap();
    assert_eq!(asked.says("Hello"), "From m.");
    asked.upstream.on(Asked::PATH).reply(failing());
    let error = db_error(asked.chat("Hello", &json!({})));
    assert!(error.detail().unwrap().ends_with("\nFallback \"b\": was not asked: model \"b\" does not exist"), "{error:?}");
    asked.client.batch_execute("SET pg_llm.default_local_fallback = 'c'").unwrap();
    let said = answer(&mut asked, &json!({}));
    assert_eq!(who(&said), ("c", true));
    assert_eq!(
        said["fallback_from"][1],
        json!({"instance_name": "b", "attempts": 0, "error": {"kind": "not_asked", "message": "model \"b\" does not exist", "detail": null}})
    );
}

#[test]
fn a_fallback_is_found_again_when_its_name_comes_back() {
    let mut asked = asked(failing(), &json!({"fallback_instance": "b"}));
    assert_eq!(db_error(asked.chat("Hello", &json!({}))).code().code(), "38000");
    let _b = another(&mut asked, "b", openai::completion("From b."), &json!({}));
    assert_eq!(asked.says("Hello"), "From b.");
}
