//! What is sent, byte for byte, in files under `tests/golden/`.
#![allow(clippy::unwrap_used, clippy::panic)] // this is how a test fails

use std::path::PathBuf;

use pg_llm_guest::http::{Auth, AwsSigv4Auth};
use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{golden, pretty};
use pg_llm_provider_bedrock::{Bedrock, SETTINGS_SCHEMA, Wire, encode};

#[track_caller]
fn check(name: &str, http: &HttpRequest) {
    let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "golden", &format!("{name}.http")].iter().collect();
    golden(file, &pretty(http));
}

const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";

fn with(model: &str, settings: &Value) -> ChatRequest {
    let mut request = ChatRequest::new(model, vec![Message::user("Hello, wörld 🦀")]);
    request.settings = settings.to_string();
    request
}

fn body(request: &ChatRequest) -> Value {
    serde_json::from_slice(&encode(request, Mode::Whole).unwrap().body).unwrap()
}

fn schema() -> ResponseFormat {
    ResponseFormat::JsonSchema(JsonSchemaFormat {
        name: "answer".into(),
        schema:
            r#"{"type": "object", "properties": {"why": {"type": "string"}, "answer": {"type": "string"}}, "additionalProperties": false}"#
                .into(),
        strict: true,
    })
}

fn call(id: &str, arguments: &str) -> Part {
    Part::ToolCall(ToolCall { id: id.into(), name: "weather".into(), arguments: arguments.into(), signature: None })
}

fn result(id: &str, content: &str, is_error: bool) -> Part {
    Part::ToolResult(ToolResult { call_id: id.into(), name: Some("weather".into()), content: content.into(), is_error })
}

fn thought(text: &str, signature: Option<&str>, redacted: bool) -> Part {
    Part::Thinking(Thinking { text: text.into(), signature: signature.map(str::to_owned), redacted })
}

fn weather() -> Tool {
    Tool {
        name: "weather".into(),
        description: Some("Tells the weather.".into()),
        parameters: r#"{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"string"}}}"#.into(),
        strict: Some(true),
    }
}

