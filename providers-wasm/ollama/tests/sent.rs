//! What is sent, byte for byte, in files under `tests/golden/`.
#![allow(clippy::unwrap_used, clippy::panic)] // this is how a test fails

use std::path::PathBuf;

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{golden, pretty};
use pg_llm_provider_ollama::{Ollama, describe, encode};

fn check(name: &str, request: &HttpRequest) {
    let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "golden", &format!("{name}.http")].iter().collect();
    golden(file, &pretty(request));
}

fn simple() -> ChatRequest {
    ChatRequest::new("llama3.2", vec![Message::system("Be brief."), Message::user("Hello, wörld 🦀")])
}

/// The body of a request that can be sent.
fn sent(request: &ChatRequest) -> Value {
    serde_json::from_slice(&encode(request, Mode::Whole).unwrap().body).unwrap()
}

fn refused(request: &ChatRequest) -> Failure {
    encode(request, Mode::Whole).unwrap_err()
}

fn tool(name: &str, strict: Option<bool>) -> Tool {
    let parameters = r#"{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"string"}}}"#.into();
    Tool { name: name.into(), description: Some("Tells the weather.".into()), parameters, strict }
}

fn everything() -> ChatRequest {
    let image = Media { detail: Some("low".into()), ..Media::bytes(*b"\x89PNG\r\n\x1a\n", "image/png") };
    let call = |id: &str, name: &str, arguments: &str| {
        Part::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), signature: None })
    };
    let result = |id: &str, name: Option<&str>, content: &str, is_error| {
        Part::ToolResult(ToolResult { call_id: id.into(), name: name.map(str::to_owned), content: content.into(), is_error })
    };
    ChatRequest {
        model: "qwen3".into(),
        settings: r#"{"num_ctx":8192,"truncate":false,"keep_alive":"5m","options":{"min_p":0.05,"temperature":1.5}}"#.into(),
        messages: vec![
            Message::system("One."),
            Message { role: Role::User, parts: vec![Part::Text("Look:".into()), Part::Image(image), Part::Text("Well?".into())] },
            Message {
                role: Role::Assistant,
                parts: vec![
                    Part::Thinking(Thinking { text: "Hm.".into(), signature: None, redacted: false }),
                    Part::Thinking(Thinking { text: String::new(), signature: Some("c2VjcmV0".into()), redacted: true }),
                    Part::Text("I ask.".into()),
                    call("call_1", "weather", r#"{"city":"Köln"}"#),
                    call("call_2", "now", ""),
                ],
            },
            Message {
                role: Role::Tool,
                parts: vec![result("call_2", None, "no clock", true), result("call_1", Some("weather"), "12 degrees", false)],
            },
            Message { role: Role::User, parts: vec![Part::Text("And".into()), Part::Text("now?".into())] },
        ],
        sampling: Sampling {
            temperature: Some(0.7),
            top_p: Some(0.9),
            top_k: Some(40),
            max_tokens: Some(256),
            stop: vec!["END".into(), "\n\n".into()],
            seed: Some(-1),
            presence_penalty: Some(0.5),
            frequency_penalty: Some(-0.5),
            logprobs: Some(3),
        },
        tools: vec![tool("weather", None), Tool { description: None, ..tool("now", Some(false)) }],
        tool_choice: Some(ToolChoice::Auto),
        response_format: Some(ResponseFormat::JsonSchema(JsonSchemaFormat {
            name: "answer".into(),
            schema: r#"{"type":"object","properties":{"why":{"type":"string"},"answer":{"type":"string"}}}"#.into(),
            strict: true,
        })),
        reasoning: Some(Reasoning { effort: Some("low".into()), budget_tokens: None }),
        extra_body: Some(r#"{"shift":false,"options":{"top_k":20,"repeat_penalty":1.1}}"#.into()),
    }
}

#[test]
fn everything_that_a_request_can_hold_has_its_place_on_the_wire() {
    check("everything", &encode(&everything(), Mode::Whole).unwrap());
}

#[test]
fn whether_to_stream_is_always_said_because_the_server_streams_by_default() {
    check("simple", &encode(&simple(), Mode::Whole).unwrap());
    check("stream", &encode(&simple(), Mode::Stream).unwrap());
}

#[test]
fn how_much_to_think_is_off_on_or_a_word() {
    let think = |effort: Option<&str>, budget_tokens| {
        sent(&ChatRequest { reasoning: Some(Reasoning { effort: effort.map(str::to_owned), budget_tokens }), ..simple() })["think"].clone()
    };
    assert_eq!(think(None, None), json!(true));
    assert_eq!(think(Some("none"), None), json!(false));
    assert_eq!(think(None, Some(0)), json!(false));
    assert_eq!(think(Some("max"), None), json!("max"));
    assert!(!sent(&simple()).as_object().unwrap().contains_key("think"));
    let budget = Reasoning { effort: None, budget_tokens: Some(1000) };
    assert_eq!(refused(&ChatRequest { reasoning: Some(budget), ..simple() }).kind, FailureKind::Unsupported);
}

#[test]
fn a_format_is_json_or_the_schema_itself() {
    let format = |format| sent(&ChatRequest { response_format: Some(format), ..simple() });
    assert_eq!(format(ResponseFormat::JsonObject)["format"], "json");
    assert_eq!(format(ResponseFormat::Text).get("format"), None);
}

#[test]
fn what_the_caller_adds_goes_over_everything_else() {
    let extra = |extra: &str| sent(&ChatRequest { extra_body: Some(extra.into()), settings: r#"{"num_ctx":100}"#.into(), ..simple() });
    assert_eq!(extra(r#"{"options":{"num_ctx":200,"seed":1}}"#)["options"], json!({ "num_ctx": 200, "seed": 1 }));
    assert_eq!(extra(r#"{"options":null,"stream":null}"#)["options"], json!(null));
    assert_eq!(extra(r#"{"model":"other"}"#)["model"], "other");
    assert_eq!(extra(r#"{"model":"other"}"#)["options"], json!({ "num_ctx": 100 }));
}

#[test]
fn without_a_choice_of_tools_none_are_sent() {
    let request = |choice| ChatRequest { tools: vec![tool("weather", None)], tool_choice: Some(choice), ..simple() };
    assert_eq!(sent(&request(ToolChoice::None)).get("tools"), None);
    assert_eq!(sent(&request(ToolChoice::Auto))["tools"][0]["function"]["name"], "weather");
    assert_eq!(refused(&request(ToolChoice::Required)).kind, FailureKind::Unsupported);
    assert_eq!(refused(&request(ToolChoice::Named("weather".into()))).kind, FailureKind::Unsupported);
}

#[test]
fn what_the_wire_cannot_express_is_refused_and_not_dropped() {
    let said = |part| ChatRequest { messages: vec![Message { role: Role::User, parts: vec![part] }], ..simple() };
    for request in [
        said(Part::Image(Media::url("https://example.org/a.jpg"))),
        said(Part::Document(Media::bytes(*b"%PDF-1.7", "application/pdf"))),
        ChatRequest { tools: vec![tool("weather", Some(true))], ..simple() },
    ] {
        let failure = refused(&request);
        assert_eq!(failure.kind, FailureKind::Unsupported);
        assert!(failure.message.contains("Ollama"), "{failure:?}");
    }
}

#[test]
fn what_cannot_be_sent_is_the_callers_mistake_and_no_panic() {
    let broken = |change: fn(&mut ChatRequest)| {
        let mut request = everything();
        change(&mut request);
        let failure = refused(&request);
        assert_eq!(failure.kind, FailureKind::InvalidRequest, "{failure:?}");
    };
    broken(|request| request.settings = "[]".into());
    broken(|request| request.settings = r#"{"num_ctx":"big"}"#.into());
    broken(|request| request.settings = r#"{"keep_alive":[]}"#.into());
    broken(|request| request.settings = r#"{"options":1}"#.into());
    broken(|request| request.settings = r#"{"truncate":"yes"}"#.into());
    broken(|request| request.extra_body = Some("1".into()));
    broken(|request| request.extra_body = Some("{".into()));
    broken(|request| request.tools[0].parameters = "null".into());
    broken(|request| request.sampling.top_p = Some(f64::NAN));
    broken(|request| request.messages[2].role = Role::User);
    broken(|request| request.messages[1].role = Role::Tool);
    broken(|request| request.messages[1].role = Role::Assistant);
    broken(|request| {
        let arguments = "{half".into();
        request.messages[2].parts = vec![Part::ToolCall(ToolCall { id: "x".into(), name: "f".into(), arguments, signature: None })];
    });
}

#[test]
fn embeddings_are_asked_for_all_inputs_at_once() {
    let request = EmbedRequest {
        settings: r#"{"num_ctx":512,"truncate":false,"keep_alive":0}"#.into(),
        dimensions: Some(256),
        purpose: Some(Purpose::Query),
        extra_body: Some(r#"{"options":{"num_gpu":0}}"#.into()),
        ..EmbedRequest::new("embeddinggemma", vec!["one".into(), "zwei 🦀".into()])
    };
    check("embed", &Ollama::encode_embed(&request).unwrap());
    check("embed_simple", &Ollama::encode_embed(&EmbedRequest::new("all-minilm", vec!["one".into()])).unwrap());
    assert!(Ollama::max_inputs("all-minilm", "{}") > 1);
}

#[test]
fn the_list_of_models_is_one_page() {
    check("models", &Ollama::encode_list("{}", None).unwrap());
}

#[test]
fn the_profile_sets_nothing_and_its_key_is_optional() {
    let description = describe();
    let profile = &description.profiles[0];
    assert_eq!((profile.name.as_str(), profile.settings.as_str()), ("ollama", "{}"));
    assert_eq!(profile.default_endpoint.as_deref(), Some("http://127.0.0.1:11434"));
    assert!(!profile.keys[0].required);
    let schema: Value = serde_json::from_str(&description.settings_schema).unwrap();
    let names: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["num_ctx", "truncate", "keep_alive", "options"]);
}
