//! From what a guest says of itself to the report: only what keeps to the contract gets there.

use crate::egress::Endpoint;
use crate::report::{Description, FilterDescription, KeySpec, Profile, Refusal, is_model_type};
use crate::wit::exports::pg_llm::guest::describe as wit;
use crate::wit::filter::exports::pg_llm::guest::describe_filter as wit_filter;

/// Longest reason, in bytes: names in a component may be of any length.
const REASON_BYTES: usize = 1000;

impl Refusal {
    /// The same with a reason that fits a screen.
    pub(crate) fn clipped(mut self) -> Self {
        if self.reason.len() > REASON_BYTES {
            let end = (0..=REASON_BYTES).rev().find(|&i| self.reason.is_char_boundary(i)).unwrap_or(0);
            self.reason.truncate(end);
            self.reason.push_str("...");
        }
        self
    }
}

/// Bytes of text that a description may have altogether.
const DESCRIPTION_BYTES: usize = 256 << 10;

impl Description {
    /// Takes a guest's words, if they keep to the contract.
    pub(crate) fn from_guest(guest: wit::Description) -> Result<Self, Refusal> {
        if guest.profiles.is_empty() {
            return Err(bad("the component describes no profile".to_owned()));
        }
        let mut profiles = Vec::new();
        for p in guest.profiles {
            for name in std::iter::once(&p.name).chain(&p.aliases) {
                if !is_model_type(name) {
                    return Err(bad(format!(
                        "the component's profile name \"{}\" is not made of lower-case letters, digits and hyphens",
                        name.escape_default()
                    )));
                }
            }
            if let Some(Err(e)) = p.default_endpoint.as_deref().map(Endpoint::parse) {
                return Err(bad(format!("the default endpoint of the component's profile \"{}\" cannot be used: {e}", p.name)));
            }
            let serde_json::Value::Object(settings) = object("settings", &p.settings)? else { unreachable!("an object, as just checked") };
            profiles.push(Profile {
                capabilities: capability_names(p.capabilities),
                keys: p.keys.into_iter().map(|k| KeySpec { name: k.name, required: k.required, description: k.description }).collect(),
                name: p.name,
                aliases: p.aliases,
                default_endpoint: p.default_endpoint,
                settings,
            });
        }
        let description = Self {
            name: guest.name,
            version: guest.version,
            summary: guest.summary,
            profiles,
            settings_schema: object("settings-schema", &guest.settings_schema)?,
        };
        bounded(description)
    }
}

impl FilterDescription {
    /// Takes a guest's words, if they keep to the contract.
    pub(crate) fn from_guest(guest: wit_filter::FilterDescription) -> Result<Self, Refusal> {
        let sides = [(wit_filter::Sides::PROMPT, "prompt"), (wit_filter::Sides::RESPONSE, "response")];
        let sides: Vec<String> =
            sides.into_iter().filter(|(side, _)| guest.sides.contains(*side)).map(|(_, name)| name.to_owned()).collect();
        if sides.is_empty() {
            return Err(bad("the component looks neither at prompts nor at responses".to_owned()));
        }
        if !is_model_type(&guest.name) {
            return Err(bad(format!(
                "the component's name \"{}\" is not made of lower-case letters, digits and hyphens",
                guest.name.escape_default()
            )));
        }
        bounded(Self {
            name: guest.name,
            version: guest.version,
            summary: guest.summary,
            sides,
            config_schema: object("config-schema", &guest.config_schema)?,
        })
    }
}

fn bad(reason: String) -> Refusal {
    Refusal { reason, hint: Some("See the describe interfaces in guest-sdk/wit.".to_owned()), of_other_world: false }
}

fn object(what: &str, text: &str) -> Result<serde_json::Value, Refusal> {
    let value = serde_json::from_str::<serde_json::Value>(text).ok().filter(serde_json::Value::is_object);
    value.ok_or_else(|| bad(format!("the component's {what} is not a JSON object")))
}

/// A description that can be stored and shown.
fn bounded<D: serde::Serialize>(description: D) -> Result<D, Refusal> {
    match serde_json::to_string(&description) {
        Ok(text) if text.len() <= DESCRIPTION_BYTES && !text.contains("\\u0000") => Ok(description),
        _ => Err(bad(format!("the component's description is larger than {DESCRIPTION_BYTES} bytes or has null characters"))),
    }
}

fn capability_names(flags: wit::Capabilities) -> Vec<String> {
    [
        (wit::Capabilities::STREAM, "stream"),
        (wit::Capabilities::TOOLS, "tools"),
        (wit::Capabilities::JSON_SCHEMA, "json_schema"),
        (wit::Capabilities::VISION, "vision"),
        (wit::Capabilities::DOCUMENTS, "documents"),
        (wit::Capabilities::THINKING, "thinking"),
        (wit::Capabilities::LOGPROBS, "logprobs"),
        (wit::Capabilities::EMBEDDINGS, "embeddings"),
        (wit::Capabilities::RERANK, "rerank"),
        (wit::Capabilities::LIST_MODELS, "list_models"),
    ]
    .into_iter()
    .filter(|(flag, _)| flags.contains(*flag))
    .map(|(_, name)| name.to_owned())
    .collect()
}
