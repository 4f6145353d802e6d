//! What is sent, byte for byte, in files under `tests/golden/`.
#![allow(clippy::unwrap_used, clippy::panic)] // this is how a test fails

use std::path::PathBuf;

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{golden, pretty};
use pg_llm_provider_hunyuan::{Hunyuan, describe, encode};

fn compare(name: &str, request: &HttpRequest) {
    let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "golden", &format!("{name}.http")].iter().collect();
    golden(file, &pretty(request));
}

fn check(name: &str, request: &ChatRequest, mode: Mode) {
    compare(name, &encode(request, mode).unwrap());
}

fn simple() -> ChatRequest {
    ChatRequest::new("hunyuan-turbos-latest", vec![Message::system("Be brief."), Message::user("Hello, wörld 🦀")])
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

fn everything() -> ChatRequest {
    let call = |id: &str, arguments: &str| {
        Part::ToolCall(ToolCall { id: id.into(), name: "weather".into(), arguments: arguments.into(), signature: None })
    };
    let result =
        |id: &str, content: &str| Part::ToolResult(ToolResult { call_id: id.into(), name: None, content: content.into(), is_error: false });
    ChatRequest {
        model: "hunyuan-vision".into(),
        settings: json!({ "region": "ap-guangzhou", "language": "en-US", "enable_enhancement": true, "force_search": false, "search_info": true, "citation": true, "stream_moderation": false }).to_string(),
        messages: vec![
            Message::system("One."),
            Message {
                role: Role::User,
                parts: vec![
                    Part::Text("Look:".into()),
                    Part::Image(Media::bytes(*b"\x89PNG\r\n\x1a\n", "image/png")),
                    Part::Image(Media::url("https://example.org/a.jpg")),
                ],
            },
            Message {
                role: Role::Assistant,
                parts: vec![
                    Part::Thinking(Thinking { text: "Hm.".into(), signature: None, redacted: false }),
                    Part::Text("Wait.".into()),
                    call("call_1", r#"{"city":"Köln"}"#),
                    call("call_2", ""),
                ],
            },
            Message { role: Role::Tool, parts: vec![result("call_1", "12 degrees"), result("call_2", "none")] },
        ],
        sampling: Sampling {
            temperature: Some(0.7),
            top_p: Some(0.9),
            stop: vec!["END".into(), "\n\n".into()],
            seed: Some(42),
            ..Sampling::default()
        },
        tools: vec![weather(), Tool { name: "now".into(), description: None, parameters: r#"{"type":"object"}"#.into(), strict: Some(false) }],
        tool_choice: Some(ToolChoice::Named("weather".into())),
        response_format: Some(ResponseFormat::Text),
        reasoning: Some(Reasoning { effort: Some("high".into()), budget_tokens: None }),
        extra_body: Some(r#"{"Temperature":null,"Stop":["X"],"TopicChoice":"t"}"#.into()),
    }
}

#[test]
fn everything_that_a_request_can_hold_has_its_place_on_the_wire() {
    check("everything", &everything(), Mode::Whole);
}

#[test]
fn a_stream_is_asked_for_in_the_body() {
    check("stream", &simple(), Mode::Stream);
}

#[test]
fn what_is_signed_is_said_as_it_is_signed() {
    let http = encode(&simple(), Mode::Stream).unwrap();
    let header =
        |name: &str| http.headers.iter().filter(|header| header.name == name).map(|header| header.value.as_str()).collect::<Vec<_>>();
    assert_eq!((header("content-type"), header("x-tc-action")), (vec!["application/json"], vec!["ChatCompletions"]));
    assert_eq!(http.path_with_query, "/");
}

#[test]
fn thinking_is_on_or_off() {
    let thinking = |effort: Option<&str>, budget_tokens| {
        let reasoning = Some(Reasoning { effort: effort.map(str::to_owned), budget_tokens });
        encode(&ChatRequest { reasoning, ..simple() }, Mode::Whole)
            .map(|http| serde_json::from_slice::<Value>(&http.body).unwrap()["EnableThinking"].clone())
    };
    assert_eq!(thinking(Some("none"), None).unwrap(), false);
    assert_eq!(thinking(None, Some(0)).unwrap(), false);
    assert_eq!(thinking(Some("low"), None).unwrap(), true);
    assert_eq!(thinking(None, Some(100)).unwrap_err().kind, FailureKind::Unsupported);
    assert_eq!(body(&simple()).get("EnableThinking"), None);
}

#[test]
fn of_one_tool_that_is_required_the_name_is_known() {
    let choice = |tools: Vec<Tool>, choice| {
        let request = ChatRequest { tools, tool_choice: Some(choice), ..simple() };
        encode(&request, Mode::Whole).map(|http| {
            let body: Value = serde_json::from_slice(&http.body).unwrap();
            (body["ToolChoice"].clone(), body.pointer("/CustomTool/Function/Name").cloned())
        })
    };
    assert_eq!(choice(vec![weather()], ToolChoice::Required).unwrap(), (json!("custom"), Some(json!("weather"))));
    assert_eq!(choice(vec![weather(), weather()], ToolChoice::Required).unwrap_err().kind, FailureKind::Unsupported);
    assert_eq!(choice(vec![weather()], ToolChoice::Auto).unwrap(), (json!("auto"), None));
    assert_eq!(choice(vec![weather()], ToolChoice::None).unwrap(), (json!("none"), None));
    assert_eq!(choice(vec![weather()], ToolChoice::Named("other".into())).unwrap_err().kind, FailureKind::InvalidRequest);
}

#[test]
fn what_the_wire_cannot_say_is_not_left_out() {
    let unsupported = |change: fn(&mut ChatRequest)| {
        let mut request = everything();
        change(&mut request);
        assert_eq!(encode(&request, Mode::Whole).unwrap_err().kind, FailureKind::Unsupported);
    };
    unsupported(|request| request.sampling.max_tokens = Some(1));
    unsupported(|request| request.sampling.top_k = Some(1));
    unsupported(|request| request.sampling.presence_penalty = Some(0.0));
    unsupported(|request| request.sampling.frequency_penalty = Some(0.0));
    unsupported(|request| request.sampling.logprobs = Some(0));
    unsupported(|request| request.tools[0].strict = Some(true));
    unsupported(|request| request.response_format = Some(ResponseFormat::JsonObject));
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
    broken(|request| request.settings = r#"{"region":1}"#.into());
    broken(|request| request.settings = r#"{"citation":"yes"}"#.into());
    broken(|request| request.extra_body = Some("1".into()));
    broken(|request| request.extra_body = Some("{".into()));
    broken(|request| request.tools[0].parameters = "null".into());
    broken(|request| request.sampling.top_p = Some(f64::NAN));
    broken(|request| request.sampling.seed = Some(0));
    broken(|request| request.sampling.seed = Some(10_001));
    broken(|request| request.messages[2].role = Role::User);
    broken(|request| request.messages[1].role = Role::Tool);
    broken(|request| request.messages[3].role = Role::Assistant);
}

#[test]
fn embeddings_are_an_action_of_their_own() {
    let mut request = EmbedRequest::new("hunyuan-embedding", vec!["Grüße".into(), "b".into()]);
    request.settings = json!({ "region": "ap-guangzhou" }).to_string();
    request.dimensions = Some(1024);
    request.purpose = Some(Purpose::Query);
    compare("embed", &Hunyuan::encode_embed(&request).unwrap());
    request.dimensions = Some(256);
    assert_eq!(Hunyuan::encode_embed(&request).unwrap_err().kind, FailureKind::Unsupported);
    assert_eq!(Hunyuan::max_inputs("", ""), 50);
    let one = Hunyuan::encode_embed(&EmbedRequest::new("hunyuan-embedding", vec!["a".into()])).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&one.body).unwrap(), json!({ "Input": "a" }));
}

#[test]
fn it_describes_its_keys_and_the_settings_that_it_reads() {
    let description = describe();
    let profile = &description.profiles[0];
    assert_eq!(profile.name, "hunyuan-native");
    let keys: Vec<(&str, bool)> = profile.keys.iter().map(|key| (key.name.as_str(), key.required)).collect();
    assert_eq!(keys, [("access_key_id", true), ("access_key_secret", true)]);
    let schema: Value = serde_json::from_str(&description.settings_schema).unwrap();
    let settings: Value = serde_json::from_str(&everything().settings).unwrap();
    for name in settings.as_object().unwrap().keys() {
        assert!(schema["properties"][name].is_object(), "{name}");
    }
}
