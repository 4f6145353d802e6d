//! A filter that lets an answer pass when it is one JSON value, or has exactly one in it (in a fence, or among words): then that is the answer, as it was
//! written. All else is blocked.
//!
//! The answer is held back until it is whole. Arguments of tool calls and thinking pass.
//!
//! Configuration, all optional: `type`: which value there must be, of `any` (default), `object`, `array`. Numbers, texts, true, false and null count only
//! when they are all of the answer.

mod extract;

pub use extract::{Wanted, extract};

use pg_llm_guest::filter::{Channel, Config, FilterDescription, ResponseFilter, Sides, Verdict};
use pg_llm_guest::prelude::*;

const SCHEMA: &str = r#"{"type":"object","properties":{"type":{"enum":["any","object","array"]}},"additionalProperties":false}"#;

/// The filter.
pub struct JsonOnly;

impl Filter for JsonOnly {
    type Response = AnswerSide;

    fn describe() -> FilterDescription {
        FilterDescription::new("json-only", env!("CARGO_PKG_VERSION"), "Passes answers that are JSON.", Sides::RESPONSE, SCHEMA)
    }

    fn prompt(config: &str, _messages: Vec<Message>) -> Result<pg_llm_guest::filter::PromptVerdict, String> {
        wanted(config).map(|_| pg_llm_guest::filter::PromptVerdict::Pass)
    }

    fn response(config: &str, channel: Channel, _memo: Option<&str>) -> Result<AnswerSide, String> {
        let wanted = wanted(config)?;
        Ok(AnswerSide { wanted: (channel == Channel::Text).then_some(wanted), held: String::new() })
    }
}

fn wanted(config: &str) -> Result<Wanted, String> {
    let config = Config::parse(config, &["type"])?;
    Ok(match config.word("type", &["any", "object", "array"])? {
        Some("object") => Wanted::Object,
        Some("array") => Wanted::Array,
        _ => Wanted::Any,
    })
}

/// One channel of an answer.
pub struct AnswerSide {
    /// None: all passes.
    wanted: Option<Wanted>,
    held: String,
}

impl ResponseFilter for AnswerSide {
    fn push(&mut self, text: &str) -> Result<Verdict, String> {
        if self.wanted.is_none() {
            return Ok(Verdict::Emit(text.to_owned()));
        }
        self.held.push_str(text);
        Ok(Verdict::Emit(String::new()))
    }

    fn finish(&mut self) -> Result<Verdict, String> {
        let held = std::mem::take(&mut self.held);
        let Some(wanted) = self.wanted else { return Ok(Verdict::Emit(held)) };
        Ok(match extract(&held, wanted) {
            Ok(json) => Verdict::Emit(json.to_owned()),
            Err(reason) => Verdict::Block(reason.to_owned()),
        })
    }
}

pg_llm_guest::filter!(JsonOnly);
