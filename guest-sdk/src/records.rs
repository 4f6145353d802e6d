//! Short ways to make the records of the contract.

use serde_json::Value;

use crate::json;
use crate::types::{
    Answer, ChatRequest, Event, Media, MediaSource, Message, Part, Reasoning, Role, Sampling, Started, Thinking, ToolCall, ToolCallDelta,
    Usage,
};
use crate::{Capabilities, Description, KeySpec, Profile};

impl ChatRequest {
    /// A request to this model, with these messages and nothing else.
    pub fn new(model: impl Into<String>, messages: Vec<Message>) -> Self {
        Self {
            model: model.into(),
            settings: "{}".to_owned(),
            messages,
            sampling: Sampling::default(),
            tools: Vec::new(),
            tool_choice: None,
            response_format: None,
            reasoning: None,
            extra_body: None,
        }
    }
}

impl Message {
    /// A message of one text.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self { role, parts: vec![Part::Text(text.into())] }
    }

    /// What the user says.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new(Role::User, text)
    }

    /// What the operator says.
    pub fn system(text: impl Into<String>) -> Self {
        Self::new(Role::System, text)
    }

    /// What the model said.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::new(Role::Assistant, text)
    }

    /// Its texts, joined by blank lines.
    pub fn text(&self) -> String {
        let mut joined = String::new();
        for part in &self.parts {
            if let Part::Text(text) = part {
                if !joined.is_empty() {
                    joined.push_str("\n\n");
                }
                joined.push_str(text);
            }
        }
        joined
    }
}

impl Media {
    /// These bytes.
    pub fn bytes(bytes: impl Into<Vec<u8>>, media_type: impl Into<String>) -> Self {
        Self { source: MediaSource::Bytes(bytes.into()), media_type: Some(media_type.into()), name: None, detail: None }
    }

    /// What is at this address.
    pub fn url(url: impl Into<String>) -> Self {
        Self { source: MediaSource::Url(url.into()), media_type: None, name: None, detail: None }
    }
}

#[allow(clippy::derivable_impls)] // the records are generated, without derives of ours
impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: None,
            top_p: None,
            top_k: None,
            max_tokens: None,
            stop: Vec::new(),
            seed: None,
            presence_penalty: None,
            frequency_penalty: None,
            logprobs: None,
        }
    }
}

#[allow(clippy::derivable_impls)]
impl Default for Reasoning {
    fn default() -> Self {
        Self { effort: None, budget_tokens: None }
    }
}

#[allow(clippy::derivable_impls)]
impl Default for Usage {
    fn default() -> Self {
        Self { input_tokens: None, output_tokens: None, cached_tokens: None, cache_write_tokens: None, reasoning_tokens: None, raw: None }
    }
}

#[allow(clippy::derivable_impls)]
impl Default for Answer {
    fn default() -> Self {
        Self { id: None, model: None, parts: Vec::new(), finish_reason: None, usage: None, logprobs: Vec::new(), raw: None }
    }
}

impl Answer {
    /// Its texts, joined as they came.
    pub fn text(&self) -> String {
        self.parts.iter().filter_map(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None }).collect()
    }

    /// The events that a stream of this answer would have had, for servers that answer as a whole though a stream was asked for.
    pub fn into_events(self, events: &mut Vec<Event>) {
        events.push(Event::Started(Started { id: self.id, model: self.model }));
        for (index, part) in (0..).zip(self.parts) {
            let event = match part {
                Part::Text(text) => Event::Text(text),
                Part::Thinking(Thinking { signature, redacted: true, .. }) => Event::RedactedThinking(signature.unwrap_or_default()),
                Part::Thinking(Thinking { text, signature, .. }) => {
                    events.push(Event::Thinking(text));
                    let Some(signature) = signature else { continue };
                    Event::ThinkingSignature(signature)
                }
                Part::ToolCall(ToolCall { id, name, arguments, signature }) => {
                    Event::ToolCall(ToolCallDelta { index, id: Some(id), name: Some(name), arguments, signature })
                }
                // No model says these.
                Part::Image(_) | Part::Document(_) | Part::ToolResult(_) => continue,
            };
            events.push(event);
        }
        if !self.logprobs.is_empty() {
            events.push(Event::Logprobs(self.logprobs));
        }
        events.extend(self.finish_reason.map(Event::Finish));
        events.extend(self.usage.map(Event::Usage));
    }
}

#[allow(clippy::derivable_impls)]
impl Default for Started {
    fn default() -> Self {
        Self { id: None, model: None }
    }
}

#[allow(clippy::derivable_impls)]
impl Default for ToolCallDelta {
    fn default() -> Self {
        Self { index: 0, id: None, name: None, arguments: String::new(), signature: None }
    }
}

impl Description {
    /// An adapter without profiles (add at least one) and without settings.
    pub fn new(name: impl Into<String>, version: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            summary: summary.into(),
            profiles: Vec::new(),
            settings_schema: r#"{"type":"object","properties":{},"additionalProperties":false}"#.to_owned(),
        }
    }

    /// Adds a kind of endpoint.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profiles.push(profile);
        self
    }

    /// The JSON Schema of the settings.
    #[must_use]
    pub fn settings_schema(mut self, schema: impl Into<String>) -> Self {
        self.settings_schema = schema.into();
        self
    }
}

impl Profile {
    /// A kind of endpoint, without a default address, keys or settings, which can stream.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            aliases: Vec::new(),
            default_endpoint: None,
            keys: Vec::new(),
            capabilities: Capabilities::STREAM,
            settings: "{}".to_owned(),
        }
    }

    /// Its address when the model says none.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.default_endpoint = Some(endpoint.into());
        self
    }

    /// A key that it takes.
    #[must_use]
    pub fn key(mut self, name: impl Into<String>, required: bool, description: impl Into<String>) -> Self {
        self.keys.push(KeySpec { name: name.into(), required, description: description.into() });
        self
    }

    /// What it is known to support.
    #[must_use]
    pub fn capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// What its models' settings start from.
    #[must_use]
    pub fn settings(mut self, settings: &Value) -> Self {
        self.settings = json::text(settings);
        self
    }
}
