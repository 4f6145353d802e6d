//! Chats of many rows: rows are drawn from a source as there is room for their calls, and leave as these end.

use std::sync::Arc;

use pg_llm_gateway::ledger::{Origin, Via};
use pg_llm_gateway::{Batch, BatchOptions, ChatCall, ChatOptions, ChatOutcome, ConfigError, NOTHING, OnError, Route, row_options};
use pg_llm_sandbox::interrupt::Interrupt;
use serde_json::{Value, json};

use super::model_call;
use crate::backend::calls::{Args, Returned};
use crate::backend::descriptors::Descriptors;
use crate::backend::errors::{Failure, SqlError};
use crate::backend::interrupts::{self, MainThread};
use crate::backend::rows::Rows;
use crate::catalog::response_cache;

/// A row that wants an answer.
pub(super) struct Drawn {
    /// What its result is known by.
    pub(super) key: Returned,
    /// None: no call.
    pub(super) prompt: Option<String>,
    /// Over the call's options.
    pub(super) options: Option<Value>,
}

/// Where the rows come from.
pub(super) trait Source {
    /// The next one.
    ///
    /// # Errors
    /// Any; it ends the statement.
    fn draw(&mut self) -> Result<Option<Drawn>, Failure>;

    /// As [`Rows::close`].
    ///
    /// # Errors
    /// Any; it is raised.
    fn close(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// No answer where none was asked for; an error where the row's own options are wrong.
type Answer = Result<Option<ChatOutcome>, ConfigError>;

/// What every call has in common.
pub(super) struct Calls {
    route: Route,
    batch: BatchOptions,
    chat: ChatOptions,
    /// As given: what a row's own go over.
    options: Value,
}

impl Calls {
    /// Of `(instance_name, ..., options)`, made for this.
    pub(super) fn of(args: &Args<'_>, options: usize, via: Via) -> Result<Self, Failure> {
        let options = args.json(options)?.unwrap_or_else(|| json!({}));
        let (mut batch, chat) = BatchOptions::parse(&options).map_err(SqlError::from)?;
        let mut route = model_call::resolve_chat(args, &chat)?;
        route.origin = Origin::parts_of_one(via);
        // More would only wait for each other.
        let most = route.spec.max_concurrency.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
        batch.concurrency = batch.concurrency.min(most);
        Ok(Self { route, batch, chat, options })
    }

    /// These for the rows of `source`, of which there are at most `count`.
    pub(super) fn with<S: Source>(self, source: S, count: usize) -> Result<Chats<S>, Failure> {
        let interrupt = MainThread::sending_rows();
        let (concurrency, order) = (self.batch.concurrency.min(count), self.batch.order);
        let descriptors = Descriptors::reserve(concurrency)?;
        let batch = Batch::new(concurrency, order, Arc::clone(&interrupt) as Arc<dyn Interrupt>).map_err(SqlError::from)?;
        Ok(Chats { calls: self, batch, interrupt, source, drawn: false, _descriptors: descriptors })
    }
}

/// As `TABLE (key, response, error, usage)`.
pub(super) struct Chats<S> {
    calls: Calls,
    /// Each row by its key, and its call where the answer is to be kept.
    batch: Batch<(Returned, Option<Arc<ChatCall>>), Answer>,
    interrupt: Arc<MainThread>,
    source: S,
    /// The source has no more.
    drawn: bool,
    _descriptors: Descriptors,
}

impl<S: Source> Rows for Chats<S> {
    fn next(&mut self) -> Result<Option<Vec<Returned>>, Failure> {
        loop {
            // A place that is free is taken at once, so that calls do not wait for the reader; but whoever is ready does not wait for a slow source either.
            let began = self.begin()?;
            if let Some(((key, to_keep), result)) = self.batch.ready() {
                if let (Some(call), Ok(Ok(Some(outcome)))) = (to_keep, &result) {
                    response_cache::keep(&call, outcome)?;
                }
                return self.row(key, result).map(Some);
            }
            if began {
                continue;
            }
            if self.batch.open() == 0 {
                return Ok(None);
            }
            let waited = self.batch.wait();
            self.interrupt.settle()?;
            waited.map_err(SqlError::from)?;
        }
    }

    fn close(&mut self) -> Result<(), Failure> {
        self.source.close()
    }
}

impl<S: Source> Chats<S> {
    /// Begins one more row, if there is room and a row.
    fn begin(&mut self) -> Result<bool, Failure> {
        if self.drawn || !self.batch.wants() {
            return Ok(false);
        }
        interrupts::check();
        let Some(Drawn { key, prompt, options }) = self.source.draw()? else {
            self.drawn = true;
            return Ok(false);
        };
        let options = options.map_or_else(|| Ok(self.calls.chat.clone()), |own| row_options(&self.calls.options, &own));
        match (prompt, options) {
            (None, _) => self.batch.land((key, None), Ok(Ok(None))),
            (Some(_), Err(error)) => self.batch.land((key, None), Ok(Err(error))),
            (Some(prompt), Ok(options)) => {
                let call = Arc::new(ChatCall::new(self.calls.route.clone(), &prompt, options));
                if let Some(outcome) = response_cache::find(&call)? {
                    self.batch.land((key, None), Ok(Ok(Some(outcome))));
                } else {
                    let to_keep = call.cache_terms().map(|_| Arc::clone(&call));
                    self.batch.start((key, to_keep), move |interrupt| call.run(interrupt).map(|outcome| Ok(Some(outcome))));
                }
            }
        }
        Ok(true)
    }

    fn row(&self, key: Returned, result: Result<Answer, pg_llm_gateway::CallError>) -> Result<Vec<Returned>, Failure> {
        model_call::log(&self.calls.route, &result, |answer| match answer {
            Ok(Some(outcome)) => &outcome.log,
            _ => &NOTHING,
        });
        let (error, kind, attempts) = match result {
            Ok(Ok(None)) => return Ok(vec![key, Returned::Null, Returned::Null, Returned::Null]),
            Ok(Ok(Some(outcome))) => {
                return Ok(vec![key, Returned::Text(outcome.text()), Returned::Null, Returned::Json(outcome.usage_and_cost())]);
            }
            Ok(Err(error)) => (SqlError::from(error), None, 0),
            Err(error) => {
                let (kind, attempts) = (error.kind.name(), error.attempts);
                (SqlError::from(error), Some(kind), attempts)
            }
        };
        let error = match self.calls.batch.on_error {
            OnError::Error => return Err(error.into()),
            OnError::Null => Returned::Null,
            OnError::Object => {
                let mut error = model_call::error_members(&error);
                error["kind"] = json!(kind);
                error["attempts"] = json!(attempts);
                Returned::Json(error)
            }
        };
        Ok(vec![key, Returned::Null, error, Returned::Null])
    }
}
