//! A whole answer on its way through the filters.

use std::sync::Arc;

use pg_llm_sandbox::types::{Answer, Channel, FinishReason, Part, Thinking, TokenLogprob, ToolCall};

use super::channel::{Ended, Flow, Pipe};
use super::passage::{Fault, Surroundings, contract};
use super::{Action, Passage, Side};
use crate::error::CallError;

/// The parts of an answer, filtered.
struct Filtered {
    parts: Vec<Part>,
    /// The step that ended it before its end.
    cut_by: Option<usize>,
    /// The steps that changed something.
    changed: Vec<usize>,
}

impl Passage {
    /// The answer as the filters let it through.
    ///
    /// # Errors
    /// When a filter blocks it, or fails; and when the call is over meanwhile.
    pub(crate) fn answer(&mut self, mut answer: Answer, around: &mut Surroundings<'_>) -> Result<Answer, CallError> {
        let chain = Arc::clone(&self.chain);
        if !chain.watches_answers() {
            return Ok(answer);
        }
        let mut without = Vec::new();
        let filtered = loop {
            let mut left_out = Vec::new();
            let mut flow = Flow { chain: &chain, memos: &self.memos, without: &without, around, left_out: &mut left_out };
            let result = parts(&answer.parts, &mut flow);
            for (step, error) in left_out {
                self.leave_out_or(around, &chain.steps[step], Side::Response, Fault::failed(error))?;
                without.push(step);
            }
            match result {
                Ok(filtered) => break filtered,
                // Nothing of it is out: the others begin again without the one that failed.
                Err(Ended { step, fault }) => {
                    self.leave_out_or(around, &chain.steps[step], Side::Response, fault)?;
                    without.push(step);
                }
            }
        };
        for step in filtered.changed {
            self.act(&chain.steps[step], Side::Response, Action::Changed);
        }
        if let Some(step) = filtered.cut_by {
            self.act(&chain.steps[step], Side::Response, Action::Cut);
            answer.finish_reason = Some(FinishReason::Length);
        }
        answer.parts = filtered.parts;
        without_words(&mut answer.logprobs);
        answer.raw = None;
        Ok(answer)
    }
}

/// Log probabilities without the tokens that they are of: enough for a confidence, and no second copy of a text that filters may have changed.
pub(crate) fn without_words(tokens: &mut [TokenLogprob]) {
    for token in tokens {
        token.token.clear();
        token.alternatives.clear();
    }
}

/// Filters the parts in their order. All texts are one channel, and go as the pieces of a stream do; what is held back at the end belongs to the last of them.
fn parts(parts: &[Part], flow: &mut Flow<'_, '_>) -> Result<Filtered, Ended> {
    let mut filtered = Filtered { parts: Vec::with_capacity(parts.len()), cut_by: None, changed: Vec::new() };
    let mut text = Pipe::new(Channel::Text);
    let mut last_text = None;
    for part in parts {
        let (part, cut_by) = match part {
            Part::Text(piece) => {
                last_text = Some(filtered.parts.len());
                (Part::Text(text.push(piece, flow)?), text.cut_by)
            }
            Part::Thinking(block) if !block.redacted => {
                let (said, pipe) = whole(Channel::Thinking, &block.text, flow)?;
                filtered.changed.extend(pipe.changed());
                // Of what the model thought, and of nothing else.
                let signature = block.signature.clone().filter(|_| said == block.text);
                (Part::Thinking(Thinking { text: said, signature, redacted: false }), pipe.cut_by)
            }
            Part::ToolCall(call) => {
                let (arguments, pipe) = whole(Channel::ToolArguments, &call.arguments, flow)?;
                check_arguments(&pipe, &call.arguments, &arguments)?;
                filtered.changed.extend(pipe.changed());
                (Part::ToolCall(ToolCall { arguments, ..call.clone() }), pipe.cut_by)
            }
            other => (other.clone(), None),
        };
        filtered.parts.push(part);
        if cut_by.is_some() {
            filtered.cut_by = cut_by;
            break;
        }
    }
    // No word is an answer too, unless the model asks for tools instead.
    let wants_tools = filtered.parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
    let rest = text.finish(!wants_tools, flow)?;
    filtered.changed.extend(text.changed());
    match last_text.and_then(|at| filtered.parts.get_mut(at)) {
        Some(Part::Text(last)) => last.push_str(&rest),
        _ if !rest.is_empty() => filtered.parts.push(Part::Text(rest)),
        _ => {}
    }
    let one_text = filtered.parts.len() == 1;
    filtered.parts.retain(|part| one_text || !matches!(part, Part::Text(text) if text.is_empty()));
    Ok(filtered)
}

fn whole(channel: Channel, text: &str, flow: &mut Flow<'_, '_>) -> Result<(String, Pipe), Ended> {
    let mut pipe = Pipe::new(channel);
    let mut said = pipe.push(text, flow)?;
    said += &pipe.finish(false, flow)?;
    Ok((said, pipe))
}

/// What filters made of arguments that are JSON has to be JSON again, and an object where it was one.
pub(super) fn check_arguments(pipe: &Pipe, before: &str, after: &str) -> Result<(), Ended> {
    match pipe.changed().last() {
        Some(step) if is_json(before) && !is_json_like(before, after) => {
            Err(Ended { step, fault: Fault::failed(contract("what it made of a tool call's arguments is not JSON")) })
        }
        _ => Ok(()),
    }
}

pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn is_json_like(before: &str, after: &str) -> bool {
    let is_object = |text: &str| text.trim_start().starts_with('{');
    is_json(after) && is_object(after) == is_object(before)
}
