//! Texts to vectors where the texts come one by one: how many a request takes, and each request as a call of its own.

use std::sync::Arc;

use pg_llm_sandbox::interrupt::Interrupt;
use pg_llm_sandbox::types::EmbedRequest;
use serde_json::Value;

use crate::attempts::Attempts;
use crate::batch::BatchOptions;
use crate::call_options;
use crate::embeddings::{self, EmbedOptions, EmbedOutcome, Share};
use crate::error::{CallError, ConfigError};
use crate::ledger::Operation;
use crate::members::Members;
use crate::route::Route;

/// What all requests have in common. It can be sent from any thread.
#[derive(Clone)]
pub struct EmbedCall {
    route: Route,
    options: EmbedOptions,
    /// Texts of one request.
    most: usize,
}

impl EmbedCall {
    /// Asks the provider's code how many texts one request takes. `options` are the call's own.
    ///
    /// # Errors
    /// When the provider has no embeddings, the guest misbehaves, or the interrupt ends it.
    pub fn new(route: Route, options: EmbedOptions, interrupt: &Arc<dyn Interrupt>) -> Result<Self, CallError> {
        let options = options.over(&route);
        let mut attempts = Attempts::begin(&route, &options.call).asking_for(Operation::Embeddings);
        let most = embeddings::most_inputs(&route, &embeddings::empty_request(&route, &options), &mut attempts, interrupt)?;
        Ok(Self { route, options, most })
    }

    /// Reads `options jsonb` of a call that sends many requests whose results leave one by one.
    ///
    /// # Errors
    /// For unknown keys, wrong types and values out of range.
    pub fn parse(options: &Value) -> Result<(BatchOptions, EmbedOptions), ConfigError> {
        let m = Members::of("option", options)?;
        m.check_names(embeddings::NAMES.into_iter().chain(["order"]).chain(call_options::NAMES), &[])?;
        let embed = EmbedOptions::read(&m)?;
        Ok((BatchOptions::read(&m, embed.call.on_error)?, embed))
    }

    /// Whom it asks.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// The texts of a request, none yet.
    pub fn share(&self) -> Share {
        Share::new(self.most)
    }

    /// Makes one request for these texts. Its time begins here.
    ///
    /// # Errors
    /// As [`crate::ChatCall::run`].
    pub fn run(&self, texts: Vec<String>, interrupt: &Arc<dyn Interrupt>) -> Result<EmbedOutcome, CallError> {
        let route = Route { origin: self.route.origin.another(), ..self.route.clone() };
        let attempts = Attempts::begin(&route, &self.options.call).idempotent().asking_for(Operation::Embeddings);
        let request = EmbedRequest { inputs: texts, ..embeddings::empty_request(&self.route, &self.options) };
        let answered = embeddings::ask(&route, &request, attempts.of_one(), interrupt)?;
        embeddings::joined(&route, vec![answered], attempts)
    }

    /// The error of a request whose vectors have another length than those that came before.
    pub fn other_length(&self, outcome: EmbedOutcome) -> CallError {
        let mut attempts = Attempts::begin(&self.route, &self.options.call).silent();
        let error = attempts.failure(&embeddings::protocol(embeddings::SEVERAL_LENGTHS));
        CallError { attempts: outcome.attempts, log: outcome.log, ..error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Order;
    use crate::options::OnError;
    use serde_json::json;

    #[test]
    fn its_options_are_those_of_both_and_no_others() {
        let (batch, embed) = EmbedCall::parse(&json!({"max_concurrency": 3, "order": "ord", "dimensions": 7, "on_error": "null"})).unwrap();
        assert_eq!(batch, BatchOptions { concurrency: 3, order: Order::Rows, on_error: OnError::Null });
        assert_eq!(embed.dimensions, Some(7));
        assert_eq!(EmbedCall::parse(&json!({})).unwrap().0.on_error, OnError::Object);
        for bad in [json!({"order": 1}), json!({"temperature": 1}), json!({"max_concurrency": 0}), json!({"top_n": 1}), json!(null)] {
            assert!(EmbedCall::parse(&bad).is_err(), "{bad}");
        }
    }
}
