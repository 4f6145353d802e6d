//! Where the Gemini API and Vertex AI differ, as settings.

use pg_llm_guest::http::{Auth, GcpJwtAuth, HeaderAuth, percent_encode};
use pg_llm_guest::json;
use pg_llm_guest::keys;
use pg_llm_guest::prelude::*;
use pg_llm_guest::settings::SettingError;

/// JSON Schema of the settings. Their defaults are the Gemini API's ways.
pub const SETTINGS_SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "platform": {"enum": ["gemini", "vertex"], "default": "gemini", "description": "Whose paths to use: the Gemini API's, or Vertex AI's."},
    "project": {"type": "string", "description": "Vertex AI: id of the Google Cloud project. Without it the paths are those of express mode, which takes an API key."},
    "location": {"type": "string", "description": "Vertex AI: region of the models, such as europe-west4 or global. It has to be the endpoint's."},
    "auth": {"enum": ["api-key", "bearer", "service-account", "none"], "description": "What is sent: the key as x-goog-api-key; the key as an OAuth 2.0 access token; a token got with the key service_account; nothing, for a proxy that adds it. Default: api-key; on Vertex AI service-account, or for a model that has a main key only, bearer with a project and api-key without."},
    "api_version": {"type": "string", "description": "First segment of the path. Default: v1beta, and v1 on Vertex AI."},
    "safety_settings": {"type": "array", "items": {"type": "object"}, "description": "Sent as safetySettings: a list of {category, threshold}."},
    "include_thoughts": {"type": "boolean", "description": "Ask for summaries of the model's thinking. Default: when a call says how much to think."},
    "thinking_style": {"enum": ["level", "budget"], "description": "How to say how much to think: thinkingLevel, as from Gemini 3; thinkingBudget, as Gemini 2.5 wants it. Default: by the model's name."},
    "blocked_prompt": {"enum": ["answer", "error"], "default": "answer", "description": "What a prompt is that the provider blocks: an empty answer with finish reason content_filter; an error with the provider's words."},
    "embedding_inputs": {"type": "integer", "minimum": 1, "description": "Texts in one request for embeddings. Default: 100; on Vertex AI 5, which always fit, though short texts may be up to 250; 1 for the gemini-embedding models there."}
  }
}"#;

/// Whose paths are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Platform {
    Gemini,
    Vertex,
}

/// How to say how much to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThinkingStyle {
    Level,
    Budget,
}

/// The settings of one call, read and with their defaults.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) platform: Platform,
    /// Path of the models, up to a model's own name, with a slash at its end.
    models: String,
    /// `/v1beta/`, or which version it is.
    version: String,
    pub(crate) auth: Option<Auth>,
    /// Whether calls have ids: version 1 of Vertex AI knows none, and refuses members that it does not know.
    pub(crate) call_ids: bool,
    pub(crate) safety_settings: Vec<Value>,
    pub(crate) include_thoughts: Option<bool>,
    thinking_style: Option<ThinkingStyle>,
    pub(crate) blocked_is_error: bool,
    pub(crate) embedding_inputs: Option<u32>,
}

impl Wire {
    /// Reads settings, a JSON object.
    pub(crate) fn of(settings: &str) -> Result<Self, Failure> {
        Ok(Self::read(&Settings::parse(settings)?)?)
    }

    fn read(settings: &Settings) -> Result<Self, SettingError> {
        let platform = one_of(settings, "platform", &[("gemini", Platform::Gemini), ("vertex", Platform::Vertex)])?;
        let vertex = platform == Some(Platform::Vertex);
        let auth = auth(settings, vertex, &key_names())?;
        let mut version = String::from("/");
        percent_encode(settings.text("api_version")?.unwrap_or(if vertex { "v1" } else { "v1beta" }), &mut version);
        version.push('/');
        let mut models = version.clone();
        if vertex {
            vertex_parent(settings, auth.as_ref(), &mut models)?;
        }
        Ok(Self {
            platform: platform.unwrap_or(Platform::Gemini),
            call_ids: !(vertex && version == "/v1/"),
            models,
            version,
            auth,
            safety_settings: settings.list("safety_settings")?.unwrap_or_default().iter().map(copy).collect(),
            include_thoughts: settings.flag("include_thoughts")?,
            thinking_style: one_of(settings, "thinking_style", &[("level", ThinkingStyle::Level), ("budget", ThinkingStyle::Budget)])?,
            blocked_is_error: one_of(settings, "blocked_prompt", &[("answer", false), ("error", true)])?.unwrap_or(false),
            embedding_inputs: settings.count("embedding_inputs")?.map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
        })
    }

    /// The path of a model's method.
    pub(crate) fn path(&self, model: &str, method: &str) -> String {
        let model = model.trim_start_matches('/');
        // A model's full name, such as that of one that was tuned, is its own path.
        let (mut path, in_full) = match self.platform {
            Platform::Gemini if model.starts_with("models/") || model.starts_with("tunedModels/") => (self.models.clone(), ""),
            Platform::Gemini => (self.models.clone(), "models/"),
            Platform::Vertex if model.starts_with("projects/") => (self.version.clone(), ""),
            Platform::Vertex if model.starts_with("publishers/") || model.starts_with("endpoints/") => (self.models.clone(), ""),
            Platform::Vertex => (self.models.clone(), "publishers/google/models/"),
        };
        path.push_str(in_full);
        for (at, segment) in model.split('/').enumerate() {
            if at > 0 {
                path.push('/');
            }
            percent_encode(segment, &mut path);
        }
        path.push(':');
        path.push_str(method);
        path
    }

