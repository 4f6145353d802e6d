//! One request's way through the filters of its model.

use std::borrow::Cow;
use std::sync::Arc;

use pg_llm_sandbox::interrupt::Interrupt;
use pg_llm_sandbox::types::{ChatRequest, Message, PromptVerdict};
use pg_llm_sandbox::{CallError as SandboxCallError, Grant, GuestFault};

use super::{Acted, Action, FilterChain, FilterStep, OnFilterError, Side};
use crate::attempts::Attempts;
use crate::error::CallError;
use crate::route::Route;

/// One request's way through the filters, and its answer's way back.
pub(crate) struct Passage {
    pub(super) chain: Arc<FilterChain>,
    /// By step: what its prompt side hands to its response side.
    pub(super) memos: Vec<Option<String>>,
    acted: Vec<Acted>,
}

/// What must hold of messages, before and after a filter; else what is wrong, in words.
pub(crate) type Soundness = fn(&[Message], &[Message]) -> Result<(), &'static str>;

/// What the filters of a call run with.
pub(crate) struct Surroundings<'a> {
    pub(crate) route: &'a Route,
    pub(crate) attempts: &'a mut Attempts,
    pub(crate) interrupt: &'a Arc<dyn Interrupt>,
}

/// What a filter ended a call with.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// It blocked it, and says why.
    Blocked(String),
    /// It failed.
    Failed(Box<SandboxCallError>),
}

impl Passage {
    /// None for a model's calls that have no filter.
    pub(crate) fn begin(route: &Route) -> Option<Self> {
        let chain = &route.filters;
        (!chain.steps.is_empty()).then(|| Self { chain: Arc::clone(chain), memos: vec![None; chain.steps.len()], acted: Vec::new() })
    }

    /// What is to be sent for `request`.
    ///
    /// # Errors
    /// As [`Self::prompt`].
    pub(crate) fn request<'r>(
        &mut self,
        request: &'r ChatRequest,
        around: &mut Surroundings<'_>,
    ) -> Result<Cow<'r, ChatRequest>, CallError> {
        around.check_extra_body(request.extra_body.as_deref())?;
        Ok(match self.prompt(&request.messages, around, conversation)? {
            Some(messages) => Cow::Owned(ChatRequest { messages, ..request.clone() }),
            None => Cow::Borrowed(request),
        })
    }

    /// What is to be sent instead of `messages`; none where they are to be sent as they are.
    ///
    /// # Errors
    /// When a filter blocks the call, or fails; and when the call is over meanwhile.
    pub(crate) fn prompt(
        &mut self,
        messages: &[Message],
        around: &mut Surroundings<'_>,
        sound: Soundness,
    ) -> Result<Option<Vec<Message>>, CallError> {
        let chain = Arc::clone(&self.chain);
        let mut sent: Option<Vec<Message>> = None;
        for (at, step) in chain.steps.iter().enumerate().filter(|(_, step)| step.prompt) {
            let before = sent.as_deref().unwrap_or(messages);
            let outcome = step.code.prompt(around.grant(), &step.config, before);
            around.attempts.keep_of_filter(&step.name, outcome.log);
            match outcome.result.and_then(|verdict| keeping(verdict, before, sound)) {
                Ok(PromptVerdict::Pass) => {}
                Ok(PromptVerdict::Change((after, memo))) => {
                    self.memos[at] = memo;
                    if after.as_slice() != before {
                        self.act(step, Side::Prompt, Action::Changed);
                        sent = Some(after);
                    }
                }
                Ok(PromptVerdict::Block(reason)) => return Err(around.fault(step, Side::Prompt, &Fault::Blocked(reason))),
                Err(error) => self.leave_out_or(around, step, Side::Prompt, Fault::failed(error))?,
            }
        }
        Ok(sent)
    }

    /// What the filters did so far.
    pub(crate) fn take_acted(&mut self) -> Vec<Acted> {
        std::mem::take(&mut self.acted)
    }

    pub(super) fn act(&mut self, step: &FilterStep, side: Side, action: Action) {
        super::add_acted(&mut self.acted, vec![Acted { name: step.name.clone(), side, action }]);
    }

    /// Goes on without a step where that is right.
    ///
    /// # Errors
    /// The call's error where it is not.
    pub(super) fn leave_out_or(
        &mut self,
        around: &mut Surroundings<'_>,
        step: &FilterStep,
        side: Side,
        fault: Fault,
    ) -> Result<(), CallError> {
        if self.chain.on_error != OnFilterError::Pass || !fault.is_of_the_filter() {
            return Err(around.fault(step, side, &fault));
        }
        let error = around.attempts.filter_error(&step.name, side, &fault.into_error());
        around.attempts.warn(format!("{}: it was left out (on_filter_error is \"pass\")", error.message));
        self.act(step, side, Action::LeftOut);
        Ok(())
    }
}

