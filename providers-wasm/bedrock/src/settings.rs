//! Settings, the model's family, and what every request has in common.

use pg_llm_guest::http::{Auth, AwsSigv4Auth, HeaderAuth, percent_encode};
use pg_llm_guest::keys;
use pg_llm_guest::prelude::*;
use pg_llm_guest::settings::SettingError;

/// JSON Schema of the settings.
pub const SETTINGS_SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "auth": {"enum": ["bearer", "sigv4"], "description": "How requests prove who asks: a Bedrock API key (the main key), or signature version 4 with access_key_id, access_key_secret and, if there is one, session_token. Default: sigv4 for a model that has an access_key_id and no main key."},
    "region": {"type": "string", "description": "AWS region of the endpoint, such as us-east-1. Needed for sigv4, unless model_name is an ARN that says it."},
    "model_family": {"enum": ["claude", "nova", "gpt", "gpt-oss", "cohere", "titan", "other"], "description": "Whose parameters the model takes (thinking, top_k, embeddings). Default: what model_name says; needed where it is an ARN that does not."},
    "schema_style": {"enum": ["format", "tool"], "default": "format", "description": "How to ask for JSON by a schema: outputConfig.textFormat, or for models without it a tool that must be called."},
    "prompt_caching": {"enum": ["off", "default", "5m", "1h"], "default": "off", "description": "Have the provider cache the prompt: cache points after the system prompt and after the last message, for the model's own time or for this one."},
    "adaptive_thinking": {"type": "boolean", "default": true, "description": "Send thinking {adaptive} with an effort, to Claude. False for models that know an effort and no adaptive thinking."},
    "thinking_display": {"enum": ["summarized", "omitted"], "description": "Whether Claude's thinking comes with its words or with its signature only. Default: the model's own."},
    "guardrail": {"type": "object", "description": "Sent as guardrailConfig: guardrailIdentifier, guardrailVersion, trace, and streamProcessingMode for streams."},
    "latency": {"enum": ["standard", "optimized"], "description": "Sent as performanceConfig.latency."},
    "service_tier": {"enum": ["priority", "default", "flex", "reserved"], "description": "Sent as serviceTier.type."},
    "normalize": {"type": "boolean", "description": "Whether Titan's embeddings are to be of length 1. Default: the model's own (true)."}
  }
}"#;

/// The service's name in a signature.
const SERVICE: &str = "bedrock";

/// Models that take parameters alike. Converse has the common ones only; the others go to the model as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Claude,
    Nova,
    /// OpenAI's closed models: `reasoning {effort}`.
    Gpt,
    /// OpenAI's open models, and Kimi: `reasoning_effort`.
    GptOss,
    Cohere,
    Titan,
    Other,
}

impl Family {
    fn of_model(model: &str) -> Self {
        const SIGNS: [(&str, Family); 9] = [
            ("anthropic.", Family::Claude),
            ("claude", Family::Claude),
            ("amazon.nova", Family::Nova),
            ("gpt-oss", Family::GptOss),
            ("moonshot", Family::GptOss),
            ("kimi", Family::GptOss),
            ("openai.", Family::Gpt),
            ("cohere.", Family::Cohere),
            ("amazon.titan", Family::Titan),
        ];
        SIGNS.iter().find(|(sign, _)| model.contains(sign)).map_or(Self::Other, |(_, family)| *family)
    }
}

/// The settings of one call.
#[derive(Clone, Debug)]
pub struct Wire {
    settings: Settings,
}

impl Wire {
    /// Reads settings.
    pub fn parse(settings: &str) -> Result<Self, Failure> {
        Ok(Self { settings: Settings::parse(settings)? })
    }

