//! What is sent, byte for byte, in files under `tests/golden/`.
#![allow(clippy::unwrap_used, clippy::panic)] // this is how a test fails

use std::path::PathBuf;

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{golden, pretty};
use pg_llm_provider_cohere::{Cohere, TOOL_PLAN, describe, encode};

fn check(name: &str, request: &HttpRequest) {
    let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "golden", &format!("{name}.http")].iter().collect();
    golden(file, &pretty(request));
}

fn simple() -> ChatRequest {
    ChatRequest::new("command-a-03-2025", vec![Message::system("Be brief."), Message::user("Hello, wörld 🦀")])
}

/// The body of a request that can be sent.
fn sent(request: &ChatRequest) -> Value {
    serde_json::from_slice(&encode(request, Mode::Whole).unwrap().body).unwrap()
}

fn refused(request: &ChatRequest) -> FailureKind {
    encode(request, Mode::Whole).unwrap_err().kind
}

fn tool(name: &str, strict: Option<bool>) -> Tool {
    let parameters = r#"{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"string"}}}"#.into();
    Tool { name: name.into(), description: Some("Tells the weather.".into()), parameters, strict }
}

fn thought(text: &str, signature: Option<&str>) -> Part {
    Part::Thinking(Thinking { text: text.into(), signature: signature.map(str::to_owned), redacted: text.is_empty() })
}

fn call(id: &str, name: &str, arguments: &str) -> Part {
    Part::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), signature: None })
}

fn everything() -> ChatRequest {
    let result = |id: &str, content: &str, is_error| {
        Part::ToolResult(ToolResult { call_id: id.into(), name: Some("weather".into()), content: content.into(), is_error })
    };
    let image = Media { detail: Some("low".into()), ..Media::bytes(*b"\x89PNG\r\n\x1a\n", "image/png") };
    let document = Media { name: Some("a.txt".into()), media_type: None, ..Media::bytes("Grüße".as_bytes(), "") };
    ChatRequest {
        model: "command-a-vision".into(),
        settings: r#"{"safety_mode":"STRICT","citation_mode":"OFF","truncate":"NONE","max_tokens_per_doc":100}"#.into(),
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
                    thought("Hm.", None),
                    thought("", Some("c2VjcmV0")),
                    Part::Text("I look.".into()),
                    thought("I will ask.", Some(TOOL_PLAN)),
                    call("call_1", "weather", r#"{"city":"Köln"}"#),
                    call("call_2", "now", ""),
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
            frequency_penalty: Some(0.25),
            logprobs: Some(0),
        },
        tools: vec![tool("weather", Some(true)), Tool { description: None, ..tool("now", None) }],
        tool_choice: Some(ToolChoice::Required),
        response_format: Some(ResponseFormat::JsonSchema(JsonSchemaFormat {
            name: "answer".into(),
            schema: r#"{"type":"object","properties":{"why":{"type":"string"},"answer":{"type":"string"}}}"#.into(),
            strict: true,
        })),
        reasoning: Some(Reasoning { effort: Some("low".into()), budget_tokens: Some(500) }),
        extra_body: Some(r#"{"temperature":null,"priority":1,"stop_sequences":["X"]}"#.into()),
    }
}

#[test]
fn everything_that_a_request_can_hold_has_its_place_on_the_wire() {
    check("everything", &encode(&everything(), Mode::Whole).unwrap());
}

#[test]
fn a_plain_request_says_no_more_than_it_must() {
    check("simple", &encode(&simple(), Mode::Whole).unwrap());
    check("stream", &encode(&simple(), Mode::Stream).unwrap());
}

#[test]
fn the_models_words_go_back_where_they_came_from() {
    let turn = |parts| {
        let message = Message { role: Role::Assistant, parts };
        sent(&ChatRequest { messages: vec![message], ..simple() })["messages"][0].clone()
    };
    assert_eq!(turn(vec![]), json!({ "role": "assistant", "content": "" }));
    let only_calls = turn(vec![thought("I will.", Some(TOOL_PLAN)), call("c", "f", "{}")]);
    let f = json!([{ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } }]);
    assert_eq!(only_calls, json!({ "role": "assistant", "tool_plan": "I will.", "tool_calls": f }));
    // Signed by another provider: still what a model thought.
    let thinking = turn(vec![thought("Hm.", Some("c2ln")), Part::Text("Yes.".into())]);
    assert_eq!(thinking["content"], json!([{ "type": "thinking", "thinking": "Hm." }, { "type": "text", "text": "Yes." }]));
}

