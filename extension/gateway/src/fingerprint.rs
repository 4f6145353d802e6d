//! What decides the answer to a call, as one number.

use pg_llm_sandbox::Digest;
use pg_llm_sandbox::types::ChatRequest;
use ring::digest::{Context, SHA256};

use crate::filters::FilterChain;
use crate::record::{Record, put_text};
use crate::structured::AnswerFormat;

/// SHA-256 of a call: equal for calls that may have the same answer, and for no others.
pub type Fingerprint = [u8; 32];

/// Another one wherever the bytes below change their meaning.
const VERSION: &str = "pg_llm request 1";

/// All that decides an answer: the request in the provider's terms, and what stands between it and the answer. A profile decides by its settings and its
/// endpoint, which are in there. Keys, time and number of attempts decide whether there is an answer, and not which.
pub(crate) struct Deciding<'a> {
    /// The model's name in SQL.
    pub(crate) instance: &'a str,
    /// The adapter's code.
    pub(crate) component: &'a Digest,
    pub(crate) endpoint: Option<String>,
    pub(crate) request: &'a ChatRequest,
    /// What the gateway holds the answer against.
    pub(crate) format: Option<&'a AnswerFormat>,
    pub(crate) include_raw: bool,
    /// What request and answer go through.
    pub(crate) filters: &'a FilterChain,
}

