//! What came of a parallel chat, as SQL shows it: the answer that was chosen, and every candidate.

use std::fmt::Write;
use std::time::Duration;

use pg_llm_sandbox::types::Usage;
use serde_json::{Map, Value, json};

use super::judge::Judged;
use super::options::StrategyName;
use crate::call_log::CallLog;
use crate::error::{CallError, clip};
use crate::outcome::{ChatOutcome, milliseconds, usage};
use crate::price::Spent;

/// What came of it.
#[derive(Clone, Debug)]
pub struct ParallelOutcome {
    pub(super) strategy: StrategyName,
    /// In the order of the list.
    pub candidates: Vec<Candidate>,
    /// None where nobody answered.
    pub(super) choice: Option<Choice>,
    /// There only where a judge was asked.
    pub judged: Option<Judged>,
    pub(super) elapsed: Duration,
}

/// One of the models that were asked.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its name in SQL.
    pub instance: String,
    /// As configured.
    pub model_name: String,
    /// Below it, a known confidence is too low; 0: none is.
    pub(super) threshold: f64,
    /// How it ended.
    pub ended: Ended,
    /// How long that took; unknown of one that was cancelled.
    pub latency: Option<Duration>,
}

/// How a candidate ended.
#[derive(Clone, Debug)]
pub enum Ended {
    /// With an answer.
    Answered(Box<ChatOutcome>),
    /// With an error.
    Failed(CallError),
    /// Another's answer was enough.
    Cancelled,
}

/// Which candidate's answer counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub(super) winner: usize,
    pub(super) confidence: Confidence,
}

/// What the confidence is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Confidence {
    /// What the answer itself tells.
    Own,
    /// This, by this method.
    Of(f64, &'static str),
    /// Unknown.
    None,
}

/// What is shown of each candidate's answer.
const OF_CANDIDATE: [&str; 14] = [
    "request_id",
    "response",
    "model_name",
    "finish_reason",
    "usage",
    "cost",
    "currency",
    "confidence_score",
    "confidence_method",
    "fallback_used",
    "fallback_from",
    "cached",
    "attempts",
    "filters",
];
/// Bytes of what a list of failures says of all of them.
const FAILURES: usize = 960;

impl Candidate {
    /// Its answer.
    pub fn answer(&self) -> Option<&ChatOutcome> {
        match &self.ended {
            Ended::Answered(outcome) => Some(outcome),
            Ended::Failed(_) | Ended::Cancelled => None,
        }
    }

    fn error(&self) -> Option<&CallError> {
        match &self.ended {
            Ended::Failed(error) => Some(error),
            Ended::Answered(_) | Ended::Cancelled => None,
        }
    }
}

impl ParallelOutcome {
    /// The candidate whose answer counts, by its place in the list.
    pub fn winner(&self) -> Option<(usize, &ChatOutcome)> {
        let place = self.choice?.winner;
        Some((place, self.candidates.get(place)?.answer()?))
    }

    /// What `pg_llm_parallel_chat` returns: the winner's text, or, where all are wanted, every answer as a paragraph under its model's name. None where
    /// nobody answered.
    pub fn text(&self) -> Option<String> {
        let (_, winner) = self.winner()?;
        if self.strategy != StrategyName::All {
            return Some(winner.text());
        }
        let paragraphs = self.candidates.iter().filter_map(|c| Some(format!("{}: {}", c.instance, c.answer()?.text())));
        Some(paragraphs.collect::<Vec<_>>().join("\n\n"))
    }

    /// What `pg_llm_parallel_chat_json` returns. `describe` says an error in SQL's terms.
    pub fn to_json(&self, describe: impl Fn(CallError) -> Value) -> Value {
        let mut value = match self.winner() {
            Some((_, outcome)) => outcome.to_json(),
            None => json!({"response": null, "attempts": self.attempts(), "error": self.failure().map(&describe)}),
        };
        match self.choice.map(|choice| choice.confidence) {
            Some(Confidence::Of(score, method)) => {
                value["confidence_score"] = json!(score);
                value["confidence_method"] = json!(method);
            }
            Some(Confidence::None) => {
                value["confidence_score"] = Value::Null;
                value["confidence_method"] = Value::Null;
            }
            Some(Confidence::Own) | None => {}
        }
        let threshold = self.choice.and_then(|choice| self.candidates.get(choice.winner)).map_or(0.0, |winner| winner.threshold);
        let known = value["confidence_score"].as_f64().filter(|_| threshold > 0.0);
        value["below_threshold"] = json!(known.map(|confidence| confidence < threshold));
        let named = |place: usize| json!({"index": place + 1, "instance_name": self.candidates.get(place).map(|c| &c.instance)});
        value["strategy"] = json!(self.strategy.word());
        value["winner"] = self.winner().map_or(Value::Null, |(place, _)| named(place));
        value["candidates"] = self.candidates.iter().enumerate().map(|(place, candidate)| shown(place, candidate, &describe)).collect();
        value["judge"] = self.judged.as_ref().map_or(Value::Null, |judged| judge(judged, &describe));
        value["usage_total"] = usage(self.usage_total().as_ref());
        self.spent().show(&mut value["usage_total"], false);
        value["total_latency_ms"] = milliseconds(self.elapsed);
        value
    }

