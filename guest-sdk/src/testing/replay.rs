//! Recorded responses, cut as one likes, through the code that runs in the sandbox.

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::adapter::{Adapter, EventStream};
use crate::embeddings::{self, EmbedAnswer, EmbedRequest, Embeddings};
use crate::exchange::{Body, Http, Transport};
use crate::http::{HttpError, HttpRequest, HttpResponse, ResponseHead};
use crate::models::{self, ModelInfo, Models};
use crate::provider::Provider;
use crate::rerank::{self, Rerank, RerankAnswer, RerankRequest};
use crate::types::{Answer, ChatRequest, Event, Failure, Part, Thinking, ToolCall, ToolCallDelta};

/// A [`Transport`] that answers what the test told it to, one response a request, in order. The script belongs to the test's thread.
#[derive(Clone, Copy, Debug)]
pub enum Script {}

#[derive(Default)]
struct State {
    responses: VecDeque<(ResponseHead, Vec<Vec<u8>>, Option<HttpError>)>,
    sent: Vec<HttpRequest>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

impl Script {
    /// The next response: its head, its body in these pieces, and how it ends (with an error, or properly).
    pub fn respond(head: ResponseHead, pieces: Vec<Vec<u8>>, end: Option<HttpError>) {
        // An empty piece would be the end.
        let pieces = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        STATE.with_borrow_mut(|state| state.responses.push_back((head, pieces, end)));
    }

    /// Forgets responses that nobody asked for, and what was sent.
    pub fn reset() {
        STATE.with_borrow_mut(|state| *state = State::default());
    }

    /// What was sent since this was last asked.
    pub fn sent() -> Vec<HttpRequest> {
        STATE.with_borrow_mut(|state| std::mem::take(&mut state.sent))
    }
}

impl Transport for Script {
    type Body = Pieces;

    fn send(request: &HttpRequest) -> Result<(ResponseHead, Pieces), HttpError> {
        STATE.with_borrow_mut(|state| {
            state.sent.push(request.clone());
            let (head, pieces, end) =
                state.responses.pop_front().ok_or_else(|| HttpError::Connect("the script has no further response".to_owned()))?;
            Ok((head, Pieces { pieces: pieces.into(), end }))
        })
    }
}

/// Body of a scripted response.
#[derive(Debug)]
pub struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    end: Option<HttpError>,
}

impl Body for Pieces {
    fn read(&mut self, max: u32) -> Result<Vec<u8>, HttpError> {
        let Some(mut piece) = self.pieces.pop_front() else { return self.end.take().map_or(Ok(Vec::new()), Err) };
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        if piece.len() > max {
            self.pieces.push_front(piece.split_off(max));
        }
        Ok(piece)
    }
}

/// What came of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The events, in order.
    pub events: Vec<Event>,
    /// What ended the stream, if it did not end well.
    pub failure: Option<Failure>,
}

impl Outcome {
    /// The events put together to a whole answer.
    pub fn answer(&self) -> Answer {
        assemble(&self.events)
    }
}

/// Pulls a provider's stream to its end, over a response of these pieces.
pub fn decode_stream<P: Provider>(request: &ChatRequest, head: ResponseHead, pieces: Vec<Vec<u8>>) -> Outcome {
    Script::respond(head, pieces, None);
    let mut events = Vec::new();
    let failure = match Http::<P, Script>::stream(request) {
        Err(failure) => Some(failure),
        Ok(mut stream) => loop {
            match stream.next() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break None,
                Err(failure) => break Some(failure),
            }
        },
    };
    Script::sent();
    Outcome { events, failure }
}

/// Decodes a whole response, as the sandbox would.
pub fn decode_whole<P: Provider>(request: &ChatRequest, response: HttpResponse) -> Result<Answer, Failure> {
    Script::respond(response.head, vec![response.body], None);
    let answer = Http::<P, Script>::complete(request);
    Script::sent();
    answer
}

