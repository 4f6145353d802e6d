//! A loaded filter, and its calls: the prompt side, and the response side whole or piece by piece.
//!
//! A filter runs as a provider does ([`Call`]): a fresh instance, limits, an interrupt, an [`Outcome`]. It is linked to `log` alone, so that there is no
//! host function through which it could reach the network or a key, whatever stands in its grant. Of what it gives back no more than the grant's
//! `request_bytes` (prompts) and `response_bytes` (answers) is taken.
//!
//! A filter that reports an error of its own fails the call as [`FailureKind::Unsupported`]: nothing that was not filtered is handed on.

use std::sync::Arc;

use wasmtime::component::{Component, HasSelf, Linker, ResourceAny};

use crate::call::{Call, CallError, CallState, Grant, GuestFault, Outcome};
use crate::code_cache::{self, CodeCache, Digest};
use crate::engine::Runtime;
use crate::terms::Terms;
use crate::transport::Agents;
use crate::wit::filter::exports::pg_llm::guest::describe_filter::FilterDescription;
use crate::wit::filter::exports::pg_llm::guest::prompt::PromptVerdict;
use crate::wit::filter::exports::pg_llm::guest::response::{Channel, Verdict};
use crate::wit::filter::{Filter as Instance, FilterPre};
use crate::wit::pg_llm::guest::types::{Failure, FailureKind, MediaSource, Message, Part};
use crate::{Sandbox, SandboxError};

/// A filter's code, linked and ready. Cheap to clone; every call has an instance of its own.
#[derive(Clone)]
pub struct Filter {
    code: Arc<Loaded>,
    terms: Arc<Terms>,
}

struct Loaded {
    runtime: Runtime,
    agents: Arc<Agents>,
    pre: FilterPre<CallState>,
}

impl Sandbox {
    /// Loads a filter's code from the cache.
    pub fn load_filter(&self, cache: &CodeCache, digest: &Digest) -> Result<Filter, SandboxError> {
        let component = cache.load(&self.runtime.engine, digest).ok_or(SandboxError::NotCached)?;
        Filter::link(&self.runtime, &self.agents, &component)
    }

    /// Loads a filter's code that is part of this program, without a copy where it is aligned to a page.
    ///
    /// # Safety
    /// As [`Sandbox::load_artefact`].
    pub unsafe fn load_embedded_filter(&self, artefact: &'static [u8]) -> Result<Filter, SandboxError> {
        // SAFETY: the caller's promise.
        let component = unsafe { code_cache::deserialize_in_place(&self.runtime.engine, artefact) }.map_err(|e| unfit(&e))?;
        Filter::link(&self.runtime, &self.agents, &component)
    }

    /// Loads a filter's code that `compile_filter` made, from memory.
    ///
    /// # Safety
    /// As [`Sandbox::load_artefact`].
    pub unsafe fn load_filter_artefact(&self, artefact: &[u8]) -> Result<Filter, SandboxError> {
        // SAFETY: the caller's promise.
        let component = unsafe { code_cache::deserialize(&self.runtime.engine, artefact) }.map_err(|e| unfit(&e))?;
        Filter::link(&self.runtime, &self.agents, &component)
    }
}

