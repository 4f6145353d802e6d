//! Texts to vectors, in as few requests as the provider allows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pg_llm_sandbox::CallError as SandboxCallError;
use pg_llm_sandbox::interrupt::Interrupt;
use pg_llm_sandbox::types::{EmbedAnswer, EmbedRequest, Failure, FailureKind, Purpose, Usage};
use serde_json::Value;

use crate::admission::estimate;
use crate::attempts::Attempts;
use crate::batch::{self, DEFAULT_CONCURRENCY};
use crate::call_log::CallLog;
use crate::call_options::{self, CallOptions};
use crate::error::{CallError, ConfigError};
use crate::filters::filter_each;
use crate::in_flight::InFlight;
use crate::ledger::{self, Operation};
use crate::members::Members;
use crate::pool::MOST_THREADS;
use crate::route::Route;

/// Most bytes of text that go into one request. Providers that count the tokens of a whole request allow about this much.
const REQUEST_TEXT_BYTES: usize = 1 << 20;

/// Most texts of one request, so that the vectors of the largest models fit into a guest's memory in all the forms that they take there.
const REQUEST_TEXTS: usize = 512;

/// Most dimensions that a caller may ask for: pgvector's `vector` has no more.
const MAX_DIMENSIONS: u32 = 16_000;

/// Names of the options that only calls for embeddings have.
pub(crate) const NAMES: [&str; 3] = ["dimensions", "purpose", "max_concurrency"];