/// Decodes a response to a request for embeddings, as the sandbox would.
pub fn decode_embed<P: Embeddings>(request: &EmbedRequest, response: HttpResponse) -> Result<EmbedAnswer, Failure> {
    Script::respond(response.head, vec![response.body], None);
    let answer = embeddings::embed::<P, Script>(request);
    Script::sent();
    answer
}

/// Decodes a response to a request to rerank, as the sandbox would.
pub fn decode_rerank<P: Rerank>(request: &RerankRequest, response: HttpResponse) -> Result<RerankAnswer, Failure> {
    Script::respond(response.head, vec![response.body], None);
    let answer = rerank::rerank::<P, Script>(request);
    Script::sent();
    answer
}

/// Decodes the pages of a list of models, as the sandbox would.
pub fn decode_list<P: Models>(settings: &str, pages: Vec<HttpResponse>) -> Result<Vec<ModelInfo>, Failure> {
    for page in pages {
        Script::respond(page.head, vec![page.body], None);
    }
    let models = models::list::<P, Script>(settings);
    Script::reset();
    models
}

/// `bytes` in pieces of `size`.
pub fn in_chunks(bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
    bytes.chunks(size.max(1)).map(<[u8]>::to_vec).collect()
}

/// `bytes` in two pieces, cut at every position in turn.
pub fn every_cut(bytes: &[u8]) -> impl Iterator<Item = Vec<Vec<u8>>> + '_ {
    (0..=bytes.len()).map(|at| vec![bytes[..at].to_vec(), bytes[at..].to_vec()])
}

/// Puts events together to a whole answer, as the host does.
pub fn assemble(events: &[Event]) -> Answer {
    let mut answer = Answer::default();
    let mut calls: Vec<(u32, ToolCall)> = Vec::new();
    for event in events {
        match event {
            Event::Started(started) => {
                answer.id.clone_from(&started.id);
                answer.model.clone_from(&started.model);
            }
            Event::Text(text) => match answer.parts.last_mut() {
                Some(Part::Text(so_far)) => so_far.push_str(text),
                _ => answer.parts.push(Part::Text(text.clone())),
            },
            Event::Thinking(text) => match answer.parts.last_mut() {
                Some(Part::Thinking(thinking)) if !thinking.redacted && thinking.signature.is_none() => thinking.text.push_str(text),
                _ => answer.parts.push(Part::Thinking(Thinking { text: text.clone(), signature: None, redacted: false })),
            },
            Event::ThinkingSignature(signature) => match answer.parts.last_mut() {
                Some(Part::Thinking(thinking)) if !thinking.redacted && thinking.signature.is_none() => {
                    thinking.signature = Some(signature.clone());
                }
                _ => {
                    answer.parts.push(Part::Thinking(Thinking {
                        text: String::new(),
                        signature: Some(signature.clone()),
                        redacted: false,
                    }));
                }
            },
            Event::RedactedThinking(content) => {
                answer.parts.push(Part::Thinking(Thinking { text: String::new(), signature: Some(content.clone()), redacted: true }));
            }
            Event::ToolCall(delta) => add_delta(&mut calls, delta),
            Event::Logprobs(tokens) => answer.logprobs.extend(tokens.iter().cloned()),
            Event::Usage(usage) => answer.usage = Some(usage.clone()),
            Event::Finish(reason) => answer.finish_reason = Some(reason.clone()),
        }
    }
    answer.parts.extend(calls.into_iter().map(|(_, call)| Part::ToolCall(call)));
    answer
}

fn add_delta(calls: &mut Vec<(u32, ToolCall)>, delta: &ToolCallDelta) {
    let at = calls.iter().position(|(index, _)| *index == delta.index).unwrap_or_else(|| {
        calls.push((delta.index, ToolCall { id: String::new(), name: String::new(), arguments: String::new(), signature: None }));
        calls.len() - 1
    });
    let call = &mut calls[at].1;
    if let Some(id) = &delta.id {
        call.id.clone_from(id);
    }
    if let Some(name) = &delta.name {
        call.name.clone_from(name);
    }
    call.arguments.push_str(&delta.arguments);
    if delta.signature.is_some() {
        call.signature.clone_from(&delta.signature);
    }
}
