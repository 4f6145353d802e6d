//! Several models at the same time: each has its own answers.

use pg_llm_tests::Asked;
use pg_llm_upstream::openai;
use serde_json::{Value, json};

use super::{ask, asked_for, entries, value};

#[test]
fn candidates_of_a_parallel_chat_are_given_what_was_kept_and_the_others_are_asked() {
    let mut asked = Asked::echo();
    asked.add("openai-compatible", "other", &json!({}));
    let both = "SELECT pg_llm_parallel_chat_json('Hello', '{m,other}', '{\"strategy\": \"all\", \"cache\": true, \"max_attempts\": 1}')";
    ask(&mut asked.client, "Hello", &json!({"cache": true}));
    asked.upstream.next(openai::error(400, "invalid_request_error", "no", "No."));
    let answered: Value = value(&mut asked.client, both, &[]);
    assert_eq!((asked_for(&asked), entries(&mut asked.client)), (2, 1), "a failure is not kept: {answered}");
    value::<Value>(&mut asked.client, both, &[]);
    assert_eq!((asked_for(&asked), entries(&mut asked.client)), (3, 2));
    value::<Value>(&mut asked.client, both, &[]);
    assert_eq!(asked_for(&asked), 3);
    let first = "SELECT pg_llm_parallel_chat('Hello', '{m,other}', '{\"strategy\": \"first\", \"cache\": true}')";
    assert_eq!(value::<String>(&mut asked.client, first, &[]), "You said: Hello");
    assert_eq!(asked_for(&asked), 3);
}
