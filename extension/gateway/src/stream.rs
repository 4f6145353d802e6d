//! One chat whose answer is handed on piece by piece.

use std::sync::Arc;
use std::time::Duration;

use pg_llm_sandbox::interrupt::Interrupt;
use pg_llm_sandbox::types::{ChatRequest, Event, Started, ToolCallDelta};
use pg_llm_sandbox::{CallError as SandboxCallError, ChatStream, GuestFault};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::admission::estimate;
use crate::assembly::Assembly;
use crate::attempts::Attempts;
use crate::chat::{outcome, request};
use crate::confidence;
use crate::error::CallError;
use crate::kept;
use crate::options::ChatOptions;
use crate::outcome::ChatOutcome;
use crate::route::Route;

/// A streamed answer: asked for when it is first pulled, and over when it is dropped, which closes the connection.
///
/// What fails before the provider's first event is tried again by the rules of [`crate::retry`]; what fails later is not, for pieces of the answer are out.
pub struct AnswerStream {
    request_id: Uuid,
    route: Route,
    options: ChatOptions,
    interrupt: Arc<dyn Interrupt>,
    attempts: Attempts,
    state: State,
    assembly: Assembly,
    /// Most bytes that the events may hold.
    most: u64,
    /// When the first and the latest token came, since the call began.
    tokens: Option<(Duration, Duration)>,
}

enum State {
    Fresh(Box<ChatRequest>),
    /// With its first event, until that is handed on.
    Running(Box<ChatStream>, Option<Event>),
    /// Over an answer that is there already.
    Replaying(std::vec::IntoIter<Delta>),
    Over,
}

/// A piece of a streamed answer.
#[derive(Debug)]
pub enum Delta {
    /// The provider has begun to answer. Comes once, before all others.
    Started,
    /// Of the text.
    Text(String),
    /// Of the model's thinking.
    Thinking(String),
    /// Of a tool call.
    ToolCall(ToolCallDelta),
    /// The whole answer; nothing comes after it.
    End(Box<StreamOutcome>),
}

/// A stream that went to its end.
#[derive(Clone, Debug)]
pub struct StreamOutcome {
    /// All that a whole answer has.
    pub chat: ChatOutcome,
    /// From log probabilities, where they were asked for; 0..=1.
    pub confidence: Option<f64>,
    /// From the call's begin, attempts that failed included, to the first piece of text, thinking or tool call; none when there was none.
    pub time_to_first_token: Option<Duration>,
    /// Output tokens after the first, by the time between the first piece and the last; none where the provider does not count, or it all came at once.
    pub tokens_per_second: Option<f64>,
}

impl AnswerStream {
    /// A stream that has asked for nothing yet; its time runs from here.
    pub fn new(route: Route, prompt: &str, options: ChatOptions, interrupt: Arc<dyn Interrupt>) -> Self {
        let options = options.over(&route.spec.defaults);
        let attempts = Attempts::begin(&route, &options.call);
        let state = State::Fresh(Box::new(request(&route, prompt, &options)));
        let assembly = Assembly::default();
        Self { request_id: Uuid::now_v7(), route, options, interrupt, attempts, state, assembly, most: 0, tokens: None }
    }

    /// A stream of an answer that was kept: each part of it in one piece.
    pub fn replaying(route: Route, outcome: ChatOutcome, interrupt: Arc<dyn Interrupt>) -> Self {
        let mut stream = Self::new(route, "", ChatOptions::default(), interrupt);
        stream.request_id = outcome.request_id;
        stream.assembly.push(&Event::Started(Started { id: outcome.answer.id.clone(), model: Some(outcome.model_name.clone()) }));
        stream.state = State::Replaying(kept::replay(outcome).into_iter());
        stream
    }

    /// Ours, time-ordered (UUID version 7).
    pub fn request_id(&self) -> Uuid {
        self.request_id
    }

    /// The model in the provider's words, once it has said so; before, as configured.
    pub fn model_name(&self) -> &str {
        self.assembly.model().unwrap_or(&self.route.spec.model_name)
    }

    /// The provider's id of the response, once it has said so.
    pub fn provider_response_id(&self) -> Option<&str> {
        self.assembly.id()
    }