impl Deciding<'_> {
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let Self { instance, component, endpoint, request, format, include_raw, filters } = self;
        let mut context = Context::new(&SHA256);
        let sink = &mut |bytes: &[u8]| context.update(bytes);
        put_text(VERSION, sink);
        put_text(instance, sink);
        sink(component.as_slice());
        endpoint.put(sink);
        request.put(sink);
        match format {
            None => sink(&[0]),
            Some(AnswerFormat::Text) => sink(&[1]),
            Some(AnswerFormat::Json) => sink(&[2]),
            // An endpoint that cannot be told a schema is told it in words, and these could be a caller's own.
            Some(AnswerFormat::Schema(format)) => {
                sink(&[3]);
                put_text(&format.name, sink);
                format.strict.put(sink);
                put_text(format.schema.text(), sink);
            }
            // What the endpoint is told of it is in the request.
            Some(AnswerFormat::Advised(_)) => sink(&[4]),
        }
        include_raw.put(sink);
        filters.put(sink);
        let mut fingerprint = Fingerprint::default();
        fingerprint.copy_from_slice(context.finish().as_ref());
        fingerprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChatOptions;
    use pg_llm_sandbox::types::{
        JsonSchemaFormat, Media, MediaSource, Message, Part, Reasoning, ResponseFormat, Role, Sampling, Thinking, Tool, ToolCall,
        ToolChoice, ToolResult,
    };
    use serde_json::json;
    use std::collections::HashMap;

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    fn image(source: MediaSource) -> Part {
        Part::Image(Media { source, media_type: None, name: None, detail: None })
    }

    fn request() -> ChatRequest {
        ChatRequest {
            model: "model".into(),
            settings: "{}".into(),
            messages: vec![
                Message { role: Role::System, parts: vec![text("be brief")] },
                Message {
                    role: Role::Assistant,
                    parts: vec![
                        Part::Thinking(Thinking { text: "hm".into(), signature: Some("signed".into()), redacted: false }),
                        Part::ToolCall(ToolCall { id: "1".into(), name: "f".into(), arguments: "{}".into(), signature: None }),
                    ],
                },
                Message {
                    role: Role::Tool,
                    parts: vec![Part::ToolResult(ToolResult { call_id: "1".into(), name: None, content: "ok".into(), is_error: false })],
                },
                Message { role: Role::User, parts: vec![text("ab"), image(MediaSource::Bytes(vec![1, 2]))] },
            ],
            sampling: Sampling {
                temperature: Some(0.0),
                top_p: None,
                top_k: None,
                max_tokens: None,
                stop: vec!["x".into()],
                seed: Some(1),
                presence_penalty: None,
                frequency_penalty: None,
                logprobs: None,
            },
            tools: vec![Tool { name: "f".into(), description: None, parameters: "{}".into(), strict: None }],
            tool_choice: None,
            response_format: None,
            reasoning: None,
            extra_body: None,
        }
    }

    fn of(request: &ChatRequest) -> Fingerprint {
        let (endpoint, filters) = (Some("https://a/v1".into()), &FilterChain::default());
        Deciding { instance: "m", component: &[7; 32], endpoint, request, format: None, include_raw: false, filters }.fingerprint()
    }

    #[test]
    fn equal_requests_are_equal() {
        assert_eq!(of(&request()), of(&request().clone()));
    }

    #[test]
    #[allow(
        clippy::semicolon_if_nothing_returned,
        clippy::type_complexity,
        clippy::too_many_lines,
        reason = "one long list of small changes"
    )]
    fn any_single_change_of_a_request_changes_it_and_no_two_changes_are_alike() {
        let format = |name: &str, strict| JsonSchemaFormat { name: name.into(), schema: "{}".into(), strict };
        let last = |r: &mut ChatRequest, parts: Vec<Part>| r.messages[3].parts = parts;
        let changes: Vec<Box<dyn Fn(&mut ChatRequest)>> = vec![
            Box::new(|_| {}),
            Box::new(|r| r.model = "model2".into()),
            Box::new(|r| (r.model, r.settings) = ("mode".into(), "l{}".into())),
            Box::new(|r| (r.model, r.settings) = ("model{}".into(), String::new())),
            Box::new(|r| r.settings = "{\"a\":1}".into()),
            Box::new(|r| r.messages[0].role = Role::User),
            Box::new(|r| r.messages.swap(0, 3)),
            Box::new(|r| drop(r.messages.remove(0))),
            Box::new(|r| r.messages.push(Message { role: Role::User, parts: vec![] })),
            Box::new(|r| r.messages[0].parts = vec![text("be "), text("brief")]),
            Box::new(|r| r.messages[0].parts = vec![text("be brief"), text("")]),
            Box::new(|r| r.messages[1].parts[0] = Part::Thinking(Thinking { text: "hm".into(), signature: None, redacted: false })),
            Box::new(|r| {
                r.messages[1].parts[0] = Part::Thinking(Thinking { text: "hm".into(), signature: Some("signed".into()), redacted: true })
            }),
            Box::new(|r| {
                r.messages[1].parts[0] = Part::Thinking(Thinking { text: "hms".into(), signature: Some("igned".into()), redacted: false })
            }),
            Box::new(|r| r.messages[1].parts.swap(0, 1)),
            Box::new(|r| {
                r.messages[1].parts[1] =
                    Part::ToolCall(ToolCall { id: "2".into(), name: "f".into(), arguments: "{}".into(), signature: None })
            }),
            Box::new(|r| {
                r.messages[1].parts[1] =
                    Part::ToolCall(ToolCall { id: "1f".into(), name: String::new(), arguments: "{}".into(), signature: None })
            }),
            Box::new(|r| {
                r.messages[1].parts[1] =
                    Part::ToolCall(ToolCall { id: "1".into(), name: "f".into(), arguments: "{ }".into(), signature: None })
            }),
            Box::new(|r| {
                r.messages[1].parts[1] =
                    Part::ToolCall(ToolCall { id: "1".into(), name: "f".into(), arguments: "{}".into(), signature: Some(String::new()) })
            }),
            Box::new(|r| {
                r.messages[2].parts =
                    vec![Part::ToolResult(ToolResult { call_id: "1".into(), name: None, content: "ok".into(), is_error: true })]
            }),
            Box::new(|r| {
                r.messages[2].parts = vec![Part::ToolResult(ToolResult {
                    call_id: "1".into(),
                    name: Some("f".into()),
                    content: "ok".into(),
                    is_error: false,
                })]
            }),
            Box::new(|r| r.messages[2].parts = vec![text("ok")]),
            Box::new(move |r| last(r, vec![text("ab"), image(MediaSource::Bytes(vec![1, 3]))])),
            Box::new(move |r| last(r, vec![text("ab"), image(MediaSource::Url("\u{1}\u{2}".into()))])),
            Box::new(move |r| last(r, vec![text("ab")])),
            Box::new(move |r| last(r, vec![text("ba"), image(MediaSource::Bytes(vec![1, 2]))])),
            Box::new(move |r| {
                last(
                    r,
                    vec![
                        text("ab"),
                        Part::Document(Media { source: MediaSource::Bytes(vec![1, 2]), media_type: None, name: None, detail: None }),
                    ],
                )
            }),
            Box::new(move |r| {
                last(
                    r,
                    vec![
                        text("ab"),
                        Part::Image(Media {
                            source: MediaSource::Bytes(vec![1, 2]),
                            media_type: Some("image/png".into()),
                            name: None,
                            detail: None,
                        }),
                    ],
                )
            }),
            Box::new(move |r| {
                last(
                    r,
                    vec![
                        text("ab"),
                        Part::Image(Media {
                            source: MediaSource::Bytes(vec![1, 2]),
                            media_type: None,
                            name: Some("image/png".into()),
                            detail: None,
                        }),
                    ],
                )
            }),
            Box::new(move |r| {
                last(
                    r,
                    vec![
                        text("ab"),
                        Part::Image(Media {
                            source: MediaSource::Bytes(vec![1, 2]),
                            media_type: None,
                            name: None,
                            detail: Some("image/png".into()),
                        }),
                    ],
                )
            }),
            Box::new(|r| r.sampling.temperature = None),
            Box::new(|r| r.sampling.temperature = Some(1e-300)),
            Box::new(|r| (r.sampling.temperature, r.sampling.top_p) = (None, Some(0.0))),
            Box::new(|r| r.sampling.top_p = Some(0.5)),
            Box::new(|r| r.sampling.top_k = Some(5)),
            Box::new(|r| r.sampling.max_tokens = Some(5)),
            Box::new(|r| r.sampling.stop = vec![]),
            Box::new(|r| r.sampling.stop = vec!["x".into(), "x".into()]),
            Box::new(|r| r.sampling.stop = vec!["xx".into()]),
            Box::new(|r| r.sampling.seed = None),
            Box::new(|r| r.sampling.seed = Some(-1)),
            Box::new(|r| r.sampling.presence_penalty = Some(0.5)),
            Box::new(|r| r.sampling.frequency_penalty = Some(0.5)),
            Box::new(|r| r.sampling.logprobs = Some(0)),
            Box::new(|r| r.sampling.logprobs = Some(5)),
            Box::new(|r| r.tools.clear()),
            Box::new(|r| r.tools[0].name = "g".into()),
            Box::new(|r| r.tools[0].description = Some(String::new())),
            Box::new(|r| r.tools[0].parameters = "{\"a\":1}".into()),
            Box::new(|r| r.tools[0].strict = Some(false)),
            Box::new(|r| r.tools[0].strict = Some(true)),
            Box::new(|r| r.tool_choice = Some(ToolChoice::Auto)),
            Box::new(|r| r.tool_choice = Some(ToolChoice::None)),
            Box::new(|r| r.tool_choice = Some(ToolChoice::Required)),
            Box::new(|r| r.tool_choice = Some(ToolChoice::Named("f".into()))),
            Box::new(|r| r.response_format = Some(ResponseFormat::Text)),
            Box::new(|r| r.response_format = Some(ResponseFormat::JsonObject)),
            Box::new(move |r| r.response_format = Some(ResponseFormat::JsonSchema(format("a", true)))),
            Box::new(move |r| r.response_format = Some(ResponseFormat::JsonSchema(format("a", false)))),
            Box::new(move |r| r.response_format = Some(ResponseFormat::JsonSchema(format("b", true)))),
            Box::new(|r| r.reasoning = Some(Reasoning { effort: None, budget_tokens: None })),
            Box::new(|r| r.reasoning = Some(Reasoning { effort: Some("low".into()), budget_tokens: None })),
            Box::new(|r| r.reasoning = Some(Reasoning { effort: None, budget_tokens: Some(5) })),
            Box::new(|r| r.extra_body = Some("{}".into())),
            Box::new(|r| r.extra_body = Some("{\"a\":1}".into())),
        ];
        let mut seen = HashMap::new();
        for (number, change) in changes.iter().enumerate() {
            let mut request = request();
            change(&mut request);
            if let Some(other) = seen.insert(of(&request), number) {
                panic!("changes {other} and {number} look alike");
            }
        }
    }

    #[test]
    fn what_stands_around_the_request_counts() {
        let request = request();
        let format =
            |options: serde_json::Value| ChatOptions::parse(&json!({"response_format": options})).unwrap().response_format.unwrap();
        let schema = |name: &str, strict: bool, of: &str| {
            format(json!({"type": "json_schema", "json_schema": {"name": name, "strict": strict, "schema": {"type": of}}}))
        };
        let formats = [
            format(json!("text")),
            format(json!("json")),
            schema("a", true, "object"),
            schema("b", true, "object"),
            schema("a", false, "object"),
            schema("a", true, "array"),
        ];
        let filters = &FilterChain::default();
        let base = || Deciding {
            instance: "m",
            component: &[7; 32],
            endpoint: None,
            request: &request,
            format: None,
            include_raw: false,
            filters,
        };
        let mut all = vec![
            base(),
            Deciding { instance: "n", ..base() },
            Deciding { component: &[8; 32], ..base() },
            Deciding { endpoint: Some(String::new()), ..base() },
            Deciding { endpoint: Some("https://a/v1".into()), ..base() },
            Deciding { endpoint: Some("https://a/v2".into()), ..base() },
            Deciding { include_raw: true, ..base() },
        ];
        all.extend(formats.iter().map(|format| Deciding { format: Some(format), ..base() }));
        let distinct: std::collections::HashSet<_> = all.iter().map(Deciding::fingerprint).collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn the_order_of_an_objects_keys_does_not_count() {
        let body = |text: &str| {
            let options = serde_json::from_str(&format!("{{\"extra_body\": {text}}}")).unwrap();
            let mut request = request();
            request.extra_body = ChatOptions::parse(&options).unwrap().call.extra_body_text();
            of(&request)
        };
        assert_eq!(body(r#"{"a": {"x": 1, "y": [1, 2]}, "b": 2}"#), body(r#"{"b": 2, "a": {"y": [1, 2], "x": 1}}"#));
        assert_ne!(body(r#"{"a": [1, 2]}"#), body(r#"{"a": [2, 1]}"#), "that of an array's does");
    }
}
