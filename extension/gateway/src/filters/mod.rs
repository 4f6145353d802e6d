//! Filters between a call and its model: what goes there, and what comes back.
//!
//! A [`FilterChain`] is an onion. A prompt goes through its filters in their order, and the answer in the other. Every request of a call is filtered anew and
//! as a whole, also the one that asks for a repair; attempts to send it are not. A filter runs where the call does, within its time and its interrupt, with the
//! limits of its model's calls, and without network or keys.
//!
//! What a filter says is the end of the call: neither a block nor a failure of a filter is evaded by another attempt or another model.

mod answer;
mod channel;
mod passage;
mod stream;
mod texts;

use std::sync::Arc;

use pg_llm_sandbox::{Digest, Filter};
use serde_json::{Value, json};

use crate::error::{ConfigError, clip};
use crate::members::Members;
use crate::record::{Record, Sink, put_text};

pub(crate) use answer::without_words;
pub(crate) use passage::{Passage, Surroundings};
pub(crate) use stream::AnswerFilter;
pub(crate) use texts::{filter_each, filter_texts};

/// Most names that a list of filters may have.
pub const MOST_FILTERS: usize = 16;

/// A filter with its configuration.
#[derive(Clone)]
pub struct FilterStep {
    /// Its name in SQL.
    pub name: String,
    /// Its code.
    pub code: Filter,
    /// SHA-256 of the component that it was compiled from.
    pub component: Digest,
    /// JSON that it is given with every call.
    pub config: Arc<str>,
    /// It looks at prompts.
    pub prompt: bool,
    /// It looks at answers.
    pub response: bool,
}

/// The filters of one model's calls: an onion. A prompt goes through them in this order, and the answer in the other.
#[derive(Clone, Default)]
pub struct FilterChain {
    /// Those of the call first, then those of the model: its owner's see last what leaves, and first what comes.
    pub steps: Vec<FilterStep>,
    /// What becomes of a call whose filter fails.
    pub on_error: OnFilterError,
}

/// What becomes of a call whose filter fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFilterError {
    /// It fails.
    #[default]
    Block,
    /// It goes on without that filter, with a warning.
    Pass,
}

/// Which way a filter looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// At what goes to the model.
    Prompt,
    /// At what comes back.
    Response,
}

/// What a filter did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It changed what it saw.
    Changed,
    /// It ended the answer before its end.
    Cut,
    /// It failed, and the call went on without it.
    LeftOut,
}

/// A filter that did something. Nothing of the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acted {
    /// The filter's name in SQL.
    pub name: String,
    /// Where.
    pub side: Side,
    /// What.
    pub action: Action,
}

impl FilterChain {
    /// Whether prompts are looked at.
    pub(crate) fn watches_prompts(&self) -> bool {
        self.steps.iter().any(|step| step.prompt)
    }

    /// Whether answers are looked at.
    pub(crate) fn watches_answers(&self) -> bool {
        self.steps.iter().any(|step| step.response)
    }

    /// All of it that decides an answer; nothing at all where there is no filter.
    pub(crate) fn put(&self, sink: Sink<'_>) {
        for step in &self.steps {
            put_text(&step.name, sink);
            sink(&step.component);
            put_text(&step.config, sink);
        }
        if !self.steps.is_empty() {
            (self.on_error == OnFilterError::Pass).put(sink);
        }
    }
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Response => "response",
        }
    }
}

impl Acted {
    /// As the answer's JSON shows it.
    pub(crate) fn to_json(&self) -> Value {
        let action = match self.action {
            Action::Changed => "changed",
            Action::Cut => "cut",
            Action::LeftOut => "left_out",
        };
        json!({"name": self.name, "side": self.side.name(), "action": action})
    }
}

/// Adds what filters did in another request of the same call.
pub(crate) fn add_acted(all: &mut Vec<Acted>, more: Vec<Acted>) {
    for acted in more {
        if !all.contains(&acted) {
            all.push(acted);
        }
    }
}

/// The names in an option or a config key `filters`, in their order.
pub(crate) fn names(m: &Members<'_>) -> Result<Vec<String>, ConfigError> {
    let valid = |names: &Vec<String>| names.len() <= MOST_FILTERS && names.iter().all(|name| !name.is_empty());
    let expected = format!("an array of at most {MOST_FILTERS} names of filters");
    Ok(m.get_if("filters", &expected, valid)?.unwrap_or_default())
}

/// The config key `on_filter_error`.
pub(crate) fn on_error(m: &Members<'_>) -> Result<OnFilterError, ConfigError> {
    const EXPECTED: &str = "\"block\" or \"pass\"";
    match m.raw("on_filter_error") {
        None => Ok(OnFilterError::Block),
        Some(Value::String(word)) if word == "block" => Ok(OnFilterError::Block),
        Some(Value::String(word)) if word == "pass" => Ok(OnFilterError::Pass),
        Some(Value::String(other)) => {
            Err(ConfigError::invalid(format!("config key \"on_filter_error\" must be {EXPECTED}, not \"{}\"", clip(other, 50)), None))
        }
        Some(other) => Err(m.wrong("on_filter_error", EXPECTED, other)),
    }
}
