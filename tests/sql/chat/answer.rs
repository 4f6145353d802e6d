//! What `pg_llm_chat_json` returns.

use pg_llm_tests::Asked;
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::{Value, json};

/// A model at an upstream that answers with this.
fn answering(reply: Reply) -> Asked {
    let asked = Asked::at(Upstream::start(), json!({}));
    asked.upstream.on(Asked::PATH).reply(reply);
    asked
}

fn answer(reply: Reply) -> Value {
    answering(reply).chat_json("Hello", &json!({})).unwrap().unwrap()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Callers rely on these: a key may come, none may go.
#[test]
fn every_key_of_the_answer_is_there_with_its_type() {
    let answer = answer(openai::completion("Paris"));
    for (key, expected) in [
        ("request_id", "string"),
        ("instance_name", "string"),
        ("response", "string"),
        ("model_name", "string"),
        ("finish_reason", "string"),
        ("usage", "object"),
        ("cost", "null"),
        ("confidence_score", "null"),
        ("confidence_method", "null"),
        ("fallback_used", "boolean"),
        ("fallback_from", "null"),
        ("cached", "boolean"),
        ("attempts", "number"),
        ("latency_ms", "number"),
        ("tool_calls", "null"),
        ("thinking", "null"),
        ("parsed", "null"),
        ("message", "object"),
        ("logprobs", "null"),
        ("provider_response_id", "string"),
    ] {
        assert_eq!(answer.get(key).map(kind), Some(expected), "{key} of {answer}");
    }
    for (key, expected) in [
        ("response", json!("Paris")),
        ("instance_name", json!("m")),
        ("model_name", json!(openai::MODEL)),
        ("finish_reason", json!("stop")),
        ("fallback_used", json!(false)),
        ("cached", json!(false)),
        ("attempts", json!(1)),
    ] {
        assert_eq!(answer[key], expected, "{key} of {answer}");
    }
    assert!(answer["latency_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{answer}");
}

#[test]
fn request_ids_are_uuids_in_the_order_of_their_calls() {
    let mut asked = Asked::echo();
    let sql = "SELECT ids[1] < ids[2] AND ids[2] < ids[3] AND ids[1]::text LIKE '________-____-7%' \
                 FROM (SELECT array_agg((pg_llm_chat_json('m', 'Hello ' || i || pg_sleep(0.002)) ->> 'request_id')::uuid ORDER BY i) \
                         FROM generate_series(1, 3) AS i) AS t (ids)";
    assert!(asked.value::<bool>(sql, &[]).unwrap());
}

#[test]
fn usage_has_one_meaning_for_all_providers_and_keeps_the_providers_own() {
    let message = json!({"role": "assistant", "content": "Paris"});
    let given = json!({
        "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
        "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 8}, "completion_tokens_details": {"reasoning_tokens": 12},
    });
    for (given, expected) in [
        (
            given.clone(),
            json!({"input_tokens": 100, "output_tokens": 20, "total_tokens": 120, "cached_tokens": 64, "cache_write_tokens": 8,
                   "reasoning_tokens": 12, "raw": given}),
        ),
        (
            json!({"prompt_tokens": 3, "completion_tokens": 4}),
            json!({"input_tokens": 3, "output_tokens": 4, "total_tokens": 7, "cached_tokens": null, "cache_write_tokens": null,
                   "reasoning_tokens": null, "raw": {"prompt_tokens": 3, "completion_tokens": 4}}),
        ),
        (Value::Null, json!({})),
        (json!({}), json!({})),
    ] {
        let body = openai::message_body(message.clone(), "stop", given.clone());
        assert_eq!(answer(Reply::json(200, body))["usage"], expected, "of {given}");
    }
}

#[test]
fn unknown_token_counts_are_null_and_never_zero() {
    let mut body = openai::completion_body("Paris");
    body["usage"] = json!({"prompt_tokens": 5});
    let usage = answer(Reply::json(200, body))["usage"].clone();
    assert_eq!((&usage["input_tokens"], &usage["output_tokens"], &usage["total_tokens"]), (&json!(5), &Value::Null, &Value::Null));
}

#[test]
fn confidence_comes_from_log_probabilities_or_is_null() {
    let token = |p: f64| json!({"token": "x", "logprob": p.ln(), "bytes": null, "top_logprobs": []});
    let with = |logprobs: Value| {
        let mut body = openai::completion_body("Paris");
        body["choices"][0]["logprobs"] = logprobs;
        answer(Reply::json(200, body))
    };
    let sure = with(json!({"content": [token(0.5), token(0.125)]}));
    assert!((sure["confidence_score"].as_f64().unwrap() - 0.25).abs() < 1e-9, "{sure}");
    assert_eq!(sure["confidence_method"], "logprobs");
    for nothing in [Value::Null, json!({}), json!({"content": null}), json!({"content": []})] {
        let unsure = with(nothing.clone());
        assert_eq!((&unsure["confidence_score"], &unsure["confidence_method"]), (&Value::Null, &Value::Null), "{nothing}");
    }
}

#[test]
fn tool_calls_come_back_as_data_and_can_be_sent_back_as_they_came() {
    let mut asked = answering(openai::tool_call("weather", "{\"city\": \"Köln\", \"days\": 2}"));
    let options = json!({"tools": [{"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}]});
    let answer = asked.chat_json("What is the weather?", &options).unwrap().unwrap();
    assert_eq!((&answer["response"], &answer["finish_reason"]), (&json!(""), &json!("tool_calls")));
    let call = json!({"id": "call_test", "name": "weather", "arguments": {"city": "Köln", "days": 2}, "signature": null});
    assert_eq!(answer["tool_calls"], json!([call]));
    assert_eq!(asked.says("Hello"), "", "there is no text");

    asked.upstream.on(Asked::PATH).reply(openai::completion("Rain."));
    let history = json!({"messages": [
        {"role": "user", "content": "What is the weather?"},
        {"role": "assistant", "content": null, "tool_calls": answer["tool_calls"]},
        {"role": "tool", "tool_call_id": "call_test", "content": "{\"rain\": true}"},
    ]});
    assert_eq!(asked.chat("So?", &history).unwrap().unwrap(), "Rain.");
    let sent = asked.sent();
    assert_eq!(sent["messages"][1]["tool_calls"][0]["id"], "call_test");
    let arguments: Value = serde_json::from_str(sent["messages"][1]["tool_calls"][0]["function"]["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(arguments, json!({"city": "Köln", "days": 2}));
    assert_eq!(sent["messages"][2], json!({"role": "tool", "tool_call_id": "call_test", "content": "{\"rain\": true}"}));
}

#[test]
fn arguments_that_are_not_json_are_kept_as_text() {
    assert_eq!(answer(openai::tool_call("f", "{\"x\": "))["tool_calls"][0]["arguments"], "{\"x\": ");
}

#[test]
fn thinking_is_shown_apart_from_the_answer() {
    for name in ["reasoning_content", "reasoning"] {
        let message = json!({"role": "assistant", "content": "Paris", name: "France, so..."});
        let mut asked = answering(Reply::json(200, openai::message_body(message, "stop", openai::usage(7, 1))));
        assert_eq!(asked.says("Hello"), "Paris");
        let answer = asked.chat_json("Hello", &json!({})).unwrap().unwrap();
        assert_eq!(answer["response"], "Paris");
        assert_eq!((&answer["thinking"][0]["type"], &answer["thinking"][0]["text"]), (&json!("thinking"), &json!("France, so...")));
    }
}

#[test]
fn parsed_holds_the_answer_when_json_was_asked_for_and_came() {
    let mut asked = Asked::echo();
    let schema = json!({"type": "object", "properties": {"you_said": {"type": "string"}}, "required": ["you_said"]});
    for format in
        [json!("json"), json!({"type": "json_object"}), schema.clone(), json!({"type": "json_schema", "json_schema": {"schema": schema}})]
    {
        let answer = asked.chat_json("Hello", &json!({"response_format": format})).unwrap().unwrap();
        assert_eq!(answer["parsed"], json!({"you_said": "Hello"}), "{format}");
        assert_eq!(answer["response"], "{\"you_said\":\"Hello\"}");
    }
    assert_eq!(asked.chat_json("1", &json!({"response_format": "text"})).unwrap().unwrap()["parsed"], Value::Null);
    asked.upstream.next(openai::completion("{\"broken\": "));
    assert_eq!(asked.chat_json("Hello", &json!({"response_format": "json"})).unwrap().unwrap()["parsed"], Value::Null);
    asked.upstream.next(openai::completion("{\"not\": \"asked for\"}"));
    assert_eq!(asked.chat_json("Hello", &json!({})).unwrap().unwrap()["parsed"], Value::Null);
}

#[test]
fn the_reason_to_finish_is_one_of_four_words_or_the_providers_own() {
    for (given, expected) in [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("max_tokens", "length"),
        ("boredom", "boredom"),
    ] {
        let body = openai::message_body(json!({"role": "assistant", "content": "Pa"}), given, openai::usage(1, 1));
        assert_eq!(answer(Reply::json(200, body))["finish_reason"], expected, "{given}");
    }
}

#[test]
fn a_compressed_answer_is_read() {
    let mut asked = answering(openai::completion("Paris 🦀").gzip());
    assert_eq!(asked.says("Hello"), "Paris 🦀");
    asked.upstream.on(Asked::PATH).reply(openai::completion("Paris").until_close());
    assert_eq!(asked.says("Hello"), "Paris");
}

/// A refusal is what the model said.
#[test]
fn a_refusal_is_an_answer() {
    assert_eq!(answer(openai::refusal("I will not."))["response"], "I will not.");
}

#[test]
fn an_empty_text_is_an_answer() {
    assert_eq!(answer(openai::completion(""))["response"], "");
}
