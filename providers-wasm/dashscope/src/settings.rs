//! The settings.

use pg_llm_guest::prelude::*;
use pg_llm_guest::settings::SettingError;

/// JSON Schema of the settings.
pub(crate) const SETTINGS_SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "workspace": {"type": "string", "description": "Id of the workspace that the call belongs to (X-DashScope-WorkSpace)."},
    "headers": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Further request headers, such as X-DashScope-DataInspection. No secrets: keys are set apart."},
    "multimodal": {"type": "boolean", "description": "Call the multimodal endpoint always (true) or never (false). Default: when there are images, or the model's name says so (-vl, qvq, -omni, -ocr)."},
    "incremental_output": {"type": "boolean", "default": true, "description": "Ask a stream for increments. False for a model that only sends the whole answer so far, again and again."},
    "enable_search": {"type": "boolean", "description": "Let the model search the web."},
    "search_options": {"type": "object", "description": "How it searches: forced_search, search_strategy, enable_source, ..."},
    "reasoning_effort": {"type": "boolean", "default": false, "description": "Send how much to think as reasoning_effort too. For models that know more than on and off."},
    "preserve_thinking": {"type": "boolean", "default": false, "description": "Send the model's earlier thinking back to it. For models that know the parameter preserve_thinking."},
    "max_inputs": {"type": "integer", "minimum": 1, "description": "Texts in one request for embeddings. Default: 25 for text-embedding-v1 and -v2, else 10."}
  }
}"#;

/// The settings of one call.
#[allow(clippy::struct_excessive_bools)] // each is a setting of its own
pub(crate) struct Wire {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) multimodal: Option<bool>,
    pub(crate) incremental_output: bool,
    pub(crate) enable_search: Option<bool>,
    pub(crate) search_options: Option<Value>,
    pub(crate) reasoning_effort: bool,
    pub(crate) preserve_thinking: bool,
}

impl Wire {
    /// Reads the settings, a JSON object.
    pub(crate) fn of(settings: &str) -> Result<Self, Failure> {
        Ok(Self::read(&Settings::parse(settings)?)?)
    }

    fn read(settings: &Settings) -> Result<Self, SettingError> {
        let mut headers = Vec::new();
        if let Some(workspace) = settings.text("workspace")? {
            headers.push(("x-dashscope-workspace".to_owned(), workspace.to_owned()));
        }
        for (name, value) in settings.object("headers")?.into_iter().flatten() {
            let value =
                value.as_str().ok_or_else(|| SettingError::new("headers", &["must have strings as values, and ", name, " has none"]))?;
            headers.push((name.clone(), value.to_owned()));
        }
        Ok(Self {
            headers,
            multimodal: settings.flag("multimodal")?,
            incremental_output: settings.flag("incremental_output")?.unwrap_or(true),
            enable_search: settings.flag("enable_search")?,
            search_options: settings.object("search_options")?.map(|options| Value::Object(options.clone())),
            reasoning_effort: settings.flag("reasoning_effort")?.unwrap_or(false),
            preserve_thinking: settings.flag("preserve_thinking")?.unwrap_or(false),
        })
    }
}

/// How many texts one request for embeddings may carry.
pub(crate) fn max_inputs(model: &str, settings: &str) -> u32 {
    let set = Settings::parse(settings).ok().and_then(|settings| settings.count("max_inputs").ok()?);
    set.and_then(|count| u32::try_from(count).ok()).unwrap_or(if matches!(model, "text-embedding-v1" | "text-embedding-v2") {
        25
    } else {
        10
    })
}