#[test]
fn a_tool_that_must_be_called_is_the_only_one() {
    let request = |choice| ChatRequest { tools: vec![tool("weather", None), tool("now", None)], tool_choice: Some(choice), ..simple() };
    let named = sent(&request(ToolChoice::Named("now".into())));
    assert_eq!((named["tools"].as_array().unwrap().len(), &named["tools"][0]["function"]["name"]), (1, &json!("now")));
    assert_eq!(named["tool_choice"], "REQUIRED");
    assert_eq!(refused(&request(ToolChoice::Named("then".into()))), FailureKind::InvalidRequest);
    let none = sent(&request(ToolChoice::None));
    assert_eq!((none["tools"].as_array().unwrap().len(), &none["tool_choice"]), (2, &json!("NONE")));
    assert_eq!(sent(&request(ToolChoice::Auto)).get("tool_choice"), None);
    assert_eq!(sent(&ChatRequest { tool_choice: Some(ToolChoice::None), ..simple() }).get("tool_choice"), None);
}

#[test]
fn tools_are_strict_all_together_or_not_at_all() {
    let strict = |one, other| sent(&ChatRequest { tools: vec![tool("a", one), tool("b", other)], ..simple() }).get("strict_tools").cloned();
    assert_eq!(strict(None, None), None);
    assert_eq!(strict(Some(true), None), Some(json!(true)));
    assert_eq!(strict(Some(false), None), Some(json!(false)));
    let mixed = ChatRequest { tools: vec![tool("a", Some(true)), tool("b", Some(false))], ..simple() };
    assert_eq!(refused(&mixed), FailureKind::Unsupported);
}

#[test]
fn thinking_is_off_on_or_bounded() {
    let thinking = |effort: Option<&str>, budget_tokens| {
        sent(&ChatRequest { reasoning: Some(Reasoning { effort: effort.map(str::to_owned), budget_tokens }), ..simple() })["thinking"]
            .clone()
    };
    assert_eq!(thinking(Some("none"), None), json!({ "type": "disabled" }));
    assert_eq!(thinking(None, Some(0)), json!({ "type": "disabled" }));
    assert_eq!(thinking(Some("high"), None), json!({ "type": "enabled" }));
    assert_eq!(thinking(None, Some(9)), json!({ "type": "enabled", "token_budget": 9 }));
}

#[test]
fn a_format_is_text_or_json_with_a_schema_or_without() {
    let format = |format| sent(&ChatRequest { response_format: Some(format), ..simple() })["response_format"].clone();
    assert_eq!(format(ResponseFormat::Text), json!({ "type": "text" }));
    assert_eq!(format(ResponseFormat::JsonObject), json!({ "type": "json_object" }));
}

#[test]
fn what_the_wire_cannot_express_is_refused_and_not_dropped() {
    let said = |part| ChatRequest { messages: vec![Message { role: Role::User, parts: vec![part] }], ..simple() };
    let sampled = |sampling| ChatRequest { sampling, ..simple() };
    for request in [
        said(Part::Document(Media::bytes(*b"%PDF-1.7", "application/pdf"))),
        said(Part::Document(Media::bytes(*b"\xFF\xFE", "text/plain"))),
        said(Part::Document(Media::url("https://example.org/a.txt"))),
        sampled(Sampling { logprobs: Some(2), ..Sampling::default() }),
        sampled(Sampling { seed: Some(-7), ..Sampling::default() }),
    ] {
        assert_eq!(refused(&request), FailureKind::Unsupported);
    }
}

