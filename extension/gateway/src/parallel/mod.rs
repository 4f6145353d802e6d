//! One prompt to several models at the same time, and which of their answers is the one.
//!
//! A [`ParallelCall`] has a [`ChatCall`] for each candidate. All are started at once, each with its own deadline, and a candidate that fails is no failure of
//! the whole; where its model falls back on others, that is within its own call. What then counts as the answer is a [`Strategy`]'s to say: a function of the
//! outcomes, in the order of the list and never of their arrival, but for [`Strategy::First`].

mod judge;
mod options;
mod outcome;
mod vote;

use std::sync::Arc;
use std::time::{Duration, Instant};

use pg_llm_sandbox::interrupt::Interrupt;

use crate::chat::ChatCall;
use crate::error::{CallError, ErrorKind};
use crate::in_flight::InFlight;
use crate::outcome::ChatOutcome;

pub use judge::{Judge, Judged};
pub use options::{ParallelOptions, StrategyName};
pub use outcome::{Candidate, Ended, ParallelOutcome};
use outcome::{Choice, Confidence};

/// Most candidates of one call: each has a thread and a connection of its own.
pub const MOST_CANDIDATES: usize = 64;

/// How the answer is chosen among those that came. An error is never chosen.
#[derive(Clone)]
pub enum Strategy {
    /// The most confident; those without a confidence come after those with one, in the order of the list.
    Confidence,
    /// The first to arrive. The others are cancelled.
    First,
    /// What most of them say.
    Vote,
    /// What another model thinks best.
    Judge(Box<Judge>),
    /// The first of the list, with all others beside it.
    All,
}

/// A chat with several models that is to be had.
pub struct ParallelCall {
    candidates: Vec<Arc<ChatCall>>,
    strategy: Strategy,
}

/// What came of a call, and how long that took.
type Timed = (Result<ChatOutcome, CallError>, Duration);

impl ParallelCall {
    /// Asks each of these, 1 to [`MOST_CANDIDATES`].
    pub fn new(candidates: Vec<ChatCall>, strategy: Strategy) -> Self {
        Self { candidates: candidates.into_iter().map(Arc::new).collect(), strategy }
    }

    /// The candidates, in the order of the list.
    pub fn candidates(&self) -> &[Arc<ChatCall>] {
        &self.candidates
    }

    /// How the answer is chosen.
    pub fn strategy(&self) -> &Strategy {
        &self.strategy
    }

    /// Asks all candidates but those whose answers are `known` before, and chooses. That all candidates fail is an outcome too.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] when the interrupt ends it; and when the process has no threads for it.
    pub fn run(&self, known: Vec<Option<ChatOutcome>>, interrupt: &Arc<dyn Interrupt>) -> Result<ParallelOutcome, CallError> {
        let began = Instant::now();
        let (candidates, first) = self.ask(known, interrupt)?;
        let (choice, judged) = self.choose(&candidates, first, interrupt)?;
        Ok(ParallelOutcome { strategy: self.strategy.name(), candidates, choice, judged, elapsed: began.elapsed() })
    }

    /// All candidates as they ended, and which of those that answered was the first to.
    fn ask(&self, known: Vec<Option<ChatOutcome>>, interrupt: &Arc<dyn Interrupt>) -> Result<(Vec<Candidate>, Option<usize>), CallError> {
        let only_first = matches!(self.strategy, Strategy::First);
        let mut ended: Vec<Option<(Ended, Duration)>> =
            known.into_iter().map(|outcome| outcome.map(|outcome| (Ended::Answered(Box::new(outcome)), Duration::ZERO))).collect();
        ended.resize_with(self.candidates.len(), || None);
        let mut first = ended.iter().position(Option::is_some);
        let open: Vec<usize> = (0..ended.len()).filter(|&number| ended[number].is_none()).collect();
        if !(open.is_empty() || only_first && first.is_some()) {
            let mut calls = InFlight::<Timed>::new(open.len(), Arc::clone(interrupt))?;
            for number in open {
                let call = Arc::clone(&self.candidates[number]);
                calls.start(number, move |interrupt| {
                    let began = Instant::now();
                    let result = call.run(interrupt);
                    Ok((result, began.elapsed()))
                });
            }
            while let Some((number, landed)) = if only_first && first.is_some() { calls.ready() } else { calls.wait()? } {
                let (result, latency) = landed.unwrap_or_else(|fault| (Err(fault), Duration::ZERO));
                if result.is_ok() {
                    first.get_or_insert(number);
                }
                ended[number] = Some((result.map_or_else(Ended::Failed, |outcome| Ended::Answered(Box::new(outcome))), latency));
            }
        }
        let candidates = self.candidates.iter().zip(ended).map(|(call, ended)| {
            let (ended, latency) = ended.map_or((Ended::Cancelled, None), |(ended, latency)| (ended, Some(latency)));
            Candidate {
                instance: call.route().instance.clone(),
                model_name: call.route().spec.model_name.clone(),
                threshold: call.confidence_threshold(),
                ended,
                latency,
            }
        });
        Ok((candidates.collect(), first))
    }

