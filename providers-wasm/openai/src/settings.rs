//! Where endpoints that speak this wire format differ, as settings.

use pg_llm_guest::http::{Auth, Header, HeaderAuth, Oauth2ClientCredentialsAuth, percent_encode};
use pg_llm_guest::prelude::*;
use pg_llm_guest::settings::SettingError;

/// JSON Schema of the settings. Their defaults are OpenAI's own ways.
pub const SETTINGS_SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "api": {"enum": ["chat", "responses"], "default": "chat", "description": "Which of OpenAI's interfaces a chat uses: Chat Completions, or Responses."},
    "chat_path": {"type": "string", "default": "/chat/completions", "description": "Path after the endpoint. {model} stands for the model's name, in each path."},
    "responses_path": {"type": "string", "default": "/responses", "description": "Path of Responses."},
    "embeddings_path": {"type": "string", "default": "/embeddings", "description": "Path of embeddings."},
    "rerank_path": {"type": "string", "default": "/rerank", "description": "Path of reranking, where there is one."},
    "models_path": {"type": "string", "default": "/models", "description": "Path of the list of models."},
    "api_version": {"type": "string", "description": "Sent as the query parameter api-version, but not to Azure's paths of /openai/v1/, which want none."},
    "auth_header": {"type": "string", "default": "authorization", "description": "Header that carries the key."},
    "auth_prefix": {"type": "string", "description": "Before the key in that header. Default: \"Bearer \" in authorization, nothing in any other."},
    "key_optional": {"type": "boolean", "default": false, "description": "Send without a key when the model has none."},
    "oauth2_token_url": {"type": "string", "description": "Get a token here with the keys client_id and client_secret (OAuth 2.0 client credentials), instead of sending the key."},
    "oauth2_scopes": {"type": "array", "items": {"type": "string"}, "description": "Scopes of that token."},
    "organization": {"type": "string", "description": "Sent as OpenAI-Organization."},
    "project": {"type": "string", "description": "Sent as OpenAI-Project."},
    "headers": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Further request headers. No secrets: keys are set apart."},
    "max_tokens_field": {"enum": ["max_completion_tokens", "max_tokens"], "default": "max_completion_tokens", "description": "Name of the bound of output tokens. Reasoning models refuse max_tokens, older servers know nothing else."},
    "stream_usage": {"type": "boolean", "default": true, "description": "Ask a stream for its usage (stream_options.include_usage). False for servers that reject the field."},
    "system_role": {"enum": ["system", "developer", "user"], "default": "system", "description": "Role of the operator's messages."},
    "seed_field": {"type": "string", "default": "seed", "description": "Name of the seed."},
    "reasoning_style": {"enum": ["effort", "openrouter", "enable_thinking", "thinking", "chat_template", "none"], "default": "effort", "description": "How to say how much to think: reasoning_effort; reasoning {effort, max_tokens}; enable_thinking and thinking_budget; thinking {type}; chat_template_kwargs {enable_thinking}; not at all."},
    "reasoning_replay": {"type": "boolean", "default": false, "description": "Send the model's thinking back (reasoning_content) within a loop of tool calls."},
    "document_style": {"enum": ["file", "file_url", "document_url", "none"], "default": "file", "description": "How documents are sent: file parts with the bytes; the same and addresses too; document_url parts; not at all."},
    "tool_result_name": {"type": "boolean", "default": false, "description": "Send the tool's name with its result."},
    "store": {"type": "boolean", "default": false, "description": "Have Responses keep the answer at the provider."},
    "include": {"type": "array", "items": {"type": "string"}, "default": ["reasoning.encrypted_content"], "description": "What Responses sends beside the answer. Empty for models that refuse encrypted reasoning; without it a model forgets its thinking between turns."},
    "reasoning_summary": {"enum": ["auto", "concise", "detailed"], "description": "Have Responses show the model's thinking, as a summary."},
    "embedding_encoding": {"enum": ["base64", "float"], "default": "base64", "description": "How vectors are asked for: base64 is half the bytes; float asks for nothing, for servers that refuse the field. What comes is read either way."},
    "embedding_inputs": {"type": "integer", "minimum": 1, "default": 2048, "description": "How many texts one request for embeddings may carry."},
    "quota_is_throttle": {"type": "boolean", "default": false, "description": "The endpoint says insufficient_quota for a short throttle, after which trying again helps."}
  }
}"#;

/// How to say how much to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReasoningStyle {
    Effort,
    OpenRouter,
    EnableThinking,
    Thinking,
    ChatTemplate,
    None,
}

/// How documents are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DocumentStyle {
    File,
    FileUrl,
    DocumentUrl,
    None,
}

/// The settings of one call. Each is read when it is wanted: a call needs a few of them.
#[derive(Clone, Debug, Default)]
pub struct Wire(Settings);

impl Wire {
    /// Reads a request's settings.
    pub fn of(request: &ChatRequest) -> Result<Self, Failure> {
        Self::parse(&request.settings)
    }

    pub(crate) fn parse(settings: &str) -> Result<Self, Failure> {
        Settings::parse(settings).map(Self)
    }

    /// Whether a chat goes to Responses.
    pub(crate) fn is_responses(&self) -> Result<bool, SettingError> {
        one_of(&self.0, "api", &[("chat", false), ("responses", true)])
    }

    /// Whether a setting is true; false when absent.
    pub(crate) fn is_set(&self, name: &str) -> Result<bool, SettingError> {
        Ok(self.0.flag(name)?.unwrap_or(false))
    }

