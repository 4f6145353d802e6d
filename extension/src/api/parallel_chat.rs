//! `pg_llm_parallel_chat` and `pg_llm_parallel_chat_json`.

use std::collections::HashMap;

use pg_llm_gateway::fallback::FallbackChoice;
use pg_llm_gateway::ledger::{Origin, Via};
use pg_llm_gateway::{
    CallError, ChatCall, ChatOptions, Ended, Judge, MOST_CANDIDATES, OnError, ParallelCall, ParallelOptions, ParallelOutcome, Route,
    Strategy, StrategyName,
};

use super::{model_call, required};
use crate::backend::calls::{Args, Returned, sql_functions};
use crate::backend::descriptors::Descriptors;
use crate::backend::errors::{Failure, SqlError, State};
use crate::backend::{gucs, interrupts, privileges, stack};
use crate::catalog::{models, response_cache, route};

sql_functions! {
    pg_llm_parallel_chat_wrapper, pg_finfo_pg_llm_parallel_chat_wrapper => parallel_chat;
    pg_llm_parallel_chat_json_wrapper, pg_finfo_pg_llm_parallel_chat_json_wrapper => parallel_chat_json;
}

/// Bytes that all candidates together may be asked.
const MOST_ASKED: usize = 256 << 20;

/// `(prompt, model_names)` and `(prompt, model_names, options)`.
fn parallel_chat(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(asked) = Asked::of(args)? else { return Ok(Returned::Null) };
    model_call::refuse_error_objects(
        asked.options.chat.call.on_error,
        "Use pg_llm_parallel_chat_json(), or \"null\": an error is never text in the answer.",
    )?;
    let on_error = on_error(&asked.options);
    let outcome = call(args, &asked)?;
    match (outcome.text(), outcome.failure()) {
        (Some(text), _) => Ok(Returned::Text(text)),
        (None, Some(error)) if on_error != OnError::Null => Err(SqlError::from(error).into()),
        (None, _) => Ok(Returned::Null),
    }
}

fn parallel_chat_json(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(asked) = Asked::of(args)? else { return Ok(Returned::Null) };
    let on_error = on_error(&asked.options);
    let outcome = call(args, &asked)?;
    match (outcome.failure(), on_error) {
        (Some(error), OnError::Error) => Err(SqlError::from(error).into()),
        (Some(_), OnError::Null) => Ok(Returned::Null),
        _ => Ok(Returned::Json(outcome.to_json(model_call::error_json))),
    }
}

/// What all candidates are asked.
struct Asked {
    prompt: String,
    options: ParallelOptions,
    /// Of the prompt, and of the options as JSON, images and documents included.
    bytes: usize,
}

impl Asked {
    /// None for a NULL prompt.
    fn of(args: &Args<'_>) -> Result<Option<Self>, SqlError> {
        let Some(prompt) = args.text(0)? else { return Ok(None) };
        let json = args.json(2)?;
        let bytes = prompt.len() + json.as_ref().map_or(0, |options| options.to_string().len());
        let options = json.map_or_else(|| Ok(ParallelOptions::default()), |options| ParallelOptions::parse(&options))?;
        Ok(Some(Self { prompt, options, bytes }))
    }

    /// Every candidate has a copy of it. Fails where that is more than a server should have to find for one statement.
    fn check_size(&self, candidates: usize) -> Result<(), SqlError> {
        let whole = self.bytes.saturating_mul(candidates);
        if whole <= MOST_ASKED {
            return Ok(());
        }
        let message = format!("pg_llm: {candidates} candidates cannot be asked {} bytes each at the same time", self.bytes);
        Err(SqlError::new(State::TooLarge, message)
            .detail(format!("That is {whole} bytes, and {MOST_ASKED} are allowed."))
            .hint("Name fewer models in model_names."))
    }
}

/// Of the whole: no single model has a say in it.
fn on_error(options: &ParallelOptions) -> OnError {
    options.chat.call.on_error.unwrap_or_else(|| gucs::on_error().into())
}