    /// The path of the list of models. Vertex AI has it in its beta version only.
    pub(crate) fn list_path(&self) -> String {
        match self.platform {
            Platform::Gemini => {
                let mut path = self.models.clone();
                path.push_str("models");
                path
            }
            Platform::Vertex => "/v1beta1/publishers/google/models".to_owned(),
        }
    }

    /// The request, with what proves who asks.
    pub(crate) fn with_auth(self, mut http: HttpRequest) -> HttpRequest {
        http.auth = self.auth;
        http
    }

    /// How to say to this model how much to think.
    pub(crate) fn thinking_style(&self, model: &str) -> ThinkingStyle {
        let by_name = if model.contains("gemini-2") { ThinkingStyle::Budget } else { ThinkingStyle::Level };
        self.thinking_style.unwrap_or(by_name)
    }
}

/// A copy by way of its text: it is rarely needed, and a guest is 4 kB larger with `clone`.
pub(crate) fn copy(value: &Value) -> Value {
    json::read(&json::text(value)).unwrap_or_default()
}

/// The value of this name, if any is set.
fn one_of<T: Copy>(settings: &Settings, name: &str, values: &[(&str, T)]) -> Result<Option<T>, SettingError> {
    let Some(word) = settings.text(name)? else { return Ok(None) };
    let known = values.iter().find(|(known, _)| word == *known);
    known.map(|(_, value)| Some(*value)).ok_or_else(|| SettingError::new(name, &["has no value ", word]))
}

/// Names of the keys that the model has. Natively there is no host to ask.
fn key_names() -> Vec<String> {
    if cfg!(target_arch = "wasm32") { keys::available() } else { Vec::new() }
}

/// How requests prove who asks, for a model that has keys of these names.
fn auth(settings: &Settings, vertex: bool, keys: &[String]) -> Result<Option<Auth>, SettingError> {
    let has = |name: &str| keys.iter().any(|key| key == name);
    let default = match (vertex, has("default") && !has("service_account")) {
        (true, false) => "service-account",
        (true, true) if settings.text("project")?.is_some() => "bearer",
        _ => "api-key",
    };
    let header = |name: &str, prefix: &str| {
        Auth::Header(HeaderAuth { key: "default".to_owned(), name: name.to_owned(), prefix: prefix.to_owned(), optional: false })
    };
    Ok(match settings.text("auth")?.unwrap_or(default) {
        "api-key" => Some(header("x-goog-api-key", "")),
        "bearer" => Some(header("authorization", "Bearer ")),
        "service-account" => Some(Auth::GcpJwt(GcpJwtAuth {
            service_account: "service_account".to_owned(),
            scopes: vec!["https://www.googleapis.com/auth/cloud-platform".to_owned()],
        })),
        "none" => None,
        other => return Err(SettingError::new("auth", &["has no value ", other])),
    })
}

/// `projects/P/locations/L/`; nothing in express mode.
fn vertex_parent(settings: &Settings, auth: Option<&Auth>, path: &mut String) -> Result<(), SettingError> {
    let Some(project) = settings.text("project")? else {
        let api_key = matches!(auth, Some(Auth::Header(header)) if header.prefix.is_empty());
        return if api_key { Ok(()) } else { Err(SettingError::new("project", &["is needed, unless the setting auth is api-key"])) };
    };
    let location = settings.text("location")?.ok_or_else(|| SettingError::new("location", &["is needed with the setting project"]))?;
    path.push_str("projects/");
    percent_encode(project, path);
    path.push_str("/locations/");
    percent_encode(location, path);
    path.push('/');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_follows_from_the_keys_where_no_setting_says_it() {
        let sent = |settings: &str, vertex, keys: &[&str]| {
            let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            match auth(&Settings::parse(settings).ok()?, vertex, &keys).ok()?? {
                Auth::Header(header) => Some(header.name),
                other => Some(if matches!(other, Auth::GcpJwt(_)) { "token".to_owned() } else { format!("{other:?}") }),
            }
        };
        let project = r#"{"project":"p","location":"l"}"#;
        assert_eq!(sent("{}", false, &["default"]).as_deref(), Some("x-goog-api-key"));
        assert_eq!(sent(project, true, &["service_account"]).as_deref(), Some("token"));
        assert_eq!(sent(project, true, &["default", "service_account"]).as_deref(), Some("token"));
        assert_eq!(sent(project, true, &[]).as_deref(), Some("token"));
        assert_eq!(sent(project, true, &["default"]).as_deref(), Some("authorization"));
        assert_eq!(sent("{}", true, &["default"]).as_deref(), Some("x-goog-api-key"));
        assert_eq!(sent(r#"{"auth":"bearer"}"#, false, &["default"]).as_deref(), Some("authorization"));
        assert_eq!(sent(r#"{"auth":"none"}"#, true, &["default"]), None);
    }
}
