//! Rows of a batch: each is a call of its own to the cache.

use pg_llm_tests::Asked;
use serde_json::json;

use super::{ask, asked_for, entries, value};

#[test]
fn rows_of_a_batch_are_given_what_was_kept_and_leave_their_answers() {
    let mut asked = Asked::echo();
    ask(&mut asked.client, "a", &json!({"cache": true}));
    let batch = "SELECT string_agg(response, '|' ORDER BY ord) FROM pg_llm_chat_batch('m', '{a,b,c}', '{\"cache\": true}')";
    for _ in 0..2 {
        assert_eq!(value::<String>(&mut asked.client, batch, &[]), "You said: a|You said: b|You said: c");
        assert_eq!((asked_for(&asked), entries(&mut asked.client)), (3, 3));
    }
    assert_eq!(ask(&mut asked.client, "c", &json!({"cache": true}))["cached"], json!(true));
}
