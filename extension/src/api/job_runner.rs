//! The job worker's work: rows of open jobs through their models, so many at a time, and what comes of them into the tables.
//!
//! What a row is at is committed before its call begins and after it has ended. So a row is never asked again once its answer is kept, and a row that was in
//! flight when the worker ended is known by its number of attempts. No code of a user's runs here: prompts are text, queries were run when they were submitted. A call is
//! made with its submitter's rights and settings, as they are when it begins.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pg_llm_gateway::ledger::{Origin, Uuid, Via};
use pg_llm_gateway::{CallError, ChatCall, ChatOptions, ChatOutcome, Claimant, ErrorKind, InFlight, Route, fair_shares, row_options};
use pg_llm_sandbox::interrupt::{Interrupt, StopSwitch};
use pgrx::PgLogLevel;
use serde_json::{Value, json};

use super::model_call;
use crate::backend::descriptors::Descriptors;
use crate::backend::errors::{Failure, SqlError, State, emit};
use crate::backend::job_worker::JOBS;
use crate::backend::privileges::{self, Caller};
use crate::backend::worker::{self, Settings, Turn, transaction, worker_function};
use crate::backend::{encoding, gucs};
use crate::catalog::jobs::{self, Claimed, OpenJob};
use crate::catalog::{response_cache, route};

worker_function! { pg_llm_job_worker => run }

/// How soon what failed for the tables' sake is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often it is looked for what is older than `pg_llm.job_retention`, while there is other work.
const BETWEEN_CLEANINGS: Duration = Duration::from_mins(1);
/// A sleep without anything to do. What wakes it is a latch.
const LONG: Duration = Duration::from_hours(1);
/// How long calls are waited for that were stopped because the worker ends.
const GRACE: Duration = Duration::from_millis(100);

/// An open job.
struct Job {
    stored: OpenJob,
    chat: ChatOptions,
    in_flight: usize,
    /// The number of the row that was claimed last.
    after: i64,
    /// No row waits any more.
    drawn: bool,
    /// How it ends, where that is decided before its rows have ended.
    fate: Option<Fate>,
    /// Stops its calls.
    switch: StopSwitch,
}

enum Fate {
    Cancelled,
    Failed(Value),
}

/// A call in flight.
struct Flight {
    job: String,
    ord: i64,
    call: Arc<ChatCall>,
}

/// What came of a row, to be kept.
struct Landed {
    job: String,
    ord: i64,
    came: Came,
}

enum Came {
    /// With the call where the answer is to be cached.
    Answer(Box<ChatOutcome>, Option<Arc<ChatCall>>),
    Error(Value),
    /// Stopped before it was over.
    Nothing,
}

/// A row that is about to be asked.
struct Start {
    job: String,
    ord: i64,
    call: Arc<ChatCall>,
    switch: StopSwitch,
}

struct Runner {
    /// In the order of their age.
    jobs: Vec<Job>,
    calls: Option<Calls>,
    /// Not yet kept.
    landed: Vec<Landed>,
    flights: HashMap<usize, Flight>,
    begun: usize,
    /// What the models may have in flight, as far as they were called.
    of_instances: HashMap<String, usize>,
    /// The tables may have jobs and cancellations that are not known here.
    look: bool,
    /// Something failed in this step, and is to be tried again a little later.
    trouble: bool,
    clean_at: Option<Instant>,
}

struct Calls {
    in_flight: InFlight<ChatOutcome>,
    places: usize,
    _descriptors: Descriptors,
}

/// One life of the worker.
fn run() -> Result<(), Failure> {
    let Some(mut turn) = Turn::take(&JOBS) else { return Ok(()) };
    if !transaction(|| Ok(privileges::is_installed()))? {
        return Ok(());
    }
    let lost = json!({
        "sqlstate": State::ConnectionBroken.sqlstate(),
        "message": "pg_llm: the job worker ended while this call was in flight, as often as pg_llm.job_attempts allows",
        "detail": null,
        "hint": "The provider may have answered. Submit the prompt again to ask it again.",
        "kind": null,
    });
    transaction(|| Ok(jobs::recover(gucs::job_attempts(), &lost)?))?;
    let mut runner = Runner::new();
    loop {
        if worker::is_to_end() {
            runner.put_back();
        } else {
            runner.step();
        }
        // Here Postgres ends a process that is to end, and starts it again unless the server stops.
        worker::check();
        worker::report_statistics();
        if runner.trouble && !transaction(|| Ok(privileges::is_installed()))? {
            return Ok(());
        }
        if runner.is_idle() {
            // The turn first, then the look: whoever submits does it in the other order.
            drop(turn);
            if !transaction(|| Ok(privileges::is_installed() && jobs::any_open()?))? {
                return Ok(());
            }
            match Turn::take(&JOBS) {
                Some(taken) => turn = taken,
                None => return Ok(()),
            }
            runner.look = true;
            continue;
        }
        runner.wait();
    }
}

