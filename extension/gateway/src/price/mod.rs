//! What a request costs: a model's price rules, applied to what its provider counted.
//!
//! All of it is integers: a price has at most nine decimals, sums are exact, and a cost is rounded once, to the nearest billionth of the currency's unit.

mod amount;
mod spent;

pub use amount::{Cost, Currency};
pub use spent::Spent;

use pg_llm_sandbox::types::Usage;
use serde_json::Value;

use crate::error::ConfigError;
use crate::extract;
use crate::members::Members;
use amount::Rate;

/// Prices of one model, by the million of what is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// What all of them are in.
    pub currency: Currency,
    /// Of tokens in the one meaning that they have for all providers.
    tokens: TokenPrices,
    /// Of what the provider's own usage says.
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct TokenPrices {
    input: Option<Rate>,
    output: Option<Rate>,
    /// In the place of `input`.
    cached_input: Option<Rate>,
    /// In the place of `input`.
    cache_write: Option<Rate>,
    /// In the place of `output`.
    reasoning: Option<Rate>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// RFC 6901, into the provider's usage object.
    pointer: String,
    rate: Rate,
    /// What is not there is none; else it leaves the cost unknown.
    optional: bool,
}

/// Why the cost of a request is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The provider counted nothing.
    NoUsage,
    /// It did not count this, or gave no count.
    NotCounted(String),
    /// It counted this, and there is no price for it.
    NoPrice(&'static str),
}

/// Most rules of a model.
const MOST_RULES: usize = 32;
/// Longest pointer, in bytes.
const POINTER: usize = 200;

const MEMBERS: [&str; 7] = ["currency", "input", "output", "cached_input", "cache_write", "reasoning", "per_million"];
const RULE: [&str; 3] = ["usage", "price", "optional"];

impl Price {
    /// Reads the member `price` of a configuration; none where it is not there.
    ///
    /// # Errors
    /// For unknown members, what is no price or no pointer, and prices that say nothing alone.
    pub(crate) fn read(config: &Members<'_>) -> Result<Option<Self>, ConfigError> {
        let Some(value) = config.raw("price") else { return Ok(None) };
        let m = Members::of("member of \"price\"", value)?;
        m.check_names(MEMBERS.into_iter(), &[])?;
        let price = |name| rate(&m, name).and_then(|rate| not_negative(name, rate));
        let tokens = TokenPrices {
            input: price("input")?,
            output: price("output")?,
            cached_input: price("cached_input")?,
            cache_write: price("cache_write")?,
            reasoning: price("reasoning")?,
        };
        for (part, of, whole) in [
            ("cached_input", "input", tokens.cached_input.is_some() && tokens.input.is_none()),
            ("cache_write", "input", tokens.cache_write.is_some() && tokens.input.is_none()),
            ("reasoning", "output", tokens.reasoning.is_some() && tokens.output.is_none()),
        ] {
            if whole {
                let hint = format!("It is the price of a part of what \"{of}\" is the price of.");
                return Err(ConfigError::invalid(format!("member of \"price\" \"{part}\" needs \"{of}\""), hint));
            }
        }
        let rules = match m.raw("per_million") {
            None => Vec::new(),
            Some(Value::Array(rules)) if rules.len() <= MOST_RULES => rules.iter().map(Rule::parse).collect::<Result<_, _>>()?,
            Some(other) => return Err(m.wrong("per_million", &format!("an array of at most {MOST_RULES} rules"), other)),
        };
        if tokens == TokenPrices::default() && rules.is_empty() {
            let hint = "{\"input\": 2.5, \"output\": 10}, by the million tokens; a model that costs nothing has prices of 0.";
            return Err(ConfigError::invalid("config key \"price\" has no price in it", hint.to_owned()));
        }
        Ok(Some(Self { currency: Currency::read(&m, "currency")?, tokens, rules }))
    }

    /// What a request cost. Never less than 0, whatever the provider counted.
    ///
    /// # Errors
    /// Where it cannot be known.
    pub fn cost(&self, usage: Option<&Usage>) -> Result<Cost, Unknown> {
        let usage = usage.ok_or(Unknown::NoUsage)?;
        let mut sum = self.tokens.sum(usage, self.rules.is_empty())?;
        if !self.rules.is_empty() {
            let raw = usage.raw.as_deref().and_then(extract::value).ok_or(Unknown::NoUsage)?;
            for rule in &self.rules {
                sum = sum.saturating_add(rule.sum(&raw)?);
            }
        }
        Ok(Cost::of_millionths(sum.max(0)))
    }

    /// What a request will cost at most, if it takes so many tokens and none are cheaper than others.
    pub fn estimate(&self, input: u32, output: u32) -> Cost {
        let TokenPrices { input: of_input, output: of_output, cache_write, reasoning, .. } = &self.tokens;
        let dearest = |one: &Option<Rate>, other: &Option<Rate>| one.max(other).unwrap_or_default();
        let tokens = dearest(of_input, cache_write).times(input.into()).saturating_add(dearest(of_output, reasoning).times(output.into()));
        // What a pointer counts is not known before: all of it may be what is dearest.
        let rule = self.rules.iter().map(|rule| rule.rate).max().unwrap_or_default().max(Rate::default());
        let all = u64::from(input).saturating_add(output.into());
        Cost::of_millionths(tokens.saturating_add(rule.times(all)))
    }
}

