//! What is sent, byte for byte, in files under `tests/golden/`.
#![allow(clippy::unwrap_used, clippy::panic)] // this is how a test fails

use std::path::PathBuf;

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{golden, pretty};
use pg_llm_provider_openai::{describe, encode};

fn check(name: &str, request: &ChatRequest, mode: Mode) {
    let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "golden", &format!("{name}.http")].iter().collect();
    golden(file, &pretty(&encode(request, mode).unwrap()));
}

/// The settings of a profile, overlaid with these.
fn settings(profile: &str, overlay: &Value) -> String {
    let profile = describe().profiles.into_iter().find(|known| known.name == profile).unwrap();
    let mut settings: Map<String, Value> = serde_json::from_str(&profile.settings).unwrap();
    settings.extend(overlay.as_object().unwrap().clone());
    Value::Object(settings).to_string()
}

fn simple(profile: &str, overlay: &Value) -> ChatRequest {
    let mut request = ChatRequest::new("some/model", vec![Message::system("Be brief."), Message::user("Hello, wörld 🦀")]);
    request.settings = settings(profile, overlay);
    request.sampling.max_tokens = Some(100);
    request.sampling.seed = Some(-7);
    request
}

fn everything() -> ChatRequest {
    let call = ToolCall { id: "call_1".into(), name: "weather".into(), arguments: r#"{"city":"Köln"}"#.into(), signature: None };
    let signed = ToolCall { id: "call_2".into(), name: "now".into(), arguments: String::new(), signature: Some("c2ln".into()) };
    let result = |id: &str, content: &str, is_error| {
        Part::ToolResult(ToolResult { call_id: id.into(), name: Some("weather".into()), content: content.into(), is_error })
    };
    let image = Media { detail: Some("low".into()), ..Media::bytes(*b"\x89PNG\r\n\x1a\n", "image/png") };
    let document = Media { name: Some("a.pdf".into()), media_type: None, ..Media::bytes(*b"%PDF-1.7", "") };
    ChatRequest {
        model: "gpt-x".into(),
        settings: settings("openai", &json!({ "organization": "org-1", "project": "proj-1", "headers": { "x-title": "t" } })),
        messages: vec![
            Message::system("One."),
            Message {
                role: Role::User,
                parts: vec![
                    Part::Text("Look:".into()),
                    Part::Image(image),
                    Part::Image(Media::url("https://example.org/a.jpg")),
                    Part::Document(document),
                ],
            },
            Message {
                role: Role::Assistant,
                parts: vec![
                    Part::Thinking(Thinking { text: "Hm.".into(), signature: None, redacted: false }),
                    Part::ToolCall(call),
                    Part::ToolCall(signed),
                ],
            },
            Message { role: Role::Tool, parts: vec![result("call_1", "12 degrees", false), result("call_2", "no clock", true)] },
            Message { role: Role::User, parts: vec![Part::Text("And".into()), Part::Text("now?".into())] },
        ],
        sampling: Sampling {
            temperature: Some(0.7),
            top_p: Some(0.9),
            top_k: Some(40),
            max_tokens: Some(256),
            stop: vec!["END".into(), "\n\n".into()],
            seed: Some(42),
            presence_penalty: Some(0.5),
            frequency_penalty: Some(-0.5),
            logprobs: Some(3),
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
        tool_choice: Some(ToolChoice::Named("weather".into())),
        response_format: Some(ResponseFormat::JsonSchema(JsonSchemaFormat {
            name: "answer".into(),
            schema: r#"{"type":"object","properties":{"why":{"type":"string"},"answer":{"type":"string"}}}"#.into(),
            strict: true,
        })),
        reasoning: Some(Reasoning { effort: Some("low".into()), budget_tokens: None }),
        extra_body: Some(r#"{"temperature":null,"parallel_tool_calls":false,"stop":["X"]}"#.into()),
    }
}

#[test]
fn everything_that_a_request_can_hold_has_its_place_on_the_wire() {
    check("everything", &everything(), Mode::Whole);
}

#[test]
fn responses_gets_the_same_in_its_own_words() {
    let mut request = everything();
    let mut settings: Map<String, Value> = serde_json::from_str(&request.settings).unwrap();
    settings.extend([("api".to_owned(), json!("responses")), ("reasoning_summary".to_owned(), json!("auto"))]);
    request.settings = Value::Object(settings).to_string();
    request.messages.insert(3, Message::system("Later."));
    request.messages[1].parts.push(Part::Document(Media::url("https://example.org/b.pdf")));
    request.sampling =
        Sampling { stop: Vec::new(), seed: None, top_k: None, presence_penalty: None, frequency_penalty: None, ..request.sampling };
    request.extra_body = Some(r#"{"truncation":"auto"}"#.into());
    check("responses", &request, Mode::Whole);
    let mut plain = simple("openai", &json!({ "api": "responses", "include": [], "store": true }));
    plain.sampling.seed = None;
    check("responses_stream", &plain, Mode::Stream);
}

#[test]
fn azures_responses_are_asked_without_a_version_unless_by_their_older_path() {
    let path = |overlay: &Value| {
        let mut request = simple("azure-openai", overlay);
        request.sampling.seed = None;
        encode(&request, Mode::Whole).unwrap().path_with_query
    };
    assert_eq!(path(&json!({ "api": "responses" })), "/openai/v1/responses");
    let older = json!({ "api": "responses", "responses_path": "/openai/responses", "api_version": "2025-04-01-preview" });
    assert_eq!(path(&older), "/openai/responses?api-version=2025-04-01-preview");
}

#[test]
fn what_responses_has_no_place_for_is_refused_in_words() {
    let refused = |change: fn(&mut ChatRequest)| {
        let mut request = simple("openai", &json!({ "api": "responses" }));
        request.sampling.seed = None;
        change(&mut request);
        let failure = encode(&request, Mode::Whole).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unsupported, "{failure:?}");
    };
    refused(|request| request.sampling.seed = Some(1));
    refused(|request| request.sampling.stop = vec!["END".into()]);
    refused(|request| request.sampling.top_k = Some(1));
    refused(|request| request.sampling.presence_penalty = Some(0.1));
    refused(|request| request.sampling.frequency_penalty = Some(0.1));
    refused(|request| request.reasoning = Some(Reasoning { effort: None, budget_tokens: Some(1000) }));
}

#[test]
fn a_stream_asks_for_its_usage() {
    check("openai_stream", &simple("openai", &json!({})), Mode::Stream);
}

#[test]
fn each_endpoint_gets_what_its_profile_says() {
    for profile in ["openai-compatible", "azure-openai", "deepseek", "mistral", "openrouter", "vllm", "qwen"] {
        let mut request = simple(profile, &json!({}));
        if !["openai-compatible", "azure-openai"].contains(&profile) {
            request.reasoning = Some(Reasoning { effort: Some("high".into()), budget_tokens: None });
        }
        check(profile, &request, Mode::Stream);
    }
}

#[test]
fn azure_takes_a_token_instead_of_a_key() {
    let overlay =
        json!({ "oauth2_token_url": "https://login.example/token", "oauth2_scopes": ["https://cognitiveservices.azure.com/.default"] });
    check("azure_oauth2", &simple("azure-openai", &overlay), Mode::Whole);
}

#[test]
fn thinking_goes_back_only_within_a_loop_of_tool_calls() {
    let thought = |text: &str| Part::Thinking(Thinking { text: text.into(), signature: None, redacted: false });
    let call = |id: &str| Part::ToolCall(ToolCall { id: id.into(), name: "f".into(), arguments: "{}".into(), signature: None });
    let mut request = simple("deepseek", &json!({}));
    request.messages = vec![
        Message::user("one"),
        Message { role: Role::Assistant, parts: vec![thought("old thought"), Part::Text("1".into())] },
        Message::user("two"),
        Message { role: Role::Assistant, parts: vec![thought("new thought"), call("c")] },
        Message {
            role: Role::Tool,
            parts: vec![Part::ToolResult(ToolResult { call_id: "c".into(), name: None, content: "2".into(), is_error: false })],
        },
    ];
    check("deepseek_tool_loop", &request, Mode::Whole);
}

#[test]
fn documents_go_as_the_endpoint_takes_them() {
    let mut request = simple("mistral", &json!({}));
    request.messages = vec![Message {
        role: Role::User,
        parts: vec![Part::Document(Media { name: Some("a.pdf".into()), ..Media::url("https://example.org/a.pdf") })],
    }];
    check("mistral_document", &request, Mode::Whole);
    for profile in ["openai", "deepseek"] {
        request.settings = settings(profile, &json!({}));
        assert_eq!(encode(&request, Mode::Whole).unwrap_err().kind, FailureKind::Unsupported, "{profile}");
    }
}

#[test]
fn a_budget_of_thinking_tokens_is_refused_where_it_would_be_ignored() {
    let budget = |profile: &str, tokens| {
        let mut request = simple(profile, &json!({}));
        request.reasoning = Some(Reasoning { effort: None, budget_tokens: Some(tokens) });
        encode(&request, Mode::Whole).map(|http| serde_json::from_slice::<Value>(&http.body).unwrap())
    };
    assert_eq!(budget("openai", 1000).unwrap_err().kind, FailureKind::Unsupported);
    assert_eq!(budget("openai", 0).unwrap()["reasoning_effort"], "none");
    assert_eq!(budget("qwen", 1000).unwrap()["thinking_budget"], 1000);
    assert_eq!(budget("qwen", 0).unwrap()["enable_thinking"], false);
    assert_eq!(budget("openrouter", 1000).unwrap()["reasoning"], json!({ "max_tokens": 1000 }));
    assert_eq!(budget("deepseek", 0).unwrap()["thinking"], json!({ "type": "disabled" }));
}

#[test]
fn what_cannot_be_sent_is_the_callers_mistake_and_no_panic() {
    let broken = |change: fn(&mut ChatRequest)| {
        let mut request = everything();
        change(&mut request);
        let failure = encode(&request, Mode::Whole).unwrap_err();
        assert_eq!(failure.kind, FailureKind::InvalidRequest, "{failure:?}");
    };
    broken(|request| request.settings = "[]".into());
    broken(|request| request.settings = r#"{"chat_path":1}"#.into());
    broken(|request| request.settings = r#"{"reasoning_style":"loud"}"#.into());
    broken(|request| request.settings = r#"{"headers":{"x":1}}"#.into());
    broken(|request| request.extra_body = Some("1".into()));
    broken(|request| request.extra_body = Some("{".into()));
    broken(|request| request.tools[0].parameters = "null".into());
    broken(|request| request.sampling.top_p = Some(f64::NAN));
    broken(|request| request.messages[2].role = Role::User);
    broken(|request| request.messages[1].role = Role::Tool);
}

#[test]
fn every_profile_only_sets_what_the_schema_lists() {
    let description = describe();
    let schema: Value = serde_json::from_str(&description.settings_schema).unwrap();
    let mut names: Vec<&str> = description.profiles.iter().map(|profile| profile.name.as_str()).collect();
    names.extend(description.profiles.iter().flat_map(|profile| profile.aliases.iter().map(String::as_str)));
    for profile in &description.profiles {
        let settings: Map<String, Value> = serde_json::from_str(&profile.settings).unwrap();
        for (name, value) in settings {
            let known = &schema["properties"][&name];
            assert!(known.is_object(), "{}: {name}", profile.name);
            if let Some(values) = known["enum"].as_array() {
                assert!(values.contains(&value), "{}: {name} = {value}", profile.name);
            }
        }
        encode(&simple(&profile.name, &json!({})), Mode::Stream).unwrap();
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a name is given twice");
    assert_eq!(description.profiles[0].name, "openai");
    assert_eq!(description.profiles[0].aliases, ["chatgpt"]);
}