impl Job {
    /// Nothing of it is in flight, and nothing waits.
    fn is_over(&self) -> bool {
        self.in_flight == 0 && (self.fate.is_some() || self.drawn || self.stored.ended >= self.stored.total)
    }

    /// Rows that wait for a place, as far as is known.
    fn waiting(&self) -> usize {
        if self.fate.is_some() || self.drawn {
            return 0;
        }
        usize::try_from(self.stored.total - self.stored.ended).unwrap_or(0).saturating_sub(self.in_flight).max(1)
    }
}

impl Runner {
    fn new() -> Self {
        Self {
            jobs: Vec::new(),
            calls: None,
            landed: Vec::new(),
            flights: HashMap::new(),
            begun: 0,
            of_instances: HashMap::new(),
            look: true,
            trouble: false,
            clean_at: Some(Instant::now()),
        }
    }

    /// Nothing is open, nothing to be deleted now.
    fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.landed.is_empty() && !self.look && self.clean_at.is_none_or(|at| at > Instant::now())
    }

    /// All that can be done without waiting.
    fn step(&mut self) {
        self.trouble = false;
        self.land();
        self.keep();
        self.look();
        self.end();
        self.begin();
        self.clean();
    }

    fn wait(&mut self) {
        let most = match self.trouble {
            true => AGAIN,
            false if self.look || !self.landed.is_empty() || self.jobs.iter().any(Job::is_over) => return,
            false => LONG,
        };
        let most = self.clean_at.map_or(most, |at| most.min(at.saturating_duration_since(Instant::now())));
        let only_calls = worker::wait(self.calls.as_ref().map(|calls| calls.in_flight.event()), most);
        self.look |= !only_calls;
    }

    /// Takes calls that have ended.
    fn land(&mut self) {
        let Some(calls) = &mut self.calls else { return };
        while let Some((number, result)) = calls.in_flight.ready() {
            let Some(Flight { job, ord, call }) = self.flights.remove(&number) else { continue };
            model_call::log(call.route(), &result, |outcome| &outcome.log);
            let came = match result {
                Ok(outcome) => Came::Answer(Box::new(outcome), call.cache_terms().is_some().then_some(call)),
                Err(error) if error.kind == ErrorKind::Cancelled => Came::Nothing,
                Err(error) => Came::Error(error_of(error)),
            };
            self.landed.push(Landed { job, ord, came });
        }
    }

    /// Writes down what has landed: all at once; where that fails, each by itself, and one that cannot be kept has failed.
    fn keep(&mut self) {
        if self.landed.is_empty() {
            return;
        }
        let landed = std::mem::take(&mut self.landed);
        if transaction(|| keep(&landed, &self.jobs)).is_ok() {
            for landed in landed {
                self.has_ended(&landed);
            }
            return;
        }
        for mut one in landed {
            let mut kept = transaction(|| keep(std::slice::from_ref(&one), &self.jobs));
            if let Err(failure) = &kept
                && !failure.is_passing()
                && !worker::is_to_end()
            {
                let error = error_members(failure);
                log(&format!("what came of row {} of job {} cannot be kept: {}", one.ord, one.job, failure.words()));
                if !matches!(one.came, Came::Nothing) {
                    let instead = Landed { job: one.job.clone(), ord: one.ord, came: Came::Error(error) };
                    kept = transaction(|| keep(std::slice::from_ref(&instead), &self.jobs));
                    if kept.is_ok() {
                        one = instead;
                    }
                }
            }
            if kept.is_ok() {
                self.has_ended(&one);
            } else {
                self.trouble = true;
                self.landed.push(one);
            }
        }
    }

    fn has_ended(&mut self, landed: &Landed) {
        if let Some(job) = self.jobs.iter_mut().find(|job| job.stored.id == landed.job) {
            job.in_flight -= 1;
            if !matches!(landed.came, Came::Nothing) {
                job.stored.ended += 1;
            }
        }
    }

    /// Looks for jobs and cancellations.
    fn look(&mut self) {
        if !self.look {
            return;
        }
        let known: Vec<&str> = self.jobs.iter().map(|job| job.stored.id.as_str()).collect();
        let most = gucs::job_concurrency();
        let found = transaction(|| Ok((jobs::to_cancel()?, jobs::open(most, &known)?)));
        let (to_cancel, open) = match found {
            Ok(found) => found,
            Err(failure) => {
                self.trouble = true;
                return log(&format!("jobs cannot be read: {}", failure.words()));
            }
        };
        self.look = false;
        let cancelled: HashSet<&str> = to_cancel.iter().map(|(id, _)| id.as_str()).collect();
        for job in self.jobs.iter_mut().filter(|job| job.fate.is_none() && cancelled.contains(job.stored.id.as_str())) {
            job.fate = Some(Fate::Cancelled);
            job.switch.throw();
        }
        let known: HashSet<String> = self.jobs.iter().map(|job| job.stored.id.clone()).collect();
        for stored in open {
            if !cancelled.contains(stored.id.as_str()) {
                self.admit(stored);
            }
        }
        for (id, channel) in to_cancel.iter().filter(|(id, _)| !known.contains(id)) {
            self.end_one(id, channel.as_deref(), Some("cancelled"), None);
        }
    }

    fn admit(&mut self, stored: OpenJob) {
        let switch = match StopSwitch::new() {
            Ok(switch) => switch,
            Err(error) => {
                (self.look, self.trouble) = (true, true);
                return log(&format!("a job must wait: {error}"));
            }
        };
        let parsed = ChatOptions::parse(&stored.options);
        let fate = parsed.as_ref().err().map(|error| Fate::Failed(model_call::error_members(&SqlError::from(error.clone()))));
        self.jobs.push(Job { stored, chat: parsed.unwrap_or_default(), in_flight: 0, after: 0, drawn: false, fate, switch });
        self.jobs.sort_by(|a, b| a.stored.id.cmp(&b.stored.id));
    }

    /// Ends the jobs of which nothing is in flight and nothing waits.
    fn end(&mut self) {
        while let Some(at) = self.jobs.iter().position(Job::is_over) {
            let job = self.jobs.remove(at);
            let (state, error) = match &job.fate {
                // It came too late.
                Some(Fate::Cancelled) if job.stored.ended >= job.stored.total => (None, None),
                None => (None, None),
                Some(Fate::Cancelled) => (Some("cancelled"), None),
                Some(Fate::Failed(error)) => (Some("failed"), Some(error)),
            };
            self.end_one(&job.stored.id, job.stored.channel.as_deref(), state, error);
            // There may be others behind it.
            self.look = true;
        }
    }

    /// A listener that does not listen must not keep a job open.
    fn end_one(&mut self, id: &str, channel: Option<&str>, state: Option<&str>, error: Option<&Value>) {
        let end = |notified: bool| {
            transaction(|| {
                let ended = jobs::end(id, state, error)?;
                if let (Some(state), Some(channel), true) = (&ended, channel, notified) {
                    jobs::notify(channel, id, state)?;
                }
                Ok(())
            })
        };
        let Err(failure) = end(true) else { return };
        log(&format!("the end of job {id} cannot be told: {}", failure.words()));
        if let Err(failure) = end(false) {
            log(&format!("job {id} cannot be ended: {}", failure.words()));
            (self.look, self.trouble) = (true, true);
        }
    }

    /// Begins rows where there are places.
    fn begin(&mut self) {
        if worker::is_to_end() {
            return;
        }
        let places = gucs::job_concurrency();
        let free = places.saturating_sub(self.flights.len());
        let claimants: Vec<Claimant<'_>> = self
            .jobs
            .iter()
            .map(|job| Claimant {
                role: job.stored.role.to_u32(),
                instance: &job.stored.instance,
                in_flight: job.in_flight,
                most: job.stored.concurrency.unwrap_or(usize::MAX),
                most_of_instance: self.of_instances.get(&job.stored.instance).copied().unwrap_or(usize::MAX),
                waiting: job.waiting(),
            })
            .collect();
        let shares = fair_shares(free, &claimants);
        for (at, share) in shares.into_iter().enumerate().filter(|(_, share)| *share > 0) {
            self.begin_of(at, share, places);
        }
    }

    /// Begins so many rows of one job at most.
    fn begin_of(&mut self, at: usize, share: usize, places: usize) {
        let Some(job) = self.jobs.get(at) else { return };
        let used: usize = self.jobs.iter().filter(|other| other.stored.instance == job.stored.instance).map(|other| other.in_flight).sum();
        let mut most_of_instance = usize::MAX;
        let claimed = transaction(|| {
            if !privileges::role_exists(job.stored.role) {
                return Err(SqlError::new(State::Undefined, "pg_llm: the role that submitted this job does not exist any more").into());
            }
            let settings = settings_of(&job.stored)?;
            let mut route = {
                let _role = Caller::absent(job.stored.role).again();
                route::resolve_chat(&job.stored.instance, job.stored.role, &job.chat)?
            };
            route.origin = Origin { job: Uuid::parse_str(&job.stored.id).ok(), ..Origin::of(Via::Job) };
            most_of_instance = route.spec.max_concurrency.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
            let most = share.min(most_of_instance.saturating_sub(used));
            if !job.stored.started {
                jobs::start(&job.stored.id)?;
            }
            let claimed = jobs::claim(&job.stored.id, job.after, most)?;
            let mut begun = Vec::with_capacity(claimed.len());
            for row in claimed {
                begun.push(prepared(job, &route, &row)?);
            }
            drop(settings);
            Ok((begun, most))
        });
        self.of_instances.insert(self.jobs[at].stored.instance.clone(), most_of_instance);
        let (rows, most) = match claimed {
            Ok(claimed) => claimed,
            Err(failure) => return self.refused(at, &failure),
        };
        let job = &mut self.jobs[at];
        job.stored.started = true;
        job.drawn = rows.len() < most;
        job.in_flight += rows.len();
        if let Some((ord, _)) = rows.last() {
            job.after = *ord;
        }
        let (id, switch) = (job.stored.id.clone(), job.switch.clone());
        for (ord, row) in rows {
            match row {
                Ok(call) => self.start(Start { job: id.clone(), ord, call, switch: switch.clone() }, places),
                Err(came) => self.landed.push(Landed { job: id.clone(), ord, came }),
            }
        }
    }

    /// What the job would be refused with as a call ends it; what the server lacks for the moment does not.
    fn refused(&mut self, at: usize, failure: &Failure) {
        if failure.is_passing() || worker::is_to_end() {
            log(&format!("job {} must wait: {}", self.jobs[at].stored.id, failure.words()));
            self.trouble = true;
            return;
        }
        self.jobs[at].fate = Some(Fate::Failed(error_members(failure)));
    }

    fn start(&mut self, start: Start, places: usize) {
        let Start { job, ord, call, switch } = start;
        if let Err(error) = self.make_room(places) {
            self.landed.push(Landed { job, ord, came: Came::Error(model_call::error_members(&error)) });
            return;
        }
        let Some(calls) = &mut self.calls else { return };
        let number = self.begun;
        self.begun += 1;
        self.flights.insert(number, Flight { job, ord, call: Arc::clone(&call) });
        let interrupt = Arc::new(switch) as Arc<dyn Interrupt>;
        calls.in_flight.start(number, move |_| call.run(&interrupt));
    }

    /// Threads and descriptors for so many calls, if there are others now than are wanted, and none is in flight.
    fn make_room(&mut self, places: usize) -> Result<(), SqlError> {
        if self.calls.as_ref().is_some_and(|calls| calls.places >= places || calls.in_flight.open() > 0) {
            return Ok(());
        }
        self.calls = None;
        let descriptors = Descriptors::reserve(places)?;
        let nobody = StopSwitch::new().map_err(|e| SqlError::new(State::NoResources, format!("pg_llm: {e}")))?;
        let in_flight = InFlight::new(places, Arc::new(nobody)).map_err(SqlError::from)?;
        self.calls = Some(Calls { in_flight, places, _descriptors: descriptors });
        Ok(())
    }

    /// Deletes a batch of what is older than it is kept, if it is time to look.
    fn clean(&mut self) {
        if self.clean_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        let Some(retention) = gucs::job_retention() else {
            self.clean_at = Some(Instant::now() + BETWEEN_CLEANINGS);
            return;
        };
        let more = transaction(|| Ok(jobs::forget(retention)?));
        if let Err(failure) = &more {
            self.trouble = true;
            log(&format!("old jobs cannot be deleted: {}", failure.words()));
        }
        self.clean_at = Some(if more.unwrap_or(false) { Instant::now() } else { Instant::now() + BETWEEN_CLEANINGS });
    }

    /// Before the worker ends: calls are stopped, what has landed is kept, the rest waits again.
    fn put_back(&mut self) {
        for job in &self.jobs {
            job.switch.throw();
        }
        let until = Instant::now() + GRACE;
        while !self.flights.is_empty() && Instant::now() < until {
            self.land();
            if let Some(calls) = &self.calls
                && !self.flights.is_empty()
            {
                worker::wait(Some(calls.in_flight.event()), until.saturating_duration_since(Instant::now()));
            }
        }
        worker::before_the_end(|| {
            keep(&self.landed, &self.jobs)?;
            let stopped = self.landed.iter().filter(|landed| matches!(landed.came, Came::Nothing)).map(|landed| (&landed.job, landed.ord));
            for (job, ord) in self.flights.values().map(|flight| (&flight.job, flight.ord)).chain(stopped) {
                jobs::put_back(job, ord)?;
            }
            Ok(())
        });
    }
}

