//! One call of a model: its deadline, and how often the provider is called within it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pg_llm_sandbox::interrupt::{Interrupt, Wake};
use pg_llm_sandbox::types::Usage;
use pg_llm_sandbox::{CallError as SandboxCallError, Grant, LogLine, Outcome};
use uuid::Uuid;

use crate::admission::estimate::Expected;
use crate::admission::{self, Denied, Permit, Settlement};
use crate::budget::Budget;
use crate::call_log::CallLog;
use crate::call_options::CallOptions;
use crate::error::{CallError, ErrorKind};
use crate::filters::Side;
use crate::ledger::{Account, Ledger, Operation, Origin, Via};
use crate::price::{Cost, Currency, Price, Spent};
use crate::retry::{DEFAULT_ATTEMPTS, Idempotence, wait_before_retry};
use crate::route::Route;

/// The attempts of one call. What a call asks for may take several requests; they share its deadline.
pub(crate) struct Attempts {
    /// The model's name in SQL.
    instance: String,
    started: Instant,
    timeout: Duration,
    /// Of one request at most.
    most: u32,
    idempotence: Idempotence,
    made: u32,
    log: CallLog,
    /// Its answers are filtered: what its provider logs may hold what filters would not let through.
    private: bool,
    /// What a request will take, as far as that can be known before.
    expected: Expected,
    /// Somebody wants to know: tokens are limited, or there are budgets.
    expects: bool,
    price: Option<Arc<Price>>,
    budgets: Arc<[Budget]>,
    /// Of the request at hand, from before it is made until all of its answer is there.
    permit: Option<Permit>,
    /// What the ledger is told.
    account: Account,
}

impl Attempts {
    /// The call begins here. `options` are over the model's defaults already.
    pub(crate) fn begin(route: &Route, options: &CallOptions) -> Self {
        Self {
            instance: route.instance.clone(),
            started: Instant::now(),
            timeout: options.timeout.unwrap_or(route.timeout).min(route.timeout_ceiling),
            most: options.max_attempts.unwrap_or(DEFAULT_ATTEMPTS),
            idempotence: Idempotence::NotIdempotent,
            made: 0,
            log: CallLog::default(),
            private: route.filters.watches_answers(),
            expected: Expected::default(),
            expects: route.spec.rate_limit.tpm.is_some() || !route.budgets.is_empty(),
            price: route.spec.price.clone(),
            budgets: Arc::clone(&route.budgets),
            permit: None,
            account: Account::of(route),
        }
    }

    /// The attempts of a request that this call makes at the same time as others, with the same deadline. To the ledger it is a call of its own.
    pub(crate) fn beside(&self) -> Self {
        self.with_account(self.account.beside())
    }

    /// The attempts of the only request that this call makes.
    pub(crate) fn of_one(&self) -> Self {
        self.with_account(self.account.copy())
    }

    fn with_account(&self, account: Account) -> Self {
        Self {
            instance: self.instance.clone(),
            made: 0,
            log: CallLog::default(),
            expected: Expected::default(),
            price: self.price.clone(),
            budgets: Arc::clone(&self.budgets),
            permit: None,
            account,
            ..*self
        }
    }

    /// The same for requests of this kind.
    pub(crate) fn asking_for(mut self, operation: Operation) -> Self {
        self.account.set_operation(operation);
        self
    }

    /// The same for a stream.
    pub(crate) fn streamed(mut self) -> Self {
        self.account.set_streamed();
        self
    }

    /// The same in the place of the model `called`, whose call it is.
    pub(crate) fn in_place_of(mut self, called: &str, origin: &Origin, ledger: &Arc<dyn Ledger>) -> Self {
        self.account.in_place_of(called, origin, ledger);
        self
    }

    /// The same, of which the ledger hears nothing.
    pub(crate) fn silent(mut self) -> Self {
        self.account.silence();
        self
    }

    /// Its id, and who asks.
    pub(crate) fn origin(&self) -> &Origin {
        self.account.origin()
    }

    /// Its side of the ledger.
    pub(crate) fn account(&mut self) -> &mut Account {
        &mut self.account
    }

    /// Takes in those of a request that was made beside others.
    pub(crate) fn add(&mut self, other: Self) {
        self.made += other.made;
        self.log.append(other.log);
    }

