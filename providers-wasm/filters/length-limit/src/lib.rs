//! A filter that bounds how long texts are: each text of a prompt by itself, and the answer as a whole.
//!
//! Configuration: `prompt` and `answer`, each an object with
//! - `max`: so many are allowed,
//! - `unit`: `characters` (Unicode code points; default) or `bytes` (of UTF-8),
//! - `action`: `block` (default) or `truncate`. An answer that is truncated ends there: the rest is not waited for.
//!
//! A side that is not configured is not bounded. Arguments of tool calls are blocked and never truncated, since they would be no JSON. Thinking passes.

use pg_llm_guest::filter::{Channel, Config, FilterDescription, PromptVerdict, ResponseFilter, Sides, Verdict, change_texts};
use pg_llm_guest::prelude::*;

const SCHEMA: &str = r##"{"type":"object","properties":{"prompt":{"$ref":"#/$defs/limit"},"answer":{"$ref":"#/$defs/limit"}},"additionalProperties":false,"$defs":{"limit":{"type":"object","required":["max"],"properties":{"max":{"type":"integer","minimum":0},"unit":{"enum":["characters","bytes"]},"action":{"enum":["block","truncate"]}},"additionalProperties":false}}}"##;

/// The filter.
pub struct LengthLimit;

#[derive(Clone, Copy)]
struct Limit {
    max: usize,
    bytes: bool,
    truncates: bool,
}

impl Limit {
    /// Of the prompt, and of the answer.
    fn parse(config: &str) -> Result<(Option<Self>, Option<Self>), String> {
        let config = Config::parse(config, &["prompt", "answer"])?;
        let side = |name| config.object(name, &["max", "unit", "action"])?.map(|side| Self::of(&side)).transpose();
        Ok((side("prompt")?, side("answer")?))
    }

    fn of(side: &Config) -> Result<Self, String> {
        Ok(Self {
            max: side.count("max")?.ok_or("configuration key \"max\" is missing")?,
            bytes: side.word("unit", &["characters", "bytes"])? == Some("bytes"),
            truncates: side.word("action", &["block", "truncate"])? == Some("truncate"),
        })
    }

    /// How many bytes of the text fit when so many units are left, and how many units they are.
    fn fitting(self, text: &str, left: usize) -> (usize, usize) {
        if self.bytes {
            let mut fit = text.len().min(left);
            while !text.is_char_boundary(fit) {
                fit -= 1;
            }
            return (fit, fit);
        }
        let mut count = 0;
        for (at, _) in text.char_indices() {
            if count == left {
                return (at, count);
            }
            count += 1;
        }
        (text.len(), count)
    }

    fn reason(self, what: &str) -> String {
        [what, " is longer than ", &self.max.to_string(), if self.bytes { " bytes" } else { " characters" }].concat()
    }
}

impl Filter for LengthLimit {
    type Response = AnswerSide;

    fn describe() -> FilterDescription {
        FilterDescription::new(
            "length-limit",
            env!("CARGO_PKG_VERSION"),
            "Bounds the length of texts.",
            Sides::PROMPT | Sides::RESPONSE,
            SCHEMA,
        )
    }

    fn prompt(config: &str, mut messages: Vec<Message>) -> Result<PromptVerdict, String> {
        let (Some(limit), _) = Limit::parse(config)? else { return Ok(PromptVerdict::Pass) };
        let too_long = |text: &str| limit.fitting(text, limit.max).0 < text.len();
        let mut blocked = messages.iter().flat_map(|message| &message.parts).any(|part| match part {
            Part::ToolCall(call) => too_long(&call.arguments),
            _ => false,
        });
        let changed = change_texts(&mut messages, &mut |_, text| {
            let (fit, _) = limit.fitting(text, limit.max);
            if fit == text.len() {
                return Ok(None);
            }
            blocked |= !limit.truncates;
            Ok(Some(text[..fit].to_owned()))
        })?;
        Ok(if blocked {
            PromptVerdict::Block(limit.reason("a text of the prompt"))
        } else if changed {
            PromptVerdict::Change((messages, None))
        } else {
            PromptVerdict::Pass
        })
    }

    fn response(config: &str, channel: Channel, _memo: Option<&str>) -> Result<AnswerSide, String> {
        let (_, limit) = Limit::parse(config)?;
        let limit = limit.filter(|_| channel != Channel::Thinking);
        let limit = limit.map(|limit| Limit { truncates: limit.truncates && channel == Channel::Text, ..limit });
        Ok(AnswerSide { left: limit.map_or(0, |limit| limit.max), limit })
    }
}

/// One channel of an answer.
pub struct AnswerSide {
    limit: Option<Limit>,
    left: usize,
}

impl ResponseFilter for AnswerSide {
    fn push(&mut self, text: &str) -> Result<Verdict, String> {
        let Some(limit) = self.limit else { return Ok(Verdict::Emit(text.to_owned())) };
        let (fit, count) = limit.fitting(text, self.left);
        self.left -= count;
        Ok(if fit == text.len() {
            Verdict::Emit(text.to_owned())
        } else if limit.truncates {
            Verdict::Last(text[..fit].to_owned())
        } else {
            Verdict::Block(limit.reason("the answer"))
        })
    }

    fn finish(&mut self) -> Result<Verdict, String> {
        Ok(Verdict::Emit(String::new()))
    }
}

pg_llm_guest::filter!(LengthLimit);
