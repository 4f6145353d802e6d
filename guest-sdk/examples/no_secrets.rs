//! A filter that lets no prompt through in which a word of its configuration stands: `{"words": ["classified"]}`. This is all of it.

use pg_llm_guest::filter::{Channel, Config, FilterDescription, PassThrough, PromptVerdict, Sides};
use pg_llm_guest::prelude::*;

/// The filter.
pub struct NoSecrets;

impl Filter for NoSecrets {
    type Response = PassThrough;

    fn describe() -> FilterDescription {
        FilterDescription::new(
            "no-secrets",
            "1.0.0",
            "Blocks prompts with certain words.",
            Sides::PROMPT,
            r#"{"type":"object","properties":{"words":{"type":"array","items":{"type":"string"}}}}"#,
        )
    }

    fn prompt(config: &str, messages: Vec<Message>) -> Result<PromptVerdict, String> {
        let words = Config::parse(config, &["words"])?.texts("words")?;
        let said: String = messages.iter().map(Message::text).collect();
        let found = words.into_iter().flatten().find(|word| said.contains(word));
        Ok(found.map_or(PromptVerdict::Pass, |word| PromptVerdict::Block(format!("the prompt contains \"{word}\""))))
    }

    fn response(_config: &str, _channel: Channel, _memo: Option<&str>) -> Result<PassThrough, String> {
        Ok(PassThrough)
    }
}

pg_llm_guest::filter!(NoSecrets);