    /// How the host proves who asks, for a model that has keys of these names.
    pub fn auth(&self, model: &str, keys: &[String]) -> Result<Auth, SettingError> {
        let has = |name: &str| keys.iter().any(|key| key == name);
        let signs = match self.word("auth", &["bearer", "sigv4"])? {
            Some(word) => word == "sigv4",
            None => has("access_key_id") && !has("default"),
        };
        if !signs {
            return Ok(Auth::Header(HeaderAuth {
                key: "default".to_owned(),
                name: "authorization".to_owned(),
                prefix: "Bearer ".to_owned(),
                optional: false,
            }));
        }
        // arn:aws:bedrock:REGION:ACCOUNT:...
        let of_arn = || model.strip_prefix("arn:").and_then(|rest| rest.split(':').nth(2)).filter(|region| !region.is_empty());
        let Some(region) = self.settings.text("region")?.or_else(of_arn) else {
            return Err(SettingError::new("region", &["must say the endpoint's AWS region, such as us-east-1, to sign requests"]));
        };
        Ok(Auth::AwsSigv4(AwsSigv4Auth {
            access_key_id: "access_key_id".to_owned(),
            secret_access_key: "access_key_secret".to_owned(),
            session_token: has("session_token").then(|| "session_token".to_owned()),
            region: region.to_owned(),
            service: SERVICE.to_owned(),
        }))
    }

    /// A request for `operation` of a model.
    pub(crate) fn request(&self, model: &str, operation: &str, body: &Value) -> Result<HttpRequest, Failure> {
        let mut path = "/model/".to_owned();
        // An ARN has colons and slashes, and is one segment all the same.
        percent_encode(model, &mut path);
        path.push_str(operation);
        Ok(HttpRequest::post(path).json(body).auth(self.auth(model, &key_names())?))
    }

    pub(crate) fn family(&self, model: &str) -> Result<Family, SettingError> {
        let names = ["claude", "nova", "gpt", "gpt-oss", "cohere", "titan", "other"];
        Ok(match self.word("model_family", &names)? {
            None => Family::of_model(model),
            Some("claude") => Family::Claude,
            Some("nova") => Family::Nova,
            Some("gpt") => Family::Gpt,
            Some("gpt-oss") => Family::GptOss,
            Some("cohere") => Family::Cohere,
            Some("titan") => Family::Titan,
            Some(_) => Family::Other,
        })
    }

    /// Whether an answer of a schema is asked for as a tool.
    pub(crate) fn schema_as_tool(&self) -> Result<bool, SettingError> {
        Ok(self.word("schema_style", &["format", "tool"])? == Some("tool"))
    }

    pub(crate) fn prompt_caching(&self) -> Result<Option<&str>, SettingError> {
        Ok(self.word("prompt_caching", &["off", "default", "5m", "1h"])?.filter(|word| *word != "off"))
    }

    pub(crate) fn adaptive_thinking(&self) -> Result<bool, SettingError> {
        Ok(self.settings.flag("adaptive_thinking")?.unwrap_or(true))
    }

    pub(crate) fn thinking_display(&self) -> Result<Option<&str>, SettingError> {
        self.word("thinking_display", &["summarized", "omitted"])
    }

    pub(crate) fn guardrail(&self) -> Result<Option<&Map<String, Value>>, SettingError> {
        self.settings.object("guardrail")
    }

    pub(crate) fn latency(&self) -> Result<Option<&str>, SettingError> {
        self.word("latency", &["standard", "optimized"])
    }

    pub(crate) fn service_tier(&self) -> Result<Option<&str>, SettingError> {
        self.word("service_tier", &["priority", "default", "flex", "reserved"])
    }

    pub(crate) fn normalize(&self) -> Result<Option<bool>, SettingError> {
        self.settings.flag("normalize")
    }

    fn word(&self, name: &str, words: &[&str]) -> Result<Option<&str>, SettingError> {
        match self.settings.text(name)? {
            Some(word) if !words.contains(&word) => Err(SettingError::new(name, &["must be one of ", &words.join(", ")])),
            word => Ok(word),
        }
    }
}

/// Names of the keys that the model has. Natively there is no host to ask.
fn key_names() -> Vec<String> {
    if cfg!(target_arch = "wasm32") { keys::available() } else { Vec::new() }
}

/// The format that is asked for as a tool, whose arguments are the answer.
pub(crate) fn answer_tool(request: &ChatRequest) -> Result<Option<&JsonSchemaFormat>, Failure> {
    match &request.response_format {
        Some(ResponseFormat::JsonSchema(format)) if Wire::parse(&request.settings)?.schema_as_tool()? => Ok(Some(format)),
        _ => Ok(None),
    }
}
