//! `pg_llm_chat_stream` and `pg_llm_chat_stream_json`: what is behind them, row by row.

use std::sync::Arc;

use pg_llm_gateway::{AnswerStream, CallError, ChatCall, ChatOptions, Delta, NOTHING, OnError, Route, StreamOutcome};
use pg_llm_sandbox::interrupt::Interrupt;
use serde_json::{Value, json};

use super::model_call;
use super::session_chat::{Pending, Stored};
use crate::backend::calls::{Args, Returned};
use crate::backend::errors::{Failure, SqlError};
use crate::backend::interrupts::MainThread;
use crate::backend::rows::{Rows, sql_set_functions};
use crate::backend::stack;
use crate::catalog::response_cache;

sql_set_functions! {
    pg_llm_chat_stream_wrapper, pg_finfo_pg_llm_chat_stream_wrapper => as_columns;
    pg_llm_chat_stream_json_wrapper, pg_finfo_pg_llm_chat_stream_json_wrapper => as_json;
}

/// A stream that a query pulls.
pub(super) struct Pulled {
    stream: AnswerStream,
    /// The call, where its answer is to be kept.
    to_keep: Option<Box<ChatCall>>,
    /// The turn of a session that it is.
    pub(super) turn: Option<Box<Pending>>,
    stored: Option<Stored>,
    interrupt: Arc<MainThread>,
    on_error: OnError,
}

fn as_columns(args: &Args<'_>) -> Result<Option<Box<dyn Rows>>, Failure> {
    Ok(begin(args, |options| model_call::refuse_error_objects(options.call.on_error, "Use pg_llm_chat_stream_json()."))?.map(columns))
}

fn as_json(args: &Args<'_>) -> Result<Option<Box<dyn Rows>>, Failure> {
    Ok(begin(args, |_| Ok(()))?.map(json_events))
}

/// As the rows of `pg_llm_chat_stream`.
pub(super) fn columns(pulled: Pulled) -> Box<dyn Rows> {
    Box::new(Columns { pulled, seq_no: 0 })
}

/// As the rows of `pg_llm_chat_stream_json`.
pub(super) fn json_events(pulled: Pulled) -> Box<dyn Rows> {
    Box::new(JsonEvents(pulled))
}

/// None for a NULL prompt.
fn begin(args: &Args<'_>, check: impl FnOnce(&ChatOptions) -> Result<(), SqlError>) -> Result<Option<Pulled>, Failure> {
    let Some(prompt) = args.text(1)? else { return Ok(None) };
    let options =
        args.json(2)?.map(|options| ChatOptions::parse_for_stream(&options)).transpose().map_err(SqlError::from)?.unwrap_or_default();
    check(&options)?;
    let route = model_call::resolve_chat(args, &options)?;
    let on_error = model_call::on_error(options.call.on_error, &route);
    Pulled::begin(route, &prompt, options, on_error).map(Some)
}

/// The call as the cache knows it, if it asks for the cache: a stream has the answer that it would have in one piece. A streamed answer has no `raw`, so that
/// none is kept for those who want it.
fn cacheable(route: &Route, prompt: &str, options: &ChatOptions) -> Option<Box<ChatCall>> {
    let defaults = &route.spec.defaults;
    let asked = options.cache.or(defaults.cache).is_some();
    let raw = options.include_raw.or(defaults.include_raw) == Some(true);
    (asked && !raw).then(|| Box::new(ChatCall::new(route.clone(), prompt, options.clone())))
}

impl Pulled {
    /// A stream of this call, which asks when it is first pulled.
    pub(super) fn begin(route: Route, prompt: &str, options: ChatOptions, on_error: OnError) -> Result<Self, Failure> {
        let interrupt = MainThread::sending_rows();
        let to_keep = cacheable(&route, prompt, &options);
        if let Some(call) = &to_keep
            && let Some(outcome) = response_cache::find(call)?
        {
            let stream = AnswerStream::replaying(route, outcome, Arc::clone(&interrupt) as Arc<dyn Interrupt>);
            return Ok(Self::of(stream, interrupt, on_error));
        }
        let stream = AnswerStream::new(route, prompt, options, Arc::clone(&interrupt) as Arc<dyn Interrupt>);
        Ok(Self { to_keep, ..Self::of(stream, interrupt, on_error) })
    }

