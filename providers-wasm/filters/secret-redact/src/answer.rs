//! The response side.

use pg_llm_guest::filter::{Channel, ResponseFilter, Verdict, change_json};

use crate::{Secrets, Settings};

/// One channel of an answer.
pub struct AnswerSide(Side);

enum Side {
    /// Nothing is looked at.
    Open,
    /// A text, as it comes.
    Text(Box<Secrets>),
    /// Arguments of a tool call, which are looked at when they are whole: they stay JSON.
    Arguments(Settings, String),
}

impl AnswerSide {
    pub(crate) fn new(settings: Settings, channel: Channel) -> Self {
        Self(match channel {
            _ if !settings.answers => Side::Open,
            Channel::Thinking => Side::Open,
            Channel::Text => Side::Text(Box::new(settings.secrets())),
            Channel::ToolArguments => Side::Arguments(settings, String::new()),
        })
    }
}

impl ResponseFilter for AnswerSide {
    fn push(&mut self, text: &str) -> Result<Verdict, String> {
        Ok(Verdict::Emit(match &mut self.0 {
            Side::Open => text.to_owned(),
            Side::Text(secrets) => secrets.push(text, false),
            Side::Arguments(_, held) => {
                held.push_str(text);
                String::new()
            }
        }))
    }

    fn finish(&mut self) -> Result<Verdict, String> {
        Ok(Verdict::Emit(match &mut self.0 {
            Side::Open => String::new(),
            Side::Text(secrets) => secrets.push("", true),
            Side::Arguments(settings, held) => {
                let held = std::mem::take(held);
                change_json(&held, &mut |text| Ok(settings.secrets().whole(text)))?.unwrap_or(held)
            }
        }))
    }
}
