//! Sending a [`Provider`]'s request and feeding it the response: the only place of the SDK that does I/O, through a [`Transport`] so that it is
//! tested natively too.

use std::collections::VecDeque;
use std::marker::PhantomData;

use crate::Description;
use crate::adapter::{Adapter, EventStream};
use crate::bindings::provider::pg_llm::guest::http as host;
use crate::http::{Headers, HttpError, HttpRequest, HttpResponse, ResponseHead};
use crate::provider::{Mode, Progress, Provider, StreamDecoder};
use crate::types::{Answer, ChatRequest, Event, Failure, FailureKind};

/// The longest body that is read whole. The host's own limit is usually lower.
pub const MAX_BODY: usize = 64 * 1024 * 1024;

/// How much of an error's body is read. What it says beyond that nobody reads.
pub const MAX_ERROR_BODY: usize = 64 * 1024;

/// What is asked of the host at a time.
const READ: u32 = 64 * 1024;

/// Something that sends requests: the [`Host`], or a test's script.
pub trait Transport: 'static {
    /// A body that arrives.
    type Body: Body;

    /// Sends, and waits for the head of the response.
    fn send(request: &HttpRequest) -> Result<(ResponseHead, Self::Body), HttpError>;
}

/// The body of a response.
pub trait Body: 'static {
    /// At most `max` further bytes, as soon as there are any; an empty list is the end.
    fn read(&mut self, max: u32) -> Result<Vec<u8>, HttpError>;
}

/// The host that runs this component. Natively there is none, and sending fails.
#[derive(Clone, Copy, Debug)]
pub enum Host {}

impl Transport for Host {
    type Body = host::Response;

    fn send(request: &HttpRequest) -> Result<(ResponseHead, Self::Body), HttpError> {
        if cfg!(not(target_arch = "wasm32")) {
            return Err(HttpError::Refused("there is no host in a native build; give the provider a transport of the test kit".to_owned()));
        }
        let response = host::send(request)?;
        Ok((ResponseHead { status: response.status(), headers: Headers(response.headers()) }, response))
    }
}

impl Body for host::Response {
    fn read(&mut self, max: u32) -> Result<Vec<u8>, HttpError> {
        host::Response::read(self, max)
    }
}

/// The adapter that a [`Provider`] is, over HTTP.
#[derive(Clone, Copy, Debug)]
pub struct Http<P, T = Host>(PhantomData<(P, T)>);

impl<P: Provider, T: Transport> Adapter for Http<P, T> {
    type Stream = Running<P::Stream, T::Body>;

    fn describe() -> Description {
        P::describe()
    }

    fn complete(request: &ChatRequest) -> Result<Answer, Failure> {
        let http = P::encode(request, Mode::Whole)?;
        whole::<T, _>(&http, |response| P::decode(request, response), |response, failure| P::refine(request, response, failure))
    }

    fn stream(request: &ChatRequest) -> Result<Self::Stream, Failure> {
        let http = P::encode(request, Mode::Stream)?;
        let (head, body) = open::<T>(&http, &mut |response, failure| P::refine(request, response, failure))?;
        let decoder = P::decoder(request, &head).map_err(|failure| of(&head, failure))?;
        Ok(Running { decoder, head, body: Some(body), queue: VecDeque::new(), failure: None, finished: false })
    }
}

/// Sends a request, reads the response to its end, and has it decoded.
pub(crate) fn whole<T: Transport, R>(
    request: &HttpRequest,
    decode: impl FnOnce(&HttpResponse) -> Result<R, Failure>,
    mut refine: impl FnMut(&HttpResponse, &mut Failure),
) -> Result<R, Failure> {
    let response = fetch::<T>(request, &mut refine)?;
    decode(&response).map_err(|failure| of(&response.head, failure))
}

/// What improves a failure. Behind a pointer, so that what sends and reads is there once, and not once a capability.
type Refine<'a> = &'a mut dyn FnMut(&HttpResponse, &mut Failure);

