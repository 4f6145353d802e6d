//! What the adapter says of itself, and its settings.

use pg_llm_guest::json::{object, set};
use pg_llm_guest::prelude::*;

/// JSON Schema of the settings.
pub const SETTINGS_SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "safety_mode": {"enum": ["CONTEXTUAL", "STRICT", "OFF"], "description": "Which safety instruction goes into the prompt. Not together with tools or documents."},
    "citation_mode": {"enum": ["ENABLED", "DISABLED", "FAST", "ACCURATE", "OFF"], "description": "Whether and how the answer cites documents and tool results. Citations are in the raw answer."},
    "truncate": {"enum": ["NONE", "START", "END"], "description": "Embeddings: which end of a text that is too long is cut off without a word (END where nothing is set), or NONE: it is an error."},
    "max_tokens_per_doc": {"type": "integer", "minimum": 1, "description": "Rerank: where longer documents are cut off (the provider's default is 4096)."}
  }
}"#;

/// What the adapter says of itself.
pub fn describe() -> Description {
    let capabilities = Capabilities::STREAM
        | Capabilities::TOOLS
        | Capabilities::JSON_SCHEMA
        | Capabilities::VISION
        | Capabilities::DOCUMENTS
        | Capabilities::THINKING
        | Capabilities::LOGPROBS
        | Capabilities::EMBEDDINGS
        | Capabilities::RERANK
        | Capabilities::LIST_MODELS;
    let profile = Profile::new("cohere")
        .endpoint("https://api.cohere.com")
        .key("default", true, "API key, from https://dashboard.cohere.com/api-keys")
        .capabilities(capabilities);
    Description::new("cohere", env!("CARGO_PKG_VERSION"), "Cohere's API, version 2: Command, Embed and Rerank.")
        .settings_schema(SETTINGS_SCHEMA)
        .profile(profile)
}

/// A request with this body, over which goes what the caller says last of all.
pub(crate) fn post(path: &str, accept: &str, mut body: Map<String, Value>, extra_body: Option<&str>) -> Result<HttpRequest, Failure> {
    if let Some(extra) = extra_body {
        for (name, value) in object("extra_body", extra)? {
            set(&mut body, &name, value);
        }
    }
    Ok(HttpRequest::post(path).header("accept", accept).json(&Value::Object(body)).bearer("default"))
}
