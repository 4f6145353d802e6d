//! Options, and a model's defaults, as the upstream receives them.

use pg_llm_tests::Asked;
use pg_llm_upstream::Upstream;
use serde_json::{Value, json};

/// One red pixel, or the beginning of one.
const PNG: &str = "iVBORw0KGgo=";

#[test]
fn what_nobody_sets_is_not_sent() {
    let mut asked = Asked::echo();
    asked.says("Hello");
    assert_eq!(asked.sent(), json!({"model": "m", "messages": [{"role": "user", "content": "Hello"}]}));
}

#[test]
fn every_option_reaches_the_wire() {
    let mut asked = Asked::echo();
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let tool = json!({"type": "function", "function": {"name": "weather", "description": "looks out", "parameters": parameters}});
    let schema = json!({"type": "object", "properties": {"you_said": {}}, "required": ["you_said"], "additionalProperties": false});
    for (options, place, expected) in [
        (json!({"temperature": 0}), "/temperature", json!(0.0)),
        (json!({"temperature": 0.7}), "/temperature", json!(0.7)),
        (json!({"top_p": 0.9}), "/top_p", json!(0.9)),
        (json!({"top_k": 40}), "/top_k", json!(40)),
        (json!({"max_tokens": 100}), "/max_tokens", json!(100)),
        (json!({"stop": "END"}), "/stop", json!(["END"])),
        (json!({"stop": ["a", "ü\n"]}), "/stop", json!(["a", "ü\n"])),
        (json!({"seed": -9_007_199_254_740_993_i64}), "/seed", json!(-9_007_199_254_740_993_i64)),
        (json!({"presence_penalty": -1.5}), "/presence_penalty", json!(-1.5)),
        (json!({"frequency_penalty": 0.25}), "/frequency_penalty", json!(0.25)),
        (json!({"logprobs": true}), "/logprobs", json!(true)),
        (json!({"logprobs": 3}), "/top_logprobs", json!(3)),
        (json!({"system": "Be brief."}), "/messages/0", json!({"role": "system", "content": "Be brief."})),
        (json!({"reasoning_effort": "low"}), "/reasoning_effort", json!("low")),
        (json!({"response_format": "json"}), "/response_format", json!({"type": "json_object"})),
        (
            json!({"response_format": schema}),
            "/response_format",
            json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": true}}),
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": false}}}),
            "/response_format/json_schema",
            json!({"name": "n", "schema": schema, "strict": false}),
        ),
        (json!({"tools": [tool]}), "/tools", json!([tool])),
        (json!({"tools": [tool["function"]]}), "/tools", json!([tool])),
        (
            json!({"tools": [{"name": "now"}]}),
            "/tools/0/function",
            json!({"name": "now", "parameters": {"type": "object", "properties": {}}}),
        ),
        (json!({"tools": [{"name": "now", "strict": true}]}), "/tools/0/function/strict", json!(true)),
        (json!({"tools": [tool], "tool_choice": "required"}), "/tool_choice", json!("required")),
        (json!({"tools": [tool], "tool_choice": "none"}), "/tool_choice", json!("none")),
        (
            json!({"tools": [tool], "tool_choice": {"name": "weather"}}),
            "/tool_choice",
            json!({"type": "function", "function": {"name": "weather"}}),
        ),
        (json!({"extra_body": {"user": "u1", "nested": {"a": [1, null]}}}), "/nested", json!({"a": [1, null]})),
        (json!({"temperature": 0, "extra_body": {"temperature": 1.5}}), "/temperature", json!(1.5)),
        (json!({"images": ["https://example.com/a.png"]}), "/messages/0/content/1/image_url/url", json!("https://example.com/a.png")),
        (json!({"images": [PNG]}), "/messages/0/content/1/image_url/url", json!(format!("data:image/png;base64,{PNG}"))),
        (
            json!({"images": format!("data:image/jpeg;base64,{PNG}")}),
            "/messages/0/content/1/image_url/url",
            json!(format!("data:image/jpeg;base64,{PNG}")),
        ),
        (
            json!({"images": [PNG, {"data": PNG, "media_type": "image/webp", "detail": "low"}]}),
            "/messages/0/content/2/image_url",
            json!({"url": format!("data:image/webp;base64,{PNG}"), "detail": "low"}),
        ),
    ] {
        asked.chat("Hello", &options).unwrap_or_else(|error| panic!("{options}: {error:?}"));
        assert_eq!(asked.sent().pointer(place), Some(&expected), "{options} in {}", asked.sent());
    }
}

