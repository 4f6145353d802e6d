//! Where the component's exports (as the generated bindings want them) meet the SDK's traits.

use std::cell::RefCell;
use std::marker::PhantomData;

use crate::adapter::{Adapter, EventStream};
use crate::bindings::filter::exports::pg_llm::guest::{describe_filter, prompt, response};
use crate::bindings::provider::exports::pg_llm::guest::{chat, describe};
use crate::filter::{Filter, ResponseFilter, Verdict};
use crate::log;
use crate::types::{Answer, ChatRequest, Event, Failure, Message};

/// The exports of a provider, done by `A`.
pub struct ProviderComponent<A>(PhantomData<A>);

impl<A: Adapter> describe::Guest for ProviderComponent<A> {
    fn describe() -> describe::Description {
        log::report_panics();
        A::describe()
    }
}

impl<A: Adapter> chat::Guest for ProviderComponent<A> {
    type AnswerStream = AnswerStream<A::Stream>;

    fn complete(request: ChatRequest) -> Result<Answer, Failure> {
        log::report_panics();
        A::complete(&request)
    }

    fn stream(request: ChatRequest) -> Result<chat::AnswerStream, Failure> {
        log::report_panics();
        Ok(chat::AnswerStream::new(AnswerStream(RefCell::new(A::stream(&request)?))))
    }
}

/// The resource that the host pulls from. A component has one thread and is not re-entered, so the cell is never borrowed twice.
pub struct AnswerStream<S>(RefCell<S>);

impl<S: EventStream> chat::GuestAnswerStream for AnswerStream<S> {
    fn next(&self) -> Result<Option<Event>, Failure> {
        self.0.borrow_mut().next()
    }
}

/// The exports of a filter, done by `F`.
pub struct FilterComponent<F>(PhantomData<F>);

impl<F: Filter> describe_filter::Guest for FilterComponent<F> {
    fn describe() -> describe_filter::FilterDescription {
        log::report_panics();
        F::describe()
    }
}

impl<F: Filter> prompt::Guest for FilterComponent<F> {
    fn check(config: String, messages: Vec<Message>) -> Result<prompt::PromptVerdict, String> {
        log::report_panics();
        F::prompt(&config, messages)
    }
}

impl<F: Filter> response::Guest for FilterComponent<F> {
    type ResponseFilter = ResponseSide<F>;
}

/// The response side of one call. What the constructor had to say is kept for the first `push`, since a constructor cannot fail in WIT.
pub struct ResponseSide<F: Filter>(RefCell<Result<F::Response, String>>);

impl<F: Filter> ResponseSide<F> {
    fn with(&self, step: impl FnOnce(&mut F::Response) -> Result<Verdict, String>) -> Result<Verdict, String> {
        self.0.borrow_mut().as_mut().map_err(|reason| reason.clone()).and_then(step)
    }
}

impl<F: Filter> response::GuestResponseFilter for ResponseSide<F> {
    fn new(config: String, channel: response::Channel, memo: Option<String>) -> Self {
        log::report_panics();
        Self(RefCell::new(F::response(&config, channel, memo.as_deref())))
    }

    fn push(&self, text: String) -> Result<Verdict, String> {
        self.with(|filter| filter.push(&text))
    }

    fn finish(&self) -> Result<Verdict, String> {
        self.with(ResponseFilter::finish)
    }
}
