//! What the adapter says of itself.

use pg_llm_guest::prelude::*;

use crate::settings::SETTINGS_SCHEMA;

/// Two kinds of endpoint: the Gemini API, and Vertex AI.
pub fn describe() -> Description {
    let can = Capabilities::STREAM
        | Capabilities::TOOLS
        | Capabilities::JSON_SCHEMA
        | Capabilities::VISION
        | Capabilities::DOCUMENTS
        | Capabilities::THINKING
        | Capabilities::EMBEDDINGS
        | Capabilities::LIST_MODELS;
    let mut gemini = Profile::new("gemini")
        .endpoint("https://generativelanguage.googleapis.com")
        .key("default", true, "API key, from https://aistudio.google.com/apikey")
        .capabilities(can);
    gemini.aliases.push("google".to_owned());
    let mut vertex = Profile::new("vertex")
        .key(
            "service_account",
            false,
            "JSON of a service account that may use Vertex AI, from https://console.cloud.google.com/iam-admin/serviceaccounts",
        )
        .key("default", false, "instead: an OAuth 2.0 access token, or without a project an API key (setting auth)")
        // The Gemini API documents log probabilities too, and most of its models refuse them.
        .capabilities(can | Capabilities::LOGPROBS);
    r#"{"platform":"vertex"}"#.clone_into(&mut vertex.settings);
    Description::new("gemini", env!("CARGO_PKG_VERSION"), "Google's Gemini API, also on Vertex AI.")
        .settings_schema(SETTINGS_SCHEMA)
        .profile(gemini)
        .profile(vertex)
}