    /// The next piece; none after the end, and after an error.
    ///
    /// # Errors
    /// As [`crate::ChatCall::run`]. Pieces that came before it stand.
    #[allow(clippy::should_implement_trait, reason = "an iterator would have to be fused by its user; this one ends by Result<Option>")]
    pub fn next(&mut self) -> Result<Option<Delta>, CallError> {
        loop {
            // What an error leaves is over.
            match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Ok(None),
                State::Replaying(mut deltas) => {
                    let delta = deltas.next();
                    self.state = State::Replaying(deltas);
                    return Ok(delta);
                }
                State::Fresh(request) => {
                    let (stream, first) = self.open(&request)?;
                    // Its model and id go with what is handed on first.
                    let first = if matches!(first, Event::Started(_)) {
                        self.assembly.push(&first);
                        None
                    } else {
                        Some(first)
                    };
                    self.state = State::Running(Box::new(stream), first);
                    return Ok(Some(Delta::Started));
                }
                State::Running(mut stream, first) => {
                    let event = match first {
                        Some(event) => event,
                        None => match stream.next() {
                            Ok(Some(event)) => event,
                            Ok(None) => return self.end(*stream).map(Some),
                            Err(error) => return Err(self.failure(*stream, &error)),
                        },
                    };
                    self.assembly.push(&event);
                    if self.assembly.bytes() > self.most {
                        let fault = GuestFault::Contract(format!("its answer is larger than {} bytes", self.most));
                        return Err(self.failure(*stream, &SandboxCallError::Guest(fault)));
                    }
                    self.state = State::Running(stream, None);
                    if let Some(delta) = self.delta(event) {
                        return Ok(Some(delta));
                    }
                }
            }
        }
    }

    /// The provider's first event, as soon as there is one.
    fn open(&mut self, request: &ChatRequest) -> Result<(ChatStream, Event), CallError> {
        let (provider, most) = (&self.route.provider, &mut self.most);
        self.attempts.expect_tokens(|| estimate::chat(request));
        self.attempts.run(&self.route, &self.interrupt, |grant| {
            *most = grant.limits.response_bytes;
            let mut stream = match provider.stream(grant, request) {
                Ok(stream) => stream,
                Err(outcome) => return (Err(outcome.result.err().unwrap_or(SandboxCallError::Stopped)), outcome.log),
            };
            match stream.next() {
                Ok(Some(event)) => (Ok((stream, event)), Vec::new()),
                Ok(None) => (Err(unfinished()), stream.finish().log),
                Err(error) => (Err(error), stream.finish().log),
            }
        })
    }

    /// What of an event is handed on at once.
    fn delta(&mut self, event: Event) -> Option<Delta> {
        let delta = match event {
            Event::Text(text) => Delta::Text(text),
            Event::Thinking(text) => Delta::Thinking(text),
            Event::ToolCall(call) => Delta::ToolCall(call),
            _ => return None,
        };
        let now = self.attempts.elapsed();
        self.tokens = Some((self.tokens.map_or(now, |(first, _)| first), now));
        Some(delta)
    }

    fn end(&mut self, stream: ChatStream) -> Result<Delta, CallError> {
        if !self.assembly.is_finished() {
            return Err(self.failure(stream, &unfinished()));
        }
        self.attempts.keep(stream.finish().log);
        let output_tokens = self.assembly.output_tokens();
        let answer = std::mem::take(&mut self.assembly).answer();
        self.attempts.answered(answer.usage.as_ref());
        let confidence = confidence::from_logprobs(&answer.logprobs);
        let mut chat = outcome(&self.route, &self.options, answer, &mut self.attempts, &self.interrupt, None)?;
        chat.request_id = self.request_id;
        let tokens_per_second = output_tokens.zip(self.tokens).and_then(|(tokens, (first, last))| rate(tokens, last.saturating_sub(first)));
        Ok(Delta::End(Box::new(StreamOutcome {
            chat,
            confidence,
            time_to_first_token: self.tokens.map(|(first, _)| first),
            tokens_per_second,
        })))
    }

    fn failure(&mut self, stream: ChatStream, error: &SandboxCallError) -> CallError {
        self.attempts.keep(stream.finish().log);
        self.attempts.failure(error)
    }
}

fn unfinished() -> SandboxCallError {
    SandboxCallError::Guest(GuestFault::Contract("its stream ended without the provider's terminal word".to_owned()))
}

/// Tokens after the first, by the time that they took.
fn rate(tokens: u64, took: Duration) -> Option<f64> {
    let after_first = u32::try_from(tokens).ok()?.checked_sub(1).filter(|n| *n > 0)?;
    let rate = f64::from(after_first) / took.as_secs_f64();
    // What arrived in one piece says nothing of speed.
    (took >= Duration::from_millis(1)).then_some(rate)
}

impl StreamOutcome {
    /// What `pg_llm_chat_json` returns, with the stream's times.
    pub fn to_json(&self) -> Value {
        let mut value = self.chat.to_json();
        value["ttft_ms"] = json!(self.time_to_first_token.map(|t| (t.as_secs_f64() * 1e6).round() / 1e3));
        value["tokens_per_second"] = json!(self.tokens_per_second.map(|r| (r * 100.0).round() / 100.0));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_counts_what_came_after_the_first_token_and_needs_time() {
        assert_eq!(rate(11, Duration::from_secs(2)), Some(5.0));
        for (tokens, took) in [(0, 1000), (1, 1000), (100, 0), (u64::MAX, 1000)] {
            assert_eq!(rate(tokens, Duration::from_millis(took)), None, "{tokens} in {took} ms");
        }
    }
}
