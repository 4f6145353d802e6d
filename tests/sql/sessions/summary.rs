//! What no longer goes along can be summarized by the model.

use pg_llm_tests::Asked;
use pg_llm_upstream::{Upstream, openai};
use serde_json::{Value, json};

use super::{ask, code, requests, said, sent, session, value};

/// A model that answers "noted", and when it is asked for a summary, "summary 1", "summary 2".
fn summarizing() -> Asked {
    let asked = Asked::at(Upstream::start(), json!({}));
    let count = std::sync::atomic::AtomicUsize::new(0);
    asked.upstream.otherwise(move |request| {
        if request.json()["messages"][0]["role"] == "system" {
            let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
            return openai::completion(&format!("summary {number}"));
        }
        openai::completion("noted")
    });
    asked
}

#[test]
fn what_is_left_out_is_summarized_once_and_the_summary_goes_along() {
    let mut asked = summarizing();
    let id = session(&mut asked.client, 4);
    let summarize = json!({"summarize": true});
    for prompt in ["one", "two"] {
        assert_eq!(ask(&mut asked.client, &id, prompt, &summarize)["summary"], json!(null));
    }
    assert_eq!(ask(&mut asked.client, &id, "three", &summarize)["summary"], json!(null), "there was room until now");
    assert_eq!(requests(&asked), 3);
    let answer = ask(&mut asked.client, &id, "four", &summarize);
    assert_eq!(requests(&asked), 5, "one call for the summary, one for the turn");
    assert!(answer["summary"]["usage"]["input_tokens"].is_number() && answer["summary"]["request_id"].is_string(), "{answer}");
    assert_ne!(answer["summary"]["request_id"], answer["request_id"]);
    let [_, _, _, summary, turn] = &asked.upstream.requests()[..] else { panic!("five requests") };
    let told = summary.json()["messages"][1]["content"].as_str().unwrap().to_owned();
    assert!(told.contains("user: one") && told.contains("assistant: noted") && told.contains("two") && !told.contains("four"), "{told}");
    let sent_then = turn.json()["messages"].clone();
    assert!(sent_then[0].to_string().contains("summary 1") && sent_then[0].to_string().contains("three"), "{sent_then}");
    assert_eq!(sent_then.as_array().unwrap().len(), 3, "half of the room is left to turns to come: {sent_then}");
    // The session has all messages, as they were said, and the summary.
    assert_eq!(said(&mut asked.client, &id).len(), 8);
    assert_eq!(said(&mut asked.client, &id)[4], "user: three");
    let shown: Value = value(&mut asked.client, "SELECT pg_llm_get_session($1)", &[&id]);
    assert_eq!((&shown["summary"], &shown["summarized_to"]), (&json!("summary 1"), &json!(4)));
    // It goes along without being asked for again, and takes the former in when it is.
    assert_eq!(ask(&mut asked.client, &id, "five", &json!({}))["summary"], json!(null));
    assert!(sent(&asked)[0].to_string().contains("summary 1"));
    assert_eq!(requests(&asked), 6);
    ask(&mut asked.client, &id, "six", &summarize);
    let requests = asked.upstream.requests();
    let told = requests[requests.len() - 2].json()["messages"][1]["content"].as_str().unwrap().to_owned();
    assert!(told.contains("summary 1") && told.contains("three") && !told.contains("user: one"), "{told}");
    assert!(sent(&asked)[0].to_string().contains("summary 2"));
}

#[test]
fn a_summary_that_fails_is_the_turns_failure_and_one_of_a_turn_that_fails_is_not_kept() {
    let mut asked = Asked::at(Upstream::start(), json!({"max_attempts": 1}));
    asked.upstream.on(Asked::PATH).repeat(2, openai::completion("noted")).reply(openai::error(500, "server_error", "x", "x"));
    let id = session(&mut asked.client, 2);
    let summarize = json!({"summarize": true});
    ask(&mut asked.client, &id, "one", &json!({}));
    ask(&mut asked.client, &id, "two", &json!({}));
    let before: Value = value(&mut asked.client, "SELECT pg_llm_get_session($1)", &[&id]);
    let sql = "SELECT pg_llm_multi_turn_chat_json('m', $1, 'three', $2)";
    assert_eq!(code(&mut asked.client, sql, &[&id, &summarize]), "38000");
    assert_eq!(requests(&asked), 3, "the turn itself was not asked for");
    // As an object, and in a stream.
    for call in ["pg_llm_multi_turn_chat_json", "pg_llm_multi_turn_chat_stream_json"] {
        asked.upstream.next(openai::error(500, "server_error", "x", "x"));
        let object: Value = value(
            &mut asked.client,
            &format!("SELECT {call}('m', $1, 'three', $2)"),
            &[&id, &json!({"summarize": true, "on_error": "object"})],
        );
        assert_eq!(object["error"]["sqlstate"], "38000", "{call}");
    }
    asked.upstream.next(openai::completion("a summary"));
    asked.upstream.next(openai::error(500, "server_error", "x", "x"));
    assert_eq!(code(&mut asked.client, sql, &[&id, &summarize]), "38000");
    assert_eq!(value::<Value>(&mut asked.client, "SELECT pg_llm_get_session($1)", &[&id]), before);
}

#[test]
fn a_stream_is_summarized_before_it_begins() {
    let mut asked = Asked::echo();
    let id = session(&mut asked.client, 2);
    for prompt in ["one", "two"] {
        ask(&mut asked.client, &id, prompt, &json!({}));
    }
    let rows = asked
        .client
        .query("SELECT event FROM pg_llm_multi_turn_chat_stream_json('m', $1, 'three', '{\"summarize\": true}') AS event", &[&id])
        .unwrap();
    let last: Value = rows.last().unwrap().get(0);
    assert!(last["summary"]["request_id"].is_string(), "{last}");
    assert_eq!(requests(&asked), 4);
}

#[test]
fn a_fork_before_the_summaries_end_goes_without_it() {
    let mut asked = summarizing();
    let id = session(&mut asked.client, 2);
    for prompt in ["one", "two", "three"] {
        ask(&mut asked.client, &id, prompt, &json!({"summarize": true}));
    }
    let summary = |client: &mut _, id: &str| value::<Value>(client, "SELECT pg_llm_get_session($1)", &[&id])["summary"].clone();
    assert!(summary(&mut asked.client, &id).is_string());
    let early: String = value(&mut asked.client, "SELECT pg_llm_fork_session($1, 2)", &[&id]);
    assert_eq!(summary(&mut asked.client, &early), json!(null));
    let whole: String = value(&mut asked.client, "SELECT pg_llm_fork_session($1)", &[&id]);
    assert!(summary(&mut asked.client, &whole).is_string());
}
