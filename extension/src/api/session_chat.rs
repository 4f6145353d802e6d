//! `pg_llm_multi_turn_chat` and its like: a turn of a session.
//!
//! The session's row is locked before the call and until the transaction ends, so that the next caller sees this turn. What is said is stored after the call has gone
//! well and in the same transaction: what fails, or is cancelled or rolled back, leaves the session as it was.

use std::iter;
use std::sync::Arc;

use pg_llm_gateway::history::{self, History, SessionOptions, Turn};
use pg_llm_gateway::ledger::{Origin, Via};
use pg_llm_gateway::{CallError, ChatCall, ChatOutcome, OnError, Route};
use serde_json::Value;

use super::chat_stream::{self, Pulled};
use super::sessions::check_writable;
use super::{chat, model_call, required};
use crate::backend::calls::{Args, Returned, sql_functions};
use crate::backend::errors::{Failure, SqlError};
use crate::backend::privileges;
use crate::backend::rows::{Rows, ready, sql_set_functions};
use crate::catalog::sessions::{self, Summary};

sql_functions! {
    pg_llm_multi_turn_chat_wrapper, pg_finfo_pg_llm_multi_turn_chat_wrapper => chat_text;
    pg_llm_multi_turn_chat_json_wrapper, pg_finfo_pg_llm_multi_turn_chat_json_wrapper => chat_json;
}
sql_set_functions! {
    pg_llm_multi_turn_chat_stream_wrapper, pg_finfo_pg_llm_multi_turn_chat_stream_wrapper => stream_columns;
    pg_llm_multi_turn_chat_stream_json_wrapper, pg_finfo_pg_llm_multi_turn_chat_stream_json_wrapper => stream_json;
}

/// `(instance_name, session_id, prompt)` and `(instance_name, session_id, prompt, options)`.
fn chat_text(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(asked) = Asked::of(args, false)? else { return Ok(Returned::Null) };
    model_call::refuse_error_objects(
        asked.turn.options().call.on_error,
        "Use pg_llm_multi_turn_chat_json(), or \"null\": an error is never text in the answer.",
    )?;
    match asked.answered()? {
        Ended { result: Ok((outcome, _)), .. } => Ok(Returned::Text(outcome.text())),
        Ended { result: Err(_), on_error: OnError::Null, .. } => Ok(Returned::Null),
        Ended { result: Err(error), .. } => Err(SqlError::from(error).into()),
    }
}

/// `(instance_name, session_id, prompt, options)`.
fn chat_json(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(asked) = Asked::of(args, false)? else { return Ok(Returned::Null) };
    let ended = asked.answered()?;
    match (ended.result, ended.on_error) {
        (Ok((outcome, stored)), _) => {
            let mut answer = outcome.to_json();
            stored.describe(&mut answer);
            Ok(Returned::Json(answer))
        }
        (Err(error), OnError::Error) => Err(SqlError::from(error).into()),
        (Err(_), OnError::Null) => Ok(Returned::Null),
        (Err(error), OnError::Object) => Ok(Returned::Json(model_call::error_object(&ended.instance, error))),
    }
}

/// The same arguments.
fn stream_columns(args: &Args<'_>) -> Result<Option<Box<dyn Rows>>, Failure> {
    let Some(asked) = Asked::of(args, true)? else { return Ok(None) };
    model_call::refuse_error_objects(asked.turn.options().call.on_error, "Use pg_llm_multi_turn_chat_stream_json().")?;
    let on_error = asked.on_error;
    match asked.streamed()? {
        Ok(pulled) => Ok(Some(chat_stream::columns(pulled))),
        Err(_) if on_error == OnError::Null => Ok(None),
        Err(error) => Err(SqlError::from(error).into()),
    }
}

/// The same arguments.
fn stream_json(args: &Args<'_>) -> Result<Option<Box<dyn Rows>>, Failure> {
    let Some(asked) = Asked::of(args, true)? else { return Ok(None) };
    let (on_error, instance) = (asked.on_error, asked.route.instance.clone());
    match (asked.streamed()?, on_error) {
        (Ok(pulled), _) => Ok(Some(chat_stream::json_events(pulled))),
        (Err(error), OnError::Error) => Err(SqlError::from(error).into()),
        (Err(_), OnError::Null) => Ok(None),
        (Err(error), OnError::Object) => Ok(ready(vec![vec![Returned::Json(chat_stream::error_event(&instance, error))]])),
    }
}

/// A turn that is to be made, of a session that is locked.
struct Asked {
    route: Route,
    on_error: OnError,
    turn: Turn,
    session: sessions::Locked,
    summarize: bool,
}

/// A turn that was made, or failed beyond Postgres.
struct Ended {
    result: Result<(ChatOutcome, Stored), CallError>,
    instance: String,
    on_error: OnError,
}

