//! What goes along: whole turns, as the provider gave them, within the bounds.

use pg_llm_tests::Asked;
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::{Value, json};

use super::{ask, code, requests, said, say, sent, session, value};

#[test]
fn at_most_max_messages_go_along_and_none_is_lost() {
    let mut asked = Asked::echo();
    let id = session(&mut asked.client, 4);
    for prompt in ["one", "two", "three", "four"] {
        say(&mut asked.client, &id, prompt);
    }
    assert_eq!(sent(&asked), ["two", "You said: two", "three", "You said: three", "four"]);
    assert_eq!(said(&mut asked.client, &id).len(), 8);
    // Half a turn is none.
    asked.client.execute("SELECT pg_llm_set_max_messages($1, 3)", &[&id]).unwrap();
    say(&mut asked.client, &id, "five");
    assert_eq!(sent(&asked), ["four", "You said: four", "five"]);
    asked.client.execute("SELECT pg_llm_set_max_messages($1, 1)", &[&id]).unwrap();
    let answer = ask(&mut asked.client, &id, "six", &json!({}));
    assert_eq!((sent(&asked), &answer["sent_messages"]), (vec![json!("six")], &json!(0)));
    // What was left out is not deleted.
    asked.client.execute("SELECT pg_llm_set_max_messages($1, 100)", &[&id]).unwrap();
    say(&mut asked.client, &id, "seven");
    assert_eq!(sent(&asked).len(), 13);
}

#[test]
fn the_models_context_bounds_it_too() {
    let mut asked = Asked::at(Upstream::start_echo(), json!({"context_tokens": 1000, "max_tokens": 100}));
    let id = session(&mut asked.client, 100);
    // Some 200 tokens, and as many of the answer.
    let long = "word ".repeat(160);
    for _ in 0..4 {
        say(&mut asked.client, &id, &long);
    }
    assert_eq!(sent(&asked).len(), 3, "one turn has room beside the prompt and its answer");
    let id = session(&mut asked.client, 100);
    for _ in 0..4 {
        say(&mut asked.client, &id, "short");
    }
    assert_eq!(sent(&asked).len(), 7);
    assert_eq!(said(&mut asked.client, &id).len(), 8);
}

