//! Tools: calls are data, and what came is sent back as it came.

use pg_llm_tests::{Asked, db_error};
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::{Value, json};

fn tools() -> Value {
    json!([{"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}])
}

fn calls(list: &Value) -> Reply {
    Reply::json(
        200,
        openai::message_body(json!({"role": "assistant", "content": "I look.", "tool_calls": list}), "tool_calls", openai::usage(7, 5)),
    )
}

#[test]
fn the_message_of_an_answer_goes_back_as_it_came() {
    let mut asked = Asked::at(Upstream::start(), json!({}));
    let list = json!([
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":  \"Köln\", \"b\": 1, \"a\": 123456789012345678901234567890}"}},
        {"id": "c2", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": "}, "extra_content": {"google": {"thought_signature": "sig+/="}}},
    ]);
    asked.upstream.on(Asked::PATH).reply(calls(&list)).reply(openai::completion("Rain."));
    let first = asked.chat_json("Weather?", &json!({"tools": tools()})).unwrap().unwrap();
    assert_eq!(first["tool_calls"].as_array().map(Vec::len), Some(2));
    let history = json!({"tools": tools(), "messages": [
        {"role": "user", "content": "Weather?"},
        first["message"],
        {"role": "tool", "tool_call_id": "c1", "content": {"rain": true}},
        {"role": "tool", "tool_call_id": "c2", "content": "no such city", "is_error": true},
    ]});
    assert_eq!(asked.chat("", &history).unwrap().unwrap(), "Rain.");
    let sent = asked.sent();
    assert_eq!(
        sent["messages"],
        json!([
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": "I look.", "tool_calls": list},
            {"role": "tool", "tool_call_id": "c1", "content": "{\"rain\":true}"},
            {"role": "tool", "tool_call_id": "c2", "content": "no such city"},
        ]),
        "no user's message after the results, and the model's words to the letter"
    );
}

#[test]
fn a_loop_of_tools_can_be_written_in_sql() {
    let mut asked = Asked::at(Upstream::start(), json!({}));
    asked
        .upstream
        .on(Asked::PATH)
        .reply(openai::tool_call("weather", "{\"city\": \"Köln\"}"))
        .reply(openai::completion("It rains in Köln."));
    asked.client.batch_execute("CREATE TABLE weather (city text, sky text); INSERT INTO weather VALUES ('Köln', 'rain')").unwrap();
    let sql = "WITH asked AS (SELECT pg_llm_chat_json('m', 'Weather in Köln?', jsonb_build_object('tools', $1::jsonb)) AS a),
                    results AS (SELECT jsonb_agg(jsonb_build_object('role', 'tool', 'tool_call_id', call ->> 'id', 'content', to_jsonb(weather))) AS r
                                  FROM asked, jsonb_array_elements(a -> 'tool_calls') AS call JOIN weather ON city = call -> 'arguments' ->> 'city')
               SELECT pg_llm_chat('m', '', jsonb_build_object('tools', $1::jsonb, 'messages',
                          jsonb_build_array(jsonb_build_object('role', 'user', 'content', 'Weather in Köln?'), a -> 'message') || r))
                 FROM asked, results";
    assert_eq!(asked.value::<String>(sql, &[&tools()]).unwrap(), "It rains in Köln.");
    let result: Value = serde_json::from_str(asked.sent()["messages"][2]["content"].as_str().unwrap()).unwrap();
    assert_eq!(result, json!({"city": "Köln", "sky": "rain"}));
}

#[test]
fn an_empty_prompt_adds_nothing_to_a_conversation_and_null_is_no_call() {
    let mut asked = Asked::echo();
    let options = json!({"messages": [{"role": "user", "content": "Hello"}]});
    assert_eq!(asked.chat("", &options).unwrap().unwrap(), "You said: Hello");
    assert_eq!(asked.sent()["messages"], options["messages"]);
    let none: Option<String> = asked.value("SELECT pg_llm_chat('m', NULL, $1)", &[&options]).unwrap();
    assert_eq!((none, asked.upstream.requests().len()), (None, 1));
    // Without a conversation, it is a prompt.
    asked.chat("", &json!({"messages": []})).unwrap();
    assert_eq!(asked.sent()["messages"], json!([{"role": "user", "content": ""}]));
}

#[test]
fn a_message_that_is_none_is_named_with_its_number_before_any_call() {
    let mut asked = Asked::echo();
    for (bad, words) in [
        (json!({"role": "tool", "content": "x"}), "message 2 of role tool has no tool_call_id"),
        (json!({"role": "tool", "tool_call_id": "c1"}), "message 2 has no content"),
        (json!({"role": "king", "content": "x"}), "message 2 has the role \"king\""),
        (json!({"role": "assistant", "tool_calls": [{"name": "f"}]}), "message 2 has a tool call 1 that has no id"),
        (
            json!({"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "smell"}]}),
            "message 2 has content whose part 2 has the type \"smell\"",
        ),
    ] {
        let error = db_error(asked.chat("x", &json!({"messages": [{"role": "user", "content": "x"}, bad]})));
        assert_eq!(error.code().code(), "22023");
        assert!(error.message().contains(words), "{}", error.message());
    }
    assert_eq!(asked.upstream.connections_total(), 0);
}

#[test]
fn the_message_of_a_plain_answer_is_a_plain_message() {
    let mut asked = Asked::echo();
    let answer = asked.chat_json("Hello", &json!({})).unwrap().unwrap();
    assert_eq!(answer["message"], json!({"role": "assistant", "content": "You said: Hello"}));
}
