//! A filter that replaces personal data by placeholders such as `[EMAIL_1]`: the same value by the same placeholder throughout a prompt.
//!
//! Configuration, all optional:
//! - `kinds`: which of `email`, `phone`, `card`, `iban`, `national_id`, `ip`; by default all.
//! - `countries`: whose national ids: `us`, `gb`, `es`, `fr`, `it`, `de`, `se`, `cn`, `in`, `br`; by default all.
//! - `reversible`: put the values back where the placeholders stand in the answer and in the arguments of tool calls; by default not.
//! - `answers`: replace what the answer brings by itself, too (by `[EMAIL]`, without a number); by default not.
//!
//! Cards, IBANs and most national ids are known by their check digits, and numbers without any (telephones, US and British ids) by their shape or by a
//! word before them. Digits of other scripts count as digits, and characters that cannot be seen do not count.

mod answer;
mod checks;
mod context;
mod email;
mod ip;
mod national;
mod numbers;
mod phone;
mod placeholders;
mod scan;
mod settings;

pub use scan::PiiScan;

use pg_llm_guest::filter::{Channel, FilterDescription, Found, PromptVerdict, Redactor, Sides, change_texts};
use pg_llm_guest::prelude::*;

use answer::AnswerSide;
use placeholders::Placeholders;
use settings::Settings;

/// The filter.
pub struct PiiRedact;

impl Filter for PiiRedact {
    type Response = AnswerSide;

    fn describe() -> FilterDescription {
        FilterDescription::new(
            "pii-redact",
            env!("CARGO_PKG_VERSION"),
            "Replaces personal data by placeholders.",
            Sides::PROMPT | Sides::RESPONSE,
            settings::SCHEMA,
        )
    }

    fn prompt(config: &str, mut messages: Vec<Message>) -> Result<PromptVerdict, String> {
        let settings = Settings::parse(config)?;
        let mut placeholders = Placeholders::beside(&mut messages)?;
        let changed = change_texts(&mut messages, &mut |_, text| {
            let mut redactor = Redactor::new(settings.scan.clone());
            let (mut out, mut any) = (String::new(), false);
            let mut replace = |found: Found, value: &str| {
                any = true;
                placeholders.of(found.kind, value)
            };
            redactor.push(text, &mut out, &mut replace);
            redactor.finish(&mut out, &mut replace);
            Ok(any.then_some(out))
        })?;
        if !changed {
            return Ok(PromptVerdict::Pass);
        }
        Ok(PromptVerdict::Change((messages, settings.reversible.then(|| placeholders.memo()))))
    }

    fn response(config: &str, channel: Channel, memo: Option<&str>) -> Result<AnswerSide, String> {
        AnswerSide::new(Settings::parse(config)?, channel, memo)
    }
}

pg_llm_guest::filter!(PiiRedact);
