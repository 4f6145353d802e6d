//! Settings, and what every request has in common.

use pg_llm_guest::http::{Auth, HeaderAuth};
use pg_llm_guest::prelude::*;
use pg_llm_guest::settings::SettingError;

/// JSON Schema of the settings.
pub const SETTINGS_SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "max_tokens": {"type": "integer", "minimum": 1, "default": 4096, "description": "Bound of output tokens of a call that gives none; the wire requires one. A budget of thinking tokens is added to it."},
    "prompt_caching": {"enum": ["off", "5m", "1h"], "default": "off", "description": "Have the provider cache the prompt for this long (cache_control). Writing to the cache costs more than plain input, reading much less."},
    "adaptive_thinking": {"type": "boolean", "default": true, "description": "Send thinking {adaptive} with an effort. False for models that know an effort and no adaptive thinking."},
    "thinking_display": {"enum": ["summarized", "omitted"], "description": "Whether thinking comes with its words or with its signature only. Default: the model's own."},
    "schema_style": {"enum": ["format", "tool"], "default": "format", "description": "How to ask for JSON by a schema: output_config.format, or for models without it a tool that must be called."},
    "system_in_place": {"type": "boolean", "default": false, "description": "Send system messages that come later in their place, which only newer models take; else they join the ones at the top."},
    "anthropic_version": {"type": "string", "default": "2023-06-01", "description": "Sent as anthropic-version."},
    "anthropic_beta": {"type": "array", "items": {"type": "string"}, "description": "Sent as anthropic-beta."},
    "path_prefix": {"type": "string", "default": "/v1", "description": "Between the endpoint and /messages. Empty for an endpoint that ends in /v1."},
    "auth_header": {"enum": ["x-api-key", "authorization"], "default": "x-api-key", "description": "Header that carries the key; authorization carries it as a Bearer token, as some gateways want it."}
  }
}"#;

/// Output tokens of a call that says no bound.
const DEFAULT_MAX_TOKENS: u64 = 4096;

/// The settings of one call, read and with their defaults.
#[derive(Clone, Debug)]
pub struct Wire {
    settings: Settings,
}

impl Wire {
    /// Reads a request's settings.
    pub fn of(request: &ChatRequest) -> Result<Self, Failure> {
        Self::parse(&request.settings)
    }

    pub(crate) fn parse(settings: &str) -> Result<Self, Failure> {
        Ok(Self { settings: Settings::parse(settings)? })
    }

    pub(crate) fn max_tokens(&self) -> Result<u64, SettingError> {
        match self.settings.count("max_tokens")? {
            Some(0) => Err(SettingError::new("max_tokens", &["must be at least 1"])),
            tokens => Ok(tokens.unwrap_or(DEFAULT_MAX_TOKENS)),
        }
    }

    /// For how long prompts are cached, if they are.
    pub(crate) fn prompt_caching(&self) -> Result<Option<&str>, SettingError> {
        Ok(self.word("prompt_caching", &["off", "5m", "1h"])?.filter(|word| *word != "off"))
    }

    pub(crate) fn adaptive_thinking(&self) -> Result<bool, SettingError> {
        Ok(self.settings.flag("adaptive_thinking")?.unwrap_or(true))
    }

    pub(crate) fn thinking_display(&self) -> Result<Option<&str>, SettingError> {
        self.word("thinking_display", &["summarized", "omitted"])
    }

    pub(crate) fn system_in_place(&self) -> Result<bool, SettingError> {
        Ok(self.settings.flag("system_in_place")?.unwrap_or(false))
    }

    /// The name of the tool that stands for the schema of the answer, if one does.
    pub(crate) fn schema_tool<'a>(&self, request: &'a ChatRequest) -> Result<Option<&'a JsonSchemaFormat>, SettingError> {
        let style = self.word("schema_style", &["format", "tool"])?;
        Ok(match &request.response_format {
            Some(ResponseFormat::JsonSchema(format)) if style == Some("tool") => Some(format),
            _ => None,
        })
    }

    fn word(&self, name: &str, known: &[&str]) -> Result<Option<&str>, SettingError> {
        match self.settings.text(name)? {
            Some(word) if !known.contains(&word) => Err(SettingError::new(name, &["has no value ", word])),
            word => Ok(word),
        }
    }

    /// A request to a path after the prefix, with version and key.
    pub(crate) fn request(&self, method: Method, path: &str) -> Result<HttpRequest, SettingError> {
        let mut whole = self.settings.text("path_prefix")?.unwrap_or("/v1").trim_end_matches('/').to_owned();
        whole.push_str(path);
        let version = self.settings.text("anthropic_version")?.unwrap_or("2023-06-01");
        let mut http = HttpRequest::new(method, whole).header("anthropic-version", version);
        let betas = self.settings.list("anthropic_beta")?.unwrap_or_default();
        if !betas.is_empty() {
            let betas: Option<Vec<&str>> = betas.iter().map(Value::as_str).collect();
            let betas = betas.ok_or_else(|| SettingError::new("anthropic_beta", &["must be a list of strings"]))?;
            http = http.header("anthropic-beta", betas.join(","));
        }
        let name = self.word("auth_header", &["x-api-key", "authorization"])?.unwrap_or("x-api-key");
        let prefix = if name == "authorization" { "Bearer " } else { "" };
        Ok(http.auth(Auth::Header(HeaderAuth {
            key: "default".to_owned(),
            name: name.to_owned(),
            prefix: prefix.to_owned(),
            optional: false,
        })))
    }
}