    pub(crate) fn stream_usage(&self) -> Result<bool, SettingError> {
        Ok(self.0.flag("stream_usage")?.unwrap_or(true))
    }

    pub(crate) fn quota_is_throttle(&self) -> Result<bool, SettingError> {
        self.is_set("quota_is_throttle")
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, SettingError> {
        self.0.text(name)
    }

    pub(crate) fn text_or<'a>(&'a self, name: &str, default: &'a str) -> Result<&'a str, SettingError> {
        Ok(self.0.text(name)?.unwrap_or(default))
    }

    pub(crate) fn count(&self, name: &str) -> Result<Option<u64>, SettingError> {
        self.0.count(name)
    }

    pub(crate) fn list(&self, name: &str) -> Result<Option<&[Value]>, SettingError> {
        self.0.list(name)
    }

    pub(crate) fn system_role(&self) -> Result<&str, SettingError> {
        self.text_or("system_role", "system")
    }

    pub(crate) fn reasoning_style(&self) -> Result<ReasoningStyle, SettingError> {
        one_of(&self.0, "reasoning_style", &REASONING_STYLES)
    }

    pub(crate) fn document_style(&self) -> Result<DocumentStyle, SettingError> {
        one_of(&self.0, "document_style", &DOCUMENT_STYLES)
    }

    /// The path that a setting gives, with the model's name in its place.
    pub(crate) fn path(&self, setting: &str, default: &str, model: &str) -> Result<String, SettingError> {
        const PLACE: &str = "{model}";
        let path = self.text_or(setting, default)?;
        let (before, after) = match find(path, PLACE) {
            Some(at) => (&path[..at], Some(&path[at + PLACE.len()..])),
            None => (path, None),
        };
        let mut filled = before.to_owned();
        if let Some(after) = after {
            percent_encode(model, &mut filled);
            filled.push_str(after);
        }
        Ok(filled)
    }

    /// A request with key and headers.
    pub(crate) fn request(&self, method: Method, path: String, accept: &str) -> Result<HttpRequest, SettingError> {
        let mut http = HttpRequest::new(method, path);
        self.dress(accept, &mut http)?;
        Ok(http)
    }

    fn dress(&self, accept: &str, http: &mut HttpRequest) -> Result<(), SettingError> {
        if let Some(version) = self.0.text("api_version")?.filter(|_| !http.path_with_query.starts_with("/openai/v1/")) {
            http.path_with_query.push_str(if find(&http.path_with_query, "?").is_some() { "&api-version=" } else { "?api-version=" });
            percent_encode(version, &mut http.path_with_query);
        }
        http.auth = Some(auth(&self.0)?);
        let mut add = |name: &str, value: &str| http.headers.push(Header { name: name.to_owned(), value: value.to_owned() });
        add("accept", accept);
        for (setting, name) in [("organization", "openai-organization"), ("project", "openai-project")] {
            if let Some(value) = self.0.text(setting)? {
                add(name, value);
            }
        }
        for (name, value) in self.0.object("headers")?.into_iter().flatten() {
            let wrong = || SettingError::new("headers", &["must have strings as values, and ", name, " has none"]);
            add(name, value.as_str().ok_or_else(wrong)?);
        }
        Ok(())
    }
}

const REASONING_STYLES: [(&str, ReasoningStyle); 6] = [
    ("effort", ReasoningStyle::Effort),
    ("openrouter", ReasoningStyle::OpenRouter),
    ("enable_thinking", ReasoningStyle::EnableThinking),
    ("thinking", ReasoningStyle::Thinking),
    ("chat_template", ReasoningStyle::ChatTemplate),
    ("none", ReasoningStyle::None),
];

const DOCUMENT_STYLES: [(&str, DocumentStyle); 4] = [
    ("file", DocumentStyle::File),
    ("file_url", DocumentStyle::FileUrl),
    ("document_url", DocumentStyle::DocumentUrl),
    ("none", DocumentStyle::None),
];

/// The value of this name; the first is the default.
fn one_of<T: Copy>(settings: &Settings, name: &str, values: &[(&str, T)]) -> Result<T, SettingError> {
    let word = settings.text(name)?;
    let known = values.iter().find(|(known, _)| word.is_none_or(|word| word == *known));
    known.map(|(_, value)| *value).ok_or_else(|| SettingError::new(name, &["has no value ", word.unwrap_or_default()]))
}

/// Where `words` begin in `text`. Byte by byte: the standard library's searcher is 4 kB of a guest.
pub(crate) fn find(text: &str, words: &str) -> Option<usize> {
    text.as_bytes().windows(words.len()).position(|window| window == words.as_bytes())
}

fn auth(settings: &Settings) -> Result<Auth, SettingError> {
    if let Some(token_url) = settings.text("oauth2_token_url")? {
        let scopes = settings.list("oauth2_scopes")?.unwrap_or_default();
        return Ok(Auth::Oauth2ClientCredentials(Oauth2ClientCredentialsAuth {
            client_id: "client_id".to_owned(),
            client_secret: "client_secret".to_owned(),
            token_url: token_url.to_owned(),
            scopes: scopes.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        }));
    }
    let name = settings.text("auth_header")?.unwrap_or("authorization");
    let default_prefix = if name.eq_ignore_ascii_case("authorization") { "Bearer " } else { "" };
    let prefix = settings.text("auth_prefix")?.unwrap_or(default_prefix);
    let optional = settings.flag("key_optional")?.unwrap_or(false);
    Ok(Auth::Header(HeaderAuth { key: "default".to_owned(), name: name.to_owned(), prefix: prefix.to_owned(), optional }))
}
