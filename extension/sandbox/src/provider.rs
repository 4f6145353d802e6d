//! A loaded provider, and its calls.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use wasmtime::StoreContextMut;
use wasmtime::component::{Component, HasSelf, Linker, ResourceAny};

use crate::SandboxError;
use crate::call::{Call, CallError, CallState, Grant, GuestFault, Outcome, Usage};
use crate::engine::Runtime;
use crate::limits::Limits;
use crate::terms::Terms;
use crate::transport::Agents;
use crate::wit::embeddings::EmbeddingsProviderPre;
use crate::wit::embeddings::exports::pg_llm::guest::embeddings::{EmbedAnswer, EmbedRequest};
use crate::wit::exports::pg_llm::guest::describe::Description;
use crate::wit::models::ModelsProviderPre;
use crate::wit::models::exports::pg_llm::guest::models::ModelInfo;
use crate::wit::pg_llm::guest::types::{
    Answer, ChatRequest, Event, Failure, FailureKind, FinishReason, MediaSource, Part, TokenLogprob, TopLogprob,
};
use crate::wit::rerank::RerankProviderPre;
use crate::wit::rerank::exports::pg_llm::guest::rerank::{Ranked, RerankAnswer, RerankRequest};
use crate::wit::{Provider as Instance, ProviderPre};

/// A provider's code, linked and ready. Cheap to clone; every call has an instance of its own.
#[derive(Clone)]
pub struct Provider {
    code: Arc<Loaded>,
    terms: Arc<Terms>,
}

struct Loaded {
    runtime: Runtime,
    agents: Arc<Agents>,
    pre: ProviderPre<CallState>,
    optional: Optional,
}

/// Exports beside `describe` and `chat`, looked up when first called: none where the component has no such export.
#[derive(Default)]
struct Optional {
    embeddings: OnceLock<Option<EmbeddingsProviderPre<CallState>>>,
    rerank: OnceLock<Option<RerankProviderPre<CallState>>>,
    models: OnceLock<Option<ModelsProviderPre<CallState>>>,
}

