//! Streams: what went to its end is kept, and what was kept is streamed.

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Asked, db_error};
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::{Value, json};

use super::{ask, asked_for, entries};

fn events(client: &mut Client, options: &Value) -> Vec<Value> {
    let rows = client.query("SELECT * FROM pg_llm_chat_stream_json('m', 'Hello', $1)", &[options]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn rows(client: &mut Client, options: &Value) -> Vec<(i32, String, bool, String)> {
    let rows = client.query("SELECT * FROM pg_llm_chat_stream('m', 'Hello', $1)", &[options]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
}

fn at(reply: Reply) -> Asked {
    let upstream = Upstream::start();
    upstream.on(Asked::PATH).reply(reply);
    Asked::at(upstream, json!({}))
}

#[test]
fn a_streamed_answer_is_kept_and_given_whole_and_as_a_stream() {
    let mut asked = at(openai::stream(&["Hel", "lo ", "you"]));
    let options = json!({"cache": true});
    assert_eq!(rows(&mut asked.client, &options).len(), 4);
    let whole = ask(&mut asked.client, "Hello", &options);
    assert_eq!((&whole["response"], &whole["cached"], &whole["usage"]["output_tokens"]), (&json!("Hello you"), &json!(true), &json!(3)));
    let model = openai::MODEL.to_owned();
    assert_eq!(rows(&mut asked.client, &options), [(1, "Hello you".into(), false, model.clone()), (2, String::new(), true, model)]);
    let events = events(&mut asked.client, &options);
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["started", "text", "final"]);
    assert_eq!(events[0]["request_id"], events[2]["request_id"]);
    assert_eq!((&events[2]["cached"], &events[2]["cost"], &events[2]["ttft_ms"]), (&json!(true), &json!(0), &json!(null)));
    assert_eq!(
        (&events[0]["model_name"], &events[0]["provider_response_id"]),
        (&events[2]["model_name"], &events[2]["provider_response_id"])
    );
    assert_eq!(asked_for(&asked), 1);
}

#[test]
fn a_whole_answer_is_streamed_with_its_thinking_and_tool_calls() {
    let call = json!({"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}});
    let message = json!({"role": "assistant", "content": "Look", "reasoning_content": "hm", "tool_calls": [call]});
    let mut asked = at(Reply::json(200, openai::message_body(message, "tool_calls", openai::usage(1, 1))));
    let options = json!({"cache": true, "tools": [{"name": "f"}]});
    let whole = ask(&mut asked.client, "Hello", &options);
    assert!(whole["thinking"].is_array(), "{whole}");
    let events = events(&mut asked.client, &options);
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["started", "thinking", "text", "tool_call", "final"]);
    assert_eq!((&events[3]["name"], &events[3]["arguments"], &events[3]["index"]), (&json!("f"), &json!("{\"a\": 1}"), &json!(0)));
    for name in ["response", "thinking", "tool_calls", "message", "usage", "finish_reason"] {
        assert_eq!(events[4][name], whole[name], "{name}");
    }
    assert_eq!(asked_for(&asked), 1);
}

#[test]
fn a_stream_that_fails_or_is_not_pulled_to_its_end_is_not_kept() {
    let upstream = Upstream::start();
    upstream
        .on(Asked::PATH)
        .reply(openai::stream_without_end(&["half"]))
        .reply(openai::stream_with_error(&["half"], "server_error", "no", "No."))
        .reply(openai::stream(&["half"]).reset_after(300))
        .reply(openai::stream(&["a", "b", "c"]))
        .reply(openai::stream(&["a", "b", "c"]))
        .reply(openai::stream_endless("x"));
    let mut asked = Asked::at(upstream, json!({}));
    let stream = "SELECT * FROM pg_llm_chat_stream('m', 'Hello', '{\"cache\": true, \"max_attempts\": 1}')";
    for _ in 0..3 {
        let code = db_error(asked.client.query(stream, &[])).code().code().to_owned();
        assert!(code.starts_with("38") || code == "08006", "{code}");
    }
    assert_eq!(asked.client.query(&format!("{stream} LIMIT 1"), &[]).unwrap().len(), 1);
    asked.client.batch_execute(&format!("BEGIN; DECLARE c CURSOR FOR {stream}; FETCH 2 FROM c; CLOSE c; COMMIT")).unwrap();
    asked.client.batch_execute("SET statement_timeout = '200ms'").unwrap();
    assert_eq!(db_error(asked.client.query(stream, &[])).code().code(), "57014");
    asked.client.batch_execute("SET statement_timeout = 0").unwrap();
    assert_eq!((asked_for(&asked), entries(&mut asked.client)), (6, 0));
}

/// The pieces of a stream have no `raw`.
#[test]
fn a_stream_neither_gives_nor_keeps_an_answer_with_raw() {
    let mut asked = at(openai::stream(&["Hello"]));
    let options = json!({"cache": true, "include_raw": true});
    for _ in 0..2 {
        assert_eq!(events(&mut asked.client, &options).last().unwrap()["cached"], json!(false));
    }
    assert_eq!(entries(&mut asked.client), 0);
}
