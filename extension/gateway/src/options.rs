//! Options of a call: `options jsonb`, and the same keys as defaults in a model's configuration.

use std::time::Duration;

use pg_llm_sandbox::types::{Media, Message, Reasoning, Sampling, Tool, ToolChoice};
use serde_json::Value;

use crate::answer_format;
use crate::caching::{self, Caching};
use crate::call_options::CallOptions;
use crate::error::ConfigError;
use crate::fallback::{self, FallbackChoice};
use crate::filters;
use crate::media::{self, Kind};
use crate::members::Members;
use crate::messages;
use crate::structured::AnswerFormat;

/// What to do when the call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// Raise.
    Error,
    /// Return NULL.
    Null,
    /// Return the error as an object.
    Object,
}

/// Options, checked. What is absent is left to the next lower layer: call, model, setting, provider.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatOptions {
    /// Instructions, sent first.
    pub system: Option<String>,
    /// A conversation that comes before the prompt.
    pub messages: Vec<Message>,
    /// Images that go with the prompt.
    pub images: Vec<Media>,
    /// Documents that go with the prompt.
    pub documents: Vec<Media>,
    /// What is set of the sampling parameters.
    pub sampling: SamplingOptions,
    /// Tools that the model may ask for.
    pub tools: Option<Vec<Tool>>,
    /// Whether it must.
    pub tool_choice: Option<ToolChoice>,
    /// The answer's form.
    pub response_format: Option<AnswerFormat>,
    /// How much the model may think.
    pub reasoning: Option<Reasoning>,
    /// Whether the provider's response is wanted as it came.
    pub include_raw: Option<bool>,
    /// Whether the answer may be one that was kept.
    pub cache: Option<Caching>,
    /// The model that may answer instead.
    pub fallback: Option<FallbackChoice>,
    /// Below it, a known confidence is too low; 0..=1.
    pub confidence_threshold: Option<f64>,
    /// Time for a stream's first piece, in each attempt.
    pub first_token_timeout: Option<Duration>,
    /// Names of the filters that the call goes through besides its model's own, in the order of prompts. A model's configuration has none here.
    pub filters: Vec<String>,
    /// What every call has.
    pub call: CallOptions,
}

/// [`Sampling`] with absence for lists too.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct SamplingOptions {
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<u32>,
    pub max_tokens: Option<u32>,
    pub stop: Option<Vec<String>>,
    pub seed: Option<i64>,
    pub presence_penalty: Option<f64>,
    pub frequency_penalty: Option<f64>,
    pub logprobs: Option<Logprobs>,
}

/// Whether log probabilities are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logprobs {
    /// No, whatever the model's default is.
    Off,
    /// Yes, and this many alternatives for each token.
    On(u32),
}

/// Options that may also stand in a model's configuration, as its defaults.
pub(crate) const DEFAULTABLE: &[&str] = &[
    "system",
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "response_format",
    "reasoning_effort",
    "reasoning_tokens",
    "tools",
    "tool_choice",
    "extra_body",
    "include_raw",
    "cache",
    "fallback_instance",
    "confidence_threshold",
    "first_token_timeout_ms",
    "timeout_ms",
    "max_attempts",
    "on_error",
];

const PER_CALL: &[&str] = &["messages", "images", "documents", "filters"];

/// Options of the design that no code reads yet.
const LATER: &[&str] = &["enable_rag", "knowledge_limit"];

/// Options that only calls of several models have.
const OF_PARALLEL: [&str; 2] = ["strategy", "judge_instance"];

/// Options that only turns of a session have.
pub(crate) const OF_SESSION: [&str; 1] = ["summarize"];

/// Most that `max_attempts` may be.
pub(crate) const MAX_ATTEMPTS: u32 = 10;

impl ChatOptions {
    /// Reads `options jsonb` of a call for whole answers.
    ///
    /// # Errors
    /// For unknown keys, wrong types, values out of range, and what only a stream can keep to.
    pub fn parse(options: &Value) -> Result<Self, ConfigError> {
        Self::read_call(options, &[])?.whole()
    }

    fn whole(self) -> Result<Self, ConfigError> {
        match self.first_token_timeout {
            Some(_) => Err(meaningless("first_token_timeout_ms", "streams: a whole answer comes at once", "timeout_ms bounds it.")),
            None => Ok(self),
        }
    }

