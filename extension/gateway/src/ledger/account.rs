//! The ledger's side of the attempts of one call.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use pg_llm_sandbox::types::{Answer, Usage};
use pg_llm_sandbox::{CallError as SandboxCallError, Digest};
use serde_json::Value;

use super::{Content, Entry, Ledger, NoLedger, Operation, Origin, Outcome, Spent, Via, content, open};
use crate::confidence;
use crate::error::{CallError, ErrorKind};
use crate::outcome::finish_reason;
use crate::price::{Cost, Currency};
use crate::route::Route;
use crate::spec::ModelSpec;

/// What the ledger is told of one call of a model. When it is dropped, what is open is put.
pub(crate) struct Account {
    ledger: Arc<dyn Ledger>,
    origin: Origin,
    operation: Operation,
    streamed: bool,
    fallback_from: Option<String>,
    instance: String,
    provider: Arc<str>,
    module: Digest,
    spec: Arc<ModelSpec>,
    /// The entry of the request at hand.
    open: Option<Opened>,
    /// There was one already.
    entered: bool,
    /// Time in filters that no entry has yet.
    filtering: Duration,
    /// What the next request says, where that is wanted.
    asking: Option<String>,
}

struct Opened {
    number: u64,
    began: Instant,
}

impl Account {
    pub(crate) fn of(route: &Route) -> Self {
        Self {
            ledger: Arc::clone(&route.ledger),
            origin: if route.origin.request_id.is_nil() { route.origin.another() } else { route.origin.clone() },
            operation: Operation::default(),
            streamed: false,
            fallback_from: None,
            instance: route.instance.clone(),
            provider: Arc::clone(&route.model_type),
            module: route.component,
            spec: Arc::clone(&route.spec),
            open: None,
            entered: false,
            filtering: Duration::ZERO,
            asking: None,
        }
    }

    /// That of a request beside others of the same call, which is a call of its own then.
    pub(crate) fn beside(&self) -> Self {
        let mut beside = self.copy();
        beside.origin = self.origin.part();
        beside
    }