impl Surroundings<'_> {
    /// A call's own members of the body go over all others, and so over what the filters of its model have let through.
    ///
    /// # Errors
    /// Where the model has filters for prompts, and the call says more than its configuration does.
    pub(super) fn check_extra_body(&mut self, extra_body: Option<&str>) -> Result<(), CallError> {
        let spec = &self.route.spec;
        if extra_body.is_none() || spec.filters.is_empty() || !self.route.filters.watches_prompts() {
            return Ok(());
        }
        if extra_body == spec.defaults.call.extra_body_text().as_deref() {
            return Ok(());
        }
        let error = CallError::past_filters(&self.route.instance);
        Err(self.attempts.close(error))
    }

    pub(super) fn grant(&self) -> Grant {
        self.route.filter_grant(self.attempts.deadline(), self.interrupt)
    }

    /// The end of the call.
    pub(super) fn fault(&mut self, step: &FilterStep, side: Side, fault: &Fault) -> CallError {
        match fault {
            Fault::Blocked(reason) => self.attempts.blocked(&step.name, side, reason),
            Fault::Failed(error) => {
                let error = self.attempts.filter_error(&step.name, side, error);
                self.attempts.close(error)
            }
        }
    }
}

impl Fault {
    pub(super) fn failed(error: SandboxCallError) -> Self {
        Self::Failed(Box::new(error))
    }

    /// The filter is at fault, and not the call's end.
    pub(super) fn is_of_the_filter(&self) -> bool {
        matches!(self, Self::Failed(error) if matches!(**error, SandboxCallError::Failed(_) | SandboxCallError::Guest(_)))
    }

    fn into_error(self) -> SandboxCallError {
        match self {
            Self::Failed(error) => *error,
            Self::Blocked(reason) => SandboxCallError::Host(reason),
        }
    }
}

/// A verdict whose change, if it is one, is `sound`.
fn keeping(verdict: PromptVerdict, before: &[Message], sound: Soundness) -> Result<PromptVerdict, SandboxCallError> {
    match &verdict {
        PromptVerdict::Change((after, _)) => sound(before, after).map_err(contract)?,
        PromptVerdict::Pass | PromptVerdict::Block(_) => {}
    }
    Ok(verdict)
}

/// A conversation that can be sent.
fn conversation(before: &[Message], after: &[Message]) -> Result<(), &'static str> {
    if after.is_empty() && !before.is_empty() {
        return Err("it left no message");
    }
    if after.iter().any(|message| message.parts.is_empty()) {
        return Err("it left a message without a part");
    }
    Ok(())
}

pub(super) fn contract(what: &str) -> SandboxCallError {
    SandboxCallError::Guest(GuestFault::Contract(what.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pg_llm_sandbox::types::{Part, Role};

    #[test]
    fn what_a_filter_leaves_can_be_sent() {
        let message = |parts| Message { role: Role::User, parts };
        let one = || vec![message(vec![Part::Text("x".to_owned())])];
        assert!(conversation(&one(), &one()).is_ok() && conversation(&[], &[]).is_ok());
        assert!(conversation(&one(), &[]).is_err());
        assert!(conversation(&one(), &[message(Vec::new())]).is_err());
    }
}