fn call(args: &Args<'_>, asked: &Asked) -> Result<ParallelOutcome, Failure> {
    let names = names(args.texts(1)?)?;
    asked.check_size(names.len())?;
    let Asked { prompt, options, .. } = asked;
    stack::check_room()?;
    interrupts::check();
    let mut routes = Routes { found: HashMap::new(), origin: Origin::parts_of_one(Via::Parallel) };
    // All are known and allowed before anything is sent.
    let candidates = names.iter().map(|name| routes.of(name, &options.chat)).collect::<Result<Vec<_>, _>>()?;
    let strategy = match (options.strategy, &options.judge_instance) {
        (StrategyName::First, _) => Strategy::First,
        (StrategyName::Vote, _) => Strategy::Vote,
        (StrategyName::All, _) => Strategy::All,
        // Without those that it would fall back to: the judge is the one that the caller named, or none.
        (StrategyName::Judge, Some(judge)) => {
            let chat = &options.chat;
            let own = ChatOptions { filters: chat.filters.clone(), fallback: Some(FallbackChoice::Nobody), ..ChatOptions::default() };
            let mut route = route::resolve_chat(judge, privileges::current_role(), &own)?;
            route.origin = Origin { via: Via::Judge, ..routes.origin.clone() };
            Strategy::Judge(Box::new(Judge::new(route, prompt, &options.chat)))
        }
        (StrategyName::Confidence | StrategyName::Judge, _) => Strategy::Confidence,
    };
    let call =
        ParallelCall::new(candidates.into_iter().map(|route| ChatCall::new(route, prompt, options.chat.clone())).collect(), strategy);
    let known = call.candidates().iter().map(|candidate| response_cache::find(candidate)).collect::<Result<Vec<_>, _>>()?;
    let _descriptors = Descriptors::reserve(call.candidates().len())?;
    let outcome = model_call::run(|interrupt| call.run(known, interrupt))?.map_err(SqlError::from)?;
    log(&call, &outcome);
    for (candidate, ended) in call.candidates().iter().zip(&outcome.candidates) {
        if let Some(answer) = ended.answer() {
            response_cache::keep(candidate, answer)?;
        }
    }
    Ok(outcome)
}

/// The candidates' names; none given are all that the caller may use.
fn names(given: Option<Vec<Option<String>>>) -> Result<Vec<String>, Failure> {
    let given = required(given, "model_names").map_err(|error| error.hint("An empty array stands for all models that you may use."))?;
    let named = !given.is_empty();
    let names = if named {
        given
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| SqlError::new(State::InvalidArgument, "pg_llm: model_names must not have a NULL in it"))?
    } else {
        // One more than there may be, to see that there are more.
        models::usable_names(privileges::current_role(), MOST_CANDIDATES + 1)?
    };
    if names.len() > MOST_CANDIDATES {
        let too_many =
            if named { format!("{} candidates", names.len()) } else { format!("more than {MOST_CANDIDATES} models that you may use") };
        return Err(SqlError::new(State::TooLarge, format!("pg_llm: a parallel chat has at most {MOST_CANDIDATES} candidates"))
            .detail(format!("There are {too_many}."))
            .hint("Name those that are to be asked in model_names.")
            .into());
    }
    if names.is_empty() {
        return Err(SqlError::new(State::Undefined, "pg_llm: there is no model that you may use")
            .hint("Add one with pg_llm_add_model(), or have its owner grant it with pg_llm_grant_model().")
            .into());
    }
    Ok(names)
}

/// Candidates' models, with those that they fall back to: one that is named twice is looked up once.
struct Routes {
    found: HashMap<String, Route>,
    origin: Origin,
}

impl Routes {
    fn of(&mut self, name: &str, options: &ChatOptions) -> Result<Route, Failure> {
        if let Some(route) = self.found.get(name) {
            return Ok(route.clone());
        }
        let mut route = route::resolve_chat(name, privileges::current_role(), options)?;
        route.origin = self.origin.clone();
        self.found.insert(name.to_owned(), route.clone());
        Ok(route)
    }
}

/// What the adapters logged, candidate after candidate, the judge last.
fn log(call: &ParallelCall, outcome: &ParallelOutcome) {
    for (chat, candidate) in call.candidates().iter().zip(&outcome.candidates) {
        match &candidate.ended {
            Ended::Answered(answer) => model_call::log_lines(&answer.instance, &answer.log),
            Ended::Failed(error) => model_call::log_lines(&chat.route().instance, &error.log),
            Ended::Cancelled => {}
        }
    }
    if let (Strategy::Judge(judge), Some(judged)) = (call.strategy(), &outcome.judged) {
        let lines = judged.verdict.as_ref().map_or_else(|error: &CallError| &error.log, |verdict| &verdict.outcome.log);
        model_call::log_lines(&judge.route().instance, lines);
    }
}
