//! Which tables are like a question in meaning, by a model of embeddings.

use pg_llm_gateway::EmbedOptions;
use pg_llm_gateway::text2sql::{Outline, cosine, quantized, ranked};
use pg_llm_sandbox::types::Purpose;

use super::{embeddings, model_call};
use crate::backend::errors::{Failure, SqlError};
use crate::backend::{gucs, privileges};
use crate::catalog::{route, schema_vectors};

/// Most tables that one question has vectors made of.
const MOST_AT_ONCE: usize = 1000;

/// How the tables were compared with the question by meaning, or why they were not.
#[derive(Debug)]
pub(super) enum Likeness {
    /// By the vectors of so many tables, each a cosine.
    Measured { cosines: Vec<f32>, of: usize },
    /// Not at all.
    Not(String),
}

/// Compares each table with the question, where there is a model for it.
///
/// # Errors
/// Where `named`, the model that the call names, cannot be used. One that cannot be asked is no error: words and keys do without.
pub(super) fn likeness(tables: &[Outline], prompt: &str, named: Option<&str>) -> Result<Likeness, Failure> {
    let Some(instance) = named.map(str::to_owned).or_else(gucs::text2sql_embedding_model) else {
        return Ok(Likeness::Not("no embedding model is set".to_owned()));
    };
    let route = match route::resolve(&instance, privileges::current_role()) {
        Err(Failure::Sql(error)) if named.is_none() => return Ok(Likeness::Not(error.message)),
        route => route?,
    };
    let model = format!("{instance} {:x}", route.spec.generation);
    let texts: Vec<String> = tables.iter().map(Outline::described).collect();
    let mut kept = schema_vectors::find(&model, &texts)?;
    let ask = |texts: Vec<String>, purpose| {
        embeddings::vectors(&route, texts, EmbedOptions { purpose: Some(purpose), ..EmbedOptions::default() })
    };
    let failed = |error| {
        let message = SqlError::from(error).message;
        model_call::warn(&[format!("tables are chosen by words alone: {}", message.trim_start_matches("pg_llm: "))]);
        Ok(Likeness::Not(message))
    };
    let question = match ask(vec![prompt.to_owned()], Purpose::Query)? {
        Ok(vectors) => vectors.into_iter().next().unwrap_or_default(),
        Err(error) => return failed(error),
    };
    // Of another length: the model has changed behind its name.
    kept.retain(|_, vector| vector.len() == question.len());
    let mut missing: Vec<usize> = ranked(tables, prompt, &[]);
    missing.extend(0..tables.len());
    let mut seen = std::collections::HashSet::new();
    missing.retain(|at| !kept.contains_key(at) && seen.insert(*at));
    missing.truncate(MOST_AT_ONCE);
    if !missing.is_empty() && schema_vectors::can_keep() {
        let made = match ask(missing.iter().map(|at| texts[*at].clone()).collect(), Purpose::Document)? {
            Ok(vectors) => vectors,
            Err(error) => return failed(error),
        };
        let made: Vec<(usize, Vec<u8>)> = missing.iter().copied().zip(made.iter().map(|vector| quantized(vector))).collect();
        let named: Vec<(&str, Vec<u8>)> = made.iter().map(|(at, vector)| (texts[*at].as_str(), vector.clone())).collect();
        schema_vectors::keep(&model, &named)?;
        kept.extend(made);
    }
    if kept.is_empty() {
        return Ok(Likeness::Not("there are no vectors, and none can be kept in a read-only transaction".to_owned()));
    }
    let known: Vec<Option<f32>> = (0..tables.len()).map(|at| cosine(&question, kept.get(&at)?)).collect();
    // What has no vector yet is like the average: neither for it nor against it.
    let (sum, of) = known.iter().flatten().fold((0.0_f32, 0_usize), |(sum, count), cosine| (sum + cosine, count + 1));
    #[allow(clippy::cast_precision_loss, reason = "there are not that many tables")]
    let average = if of == 0 { 0.0 } else { sum / of as f32 };
    Ok(Likeness::Measured { cosines: known.into_iter().map(|cosine| cosine.unwrap_or(average)).collect(), of })
}
