//! From callers and owners of models.

use std::sync::LazyLock;

use pg_llm_gateway::{AnswerFormat, BatchOptions, ChatOptions, EmbedOptions, ModelSpec, ParallelOptions, RerankOptions};
use pg_llm_sandbox::report::Description;
use serde_json::{Value, json};

/// The options of every kind of call: read or refused.
pub fn options(input: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(input) else { return };
    if let Ok(options) = ChatOptions::parse(&value) {
        assert_eq!(options.clone().over(&options), options.clone().over(&ChatOptions::default()), "options over themselves are themselves");
    }
    let _ = ChatOptions::parse_for_stream(&value);
    let _ = EmbedOptions::parse(&value);
    let _ = RerankOptions::parse(&value);
    let _ = BatchOptions::parse(&value);
    let _ = ParallelOptions::parse(&value);
}

static DESCRIPTION: LazyLock<Description> = LazyLock::new(|| {
    serde_json::from_value(json!({
        "name": "fuzzed", "version": "1", "summary": "",
        "settings_schema": {"properties": {"api_version": {"type": "string"}, "oauth2_token_url": {"type": "string"}, "role": {"enum": ["system", "user"]}}},
        "profiles": [{"name": "fuzzed", "aliases": [], "default_endpoint": "https://api.example/v1", "keys": [], "capabilities": [], "settings": {}}]
    }))
    .expect("a description")
});

/// A model's configuration: what is stored of it reads as the same model, and holds no secret.
pub fn configurations(input: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(input) else { return };
    let Ok(parsed) = ModelSpec::parse("m", &DESCRIPTION, &DESCRIPTION.profiles[0], &value) else { return };
    let again = ModelSpec::parse("m", &DESCRIPTION, &DESCRIPTION.profiles[0], &parsed.stored).expect("what is stored can be read");
    assert!(again.keys.is_empty(), "a secret is stored: {:?}", parsed.stored);
    assert_eq!(again.stored, parsed.stored);
    assert_eq!(again.spec.endpoint.map(|e| e.to_string()), parsed.spec.endpoint.map(|e| e.to_string()));
}

/// A schema, and after a line feed an answer: the verdict is the same each time, and comes within the evaluator's own bounds.
pub fn schemas(input: &[u8]) {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (Ok(schema), Ok(answer)) = (serde_json::from_slice::<Value>(&input[..end]), serde_json::from_slice::<Value>(&input[end..])) else {
        return;
    };
    let format = json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}});
    let Ok(ChatOptions { response_format: Some(AnswerFormat::Schema(format)), .. }) = ChatOptions::parse(&format) else { return };
    let verdict = format.admits(&answer);
    assert_eq!(format.admits(&answer), verdict);
}
