//! An answer that does not fit is shown to the model once, with what is wrong.

use std::time::Duration;

use pg_llm_tests::{DEADLINE, Running, db_error};
use pg_llm_upstream::{Reply, openai};
use serde_json::{Value, json};

use super::{Asked, Upstream, city, replying, saying, with};

const WRONG: &str = "{\"city\": \"Köln\", \"people\": -1}";
const RIGHT: &str = "{\"city\": \"Köln\", \"people\": 1}";

#[test]
fn an_answer_that_does_not_fit_is_repaired_once() {
    let mut asked = saying(&[WRONG, RIGHT]);
    let answer = asked.chat_json("Which?", &with(&city())).unwrap().unwrap();
    assert_eq!((&answer["parsed"], &answer["attempts"]), (&json!({"city": "Köln", "people": 1}), &json!(2)));
    // Seven tokens a prompt, one a word: of both.
    let usage = &answer["usage"];
    assert_eq!(
        (&usage["input_tokens"], &usage["output_tokens"], usage["raw"].as_array().map(Vec::len)),
        (&json!(14), &json!(8), Some(2)),
        "{usage}"
    );

    let requests = asked.upstream.requests();
    let (first, second) = (requests[0].json(), requests[1].json());
    let messages = second["messages"].as_array().unwrap();
    assert_eq!(messages[0], first["messages"][0], "the conversation as it was");
    assert_eq!(messages[1], json!({"role": "assistant", "content": WRONG}), "the answer as it was");
    let request = messages[2]["content"].as_str().unwrap();
    assert!(
        messages[2]["role"] == "user" && request.contains("/people: -1 is too small") && request.contains(&city().to_string()),
        "{request}"
    );
    assert_eq!((messages.len(), &second["response_format"]), (3, &first["response_format"]));
}

#[test]
fn text_that_is_no_json_is_repaired_too() {
    for wrong in [
        "I cannot know that.",
        "{\"city\": \"Köln\", ",
        "",
        "{\"city\": \"\\ud800\", \"people\": 1}",
        "{\"city\": \"\\u0000\", \"people\": 1}",
        "{\"city\": \"x\", \"people\": 1e400}",
    ] {
        let mut asked = saying(&[wrong, RIGHT]);
        let answer = asked.chat_json("Which?", &with(&city())).unwrap().unwrap();
        assert_eq!((&answer["parsed"]["people"], &answer["attempts"]), (&json!(1), &json!(2)), "{wrong}");
    }
}

/// Which of them was meant is not ours to say.
#[test]
fn an_answer_of_several_values_that_fit_is_repaired() {
    let mut asked = saying(&["An example: {\"city\": \"Bonn\", \"people\": 2}. Mine: {\"city\": \"Köln\", \"people\": 1}", RIGHT]);
    let answer = asked.chat_json("Which?", &with(&city())).unwrap().unwrap();
    assert_eq!((&answer["parsed"]["city"], &answer["attempts"]), (&json!("Köln"), &json!(2)));
}

#[test]
fn what_still_does_not_fit_is_38000_with_the_reason_and_the_answer() {
    let mut asked = saying(&[WRONG, "{\"city\": 7}"]);
    let error = db_error(asked.chat("Which?", &with(&city())));
    assert_eq!(error.code().code(), "38000");
    for words in ["model \"m\"", "does not fit the schema", "must have the property \"people\"", "/city: must be string, not the number 7"]
    {
        assert!(error.message().contains(words), "{}", error.message());
    }
    assert_eq!(error.detail(), Some("Answer: {\"city\": 7}"));
    assert!(error.hint().is_some_and(|hint| hint.contains("asked once more")));
    assert_eq!(asked.upstream.requests().len(), 2, "once, and not again");
}

#[test]
fn on_error_decides_here_as_well() {
    let mut asked = saying(&["no"]);
    let mut options = with(&city());
    options["on_error"] = json!("null");
    assert_eq!(asked.chat("x", &options).unwrap(), None);
    options["on_error"] = json!("object");
    let object = asked.chat_json("x", &options).unwrap().unwrap();
    assert_eq!((&object["error"]["sqlstate"], &object["attempts"], &object["response"]), (&json!("38000"), &json!(2), &Value::Null));
}

#[test]
fn with_one_attempt_there_is_no_repair() {
    let mut asked = saying(&[WRONG, RIGHT]);
    let mut options = with(&city());
    options["max_attempts"] = json!(1);
    let error = db_error(asked.chat("x", &options));
    assert!(error.code().code() == "38000" && error.hint().is_some_and(|hint| hint.contains("max_attempts")), "{error:?}");
    assert_eq!(asked.upstream.requests().len(), 1);
}

/// Two attempts for a 503 leave one of three for the repair, and none for a second 503.
#[test]
fn retries_and_the_repair_share_the_attempts() {
    let busy = || openai::error(503, "server_error", "busy", "Later.").header("retry-after-ms", "1");
    let mut asked = saying(&[]);
    asked.upstream.on(Asked::PATH).reply(busy()).reply(openai::completion(WRONG)).reply(openai::completion(RIGHT));
    assert_eq!(asked.chat_json("x", &with(&city())).unwrap().unwrap()["attempts"], 3);
    asked.upstream.forget();
    asked.upstream.on(Asked::PATH).reply(busy()).reply(openai::completion(WRONG)).reply(busy()).reply(openai::completion(RIGHT));
    let error = db_error(asked.chat("x", &with(&city())));
    assert!(error.message().contains("Later."), "{}", error.message());
    assert_eq!(asked.upstream.requests().len(), 3);
}

#[test]
fn an_answer_that_was_cut_off_is_not_repaired_and_says_so() {
    let body = openai::message_body(json!({"role": "assistant", "content": "{\"city\": \"Kö"}), "length", openai::usage(7, 3));
    let mut asked = replying(Reply::json(200, body));
    let error = db_error(asked.chat("x", &with(&city())));
    assert_eq!((error.code().code(), error.hint()), ("38000", Some("Raise max_tokens.")));
    assert!(error.message().contains("cut off"), "{}", error.message());
    assert_eq!(asked.upstream.requests().len(), 1);
}

#[test]
fn an_answer_that_was_held_back_is_reported_as_that() {
    let body = openai::message_body(json!({"role": "assistant", "content": "I will not."}), "content_filter", openai::usage(7, 3));
    let mut asked = replying(Reply::json(200, body));
    let error = db_error(asked.chat("x", &with(&city())));
    assert!(error.code().code() == "38000" && error.message().contains("held back"), "{error:?}");
    assert_eq!((error.detail(), asked.upstream.requests().len()), (Some("Answer: I will not."), 1));
}

#[test]
fn the_repair_can_be_cancelled_and_ends_with_the_deadline() {
    let asked = saying(&[WRONG]);
    asked.upstream.on(Asked::PATH).reply(openai::completion(WRONG)).reply(Reply::hang());
    let sql = format!("SELECT pg_llm_chat('m', 'x', '{}')", with(&city()));
    let running = Running::start(asked.database.superuser(), &sql);
    assert!(asked.upstream.wait_for_requests(2, DEADLINE));
    running.cancel();
    assert_eq!(db_error(running.finish(DEADLINE).result).code().code(), "57014");
    assert!(asked.upstream.wait_until_closed(DEADLINE));

    let mut asked = Asked::at(Upstream::start(), json!({"timeout_ms": 300}));
    asked.upstream.on(Asked::PATH).reply(openai::completion(WRONG)).reply(openai::completion(RIGHT).delay_headers(Duration::from_mins(10)));
    assert_eq!(db_error(asked.chat("x", &with(&city()))).code().code(), "08006");
}
