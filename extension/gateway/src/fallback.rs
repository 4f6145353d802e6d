//! The models that may answer in place of the one that was called.
//!
//! A [`Route`] carries them in their order, already resolved with the caller's rights. They are asked one after another, each with the call's own options over
//! its own defaults, while failures are such that another model may do better ([`FALL_BACK`]), or while answers are known to be unsure. What they are sent is
//! the prompt and its history, and never an answer. All share the time of the call.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pg_llm_sandbox::interrupt::Interrupt;
use pg_llm_sandbox::types::FailureKind as F;
use serde_json::{Value, json};

use crate::attempts::Attempts;
use crate::call_log::CallLog;
use crate::call_options::CallOptions;
use crate::chat::{self, ChatCall, Original};
use crate::error::{CallError, ConfigError, ErrorKind, clip};
use crate::ledger::{Ledger, Origin};
use crate::members::Members;
use crate::outcome::ChatOutcome;
use crate::route::Route;

/// Most models of one call, the called one included.
pub const MOST_MODELS: usize = 5;

/// Longest message of another model in an error's DETAIL, in bytes.
const QUOTED_MESSAGE: usize = 150;
/// Longest DETAIL, in bytes.
const DETAIL: usize = 1000;

/// Whether another model is asked after a failure of a kind, and why: the table of the documentation.
pub const FALL_BACK: &[(&[F], bool, &str)] = &[
    (&[F::Connect, F::Broken, F::Timeout, F::Server, F::Overloaded, F::RateLimit, F::Quota], true, "the provider is not to be had now"),
    (&[F::Authentication, F::Permission, F::NotFound], true, "the model's key or its name is at fault, and not the request"),
    (&[F::ContextLength], true, "another model may have a larger window"),
    (&[F::Protocol, F::Cancelled], true, "the provider or its adapter is at fault"),
    (&[F::ContentFilter], false, "a provider's verdict on the content is not evaded by asking elsewhere"),
    (&[F::InvalidRequest, F::Unsupported], false, "the request is at fault"),
    (&[F::TooLarge, F::Refused], false, "this server's own limit or policy"),
];

/// Whether a failure of this kind is one that another model may do without.
pub(crate) fn may_help(kind: F) -> bool {
    FALL_BACK.iter().any(|(kinds, fall_back, _)| *fall_back && kinds.contains(&kind))
}

/// What an option or a configuration says of the model to fall back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FallbackChoice {
    /// None, whatever other layers say.
    Nobody,
    /// The one of this name.
    Model(String),
}

impl FallbackChoice {
    /// The model's name.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Nobody => None,
            Self::Model(name) => Some(name),
        }
    }
}

pub(crate) fn choice(m: &Members<'_>) -> Result<Option<FallbackChoice>, ConfigError> {
    Ok(match m.raw("fallback_instance") {
        None => None,
        Some(Value::Bool(false)) => Some(FallbackChoice::Nobody),
        Some(Value::String(name)) if name.is_empty() => Some(FallbackChoice::Nobody),
        Some(Value::String(name)) => Some(FallbackChoice::Model(name.clone())),
        Some(other) => return Err(m.wrong("fallback_instance", "the name of a model, or false for none", other)),
    })
}

/// A model that may answer instead.
#[derive(Clone)]
pub struct Fallback {
    /// Its name in SQL.
    pub instance: String,
    /// Where it is; else why it cannot be used, in words.
    pub route: Result<Route, String>,
}

/// A model that was to answer, and did not.
#[derive(Clone, Debug)]
pub struct Passed {
    /// Its name in SQL.
    pub instance: String,
    /// How often its provider was called.
    pub attempts: u32,
    /// Why its answer is not the call's.
    pub why: Why,
}

/// Why a model's answer is not the call's.
#[derive(Clone, Debug)]
pub enum Why {
    /// It failed.
    Failed(Box<CallError>),
    /// It gave an answer of this confidence, and another model a better one.
    Unsure(f64, Value),
    /// It was not asked.
    NotAsked(String),
}

impl Passed {
    /// As `fallback_from` shows it.
    pub(crate) fn to_json(&self) -> Value {
        let mut value = json!({"instance_name": self.instance, "attempts": self.attempts});
        match &self.why {
            Why::Failed(error) => value["error"] = json!({"kind": error.kind.name(), "message": error.message, "detail": error.detail}),
            Why::NotAsked(why) => value["error"] = json!({"kind": "not_asked", "message": why, "detail": null}),
            Why::Unsure(confidence, usage) => {
                value["confidence_score"] = json!(confidence);
                value["confidence_method"] = json!("logprobs");
                value["usage"] = usage.clone();
            }
        }
        value
    }
}

