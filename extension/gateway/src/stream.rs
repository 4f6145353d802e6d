//! One chat whose answer is handed on piece by piece.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pg_llm_sandbox::interrupt::Interrupt;
use pg_llm_sandbox::types::{ChatRequest, Event, FinishReason, Started, ToolCallDelta};
use pg_llm_sandbox::{CallError as SandboxCallError, ChatStream, GuestFault, Outcome, Usage as SandboxUsage};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::admission::estimate;
use crate::assembly::Assembly;
use crate::attempts::Attempts;
use crate::chat::{Answered, Original, outcome, request};
use crate::error::{CallError, ErrorKind};
use crate::fallback::{Fallback, Turns};
use crate::filters::{Acted, AnswerFilter, Passage, Surroundings};
use crate::kept;
use crate::ledger::{self, Via};
use crate::options::ChatOptions;
use crate::outcome::ChatOutcome;
use crate::route::Route;

/// A streamed answer: asked for when it is first pulled, and over when it is dropped, which closes the connection.
///
/// What fails before the provider's first event is tried again by the rules of [`crate::retry`], and then with the models that it falls back to
/// ([`crate::fallback`]); what fails later is not, for pieces of the answer are out.
pub struct AnswerStream {
    request_id: Uuid,
    /// The model's name that was called.
    called: String,
    /// The model that is asked, or answers.
    route: Route,
    /// Over its defaults.
    options: ChatOptions,
    instead: Option<Box<Instead>>,
    interrupt: Arc<dyn Interrupt>,
    started: Instant,
    /// It has begun to answer.
    begun: bool,
    attempts: Attempts,
    state: State,
    assembly: Assembly,
    /// Where filters look at the answer.
    filter: Option<Box<AnswerFilter>>,
    /// Filtered, and not handed on yet.
    filtered: VecDeque<Event>,
    /// What filters did.
    acted: Vec<Acted>,
    /// Most bytes that the events may hold.
    most: u64,
    /// When the first and the latest token came, since the call began.
    tokens: Option<(Duration, Duration)>,
}

/// Where other models may answer.
struct Instead {
    original: Box<Original>,
    fallbacks: Vec<Fallback>,
    turns: Turns,
}

/// A stream that a provider has begun.
struct Begun {
    stream: ChatStream,
    /// What came before its first piece.
    assembly: Assembly,
    /// That piece, where it was waited for or came first.
    first: Option<Event>,
    /// Most bytes that the events may hold.
    most: u64,
}

/// A stream that has begun, and the filters that its request went through.
struct Opened {
    begun: Begun,
    passage: Option<Passage>,
}

enum State {
    Fresh(Box<ChatRequest>),
    /// With its first piece, until that is handed on.
    Running(Box<ChatStream>, Option<Event>),
    /// The provider is done, or not waited for any more.
    Ending,
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
    pub fn new(mut route: Route, prompt: &str, options: ChatOptions, interrupt: Arc<dyn Interrupt>) -> Self {
        route.origin = route.origin.another();
        if route.origin.via == Via::Chat {
            route.origin.via = Via::Stream;
        }
        let original = Original::of(&route, prompt, &options);
        let turns = Turns::begin(&route, &options.call);
        let options = options.over(&route.spec.defaults);
        let attempts = match original {
            Some(_) => turns.attempts(&route, &options.call, &route.fallbacks),
            None => Attempts::begin(&route, &options.call),
        }
        .streamed();
        let instead = original.map(|original| Box::new(Instead { original, fallbacks: route.fallbacks.clone(), turns }));
        Self {
            request_id: route.origin.request_id,
            called: route.instance.clone(),
            state: State::Fresh(Box::new(request(&route, prompt, &options))),
            route,
            options,
            instead,
            interrupt,
            started: Instant::now(),
            begun: false,
            attempts,
            assembly: Assembly::default(),
            filter: None,
            filtered: VecDeque::new(),
            acted: Vec::new(),
            most: 0,
            tokens: None,
        }
    }