    /// Reads `options jsonb` of a stream.
    ///
    /// # Errors
    /// As [`Self::parse`], and for what only a whole answer can keep to.
    pub fn parse_for_stream(options: &Value) -> Result<Self, ConfigError> {
        Self::read_call(options, &[])?.streamed()
    }

    /// Reads `options jsonb` of a session's turn, beside which its own stand ([`OF_SESSION`]).
    pub(crate) fn parse_of_session(options: &Value, streamed: bool) -> Result<Self, ConfigError> {
        let options = Self::read_call(options, &OF_SESSION)?;
        if streamed { options.streamed() } else { options.whole() }
    }

    fn streamed(self) -> Result<Self, ConfigError> {
        match self.confidence_threshold {
            Some(_) => Err(meaningless(
                "confidence_threshold",
                "whole answers: a stream's pieces are out before its confidence is known",
                "Use pg_llm_chat_json().",
            )),
            None => Ok(self),
        }
    }

    fn read_call(options: &Value, others: &[&str]) -> Result<Self, ConfigError> {
        let members = Members::of("option", options)?;
        if let Some(name) = OF_PARALLEL.into_iter().find(|name| members.raw(name).is_some()) {
            return Err(ConfigError::invalid(
                format!("option \"{name}\" is for several models"),
                "pg_llm_parallel_chat() and pg_llm_parallel_chat_json() take it.".to_owned(),
            ));
        }
        if let Some(name) = crate::batch::NAMES.into_iter().find(|name| members.raw(name).is_some()) {
            return Err(ConfigError::invalid(
                format!("option \"{name}\" is for many rows"),
                "pg_llm_chat_batch() and its like take it.".to_owned(),
            ));
        }
        if let Some(name) = OF_SESSION.into_iter().find(|name| !others.contains(name) && members.raw(name).is_some()) {
            return Err(meaningless(name, "sessions", "pg_llm_multi_turn_chat() and its like take it."));
        }
        Self::read_beside(options, others)
    }

    /// As [`Self::parse`], where options named `others` may stand beside them, which somebody else reads.
    pub(crate) fn parse_beside(options: &Value, others: &[&str]) -> Result<Self, ConfigError> {
        Self::read_beside(options, others)?.whole()
    }

    fn read_beside(options: &Value, others: &[&str]) -> Result<Self, ConfigError> {
        let members = Members::of("option", options)?;
        members.check_names(DEFAULTABLE.iter().chain(PER_CALL).chain(others).copied(), LATER)?;
        Ok(Self { filters: filters::names(&members)?, ..Self::read(&members)? })
    }

    pub(crate) fn read(m: &Members<'_>) -> Result<Self, ConfigError> {
        let finite = |range: std::ops::RangeInclusive<f64>| move |v: &f64| range.contains(v);
        Ok(Self {
            system: m.get("system", "a string")?,
            messages: m.raw("messages").map(messages::parse).transpose()?.unwrap_or_default(),
            images: media(m, Kind::Image)?,
            documents: media(m, Kind::Document)?,
            sampling: SamplingOptions {
                temperature: m.get_if("temperature", "a number from 0 to 2", finite(0.0..=2.0))?,
                top_p: m.get_if("top_p", "a number above 0, at most 1", |v: &f64| *v > 0.0 && *v <= 1.0)?,
                top_k: m.get_if("top_k", "a positive integer", |v| *v > 0)?,
                max_tokens: m.get_if("max_tokens", "a positive integer", |v| *v > 0)?,
                stop: stop(m)?,
                seed: m.get("seed", "an integer")?,
                presence_penalty: m.get_if("presence_penalty", "a number from -2 to 2", finite(-2.0..=2.0))?,
                frequency_penalty: m.get_if("frequency_penalty", "a number from -2 to 2", finite(-2.0..=2.0))?,
                logprobs: logprobs(m)?,
            },
            tools: m.raw("tools").map(tools).transpose()?,
            tool_choice: m.raw("tool_choice").map(tool_choice).transpose()?,
            response_format: m.raw("response_format").map(answer_format::parse).transpose()?,
            reasoning: reasoning(m)?,
            include_raw: m.get("include_raw", "true or false")?,
            cache: caching::parse(m)?,
            fallback: fallback::choice(m)?,
            confidence_threshold: m.get_if("confidence_threshold", "a number from 0 to 1", finite(0.0..=1.0))?,
            first_token_timeout: m
                .get_if("first_token_timeout_ms", "a positive number of milliseconds", |v: &u64| *v > 0)?
                .map(Duration::from_millis),
            filters: Vec::new(),
            call: CallOptions::read(m)?,
        })
    }

