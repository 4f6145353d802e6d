//! Documents in the order of their relevance to a query.

use std::sync::Arc;

use pg_llm_sandbox::interrupt::Interrupt;
use pg_llm_sandbox::types::{Ranked, RerankRequest};
use serde_json::Value;

use crate::admission::estimate;
use crate::attempts::Attempts;
use crate::call_log::CallLog;
use crate::call_options::{self, CallOptions};
use crate::embeddings::only_read;
use crate::error::{CallError, ConfigError};
use crate::filters::filter_texts;
use crate::ledger::Operation;
use crate::members::Members;
use crate::route::Route;

/// Options of a call to rerank.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RerankOptions {
    /// Only the best so many.
    pub top_n: Option<u32>,
    /// What every call has.
    pub call: CallOptions,
}

impl RerankOptions {
    /// Reads `options jsonb`.
    ///
    /// # Errors
    /// For unknown keys, wrong types and values out of range.
    pub fn parse(options: &Value) -> Result<Self, ConfigError> {
        let m = Members::of("option", options)?;
        m.check_names(["top_n"].into_iter().chain(call_options::NAMES), &[])?;
        Ok(Self { top_n: m.get_if("top_n", "a positive integer", |v| *v > 0)?, call: CallOptions::read(&m)? })
    }

    /// These options over the model's configuration.
    #[must_use]
    pub fn over(self, route: &Route) -> Self {
        Self { top_n: self.top_n, call: self.call.over(&route.spec.defaults.call) }
    }
}

/// An order, and what it took.
#[derive(Clone, Debug)]
pub struct RerankOutcome {
    /// Best first.
    pub results: Vec<Ranked>,
    /// What the guests logged, and warnings.
    pub log: CallLog,
}

/// Asks for the order of `documents`. `options` are over the model's already ([`RerankOptions::over`]).
///
/// # Errors
/// As [`crate::ChatCall::run`]; also when the order names what is not among the documents.
pub fn rerank(
    route: &Route,
    query: String,
    documents: Vec<String>,
    options: &RerankOptions,
    interrupt: &Arc<dyn Interrupt>,
) -> Result<RerankOutcome, CallError> {
    let mut attempts = Attempts::begin(route, &options.call).idempotent().asking_for(Operation::Rerank);
    let mut texts = documents;
    texts.push(query);
    if let Some(filtered) = filter_texts(route, &texts, options.call.extra_body_text().as_deref(), &mut attempts, interrupt)? {
        texts = filtered;
    }
    let query = texts.pop().unwrap_or_default();
    let request = RerankRequest {
        model: route.spec.model_name.clone(),
        settings: route.spec.settings_text(),
        query,
        documents: texts,
        top_n: options.top_n,
        extra_body: options.call.extra_body_text(),
    };
    attempts.expect_tokens(|| estimate::texts(&request.documents));
    let answer = attempts.run(route, interrupt, |grant| route.provider.rerank(grant, &request))?;
    attempts.answered(only_read(answer.usage.as_ref()).as_ref());
    let mut results = answer.results;
    let mut seen = vec![false; request.documents.len()];
    for ranked in &results {
        match usize::try_from(ranked.index).ok().and_then(|at| seen.get_mut(at)) {
            Some(seen) if !*seen && ranked.score.is_finite() => *seen = true,
            _ => return Err(attempts.failure(&crate::embeddings::protocol("it ranked what is not among the documents, or one twice"))),
        }
    }
    results.sort_by(|one, other| other.score.total_cmp(&one.score));
    // Some endpoints do not know the parameter.
    results.truncate(options.top_n.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX)));
    Ok(RerankOutcome { results, log: attempts.into_log() })
}