    /// That of the only request of a call.
    pub(crate) fn copy(&self) -> Self {
        Self {
            ledger: Arc::clone(&self.ledger),
            origin: self.origin.clone(),
            fallback_from: self.fallback_from.clone(),
            instance: self.instance.clone(),
            provider: Arc::clone(&self.provider),
            spec: Arc::clone(&self.spec),
            open: None,
            asking: None,
            ..*self
        }
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// That is what it asks for, and what for where nobody has said more.
    pub(crate) fn set_operation(&mut self, operation: Operation) {
        self.operation = operation;
        if self.origin.via == Via::Chat {
            self.origin.via = match operation {
                Operation::Chat => Via::Chat,
                Operation::Embeddings => Via::Embeddings,
                Operation::Rerank => Via::Rerank,
                Operation::Models => Via::Models,
            };
        }
    }

    pub(crate) fn set_streamed(&mut self) {
        self.streamed = true;
    }

    /// From here on requests are made for this.
    pub(crate) fn set_via(&mut self, via: Via) {
        self.origin.via = via;
    }

    /// It is another model's call, in the place of `called`, whose ledger and origin it has.
    pub(crate) fn in_place_of(&mut self, called: &str, origin: &Origin, ledger: &Arc<dyn Ledger>) {
        self.origin = origin.clone();
        self.ledger = Arc::clone(ledger);
        self.fallback_from = (self.instance != called).then(|| called.to_owned());
    }

    /// Nothing of it is told.
    pub(crate) fn silence(&mut self) {
        self.ledger = Arc::new(NoLedger);
    }

    fn entry(&self, attempt: u32) -> Box<Entry> {
        Box::new(Entry {
            origin: self.origin.clone(),
            attempt,
            last: false,
            began_at: SystemTime::now(),
            operation: self.operation,
            instance: self.instance.clone(),
            provider: self.provider.as_ref().to_owned(),
            module: self.module,
            model_name: self.spec.model_name.clone(),
            usage: None,
            // What makes no request costs nothing.
            cost: (attempt == 0).then_some(0),
            currency: None,
            spent: Spent::default(),
            // So it stays where nobody says more.
            outcome: Outcome::Cancelled,
            error: None,
            http_status: None,
            finish_reason: None,
            confidence: None,
            filters: Vec::new(),
            streamed: self.streamed,
            fallback_from: self.fallback_from.clone(),
            content: None,
        })
    }

    /// A request begins that asked to be let in at `began`.
    pub(crate) fn begin(&mut self, attempt: u32, began: Instant) {
        self.end(false);
        if !self.ledger.is_on() {
            return;
        }
        self.entered = true;
        let mut entry = self.entry(attempt);
        entry.spent.queue = began.elapsed();
        entry.began_at = entry.began_at.checked_sub(entry.spent.queue).unwrap_or(entry.began_at);
        entry.spent.filter = std::mem::take(&mut self.filtering);
        entry.content = self.asking.clone().map(|prompt| Box::new(Content { prompt: Some(prompt), answer: None }));
        self.open = Some(Opened { number: open::add(&self.ledger, entry), began });
    }

    fn change(&self, change: impl FnOnce(&mut Entry, Duration)) {
        if let Some(opened) = &self.open {
            let total = opened.began.elapsed();
            open::change(opened.number, |entry| change(entry, total));
        }
    }

    /// All of the answer is there, and took so much.
    pub(crate) fn answered(&mut self, usage: Option<&Usage>) {
        self.change(|entry, total| {
            entry.outcome = Outcome::Ok;
            entry.usage = usage.cloned();
            entry.spent.total = total;
        });
    }

    /// What the request cost.
    pub(crate) fn billed(&mut self, cost: Cost, currency: Currency) {
        self.change(|entry, _| (entry.cost, entry.currency) = (Some(cost.billionths()), Some(currency.to_string())));
    }

    /// What the requests that follow say.
    pub(crate) fn asks(&mut self, prompt: impl FnOnce() -> String) {
        if self.ledger.is_on() && self.ledger.wants_content() {
            self.asking = Some(content::kept(&prompt(), self.ledger.redacts()));
        }
    }

    /// What came back.
    pub(crate) fn says(&mut self, answer: impl FnOnce() -> String) {
        if self.asking.is_some() {
            let answer = content::kept(&answer(), self.ledger.redacts());
            self.change(|entry, _| {
                if let Some(content) = &mut entry.content {
                    content.answer = Some(answer);
                }
            });
        }
    }

    /// What the adapter's part took.
    pub(crate) fn took(&mut self, used: &pg_llm_sandbox::Usage) {
        let known = |time: Duration| Some(time).filter(|time| !time.is_zero());
        self.change(|entry, _| {
            let spent = &mut entry.spent;
            spent.guest = known(spent.guest.unwrap_or_default() + used.cpu);
            spent.connect = spent.connect.or(known(used.connect));
            spent.first_byte = spent.first_byte.or(known(used.first_byte));
        });
    }

    /// What the answer says of itself.
    pub(crate) fn describe(&mut self, answer: &Answer) {
        self.change(|entry, _| {
            if let Some(model) = &answer.model {
                entry.model_name.clone_from(model);
            }
            entry.finish_reason = answer.finish_reason.as_ref().map(|reason| finish_reason(reason).to_owned());
            entry.confidence = confidence::from_logprobs(&answer.logprobs);
        });
    }

    /// What filters did.
    pub(crate) fn filtered(&mut self, acted: impl Iterator<Item = Value>) {
        self.change(|entry, _| entry.filters.extend(acted));
    }

    /// Time that filters took.
    pub(crate) fn add_filtering(&mut self, took: Duration) {
        if self.open.is_some() {
            self.change(|entry, _| entry.spent.filter += took);
        } else {
            self.filtering += took;
        }
    }

    /// The request failed.
    pub(crate) fn failed(&mut self, error: &SandboxCallError, kind: ErrorKind) {
        self.change(|entry, total| {
            entry.spent.total = total;
            entry.http_status = match error {
                SandboxCallError::Failed(failure) => failure.status,
                _ => None,
            };
            (entry.outcome, entry.error) = (outcome_of(kind), Some(kind));
        });
    }

    /// The call ends with this error: its last request's entry says so, and where there was none, one of its own.
    pub(crate) fn close(&mut self, error: &CallError) {
        self.unasked(outcome_of(error.kind), error.kind);
    }

    /// A limit does not let the call make a request, or any other.
    pub(crate) fn denied(&mut self, kind: ErrorKind) {
        let outcome = if kind == ErrorKind::Cancelled { Outcome::Cancelled } else { Outcome::Denied };
        self.unasked(outcome, kind);
    }

    fn unasked(&mut self, outcome: Outcome, kind: ErrorKind) {
        if self.open.is_some() {
            self.change(|entry, _| {
                // Why the request itself failed says more.
                if entry.error.is_none() {
                    (entry.outcome, entry.error) = (outcome, Some(kind));
                }
            });
        } else if !self.entered && self.ledger.is_on() {
            self.entered = true;
            let mut entry = self.entry(0);
            (entry.outcome, entry.error) = (outcome, Some(kind));
            entry.spent.filter = std::mem::take(&mut self.filtering);
            self.open = Some(Opened { number: open::add(&self.ledger, entry), began: Instant::now() });
        }
    }

    /// The answer was kept: no request is made.
    pub(crate) fn cached(&mut self, answer: &Answer, took: Duration) {
        if self.ledger.is_on() {
            let mut entry = self.entry(0);
            (entry.outcome, entry.spent.total) = (Outcome::Cached, took);
            self.open = Some(Opened { number: open::add(&self.ledger, entry), began: Instant::now() });
            self.describe(answer);
        }
    }

    /// Puts the entry at hand; `last` where the call goes on with no other.
    pub(crate) fn end(&mut self, last: bool) {
        let Some(opened) = self.open.take() else { return };
        if let Some(mut entry) = open::take(opened.number) {
            entry.last = last;
            if entry.spent.total.is_zero() {
                entry.spent.total = opened.began.elapsed();
            }
            self.ledger.put(&entry);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.end(true);
    }
}

fn outcome_of(kind: ErrorKind) -> Outcome {
    match kind {
        ErrorKind::Cancelled => Outcome::Cancelled,
        ErrorKind::Blocked => Outcome::Blocked,
        _ => Outcome::Error,
    }
}
