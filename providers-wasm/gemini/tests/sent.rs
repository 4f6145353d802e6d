//! What is sent, byte for byte, in files under `tests/golden/`.
#![allow(clippy::unwrap_used, clippy::panic)] // this is how a test fails

use std::path::PathBuf;

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{golden, pretty};
use pg_llm_provider_gemini::{Gemini, describe, encode};

fn check_http(name: &str, request: &HttpRequest) {
    let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "golden", &format!("{name}.http")].iter().collect();
    golden(file, &pretty(request));
}

fn check(name: &str, request: &ChatRequest, mode: Mode) {
    check_http(name, &encode(request, mode).unwrap());
}

fn body(request: &ChatRequest) -> Value {
    serde_json::from_slice(&encode(request, Mode::Whole).unwrap().body).unwrap()
}

/// The settings of a profile, overlaid with these.
fn settings(profile: &str, overlay: &Value) -> String {
    let profile = describe().profiles.into_iter().find(|known| known.name == profile).unwrap();
    let mut settings: Map<String, Value> = serde_json::from_str(&profile.settings).unwrap();
    settings.extend(overlay.as_object().unwrap().clone());
    Value::Object(settings).to_string()
}

fn simple(profile: &str, overlay: &Value) -> ChatRequest {
    let mut request = ChatRequest::new("gemini-3-flash", vec![Message::system("Be brief."), Message::user("Hello, wörld 🦀")]);
    request.settings = settings(profile, overlay);
    request
}

const BERLIN: &str = r#"{"project":"my project","location":"europe-west4"}"#;

fn vertex() -> Value {
    serde_json::from_str(BERLIN).unwrap()
}

fn message(role: Role, parts: Vec<Part>) -> Message {
    Message { role, parts }
}

fn thinking(text: &str, signature: Option<&str>) -> Part {
    Part::Thinking(Thinking { text: text.into(), signature: signature.map(str::to_owned), redacted: false })
}

fn call(id: &str, name: &str, arguments: &str, signature: Option<&str>) -> Part {
    Part::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), signature: signature.map(str::to_owned) })
}

fn result(id: &str, name: Option<&str>, content: &str, is_error: bool) -> Part {
    Part::ToolResult(ToolResult { call_id: id.into(), name: name.map(str::to_owned), content: content.into(), is_error })
}

