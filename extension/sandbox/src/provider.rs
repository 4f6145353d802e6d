//! A loaded provider, and its calls.

use std::sync::Arc;

use wasmtime::component::{Component, HasSelf, Linker, ResourceAny};

use crate::SandboxError;
use crate::call::{Call, CallError, CallState, Grant, GuestFault, Outcome};
use crate::engine::Runtime;
use crate::transport::Agents;
use crate::wit::exports::pg_llm::guest::describe::Description;
use crate::wit::pg_llm::guest::types::{Answer, ChatRequest, Event, FinishReason, MediaSource, Part};
use crate::wit::{Provider as Instance, ProviderPre};

/// A provider's code, linked and ready. Cheap to clone; every call has an instance of its own.
#[derive(Clone)]
pub struct Provider(Arc<Loaded>);

struct Loaded {
    runtime: Runtime,
    agents: Arc<Agents>,
    pre: ProviderPre<CallState>,
}

impl Provider {
    pub(crate) fn link(runtime: &Runtime, agents: &Arc<Agents>, component: &Component) -> Result<Self, SandboxError> {
        let mut linker = Linker::<CallState>::new(&runtime.engine);
        let pre = Instance::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)
            .and_then(|()| linker.instantiate_pre(component))
            .and_then(ProviderPre::new)
            .map_err(|e| SandboxError::Link(format!("{e:#}")))?;
        Ok(Self(Arc::new(Loaded { runtime: runtime.clone(), agents: Arc::clone(agents), pre })))
    }

    /// One whole answer.
    pub fn complete(&self, grant: Grant, request: &ChatRequest) -> Outcome<Answer> {
        let mut call = Call::new(&self.0.runtime, &self.0.agents, grant);
        let result = call.enter(|mut store| {
            let instance = self.0.pre.instantiate(&mut store)?;
            instance.pg_llm_guest_chat().call_complete(&mut store, request)
        });
        let most = call.store.data().limits.response_bytes;
        let result = settle(&call, result).and_then(|answer| {
            if answer_bytes(&answer) <= most {
                return Ok(answer);
            }
            Err(CallError::Guest(GuestFault::Contract(format!("its answer is larger than {most} bytes"))))
        });
        call.finish(result)
    }

    /// A stream of events. Whatever fails before the first event fails here.
    #[allow(clippy::result_large_err, reason = "once a call, and never in a loop")]
    pub fn stream(&self, grant: Grant, request: &ChatRequest) -> Result<ChatStream, Outcome<()>> {
        let mut call = Call::new(&self.0.runtime, &self.0.agents, grant);
        let mut made = None;
        let result = call.enter(|mut store| {
            let instance = self.0.pre.instantiate(&mut store)?;
            let result = instance.pg_llm_guest_chat().call_stream(&mut store, request)?;
            made = Some(instance);
            Ok(result)
        });
        match (settle(&call, result), made) {
            (Ok(stream), Some(instance)) => Ok(ChatStream { call, instance, stream, over: false }),
            (Err(e), _) => Err(call.finish(Err(e))),
            (Ok(_), None) => Err(call.finish(Err(CallError::Host("a stream without its instance".to_owned())))),
        }
    }

    /// What the provider says of itself. For uploads and builds.
    pub fn describe(&self, grant: Grant) -> Outcome<Description> {
        let mut call = Call::new(&self.0.runtime, &self.0.agents, grant);
        let result = call.enter(|mut store| {
            let instance = self.0.pre.instantiate(&mut store)?;
            instance.pg_llm_guest_describe().call_describe(&mut store)
        });
        call.finish(result)
    }
}

/// A running stream: pull it until it yields none, or drop it, which closes the connection.
pub struct ChatStream {
    call: Call,
    instance: Instance,
    stream: ResourceAny,
    over: bool,
}

impl ChatStream {
    /// The next event; none after the last. Nothing comes after an error.
    #[allow(clippy::should_implement_trait, reason = "an iterator would have to be fused by its user; this one ends by Result<Option>")]
    pub fn next(&mut self) -> Result<Option<Event>, CallError> {
        if self.over {
            return Ok(None);
        }
        let (instance, stream) = (&self.instance, self.stream);
        let result = self.call.enter(|store| instance.pg_llm_guest_chat().answer_stream().call_next(store, stream));
        let result = settle(&self.call, result);
        self.over = !matches!(result, Ok(Some(_)));
        result
    }

    /// Ends the stream, wherever it is, and says what it used.
    pub fn finish(self) -> Outcome<()> {
        self.call.finish(Ok(()))
    }
}

/// What of an answer is handed on: as it is copied, escaped and stored further up, it may be no larger than a response.
fn answer_bytes(answer: &Answer) -> u64 {
    let option = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let part = |part: &Part| match part {
        Part::Text(text) => text.len(),
        Part::Image(media) | Part::Document(media) => match &media.source {
            MediaSource::Bytes(bytes) => bytes.len(),
            MediaSource::Url(url) => url.len(),
        },
        Part::ToolCall(call) => call.id.len() + call.name.len() + call.arguments.len() + option(&call.signature),
        Part::ToolResult(result) => result.call_id.len() + result.content.len(),
        Part::Thinking(thinking) => thinking.text.len() + option(&thinking.signature),
    };
    let sum = answer.parts.iter().map(part).sum::<usize>()
        + option(&answer.id)
        + option(&answer.model)
        + answer.finish_reason.as_ref().map_or(0, |reason| if let FinishReason::Other(word) = reason { word.len() } else { 0 })
        + answer.usage.as_ref().map_or(0, |usage| option(&usage.raw))
        + answer.logprobs.iter().map(|token| token.token.len()).sum::<usize>();
    sum as u64
}

/// The guest's result, unless the host ended the call: then that is the result.
fn settle<T>(call: &Call, result: Result<Result<T, crate::wit::pg_llm::guest::types::Failure>, CallError>) -> Result<T, CallError> {
    match result? {
        Ok(answer) => call.host_cause().map_or(Ok(answer), Err),
        Err(failure) => Err(call.host_cause().unwrap_or(CallError::Failed(failure))),
    }
}
