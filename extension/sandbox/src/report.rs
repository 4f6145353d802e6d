//! What is known of a component without running it in a chat: made once at upload or build time, kept as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The verdict of the compiler process on an upload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may run; the compiled code follows.
    Accepted(Report),
    /// The same of a filter.
    AcceptedFilter(Report<FilterDescription>),
    /// It may not.
    Refused(Refusal),
}

/// Why an upload is refused, in words for its uploader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// What is wrong.
    pub reason: String,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
    /// It is a filter given as a provider, or the other way round.
    pub of_other_world: bool,
}

/// What a component is, found out without keeping it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// SHA-256 of its bytes, in lower-case hexadecimal.
    pub sha256: String,
    /// How many they are.
    pub size: u64,
    /// An upload of it would be.
    pub accepted: bool,
    /// Why it would not.
    pub reason: Option<String>,
    /// What to do about that, where it is known.
    pub hint: Option<String>,
    /// The worlds of the contract whose exports it has: `provider`, `filter`.
    pub worlds: Vec<String>,
    /// All that it imports, by full names; long ones are cut off, and so is a long list.
    pub imports: Vec<String>,
    /// Those among them that are not granted.
    pub refused_imports: Vec<String>,
    /// All that it exports, in the same way.
    pub exports: Vec<String>,
    /// Version of `pg-llm:guest` that it was built against; none: it knows nothing of that package.
    pub wit_version: Option<String>,
    /// Its producers sections, those of the modules in it included: `language`, `processed-by`, `sdk`, by name, with version.
    pub producers: BTreeMap<String, BTreeMap<String, String>>,
    /// What it says of itself.
    pub description: Option<serde_json::Value>,
    /// Size of its machine code.
    pub compiled_bytes: Option<u64>,
    /// How long checking and compiling took, in milliseconds.
    pub compile_ms: Option<u64>,
}

/// What a component is: a provider, or, with the other description, a filter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report<D = Description> {
    /// SHA-256 of the component, in lower-case hexadecimal.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
    /// Version of `pg-llm:guest` that it was built against.
    pub wit_version: String,
    /// Interfaces that it imports, in full.
    pub imports: Vec<String>,
    /// Interfaces of the contract that it exports, without package and version: `describe`, `chat`, `embeddings`, ...
    pub exports: Vec<String>,
    /// What it says of itself.
    pub description: D,
}

/// `describe.description` of the contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Description {
    pub name: String,
    pub version: String,
    pub summary: String,
    pub profiles: Vec<Profile>,
    /// JSON Schema of the settings; its `properties` name all that there are.
    pub settings_schema: serde_json::Value,
}

/// `describe-filter.filter-description` of the contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct FilterDescription {
    pub name: String,
    pub version: String,
    pub summary: String,
    /// What it looks at: `prompt`, `response`.
    pub sides: Vec<String>,
    /// JSON Schema of the configuration.
    pub config_schema: serde_json::Value,
}

/// `describe.profile` of the contract: one `model_type`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Profile {
    pub name: String,
    pub aliases: Vec<String>,
    pub default_endpoint: Option<String>,
    pub keys: Vec<KeySpec>,
    pub capabilities: Vec<String>,
    pub settings: serde_json::Map<String, serde_json::Value>,
}

/// `describe.key-spec` of the contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct KeySpec {
    pub name: String,
    pub required: bool,
    pub description: String,
}

impl Description {
    /// The profile of a `model_type`, by name or alias.
    pub fn profile(&self, model_type: &str) -> Option<&Profile> {
        self.profiles.iter().find(|p| p.name == model_type || p.aliases.iter().any(|a| a == model_type))
    }
}

/// Whether a text can be a `model_type`.
pub fn is_model_type(name: &str) -> bool {
    (1..=63).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
