//! Texts to vectors, in as few requests as the provider allows.

use std::sync::Arc;
use std::time::Duration;

use pg_llm_sandbox::interrupt::Interrupt;
use pg_llm_sandbox::types::{EmbedRequest, Failure, FailureKind, Purpose, Usage};
use pg_llm_sandbox::{CallError as SandboxCallError, LogLine};
use serde_json::Value;

use crate::admission::estimate;
use crate::attempts::Attempts;
use crate::call_options::{self, CallOptions};
use crate::error::{CallError, ConfigError};
use crate::members::Members;
use crate::route::Route;

/// Most bytes of text that go into one request. Providers that count the tokens of a whole request allow about this much.
const REQUEST_TEXT_BYTES: usize = 1 << 20;

/// Most texts of one request, so that the vectors of the largest models fit into a guest's memory in all the forms that they take there.
const REQUEST_TEXTS: usize = 512;

/// Most dimensions that a caller may ask for: pgvector's `vector` has no more.
const MAX_DIMENSIONS: u32 = 16_000;

/// Options of a call for embeddings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmbedOptions {
    /// Shorten the vectors to this, where the model can.
    pub dimensions: Option<u32>,
    /// What they are for, where the provider tells it apart.
    pub purpose: Option<Purpose>,
    /// What every call has.
    pub call: CallOptions,
}

impl EmbedOptions {
    /// Reads `options jsonb`.
    ///
    /// # Errors
    /// For unknown keys, wrong types and values out of range.
    pub fn parse(options: &Value) -> Result<Self, ConfigError> {
        let m = Members::of("option", options)?;
        m.check_names(["dimensions", "purpose"].into_iter().chain(call_options::NAMES), &[])?;
        Ok(Self { dimensions: dimensions(&m, "dimensions")?, purpose: purpose(&m)?, call: CallOptions::read(&m)? })
    }

    /// These options over the model's configuration.
    #[must_use]
    pub fn over(self, route: &Route) -> Self {
        Self {
            dimensions: self.dimensions.or(route.spec.embedding_dimensions),
            purpose: self.purpose,
            call: self.call.over(&route.spec.defaults.call),
        }
    }
}

/// A number of dimensions, as an option and as a key of a configuration.
pub(crate) fn dimensions(m: &Members<'_>, name: &str) -> Result<Option<u32>, ConfigError> {
    m.get_if(name, &format!("an integer from 1 to {MAX_DIMENSIONS}"), |v| (1..=MAX_DIMENSIONS).contains(v))
}

fn purpose(m: &Members<'_>) -> Result<Option<Purpose>, ConfigError> {
    const EXPECTED: &str = "\"document\", \"query\", \"classification\" or \"clustering\"";
    let Some(word) = m.get::<String>("purpose", EXPECTED)? else { return Ok(None) };
    Ok(Some(match word.as_str() {
        "document" => Purpose::Document,
        "query" => Purpose::Query,
        "classification" => Purpose::Classification,
        "clustering" => Purpose::Clustering,
        other => {
            let other = crate::error::clip(other, 50);
            return Err(ConfigError::invalid(format!("option \"purpose\" must be {EXPECTED}, not \"{other}\""), None));
        }
    }))
}

/// Vectors, and what they took.
#[derive(Clone, Debug)]
pub struct EmbedOutcome {
    /// One a text, in the order of the texts, all of one length.
    pub vectors: Vec<Vec<f32>>,
    /// The model in the provider's words, or as configured.
    pub model_name: String,
    /// Summed over the requests; absent counts are unknown.
    pub usage: Option<Usage>,
    /// How often the provider was called.
    pub attempts: u32,
    /// From the call's begin to its end.
    pub latency: Duration,
    /// What the guest logged.
    pub log: Vec<LogLine>,
}