impl Asked {
    /// None for a NULL prompt. All that is wrong with the arguments, or with the transaction, is known before anything is paid for.
    fn of(args: &Args<'_>, streamed: bool) -> Result<Option<Self>, Failure> {
        let Some(prompt) = args.text(2)? else { return Ok(None) };
        let session = required(args.text(1)?, "session_id")?;
        let options = args.json(3)?.map(|options| SessionOptions::parse(&options, streamed)).transpose().map_err(SqlError::from)?;
        let SessionOptions { chat, summarize } = options.unwrap_or_default();
        let turn = Turn::new(prompt, chat).map_err(SqlError::from)?;
        check_writable()?;
        let mut route = model_call::resolve_chat(args, turn.options())?;
        let on_error = model_call::on_error(turn.options().call.on_error, &route);
        let session = sessions::lock(&session, privileges::current_role())?;
        route.origin = Origin { session: Some(session.id.clone()), ..Origin::of(Via::Session) };
        Ok(Some(Self { route, on_error, turn, session, summarize }))
    }

    /// What goes along with the prompt, and the summary that was made for it. A call for a summary that fails is the turn's failure.
    fn history(&self) -> Result<Result<(History, Option<Made>), CallError>, Failure> {
        let recent = sessions::recent(&self.session, self.summarize)?;
        let mut history = History::new(recent.messages, recent.whole, self.session.summary.clone());
        history.check_tools(&self.turn).map_err(SqlError::from)?;
        let most = self.session.max_messages;
        let mut made = None;
        if self.summarize
            && let Some(summary) = history.summarize(&self.route, &self.turn, most)
        {
            let outcome = match chat::answered(&summary.call)? {
                Ok(outcome) => outcome,
                Err(error) => return Ok(Err(error)),
            };
            let text = outcome.text().trim().to_owned();
            if !text.is_empty() {
                history.replace(summary.up_to, text.clone());
                made = Some(Made { text, up_to: summary.up_to, outcome });
            }
        }
        history.trim(&self.route, &self.turn, most);
        Ok(Ok((history, made)))
    }

    fn answered(self) -> Result<Ended, Failure> {
        let (on_error, instance) = (self.on_error, self.route.instance.clone());
        let ended = |result| Ok(Ended { result, instance, on_error });
        let (history, summary) = match self.history()? {
            Ok(history) => history,
            Err(error) => return ended(Err(error)),
        };
        let prepared = history.prepare(&self.turn, &self.route.model_type);
        let pending = Pending { session: self.session.id, turn: self.turn, types: types(&self.route), earlier: prepared.earlier, summary };
        let call = ChatCall::new(self.route, &prepared.prompt, prepared.options);
        match chat::answered(&call)? {
            Ok(outcome) => {
                let stored = pending.store(&outcome)?;
                ended(Ok((outcome, stored)))
            }
            Err(error) => ended(Err(error)),
        }
    }

    fn streamed(self) -> Result<Result<Pulled, CallError>, Failure> {
        let (history, summary) = match self.history()? {
            Ok(history) => history,
            Err(error) => return Ok(Err(error)),
        };
        let prepared = history.prepare(&self.turn, &self.route.model_type);
        let pending = Pending { session: self.session.id, turn: self.turn, types: types(&self.route), earlier: prepared.earlier, summary };
        let mut pulled = Pulled::begin(self.route, &prepared.prompt, prepared.options, self.on_error)?;
        pulled.turn = Some(Box::new(pending));
        Ok(Ok(pulled))
    }
}

/// The models that may answer, each with its type.
fn types(route: &Route) -> Vec<(String, Arc<str>)> {
    let fallbacks = route.fallbacks.iter().filter_map(|fallback| fallback.route.as_ref().ok());
    iter::once(route).chain(fallbacks).map(|route| (route.instance.clone(), Arc::clone(&route.model_type))).collect()
}

/// A summary that was made for a turn.
struct Made {
    text: String,
    up_to: i64,
    outcome: ChatOutcome,
}

/// A turn whose answer is on its way.
pub(super) struct Pending {
    session: String,
    turn: Turn,
    types: Vec<(String, Arc<str>)>,
    /// How many earlier messages went along.
    earlier: usize,
    summary: Option<Made>,
}

impl Pending {
    /// Stores the turn, now that it has ended well.
    pub(super) fn store(self, outcome: &ChatOutcome) -> Result<Stored, Failure> {
        let summary = self.summary.as_ref().map(|made| Summary { text: &made.text, up_to: made.up_to });
        let answering = self.types.iter().find(|(instance, _)| *instance == outcome.instance).map(|(_, model_type)| &**model_type);
        let said = self.turn.said(outcome, answering);
        let messages = sessions::add(&self.session, &outcome.request_id.to_string(), &said, summary.as_ref())?;
        Ok(Stored { session: self.session, messages, earlier: self.earlier, summary: self.summary.map(|made| made.outcome) })
    }
}

/// A turn that the session has.
pub(super) struct Stored {
    session: String,
    /// How many the session has.
    messages: i64,
    earlier: usize,
    summary: Option<ChatOutcome>,
}

impl Stored {
    /// Adds to an answer's object what the turn has beside it.
    pub(super) fn describe(&self, answer: &mut Value) {
        history::describe(answer, &self.session, self.messages, self.earlier, self.summary.as_ref());
    }
}