/// The models of one call, in the order of their turns.
pub(crate) struct Turns {
    started: Instant,
    timeout: Duration,
    /// The call itself says how much time there is.
    told: bool,
    /// Fallbacks that have had their turn.
    gone: usize,
    taken: Vec<(String, Turn)>,
    /// The called model, and what the ledger is told of the call.
    called: String,
    origin: Origin,
    ledger: Arc<dyn Ledger>,
}

/// What came of a model's turn.
enum Turn {
    Answered(Box<ChatOutcome>),
    Failed(Box<CallError>),
    NotAsked(String),
}

impl Turns {
    /// The call's time runs from here: what `called`, its own options, say; else the setting or what its model says, whichever is longer.
    pub(crate) fn begin(route: &Route, called: &CallOptions) -> Self {
        let own = route.spec.defaults.call.timeout.unwrap_or_default();
        let timeout = called.timeout.unwrap_or_else(|| own.max(route.timeout)).min(route.timeout_ceiling);
        Self {
            started: Instant::now(),
            timeout,
            told: called.timeout.is_some(),
            gone: 0,
            taken: Vec::new(),
            called: route.instance.clone(),
            origin: route.origin.clone(),
            ledger: Arc::clone(&route.ledger),
        }
    }

    fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.started.elapsed())
    }

    /// The turn of `route`: what is left of the call's time, or less where the model's configuration bounds its share. The last model of a call that says how
    /// much time there is has all of the rest.
    pub(crate) fn attempts(&self, route: &Route, options: &CallOptions, fallbacks: &[Fallback]) -> Attempts {
        let last = !fallbacks.iter().skip(self.gone).any(|fallback| fallback.route.is_ok());
        // The first has it all, to the millisecond that its error will name.
        let left = if self.taken.is_empty() { self.timeout } else { self.left() };
        let own = route.spec.defaults.call.timeout.filter(|_| !(last && self.told));
        let within = own.map_or(left, |own| own.min(left));
        Attempts::begin(route, options).within(within).in_place_of(&self.called, &self.origin, &self.ledger)
    }

    /// The next model that can be asked.
    pub(crate) fn next<'r>(&mut self, fallbacks: &'r [Fallback]) -> Option<&'r Route> {
        while let Some(fallback) = fallbacks.get(self.gone) {
            self.gone += 1;
            let why = match &fallback.route {
                Ok(route) if !self.left().is_zero() => return Some(route),
                Ok(_) => "no time was left".to_owned(),
                Err(why) => why.clone(),
            };
            self.taken.push((fallback.instance.clone(), Turn::NotAsked(why)));
        }
        None
    }

    pub(crate) fn failed(&mut self, instance: &str, error: CallError) {
        self.taken.push((instance.to_owned(), Turn::Failed(Box::new(error))));
    }

    pub(crate) fn answered(&mut self, outcome: ChatOutcome) {
        self.taken.push((outcome.instance.clone(), Turn::Answered(Box::new(outcome))));
    }

    /// An answer that is the call's, after all turns before it.
    pub(crate) fn answer(mut self, outcome: ChatOutcome) -> ChatOutcome {
        let at = self.taken.len();
        self.finish(at, outcome)
    }

    /// The best answer, else the first model's error. All but the last answer are known to be unsure.
    pub(crate) fn settle(mut self) -> Result<ChatOutcome, CallError> {
        let sure = |turn: &Turn| match turn {
            Turn::Answered(outcome) => Some(outcome.confidence().unwrap_or(f64::INFINITY)),
            Turn::Failed(_) | Turn::NotAsked(_) => None,
        };
        let answers = self.taken.iter().enumerate().filter_map(|(at, (_, turn))| Some((at, sure(turn)?)));
        let best = answers.max_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(at, _)| at);
        match best.map(|at| (at, self.taken.remove(at))) {
            Some((at, (_, Turn::Answered(answer)))) => Ok(self.finish(at, *answer)),
            _ => Err(self.take_error()),
        }
    }

    /// The answer that had turn `at`, with what became of the other turns.
    fn finish(&mut self, at: usize, mut answer: ChatOutcome) -> ChatOutcome {
        let mut log = CallLog::default();
        answer.fallback_used = at > 0;
        answer.passed = self.taken.drain(..).map(|(instance, turn)| passed(instance, turn, &mut log)).collect();
        answer.attempts += answer.passed.iter().map(|p| p.attempts).sum::<u32>();
        answer.latency = self.started.elapsed();
        log.append(std::mem::take(&mut answer.log));
        answer.log = log;
        answer
    }

    /// The first model's error, whose DETAIL says what became of the others.
    pub(crate) fn take_error(&mut self) -> CallError {
        let mut log = CallLog::default();
        let mut turns = std::mem::take(&mut self.taken).into_iter();
        let Some((_, Turn::Failed(mut error))) = turns.next() else { return CallError::internal("no model was asked") };
        let mut others = String::new();
        for passed in turns.map(|(instance, turn)| passed(instance, turn, &mut log)) {
            error.attempts += passed.attempts;
            let said = match passed.why {
                Why::Failed(other) => clip(&other.message, QUOTED_MESSAGE),
                Why::NotAsked(why) => format!("was not asked: {}", clip(&why, QUOTED_MESSAGE)),
                Why::Unsure(..) => continue,
            };
            let _ = write!(others, "\nFallback \"{}\": {said}", clip(&passed.instance, 50));
        }
        error.log.append(log);
        let own = error.detail.take().unwrap_or_default();
        error.detail = Some(clip(&own, DETAIL.saturating_sub(others.len())) + &others).filter(|detail| !detail.is_empty());
        *error
    }
}