    fn of(stream: AnswerStream, interrupt: Arc<MainThread>, on_error: OnError) -> Self {
        Self { stream, to_keep: None, turn: None, stored: None, interrupt, on_error }
    }

    /// The next piece. An interrupt is raised; a failure of the call is for the caller to judge.
    fn next(&mut self) -> Result<Result<Option<Delta>, CallError>, Failure> {
        // Each row may be wanted at another depth of the stack.
        stack::check_room()?;
        let next = self.stream.next();
        self.interrupt.settle()?;
        model_call::log_of(self.stream.instance(), &next, |delta| match delta {
            Some(Delta::End(outcome)) => &outcome.chat.log,
            _ => &NOTHING,
        });
        model_call::warn(&self.stream.take_warnings());
        if let (Ok(Some(Delta::End(outcome))), Some(call)) = (&next, &self.to_keep) {
            response_cache::keep(call, &outcome.chat)?;
        }
        if let Ok(Some(Delta::End(outcome))) = &next
            && let Some(turn) = self.turn.take()
        {
            self.stored = Some(turn.store(&outcome.chat)?);
        }
        Ok(next)
    }
}

/// As `TABLE (seq_no, chunk, is_final, model_name, confidence_score, request_id)`.
struct Columns {
    pulled: Pulled,
    seq_no: i32,
}

impl Columns {
    fn row(&mut self, chunk: String, end: Option<&StreamOutcome>) -> Vec<Returned> {
        self.seq_no = self.seq_no.saturating_add(1);
        let stream = &self.pulled.stream;
        vec![
            Returned::Int(self.seq_no),
            Returned::Text(chunk),
            Returned::Bool(end.is_some()),
            Returned::Text(end.map_or_else(|| stream.model_name(), |e| &e.chat.model_name).to_owned()),
            end.and_then(|e| e.confidence).map_or(Returned::Null, Returned::Float),
            Returned::Uuid(stream.request_id().into_bytes()),
        ]
    }
}

impl Rows for Columns {
    fn next(&mut self) -> Result<Option<Vec<Returned>>, Failure> {
        loop {
            match self.pulled.next()? {
                Ok(Some(Delta::Text(text))) => return Ok(Some(self.row(text, None))),
                Ok(Some(Delta::End(outcome))) => return Ok(Some(self.row(String::new(), Some(&outcome)))),
                Ok(Some(Delta::Started | Delta::Thinking(_) | Delta::ToolCall(_))) => {}
                Ok(None) => return Ok(None),
                Err(_) if self.pulled.on_error == OnError::Null => return Ok(None),
                Err(error) => return Err(SqlError::from(error).into()),
            }
        }
    }
}

/// As `SETOF jsonb`.
struct JsonEvents(Pulled);

impl Rows for JsonEvents {
    fn next(&mut self) -> Result<Option<Vec<Returned>>, Failure> {
        let pulled = &mut self.0;
        let event = match pulled.next()? {
            Ok(None) => return Ok(None),
            Ok(Some(delta)) => event(pulled, delta),
            Err(error) => match pulled.on_error {
                OnError::Error => return Err(SqlError::from(error).into()),
                OnError::Null => return Ok(None),
                OnError::Object => error_event(pulled.stream.instance(), error),
            },
        };
        Ok(Some(vec![Returned::Json(event)]))
    }
}

fn event(pulled: &Pulled, delta: Delta) -> Value {
    match delta {
        Delta::Started => json!({
            "type": "started",
            "request_id": pulled.stream.request_id(),
            "instance_name": pulled.stream.instance(),
            "model_name": pulled.stream.model_name(),
            "provider_response_id": pulled.stream.provider_response_id(),
        }),
        Delta::Text(text) => json!({"type": "text", "text": text}),
        Delta::Thinking(text) => json!({"type": "thinking", "text": text}),
        Delta::ToolCall(call) => {
            json!({"type": "tool_call", "index": call.index, "id": call.id, "name": call.name, "arguments": call.arguments})
        }
        Delta::End(outcome) => {
            let mut answer = outcome.to_json();
            if let Some(stored) = &pulled.stored {
                stored.describe(&mut answer);
            }
            of_type("final", answer)
        }
    }
}

/// A failure as the last event.
pub(super) fn error_event(instance: &str, error: CallError) -> Value {
    of_type("error", model_call::error_object(instance, error))
}

fn of_type(kind: &str, mut event: Value) -> Value {
    event["type"] = json!(kind);
    event
}
