//! Many rows through one model: so many calls at a time, results as they end or in the rows' order, and no more rows begun than that needs.
//!
//! Whoever has the rows asks [`Batch::wants`] whether one more may begin, begins it, and takes finished ones off with [`Batch::ready`]. A row counts
//! until its result is taken, so that a reader who is slow, or stops, holds up the calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use pg_llm_sandbox::interrupt::Interrupt;
use serde_json::{Map, Value};

use crate::error::{CallError, ConfigError, clip};
use crate::in_flight::{InFlight, Landing};
use crate::members::Members;
use crate::options::{ChatOptions, OnError};
use crate::pool::MOST_THREADS;

/// Calls at a time where nobody says.
pub(crate) const DEFAULT_CONCURRENCY: usize = 16;

/// With [`Order::Rows`], rows from the oldest that is open to the newest that has begun, as a multiple of the calls at a time: so many results may wait for a
/// slow one before them.
const WINDOW: usize = 4;

/// Names of the options that only calls of many rows have.
pub(crate) const NAMES: [&str; 2] = ["max_concurrency", "order"];

/// In which order results are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// That of the calls' ends.
    #[default]
    Completed,
    /// That of the rows.
    Rows,
}

/// How many rows go through a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOptions {
    /// Calls at a time, 1 to [`MOST_THREADS`].
    pub concurrency: usize,
    /// The results'.
    pub order: Order,
    /// What becomes of a row that fails. Only the call itself says: neither the model's configuration nor a setting may make one row's failure the end of a
    /// statement that has paid for a thousand others.
    pub on_error: OnError,
}

impl BatchOptions {
    /// Reads `options jsonb` of a call that sends a chat for each row.
    ///
    /// # Errors
    /// For unknown keys, wrong types and values out of range.
    pub fn parse(options: &Value) -> Result<(Self, ChatOptions), ConfigError> {
        let chat = ChatOptions::parse_beside(options, &NAMES)?;
        Ok((Self::read(&Members::of("option", options)?, chat.call.on_error)?, chat))
    }

    pub(crate) fn read(m: &Members<'_>, on_error: Option<OnError>) -> Result<Self, ConfigError> {
        const ORDERS: &str = "\"completed\" or \"ord\"";
        let concurrency = concurrency(m)?;
        let order = match m.get::<String>("order", ORDERS)?.as_deref() {
            None | Some("completed") => Order::Completed,
            Some("ord") => Order::Rows,
            Some(other) => {
                return Err(ConfigError::invalid(format!("option \"order\" must be {ORDERS}, not \"{}\"", clip(other, 50)), None));
            }
        };
        Ok(Self { concurrency: concurrency.unwrap_or(DEFAULT_CONCURRENCY), order, on_error: on_error.unwrap_or(OnError::Object) })
    }
}

/// How many calls at a time an option wants.
pub(crate) fn concurrency(m: &Members<'_>) -> Result<Option<usize>, ConfigError> {
    m.get_if("max_concurrency", &format!("an integer from 1 to {MOST_THREADS}"), |v| (1..=MOST_THREADS).contains(v))
}

/// Options that a row brings, over those of the call.
///
/// # Errors
/// As [`ChatOptions::parse`], and for options that only the whole call can have.
pub fn row_options(call: &Value, row: &Value) -> Result<ChatOptions, ConfigError> {
    let own = Members::of("option", row)?;
    if let Some(name) = NAMES.iter().chain(&["on_error", "fallback_instance", "filters"]).find(|name| own.raw(name).is_some()) {
        return Err(ConfigError::invalid(format!("option \"{name}\" is the whole call's, not a row's"), None));
    }
    let members = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let mut merged: Map<String, Value> = members(call);
    merged.retain(|name, _| !NAMES.contains(&name.as_str()));
    merged.extend(members(row));
    ChatOptions::parse(&Value::Object(merged))
}

/// Rows on their way. `K` is what is kept of a row until its result is taken, `T` what comes of it. Dropping it ends the calls.
pub struct Batch<K, T> {
    calls: InFlight<T>,
    concurrency: usize,
    order: Order,
    /// By number: rows whose result has not been taken.
    open: BTreeMap<usize, K>,
    /// Results that wait to be taken, by the place that they have in the order.
    landed: BTreeMap<usize, Landing<T>>,
    /// Rows that have begun.
    begun: usize,
    /// Calls that have ended.
    ended: usize,
}