    /// These options over `defaults`.
    #[must_use]
    pub fn over(self, defaults: &Self) -> Self {
        let (s, d) = (self.sampling, &defaults.sampling);
        Self {
            system: self.system.or_else(|| defaults.system.clone()),
            messages: self.messages,
            images: self.images,
            documents: self.documents,
            sampling: SamplingOptions {
                temperature: s.temperature.or(d.temperature),
                top_p: s.top_p.or(d.top_p),
                top_k: s.top_k.or(d.top_k),
                max_tokens: s.max_tokens.or(d.max_tokens),
                stop: s.stop.or_else(|| d.stop.clone()),
                seed: s.seed.or(d.seed),
                presence_penalty: s.presence_penalty.or(d.presence_penalty),
                frequency_penalty: s.frequency_penalty.or(d.frequency_penalty),
                logprobs: s.logprobs.or(d.logprobs),
            },
            tools: self.tools.or_else(|| defaults.tools.clone()),
            tool_choice: self.tool_choice.or_else(|| defaults.tool_choice.clone()),
            response_format: self.response_format.or_else(|| defaults.response_format.clone()),
            reasoning: self.reasoning.or_else(|| defaults.reasoning.clone()),
            include_raw: self.include_raw.or(defaults.include_raw),
            cache: self.cache.or(defaults.cache),
            fallback: self.fallback.or_else(|| defaults.fallback.clone()),
            confidence_threshold: self.confidence_threshold.or(defaults.confidence_threshold),
            first_token_timeout: self.first_token_timeout.or(defaults.first_token_timeout),
            filters: self.filters,
            call: self.call.over(&defaults.call),
        }
    }
}

impl SamplingOptions {
    pub(crate) fn to_wire(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            max_tokens: self.max_tokens,
            stop: self.stop.clone().unwrap_or_default(),
            seed: self.seed,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            logprobs: match self.logprobs {
                Some(Logprobs::On(alternatives)) => Some(alternatives),
                Some(Logprobs::Off) | None => None,
            },
        }
    }
}

pub(crate) const ON_ERROR: &str = "\"error\", \"null\" or \"object\"";

impl OnError {
    /// Reads the option's or the setting's word.
    pub fn parse(word: &str) -> Result<Self, ConfigError> {
        match word {
            "error" => Ok(Self::Error),
            "null" => Ok(Self::Null),
            "object" => Ok(Self::Object),
            other => Err(ConfigError::invalid(
                format!("option \"on_error\" must be {ON_ERROR}, not \"{}\"", crate::error::clip(other, 50)),
                None,
            )),
        }
    }
}

fn meaningless(option: &str, is_for: &str, hint: &str) -> ConfigError {
    ConfigError::invalid(format!("option \"{option}\" is for {is_for}"), hint.to_owned())
}

fn stop(m: &Members<'_>) -> Result<Option<Vec<String>>, ConfigError> {
    match m.raw("stop") {
        Some(Value::String(one)) => Ok(Some(vec![one.clone()])),
        _ => m.get("stop", "a string or an array of strings"),
    }
}

fn logprobs(m: &Members<'_>) -> Result<Option<Logprobs>, ConfigError> {
    match m.raw("logprobs") {
        Some(Value::Bool(false)) => Ok(Some(Logprobs::Off)),
        Some(Value::Bool(true)) => Ok(Some(Logprobs::On(0))),
        _ => Ok(m.get_if("logprobs", "true, or how many alternatives a token is to have (0 to 20)", |v| *v <= 20)?.map(Logprobs::On)),
    }
}

fn reasoning(m: &Members<'_>) -> Result<Option<Reasoning>, ConfigError> {
    let effort = m.get("reasoning_effort", "a string such as \"low\"")?;
    let budget_tokens = m.get("reasoning_tokens", "a number of tokens")?;
    Ok((effort.is_some() || budget_tokens.is_some()).then_some(Reasoning { effort, budget_tokens }))
}