    /// What a request of this call will take.
    pub(crate) fn expect_tokens(&mut self, estimate: impl FnOnce() -> Expected) {
        self.expected = if self.expects { estimate() } else { Expected::default() };
    }

    fn expected_cost(&self) -> Option<(Cost, Currency)> {
        let Expected { input, output } = self.expected;
        self.price.as_ref().map(|price| (price.estimate(input, output), price.currency))
    }

    /// All of an answer is there; it took so much.
    pub(crate) fn answered(&mut self, usage: Option<&Usage>) {
        if let Some(permit) = self.permit.take() {
            let cost = self.bill(usage);
            permit.settle(Settlement { cost, ..Settlement::answered(usage) });
            self.account.answered(usage);
        }
    }

    /// What a request that was answered cost, where that is known. Else the caller is warned, if somebody counts on it.
    fn bill(&mut self, usage: Option<&Usage>) -> Option<Cost> {
        let Some(price) = &self.price else {
            self.log.spend(Spent::Unknown);
            if let Some(budget) = self.budgets.iter().find(|budget| budget.terms.amount.is_some()) {
                let what = format!(
                    "calls of model \"{}\" do not count against the budget of {} ({}): it has no price",
                    self.instance, budget.whose, budget.terms
                );
                self.log.warn(what);
            }
            return None;
        };
        match price.cost(usage) {
            Ok(cost) => {
                self.log.spend(Spent::Known(cost, price.currency));
                self.account.billed(cost, price.currency);
                Some(cost)
            }
            Err(unknown) => {
                self.log.spend(Spent::Unknown);
                self.log.warn(format!("the cost of a request to model \"{}\" is not known: {unknown}", self.instance));
                None
            }
        }
    }

    /// The same for requests that may be made twice without harm.
    pub(crate) fn idempotent(self) -> Self {
        Self { idempotence: Idempotence::Idempotent, ..self }
    }

    /// The same with this much time, whatever the options say.
    pub(crate) fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// What a request of this call is granted.
    pub(crate) fn grant(&self, route: &Route, interrupt: &Arc<dyn Interrupt>) -> Grant {
        route.grant(self.started + self.timeout, interrupt)
    }