/// In a transaction: what came of these rows.
fn keep(landed: &[Landed], jobs: &[Job]) -> Result<(), Failure> {
    let mut counts: HashMap<&str, (i64, i64)> = HashMap::new();
    for Landed { job, ord, came } in landed {
        let came = match came {
            Came::Nothing => continue,
            Came::Answer(outcome, call) => {
                if let (Some(call), Some(owner)) = (call, jobs.iter().find(|known| known.stored.id == *job)) {
                    let _role = Caller::absent(owner.stored.role).again();
                    response_cache::keep(call, outcome)?;
                }
                counts.entry(job).or_default().0 += 1;
                Ok(outcome.to_json())
            }
            Came::Error(error) => {
                counts.entry(job).or_default().1 += 1;
                Err(error.clone())
            }
        };
        jobs::save(job, *ord, &came)?;
    }
    for (job, (done, failed)) in counts {
        jobs::count(job, done, failed)?;
    }
    Ok(())
}

/// In a transaction, with the job's settings: the call of a row, or what came of it without one.
fn prepared(job: &Job, route: &Route, row: &Claimed) -> Result<(i64, Result<Arc<ChatCall>, Came>), Failure> {
    let options = match row.options.as_deref().map(serde_json::from_str::<Value>) {
        None => Ok(job.chat.clone()),
        Some(Ok(own)) => row_options(&job.stored.options, &own).map_err(SqlError::from),
        Some(Err(e)) => Err(SqlError::new(State::InvalidArgument, format!("pg_llm: options of a row cannot be used: {e}"))),
    };
    let options = match options {
        Ok(options) => options,
        Err(error) => return Ok((row.ord, Err(Came::Error(model_call::error_members(&error))))),
    };
    let call = Arc::new(ChatCall::new(route.clone(), &row.prompt, options));
    let _role = Caller::absent(job.stored.role).again();
    Ok((
        row.ord,
        match response_cache::find(&call)? {
            Some(outcome) => Err(Came::Answer(Box::new(outcome), None)),
            None => Ok(call),
        },
    ))
}