#[test]
fn tool_calls_and_their_results_go_back_as_they_came() {
    let mut asked = Asked::at(Upstream::start(), json!({}));
    let tools = json!([{"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}]);
    let call = json!({"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":  \"Köln\"}"}});
    let calls =
        openai::message_body(json!({"role": "assistant", "content": "I look.", "tool_calls": [call]}), "tool_calls", openai::usage(7, 5));
    asked.upstream.on(Asked::PATH).reply(Reply::json(200, calls)).reply(openai::completion("Rain.")).reply(openai::completion("Bye."));
    let id = session(&mut asked.client, 2);
    let first = ask(&mut asked.client, &id, "Weather?", &json!({"tools": tools}));
    assert_eq!(first["tool_calls"][0]["id"], "c1");
    // Without its result the conversation would be stuck.
    let refused = "SELECT pg_llm_multi_turn_chat('m', $1, 'Well?')";
    assert_eq!(code(&mut asked.client, refused, &[&id]), "22023");
    assert_eq!(requests(&asked), 1);
    let result = json!({"tools": tools, "messages": [{"role": "tool", "tool_call_id": "c1", "content": {"rain": true}}]});
    assert_eq!(ask(&mut asked.client, &id, "", &result)["response"], "Rain.");
    let expected = json!([
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "I look.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "{\"rain\":true}"},
    ]);
    assert_eq!(asked.sent()["messages"], expected, "the turn that goes on is sent as a whole");
    assert_eq!(said(&mut asked.client, &id), ["user: Weather?", "assistant: I look.", "tool: {\"rain\":true}", "assistant: Rain."]);
    // Four messages of one turn are more than two: none of them goes along.
    say(&mut asked.client, &id, "Thanks");
    assert_eq!(sent(&asked), ["Thanks"]);
}

#[test]
fn thinking_goes_back_with_its_signature() {
    let content = json!([
        {"type": "thinking", "thinking": "Weather, so...", "signature": "c2lnbmF0dXJl+/="},
        {"type": "redacted_thinking", "data": "b3BhcXVl"},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Köln"}},
    ]);
    let mut asked = Asked::at(Upstream::start(), json!({}));
    asked.add("anthropic", "m", &json!({"model_name": "claude-test"}));
    let body = json!({
        "id": "msg_test", "type": "message", "role": "assistant", "model": "claude-test", "content": content, "stop_reason": "tool_use",
        "stop_sequence": null, "usage": {"input_tokens": 5, "output_tokens": 9},
    });
    asked.upstream.otherwise(move |_| Reply::json(200, body.clone()));
    let id = session(&mut asked.client, 10);
    let options = |messages: Value| json!({"max_tokens": 100, "tools": [{"name": "weather", "parameters": {"type": "object"}}], "messages": messages});
    ask(&mut asked.client, &id, "Weather?", &options(json!([])));
    ask(&mut asked.client, &id, "", &options(json!([{"role": "tool", "tool_call_id": "toolu_1", "content": "rain"}])));
    let sent = asked.sent()["messages"].clone();
    assert_eq!(sent[1]["content"], content, "{sent}");
    assert_eq!((sent[2]["content"][0]["tool_use_id"].as_str(), sent.as_array().map(Vec::len)), (Some("toolu_1"), Some(3)), "{sent}");
    let kept: Value = value(&mut asked.client, "SELECT pg_llm_get_session($1) #> '{messages,1,message,content,0}'", &[&id]);
    assert_eq!((&kept["type"], &kept["signature"]), (&json!("thinking"), &json!("c2lnbmF0dXJl+/=")));
}

#[test]
fn thinking_of_one_provider_is_not_sent_to_another() {
    let mut asked = Asked::at(Upstream::start(), json!({}));
    asked.add("anthropic", "thinker", &json!({"model_name": "claude-test", "max_tokens": 100}));
    asked.add("anthropic", "m", &json!({"model_name": "claude-other", "max_tokens": 100}));
    asked.add("gemini", "other", &json!({"model_name": "gemini-test"}));
    let content = json!([{"type": "thinking", "thinking": "pondering", "signature": "c2ln"}, {"type": "text", "text": "Hi"}]);
    let anthropic = json!({
        "id": "msg_test", "type": "message", "role": "assistant", "model": "claude-test", "content": content, "stop_reason": "end_turn",
        "stop_sequence": null, "usage": {"input_tokens": 5, "output_tokens": 9},
    });
    let gemini = json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "Ho"}]}, "finishReason": "STOP"}]});
    asked
        .upstream
        .otherwise(move |request| Reply::json(200, if request.path().contains("messages") { anthropic.clone() } else { gemini.clone() }));
    let id = session(&mut asked.client, 10);
    value::<String>(&mut asked.client, "SELECT pg_llm_multi_turn_chat('thinker', $1, 'one')", &[&id]);
    value::<String>(&mut asked.client, "SELECT pg_llm_multi_turn_chat('other', $1, 'two')", &[&id]);
    let told = asked.sent().to_string();
    assert!(told.contains("Hi") && !told.contains("c2ln") && !told.contains("pondering"), "{told}");
    // To its own kind, it goes back.
    say(&mut asked.client, &id, "three");
    assert_eq!(asked.sent()["messages"][1]["content"], content);
    let fork: String = value(&mut asked.client, "SELECT pg_llm_fork_session($1)", &[&id]);
    value::<String>(&mut asked.client, "SELECT pg_llm_multi_turn_chat('other', $1, 'four')", &[&fork]);
    assert!(!asked.sent().to_string().contains("c2ln"));
}

#[test]
fn images_go_along_with_the_next_prompt() {
    let mut asked = Asked::echo();
    let id = session(&mut asked.client, 10);
    let image = "iVBORw0KGgo=";
    ask(&mut asked.client, &id, "What is it?", &json!({"images": image}));
    let first = asked.sent()["messages"][0].clone();
    assert!(first.to_string().contains(image), "{first}");
    say(&mut asked.client, &id, "And its colour?");
    assert_eq!(asked.sent()["messages"][0], first);
}