/// Asks for the vectors of `texts`. `options` are over the model's already ([`EmbedOptions::over`]).
///
/// # Errors
/// As [`crate::ChatCall::run`]; also when the vectors of several requests have several lengths.
pub fn embed(route: &Route, texts: Vec<String>, options: &EmbedOptions, interrupt: &Arc<dyn Interrupt>) -> Result<EmbedOutcome, CallError> {
    let mut attempts = Attempts::begin(route, &options.call);
    let mut request = EmbedRequest {
        model: route.spec.model_name.clone(),
        settings: route.spec.settings_text(),
        inputs: Vec::new(),
        dimensions: options.dimensions,
        purpose: options.purpose,
        extra_body: options.call.extra_body_text(),
    };
    let most = if texts.len() > 1 {
        let outcome = route.provider.max_embed_inputs(attempts.grant(route, interrupt), &request);
        usize::try_from(outcome.result.map_err(|error| attempts.failure(&error))?).map_or(REQUEST_TEXTS, |most| most.min(REQUEST_TEXTS))
    } else {
        1
    };
    let mut vectors: Vec<Vec<f32>> = Vec::with_capacity(texts.len());
    let mut usage: Option<Usage> = None;
    let mut model = None;
    let mut texts = texts.into_iter().peekable();
    while texts.peek().is_some() {
        request.inputs.clear();
        let mut bytes = 0;
        while let Some(text) =
            texts.next_if(|text| request.inputs.is_empty() || request.inputs.len() < most && bytes + text.len() <= REQUEST_TEXT_BYTES)
        {
            bytes += text.len();
            request.inputs.push(text);
        }
        attempts.expect_tokens(|| estimate::texts(&request.inputs));
        let answer = attempts.run(route, interrupt, |grant| {
            let outcome = route.provider.embed(grant, &request);
            (outcome.result, outcome.log)
        })?;
        attempts.answered(answer.usage.as_ref());
        if let Some(fault) = fault(&request, vectors.first(), &answer.vectors) {
            return Err(attempts.failure(&protocol(fault)));
        }
        usage = match (usage, answer.usage) {
            (Some(sum), Some(more)) => Some(add(&sum, &more)),
            (sum, more) => sum.or(more),
        };
        model = model.or(answer.model);
        vectors.extend(answer.vectors);
    }
    Ok(EmbedOutcome {
        vectors,
        model_name: model.unwrap_or_else(|| route.spec.model_name.clone()),
        usage,
        attempts: attempts.made(),
        latency: attempts.elapsed(),
        log: attempts.into_log(),
    })
}

/// What is wrong with vectors: the contract is also an uploaded provider's, which nobody checked.
fn fault(request: &EmbedRequest, first: Option<&Vec<f32>>, vectors: &[Vec<f32>]) -> Option<&'static str> {
    let length = first.or(vectors.first()).map_or(0, Vec::len);
    if vectors.len() != request.inputs.len() {
        Some("it gave another number of vectors than there are texts")
    } else if vectors.iter().any(|vector| vector.is_empty() || vector.len() != length) {
        Some("it gave vectors of several lengths, or empty ones")
    } else if vectors.iter().flatten().any(|number| !number.is_finite()) {
        Some("it gave vectors with numbers that are not finite")
    } else {
        None
    }
}

pub(crate) fn protocol(message: &str) -> SandboxCallError {
    SandboxCallError::Failed(Failure::new(FailureKind::Protocol, message))
}

fn add(sum: &Usage, more: &Usage) -> Usage {
    let add = |one: Option<u64>, other: Option<u64>| one.zip(other).map(|(one, other)| one.saturating_add(other));
    Usage {
        input_tokens: add(sum.input_tokens, more.input_tokens),
        output_tokens: add(sum.output_tokens, more.output_tokens),
        cached_tokens: add(sum.cached_tokens, more.cached_tokens),
        cache_write_tokens: add(sum.cache_write_tokens, more.cache_write_tokens),
        reasoning_tokens: add(sum.reasoning_tokens, more.reasoning_tokens),
        raw: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_are_read_and_wrong_ones_refused() {
        let options = EmbedOptions::parse(&json!({"dimensions": 256, "purpose": "query", "timeout_ms": 5})).unwrap();
        assert_eq!((options.dimensions, options.purpose), (Some(256), Some(Purpose::Query)));
        for bad in [
            json!({"dimensions": 0}),
            json!({"dimensions": 16_001}),
            json!({"dimensions": "256"}),
            json!({"purpose": "fun"}),
            json!({"temperature": 1}),
            json!({"max_attempts": 0}),
            json!([]),
        ] {
            assert!(EmbedOptions::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn unknown_counts_stay_unknown_in_a_sum() {
        let usage = |input, output| Usage {
            input_tokens: input,
            output_tokens: output,
            cached_tokens: None,
            cache_write_tokens: None,
            reasoning_tokens: None,
            raw: None,
        };
        let sum = add(&usage(Some(1), Some(1)), &usage(Some(2), None));
        assert_eq!((sum.input_tokens, sum.output_tokens), (Some(3), None));
    }
}
