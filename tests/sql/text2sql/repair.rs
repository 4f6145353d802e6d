//! Queries that fail are shown to the model again, with what is wrong.

use pg_llm_tests::{Asked, db_error};
use pg_llm_upstream::openai;
use serde_json::{Value, json};

use super::{answer, saying};

fn people(asked: &mut Asked) {
    asked
        .client
        .batch_execute("CREATE TABLE people (id int, name text); INSERT INTO people VALUES (1, 'Ada'), (2, 'secret 4711')")
        .unwrap();
}

/// The latest message that the model was sent.
fn last(asked: &Asked) -> String {
    asked.sent()["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap().to_owned()
}

#[test]
fn a_wrong_query_goes_back_with_its_error_and_the_next_one_counts() {
    let mut asked = saying(&["SELECT nme FROM people WHERE id = 1", "```sql\nSELECT name FROM people WHERE id = 1;\n```"]);
    people(&mut asked);
    let said = answer(&mut asked.client, "Who is 1?", &json!({}));
    assert_eq!(said["execution"]["rows"], json!([{"name": "Ada"}]));
    assert_eq!(said["generated_sql"], "SELECT name FROM people WHERE id = 1");
    let attempts = said["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2);
    assert_eq!(
        (&attempts[0]["success"], &attempts[0]["error"]["sqlstate"], &attempts[0]["error"]["position"]),
        (&json!(false), &json!("42703"), &json!(8))
    );
    assert_eq!((&attempts[1]["success"], &attempts[1]["error"]), (&json!(true), &Value::Null));
    let told = last(&asked);
    for words in ["42703", "column \"nme\" does not exist", "Position: character 8, at: nme FROM people", "Hint: Perhaps you meant"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert_eq!(asked.sent()["messages"].as_array().unwrap().len(), 4, "instructions, question, answer, error");
    assert_eq!(said["usage"]["input_tokens"], 14, "of both requests");
}

#[test]
fn what_is_in_the_tables_is_not_told_by_way_of_errors() {
    let mut asked = saying(&["SELECT name::int FROM people WHERE id = 2", "SELECT count(*) FROM people"]);
    people(&mut asked);
    let said = answer(&mut asked.client, "How many?", &json!({}));
    assert!(said["attempts"][0]["error"]["message"].as_str().unwrap().contains("4711"), "the caller may see it");
    assert!(last(&asked).contains("22P02") && !last(&asked).contains("4711"), "{}", last(&asked));
    assert_eq!(said["execution"]["rows"], json!([{"count": 2}]));
}

#[test]
fn a_model_that_does_not_learn_is_asked_no_more_than_allowed() {
    let mut asked = saying(&["SELECT a FROM people", "SELECT b FROM people", "SELECT c FROM people", "SELECT d FROM people"]);
    people(&mut asked);
    let said = answer(&mut asked.client, "x", &json!({}));
    assert_eq!((said["attempts"].as_array().unwrap().len(), asked.upstream.requests().len()), (3, 3));
    assert_eq!(
        (&said["execution"]["success"], &said["execution"]["error"]["sqlstate"], &said["generated_sql"]),
        (&json!(false), &json!("42703"), &json!("SELECT c FROM people"))
    );
    let error = db_error(asked.client.query("SELECT * FROM pg_llm_query('m', 'x', '{\"max_attempts\": 1}')", &[]));
    assert_eq!((error.code().code(), error.message()), ("42703", "column \"d\" does not exist"));
}

#[test]
fn a_repeated_query_ends_it() {
    let mut asked = saying(&["SELECT a FROM people", "SELECT a\n  FROM people"]);
    people(&mut asked);
    let said = answer(&mut asked.client, "x", &json!({"max_attempts": 9}));
    assert_eq!((said["attempts"].as_array().unwrap().len(), asked.upstream.requests().len()), (2, 2));
}

#[test]
fn a_refused_query_may_be_repaired_as_well() {
    let mut asked = saying(&["DELETE FROM people RETURNING name", "SELECT name FROM people ORDER BY id LIMIT 1"]);
    people(&mut asked);
    let said = answer(&mut asked.client, "x", &json!({}));
    assert_eq!((&said["attempts"][0]["error"]["sqlstate"], &said["execution"]["rows"]), (&json!("42501"), &json!([{"name": "Ada"}])));
    assert!(last(&asked).contains("it is DELETE and no query"), "{}", last(&asked));
}

#[test]
fn who_gives_no_query_is_quoted_and_not_asked_again() {
    for text in ["I cannot answer that from these tables.", "{\"sql\": null, \"explanation\": \"I cannot answer that from these tables.\"}"]
    {
        let mut asked = saying(&[text]);
        let said = answer(&mut asked.client, "x", &json!({}));
        let error = &said["execution"]["error"];
        assert_eq!((&error["sqlstate"], &error["detail"]), (&json!("38000"), &json!("I cannot answer that from these tables.")), "{said}");
        assert_eq!((&said["generated_sql"], &said["attempts"], asked.upstream.requests().len()), (&Value::Null, &json!([]), 1));
        let error = db_error(asked.client.query("SELECT pg_llm_text2sql('m', 'x')", &[]));
        assert_eq!((error.code().code(), error.message()), ("38000", "pg_llm: model \"m\" gave no query"));
    }
}

#[test]
fn endpoints_that_take_a_schema_are_told_one_and_others_asked_in_words() {
    let mut asked = saying(&["{\"sql\": \"SELECT 1 AS n\", \"explanation\": \"One.\"}"]);
    let said = answer(&mut asked.client, "x", &json!({}));
    assert_eq!((&said["explanation"], &said["execution"]["rows"]), (&json!("One."), &json!([{"n": 1}])));
    assert_eq!(asked.sent()["response_format"]["json_schema"]["schema"]["required"], json!(["sql", "explanation"]));
    asked.add("openai-compatible", "m", &json!({"json_schema": false}));
    answer(&mut asked.client, "x", &json!({}));
    assert_eq!(asked.sent().get("response_format"), None);
    assert!(asked.sent()["messages"][0]["content"].as_str().unwrap().contains("```sql"));
}

#[test]
fn a_model_that_cannot_be_asked_is_its_own_error() {
    let mut asked = saying(&["x"]);
    asked.upstream.on(Asked::PATH).reply(openai::error(400, "invalid_request_error", "no_way", "no"));
    let error = db_error(asked.client.query("SELECT pg_llm_text2sql_json('m', 'x')", &[]));
    assert_eq!(error.code().code(), "38000");
    let said = answer(&mut asked.client, "x", &json!({"on_error": "object"}));
    assert_eq!(
        (&said["execution"]["success"], &said["execution"]["error"]["sqlstate"], &said["generated_sql"]),
        (&json!(false), &json!("38000"), &Value::Null)
    );
    let null: Option<Value> = asked.value("SELECT pg_llm_text2sql_json('m', 'x', options => '{\"on_error\": \"null\"}')", &[]).unwrap();
    assert_eq!(null, None);
    assert!(asked.client.query("SELECT * FROM pg_llm_query('m', 'x', '{\"on_error\": \"null\"}')", &[]).unwrap().is_empty());
}