/// Options of a call for embeddings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmbedOptions {
    /// Shorten the vectors to this, where the model can.
    pub dimensions: Option<u32>,
    /// What they are for, where the provider tells it apart.
    pub purpose: Option<Purpose>,
    /// Requests at the same time, 1 to [`MOST_THREADS`].
    pub max_concurrency: Option<usize>,
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
        m.check_names(NAMES.into_iter().chain(call_options::NAMES), &[])?;
        Self::read(&m)
    }

    /// Reads them out of options whose names were looked at already.
    pub(crate) fn read(m: &Members<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            dimensions: dimensions(m, "dimensions")?,
            purpose: purpose(m)?,
            max_concurrency: batch::concurrency(m)?,
            call: CallOptions::read(m)?,
        })
    }

    /// Most requests that are made at the same time for so many texts.
    pub fn most_requests(&self, texts: usize) -> usize {
        self.max_concurrency.unwrap_or(DEFAULT_CONCURRENCY).min(texts)
    }

    /// These options over the model's configuration.
    #[must_use]
    pub fn over(self, route: &Route) -> Self {
        Self {
            dimensions: self.dimensions.or(route.spec.embedding_dimensions),
            purpose: self.purpose,
            max_concurrency: self.max_concurrency,
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
    /// What the guests logged, and warnings.
    pub log: CallLog,
}

impl EmbedOutcome {
    /// What it took and cost, as SQL shows it.
    pub fn usage_and_cost(&self) -> Value {
        let mut value = crate::outcome::usage(self.usage.as_ref());
        self.log.spent().show(&mut value, false);
        value
    }
}

/// Asks for the vectors of `texts`, in requests at the same time where one does not hold them all. `options` are over the model's already
/// ([`EmbedOptions::over`]).
///
/// # Errors
/// As [`crate::ChatCall::run`]; also when the vectors of several requests have several lengths. The first request that fails ends the others.
pub fn embed(route: &Route, texts: Vec<String>, options: &EmbedOptions, interrupt: &Arc<dyn Interrupt>) -> Result<EmbedOutcome, CallError> {
    let mut attempts = Attempts::begin(route, &options.call).idempotent().asking_for(Operation::Embeddings);
    let like = empty_request(route, options);
    let most = if texts.len() > 1 { most_inputs(route, &like, &mut attempts, interrupt)? } else { 1 };
    let mut requests: Vec<EmbedRequest> = shares(texts, most).into_iter().map(|inputs| EmbedRequest { inputs, ..like.clone() }).collect();
    let answered = match requests.pop() {
        Some(only) if requests.is_empty() => vec![ask(route, &only, attempts.of_one(), interrupt)?],
        Some(last) => {
            requests.push(last);
            ask_all(route, requests, options, &attempts, interrupt)?
        }
        None => Vec::new(),
    };
    joined(route, answered, attempts)
}

/// A request that has no texts yet.
pub(crate) fn empty_request(route: &Route, options: &EmbedOptions) -> EmbedRequest {
    EmbedRequest {
        model: route.spec.model_name.clone(),
        settings: route.spec.settings_text(),
        inputs: Vec::new(),
        dimensions: options.dimensions,
        purpose: options.purpose,
        extra_body: options.call.extra_body_text(),
    }
}

/// How many texts a request like this takes: what the provider's code says, within what we allow.
pub(crate) fn most_inputs(
    route: &Route,
    like: &EmbedRequest,
    attempts: &mut Attempts,
    interrupt: &Arc<dyn Interrupt>,
) -> Result<usize, CallError> {
    let outcome = route.provider.max_embed_inputs(attempts.grant(route, interrupt), like);
    let most = outcome.result.map_err(|error| attempts.failure(&error))?;
    Ok(usize::try_from(most).map_or(REQUEST_TEXTS, |most| most.min(REQUEST_TEXTS)))
}

/// Texts in the shares that requests take, of at most `most` texts each.
fn shares(texts: Vec<String>, most: usize) -> Vec<Vec<String>> {
    let (mut full, mut share) = (Vec::new(), Share::new(most));
    for text in texts {
        if let Some(text) = share.add(text) {
            full.push(share.take());
            share.add(text);
        }
    }
    if !share.is_empty() {
        full.push(share.take());
    }
    full
}

/// The texts of one request.
#[derive(Debug)]
pub struct Share {
    texts: Vec<String>,
    bytes: usize,
    most: usize,
}

impl Share {
    pub(crate) fn new(most: usize) -> Self {
        Self { texts: Vec::new(), bytes: 0, most }
    }

    /// Adds a text, or gives it back where it makes the request too large. A request of one text is never too large.
    pub fn add(&mut self, text: String) -> Option<String> {
        let bytes = self.bytes.saturating_add(text.len());
        if !self.is_empty() && (self.texts.len() >= self.most || bytes > REQUEST_TEXT_BYTES) {
            return Some(text);
        }
        self.bytes = bytes;
        self.texts.push(text);
        None
    }

    /// Whether no text at all can be added.
    pub fn is_full(&self) -> bool {
        self.texts.len() >= self.most || self.bytes > REQUEST_TEXT_BYTES
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// The texts, in the order in which they were added. It is empty then.
    pub fn take(&mut self) -> Vec<String> {
        self.bytes = 0;
        std::mem::take(&mut self.texts)
    }
}

/// Requests at the same time; their answers in the requests' order.
fn ask_all(
    route: &Route,
    requests: Vec<EmbedRequest>,
    options: &EmbedOptions,
    attempts: &Attempts,
    interrupt: &Arc<dyn Interrupt>,
) -> Result<Vec<Answered>, CallError> {
    let allowed = route.spec.max_concurrency.and_then(|most| usize::try_from(most).ok()).unwrap_or(MOST_THREADS);
    let threads = options.most_requests(requests.len()).min(allowed);
    let mut calls = InFlight::new(threads, Arc::clone(interrupt))?;
    let mut answered: Vec<Option<Answered>> = requests.iter().map(|_| None).collect();
    for (number, request) in requests.into_iter().enumerate() {
        let (route, attempts) = (route.clone(), attempts.beside());
        calls.start(number, move |interrupt| ask(&route, &request, attempts, interrupt));
    }
    while let Some((number, landed)) = calls.wait()? {
        answered[number] = Some(landed?);
    }
    Ok(answered.into_iter().flatten().collect())
}

/// The answer to one request, held against it.
pub(crate) struct Answered {
    answer: EmbedAnswer,
    attempts: Attempts,
}

pub(crate) fn ask(
    route: &Route,
    request: &EmbedRequest,
    mut attempts: Attempts,
    interrupt: &Arc<dyn Interrupt>,
) -> Result<Answered, CallError> {
    let began = Instant::now();
    let filtered = filter_each(route, &request.inputs, request.extra_body.as_deref(), &mut attempts, interrupt);
    attempts.account().add_filtering(began.elapsed());
    let filtered = filtered?.map(|inputs| EmbedRequest { inputs, ..request.clone() });
    let request = filtered.as_ref().unwrap_or(request);
    attempts.expect_tokens(|| estimate::texts(&request.inputs));
    attempts.account().asks(|| ledger::texts(&request.inputs));
    let answer = attempts.run(route, interrupt, |grant| route.provider.embed(grant, request))?;
    attempts.answered(only_read(answer.usage.as_ref()).as_ref());
    match fault(request.inputs.len(), &answer.vectors) {
        Some(fault) => Err(attempts.failure(&protocol(fault))),
        None => Ok(Answered { answer, attempts }),
    }
}

/// The usage of a request whose answer is no text: who says nothing of output has none.
pub(crate) fn only_read(usage: Option<&Usage>) -> Option<Usage> {
    usage.map(|usage| Usage { output_tokens: usage.output_tokens.or(Some(0)), ..usage.clone() })
}

pub(crate) fn joined(route: &Route, answered: Vec<Answered>, mut attempts: Attempts) -> Result<EmbedOutcome, CallError> {
    let mut vectors: Vec<Vec<f32>> = Vec::new();
    let mut usage: Option<Usage> = None;
    let mut model = None;
    for one in answered {
        attempts.add(one.attempts);
        if vectors.first().zip(one.answer.vectors.first()).is_some_and(|(first, other)| first.len() != other.len()) {
            return Err(attempts.failure(&protocol(SEVERAL_LENGTHS)));
        }
        usage = match (usage, one.answer.usage) {
            (Some(sum), Some(more)) => Some(add(&sum, &more)),
            (sum, more) => sum.or(more),
        };
        model = model.or(one.answer.model);
        vectors.extend(one.answer.vectors);
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

pub(crate) const SEVERAL_LENGTHS: &str = "it gave vectors of several lengths, or empty ones";

/// What is wrong with the vectors of one request: the contract is also an uploaded provider's, which nobody checked.
fn fault(texts: usize, vectors: &[Vec<f32>]) -> Option<&'static str> {
    let length = vectors.first().map_or(0, Vec::len);
    if vectors.len() != texts {
        Some("it gave another number of vectors than there are texts")
    } else if vectors.iter().any(|vector| vector.is_empty() || vector.len() != length) {
        Some(SEVERAL_LENGTHS)
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
            json!({"max_concurrency": 0}),
            json!({"max_attempts": 0}),
            json!([]),
        ] {
            assert!(EmbedOptions::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn texts_are_shared_out_by_number_and_by_size() {
        let text = |bytes: usize| "x".repeat(bytes);
        let sizes = |texts: Vec<String>, most| shares(texts, most).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(vec![text(1); 5], 2), [2, 2, 1]);
        assert_eq!(sizes(vec![text(REQUEST_TEXT_BYTES), text(1), text(REQUEST_TEXT_BYTES + 1), text(1)], 9), [1, 1, 1, 1]);
        assert_eq!(sizes(vec![text(REQUEST_TEXT_BYTES - 1), text(1)], 9), [2]);
        assert_eq!(sizes(Vec::new(), 9), [0; 0]);
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