impl TokenPrices {
    /// In millionths of a [`Cost`]'s unit. `alone`: what has no price here has none at all.
    fn sum(&self, usage: &Usage, alone: bool) -> Result<i128, Unknown> {
        let input = part(self.input, usage.input_tokens, "input", alone)?;
        let output = part(self.output, usage.output_tokens, "output", alone)?;
        let mut sum = 0_i128;
        if let Some((rate, count)) = input {
            let cached = usage.cached_tokens.filter(|_| self.cached_input.is_some()).unwrap_or(0).min(count);
            let written = usage.cache_write_tokens.filter(|_| self.cache_write.is_some()).unwrap_or(0).min(count - cached);
            sum = sum
                .saturating_add(rate.times(count - cached - written))
                .saturating_add(self.cached_input.unwrap_or_default().times(cached))
                .saturating_add(self.cache_write.unwrap_or_default().times(written));
        }
        if let Some((rate, count)) = output {
            let thought = usage.reasoning_tokens.filter(|_| self.reasoning.is_some()).unwrap_or(0).min(count);
            sum = sum.saturating_add(rate.times(count - thought)).saturating_add(self.reasoning.unwrap_or_default().times(thought));
        }
        Ok(sum)
    }
}

/// What there is to pay for one of the two counts, if anything.
fn part(rate: Option<Rate>, count: Option<u64>, name: &'static str, alone: bool) -> Result<Option<(Rate, u64)>, Unknown> {
    match (rate, count) {
        (Some(rate), Some(count)) => Ok(Some((rate, count))),
        (Some(_), None) => Err(Unknown::NotCounted(format!("{name}_tokens"))),
        (None, Some(1..)) if alone => Err(Unknown::NoPrice(name)),
        (None, _) => Ok(None),
    }
}

impl Rule {
    fn parse(value: &Value) -> Result<Self, ConfigError> {
        let m = Members::of("member of a rule of \"per_million\"", value)?;
        m.check_names(RULE.into_iter(), &[])?;
        let expected = format!("a JSON pointer of at most {POINTER} bytes, such as \"/prompt_tokens\"");
        let pointer = m.get_if("usage", &expected, |pointer: &String| pointer.starts_with('/') && pointer.len() <= POINTER)?;
        let (Some(pointer), Some(rate)) = (pointer, rate(&m, "price")?) else {
            let hint = "{\"usage\": \"/prompt_tokens\", \"price\": 2.5}".to_owned();
            return Err(ConfigError::invalid("a rule of \"per_million\" needs \"usage\" and \"price\"", hint));
        };
        // A discount is for a part of what another rule counts, and many providers leave out the part that is 0.
        let optional = m.get("optional", "true or false")?.unwrap_or(rate < Rate::default());
        Ok(Self { pointer, rate, optional })
    }

    /// In millionths of a [`Cost`]'s unit.
    fn sum(&self, usage: &Value) -> Result<i128, Unknown> {
        match usage.pointer(&self.pointer).filter(|value| !value.is_null()) {
            None if self.optional => Ok(0),
            None => Err(Unknown::NotCounted(self.pointer.clone())),
            Some(value) => match value.as_u64() {
                Some(count) => Ok(self.rate.times(count)),
                None => Err(Unknown::NotCounted(self.pointer.clone())),
            },
        }
    }
}

fn rate(m: &Members<'_>, name: &str) -> Result<Option<Rate>, ConfigError> {
    let Some(value) = m.raw(name) else { return Ok(None) };
    match Rate::parse(value) {
        Some(rate) => Ok(Some(rate)),
        None => Err(m.wrong(name, "a price by the million, with at most nine decimals, and below a billion", value)),
    }
}

fn not_negative(name: &str, rate: Option<Rate>) -> Result<Option<Rate>, ConfigError> {
    match rate {
        Some(rate) if rate < Rate::default() => Err(ConfigError::invalid(
            format!("member of \"price\" \"{name}\" must not be negative"),
            "\"cached_input\" stands in the place of \"input\" for cached tokens; only rules of \"per_million\" are added up.".to_owned(),
        )),
        other => Ok(other),
    }
}

impl std::fmt::Display for Unknown {
    /// Ends the sentence "the cost of a request is not known: ".
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoUsage => f.write_str("its provider did not say what it used"),
            Self::NotCounted(what) => write!(f, "its provider gave no count as \"{}\"", crate::error::clip(what, POINTER)),
            Self::NoPrice(what) => write!(f, "the model's price has no \"{what}\""),
        }
    }
}

#[cfg(test)]
mod tests;
