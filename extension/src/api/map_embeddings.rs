//! `pg_llm_map_embeddings`: a vector for each row of a query, many rows a request, many requests at a time.

use std::sync::Arc;
use std::vec;

use pg_llm_gateway::ledger::{Origin, Via};
use pg_llm_gateway::{Batch, CallError, EmbedCall, EmbedOutcome, NOTHING, OnError, Share};
use pg_llm_sandbox::interrupt::Interrupt;
use pgrx::pg_sys;
use serde_json::json;

use super::batch::{Drawn, Source};
use super::map::Query;
use super::model_call;
use crate::backend::calls::{Args, Returned};
use crate::backend::descriptors::Descriptors;
use crate::backend::errors::{Failure, SqlError, State};
use crate::backend::interrupts::{self, MainThread};
use crate::backend::rows::{Rows, sql_set_functions};

sql_set_functions! {
    pg_llm_map_embeddings_wrapper, pg_finfo_pg_llm_map_embeddings_wrapper => map_embeddings;
}

/// What a row of the query holds.
const SHAPES: &str = "One column: the text. Two: key, text.";

/// Rows that leave with one request, NULLs included: of these a query may have any number in a row.
const MOST_ROWS: usize = 2048;

/// As `TABLE (key, embedding, error, usage)`.
struct Embeddings {
    call: EmbedCall,
    on_error: OnError,
    batch: Batch<Vec<Place>, Option<EmbedOutcome>>,
    interrupt: Arc<MainThread>,
    query: Query,
    /// The query has no more.
    drawn: bool,
    _descriptors: Descriptors,
    /// The rows of the next request, and their texts.
    places: Vec<Place>,
    share: Share,
    /// Rows of a request that has ended.
    ready: vec::IntoIter<Vec<Returned>>,
    /// Of the vectors.
    length: Option<usize>,
}

/// A row whose result is to come.
struct Place {
    key: Returned,
    /// False for NULL.
    has_text: bool,
}

/// `(instance_name, query, options)`.
fn map_embeddings(args: &Args<'_>) -> Result<Option<Box<dyn Rows>>, Failure> {
    let Some(query) = args.text(1)? else { return Ok(None) };
    let (batch, options) = EmbedCall::parse(&args.json(2)?.unwrap_or_else(|| json!({}))).map_err(SqlError::from)?;
    let mut route = model_call::resolve(args)?;
    route.origin = Origin::parts_of_one(Via::Embeddings);
    let query = Query::open(&query, args, check_shape)?;
    // More would only wait for each other.
    let most = route.spec.max_concurrency.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    let call = model_call::run(|interrupt| EmbedCall::new(route, options, interrupt))?.map_err(SqlError::from)?;
    let interrupt = MainThread::sending_rows();
    let concurrency = batch.concurrency.min(most);
    let descriptors = Descriptors::reserve(concurrency)?;
    let requests = Batch::new(concurrency, batch.order, Arc::clone(&interrupt) as Arc<dyn Interrupt>);
    Ok(Some(Box::new(Embeddings {
        share: call.share(),
        call,
        on_error: batch.on_error,
        batch: requests.map_err(SqlError::from)?,
        interrupt,
        query,
        drawn: false,
        _descriptors: descriptors,
        places: Vec::new(),
        ready: Vec::new().into_iter(),
        length: None,
    })))
}

fn check_shape(types: &[pg_sys::Oid]) -> Result<(), SqlError> {
    match types {
        [_] | [_, _] => Ok(()),
        columns => Err(SqlError::new(State::InvalidArgument, format!("pg_llm: query has {} columns", columns.len())).hint(SHAPES)),
    }
}

impl Rows for Embeddings {
    fn next(&mut self) -> Result<Option<Vec<Returned>>, Failure> {
        loop {
            // A row is drawn for each that leaves, so that the next request is not late, and nobody who is ready waits for a slow query.
            let began = self.begin()?;
            if let Some(row) = Iterator::next(&mut self.ready) {
                return Ok(Some(row));
            }
            if let Some((places, result)) = self.batch.ready() {
                self.ready = self.rows(places, result)?.into_iter();
                continue;
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
        self.query.close()
    }
}

impl Embeddings {
    /// Draws one more row, or sends those that are drawn, if there is room for a request. False: there is nothing to begin.
    fn begin(&mut self) -> Result<bool, Failure> {
        if !self.batch.wants() {
            return Ok(false);
        }
        if self.drawn || self.share.is_full() || self.places.len() >= MOST_ROWS {
            return Ok(self.send());
        }
        interrupts::check();
        let Some(Drawn { key, prompt, .. }) = self.query.draw()? else {
            self.drawn = true;
            return Ok(self.send());
        };
        let has_text = prompt.is_some();
        if let Some(text) = prompt.and_then(|text| self.share.add(text)) {
            self.send();
            self.share.add(text);
        }
        self.places.push(Place { key, has_text });
        Ok(true)
    }

    /// Begins the request of the rows that are drawn. False: there are none.
    fn send(&mut self) -> bool {
        if self.places.is_empty() {
            return false;
        }
        let (places, texts) = (std::mem::take(&mut self.places), self.share.take());
        if texts.is_empty() {
            self.batch.land(places, Ok(None));
        } else {
            let call = self.call.clone();
            self.batch.start(places, move |interrupt| call.run(texts, interrupt).map(Some));
        }
        true
    }

    /// The rows of one request. What it took stands in the first that has a text.
    fn rows(&mut self, places: Vec<Place>, result: Result<Option<EmbedOutcome>, CallError>) -> Result<Vec<Vec<Returned>>, Failure> {
        model_call::log(self.call.route(), &result, |outcome| outcome.as_ref().map_or(&NOTHING, |outcome| &outcome.log));
        let (mut vectors, mut usage, mut error) = (Vec::new().into_iter(), None, None);
        match result.and_then(|outcome| outcome.map(|outcome| self.of_one_length(outcome)).transpose()) {
            Ok(None) => (),
            Ok(Some(outcome)) => {
                usage = Some(outcome.usage_and_cost());
                vectors = outcome.vectors.into_iter();
            }
            Err(failed) => error = self.error(failed)?,
        }
        let row = |Place { key, has_text }: Place| {
            if !has_text {
                return vec![key, Returned::Null, Returned::Null, Returned::Null];
            }
            let vector = vectors.next().map_or(Returned::Null, Returned::Vector);
            let error = error.clone().map_or(Returned::Null, Returned::Json);
            vec![key, vector, error, usage.take().map_or(Returned::Null, Returned::Json)]
        };
        Ok(places.into_iter().map(row).collect())
    }

    /// All vectors of a statement have the length of its first.
    fn of_one_length(&mut self, outcome: EmbedOutcome) -> Result<EmbedOutcome, CallError> {
        let length = outcome.vectors.first().map_or(0, Vec::len);
        if *self.length.get_or_insert(length) == length { Ok(outcome) } else { Err(self.call.other_length(outcome)) }
    }

    /// What becomes of the rows of a request that failed.
    fn error(&self, failed: CallError) -> Result<Option<serde_json::Value>, Failure> {
        match self.on_error {
            OnError::Error => Err(SqlError::from(failed).into()),
            OnError::Null => Ok(None),
            OnError::Object => {
                let attempts = failed.attempts;
                let mut error = model_call::error_json(failed);
                error["attempts"] = json!(attempts);
                Ok(Some(error))
            }
        }
    }
}
