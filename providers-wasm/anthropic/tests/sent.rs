//! What is sent, byte for byte, in files under `tests/golden/`.
#![allow(clippy::unwrap_used, clippy::panic)] // this is how a test fails

use std::path::PathBuf;

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{golden, pretty};
use pg_llm_provider_anthropic::{Anthropic, encode};

fn check(name: &str, http: &HttpRequest) {
    let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "golden", &format!("{name}.http")].iter().collect();
    golden(file, &pretty(http));
}

fn simple(settings: &Value) -> ChatRequest {
    let mut request = ChatRequest::new("claude-x", vec![Message::system("Be brief."), Message::user("Hello, wörld 🦀")]);
    request.settings = settings.to_string();
    request
}

fn body(request: &ChatRequest) -> Value {
    serde_json::from_slice(&encode(request, Mode::Whole).unwrap().body).unwrap()
}

fn kind(request: &ChatRequest) -> FailureKind {
    encode(request, Mode::Whole).unwrap_err().kind
}

fn thinking(text: &str, signature: Option<&str>, redacted: bool) -> Part {
    Part::Thinking(Thinking { text: text.into(), signature: signature.map(str::to_owned), redacted })
}

fn call(id: &str, name: &str, arguments: &str) -> Part {
    Part::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), signature: None })
}

fn result(id: &str, content: &str, is_error: bool) -> Part {
    Part::ToolResult(ToolResult { call_id: id.into(), name: Some("weather".into()), content: content.into(), is_error })
}

fn schema() -> ResponseFormat {
    ResponseFormat::JsonSchema(JsonSchemaFormat {
        name: "verdict".into(),
        schema: r#"{"type":"object","properties":{"why":{"type":"string"},"answer":{"type":"string"}},"required":["why","answer"],"additionalProperties":false}"#.into(),
        strict: true,
    })
}