#[test]
fn messages_of_the_options_become_part_of_the_conversation_and_instructions_among_them_stay() {
    let mut asked = Asked::echo();
    let id = session(&mut asked.client, 2);
    let before = json!({"messages": [
        {"role": "system", "content": "You are a pirate."},
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Arr"},
        {"role": "user", "content": "Where?"}, {"role": "assistant", "content": "At sea"}]});
    ask(&mut asked.client, &id, "one", &before);
    assert_eq!(said(&mut asked.client, &id).len(), 7);
    say(&mut asked.client, &id, "two");
    say(&mut asked.client, &id, "three");
    assert_eq!(sent(&asked), ["You are a pirate.", "two", "You said: two", "three"]);
}

#[test]
fn a_conversation_may_change_its_model() {
    let mut asked = Asked::echo();
    asked.add("openai-compatible", "other", &json!({"model_name": "another"}));
    let id = session(&mut asked.client, 10);
    say(&mut asked.client, &id, "one");
    let answer: String = value(&mut asked.client, "SELECT pg_llm_multi_turn_chat('other', $1, 'two')", &[&id]);
    assert_eq!((answer.as_str(), &asked.sent()["model"]), ("You said: two", &json!("another")));
    assert_eq!(sent(&asked), ["one", "You said: one", "two"]);
}

#[test]
fn a_fallback_is_sent_the_history_too_and_its_answer_is_kept() {
    let mut asked = Asked::echo();
    let ill = Upstream::start();
    ill.otherwise(|_| openai::error(500, "server_error", "x", "x"));
    let config = json!({"api_endpoint": ill.url(), "max_attempts": 1, "fallback_instance": "m"});
    asked.client.execute("SELECT pg_llm_add_model('openai-compatible', 'ill', NULL, $1)", &[&config]).unwrap();
    let id = session(&mut asked.client, 10);
    for prompt in ["one", "two"] {
        let answer: Value = value(&mut asked.client, "SELECT pg_llm_multi_turn_chat_json('ill', $1, $2)", &[&id, &prompt]);
        assert_eq!((&answer["fallback_used"], &answer["instance_name"]), (&json!(true), &json!("m")));
    }
    assert_eq!(sent(&asked), ["one", "You said: one", "two"]);
    assert_eq!(said(&mut asked.client, &id).len(), 4);
}

#[test]
fn filters_see_the_history_at_each_sending_and_the_session_keeps_the_callers_words() {
    let mut asked = Asked::echo();
    let id = session(&mut asked.client, 10);
    let options = json!({"filters": ["pii-redact"]});
    ask(&mut asked.client, &id, "I am jane.doe@example.com", &options);
    assert_eq!(said(&mut asked.client, &id)[0], "user: I am jane.doe@example.com");
    assert!(!asked.sent().to_string().contains("jane.doe"), "{}", asked.sent());
    ask(&mut asked.client, &id, "Who am I?", &options);
    assert!(!asked.sent().to_string().contains("jane.doe"), "{}", asked.sent());
    say(&mut asked.client, &id, "And now?");
    assert!(asked.sent().to_string().contains("jane.doe"), "who does not filter sends what was said");
}

#[test]
fn an_answer_out_of_the_cache_is_a_turn() {
    let mut asked = Asked::echo();
    let options = json!({"cache": true});
    let (one, two) = (session(&mut asked.client, 10), session(&mut asked.client, 10));
    assert_eq!(ask(&mut asked.client, &one, "Hello", &options)["cached"], json!(false));
    assert_eq!(ask(&mut asked.client, &two, "Hello", &options)["cached"], json!(true), "the same conversation");
    assert_eq!(said(&mut asked.client, &two), ["user: Hello", "assistant: You said: Hello"]);
    assert_eq!(ask(&mut asked.client, &one, "Hello", &options)["cached"], json!(false), "another: it goes with what was said");
}

#[test]
fn what_a_text_cannot_hold_is_kept_as_it_came() {
    let mut asked = Asked::at(Upstream::start(), json!({}));
    asked.upstream.on(Asked::PATH).reply(openai::completion("a\u{0}b 🦀")).reply(openai::completion("well"));
    let id = session(&mut asked.client, 10);
    assert_eq!(say(&mut asked.client, &id, "x"), "a\u{fffd}b 🦀");
    say(&mut asked.client, &id, "y");
    assert_eq!(sent(&asked)[1], "a\u{0}b 🦀");
    value::<Value>(&mut asked.client, "SELECT pg_llm_get_session($1)", &[&id]);
}