#[test]
fn what_cannot_be_sent_is_the_callers_mistake_and_no_panic() {
    let broken = |change: fn(&mut ChatRequest)| {
        let mut request = everything();
        change(&mut request);
        assert_eq!(refused(&request), FailureKind::InvalidRequest);
    };
    broken(|request| request.settings = "[]".into());
    broken(|request| request.settings = r#"{"safety_mode":1}"#.into());
    broken(|request| request.settings = r#"{"citation_mode":false}"#.into());
    broken(|request| request.extra_body = Some("1".into()));
    broken(|request| request.extra_body = Some("{".into()));
    broken(|request| request.tools[0].parameters = "null".into());
    broken(|request| request.sampling.top_p = Some(f64::NAN));
    broken(|request| request.messages[2].role = Role::User);
    broken(|request| request.messages[1].role = Role::Tool);
    broken(|request| request.messages[1].role = Role::System);
    broken(|request| request.messages[1].role = Role::Assistant);
}

#[test]
fn embeddings_say_what_they_are_for() {
    let request = EmbedRequest {
        settings: r#"{"truncate":"NONE"}"#.into(),
        dimensions: Some(256),
        purpose: Some(Purpose::Query),
        extra_body: Some(r#"{"priority":1}"#.into()),
        ..EmbedRequest::new("embed-v4.0", vec!["one".into(), "zwei 🦀".into()])
    };
    check("embed", &Cohere::encode_embed(&request).unwrap());
    let input_type = |purpose| {
        let request = EmbedRequest { purpose, ..EmbedRequest::new("embed-v4.0", vec!["x".into()]) };
        serde_json::from_slice::<Value>(&Cohere::encode_embed(&request).unwrap().body).unwrap()["input_type"].clone()
    };
    assert_eq!(input_type(None), "search_document");
    assert_eq!(input_type(Some(Purpose::Document)), "search_document");
    assert_eq!(input_type(Some(Purpose::Classification)), "classification");
    assert_eq!(input_type(Some(Purpose::Clustering)), "clustering");
    assert_eq!(Cohere::max_inputs("embed-v4.0", "{}"), 96);
}

#[test]
fn a_ranking_is_asked_for_with_its_documents() {
    let request = RerankRequest {
        settings: r#"{"max_tokens_per_doc":512}"#.into(),
        top_n: Some(1),
        extra_body: Some(r#"{"priority":1}"#.into()),
        ..RerankRequest::new("rerank-v3.5", "crabs", vec!["a crab 🦀".into(), "a dog".into()])
    };
    check("rerank", &Cohere::encode_rerank(&request).unwrap());
    let broken = RerankRequest { settings: r#"{"max_tokens_per_doc":-1}"#.into(), ..request };
    assert_eq!(Cohere::encode_rerank(&broken).unwrap_err().kind, FailureKind::InvalidRequest);
}

#[test]
fn the_list_of_models_is_asked_for_page_by_page() {
    check("models", &Cohere::encode_list("{}", None).unwrap());
    check("models_next", &Cohere::encode_list("{}", Some("a b/2")).unwrap());
}

#[test]
fn the_profile_sets_nothing_and_needs_a_key() {
    let description = describe();
    let profile = &description.profiles[0];
    assert_eq!((profile.name.as_str(), profile.settings.as_str()), ("cohere", "{}"));
    assert_eq!(profile.default_endpoint.as_deref(), Some("https://api.cohere.com"));
    assert!(profile.keys[0].required);
    let schema: Value = serde_json::from_str(&description.settings_schema).unwrap();
    let names: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["safety_mode", "citation_mode", "truncate", "max_tokens_per_doc"]);
}