fn everything() -> ChatRequest {
    let document = Media { name: Some("Report, 2024.pdf".into()), ..Media::bytes(*b"%PDF-1.7", "application/pdf") };
    ChatRequest {
        // An ARN that tells its region and not its model.
        model: "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/abc123".into(),
        settings: json!({ "auth": "sigv4", "model_family": "claude", "guardrail": { "guardrailIdentifier": "g1", "guardrailVersion": "1", "trace": "enabled", "streamProcessingMode": "async" }, "latency": "optimized", "service_tier": "flex" })
            .to_string(),
        messages: vec![
            Message::system("One."),
            Message {
                role: Role::User,
                parts: vec![Part::Text("Look:".into()), Part::Image(Media::bytes(*b"\x89PNG\r\n\x1a\n", "image/png")), Part::Document(document)],
            },
            Message {
                role: Role::Assistant,
                parts: vec![
                    thought("Hm.", Some("c2ln"), false),
                    thought("", Some("ZW5jcnlwdGVk"), true),
                    thought("never signed", None, false),
                    Part::Text(" ".into()),
                    call("tooluse_1", r#"{"city":"Köln"}"#),
                    call("tooluse_2", ""),
                ],
            },
            Message { role: Role::Tool, parts: vec![result("tooluse_1", "12 degrees", false)] },
            Message { role: Role::Tool, parts: vec![result("tooluse_2", "no city", true), result("tooluse_3", "", false)] },
            Message::user("And now?"),
            Message::system("Two."),
        ],
        sampling: Sampling {
            temperature: Some(0.7),
            top_p: Some(0.9),
            top_k: Some(40),
            max_tokens: Some(4096),
            stop: vec!["END".into(), "\n\n".into()],
            ..Sampling::default()
        },
        tools: vec![weather(), Tool { name: "now".into(), description: None, parameters: r#"{"type":"object"}"#.into(), strict: None }],
        tool_choice: Some(ToolChoice::Named("weather".into())),
        response_format: Some(schema()),
        reasoning: Some(Reasoning { effort: None, budget_tokens: Some(2048) }),
        extra_body: Some(r#"{"serviceTier":null,"requestMetadata":{"team":"a"}}"#.into()),
    }
}

#[test]
fn everything_that_a_request_can_hold_has_its_place_on_the_wire() {
    check("everything", &encode(&everything(), Mode::Whole).unwrap());
}

#[test]
fn a_stream_has_its_own_path_and_type() {
    let mut request = with(CLAUDE, &json!({ "guardrail": { "guardrailIdentifier": "g1", "streamProcessingMode": "async" } }));
    request.messages.insert(0, Message::system("Be brief."));
    check("stream", &encode(&request, Mode::Stream).unwrap());
}

#[test]
fn a_prompt_is_cached_up_to_its_end_and_up_to_the_end_of_the_system_prompt() {
    let mut request = with(CLAUDE, &json!({ "prompt_caching": "1h" }));
    request.messages.insert(0, Message::system("Be brief."));
    check("prompt_caching", &encode(&request, Mode::Stream).unwrap());
    request.settings = json!({ "prompt_caching": "default" }).to_string();
    assert_eq!(body(&request)["system"][1], json!({ "cachePoint": { "type": "default" } }));
    request.settings = json!({ "prompt_caching": "off" }).to_string();
    assert_eq!(body(&request)["system"], json!([{ "text": "Be brief." }]));
    // Of nothing there is nothing to cache.
    request.messages[0] = Message::system(" ");
    request.settings = json!({ "prompt_caching": "5m" }).to_string();
    assert_eq!(body(&request).get("system"), None);
}

#[test]
fn requests_are_signed_with_the_keys_that_there_are() {
    let auth = |settings: Value, model: &str, keys: &[&str]| {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        Wire::parse(&settings.to_string()).unwrap().auth(model, &keys).map_err(Failure::from)
    };
    let signed = |session_token: Option<&str>, region: &str| {
        Auth::AwsSigv4(AwsSigv4Auth {
            access_key_id: "access_key_id".into(),
            secret_access_key: "access_key_secret".into(),
            session_token: session_token.map(str::to_owned),
            region: region.into(),
            service: "bedrock".into(),
        })
    };
    let pair = ["access_key_id", "access_key_secret"];
    let region = json!({ "region": "us-east-1" });
    assert_eq!(auth(region.clone(), CLAUDE, &pair), Ok(signed(None, "us-east-1")));
    let temporary = ["access_key_id", "access_key_secret", "session_token"];
    assert_eq!(auth(region.clone(), CLAUDE, &temporary), Ok(signed(Some("session_token"), "us-east-1")));
    assert_eq!(auth(json!({}), "arn:aws:bedrock:eu-west-1:1:inference-profile/x", &pair), Ok(signed(None, "eu-west-1")));
    // The main key goes first, unless the setting says otherwise.
    for (settings, keys) in
        [(region, &["default", "access_key_id"][..]), (json!({}), &["default"]), (json!({}), &[]), (json!({ "auth": "bearer" }), &pair)]
    {
        assert!(matches!(auth(settings, CLAUDE, keys), Ok(Auth::Header(header)) if header.key == "default" && header.prefix == "Bearer "));
    }
    assert_eq!(auth(json!({ "auth": "sigv4", "region": "r" }), CLAUDE, &["default"]), Ok(signed(None, "r")));
    for model in [CLAUDE, "arn:aws:bedrock::1:inference-profile/x", "arn:aws"] {
        let failure = auth(json!({}), model, &pair).unwrap_err();
        assert!(failure.kind == FailureKind::InvalidRequest && failure.message.contains("region"), "{failure:?}");
    }
}

#[test]
fn thinking_is_asked_for_in_the_words_of_the_models_family() {
    let sent = |model: &str, settings: &Value, effort: Option<&str>, budget_tokens| {
        let mut request = with(model, settings);
        request.reasoning = Some(Reasoning { effort: effort.map(str::to_owned), budget_tokens });
        encode(&request, Mode::Whole)
            .map(|http| serde_json::from_slice::<Value>(&http.body).unwrap()["additionalModelRequestFields"].clone())
            .map_err(|failure| failure.kind)
    };
    let none = json!({});
    let effort = |model: &str| sent(model, &none, Some("high"), None);
    assert_eq!(effort(CLAUDE), Ok(json!({ "thinking": { "type": "adaptive" }, "output_config": { "effort": "high" } })));
    assert_eq!(effort("us.amazon.nova-2-lite-v1:0"), Ok(json!({ "reasoningConfig": { "type": "enabled", "maxReasoningEffort": "high" } })));
    assert_eq!(effort("openai.gpt-5.6"), Ok(json!({ "reasoning": { "effort": "high" } })));
    assert_eq!(effort("openai.gpt-oss-120b-1:0"), Ok(json!({ "reasoning_effort": "high" })));
    assert_eq!(effort("moonshotai.kimi-k2"), Ok(json!({ "reasoning_effort": "high" })));
    assert_eq!(effort("meta.llama3-1-70b"), Err(FailureKind::Unsupported));
    assert_eq!(
        sent("arn:aws:bedrock:x:1:provisioned-model/y", &json!({ "model_family": "gpt-oss" }), Some("low"), None),
        Ok(json!({ "reasoning_effort": "low" }))
    );
    let claude = |settings: Value, effort, budget| sent(CLAUDE, &settings, effort, budget).unwrap();
    assert_eq!(claude(json!({}), None, Some(1024)), json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 } }));
    assert_eq!(claude(json!({ "adaptive_thinking": false }), Some("low"), None), json!({ "output_config": { "effort": "low" } }));
    let settings = json!({ "adaptive_thinking": false, "thinking_display": "summarized" });
    assert_eq!(claude(settings, Some("low"), None), json!({ "output_config": { "effort": "low" } }));
    let shown = json!({ "thinking": { "type": "adaptive", "display": "summarized" }, "output_config": { "effort": "low" } });
    assert_eq!(claude(json!({ "thinking_display": "summarized" }), Some("low"), None), shown);
    assert_eq!(sent("openai.gpt-5.6", &none, None, Some(1024)), Err(FailureKind::Unsupported));
    assert_eq!(sent("meta.llama3-1-70b", &none, None, Some(1024)), Err(FailureKind::Unsupported));
    // Off is off, in either way of saying it, and nothing to be said to a model that does not think.
    for (word, budget) in [(Some("none"), None), (None, Some(0))] {
        assert_eq!(claude(json!({ "thinking_display": "omitted" }), word, budget), json!({ "thinking": { "type": "disabled" } }));
        assert_eq!(sent("amazon.nova-2-lite-v1:0", &none, word, budget), Ok(json!({ "reasoningConfig": { "type": "disabled" } })));
        assert_eq!(sent("openai.gpt-5.6", &none, word, budget), Ok(json!({ "reasoning": { "effort": "none" } })));
        assert_eq!(sent("meta.llama3-1-70b", &none, word, budget), Ok(Value::Null));
    }
    assert_eq!(sent(CLAUDE, &none, None, None), Ok(Value::Null));
}

#[test]
fn top_k_has_the_name_that_the_model_knows() {
    let sent = |model: &str| {
        let mut request = with(model, &json!({}));
        request.sampling.top_k = Some(5);
        body(&request)["additionalModelRequestFields"].clone()
    };
    assert_eq!(sent(CLAUDE), json!({ "top_k": 5 }));
    assert_eq!(sent("amazon.nova-pro-v1:0"), json!({ "inferenceConfig": { "topK": 5 } }));
    assert_eq!(sent("cohere.command-r-v1:0"), json!({ "k": 5 }));
    assert_eq!(sent("mistral.mistral-large-2402-v1:0"), json!({ "top_k": 5 }));
}

#[test]
fn a_schema_is_enforced_by_the_wire_or_by_a_tool() {
    let mut request = with("amazon.nova-pro-v1:0", &json!({}));
    request.response_format = Some(schema());
    check("schema", &encode(&request, Mode::Whole).unwrap());
    request.settings = json!({ "schema_style": "tool" }).to_string();
    check("schema_as_tool", &encode(&request, Mode::Whole).unwrap());
    request.tools = vec![weather()];
    assert_eq!(encode(&request, Mode::Whole).unwrap_err().kind, FailureKind::Unsupported);
    request.tools.clear();
    request.messages.push(Message { role: Role::Assistant, parts: vec![call("a", "{}")] });
    assert_eq!(encode(&request, Mode::Whole).unwrap_err().kind, FailureKind::Unsupported);
    request.messages.pop();
    request.response_format = Some(ResponseFormat::JsonObject);
    assert_eq!(encode(&request, Mode::Whole).unwrap_err().kind, FailureKind::Unsupported);
    request.response_format = Some(ResponseFormat::Text);
    request.tools = vec![weather()];
    assert_eq!(body(&request)["toolConfig"]["tools"].as_array().unwrap().len(), 1);
}

#[test]
fn tools_are_left_out_where_they_may_not_be_called() {
    let mut request = with(CLAUDE, &json!({}));
    request.tools = vec![weather()];
    assert_eq!(body(&request)["toolConfig"].get("toolChoice"), None);
    // An empty description is refused, and says nothing.
    request.tools[0].description = Some(String::new());
    assert_eq!(body(&request)["toolConfig"]["tools"][0]["toolSpec"].get("description"), None);
    for (choice, wanted) in [(ToolChoice::Auto, json!({ "auto": {} })), (ToolChoice::Required, json!({ "any": {} }))] {
        request.tool_choice = Some(choice);
        assert_eq!(body(&request)["toolConfig"]["toolChoice"], wanted);
    }
    request.tool_choice = Some(ToolChoice::None);
    assert_eq!(body(&request).get("toolConfig"), None);
    // The wire wants to be told of tools that a conversation has used.
    request.messages.push(Message { role: Role::Assistant, parts: vec![call("a", "{}")] });
    request.messages.push(Message { role: Role::Tool, parts: vec![result("a", "12", false)] });
    assert_eq!(encode(&request, Mode::Whole).unwrap_err().kind, FailureKind::Unsupported);
}

#[test]
fn roles_take_turns_and_nothing_blank_is_sent() {
    let messages = |messages: Vec<Message>| body(&ChatRequest::new(CLAUDE, messages))["messages"].clone();
    let said = [
        Message::user("a"),
        Message::assistant(" "),
        Message::user("\n"),
        Message::user("b"),
        Message::assistant("c"),
        Message::assistant("d"),
    ];
    let wanted = json!([{ "role": "user", "content": [{ "text": "a" }, { "text": "b" }] }, { "role": "assistant", "content": [{ "text": "c" }, { "text": "d" }] }]);
    assert_eq!(messages(said.to_vec()), wanted);
    // A prompt of nothing is the provider's to refuse.
    assert_eq!(messages(vec![Message::user("")]), json!([{ "role": "user", "content": [{ "text": "" }] }]));
}

#[test]
fn media_come_as_bytes_or_from_s3() {
    let sent = |part: Part| {
        let request = ChatRequest::new(CLAUDE, vec![Message { role: Role::User, parts: vec![part] }]);
        encode(&request, Mode::Whole).map(|http| serde_json::from_slice::<Value>(&http.body).unwrap()["messages"][0]["content"][0].clone())
    };
    let image = |media: Media| sent(Part::Image(media)).unwrap()["image"].clone();
    let document = |media: Media| sent(Part::Document(media)).unwrap()["document"].clone();
    let untyped = |bytes: &[u8], name: Option<&str>| Media { media_type: None, name: name.map(str::to_owned), ..Media::bytes(bytes, "") };
    assert_eq!(image(untyped(b"\xFF\xD8\xFF", None)), json!({ "format": "jpeg", "source": { "bytes": "/9j/" } }));
    assert_eq!(image(Media::bytes(*b"x", "image/jpg; q=1")), json!({ "format": "jpeg", "source": { "bytes": "eA==" } }));
    assert_eq!(image(Media::url("data:image/webp;base64,eA==")), json!({ "format": "webp", "source": { "bytes": "eA==" } }));
    assert_eq!(
        image(Media::url("s3://bucket/a.GIF")),
        json!({ "format": "gif", "source": { "s3Location": { "uri": "s3://bucket/a.GIF" } } })
    );
    let csv = json!({ "format": "csv", "name": "a b-c", "source": { "bytes": "eA==" } });
    assert_eq!(document(untyped(b"x", Some("a  b\u{e9}c.csv"))), csv.clone());
    assert_eq!(document(Media { media_type: Some("application/octet-stream".into()), ..untyped(b"x", Some("a b_c.csv")) }), csv);
    assert_eq!(
        document(Media::url("s3://bucket/x.docx")),
        json!({ "format": "docx", "name": "document", "source": { "s3Location": { "uri": "s3://bucket/x.docx" } } })
    );
    assert_eq!(document(Media { name: Some("x".repeat(300)), ..Media::bytes(*b"x", "text/plain") })["name"].as_str().unwrap().len(), 192);
    for part in [
        Part::Image(Media::url("https://example.org/a.png")),
        Part::Image(Media::bytes(*b"x", "image/tiff")),
        Part::Image(Media::url("s3://bucket/a")),
        Part::Image(untyped(b"x", None)),
        Part::Document(Media::url("https://example.org/a.pdf")),
        Part::Document(Media::bytes(*b"x", "application/zip")),
    ] {
        assert_eq!(sent(part.clone()).unwrap_err().kind, FailureKind::Unsupported, "{part:?}");
    }
}

#[test]
fn no_two_documents_have_one_name() {
    let documents = |names: &[&str]| {
        let media = |name: &&str| Part::Document(Media { name: Some((*name).to_owned()), ..Media::bytes(*b"x", "text/plain") });
        let body = body(&ChatRequest::new(CLAUDE, vec![Message { role: Role::User, parts: names.iter().map(media).collect() }]));
        let blocks = body["messages"][0]["content"].as_array().unwrap().clone();
        blocks.iter().map(|block| block["document"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        documents(&["a.txt", "a.md", "a.csv", "a-2.txt", "a.b.txt", "", "./.."]),
        ["a", "a-2", "a-3", "a-2-2", "a-b", "document", "---"]
    );
}

#[test]
fn what_cannot_be_sent_is_the_callers_mistake_and_no_panic() {
    let broken = |change: fn(&mut ChatRequest)| {
        let mut request = everything();
        request.reasoning = None;
        change(&mut request);
        let failure = encode(&request, Mode::Whole).unwrap_err();
        assert_eq!(failure.kind, FailureKind::InvalidRequest, "{failure:?}");
    };
    broken(|request| request.settings = "[]".into());
    broken(|request| request.settings = r#"{"auth":"magic"}"#.into());
    broken(|request| request.settings = r#"{"guardrail":"g1"}"#.into());
    broken(|request| request.settings = r#"{"prompt_caching":true}"#.into());
    broken(|request| request.settings = r#"{"latency":"none"}"#.into());
    broken(|request| request.extra_body = Some("1".into()));
    broken(|request| request.tools[0].parameters = "null".into());
    broken(|request| request.sampling.top_p = Some(f64::NAN));
    broken(|request| request.messages[2].role = Role::User);
    broken(|request| request.messages[1].role = Role::Assistant);
    broken(|request| request.messages[1].role = Role::Tool);
    broken(|request| request.messages[1].role = Role::System);
    broken(|request| request.messages[2].parts.push(call("x", "{half")));
}

#[test]
fn what_the_wire_has_no_word_for_is_said_and_not_dropped() {
    for change in [
        (|sampling: &mut Sampling| sampling.seed = Some(1)) as fn(&mut Sampling),
        |sampling| sampling.presence_penalty = Some(0.5),
        |sampling| sampling.frequency_penalty = Some(0.5),
        |sampling| sampling.logprobs = Some(0),
    ] {
        let mut request = with(CLAUDE, &json!({}));
        change(&mut request.sampling);
        assert_eq!(encode(&request, Mode::Whole).unwrap_err().kind, FailureKind::Unsupported);
    }
}

#[test]
fn what_the_adapter_says_of_itself_is_so() {
    let description = Bedrock::describe();
    let profile = &description.profiles[0];
    assert_eq!((profile.name.as_str(), &profile.default_endpoint), ("bedrock", &None));
    assert!(profile.keys.iter().all(|key| !key.required));
    let schema: Value = serde_json::from_str(&description.settings_schema).unwrap();
    assert_eq!(description.settings_schema, SETTINGS_SCHEMA);
    // Each word of each list is one that is understood, and no other is.
    for (name, setting) in schema["properties"].as_object().unwrap() {
        for word in setting["enum"].as_array().into_iter().flatten() {
            let mut settings = json!({ "region": "us-east-1" });
            settings[name] = word.clone();
            encode(&with(CLAUDE, &settings), Mode::Whole).unwrap();
        }
        if setting["enum"].is_array() && name != "thinking_display" {
            let settings = json!({ name: "no such word" });
            assert_eq!(encode(&with(CLAUDE, &settings), Mode::Whole).unwrap_err().kind, FailureKind::InvalidRequest, "{name}");
        }
    }
}
