//! What is sent, byte for byte, in files under `tests/golden/`.
#![allow(clippy::unwrap_used, clippy::panic)] // this is how a test fails

use std::path::PathBuf;

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{golden, pretty};
use pg_llm_provider_dashscope::{DashScope, describe, encode};

fn compare(name: &str, request: &HttpRequest) {
    let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "golden", &format!("{name}.http")].iter().collect();
    golden(file, &pretty(request));
}

fn check(name: &str, request: &ChatRequest, mode: Mode) {
    compare(name, &encode(request, mode).unwrap());
}

fn simple() -> ChatRequest {
    ChatRequest::new("qwen-plus", vec![Message::system("Be brief."), Message::user("Hello, wörld 🦀")])
}

fn with_settings(settings: &Value) -> ChatRequest {
    ChatRequest { settings: settings.to_string(), ..simple() }
}

fn body(request: &ChatRequest) -> Value {
    serde_json::from_slice(&encode(request, Mode::Whole).unwrap().body).unwrap()
}

fn weather() -> Tool {
    Tool {
        name: "weather".into(),
        description: Some("Tells the weather.".into()),
        parameters: r#"{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"string"}}}"#.into(),
        strict: None,
    }
}

fn conversation() -> Vec<Message> {
    let call = |id: &str, arguments: &str| {
        Part::ToolCall(ToolCall { id: id.into(), name: "weather".into(), arguments: arguments.into(), signature: None })
    };
    let result = |id: &str, name: Option<&str>, content: &str| {
        Part::ToolResult(ToolResult { call_id: id.into(), name: name.map(str::to_owned), content: content.into(), is_error: false })
    };
    vec![
        Message::system("One."),
        Message { role: Role::User, parts: vec![Part::Text("And".into()), Part::Text("now?".into())] },
        Message {
            role: Role::Assistant,
            parts: vec![
                Part::Thinking(Thinking { text: "Hm.".into(), signature: None, redacted: false }),
                call("call_1", r#"{"city":"Köln"}"#),
                call("call_2", ""),
            ],
        },
        Message { role: Role::Tool, parts: vec![result("call_1", Some("weather"), "12 degrees"), result("call_2", None, "")] },
    ]
}

fn everything() -> ChatRequest {
    ChatRequest {
        model: "qwen-max".into(),
        settings: json!({ "workspace": "ws-1", "headers": { "x-title": "t" }, "enable_search": true, "search_options": { "forced_search": true }, "reasoning_effort": true, "preserve_thinking": true }).to_string(),
        messages: conversation(),
        sampling: Sampling {
            temperature: Some(0.7),
            top_p: Some(0.9),
            top_k: Some(40),
            max_tokens: Some(256),
            stop: vec!["END".into(), "\n\n".into()],
            seed: Some(42),
            presence_penalty: Some(0.5),
            frequency_penalty: None,
            logprobs: Some(3),
        },
        tools: vec![weather(), Tool { name: "now".into(), description: None, parameters: r#"{"type":"object"}"#.into(), strict: Some(false) }],
        tool_choice: Some(ToolChoice::Named("weather".into())),
        response_format: Some(ResponseFormat::JsonSchema(JsonSchemaFormat {
            name: "answer".into(),
            schema: r#"{"type":"object","properties":{"why":{"type":"string"},"answer":{"type":"string"}}}"#.into(),
            strict: true,
        })),
        reasoning: Some(Reasoning { effort: Some("high".into()), budget_tokens: Some(1000) }),
        extra_body: Some(r#"{"parameters":{"temperature":null,"repetition_penalty":1.1,"stop":["X"]},"input":{"extra":1},"resources":[]}"#.into()),
    }
}

#[test]
fn everything_that_a_request_can_hold_has_its_place_on_the_wire() {
    check("everything", &everything(), Mode::Whole);
}

#[test]
fn a_stream_asks_for_increments() {
    check("stream", &simple(), Mode::Stream);
}

#[test]
fn images_go_to_the_multimodal_endpoint_and_so_does_the_whole_conversation() {
    let mut request = ChatRequest { model: "qwen3.5-plus".into(), ..simple() };
    request.messages = conversation();
    request.messages[1].parts.extend([
        Part::Image(Media { detail: Some("high".into()), ..Media::bytes(*b"\x89PNG\r\n\x1a\n", "image/png") }),
        Part::Image(Media::url("https://example.org/a.jpg")),
    ]);
    check("multimodal", &request, Mode::Stream);
    request.settings = json!({ "multimodal": false }).to_string();
    assert_eq!(encode(&request, Mode::Stream).unwrap_err().kind, FailureKind::Unsupported);
}

#[test]
fn the_endpoint_follows_the_images_the_models_name_and_the_setting() {
    let multimodal = |model: &str, settings: Value| {
        let request = ChatRequest { model: model.into(), ..with_settings(&settings) };
        encode(&request, Mode::Whole).unwrap().path_with_query.contains("multimodal")
    };
    assert!(!multimodal("qwen-plus", json!({})));
    for model in ["qwen-vl-plus", "qwen3-vl-235b-a22b-instruct", "qvq-max", "qwen3-omni-flash", "qwen-vl-ocr"] {
        assert!(multimodal(model, json!({})), "{model}");
    }
    assert!(multimodal("qwen-plus", json!({ "multimodal": true })));
    assert!(!multimodal("qwen-vl-plus", json!({ "multimodal": false })));
}

#[test]
fn top_p_stays_off_its_ends() {
    let top_p = |value| {
        let mut request = simple();
        request.sampling.top_p = Some(value);
        body(&request)["parameters"]["top_p"].clone()
    };
    assert_eq!(json!([top_p(0.0), top_p(0.5), top_p(1.0)]), json!([1e-6, 0.5, 0.999_999]));
    // What is no probability is the provider's to refuse.
    assert_eq!(json!([top_p(-1.0), top_p(2.0)]), json!([-1.0, 2.0]));
}

#[test]
fn thinking_is_switched_and_bounded() {
    let parameters = |effort: Option<&str>, budget_tokens| {
        let reasoning = Some(Reasoning { effort: effort.map(str::to_owned), budget_tokens });
        let parameters = body(&ChatRequest { reasoning, ..simple() })["parameters"].clone();
        (parameters["enable_thinking"].as_bool(), parameters["thinking_budget"].as_u64(), parameters["reasoning_effort"].clone())
    };
    assert_eq!(parameters(Some("none"), None), (Some(false), None, Value::Null));
    assert_eq!(parameters(Some("low"), None), (Some(true), None, Value::Null));
    assert_eq!(parameters(None, Some(0)), (Some(false), None, Value::Null));
    assert_eq!(parameters(None, Some(500)), (Some(true), Some(500), Value::Null));
}

#[test]
fn of_one_tool_that_is_required_the_name_is_known() {
    let choice = |tools: Vec<Tool>, choice| {
        let request = ChatRequest { tools, tool_choice: Some(choice), ..simple() };
        encode(&request, Mode::Whole).map(|http| serde_json::from_slice::<Value>(&http.body).unwrap()["parameters"]["tool_choice"].clone())
    };
    let named = json!({ "type": "function", "function": { "name": "weather" } });
    assert_eq!(choice(vec![weather()], ToolChoice::Required).unwrap(), named);
    assert_eq!(choice(vec![weather(), weather()], ToolChoice::Required).unwrap_err().kind, FailureKind::Unsupported);
    assert_eq!(choice(vec![weather()], ToolChoice::Auto).unwrap(), "auto");
    assert_eq!(choice(vec![weather()], ToolChoice::None).unwrap(), "none");
}

#[test]
fn what_the_wire_cannot_say_is_not_left_out() {
    let unsupported = |change: fn(&mut ChatRequest)| {
        let mut request = everything();
        change(&mut request);
        assert_eq!(encode(&request, Mode::Whole).unwrap_err().kind, FailureKind::Unsupported);
    };
    unsupported(|request| request.sampling.frequency_penalty = Some(0.0));
    unsupported(|request| request.tools[0].strict = Some(true));
    unsupported(|request| request.messages[1].parts.push(Part::Document(Media::url("https://example.org/a.pdf"))));
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
    broken(|request| request.settings = r#"{"workspace":1}"#.into());
    broken(|request| request.settings = r#"{"headers":{"x":1}}"#.into());
    broken(|request| request.settings = r#"{"search_options":"no"}"#.into());
    broken(|request| request.extra_body = Some("1".into()));
    broken(|request| request.extra_body = Some("{".into()));
    broken(|request| request.tools[0].parameters = "null".into());
    broken(|request| request.sampling.top_p = Some(f64::NAN));
    broken(|request| request.messages[2].role = Role::User);
    broken(|request| request.messages[1].role = Role::Tool);
    broken(|request| request.messages[3].role = Role::Assistant);
}

#[test]
fn embeddings_say_what_they_are_for_and_how_long_they_are_to_be() {
    let mut request = EmbedRequest::new("text-embedding-v4", vec!["Grüße".into(), "b".into()]);
    request.dimensions = Some(256);
    request.purpose = Some(Purpose::Query);
    request.settings = json!({ "workspace": "ws-1" }).to_string();
    request.extra_body = Some(r#"{"parameters":{"instruct":"Find songs."}}"#.into());
    compare("embed", &DashScope::encode_embed(&request).unwrap());
    for purpose in [Purpose::Document, Purpose::Classification, Purpose::Clustering] {
        request.purpose = Some(purpose);
        let body: Value = serde_json::from_slice(&DashScope::encode_embed(&request).unwrap().body).unwrap();
        assert_eq!(body["parameters"]["text_type"], "document");
    }
}

#[test]
fn a_request_for_embeddings_carries_what_the_model_takes() {
    assert_eq!(DashScope::max_inputs("text-embedding-v1", "{}"), 25);
    assert_eq!(DashScope::max_inputs("text-embedding-v4", "{}"), 10);
    assert_eq!(DashScope::max_inputs("text-embedding-v9", r#"{"max_inputs":64}"#), 64);
    assert_eq!(DashScope::max_inputs("text-embedding-v9", "[]"), 10);
}

#[test]
fn a_ranking_names_the_query_and_the_documents() {
    let mut request = RerankRequest::new("gte-rerank-v2", "what?", vec!["a".into(), "b".into()]);
    request.top_n = Some(1);
    compare("rerank", &DashScope::encode_rerank(&request).unwrap());
}

#[test]
fn models_are_listed_page_by_page() {
    compare("models", &DashScope::encode_list("{}", Some("2")).unwrap());
    let settings = json!({ "workspace": "ws-1" }).to_string();
    assert!(DashScope::encode_list(&settings, None).unwrap().path_with_query.contains("page_no=1"));
}

#[test]
fn every_profile_has_a_region_of_its_own_and_the_first_is_beijing() {
    let description = describe();
    assert_eq!((description.profiles[0].name.as_str(), &description.profiles[0].aliases[..]), ("dashscope", &["qianwen".to_owned()][..]));
    let mut endpoints: Vec<&str> = description.profiles.iter().filter_map(|profile| profile.default_endpoint.as_deref()).collect();
    endpoints.dedup();
    assert_eq!(endpoints.len(), description.profiles.len());
    serde_json::from_str::<Value>(&description.settings_schema).unwrap();
}