impl Filter {
    pub(crate) fn link(runtime: &Runtime, agents: &Arc<Agents>, component: &Component) -> Result<Self, SandboxError> {
        let mut linker = Linker::<CallState>::new(&runtime.engine);
        let pre = Instance::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)
            .and_then(|()| crate::wasi::link(&mut linker, component))
            .and_then(|()| linker.instantiate_pre(component))
            .and_then(FilterPre::new)
            .map_err(|e| unfit(&e))?;
        let code = Loaded { runtime: runtime.clone(), agents: Arc::clone(agents), pre };
        Ok(Self { code: Arc::new(code), terms: Arc::default() })
    }

    /// The same code on these terms.
    #[must_use]
    pub fn on(&self, terms: &Arc<Terms>) -> Self {
        Self { code: Arc::clone(&self.code), terms: Arc::clone(terms) }
    }

    /// What the filter says of itself. For uploads and builds.
    pub fn describe(&self, grant: Grant) -> Outcome<FilterDescription> {
        let mut call = self.call(grant);
        let result = call.enter(|mut store| {
            let instance = self.code.pre.instantiate(&mut store)?;
            instance.pg_llm_guest_describe_filter().call_describe(&mut store)
        });
        call.finish(result)
    }

    /// What goes to the model. With no messages at all it is how a configuration is checked.
    pub fn prompt(&self, grant: Grant, config: &str, messages: &[Message]) -> Outcome<PromptVerdict> {
        let mut call = self.call(grant);
        let config = config.to_owned();
        let result = call.enter(|mut store| {
            let instance = self.code.pre.instantiate(&mut store)?;
            instance.pg_llm_guest_prompt().call_check(&mut store, &config, messages)
        });
        let most = call.store.data().limits.request_bytes;
        let result = settle(&call, result).and_then(|verdict| sound(verdict, most));
        call.finish(result)
    }

    /// What comes back, piece by piece. `memo` is what [`Self::prompt`] gave with its change.
    #[allow(clippy::result_large_err, reason = "once a call, and never in a loop")]
    pub fn stream(&self, grant: Grant, config: &str, channel: Channel, memo: Option<&str>) -> Result<FilterStream, Outcome<()>> {
        let mut call = self.call(grant);
        let (config, memo) = (config.to_owned(), memo.map(str::to_owned));
        let made = call.enter(|mut store| {
            let instance = self.code.pre.instantiate(&mut store)?;
            let filter =
                instance.pg_llm_guest_response().response_filter().call_constructor(&mut store, &config, channel, memo.as_ref())?;
            Ok((instance, filter))
        });
        let left = call.store.data().limits.response_bytes;
        match made.and_then(|made| call.host_cause().map_or(Ok(made), Err)) {
            Ok((instance, filter)) => Ok(FilterStream { call, instance, filter, left, end: None }),
            Err(e) => Err(call.finish(Err(e))),
        }
    }

    /// A whole answer: what the pieces of one push and its end come to.
    pub fn response(&self, grant: Grant, config: &str, channel: Channel, memo: Option<&str>, text: &str) -> Outcome<Verdict> {
        let mut stream = match self.stream(grant, config, channel, memo) {
            Ok(stream) => stream,
            Err(Outcome { result, log, log_dropped, usage }) => {
                let result = result.and_then(|()| Err(CallError::Host("an instance without its filter".to_owned())));
                return Outcome { result, log, log_dropped, usage };
            }
        };
        let result = stream.push(text).and_then(|verdict| match verdict {
            Verdict::Emit(begin) => Ok(match stream.finish()? {
                Verdict::Emit(rest) => Verdict::Emit(begin + &rest),
                Verdict::Last(rest) => Verdict::Last(begin + &rest),
                Verdict::Block(reason) => Verdict::Block(reason),
            }),
            verdict => Ok(verdict),
        });
        stream.call.finish(result)
    }

    fn call(&self, grant: Grant) -> Call {
        Call::new(&self.code.runtime, &self.code.agents, &self.terms, grant)
    }
}

/// The response side of one channel of one answer.
pub struct FilterStream {
    call: Call,
    instance: Instance,
    filter: ResourceAny,
    /// Bytes that it may still emit.
    left: u64,
    /// How it ended: what it says from then on.
    end: Option<Result<Verdict, CallError>>,
}

