//! What the mock says of itself.

use pg_llm_guest::prelude::*;

use crate::errors;

pub(crate) fn describe() -> Description {
    let kinds: Vec<&str> = errors::KINDS.iter().map(|(name, _)| *name).collect();
    let schema = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "mock_response": { "type": "string", "description": "What it answers. Default: the last thing that the user said." },
            "mock_sql_response": { "type": "string", "description": "What it answers when the system message speaks of SQL." },
            "mock_confidence": {
                "type": "number", "exclusiveMinimum": 0, "maximum": 1,
                "description": "Every word gets the log probability whose exponential this is."
            },
            "mock_chunks": { "type": "integer", "minimum": 1, "description": "Pieces of a stream. Default: one a word." },
            "mock_error": { "enum": kinds, "description": "Instead of answering, fail with this kind." },
        },
    });
    Description::new("mock", env!("CARGO_PKG_VERSION"), "Answers offline, always the same for the same question.")
        .profile(Profile::new("mock").capabilities(Capabilities::STREAM | Capabilities::LOGPROBS))
        .settings_schema(schema.to_string())
}
