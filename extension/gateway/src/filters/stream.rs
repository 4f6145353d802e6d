//! A streamed answer on its way through the filters.

use std::sync::Arc;

use pg_llm_sandbox::types::{Channel, Event, ToolCallDelta};

use super::answer::{check_arguments, is_json, without_words};
use super::channel::{Ended, Flow, LeftOut, Pipe};
use super::passage::{Fault, Surroundings};
use super::{Acted, Action, Passage, Side};
use crate::error::CallError;

/// The filters of a streamed answer. What they hold back comes later, at the latest before the end.
pub(crate) struct AnswerFilter {
    passage: Passage,
    channels: Channels,
}

struct Channels {
    text: Pipe,
    /// What the model is thinking, until it does something else.
    thinking: Option<Pipe>,
    /// Since the last signature something that it would be of was changed.
    unsigned: bool,
    calls: Vec<Arguments>,
    /// The steps that changed something.
    changed: Vec<usize>,
    cut_by: Option<usize>,
}

/// The arguments of one tool call.
struct Arguments {
    index: u32,
    pipe: Pipe,
    /// As the model wrote them.
    before: String,
    /// As they were handed on.
    after: String,
}

/// What comes at the end of an answer.
pub(crate) struct Rest {
    /// What was held back.
    pub(crate) events: Vec<Event>,
    /// Tool calls, by their index, whose rest will not come.
    pub(crate) unfinished: Vec<u32>,
    /// What all filters did.
    pub(crate) acted: Vec<Acted>,
}

impl AnswerFilter {
    /// For the answer to a request that went through `passage`; the other way round where no filter looks at answers.
    pub(crate) fn begin(passage: Passage) -> Result<Self, Passage> {
        if !passage.chain.watches_answers() {
            return Err(passage);
        }
        let channels = Channels {
            text: Pipe::new(Channel::Text),
            thinking: None,
            unsigned: false,
            calls: Vec::new(),
            changed: Vec::new(),
            cut_by: None,
        };
        Ok(Self { passage, channels })
    }

    /// What is to be handed on of an event, and of what was held back before it.
    ///
    /// # Errors
    /// When a filter blocks it, or fails; and when the call is over meanwhile.
    pub(crate) fn event(&mut self, event: Event, around: &mut Surroundings<'_>) -> Result<Vec<Event>, CallError> {
        self.run(around, |channels, flow| channels.event(event, flow))
    }

    /// A filter ended the answer: there is nothing more to wait for.
    pub(crate) fn is_cut(&self) -> bool {
        self.channels.cut_by.is_some()
    }

    /// The end of the answer.
    ///
    /// # Errors
    /// As [`Self::event`].
    pub(crate) fn finish(&mut self, around: &mut Surroundings<'_>) -> Result<Rest, CallError> {
        let (events, unfinished) = self.run(around, Channels::finish)?;
        let chain = Arc::clone(&self.passage.chain);
        for step in std::mem::take(&mut self.channels.changed) {
            self.passage.act(&chain.steps[step], Side::Response, Action::Changed);
        }
        if let Some(step) = self.channels.cut_by {
            self.passage.act(&chain.steps[step], Side::Response, Action::Cut);
        }
        Ok(Rest { events, unfinished, acted: self.passage.take_acted() })
    }

    fn run<T>(
        &mut self,
        around: &mut Surroundings<'_>,
        run: impl FnOnce(&mut Channels, &mut Flow<'_, '_>) -> Result<T, Ended>,
    ) -> Result<T, CallError> {
        let chain = Arc::clone(&self.passage.chain);
        let mut left_out: Vec<LeftOut> = Vec::new();
        let mut flow = Flow { chain: &chain, memos: &self.passage.memos, without: &[], around, left_out: &mut left_out };
        let result = run(&mut self.channels, &mut flow);
        for (step, error) in left_out {
            self.passage.leave_out_or(around, &chain.steps[step], Side::Response, Fault::failed(error))?;
        }
        result.map_err(|Ended { step, fault }| around.fault(&chain.steps[step], Side::Response, &fault))
    }
}

