//! A filter that replaces secrets in prompts and answers: `[API_KEY]`, `[TOKEN]`, `[PASSWORD]`, `[PRIVATE_KEY]`. What was there is not restored.
//!
//! Configuration, all optional:
//! - `kinds`: which of `api_key` (keys of known providers, by beginning and shape), `token` (JSON web tokens, `Bearer` and `Basic` credentials),
//!   `password` (in connection strings, URLs and assignments), `private_key` (PEM and PGP blocks); by default all.
//! - `answers`: look at answers, too; by default yes.
//!
//! Thinking passes as it is: it is signed.

mod answer;
mod assignment;
mod private_key;
mod scan;
mod shapes;

pub use scan::SecretScan;

use pg_llm_guest::filter::{Channel, Config, FilterDescription, Found, PromptVerdict, Redactor, Sides, change_texts};
use pg_llm_guest::prelude::*;

use answer::AnswerSide;
use private_key::PrivateKeys;

/// The kinds of secrets.
const KINDS: [&str; 4] = ["api_key", "token", "password", "private_key"];
const SCHEMA: &str = r#"{"type":"object","properties":{"kinds":{"type":"array","items":{"enum":["api_key","token","password","private_key"]}},"answers":{"type":"boolean"}},"additionalProperties":false}"#;

/// The filter.
pub struct SecretRedact;

impl Filter for SecretRedact {
    type Response = AnswerSide;

    fn describe() -> FilterDescription {
        FilterDescription::new(
            "secret-redact",
            env!("CARGO_PKG_VERSION"),
            "Replaces keys, tokens and passwords.",
            Sides::PROMPT | Sides::RESPONSE,
            SCHEMA,
        )
    }

    fn prompt(config: &str, mut messages: Vec<Message>) -> Result<PromptVerdict, String> {
        let settings = Settings::parse(config)?;
        let changed = change_texts(&mut messages, &mut |_, text| Ok(settings.secrets().whole(text)))?;
        Ok(if changed { PromptVerdict::Change((messages, None)) } else { PromptVerdict::Pass })
    }

    fn response(config: &str, channel: Channel, _memo: Option<&str>) -> Result<AnswerSide, String> {
        Ok(AnswerSide::new(Settings::parse(config)?, channel))
    }
}

struct Settings {
    kinds: Vec<&'static str>,
    answers: bool,
}

impl Settings {
    fn parse(config: &str) -> Result<Self, String> {
        let config = Config::parse(config, &["kinds", "answers"])?;
        Ok(Self { kinds: config.words("kinds", &KINDS)?.unwrap_or(KINDS.to_vec()), answers: config.flag("answers")?.unwrap_or(true) })
    }

    fn secrets(&self) -> Secrets {
        Secrets {
            keys: self.kinds.contains(&"private_key").then(PrivateKeys::default),
            others: Redactor::new(SecretScan { kinds: self.kinds.clone() }),
            any: false,
        }
    }
}

/// The secrets of one text: blocks first, which may have any length, then what stands in a line.
struct Secrets {
    keys: Option<PrivateKeys>,
    others: Redactor<SecretScan>,
    any: bool,
}

impl Secrets {
    fn push(&mut self, text: &str, ended: bool) -> String {
        let (mut open, mut out) = (String::new(), String::with_capacity(text.len()));
        let text = match &mut self.keys {
            Some(keys) => {
                self.any |= keys.push(text, ended, &mut open);
                &open[..]
            }
            None => text,
        };
        let any = &mut self.any;
        let mut replace = |found: Found, _: &str| {
            *any = true;
            ["[", &found.kind.to_ascii_uppercase(), "]"].concat()
        };
        self.others.push(text, &mut out, &mut replace);
        if ended {
            self.others.finish(&mut out, &mut replace);
        }
        out
    }

    /// A whole text; none when nothing was replaced.
    fn whole(mut self, text: &str) -> Option<String> {
        let out = self.push(text, true);
        self.any.then_some(out)
    }
}

pg_llm_guest::filter!(SecretRedact);