/// OpenAI's form, `{"type": "function", "function": {...}}`, or the inner object alone.
fn tools(value: &Value) -> Result<Vec<Tool>, ConfigError> {
    let wrong = || {
        ConfigError::invalid(
            "option \"tools\" must be an array of objects with name, description and parameters",
            Some(
                "[{\"name\": \"weather\", \"description\": \"...\", \"parameters\": {\"type\": \"object\", \"properties\": {...}}}]"
                    .to_owned(),
            ),
        )
    };
    value
        .as_array()
        .ok_or_else(wrong)?
        .iter()
        .map(|tool| {
            let tool = tool.get("function").unwrap_or(tool);
            let parameters = match tool.get("parameters") {
                None | Some(Value::Null) => Some("{\"type\":\"object\",\"properties\":{}}".to_owned()),
                Some(object @ Value::Object(_)) => Some(object.to_string()),
                Some(_) => None,
            };
            Some(Tool {
                name: tool.get("name")?.as_str().filter(|n| !n.is_empty())?.to_owned(),
                description: tool.get("description").and_then(Value::as_str).map(str::to_owned),
                parameters: parameters?,
                strict: tool.get("strict").and_then(Value::as_bool),
            })
        })
        .collect::<Option<_>>()
        .ok_or_else(wrong)
}

fn tool_choice(value: &Value) -> Result<ToolChoice, ConfigError> {
    let named = |v: &Value| v.get("function").unwrap_or(v).get("name").and_then(Value::as_str).map(str::to_owned);
    match value.as_str() {
        Some("auto") => Ok(ToolChoice::Auto),
        Some("none") => Ok(ToolChoice::None),
        Some("required") => Ok(ToolChoice::Required),
        _ => named(value).map(ToolChoice::Named).ok_or_else(|| {
            ConfigError::invalid("option \"tool_choice\" must be \"auto\", \"none\", \"required\" or {\"name\": \"...\"}", None)
        }),
    }
}

fn media(m: &Members<'_>, kind: Kind) -> Result<Vec<Media>, ConfigError> {
    m.raw(kind.option()).map_or(Ok(Vec::new()), |value| media::parse_list(value, kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ConfigErrorKind;
    use serde_json::json;

    #[test]
    fn an_unknown_option_is_refused_with_the_nearest_known_one() {
        let e = ChatOptions::parse(&json!({"temprature": 1})).unwrap_err();
        assert_eq!((e.kind, e.hint.as_deref()), (ConfigErrorKind::Invalid, Some("Perhaps you meant \"temperature\".")));
    }

    #[test]
    fn an_option_of_a_later_version_is_refused_and_not_ignored() {
        assert_eq!(ChatOptions::parse(&json!({"enable_rag": true})).unwrap_err().kind, ConfigErrorKind::NotSupported);
    }

    #[test]
    fn wrong_types_and_ranges_are_refused() {
        for bad in [
            json!([]),
            json!("x"),
            json!(null),
            json!({"temperature": "hot"}),
            json!({"temperature": 3}),
            json!({"top_p": 0}),
            json!({"max_tokens": -1}),
            json!({"max_tokens": 1.5}),
            json!({"stop": [1]}),
            json!({"seed": "x"}),
            json!({"tools": {}}),
            json!({"tools": [{"name": ""}]}),
            json!({"tool_choice": "maybe"}),
            json!({"response_format": 7}),
            json!({"timeout_ms": 0}),
            json!({"max_attempts": 0}),
            json!({"max_attempts": 11}),
            json!({"on_error": "shrug"}),
            json!({"messages": "x"}),
            json!({"images": [7]}),
            json!({"extra_body": []}),
            json!({"system": {}}),
            json!({"logprobs": 21}),
        ] {
            assert!(ChatOptions::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn null_is_as_good_as_absent() {
        assert_eq!(ChatOptions::parse(&json!({"temperature": null, "stop": null, "messages": null})).unwrap(), ChatOptions::default());
    }

    #[test]
    fn a_calls_options_win_over_the_models() {
        let defaults =
            ChatOptions::parse(&json!({"temperature": 1, "system": "a", "logprobs": true, "extra_body": {"x": 1, "y": 1}})).unwrap();
        let merged = ChatOptions::parse(&json!({"temperature": 0, "logprobs": false, "extra_body": {"y": 2}})).unwrap().over(&defaults);
        assert_eq!(merged.sampling.to_wire().logprobs, None);
        assert_eq!(merged.sampling.temperature, Some(0.0));
        assert_eq!(merged.system.as_deref(), Some("a"));
        assert_eq!(Value::Object(merged.call.extra_body.unwrap()), json!({"x": 1, "y": 2}));
    }
}