impl Channels {
    fn event(&mut self, event: Event, flow: &mut Flow<'_, '_>) -> Result<Vec<Event>, Ended> {
        let mut events = Vec::new();
        match event {
            Event::Text(text) => {
                self.end_thinking(&mut events, flow)?;
                let text = self.text.push(&text, flow)?;
                self.cut_by = self.cut_by.or(self.text.cut_by);
                if !text.is_empty() {
                    events.push(Event::Text(text));
                }
            }
            Event::Thinking(text) => {
                let pipe = self.thinking.get_or_insert_with(|| Pipe::new(Channel::Thinking));
                let text = pipe.push(&text, flow)?;
                self.cut_by = self.cut_by.or(pipe.cut_by);
                if !text.is_empty() {
                    events.push(Event::Thinking(text));
                }
            }
            Event::ThinkingSignature(signature) => {
                self.end_thinking(&mut events, flow)?;
                if !std::mem::take(&mut self.unsigned) {
                    events.push(Event::ThinkingSignature(signature));
                }
            }
            Event::RedactedThinking(content) => {
                self.end_thinking(&mut events, flow)?;
                events.push(Event::RedactedThinking(content));
            }
            Event::ToolCall(delta) => {
                self.end_thinking(&mut events, flow)?;
                let delta = self.call(delta, flow)?;
                if delta.id.is_some() || delta.name.is_some() || delta.signature.is_some() || !delta.arguments.is_empty() {
                    events.push(Event::ToolCall(delta));
                }
            }
            Event::Logprobs(mut tokens) => {
                without_words(&mut tokens);
                events.push(Event::Logprobs(tokens));
            }
            Event::Started(_) | Event::Usage(_) | Event::Finish(_) => events.push(event),
        }
        Ok(events)
    }

    fn call(&mut self, delta: ToolCallDelta, flow: &mut Flow<'_, '_>) -> Result<ToolCallDelta, Ended> {
        let at = self.calls.iter().position(|call| call.index == delta.index).unwrap_or_else(|| {
            let pipe = Pipe::new(Channel::ToolArguments);
            self.calls.push(Arguments { index: delta.index, pipe, before: String::new(), after: String::new() });
            self.calls.len() - 1
        });
        let call = &mut self.calls[at];
        call.before.push_str(&delta.arguments);
        let arguments = call.pipe.push(&delta.arguments, flow)?;
        call.after.push_str(&arguments);
        self.cut_by = self.cut_by.or(call.pipe.cut_by);
        Ok(ToolCallDelta { arguments, ..delta })
    }

    /// A signature, and whatever else the model does, is of all that it thought before.
    fn end_thinking(&mut self, events: &mut Vec<Event>, flow: &mut Flow<'_, '_>) -> Result<(), Ended> {
        let Some(mut pipe) = self.thinking.take() else { return Ok(()) };
        let rest = pipe.finish(false, flow)?;
        if !rest.is_empty() {
            events.push(Event::Thinking(rest));
        }
        let before = self.changed.len();
        self.changed.extend(pipe.changed());
        self.unsigned |= self.changed.len() > before || pipe.cut_by.is_some();
        Ok(())
    }

    fn finish(&mut self, flow: &mut Flow<'_, '_>) -> Result<(Vec<Event>, Vec<u32>), Ended> {
        let (mut events, mut unfinished) = (Vec::new(), Vec::new());
        self.end_thinking(&mut events, flow)?;
        let rest = self.text.finish(self.calls.is_empty(), flow)?;
        self.changed.extend(self.text.changed());
        if !rest.is_empty() {
            events.push(Event::Text(rest));
        }
        for call in &mut self.calls {
            let rest = call.pipe.finish(false, flow)?;
            call.after.push_str(&rest);
            if self.cut_by.is_some() && !is_json(&call.after) {
                unfinished.push(call.index);
                continue;
            }
            check_arguments(&call.pipe, &call.before, &call.after)?;
            self.changed.extend(call.pipe.changed());
            if !rest.is_empty() {
                let (id, name, signature) = (None, None, None);
                events.push(Event::ToolCall(ToolCallDelta { index: call.index, id, name, arguments: rest, signature }));
            }
        }
        Ok((events, unfinished))
    }
}