impl<K, T: Send + 'static> Batch<K, T> {
    /// No row yet. `interrupt` is the waiting thread's own.
    ///
    /// # Errors
    /// When the process has no thread or no descriptor left.
    pub fn new(concurrency: usize, order: Order, interrupt: Arc<dyn Interrupt>) -> Result<Self, CallError> {
        Ok(Self {
            calls: InFlight::new(concurrency, interrupt)?,
            concurrency,
            order,
            open: BTreeMap::new(),
            landed: BTreeMap::new(),
            begun: 0,
            ended: 0,
        })
    }

    /// Whether one more row may begin.
    pub fn wants(&self) -> bool {
        match self.order {
            Order::Completed => self.open.len() < self.concurrency,
            Order::Rows => {
                let oldest = self.open.keys().next().copied().unwrap_or(self.begun);
                self.calls.open() < self.concurrency && self.begun - oldest < WINDOW * self.concurrency
            }
        }
    }

    /// Rows whose result has not been taken.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// A row begins with this call.
    pub fn start(&mut self, row: K, call: impl FnOnce(&Arc<dyn Interrupt>) -> Result<T, CallError> + Send + 'static) {
        let number = self.begin(row);
        self.calls.start(number, call);
    }

    /// A row begins whose result is known.
    pub fn land(&mut self, row: K, result: Result<T, CallError>) {
        let number = self.begin(row);
        self.calls.land(number, result);
    }

    fn begin(&mut self, row: K) -> usize {
        let number = self.begun;
        self.begun += 1;
        self.open.insert(number, row);
        number
    }

    /// The row whose turn it is, if its result is there.
    pub fn ready(&mut self) -> Option<(K, Result<T, CallError>)> {
        while let Some(landing) = self.calls.ready() {
            self.keep(landing);
        }
        let first = self.landed.first_entry()?;
        let number = first.get().0;
        if self.order == Order::Rows && self.open.keys().next() != Some(&number) {
            return None;
        }
        let (_, result) = first.remove();
        Some((self.open.remove(&number)?, result))
    }

    /// Waits until a call ends; not at all where none is open.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Cancelled`] when the waiting thread's interrupt ends the wait. Then all calls are ended.
    pub fn wait(&mut self) -> Result<(), CallError> {
        if let Some(landing) = self.calls.wait()? {
            self.keep(landing);
        }
        Ok(())
    }

    fn keep(&mut self, landing: Landing<T>) {
        let place = match self.order {
            Order::Completed => self.ended,
            Order::Rows => landing.0,
        };
        self.ended += 1;
        self.landed.insert(place, landing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pg_llm_sandbox::interrupt::StopSwitch;
    use serde_json::json;
    use std::sync::mpsc::{Sender, channel};

    fn batch(concurrency: usize, order: Order) -> Batch<usize, ()> {
        Batch::new(concurrency, order, Arc::new(StopSwitch::new().unwrap())).unwrap()
    }

    /// Begins a row that ends when its sender does.
    fn begin(batch: &mut Batch<usize, ()>, row: usize) -> Sender<()> {
        let (end, ended) = channel();
        batch.start(row, move |_| {
            let _ = ended.recv();
            Ok(())
        });
        end
    }

    fn taken(batch: &mut Batch<usize, ()>) -> usize {
        loop {
            if let Some((row, result)) = batch.ready() {
                result.unwrap();
                return row;
            }
            batch.wait().unwrap();
        }
    }

    #[test]
    fn no_more_rows_begin_than_calls_are_allowed_until_results_are_taken() {
        let mut batch = batch(2, Order::Completed);
        let ends: Vec<_> = (0..2).map(|row| begin(&mut batch, row)).collect();
        assert!(!batch.wants());
        drop(ends);
        batch.wait().unwrap();
        assert!(!batch.wants(), "its result still waits for its reader");
        taken(&mut batch);
        assert!(batch.wants());
    }

    #[test]
    fn results_come_as_calls_end() {
        let mut batch = batch(2, Order::Completed);
        let (slow, quick) = (begin(&mut batch, 7), begin(&mut batch, 8));
        drop(quick);
        assert_eq!(taken(&mut batch), 8);
        drop(slow);
        assert_eq!(taken(&mut batch), 7);
    }

    #[test]
    fn in_the_rows_order_as_many_wait_for_a_slow_one_as_the_window_has() {
        let mut batch = batch(2, Order::Rows);
        let slow = begin(&mut batch, 0);
        let mut row = 0;
        while batch.open() < 2 * WINDOW {
            if batch.wants() {
                row += 1;
                drop(begin(&mut batch, row));
            } else {
                batch.wait().unwrap();
            }
            assert!(batch.ready().is_none());
        }
        while batch.calls.open() > 1 {
            batch.wait().unwrap();
        }
        assert!(!batch.wants(), "a thread is free, and the window full");
        drop(slow);
        assert_eq!((0..=row).map(|_| taken(&mut batch)).collect::<Vec<_>>(), (0..=row).collect::<Vec<_>>());
        assert!(batch.wants() && batch.ready().is_none());
    }

    #[test]
    fn what_was_known_keeps_its_place() {
        let mut batch = batch(2, Order::Rows);
        let slow = begin(&mut batch, 0);
        batch.land(1, Ok(()));
        assert!(batch.ready().is_none());
        drop(slow);
        assert_eq!((taken(&mut batch), taken(&mut batch)), (0, 1));
    }

    #[test]
    fn a_batchs_options_are_read_and_wrong_ones_refused() {
        let (batch, chat) = BatchOptions::parse(&json!({"max_concurrency": 256, "order": "ord", "on_error": "null", "seed": 7})).unwrap();
        assert_eq!(batch, BatchOptions { concurrency: 256, order: Order::Rows, on_error: OnError::Null });
        assert_eq!(chat.sampling.seed, Some(7));
        let (batch, _) = BatchOptions::parse(&json!({})).unwrap();
        assert_eq!(batch, BatchOptions { concurrency: DEFAULT_CONCURRENCY, order: Order::Completed, on_error: OnError::Object });
        for bad in [json!({"max_concurrency": 0}), json!({"max_concurrency": 257}), json!({"order": "random"}), json!({"orders": 1})] {
            assert!(BatchOptions::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_rows_options_go_over_the_calls_and_cannot_be_what_only_the_call_has() {
        let call = json!({"seed": 1, "temperature": 1, "max_concurrency": 3, "order": "ord", "on_error": "null"});
        let options = row_options(&call, &json!({"temperature": 0})).unwrap();
        assert_eq!((options.sampling.seed, options.sampling.temperature), (Some(1), Some(0.0)));
        for bad in [json!({"order": "ord"}), json!({"on_error": "error"}), json!({"temprature": 0}), json!([]), json!(null)] {
            assert!(row_options(&call, &bad).is_err(), "{bad}");
        }
    }
}