    /// The model's name that answers, and until one does, that was called.
    pub fn instance(&self) -> &str {
        if self.begun { &self.route.instance } else { &self.called }
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

    /// What the caller is to be warned of by now, once.
    pub fn take_warnings(&mut self) -> Vec<String> {
        self.attempts.take_warnings()
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
                State::Fresh(request) => match self.open(&request) {
                    Ok(Opened { begun: Begun { stream, assembly, first, most }, passage }) => {
                        (self.begun, self.assembly, self.most) = (true, assembly, most);
                        self.filter_with(passage);
                        self.state = State::Running(Box::new(stream), first);
                        return Ok(Some(Delta::Started));
                    }
                    Err(error) => self.state = State::Fresh(Box::new(self.ask_instead(error)?)),
                },
                State::Running(stream, first) => {
                    if let Some(event) = self.filtered.pop_front() {
                        self.state = State::Running(stream, first);
                        if let Some(delta) = self.hand_on(event) {
                            return Ok(Some(delta));
                        }
                    } else if let Some(delta) = self.pull(stream, first)? {
                        return Ok(Some(delta));
                    }
                }
                State::Ending => match self.filtered.pop_front() {
                    Some(event) => {
                        self.state = State::Ending;
                        if let Some(delta) = self.hand_on(event) {
                            return Ok(Some(delta));
                        }
                    }
                    None => return self.end().map(Some),
                },
            }
        }
    }

    /// Takes one event off the provider's stream, or its end, and goes on to the state that follows.
    fn pull(&mut self, mut stream: Box<ChatStream>, first: Option<Event>) -> Result<Option<Delta>, CallError> {
        let next = match first {
            Some(event) => Ok(Some(event)),
            None => stream.next(),
        };
        let event = match next {
            Ok(Some(event)) => event,
            Ok(None) if !self.assembly.is_finished() => return Err(self.failure(*stream, &unfinished())),
            Ok(None) => {
                let _ = self.attempts.take_in(stream.finish());
                return self.finish_filters(false).map(|()| None);
            }
            Err(error) => return Err(self.failure(*stream, &error)),
        };
        self.assembly.count(&event);
        if let Some(error) = self.assembly.too_much(self.most) {
            return Err(self.failure(*stream, &error));
        }
        let Self { filter, route, attempts, interrupt, .. } = self;
        let Some(filter) = filter else {
            self.state = State::Running(stream, None);
            return Ok(self.hand_on(event));
        };
        let began = Instant::now();
        let filtered = filter.event(event, &mut Surroundings { route, attempts, interrupt });
        attempts.account().add_filtering(began.elapsed());
        match filtered {
            Ok(events) => self.filtered.extend(events),
            Err(mut error) => {
                error.log.add_private(stream.finish().log);
                return Err(error);
            }
        }
        if filter.is_cut() {
            // Nobody waits for the rest: the connection is closed before what there is is handed on.
            let _ = self.attempts.take_in(stream.finish());
            self.finish_filters(true)?;
        } else {
            self.state = State::Running(stream, None);
        }
        Ok(None)
    }

    /// Has the filters give what they hold back. An answer that one of them `cut` ends as one that was too long.
    fn finish_filters(&mut self, cut: bool) -> Result<(), CallError> {
        let Self { filter, route, attempts, interrupt, .. } = self;
        if let Some(filter) = filter {
            let rest = filter.finish(&mut Surroundings { route, attempts, interrupt })?;
            self.filtered.extend(rest.events);
            self.assembly.drop_calls(&rest.unfinished);
            self.acted.extend(rest.acted);
        }
        if cut {
            self.filtered.push_back(Event::Finish(FinishReason::Length));
        }
        self.state = State::Ending;
        Ok(())
    }

    /// The answer goes through the filters that its request went through.
    fn filter_with(&mut self, passage: Option<Passage>) {
        match passage.map(AnswerFilter::begin) {
            Some(Ok(filter)) => {
                self.assembly.without_words();
                self.filter = Some(Box::new(filter));
            }
            Some(Err(mut passage)) => self.acted = passage.take_acted(),
            None => {}
        }
    }

    /// A stream of the provider, as soon as it has begun: with its first event, or with its first piece where it matters whether one comes.
    fn open(&mut self, request: &ChatRequest) -> Result<Opened, CallError> {
        let mut passage = Passage::begin(&self.route);
        let request = match &mut passage {
            Some(passage) => {
                let Self { route, attempts, interrupt, .. } = self;
                let began = Instant::now();
                let request = passage.request(request, &mut Surroundings { route, attempts, interrupt });
                attempts.account().add_filtering(began.elapsed());
                &*request?
            }
            None => request,
        };
        let patience = self.options.first_token_timeout;
        let whole_piece = patience.is_some() || self.instead.is_some();
        self.attempts.expect_tokens(|| estimate::chat(request));
        self.attempts.account().asks(|| ledger::conversation(&request.messages));
        let (provider, deadline) = (&self.route.provider, self.attempts.deadline());
        let begun = self.attempts.run(&self.route, &self.interrupt, |mut grant| {
            let most = grant.limits.response_bytes;
            grant.deadline = patience.map_or(deadline, |patience| deadline.min(Instant::now() + patience));
            let mut stream = match provider.stream(grant, request) {
                Ok(stream) => stream,
                Err(outcome) => {
                    let error = outcome.result.err().unwrap_or(SandboxCallError::Stopped);
                    return Outcome { result: Err(error), log: outcome.log, log_dropped: 0, usage: outcome.usage };
                }
            };
            match begin(&mut stream, whole_piece, most) {
                Ok((assembly, first)) => {
                    stream.set_deadline(deadline);
                    let begun = Begun { stream, assembly, first, most };
                    // What it uses is known at its end.
                    Outcome { result: Ok(begun), log: Vec::new(), log_dropped: 0, usage: SandboxUsage::default() }
                }
                Err(error) => {
                    let ended = stream.finish();
                    Outcome { result: Err(error), log: ended.log, log_dropped: 0, usage: ended.usage }
                }
            }
        });
        begun.map(|begun| Opened { begun, passage }).map_err(|error| match patience {
            Some(patience) if error.kind == ErrorKind::TimedOut && Instant::now() < deadline => {
                error.no_first_token(&self.route.instance, patience)
            }
            _ => error,
        })
    }

    /// Turns to the next model, and gives back what it is to be asked.
    ///
    /// # Errors
    /// `error`, where there is none.
    fn ask_instead(&mut self, error: CallError) -> Result<ChatRequest, CallError> {
        let Some(Instead { original, fallbacks, turns }) = self.instead.as_deref_mut() else { return Err(error) };
        if error.kind == ErrorKind::Cancelled {
            return Err(error);
        }
        let another = error.may_fall_back;
        turns.failed(&self.route.instance, error);
        let Some(route) = another.then(|| turns.next(fallbacks)).flatten() else { return Err(turns.take_error()) };
        let options = original.options.clone().over(&route.spec.defaults);
        self.attempts.account().end(false);
        self.attempts = turns.attempts(route, &options.call, fallbacks).streamed();
        let request = request(route, &original.prompt, &options);
        (self.route, self.options) = (route.clone(), options);
        Ok(request)
    }

    /// Adds an event to the answer. What of it is handed on at once.
    fn hand_on(&mut self, event: Event) -> Option<Delta> {
        self.assembly.push(&event);
        let delta = match event {
            Event::Text(text) => Delta::Text(text),
            Event::Thinking(text) => Delta::Thinking(text),
            Event::ToolCall(call) => Delta::ToolCall(call),
            _ => return None,
        };
        let now = self.started.elapsed();
        self.tokens = Some((self.tokens.map_or(now, |(first, _)| first), now));
        Some(delta)
    }

    fn end(&mut self) -> Result<Delta, CallError> {
        let output_tokens = self.assembly.output_tokens();
        let answer = std::mem::take(&mut self.assembly).answer();
        self.attempts.answered(answer.usage.as_ref());
        self.attempts.account().describe(&answer);
        self.attempts.account().says(|| ledger::answer_text(&answer.parts));
        let answered = Answered { answer, acted: std::mem::take(&mut self.acted) };
        let mut chat = outcome(&self.route, &self.options, answered, &mut self.attempts, &self.interrupt, None)?;
        if let Some(instead) = self.instead.take() {
            chat = instead.turns.answer(chat);
        }
        let confidence = chat.confidence();
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
        let _ = self.attempts.take_in(stream.finish());
        self.attempts.failure(error)
    }
}

/// Pulls a stream until it has begun, and gives back what came before its first piece, and that.
fn begin(stream: &mut ChatStream, whole_piece: bool, most: u64) -> Result<(Assembly, Option<Event>), SandboxCallError> {
    let mut assembly = Assembly::default();
    loop {
        let Some(event) = stream.next()? else {
            // An answer of no words is one.
            return if assembly.is_finished() { Ok((assembly, None)) } else { Err(unfinished()) };
        };
        if is_piece(&event) {
            return Ok((assembly, Some(event)));
        }
        assembly.count(&event);
        assembly.push(&event);
        if let Some(error) = assembly.too_much(most) {
            return Err(error);
        }
        if !whole_piece {
            return Ok((assembly, None));
        }
    }
}

/// Whether an event holds a part of the answer.
fn is_piece(event: &Event) -> bool {
    match event {
        Event::Text(text) | Event::Thinking(text) => !text.is_empty(),
        Event::ToolCall(_) | Event::RedactedThinking(_) => true,
        Event::Started(_) | Event::ThinkingSignature(_) | Event::Logprobs(_) | Event::Usage(_) | Event::Finish(_) => false,
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