/// Until this is dropped, the settings are those that the submitter's own sessions begin with, and over them what it had set for its own calls when it submitted.
fn settings_of(job: &OpenJob) -> Result<Settings, Failure> {
    let of_role = jobs::role_settings(job.role)?;
    let settings = Settings::begin();
    let set = |name: &str, value: &str| {
        if let (Ok(name), Ok(value)) = (CString::new(name), CString::new(encoding::to_server(value).into_owned())) {
            worker::set(&name, &value);
        }
    };
    for setting in &of_role {
        if let Some((name, value)) = setting.split_once('=') {
            set(name, value);
        }
    }
    for name in gucs::CALLERS_OWN {
        if let Some(value) = job.settings.get(name).and_then(Value::as_str) {
            set(name, value);
        }
    }
    Ok(settings)
}

/// A row's error, with the members that [`super::batch`] gives it.
fn error_of(error: CallError) -> Value {
    let attempts = error.attempts;
    let mut members = model_call::error_json(error);
    members["attempts"] = json!(attempts);
    members
}

fn error_members(failure: &Failure) -> Value {
    match failure {
        Failure::Sql(error) => model_call::error_members(error),
        Failure::Postgres(_) => json!({ "sqlstate": failure.sqlstate(), "message": failure.words(), "detail": null, "hint": null }),
    }
}

fn log(message: &str) {
    emit(PgLogLevel::LOG, &format!("pg_llm: {message}"));
}