    /// Makes one request with `once`, which also hands over what the guest logged, and makes it again as long as [`crate::retry`] says so.
    ///
    /// # Errors
    /// When the provider fails for good, the guest misbehaves, time is over, or the interrupt ends the call. Then nothing is to be tried any more.
    pub(crate) fn run<T>(
        &mut self,
        route: &Route,
        interrupt: &Arc<dyn Interrupt>,
        mut once: impl FnMut(Grant) -> Outcome<T>,
    ) -> Result<T, CallError> {
        let deadline = self.started + self.timeout;
        let limits = route.admission_limits();
        let mut failed = None;
        let mut waited = Duration::ZERO;
        for attempt in 1.. {
            // Of a request before, whose answer nobody wants any more.
            self.permit = None;
            let asked = Instant::now();
            let entered = admission::enter(&route.admission, &limits, self.expected.total(), deadline, interrupt);
            let entered = match entered {
                Ok(permit) if !self.budgets.is_empty() => permit.within(&self.budgets, self.expected_cost(), self.expected.total()),
                entered => entered,
            };
            match entered {
                Ok(permit) => self.permit = Some(permit),
                Err(denied) => {
                    // What the request before met says more than why there is no other.
                    if let Some(error) = failed.filter(|_| !matches!(denied, Denied::Stopped)) {
                        return Err(self.failure(&error));
                    }
                    let error = denied.error(&self.instance, &limits, self.timeout);
                    self.account.denied(error.kind);
                    return Err(CallError { attempts: self.made, log: self.take_log(), ..error });
                }
            }
            self.made += 1;
            self.account.begin(self.made, asked);
            let outcome = once(route.grant(deadline, interrupt));
            let error = match self.take_in(outcome) {
                Ok(value) => {
                    if let Some(permit) = &mut self.permit {
                        permit.answered();
                    }
                    return Ok(value);
                }
                Err(error) => error,
            };
            self.settle_failed(&error);
            let wait = match &error {
                SandboxCallError::Failed(failure) if attempt < self.most => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    wait_before_retry(failure, self.idempotence, waited, jitter(), left)
                }
                _ => None,
            };
            let Some(wait) = wait else { return Err(self.failure(&error)) };
            waited = wait;
            if interrupt.wait(None, Instant::now() + wait) == Wake::Stopped {
                break;
            }
            failed = Some(error);
        }
        Err(self.failure(&SandboxCallError::Stopped))
    }

    /// What a guest logged and used.
    pub(crate) fn take_in<T>(&mut self, outcome: Outcome<T>) -> Result<T, SandboxCallError> {
        if self.private {
            self.log.add_private(outcome.log);
        } else {
            self.log.add_lines(outcome.log);
        }
        self.account.took(&outcome.usage);
        outcome.result
    }

    /// What a filter logged.
    pub(crate) fn keep_of_filter(&mut self, filter: &str, log: Vec<LogLine>) {
        self.log
            .add_private(log.into_iter().map(|line| LogLine { text: format!("(filter \"{filter}\") {}", line.text), ..line }).collect());
    }

    /// What the caller is to be warned of.
    pub(crate) fn warn(&mut self, what: String) {
        self.log.warn(what);
    }

    /// The warnings so far.
    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        self.log.take_warnings()
    }

    /// The call's error for what a filter does not let through.
    pub(crate) fn blocked(&mut self, filter: &str, side: Side, reason: &str) -> CallError {
        let error = CallError::blocked(&self.instance, filter, side, reason);
        self.close(error)
    }

    /// What the failure of a filter is to its call.
    pub(crate) fn filter_error(&self, filter: &str, side: Side, error: &SandboxCallError) -> CallError {
        CallError::of_filter(&self.instance, filter, side, self.timeout.as_millis(), error)
    }

    /// Ends the call with an error that is not its model's. It takes the log.
    pub(crate) fn close(&mut self, error: CallError) -> CallError {
        self.answered(None);
        self.account.close(&error);
        CallError { attempts: self.made, log: self.take_log(), ..error }
    }

    /// The call's error. It takes the log.
    pub(crate) fn failure(&mut self, error: &SandboxCallError) -> CallError {
        self.settle_failed(error);
        let mut failure = CallError::new(&self.instance, self.timeout.as_millis(), error);
        self.account.close(&failure);
        failure.attempts = self.made;
        failure.log = self.take_log();
        failure
    }

    fn settle_failed(&mut self, error: &SandboxCallError) {
        if let Some(permit) = self.permit.take() {
            let settlement = Settlement::of(error, permit.lasted());
            if let (Some(cost), Some(price)) = (settlement.cost, &self.price) {
                self.account.billed(cost, price.currency);
            }
            permit.settle(settlement);
            self.account.failed(error, CallError::new(&self.instance, self.timeout.as_millis(), error).kind);
        }
    }

    /// Leaves what is left of the attempts to one more request of this call; false when none is, in number or in time.
    pub(crate) fn take_one_more(&mut self) -> bool {
        self.account.set_via(Via::Repair);
        self.most = self.most.saturating_sub(self.made);
        self.most > 0 && Instant::now() < self.deadline()
    }

    /// When the call is over, whatever it is at.
    pub(crate) fn deadline(&self) -> Instant {
        self.started + self.timeout
    }

    /// The call's error for an answer that is not accepted. It takes the log.
    pub(crate) fn rejected(&mut self, kind: ErrorKind, what: &str, detail: String, hint: Option<&str>) -> CallError {
        let error = CallError {
            kind,
            message: format!("model \"{}\" {what}", self.instance),
            detail: Some(detail),
            hint: hint.map(str::to_owned),
            attempts: self.made,
            may_fall_back: false,
            log: self.take_log(),
        };
        self.account.close(&error);
        error
    }

    /// How often the provider was called.
    pub(crate) fn made(&self) -> u32 {
        self.made
    }

    /// Since the call began, waits between attempts included.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// What the guest logged in all attempts.
    pub(crate) fn into_log(self) -> CallLog {
        self.log
    }

    /// The same, out of a call that goes on to be looked at.
    pub(crate) fn take_log(&mut self) -> CallLog {
        std::mem::take(&mut self.log)
    }
}

/// Evenly in 0..1.
fn jitter() -> f64 {
    let random = Uuid::new_v4().into_bytes();
    f64::from(u16::from_be_bytes([random[14], random[15]])) / 65536.0
}