fn fetch<T: Transport>(request: &HttpRequest, refine: Refine<'_>) -> Result<HttpResponse, Failure> {
    let (head, body) = open::<T>(request, refine)?;
    read_whole(head, body)
}

fn read_whole<B: Body>(head: ResponseHead, mut body: B) -> Result<HttpResponse, Failure> {
    let mut bytes = Vec::new();
    loop {
        let chunk = body.read(READ).map_err(|error| of(&head, error.into()))?;
        if chunk.is_empty() {
            return Ok(HttpResponse { head, body: bytes });
        }
        if bytes.len() + chunk.len() > MAX_BODY {
            return Err(of(&head, Failure::new(FailureKind::TooLarge, format!("the response is longer than {MAX_BODY} bytes"))));
        }
        bytes.extend(chunk);
    }
}

/// Sends the request; a response that is no success is a failure.
fn open<T: Transport>(request: &HttpRequest, refine: Refine<'_>) -> Result<(ResponseHead, T::Body), Failure> {
    let (head, mut body) = T::send(request)?;
    if head.is_success() {
        return Ok((head, body));
    }
    let mut bytes = Vec::new();
    while bytes.len() < MAX_ERROR_BODY {
        match body.read(READ) {
            Ok(chunk) if !chunk.is_empty() => bytes.extend(chunk),
            // The status says enough: what cannot be read of its body is no other failure. A cancelled call is.
            Err(HttpError::Cancelled) => return Err(of(&head, HttpError::Cancelled.into())),
            Ok(_) | Err(_) => break,
        }
    }
    bytes.truncate(MAX_ERROR_BODY);
    let response = HttpResponse { head, body: bytes };
    let mut failure = Failure::of_response(&response);
    refine(&response, &mut failure);
    Err(failure)
}

/// Adds what the head of the response tells of a failure that came later.
fn of(head: &ResponseHead, mut failure: Failure) -> Failure {
    failure.status.get_or_insert(head.status);
    if failure.request_id.is_none() {
        failure.request_id = head.request_id().map(str::to_owned);
    }
    failure
}

/// A running response: reads as the host pulls.
#[derive(Debug)]
pub struct Running<D, B> {
    decoder: D,
    head: ResponseHead,
    /// Absent at the end.
    body: Option<B>,
    queue: VecDeque<Event>,
    /// To be delivered after the queue.
    failure: Option<Failure>,
    /// Whether the provider's terminal word was seen.
    finished: bool,
}

impl<D: StreamDecoder, B: Body> Running<D, B> {
    /// Reads once. Whatever ends the stream takes the body away.
    fn advance(&mut self, body: &mut B) -> Result<Progress, Failure> {
        let bytes = body.read(READ)?;
        let mut events = Vec::new();
        let outcome = if bytes.is_empty() {
            self.decoder.finish(&mut events).map(|()| Progress::Done)
        } else {
            self.decoder.push(&bytes, &mut events)
        };
        for event in events {
            self.finished |= matches!(event, Event::Finish(_));
            if !matches!(&event, Event::Text(text) | Event::Thinking(text) if text.is_empty()) {
                self.queue.push_back(event);
            }
        }
        match outcome {
            Ok(Progress::Done) if !self.finished => {
                Err(Failure::new(FailureKind::Broken, "the stream ended before the answer was complete"))
            }
            outcome => outcome,
        }
    }
}

impl<D: StreamDecoder, B: Body> EventStream for Running<D, B> {
    fn next(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(Some(event));
            }
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            let Some(mut body) = self.body.take() else { return Ok(None) };
            match self.advance(&mut body) {
                Ok(Progress::More) => self.body = Some(body),
                Ok(Progress::Done) => {}
                Err(failure) => self.failure = Some(of(&self.head, failure)),
            }
        }
    }
}
