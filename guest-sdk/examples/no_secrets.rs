//! A filter that lets no prompt through in which a word of its configuration stands: `{"words": ["classified"]}`. This is all of it.

use pg_llm_guest::filter::{FilterDescription, PassThrough, PromptVerdict};
use pg_llm_guest::prelude::*;

/// The filter.
pub struct NoSecrets;

impl Filter for NoSecrets {
    type Response = PassThrough;

    fn describe() -> FilterDescription {
        FilterDescription {
            name: "no-secrets".to_owned(),
            version: "1.0.0".to_owned(),
            summary: "Blocks prompts with certain words.".to_owned(),
            config_schema: r#"{"type":"object","properties":{"words":{"type":"array","items":{"type":"string"}}}}"#.to_owned(),
        }
    }

    fn prompt(config: &str, messages: Vec<Message>) -> Result<PromptVerdict, String> {
        let config: Value = parse(config)?;
        let said: String = messages.iter().map(Message::text).collect();
        let found = config.items_at("words").iter().filter_map(Value::as_str).find(|word| said.contains(word));
        Ok(found.map_or(PromptVerdict::Pass, |word| PromptVerdict::Block(format!("the prompt contains \"{word}\""))))
    }

    fn response(_config: &str, _memo: Option<&str>) -> Result<PassThrough, String> {
        Ok(PassThrough)
    }
}

fn parse(text: &str) -> Result<Value, String> {
    pg_llm_guest::serde_json::from_str(text).map_err(|error| format!("the configuration is not JSON: {error}"))
}

pg_llm_guest::filter!(NoSecrets);