    /// None where nobody answered.
    fn choose(
        &self,
        candidates: &[Candidate],
        first: Option<usize>,
        interrupt: &Arc<dyn Interrupt>,
    ) -> Result<(Option<Choice>, Option<Judged>), CallError> {
        let answered: Vec<(usize, &ChatOutcome)> =
            candidates.iter().enumerate().filter_map(|(number, candidate)| Some((number, candidate.answer()?))).collect();
        let Some(&(in_list, _)) = answered.first() else { return Ok((None, None)) };
        let own = |winner| Some(Choice { winner, confidence: Confidence::Own });
        Ok(match &self.strategy {
            Strategy::All => (own(in_list), None),
            Strategy::First => (own(first.unwrap_or(in_list)), None),
            Strategy::Confidence => {
                let known: Vec<_> = answered.iter().map(|(_, outcome)| outcome.confidence()).collect();
                (own(answered[most_confident(&known)].0), None)
            }
            Strategy::Vote => {
                let ballots: Vec<_> = answered.iter().map(|(_, outcome)| vote::ballot(outcome)).collect();
                let (elected, share) = vote::count(&ballots);
                let choice = Choice { winner: answered[elected].0, confidence: Confidence::Of(share, "vote") };
                (Some(choice), None)
            }
            // With one answer there is nothing to judge, and nobody to pay for it.
            Strategy::Judge(_) if answered.len() == 1 => (Some(Choice { winner: in_list, confidence: Confidence::None }), None),
            Strategy::Judge(judge) => {
                let judged = judge.judge(&answered, interrupt);
                let choice = match &judged.verdict {
                    Ok(verdict) => Choice {
                        winner: verdict.best,
                        confidence: verdict.score_of(verdict.best).map_or(Confidence::None, |score| Confidence::Of(score, "judge")),
                    },
                    Err(error) if error.kind == ErrorKind::Cancelled => return Err(error.clone()),
                    Err(_) => Choice { winner: in_list, confidence: Confidence::None },
                };
                (Some(choice), Some(judged))
            }
        })
    }
}

impl Strategy {
    fn name(&self) -> StrategyName {
        match self {
            Self::Confidence => StrategyName::Confidence,
            Self::First => StrategyName::First,
            Self::Vote => StrategyName::Vote,
            Self::Judge(_) => StrategyName::Judge,
            Self::All => StrategyName::All,
        }
    }
}

/// Which of these, at least one, is the highest; the first of equals, and 0 where none is known.
fn most_confident(known: &[Option<f64>]) -> usize {
    let mut best = 0;
    for (at, confidence) in known.iter().enumerate() {
        if confidence.is_some_and(|c| known[best].is_none_or(|b| c > b)) {
            best = at;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_confident_wins_and_equals_by_their_place() {
        for (known, best) in [
            (vec![Some(0.5), Some(0.9), Some(0.7)], 1),
            (vec![Some(0.9), Some(0.9)], 0),
            (vec![None, Some(0.1)], 1),
            (vec![None, None], 0),
            (vec![Some(0.0), None], 0),
            (vec![None, Some(0.2), None, Some(0.3), Some(0.3)], 3),
        ] {
            assert_eq!(most_confident(&known), best, "{known:?}");
        }
    }
}