/// The end of a turn whose answer is not the call's. What its guest logged goes to `log`, with the model's name.
fn passed(instance: String, turn: Turn, log: &mut CallLog) -> Passed {
    let mut keep = |of_turn: &mut CallLog| log.append(std::mem::take(of_turn).of_model(&instance));
    let (attempts, why) = match turn {
        Turn::Answered(mut outcome) => {
            let usage = outcome.usage_and_cost();
            keep(&mut outcome.log);
            (outcome.attempts, Why::Unsure(outcome.confidence().unwrap_or_default(), usage))
        }
        Turn::Failed(mut error) => {
            keep(&mut error.log);
            (error.attempts, Why::Failed(error))
        }
        Turn::NotAsked(why) => (0, Why::NotAsked(why)),
    };
    Passed { instance, attempts, why }
}

/// Asks the called model, and then its fallbacks, for a whole answer.
///
/// # Errors
/// The first model's error when none answers; a cancellation at once.
pub(crate) fn run(call: &ChatCall, original: &Original, interrupt: &Arc<dyn Interrupt>) -> Result<ChatOutcome, CallError> {
    let fallbacks = &call.route().fallbacks;
    let mut turns = Turns::begin(call.route(), &original.options.call);
    let mut attempts = turns.attempts(call.route(), &call.options().call, fallbacks);
    let mut route = call.route();
    let mut result = call.ask(&mut attempts, interrupt);
    loop {
        match result {
            Ok(outcome) => {
                let sure = call.is_sure(&outcome);
                turns.answered(outcome);
                if sure {
                    break;
                }
            }
            Err(error) if error.kind == ErrorKind::Cancelled => return Err(error),
            Err(error) => {
                let another = error.may_fall_back;
                turns.failed(&route.instance, error);
                if !another {
                    break;
                }
            }
        }
        let Some(next) = turns.next(fallbacks) else { break };
        route = next;
        let options = original.options.clone().over(&route.spec.defaults);
        let request = chat::request(route, &original.prompt, &options);
        attempts.account().end(false);
        attempts = turns.attempts(route, &options.call, fallbacks);
        result = chat::ask(route, &options, &request, &mut attempts, interrupt);
    }
    turns.settle()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::kind_name;

    #[test]
    fn every_kind_of_failure_has_one_verdict_and_the_documentation_shows_it() {
        let page = include_str!("../../../docs/fallback.md");
        let mut kinds = Vec::new();
        for (of, fall_back, why) in FALL_BACK {
            kinds.extend(of.iter().map(|kind| kind_name(*kind)));
            let names = of.iter().map(|kind| format!("`{}`", kind_name(*kind))).collect::<Vec<_>>().join(", ");
            let row = format!("| {names} | {} | {why} |\n", if *fall_back { "yes" } else { "no" });
            assert!(page.contains(&row), "docs/fallback.md is to have this row:\n{row}");
        }
        let all = kinds.len();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!((kinds.len(), all), (18, 18), "{kinds:?}");
    }

    #[test]
    fn a_choice_is_a_name_or_false() {
        let read = |value: Value| choice(&Members::of("option", &json!({ "fallback_instance": value })).unwrap());
        assert_eq!(read(json!("b")).unwrap(), Some(FallbackChoice::Model("b".to_owned())));
        assert_eq!(read(json!(false)).unwrap(), Some(FallbackChoice::Nobody));
        assert_eq!(read(json!("")).unwrap(), Some(FallbackChoice::Nobody));
        assert_eq!(read(json!(null)).unwrap(), None);
        for bad in [json!(true), json!(1), json!(["b"]), json!({})] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
