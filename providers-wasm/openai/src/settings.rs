//! Where endpoints that speak this wire format differ, as settings.

use pg_llm_guest::http::{Auth, HeaderAuth, Oauth2ClientCredentialsAuth};
use pg_llm_guest::prelude::*;
use pg_llm_guest::settings::SettingError;

/// JSON Schema of the settings. Their defaults are OpenAI's own ways.
pub const SETTINGS_SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "chat_path": {"type": "string", "default": "/chat/completions", "description": "Path after the endpoint. {model} stands for the model's name."},
    "api_version": {"type": "string", "description": "Sent as the query parameter api-version."},
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

/// The settings of one call, read and with their defaults.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // each is a setting of its own
pub struct Wire {
    pub(crate) path: String,
    pub(crate) auth: Auth,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) max_tokens_field: String,
    pub(crate) stream_usage: bool,
    pub(crate) system_role: String,
    pub(crate) seed_field: String,
    pub(crate) reasoning_style: ReasoningStyle,
    pub(crate) reasoning_replay: bool,
    pub(crate) document_style: DocumentStyle,
    pub(crate) tool_result_name: bool,
    pub(crate) quota_is_throttle: bool,
}

impl Wire {
    /// Reads a request's settings.
    pub fn of(request: &ChatRequest) -> Result<Self, Failure> {
        Ok(Self::read(&Settings::of(request)?, &request.model)?)
    }

    fn read(settings: &Settings, model: &str) -> Result<Self, SettingError> {
        Ok(Self {
            path: path(settings, model)?,
            auth: auth(settings)?,
            headers: headers(settings)?,
            max_tokens_field: text(settings, "max_tokens_field", "max_completion_tokens")?,
            stream_usage: settings.flag("stream_usage")?.unwrap_or(true),
            system_role: text(settings, "system_role", "system")?,
            seed_field: text(settings, "seed_field", "seed")?,
            reasoning_style: one_of(settings, "reasoning_style", &REASONING_STYLES)?,
            reasoning_replay: settings.flag("reasoning_replay")?.unwrap_or(false),
            document_style: one_of(settings, "document_style", &DOCUMENT_STYLES)?,
            tool_result_name: settings.flag("tool_result_name")?.unwrap_or(false),
            quota_is_throttle: settings.flag("quota_is_throttle")?.unwrap_or(false),
        })
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

fn text(settings: &Settings, name: &str, default: &str) -> Result<String, SettingError> {
    Ok(settings.text(name)?.unwrap_or(default).to_owned())
}

/// The value of this name; the first is the default.
fn one_of<T: Copy>(settings: &Settings, name: &str, values: &[(&str, T)]) -> Result<T, SettingError> {
    let word = settings.text(name)?;
    let known = values.iter().find(|(known, _)| word.is_none_or(|word| word == *known));
    known.map(|(_, value)| *value).ok_or_else(|| SettingError::new(name, &["has no value ", word.unwrap_or_default()]))
}

fn path(settings: &Settings, model: &str) -> Result<String, SettingError> {
    let mut encoded = String::new();
    pg_llm_guest::http::percent_encode(model, &mut encoded);
    let path = settings.text("chat_path")?.unwrap_or("/chat/completions").replace("{model}", &encoded);
    Ok(match settings.text("api_version")? {
        Some(version) => HttpRequest::post(path).query("api-version", version).path_with_query,
        None => path,
    })
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
    Ok(Auth::Header(HeaderAuth {
        key: "default".to_owned(),
        name: name.to_owned(),
        prefix: settings.text("auth_prefix")?.unwrap_or(default_prefix).to_owned(),
        optional: settings.flag("key_optional")?.unwrap_or(false),
    }))
}

fn headers(settings: &Settings) -> Result<Vec<(String, String)>, SettingError> {
    let mut headers = Vec::new();
    for (setting, name) in [("organization", "openai-organization"), ("project", "openai-project")] {
        headers.extend(settings.text(setting)?.map(|value| (name.to_owned(), value.to_owned())));
    }
    for (name, value) in settings.object("headers")?.into_iter().flatten() {
        let value =
            value.as_str().ok_or_else(|| SettingError::new("headers", &["must have strings as values, and ", name, " has none"]))?;
        headers.push((name.clone(), value.to_owned()));
    }
    Ok(headers)
}