impl Provider {
    pub(crate) fn link(runtime: &Runtime, agents: &Arc<Agents>, component: &Component) -> Result<Self, SandboxError> {
        let mut linker = Linker::<CallState>::new(&runtime.engine);
        let pre = Instance::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)
            .and_then(|()| crate::wasi::link(&mut linker, component))
            .and_then(|()| linker.instantiate_pre(component))
            .and_then(ProviderPre::new)
            .map_err(|e| SandboxError::Link(format!("{e:#}")))?;
        let code = Loaded { runtime: runtime.clone(), agents: Arc::clone(agents), pre, optional: Optional::default() };
        Ok(Self { code: Arc::new(code), terms: Arc::default() })
    }

    /// The same code on these terms.
    #[must_use]
    pub fn on(&self, terms: &Arc<Terms>) -> Self {
        Self { code: Arc::clone(&self.code), terms: Arc::clone(terms) }
    }

    /// What a call that is granted this has in the end: the smaller of each limit, of these and of its terms.
    #[must_use]
    pub fn limited(&self, mut granted: Limits) -> Limits {
        self.terms.tighten(&mut granted);
        granted
    }

    fn call(&self, grant: Grant) -> Call {
        Call::new(&self.code.runtime, &self.code.agents, &self.terms, grant)
    }

    /// One whole answer.
    pub fn complete(&self, grant: Grant, request: &ChatRequest) -> Outcome<Answer> {
        self.once(grant, answer_bytes, |mut store| {
            let instance = self.code.pre.instantiate(&mut store)?;
            instance.pg_llm_guest_chat().call_complete(&mut store, request)
        })
    }

    /// Vectors for texts.
    pub fn embed(&self, grant: Grant, request: &EmbedRequest) -> Outcome<EmbedAnswer> {
        let pre = self.code.optional.embeddings.get_or_init(|| EmbeddingsProviderPre::new(self.code.pre.instance_pre().clone()).ok());
        let Some(pre) = pre else { return unsupported("embeddings") };
        let bytes =
            |answer: &EmbedAnswer| answer.vectors.iter().map(|vector| size_of_val(vector) + size_of_val(&vector[..])).sum::<usize>() as u64;
        self.once(grant, bytes, |mut store| {
            let instance = pre.instantiate(&mut store)?;
            instance.pg_llm_guest_embeddings().call_embed(&mut store, request)
        })
    }

    /// How many inputs a request like this may carry, at least 1.
    pub fn max_embed_inputs(&self, grant: Grant, like: &EmbedRequest) -> Outcome<u32> {
        let pre = self.code.optional.embeddings.get_or_init(|| EmbeddingsProviderPre::new(self.code.pre.instance_pre().clone()).ok());
        let Some(pre) = pre else { return unsupported("embeddings") };
        self.once(
            grant,
            |_| 0,
            |mut store| {
                let instance = pre.instantiate(&mut store)?;
                Ok(Ok(instance.pg_llm_guest_embeddings().call_max_inputs(&mut store, &like.model, &like.settings)?.max(1)))
            },
        )
    }

    /// Documents in the order of their relevance.
    pub fn rerank(&self, grant: Grant, request: &RerankRequest) -> Outcome<RerankAnswer> {
        let pre = self.code.optional.rerank.get_or_init(|| RerankProviderPre::new(self.code.pre.instance_pre().clone()).ok());
        let Some(pre) = pre else { return unsupported("reranking") };
        let bytes = |answer: &RerankAnswer| (answer.results.len() * size_of::<Ranked>()) as u64;
        self.once(grant, bytes, |mut store| {
            let instance = pre.instantiate(&mut store)?;
            instance.pg_llm_guest_rerank().call_rerank(&mut store, request)
        })
    }

    /// The models that the endpoint offers.
    pub fn list_models(&self, grant: Grant, settings: &str) -> Outcome<Vec<ModelInfo>> {
        let pre = self.code.optional.models.get_or_init(|| ModelsProviderPre::new(self.code.pre.instance_pre().clone()).ok());
        let Some(pre) = pre else { return unsupported("a list of models") };
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let bytes = |models: &Vec<ModelInfo>| {
            let bytes = |model: &ModelInfo| size_of::<ModelInfo>() + model.id.len() + text(&model.display_name) + text(&model.raw);
            models.iter().map(bytes).sum::<usize>() as u64
        };
        self.once(grant, bytes, |mut store| {
            let instance = pre.instantiate(&mut store)?;
            instance.pg_llm_guest_models().call_list(&mut store, &settings.to_owned())
        })
    }

    /// One call with an instance of its own, whose result may have no more bytes than a response.
    fn once<T>(
        &self,
        grant: Grant,
        bytes: impl FnOnce(&T) -> u64,
        run: impl FnOnce(StoreContextMut<'_, CallState>) -> wasmtime::Result<Result<T, Failure>>,
    ) -> Outcome<T> {
        let mut call = self.call(grant);
        let result = call.enter(run);
        let most = call.store.data().limits.response_bytes;
        let result = settle(&call, result).and_then(|answer| {
            if bytes(&answer) <= most {
                return Ok(answer);
            }
            Err(CallError::Guest(GuestFault::Contract(format!("its answer is larger than {most} bytes"))))
        });
        call.finish(result)
    }

    /// A stream of events. Whatever fails before the first event fails here.
    #[allow(clippy::result_large_err, reason = "once a call, and never in a loop")]
    pub fn stream(&self, grant: Grant, request: &ChatRequest) -> Result<ChatStream, Outcome<()>> {
        let mut call = self.call(grant);
        let mut made = None;
        let result = call.enter(|mut store| {
            let instance = self.code.pre.instantiate(&mut store)?;
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
        let mut call = self.call(grant);
        let result = call.enter(|mut store| {
            let instance = self.code.pre.instantiate(&mut store)?;
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

    /// Gives the rest of the stream until `deadline`, in place of what its grant said.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.call.store.data().patience.deadline.set(deadline);
    }

    /// Ends the stream, wherever it is, and says what it used.
    pub fn finish(self) -> Outcome<()> {
        self.call.finish(Ok(()))
    }
}

/// What a token takes, its alternatives and what holds them included.
pub fn logprob_bytes(token: &TokenLogprob) -> usize {
    let alternatives = token.alternatives.iter().map(|alternative| size_of::<TopLogprob>() + alternative.token.len());
    size_of::<TokenLogprob>() + token.token.len() + alternatives.sum::<usize>()
}

/// What of an answer is handed on: as it is copied, escaped and stored further up, it may be no larger than a response. Parts without words count too.
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
    let sum = answer.parts.iter().map(|p| size_of::<Part>() + part(p)).sum::<usize>()
        + option(&answer.id)
        + option(&answer.model)
        + answer.finish_reason.as_ref().map_or(0, |reason| if let FinishReason::Other(word) = reason { word.len() } else { 0 })
        + answer.usage.as_ref().map_or(0, |usage| option(&usage.raw))
        + answer.logprobs.iter().map(logprob_bytes).sum::<usize>();
    sum as u64
}

impl Failure {
    /// Of this kind, in words of the host's own, and nothing else known.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, status: None, code: None, message: message.into(), retry_after_ms: None, retryable: None, request_id: None, raw: None }
    }
}

/// The component has no such export.
fn unsupported<T>(what: &str) -> Outcome<T> {
    let failure = Failure::new(FailureKind::Unsupported, format!("its provider has no {what}"));
    Outcome { result: Err(CallError::Failed(failure)), log: Vec::new(), log_dropped: 0, usage: Usage::default() }
}

/// The guest's result, unless the host ended the call: then that is the result.
fn settle<T>(call: &Call, result: Result<Result<T, Failure>, CallError>) -> Result<T, CallError> {
    match result? {
        Ok(answer) => call.host_cause().map_or(Ok(answer), Err),
        Err(failure) => Err(call.host_cause().unwrap_or(CallError::Failed(failure))),
    }
}