fn everything() -> ChatRequest {
    let pdf = Media { name: Some("a.pdf".into()), media_type: None, ..Media::bytes(*b"%PDF-1.7", "") };
    let notes = Media { name: Some("notes.md".into()), ..Media::bytes("Grüße".as_bytes(), "text/markdown") };
    ChatRequest {
        model: "claude-x".into(),
        settings:
            json!({ "prompt_caching": "1h", "anthropic_beta": ["one-2026-01-01", "two-2026-02-02"], "thinking_display": "summarized" })
                .to_string(),
        messages: vec![
            Message::system("One."),
            Message::system("Two."),
            Message {
                role: Role::User,
                parts: vec![
                    Part::Text("Look:".into()),
                    Part::Image(Media { detail: Some("low".into()), ..Media::bytes(*b"\x89PNG\r\n\x1a\n", "") }),
                    Part::Image(Media::url("https://example.org/a.jpg")),
                    Part::Document(pdf),
                    Part::Document(notes),
                    Part::Document(Media::url("https://example.org/b.pdf")),
                ],
            },
            Message {
                role: Role::Assistant,
                parts: vec![
                    thinking("Hm.", Some("c2ln+/="), false),
                    thinking("", Some("cmVk+/="), true),
                    thinking("from another provider", None, false),
                    Part::Text("I look.".into()),
                    call("toolu_1", "weather", r#"{"city":"Köln","days":2}"#),
                    call("toolu_2", "now", ""),
                ],
            },
            Message { role: Role::Tool, parts: vec![result("toolu_1", "12 degrees", false)] },
            Message { role: Role::Tool, parts: vec![result("toolu_2", "no clock", true)] },
            Message { role: Role::User, parts: vec![Part::Text("And".into()), Part::Text(String::new()), Part::Text("now?".into())] },
        ],
        sampling: Sampling {
            temperature: Some(1.0),
            top_p: Some(0.95),
            top_k: Some(40),
            max_tokens: Some(8192),
            stop: vec!["END".into(), "\n\nHuman:".into()],
            ..Sampling::default()
        },
        tools: vec![
            Tool {
                name: "weather".into(),
                description: Some("Tells the weather.".into()),
                parameters: r#"{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"string"}}}"#.into(),
                strict: Some(true),
            },
            Tool { name: "now".into(), description: None, parameters: r#"{"type":"object"}"#.into(), strict: None },
        ],
        tool_choice: Some(ToolChoice::Auto),
        response_format: Some(schema()),
        reasoning: Some(Reasoning { effort: Some("high".into()), budget_tokens: Some(2048) }),
        extra_body: Some(r#"{"top_k":null,"metadata":{"user_id":"u"},"stop_sequences":["X"]}"#.into()),
    }
}

#[test]
fn everything_that_a_request_can_hold_has_its_place_on_the_wire() {
    check("everything", &encode(&everything(), Mode::Whole).unwrap());
}

#[test]
fn a_plain_request_is_small() {
    check("plain_stream", &encode(&simple(&json!({})), Mode::Stream).unwrap());
}

#[test]
fn a_gateway_gets_the_path_and_the_header_that_it_wants() {
    let settings = json!({ "path_prefix": "", "auth_header": "authorization", "anthropic_version": "2099-01-01", "max_tokens": 100 });
    check("gateway", &encode(&simple(&settings), Mode::Whole).unwrap());
}

#[test]
fn models_are_asked_for_page_after_page() {
    check("models", &Anthropic::encode_list("{}", None).unwrap());
    check("models_next", &Anthropic::encode_list(r#"{"anthropic_beta":["b"]}"#, Some("claude x")).unwrap());
}

#[test]
fn an_effort_lets_the_model_think_as_it_sees_fit() {
    let mut request = simple(&json!({ "thinking_display": "summarized" }));
    request.reasoning = Some(Reasoning { effort: Some("low".into()), budget_tokens: None });
    let sent = body(&request);
    assert_eq!(sent["thinking"], json!({ "type": "adaptive", "display": "summarized" }));
    assert_eq!(sent["output_config"], json!({ "effort": "low" }));
    request.settings = json!({ "adaptive_thinking": false }).to_string();
    let sent = body(&request);
    assert_eq!((sent.get("thinking"), &sent["output_config"]), (None, &json!({ "effort": "low" })));
}

#[test]
fn no_effort_and_a_budget_of_nothing_turn_thinking_off() {
    for reasoning in [Reasoning { effort: Some("none".into()), budget_tokens: None }, Reasoning { effort: None, budget_tokens: Some(0) }] {
        let mut request = simple(&json!({ "thinking_display": "summarized" }));
        request.reasoning = Some(reasoning);
        let sent = body(&request);
        assert_eq!((&sent["thinking"], sent.get("output_config")), (&json!({ "type": "disabled" }), None));
    }
}

#[test]
fn the_bound_of_output_tokens_leaves_room_beyond_the_budget_of_thinking() {
    let tokens = |max_tokens: Option<u32>, budget: Option<u32>| {
        let mut request = simple(&json!({ "max_tokens": 1000 }));
        request.sampling.max_tokens = max_tokens;
        request.reasoning = Some(Reasoning { effort: None, budget_tokens: budget });
        encode(&request, Mode::Whole).map(|http| serde_json::from_slice::<Value>(&http.body).unwrap()["max_tokens"].clone())
    };
    assert_eq!(tokens(None, None).unwrap(), 1000);
    assert_eq!(tokens(None, Some(2000)).unwrap(), 3000);
    assert_eq!(tokens(Some(2001), Some(2000)).unwrap(), 2001);
    assert_eq!(tokens(Some(2000), Some(2000)).unwrap_err().kind, FailureKind::InvalidRequest);
    assert_eq!(body(&simple(&json!({})))["max_tokens"], 4096);
}

#[test]
fn tools_are_chosen_in_the_words_of_the_wire() {
    let choice = |choice: ToolChoice| {
        let mut request = everything();
        request.tool_choice = Some(choice);
        body(&request)["tool_choice"].clone()
    };
    assert_eq!(choice(ToolChoice::Auto), json!({ "type": "auto" }));
    assert_eq!(choice(ToolChoice::Required), json!({ "type": "any" }));
    assert_eq!(choice(ToolChoice::None), json!({ "type": "none" }));
    assert_eq!(choice(ToolChoice::Named("now".into())), json!({ "type": "tool", "name": "now" }));
}

#[test]
fn a_tool_that_must_be_called_stands_for_a_schema_where_the_model_knows_none() {
    let mut request = simple(&json!({ "schema_style": "tool" }));
    request.response_format = Some(schema());
    check("schema_as_tool", &encode(&request, Mode::Whole).unwrap());
    // Beside tools of the caller the model chooses among all of them.
    request.tools = everything().tools;
    let sent = body(&request);
    assert_eq!((sent["tool_choice"].clone(), sent["tools"].as_array().unwrap().len()), (json!({ "type": "any" }), 3));
    request.tool_choice = Some(ToolChoice::None);
    assert_eq!(body(&request)["tool_choice"], json!({ "type": "tool", "name": "verdict" }));
}

#[test]
fn later_system_messages_join_the_first_or_keep_their_place() {
    let mut request = simple(&json!({}));
    request.messages.push(Message::assistant("Hi."));
    request.messages.push(Message::user("Bye."));
    request.messages.push(Message::system("Be long."));
    let sent = body(&request);
    assert_eq!(sent["system"], json!([{ "type": "text", "text": "Be brief." }, { "type": "text", "text": "Be long." }]));
    assert_eq!(sent["messages"].as_array().unwrap().len(), 3);
    request.settings = json!({ "system_in_place": true }).to_string();
    let sent = body(&request);
    assert_eq!((&sent["system"], &sent["messages"][3]), (&json!("Be brief."), &json!({ "role": "system", "content": "Be long." })));
}

#[test]
fn consecutive_messages_of_one_role_are_one_turn_and_empty_ones_of_the_model_none() {
    let mut request = simple(&json!({}));
    request.messages = vec![
        Message::user("a"),
        Message::user("b"),
        Message::assistant(""),
        Message::assistant("c"),
        Message { role: Role::Assistant, parts: vec![call("t", "f", "{}")] },
        Message { role: Role::Tool, parts: vec![result("t", "", false)] },
        Message::user("d"),
        Message { role: Role::Assistant, parts: vec![thinking("unsigned", None, false)] },
    ];
    assert_eq!(
        body(&request)["messages"],
        json!([
            { "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] },
            { "role": "assistant", "content": [{ "type": "text", "text": "c" }, { "type": "tool_use", "id": "t", "name": "f", "input": {} }] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t", "content": "" }, { "type": "text", "text": "d" }] },
        ])
    );
}

#[test]
fn what_the_wire_has_no_place_for_is_refused_in_words() {
    let refused = |change: fn(&mut ChatRequest)| {
        let mut request = simple(&json!({}));
        change(&mut request);
        let failure = encode(&request, Mode::Whole).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unsupported, "{failure:?}");
    };
    refused(|request| request.sampling.seed = Some(1));
    refused(|request| request.sampling.presence_penalty = Some(0.5));
    refused(|request| request.sampling.frequency_penalty = Some(0.5));
    refused(|request| request.sampling.logprobs = Some(0));
    refused(|request| request.response_format = Some(ResponseFormat::JsonObject));
    refused(|request| {
        request.messages[1].parts.push(Part::Document(Media::bytes(*b"PK", "application/vnd.openxmlformats-officedocument")));
    });
}

#[test]
fn what_cannot_be_sent_is_the_callers_mistake_and_no_panic() {
    let broken = |change: fn(&mut ChatRequest)| {
        let mut request = everything();
        change(&mut request);
        assert_eq!(kind(&request), FailureKind::InvalidRequest, "{request:?}");
    };
    for settings in [
        "[]",
        r#"{"max_tokens":0}"#,
        r#"{"max_tokens":"many"}"#,
        r#"{"prompt_caching":"2h"}"#,
        r#"{"schema_style":"loud"}"#,
        r#"{"auth_header":"cookie"}"#,
        r#"{"anthropic_beta":[1]}"#,
        r#"{"thinking_display":1}"#,
    ] {
        let mut request = everything();
        request.sampling.max_tokens = None;
        request.settings = settings.into();
        assert_eq!(kind(&request), FailureKind::InvalidRequest, "{settings}");
    }
    broken(|request| request.extra_body = Some("1".into()));
    broken(|request| request.tools[0].parameters = "null".into());
    broken(|request| request.sampling.top_p = Some(f64::NAN));
    broken(|request| request.messages[3].parts[4] = call("x", "weather", "[1]"));
    broken(|request| request.messages[3].parts[4] = call("x", "weather", "{\"cut"));
    broken(|request| request.messages[3].role = Role::User);
    broken(|request| request.messages[2].role = Role::Tool);
    broken(|request| request.messages[2].role = Role::System);
    broken(|request| request.messages[2].parts.push(Part::Image(Media::bytes(*b"what?", ""))));
    broken(|request| request.messages[2].parts.push(Part::Document(Media::bytes([0xFF, 0xFE], "text/plain"))));
    broken(|request| {
        request.response_format = Some(ResponseFormat::JsonSchema(JsonSchemaFormat { name: "x".into(), schema: "1".into(), strict: true }));
    });
}

#[test]
fn the_profile_can_do_what_its_settings_allow() {
    let description = Anthropic::describe();
    let schema: Value = serde_json::from_str(&description.settings_schema).unwrap();
    assert_eq!((description.profiles[0].name.as_str(), &description.profiles[0].aliases[..]), ("anthropic", &["claude".to_owned()][..]));
    for (name, known) in schema["properties"].as_object().unwrap() {
        // Each default may be written down.
        if let Some(default) = known.get("default") {
            encode(&simple(&json!({ name: default })), Mode::Whole).unwrap();
        }
        for value in known["enum"].as_array().into_iter().flatten() {
            encode(&simple(&json!({ name: value })), Mode::Whole).unwrap();
        }
    }
}