fn everything() -> ChatRequest {
    let image = Media { detail: Some("low".into()), ..Media::bytes(*b"\x89PNG\r\n\x1a\n", "image/png") };
    let document = Media { name: Some("a.pdf".into()), media_type: None, detail: Some("high".into()), ..Media::bytes(*b"%PDF-1.7", "") };
    let text = Media { media_type: None, ..Media::bytes("Grüße".as_bytes(), "") };
    let safety = json!([{ "category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH" }]);
    ChatRequest {
        model: "gemini-3-pro".into(),
        settings: settings("gemini", &json!({ "safety_settings": safety })),
        messages: vec![
            Message::system("One."),
            message(
                Role::User,
                vec![
                    Part::Text("Look:".into()),
                    Part::Image(image),
                    Part::Image(Media::url("https://example.org/a.JPG?size=2")),
                    Part::Image(Media::url("data:image/gif;base64,R0lGODlh")),
                    Part::Document(document),
                    Part::Document(text),
                    Part::Document(Media::url("https://generativelanguage.googleapis.com/v1beta/files/abc")),
                ],
            ),
            message(
                Role::Assistant,
                vec![
                    thinking("A summary.", None),
                    thinking("A signed summary.", Some("c2lnLTE=")),
                    Part::Text("Wait.".into()),
                    thinking("", Some("c2lnLTI=")),
                    call("fc_1", "weather", r#"{"city":"Köln"}"#, Some("c2lnLTM=")),
                    call("call-1", "now", "", None),
                ],
            ),
            message(Role::Tool, vec![result("fc_1", None, "12 degrees", false)]),
            message(Role::Tool, vec![result("call-1", None, "no clock", true)]),
            Message::system("Two."),
            message(Role::User, vec![Part::Text("And".into()), Part::Text("now?".into())]),
        ],
        sampling: Sampling {
            temperature: Some(0.7),
            top_p: Some(0.9),
            top_k: Some(40),
            max_tokens: Some(256),
            stop: vec!["END".into(), "\n\n".into()],
            seed: Some(-42),
            presence_penalty: Some(0.5),
            frequency_penalty: Some(-0.5),
            logprobs: Some(3),
        },
        tools: vec![
            Tool {
                name: "weather".into(),
                description: Some("Tells the weather.".into()),
                parameters: r##"{"type":"object","properties":{"z":{"type":"string"},"a":{"$ref":"#/$defs/a"}}}"##.into(),
                strict: None,
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
        extra_body: Some(
            r#"{"generationConfig":{"temperature":null,"candidateCount":1},"cachedContent":"cachedContents/x","safetySettings":[]}"#.into(),
        ),
    }
}

#[test]
fn everything_that_a_request_can_hold_has_its_place_on_the_wire() {
    check("everything", &everything(), Mode::Whole);
}

#[test]
fn a_stream_is_asked_for_as_events() {
    check("stream", &simple("gemini", &json!({})), Mode::Stream);
}

#[test]
fn vertex_wants_a_project_and_a_location_and_a_token() {
    check("vertex", &simple("vertex", &vertex()), Mode::Stream);
    let bearer = json!({ "project": "p", "location": "global", "auth": "bearer", "api_version": "v1beta1" });
    check("vertex_bearer", &simple("vertex", &bearer), Mode::Whole);
    check("vertex_express", &simple("vertex", &json!({ "auth": "api-key" })), Mode::Whole);
    for incomplete in [json!({}), json!({ "project": "p" }), json!({ "location": "l" }), json!({ "auth": "bearer" })] {
        let failure = encode(&simple("vertex", &incomplete), Mode::Whole).unwrap_err();
        assert_eq!(failure.kind, FailureKind::InvalidRequest, "{incomplete}");
    }
}

#[test]
fn the_key_is_never_in_the_path_and_may_be_left_to_a_proxy() {
    let http = encode(&simple("gemini", &json!({})), Mode::Stream).unwrap();
    assert!(!http.path_with_query.contains("key"));
    assert!(encode(&simple("gemini", &json!({ "auth": "none" })), Mode::Stream).unwrap().auth.is_none());
}

#[test]
fn a_model_may_be_named_in_full() {
    let path = |profile: &str, overlay: &Value, model: &str| {
        encode(&ChatRequest { model: model.into(), ..simple(profile, overlay) }, Mode::Whole).unwrap().path_with_query
    };
    let none = json!({});
    assert_eq!(path("gemini", &none, "gemini-x"), "/v1beta/models/gemini-x:generateContent");
    assert_eq!(path("gemini", &none, "models/gemini-x"), "/v1beta/models/gemini-x:generateContent");
    assert_eq!(path("gemini", &none, "tunedModels/mine"), "/v1beta/tunedModels/mine:generateContent");
    assert_eq!(path("gemini", &none, "a?b:c"), "/v1beta/models/a%3Fb%3Ac:generateContent");
    let parent = "/v1/projects/my%20project/locations/europe-west4";
    assert_eq!(path("vertex", &vertex(), "gemini-x"), format!("{parent}/publishers/google/models/gemini-x:generateContent"));
    assert_eq!(path("vertex", &vertex(), "publishers/meta/models/l"), format!("{parent}/publishers/meta/models/l:generateContent"));
    assert_eq!(path("vertex", &vertex(), "endpoints/12"), format!("{parent}/endpoints/12:generateContent"));
    let full = "projects/p/locations/l/endpoints/12";
    assert_eq!(path("vertex", &vertex(), full), format!("/v1/{full}:generateContent"));
}

#[test]
fn a_signature_goes_back_with_the_part_that_it_came_with() {
    let parts = |parts: Vec<Part>| {
        let mut request = simple("gemini", &json!({}));
        request.messages = vec![Message::user("?"), message(Role::Assistant, parts)];
        body(&request)["contents"][1]["parts"].clone()
    };
    let text = |text: &str| Part::Text(text.into());
    let signed = json!([{ "text": "a", "thoughtSignature": "s" }]);
    assert_eq!(parts(vec![text("a"), thinking("", Some("s"))]), signed);
    assert_eq!(parts(vec![thinking("", Some("s")), text("a")]), signed);
    assert_eq!(parts(vec![thinking("unsigned", None), thinking("", Some("s")), text("a")]), signed);
    assert_eq!(
        parts(vec![text("a"), thinking("", Some("s")), text("b"), thinking("", Some("t"))]),
        json!([{ "text": "a", "thoughtSignature": "s" }, { "text": "b", "thoughtSignature": "t" }])
    );
    assert_eq!(
        parts(vec![thinking("", Some("s")), call("x", "f", "{}", None)]),
        json!([{ "text": "", "thoughtSignature": "s" }, { "functionCall": { "id": "x", "name": "f", "args": {} } }])
    );
    assert_eq!(
        parts(vec![thinking("hm", Some("s")), text("a")]),
        json!([{ "text": "hm", "thought": true, "thoughtSignature": "s" }, { "text": "a" }])
    );
    assert_eq!(parts(vec![text(""), call("x", "f", "{}", Some("s"))]).as_array().unwrap().len(), 1);
    assert_eq!(parts(vec![thinking("", Some("s")), text("")]), json!([{ "text": "", "thoughtSignature": "s" }]));
    assert_eq!(
        parts(vec![thinking("", Some("s")), thinking("", Some("t"))]),
        json!([{ "text": "", "thoughtSignature": "s" }, { "text": "", "thoughtSignature": "t" }])
    );
    assert_eq!(parts(vec![text("")]), json!([{ "text": "" }]));
    let redacted = Part::Thinking(Thinking { text: String::new(), signature: Some("other's".into()), redacted: true });
    assert_eq!(parts(vec![redacted.clone(), text("a")]), json!([{ "text": "a" }]));
    assert_eq!(parts(vec![redacted]), json!([{ "text": "" }]));
}

#[test]
fn the_name_of_a_result_is_that_of_the_nearest_call_before_it() {
    let mut request = simple("gemini", &json!({}));
    request.messages = vec![
        Message::user("?"),
        message(Role::Assistant, vec![call("call-0", "first", "{}", None)]),
        message(Role::Tool, vec![result("call-0", None, "1", false)]),
        message(Role::Assistant, vec![call("call-0", "second", "{}", None)]),
        message(Role::Tool, vec![result("call-0", Some(""), "2", false)]),
        message(Role::Assistant, vec![call("call_0", "third", "{}", None)]),
        message(Role::Tool, vec![result("call_0", Some("own"), "3", false)]),
    ];
    let body = body(&request);
    let response = |at: usize| body["contents"][at]["parts"][0]["functionResponse"].clone();
    assert_eq!(response(2), json!({ "name": "first", "response": { "output": "1" } }));
    assert_eq!(response(4), json!({ "name": "second", "response": { "output": "2" } }));
    assert_eq!(response(6), json!({ "id": "call_0", "name": "own", "response": { "output": "3" } }));
    request.messages =
        vec![message(Role::Tool, vec![result("x", None, "1", false)]), message(Role::Assistant, vec![call("x", "f", "{}", None)])];
    assert_eq!(encode(&request, Mode::Whole).unwrap_err().kind, FailureKind::InvalidRequest);
}

#[test]
fn ids_of_calls_go_only_where_calls_have_ids() {
    let sent = |profile: &str, overlay: &Value| {
        let mut request = simple(profile, overlay);
        request.messages = vec![
            Message::user("?"),
            message(Role::Assistant, vec![call("fc", "f", "{}", None)]),
            message(Role::Tool, vec![result("fc", None, "1", false)]),
        ];
        let contents = body(&request)["contents"].clone();
        let ids = [&contents[1]["parts"][0]["functionCall"]["id"], &contents[2]["parts"][0]["functionResponse"]["id"]];
        assert_eq!(contents[2]["parts"][0]["functionResponse"]["name"], "f");
        ids.iter().all(|id| **id == "fc")
    };
    assert!(sent("gemini", &json!({})));
    assert!(!sent("vertex", &vertex()));
    assert!(sent("vertex", &json!({ "project": "p", "location": "l", "api_version": "v1beta1" })));
}

#[test]
fn how_much_to_think_is_said_as_the_model_takes_it() {
    let config = |model: &str, effort: Option<&str>, budget_tokens: Option<u32>, overlay: Value| {
        let mut request = simple("gemini", &overlay);
        request.model = model.into();
        request.reasoning = Some(Reasoning { effort: effort.map(str::to_owned), budget_tokens });
        encode(&request, Mode::Whole)
            .map(|http| serde_json::from_slice::<Value>(&http.body).unwrap()["generationConfig"]["thinkingConfig"].clone())
    };
    let level = json!({ "thinkingLevel": "low", "includeThoughts": true });
    let budget = |tokens: u32| json!({ "thinkingBudget": tokens, "includeThoughts": true });
    let off = json!({ "thinkingBudget": 0 });
    assert_eq!(config("gemini-3-pro", Some("low"), None, json!({})).unwrap(), level);
    assert_eq!(config("gemini-2.5-flash", Some("low"), None, json!({})).unwrap(), budget(1024));
    assert_eq!(config("gemini-2.5-flash", Some("medium"), None, json!({})).unwrap(), budget(8192));
    assert_eq!(config("gemini-2.5-flash", Some("high"), None, json!({})).unwrap(), budget(24576));
    assert_eq!(config("tunedModels/x", Some("low"), None, json!({ "thinking_style": "budget" })).unwrap(), budget(1024));
    assert_eq!(config("gemini-2.5-flash", Some("low"), None, json!({ "thinking_style": "level" })).unwrap(), level);
    assert_eq!(config("gemini-3-pro", Some("low"), Some(77), json!({})).unwrap(), budget(77));
    assert_eq!(config("gemini-2.5-flash", Some("none"), None, json!({})).unwrap(), off);
    assert_eq!(config("gemini-2.5-flash", None, Some(0), json!({ "include_thoughts": true })).unwrap(), off);
    assert_eq!(
        config("gemini-3-pro", Some("low"), None, json!({ "include_thoughts": false })).unwrap(),
        json!({ "thinkingLevel": "low", "includeThoughts": false })
    );
    assert_eq!(config("gemini-3-pro", None, None, json!({ "include_thoughts": true })).unwrap(), json!({ "includeThoughts": true }));
    assert_eq!(config("gemini-3-pro", None, None, json!({})).unwrap(), Value::Null);
    assert_eq!(config("gemini-2.5-flash", Some("xhigh"), None, json!({})).unwrap_err().kind, FailureKind::Unsupported);
}

#[test]
fn a_tool_choice_is_a_mode() {
    let config = |choice: Option<ToolChoice>, strict: Option<bool>| {
        let mut request = simple("gemini", &json!({}));
        request.tools = vec![Tool { name: "f".into(), description: None, parameters: r#"{"type":"object"}"#.into(), strict }];
        request.tool_choice = choice;
        body(&request)["toolConfig"]["functionCallingConfig"].clone()
    };
    assert_eq!(config(None, None), Value::Null);
    assert_eq!(config(None, Some(false)), Value::Null);
    assert_eq!(config(None, Some(true)), json!({ "mode": "VALIDATED" }));
    assert_eq!(config(Some(ToolChoice::Auto), None), json!({ "mode": "AUTO" }));
    assert_eq!(config(Some(ToolChoice::Auto), Some(true)), json!({ "mode": "VALIDATED" }));
    assert_eq!(config(Some(ToolChoice::None), Some(true)), json!({ "mode": "NONE" }));
    assert_eq!(config(Some(ToolChoice::Required), Some(true)), json!({ "mode": "ANY" }));
    assert_eq!(config(Some(ToolChoice::Named("f".into())), None), json!({ "mode": "ANY", "allowedFunctionNames": ["f"] }));
}

#[test]
fn a_text_without_words_is_left_out() {
    let mut request = simple("gemini", &json!({}));
    let image = Part::Image(Media::url("https://example.org/a.png"));
    request.messages = vec![Message::system(""), message(Role::User, vec![Part::Text(String::new()), image])];
    assert_eq!(body(&request)["systemInstruction"], Value::Null);
    assert_eq!(body(&request)["contents"][0]["parts"].as_array().unwrap().len(), 1);
}

#[test]
fn a_format_without_a_schema_is_a_media_type() {
    let mut request = simple("gemini", &json!({}));
    request.response_format = Some(ResponseFormat::JsonObject);
    assert_eq!(body(&request)["generationConfig"], json!({ "responseMimeType": "application/json" }));
    request.response_format = Some(ResponseFormat::Text);
    assert_eq!(body(&request)["generationConfig"], Value::Null);
}

#[test]
fn log_probabilities_without_alternatives_are_asked_for_without_a_number() {
    let mut request = simple("gemini", &json!({}));
    request.sampling.logprobs = Some(0);
    assert_eq!(body(&request)["generationConfig"], json!({ "responseLogprobs": true }));
}

#[test]
fn what_cannot_be_sent_is_refused_in_words_and_no_panic() {
    let refused = |kind: FailureKind, change: fn(&mut ChatRequest)| {
        let mut request = everything();
        change(&mut request);
        let failure = encode(&request, Mode::Whole).unwrap_err();
        assert_eq!(failure.kind, kind, "{failure:?}");
    };
    let broken = |change: fn(&mut ChatRequest)| refused(FailureKind::InvalidRequest, change);
    broken(|request| request.settings = "[]".into());
    broken(|request| request.settings = r#"{"platform":1}"#.into());
    broken(|request| request.settings = r#"{"platform":"azure"}"#.into());
    broken(|request| request.settings = r#"{"auth":"magic"}"#.into());
    broken(|request| request.settings = r#"{"thinking_style":"loud"}"#.into());
    broken(|request| request.extra_body = Some("1".into()));
    broken(|request| request.extra_body = Some("{".into()));
    broken(|request| request.tools[0].parameters = "null".into());
    broken(|request| request.sampling.top_p = Some(f64::NAN));
    broken(|request| request.messages[2].role = Role::User);
    broken(|request| request.messages[1].role = Role::Tool);
    broken(|request| request.messages[3].role = Role::Assistant);
    broken(|request| request.messages[2].parts = vec![call("x", "f", "{\"half", None)]);
    broken(|request| request.messages[2].parts = vec![call("x", "f", "[]", None)]);
    broken(|request| request.messages[1].parts = vec![Part::Image(Media { media_type: None, ..Media::bytes(*b"what is it", "") })]);
    broken(|request| request.messages[1].parts = vec![Part::Document(Media { media_type: None, ..Media::bytes([0xFF, 0xFE], "") })]);
    broken(|request| request.messages[1].parts = vec![Part::Image(Media::url("data:;base64,AAAA"))]);
    let unsupported = |change: fn(&mut ChatRequest)| refused(FailureKind::Unsupported, change);
    unsupported(|request| request.messages[0].parts = vec![Part::Image(Media::url("https://example.org/a.png"))]);
    unsupported(|request| request.messages[1].parts = vec![Part::Image(Media::url("data:text/plain,hello"))]);
    unsupported(|request| {
        request.messages[1].parts = vec![Part::Image(Media { detail: Some("huge".into()), ..Media::url("https://example.org/a.png") })];
    });
}

#[test]
fn every_profile_only_sets_what_the_schema_lists() {
    let description = describe();
    let schema: Value = serde_json::from_str(&description.settings_schema).unwrap();
    for profile in &description.profiles {
        let settings: Map<String, Value> = serde_json::from_str(&profile.settings).unwrap();
        for (name, value) in settings {
            let known = &schema["properties"][&name];
            assert!(known["enum"].as_array().unwrap().contains(&value), "{}: {name} = {value}", profile.name);
        }
    }
    for profile in &description.profiles {
        assert!(profile.capabilities.contains(Capabilities::STREAM | Capabilities::EMBEDDINGS | Capabilities::LIST_MODELS));
    }
    assert_eq!(description.profiles[0].name, "gemini");
    assert_eq!(description.profiles[0].aliases, ["google"]);
}

fn texts(profile: &str, overlay: &Value, model: &str, inputs: &[&str]) -> EmbedRequest {
    let mut request = EmbedRequest::new(model, inputs.iter().map(|&text| text.to_owned()).collect());
    request.settings = settings(profile, overlay);
    request.dimensions = Some(768);
    request
}

#[test]
fn embeddings_are_asked_for_as_each_platform_and_model_wants_it() {
    let mut request = texts("gemini", &json!({}), "gemini-embedding-001", &["one", "two"]);
    request.purpose = Some(Purpose::Query);
    request.extra_body = Some(r#"{"title":"T"}"#.into());
    check_http("embed", &Gemini::encode_embed(&request).unwrap());
    let mut request = texts("vertex", &vertex(), "text-embedding-005", &["one", "two"]);
    request.purpose = Some(Purpose::Document);
    request.extra_body = Some(r#"{"parameters":{"autoTruncate":false}}"#.into());
    check_http("embed_predict", &Gemini::encode_embed(&request).unwrap());
    let mut request = texts("vertex", &vertex(), "gemini-embedding-2", &["one"]);
    request.purpose = Some(Purpose::Clustering);
    check_http("embed_content", &Gemini::encode_embed(&request).unwrap());
    let said = |purpose: Option<Purpose>| {
        let mut request = texts("gemini", &json!({}), "gemini-embedding-2", &["one"]);
        request.purpose = purpose;
        let body: Value = serde_json::from_slice(&Gemini::encode_embed(&request).unwrap().body).unwrap();
        assert!(body["requests"][0].get("taskType").is_none());
        body["requests"][0]["content"]["parts"][0]["text"].as_str().unwrap().to_owned()
    };
    assert_eq!(said(None), "one");
    assert_eq!(said(Some(Purpose::Query)), "task: search result | query: one");
    assert_eq!(said(Some(Purpose::Document)), "title: none | text: one");
    assert_eq!(said(Some(Purpose::Classification)), "task: classification | query: one");
    request.inputs.push("two".into());
    assert_eq!(Gemini::encode_embed(&request).unwrap_err().kind, FailureKind::Unsupported);
}

#[test]
fn as_many_texts_go_into_one_request_as_always_fit() {
    let max = |profile: &str, overlay: &Value, model: &str| Gemini::max_inputs(model, &settings(profile, overlay));
    assert_eq!(max("gemini", &json!({}), "gemini-embedding-001"), 100);
    assert_eq!(max("gemini", &json!({ "embedding_inputs": 7 }), "gemini-embedding-001"), 7);
    assert_eq!(max("vertex", &vertex(), "text-embedding-005"), 5);
    let many = json!({ "project": "p", "location": "l", "embedding_inputs": 250 });
    assert_eq!(max("vertex", &many, "text-embedding-005"), 250);
    assert_eq!(max("vertex", &vertex(), "gemini-embedding-001"), 1);
    assert_eq!(max("vertex", &many, "gemini-embedding-2"), 1);
    assert_eq!(Gemini::max_inputs("m", "nonsense"), 1);
}

#[test]
fn models_are_listed_page_by_page() {
    check_http("models", &Gemini::encode_list(&settings("gemini", &json!({})), None).unwrap());
    check_http("models_vertex", &Gemini::encode_list(&settings("vertex", &vertex()), Some("next/page=")).unwrap());
}