    /// Why nobody answered: an error of the kind of the first candidate's, which lists all of them. None where somebody did.
    pub fn failure(&self) -> Option<CallError> {
        if self.choice.is_some() {
            return None;
        }
        let failures: Vec<(usize, &CallError)> =
            self.candidates.iter().enumerate().filter_map(|(place, candidate)| Some((place, candidate.error()?))).collect();
        let (_, first) = failures.first()?;
        let mut error = (*first).clone();
        error.attempts = self.attempts();
        error.log = CallLog::default();
        if failures.len() > 1 {
            error.message = format!("none of {} candidates answered; the first: {}", failures.len(), first.message);
            let most = (FAILURES / failures.len()).saturating_sub(6).max(8);
            let mut list = String::new();
            for (place, failure) in &failures {
                let _ = writeln!(list, "{}: {}", place + 1, clip(&failure.message.replace('\n', " "), most));
            }
            error.detail = Some(list.trim_end().to_owned());
        }
        Some(error)
    }

    fn attempts(&self) -> u32 {
        let made = self.candidates.iter().map(|candidate| match &candidate.ended {
            Ended::Answered(outcome) => outcome.attempts,
            Ended::Failed(error) => error.attempts,
            Ended::Cancelled => 0,
        });
        made.fold(0, u32::saturating_add)
    }

    /// What all of it cost, what failed and the judge included. Candidates that were cancelled are not known to have cost anything.
    fn spent(&self) -> Spent {
        let judge = self.judged.as_ref().map(|judged| match &judged.verdict {
            Ok(verdict) => verdict.outcome.log.spent(),
            Err(error) => error.log.spent(),
        });
        let candidates = self.candidates.iter().map(|candidate| match &candidate.ended {
            Ended::Answered(outcome) => outcome.log.spent(),
            Ended::Failed(error) => error.log.spent(),
            Ended::Cancelled => Spent::Nothing,
        });
        let mut sum = Spent::Nothing;
        candidates.chain(judge).for_each(|spent| sum.add(spent));
        sum
    }

    /// Tokens of all who answered, the judge among them, as far as they said.
    fn usage_total(&self) -> Option<Usage> {
        let judge = self.judged.as_ref().and_then(|judged| judged.verdict.as_ref().ok()).map(|verdict| &verdict.outcome);
        let answers = self.candidates.iter().filter_map(Candidate::answer).chain(judge);
        answers.filter_map(|outcome| outcome.answer.usage.as_ref()).fold(None, |total, usage| Some(sum(total, usage)))
    }
}

/// What one of them does not say is missing in the sum; what nobody says is unknown.
fn sum(total: Option<Usage>, more: &Usage) -> Usage {
    let Some(total) = total else { return Usage { raw: None, ..more.clone() } };
    let add = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (a, b) => a.or(b),
    };
    Usage {
        input_tokens: add(total.input_tokens, more.input_tokens),
        output_tokens: add(total.output_tokens, more.output_tokens),
        cached_tokens: add(total.cached_tokens, more.cached_tokens),
        cache_write_tokens: add(total.cache_write_tokens, more.cache_write_tokens),
        reasoning_tokens: add(total.reasoning_tokens, more.reasoning_tokens),
        raw: None,
    }
}

fn shown(place: usize, candidate: &Candidate, describe: impl Fn(CallError) -> Value) -> Value {
    let mut value = json!({
        "index": place + 1,
        "instance_name": candidate.instance,
        "model_name": candidate.model_name,
        "answered_by": null,
        "status": "cancelled",
        "response": null,
        "error": null,
        "finish_reason": null,
        "confidence_score": null,
        "confidence_method": null,
        "usage": {},
        "cost": null,
        "currency": null,
        "attempts": null,
        "latency_ms": candidate.latency.map(milliseconds),
    });
    match &candidate.ended {
        Ended::Answered(outcome) => {
            value["status"] = json!("answered");
            value["answered_by"] = json!(outcome.instance);
            let mut answer = outcome.to_json();
            let of_answer: Map<String, Value> =
                OF_CANDIDATE.iter().filter_map(|key| Some(((*key).to_owned(), answer.get_mut(*key)?.take()))).collect();
            for (key, of_answer) in of_answer {
                value[key] = of_answer;
            }
        }
        Ended::Failed(error) => {
            value["status"] = json!("failed");
            value["attempts"] = json!(error.attempts);
            value["error"] = describe(error.clone());
        }
        Ended::Cancelled => {}
    }
    value
}

fn judge(judged: &Judged, describe: impl Fn(CallError) -> Value) -> Value {
    let instance = &judged.instance;
    match &judged.verdict {
        Ok(verdict) => {
            let scores: Vec<Value> = verdict.scores.iter().map(|(place, score)| json!({"index": place + 1, "score": score})).collect();
            let answer = verdict.outcome.to_json();
            json!({
                "instance_name": instance,
                "model_name": answer["model_name"],
                "best": verdict.best + 1,
                "scores": if scores.is_empty() { Value::Null } else { Value::Array(scores) },
                "error": null,
                "usage": answer["usage"],
                "cost": answer["cost"],
                "currency": answer["currency"],
                "attempts": answer["attempts"],
                "latency_ms": answer["latency_ms"],
            })
        }
        Err(error) => {
            json!({"instance_name": instance, "best": null, "scores": null, "error": describe(error.clone()), "attempts": error.attempts})
        }
    }
}
