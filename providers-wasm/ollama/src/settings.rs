//! What the adapter says of itself, and the settings of a call.

use pg_llm_guest::http::{Auth, HeaderAuth};
use pg_llm_guest::json::set;
use pg_llm_guest::prelude::*;
use pg_llm_guest::settings::SettingError;

/// JSON Schema of the settings.
pub const SETTINGS_SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "num_ctx": {"type": "integer", "minimum": 1, "description": "Context window in tokens (options.num_ctx). The server's default is small, and it cuts what does not fit without a word."},
    "truncate": {"type": "boolean", "description": "False: a conversation or a text that does not fit the context window is an error instead of being cut."},
    "keep_alive": {"type": ["string", "number"], "description": "How long the model stays in memory after the call: \"5m\", seconds, 0 (unload at once), -1 (forever)."},
    "options": {"type": "object", "description": "Further options of the model, such as min_p, repeat_penalty or num_gpu."}
  }
}"#;

/// What the adapter says of itself.
pub fn describe() -> Description {
    let capabilities = Capabilities::STREAM
        | Capabilities::TOOLS
        | Capabilities::JSON_SCHEMA
        | Capabilities::VISION
        | Capabilities::THINKING
        | Capabilities::LOGPROBS
        | Capabilities::EMBEDDINGS
        | Capabilities::LIST_MODELS;
    let profile = Profile::new("ollama")
        .endpoint("http://127.0.0.1:11434")
        .key("default", false, "API key for https://ollama.com, from https://ollama.com/settings/keys; a server of one's own wants none")
        .capabilities(capabilities);
    Description::new("ollama", env!("CARGO_PKG_VERSION"), "Ollama's native API: models of one's own, or in its cloud.")
        .settings_schema(SETTINGS_SCHEMA)
        .profile(profile)
}

/// The key, where there is one.
pub(crate) fn auth() -> Auth {
    Auth::Header(HeaderAuth { key: "default".to_owned(), name: "authorization".to_owned(), prefix: "Bearer ".to_owned(), optional: true })
}

/// The settings of one call.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// `options` with `num_ctx`.
    pub(crate) options: Map<String, Value>,
    keep_alive: Option<Value>,
    truncate: Option<bool>,
}

impl Load {
    /// Reads the settings of a request.
    pub(crate) fn parse(settings: &str) -> Result<Self, Failure> {
        Ok(Self::read(&Settings::parse(settings)?)?)
    }

    fn read(settings: &Settings) -> Result<Self, SettingError> {
        let mut options = settings.object("options")?.cloned().unwrap_or_default();
        if let Some(tokens) = settings.count("num_ctx")? {
            set(&mut options, "num_ctx", tokens.into());
        }
        let keep_alive = settings.get("keep_alive");
        if keep_alive.is_some_and(|value| !value.is_string() && !value.is_number()) {
            return Err(SettingError::new("keep_alive", &["must be a string such as \"5m\", or a number of seconds"]));
        }
        Ok(Self { options, keep_alive: keep_alive.cloned(), truncate: settings.flag("truncate")? })
    }

    /// Adds what chats and embeddings have in common, and last of all what the caller says over it.
    pub(crate) fn complete(self, extra_body: Option<&str>, body: &mut Map<String, Value>) -> Result<(), Failure> {
        if let Some(keep_alive) = self.keep_alive {
            set(body, "keep_alive", keep_alive);
        }
        if let Some(truncate) = self.truncate {
            set(body, "truncate", truncate.into());
        }
        let mut options = self.options;
        if let Some(extra) = extra_body {
            for (name, value) in pg_llm_guest::json::object("extra_body", extra)? {
                match value {
                    Value::Object(more) if name == "options" => options.extend(more),
                    value => set(body, &name, value),
                }
            }
        }
        if !options.is_empty() && !body.contains_key("options") {
            set(body, "options", options.into());
        }
        Ok(())
    }
}
