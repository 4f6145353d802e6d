//! `pg_llm_get_embedding`, `pg_llm_get_embeddings`, and `pg_llm_rerank`.

use pg_llm_gateway::{CallError, EmbedOptions, EmbedOutcome, OnError, RerankOptions, Route};

use super::model_call;
use crate::backend::calls::{Args, Returned, sql_functions};
use crate::backend::descriptors::Descriptors;
use crate::backend::errors::{Failure, SqlError};
use crate::backend::rows::{Rows, ready, sql_set_functions};
use crate::catalog::vector_type;

sql_functions! {
    pg_llm_get_embedding_wrapper, pg_finfo_pg_llm_get_embedding_wrapper => get_embedding;
    pg_llm_use_vector_type_wrapper, pg_finfo_pg_llm_use_vector_type_wrapper => use_vector_type;
}

sql_set_functions! {
    pg_llm_get_embeddings_wrapper, pg_finfo_pg_llm_get_embeddings_wrapper => get_embeddings;
    pg_llm_rerank_wrapper, pg_finfo_pg_llm_rerank_wrapper => rerank;
}

/// Who has no place for an error object is told so.
const NO_OBJECT: &str = "It is one of \"error\" and \"null\" here.";

/// `(instance_name, text_var)` and `(instance_name, text_var, options)`.
fn get_embedding(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(text) = args.text(1)? else { return Ok(Returned::Null) };
    let vectors = embed(args, vec![text])?;
    Ok(vectors.into_iter().flatten().next().map_or(Returned::Null, Returned::Vector))
}

/// `(instance_name, texts, options)`: a row a text, in their order; NULL for NULL.
fn get_embeddings(args: &Args<'_>) -> Result<Option<Box<dyn Rows>>, Failure> {
    let Some(texts) = args.texts(1)? else { return Ok(None) };
    let there: Vec<bool> = texts.iter().map(Option::is_some).collect();
    let texts: Vec<String> = texts.into_iter().flatten().collect();
    let mut vectors = if texts.is_empty() { None } else { embed(args, texts)? }.into_iter().flatten();
    let row = |(ord, there): (i64, bool)| {
        let vector = if there { vectors.next() } else { None };
        vec![Returned::Long(ord), vector.map_or(Returned::Null, Returned::Vector)]
    };
    Ok(ready((1..).zip(there).map(row).collect()))
}

/// The vectors of `texts`; none where the call failed and that is to be NULL.
fn embed(args: &Args<'_>, texts: Vec<String>) -> Result<Option<Vec<Vec<f32>>>, Failure> {
    let options =
        args.json(2)?.map_or_else(|| Ok(EmbedOptions::default()), |options| EmbedOptions::parse(&options)).map_err(SqlError::from)?;
    model_call::refuse_error_objects(options.call.on_error, NO_OBJECT)?;
    let route = model_call::resolve(args)?;
    let on_error = model_call::on_error(options.call.on_error, &route);
    match vectors(&route, texts, options)? {
        Ok(vectors) => Ok(Some(vectors)),
        Err(_) if on_error == OnError::Null => Ok(None),
        Err(error) => Err(SqlError::from(error).into()),
    }
}

/// The vectors of some texts, in their order. What the model fails with is a result.
pub(super) fn vectors(route: &Route, texts: Vec<String>, options: EmbedOptions) -> Result<Result<Vec<Vec<f32>>, CallError>, Failure> {
    let options = options.over(route);
    let _descriptors = Descriptors::reserve(options.most_requests(texts.len()))?;
    let outcome = model_call::run(|interrupt| pg_llm_gateway::embed(route, texts, &options, interrupt))?;
    model_call::log(route, &outcome, |outcome: &EmbedOutcome| &outcome.log);
    Ok(outcome.map(|outcome| outcome.vectors))
}

/// `(instance_name, query, documents, options)`: the best first. A document that is NULL takes no part.
fn rerank(args: &Args<'_>) -> Result<Option<Box<dyn Rows>>, Failure> {
    let (Some(query), Some(documents)) = (args.text(1)?, args.texts(2)?) else { return Ok(None) };
    let options =
        args.json(3)?.map_or_else(|| Ok(RerankOptions::default()), |options| RerankOptions::parse(&options)).map_err(SqlError::from)?;
    model_call::refuse_error_objects(options.call.on_error, NO_OBJECT)?;
    let (places, texts): (Vec<i64>, Vec<String>) = (1..).zip(documents).filter_map(|(ord, text)| Some((ord, text?))).unzip();
    if texts.is_empty() {
        return Ok(None);
    }
    let route = model_call::resolve(args)?;
    let on_error = model_call::on_error(options.call.on_error, &route);
    let options = options.over(&route);
    let outcome = model_call::run(|interrupt| pg_llm_gateway::rerank(&route, query, texts.clone(), &options, interrupt))?;
    model_call::log(&route, &outcome, |outcome| &outcome.log);
    let results = match outcome {
        Ok(outcome) => outcome.results,
        Err(_) if on_error == OnError::Null => Vec::new(),
        Err(error) => return Err(SqlError::from(error).into()),
    };
    let row = |ranked: pg_llm_sandbox::types::Ranked| {
        let at = usize::try_from(ranked.index).ok()?;
        Some(vec![Returned::Long(*places.get(at)?), Returned::Text(texts.get(at)?.clone()), Returned::Float(ranked.score)])
    };
    Ok(ready(results.into_iter().filter_map(row).collect()))
}

/// `(enabled)`: declares the functions that return vectors anew.
fn use_vector_type(args: &Args<'_>) -> Result<Returned, Failure> {
    Ok(Returned::Bool(vector_type::declare(args.boolean(0).unwrap_or(true))?))
}