#[test]
fn a_conversation_goes_before_the_prompt_and_after_the_system() {
    let mut asked = Asked::echo();
    let options = json!({
        "system": "S",
        "messages": [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": [{"type": "text", "text": "three"}, {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]},
        ],
    });
    asked.chat("four", &options).unwrap();
    assert_eq!(
        asked.sent()["messages"],
        json!([
            {"role": "system", "content": "S"},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": [{"type": "text", "text": "three"}, {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]},
            {"role": "user", "content": "four"},
        ])
    );
}

#[test]
fn a_calls_options_win_over_its_models_defaults() {
    let defaults = json!({
        "model_name": "large", "system": "Default.", "temperature": 0.9, "top_p": 0.5, "max_tokens": 7, "stop": ["x"], "seed": 1,
        "extra_body": {"a": 1, "b": 1},
    });
    let mut asked = Asked::at(Upstream::start_echo(), defaults);
    asked.says("Hello");
    let default = json!({
        "model": "large", "temperature": 0.9, "top_p": 0.5, "max_tokens": 7, "stop": ["x"], "seed": 1, "a": 1, "b": 1,
        "messages": [{"role": "system", "content": "Default."}, {"role": "user", "content": "Hello"}],
    });
    assert_eq!(asked.sent(), default);
    asked.chat("Hello", &json!({"temperature": 0, "system": "Mine.", "stop": [], "top_p": null, "extra_body": {"b": 2, "c": 3}})).unwrap();
    let mut expected = default;
    for (name, value) in [("temperature", json!(0.0)), ("b", json!(2)), ("c", json!(3))] {
        expected[name] = value;
    }
    expected["messages"][0]["content"] = json!("Mine.");
    expected.as_object_mut().unwrap().remove("stop");
    assert_eq!(asked.sent(), expected);
}

#[test]
fn a_call_can_take_its_models_defaults_away() {
    let mut asked = Asked::at(
        Upstream::start_echo(),
        json!({"system": "Default.", "stop": ["x"], "logprobs": 2, "tools": [{"name": "now"}], "tool_choice": "auto"}),
    );
    asked.says("Hello");
    assert_eq!((&asked.sent()["top_logprobs"], &asked.sent()["tools"][0]["type"]), (&json!(2), &json!("function")));
    asked.chat("Hello", &json!({"system": "", "stop": [], "logprobs": false, "tools": [], "tool_choice": "none"})).unwrap();
    let mut sent = asked.sent();
    sent.as_object_mut().unwrap().remove("tool_choice");
    assert_eq!(sent, json!({"model": "m", "messages": [{"role": "user", "content": "Hello"}]}));
}

#[test]
fn each_profile_speaks_its_own_dialect() {
    let mut asked = Asked::echo();
    let options = json!({"max_tokens": 5, "seed": 3});
    for (model_type, fields) in [
        ("openai", ["max_completion_tokens", "seed"]),
        ("chatgpt", ["max_completion_tokens", "seed"]),
        ("openai-compatible", ["max_tokens", "seed"]),
        ("mistral", ["max_tokens", "random_seed"]),
        ("deepseek", ["max_tokens", "seed"]),
        ("vllm", ["max_tokens", "seed"]),
    ] {
        asked.add(model_type, "m", &json!({}));
        asked.chat("Hello", &options).unwrap();
        let sent = asked.sent();
        let mut names: Vec<_> = sent.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        let mut expected = vec!["messages", "model", fields[0], fields[1]];
        expected.sort_unstable();
        assert_eq!(names, expected, "{model_type}");
    }
}

#[test]
fn settings_of_the_adapter_stand_in_the_models_configuration() {
    let mut asked = Asked::echo();
    asked.add("openai", "m", &json!({"organization": "org-1", "project": "p-1", "headers": {"x-team": "blue"}, "max_tokens_field": "max_tokens", "system_role": "developer"}));
    asked.chat("Hello", &json!({"max_tokens": 5, "system": "S"})).unwrap();
    let request = asked.upstream.last_request().unwrap();
    assert_eq!(request.header("openai-organization"), Some("org-1"));
    assert_eq!(request.header("openai-project"), Some("p-1"));
    assert_eq!(request.header("x-team"), Some("blue"));
    assert_eq!((&request.json()["max_tokens"], &request.json()["messages"][0]["role"]), (&json!(5), &json!("developer")));

    asked.add("azure-openai", "deployment 1", &json!({"api_version": "2099-01-01"}));
    let _: Option<Value> = asked.value("SELECT pg_llm_chat_json('deployment 1', 'Hello')", &[]).unwrap();
    let request = asked.upstream.last_request().unwrap();
    assert_eq!(request.target, "/v1/openai/deployments/deployment%201/chat/completions?api-version=2099-01-01");
    assert_eq!((request.header("api-key"), request.header("authorization")), (Some(Asked::KEY), None));
}