impl FilterStream {
    /// What of the text so far is to be handed on. After a [`Verdict::Last`] there is nothing more; a block or an error is said again.
    pub fn push(&mut self, text: &str) -> Result<Verdict, CallError> {
        let (instance, filter) = (&self.instance, self.filter);
        let run = |store: wasmtime::StoreContextMut<'_, CallState>| {
            instance.pg_llm_guest_response().response_filter().call_push(store, filter, text)
        };
        if let Some(end) = &self.end {
            return end.clone();
        }
        let result = self.call.enter(run);
        self.take(result)
    }

    /// What was held back, at the end of the answer.
    pub fn finish(&mut self) -> Result<Verdict, CallError> {
        if let Some(end) = &self.end {
            return end.clone();
        }
        let (instance, filter) = (&self.instance, self.filter);
        let result = self.call.enter(|store| instance.pg_llm_guest_response().response_filter().call_finish(store, filter));
        let result = self.take(result);
        self.end.get_or_insert(Ok(Verdict::Emit(String::new())));
        result
    }

    /// Ends it, wherever it is, and says what it used.
    pub fn end(self) -> Outcome<()> {
        self.call.finish(Ok(()))
    }

    fn take(&mut self, result: Result<Result<Verdict, String>, CallError>) -> Result<Verdict, CallError> {
        let result = settle(&self.call, result).and_then(|verdict| {
            let (Verdict::Emit(text) | Verdict::Last(text) | Verdict::Block(text)) = &verdict;
            match self.left.checked_sub(text.len() as u64) {
                Some(left) => {
                    self.left = left;
                    Ok(verdict)
                }
                None => Err(too_large(self.call.store.data().limits.response_bytes)),
            }
        });
        if matches!(result, Err(CallError::Guest(_))) {
            self.call.misbehaved();
        }
        self.end = match &result {
            Ok(Verdict::Emit(_)) => None,
            Ok(Verdict::Last(_)) => Some(Ok(Verdict::Emit(String::new()))),
            end => Some(end.clone()),
        };
        result
    }
}

/// The guest's result, unless the host ended the call: then that is the result.
fn settle<T>(call: &Call, result: Result<Result<T, String>, CallError>) -> Result<T, CallError> {
    let result = result?;
    if let Some(cause) = call.host_cause() {
        return Err(cause);
    }
    result.map_err(|reason| CallError::Failed(Failure::new(FailureKind::Unsupported, reason)))
}

/// A verdict that keeps to the contract: its memo is JSON, and all of it is no larger than a request may be.
fn sound(verdict: PromptVerdict, most: u64) -> Result<PromptVerdict, CallError> {
    let bytes = match &verdict {
        PromptVerdict::Pass => 0,
        PromptVerdict::Block(reason) => reason.len(),
        PromptVerdict::Change((messages, memo)) => {
            if memo.as_deref().is_some_and(|memo| serde_json::from_str::<serde::de::IgnoredAny>(memo).is_err()) {
                return Err(CallError::Guest(GuestFault::Contract("its memo is not JSON".to_owned())));
            }
            messages.iter().flat_map(|message| &message.parts).map(part_bytes).sum::<usize>() + memo.as_ref().map_or(0, String::len)
        }
    };
    if bytes as u64 > most { Err(too_large(most)) } else { Ok(verdict) }
}

fn part_bytes(part: &Part) -> usize {
    let option = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    // What a part costs beyond its bytes, so that empty ones are not free.
    32 + match part {
        Part::Text(text) => text.len(),
        Part::Image(media) | Part::Document(media) => match &media.source {
            MediaSource::Bytes(bytes) => bytes.len(),
            MediaSource::Url(url) => url.len(),
        },
        Part::ToolCall(call) => call.id.len() + call.name.len() + call.arguments.len() + option(&call.signature),
        Part::ToolResult(result) => result.call_id.len() + option(&result.name) + result.content.len(),
        Part::Thinking(thinking) => thinking.text.len() + option(&thinking.signature),
    }
}

fn too_large(most: u64) -> CallError {
    CallError::Guest(GuestFault::Contract(format!("what it gives back is larger than {most} bytes")))
}

fn unfit(e: &wasmtime::Error) -> SandboxError {
    SandboxError::Link(format!("{e:#}"))
}
