//! `pg_llm_execute_sql_with_analysis`: a query, its rows and its plan, and what a model advises; all that it suggests is looked at before it is shown.

use pg_llm_gateway::analysis::{Advice, AnalysisOptions, Subject, Suggestion};
use pg_llm_gateway::{ChatOutcome, OnError};
use pgrx::pg_sys;
use serde_json::{Value, json};

use super::query_bounds::{self, error_json, execution};
use super::{chat, model_call};
use crate::backend::calls::{Args, Returned, sql_functions};
use crate::backend::errors::{Failure, SqlError};
use crate::backend::generated_query::{self, Answer, Bounds, Wanted};
use crate::backend::hypothetical_index::{self, Hypothetical};
use crate::backend::{interrupts, privileges};
use crate::catalog::query_facts;

sql_functions! {
    pg_llm_execute_sql_with_analysis_wrapper, pg_finfo_pg_llm_execute_sql_with_analysis_wrapper => analysis;
}

/// A part of its cost that a plan must save to count as cheaper: estimates are no finer.
const CLEARLY: f64 = 0.95;

/// `(instance_name, sql, options)`.
fn analysis(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(sql) = args.text(1)? else { return Ok(Returned::Null) };
    let options = match args.json(2)? {
        Some(options) => AnalysisOptions::parse(&options).map_err(SqlError::from)?,
        None => AnalysisOptions::default(),
    };
    let route = model_call::resolve_chat(args, &options.chat)?;
    let on_error = model_call::on_error(options.chat.call.on_error, &route);
    let instance = route.instance.clone();
    let bounds = query_bounds::below_settings(&options.bounds);
    let wanted = Wanted { rows: !options.dry_run, plan: true, analyze: options.analyze, ..Wanted::default() };
    let answer = query_bounds::run(&sql, bounds, wanted)?;
    let tables = query_facts::of_relations(&answer.relations, privileges::current_role())?;
    let plan = answer.plan.clone().unwrap_or_default();
    let subject = Subject {
        sql: &answer.statement,
        plan: &plan,
        tables: &tables,
        version: pg_sys::PG_VERSION_NUM / 10_000,
        rows_read: wanted.rows.then_some(answer.rows.len()),
    };
    let call = subject.call(route, &options).map_err(SqlError::from)?;
    let request_id = call.route().origin.request_id;
    let (outcome, error) = match chat::answered(&call)? {
        Ok(outcome) => (Some(outcome), None),
        Err(error) => match on_error {
            OnError::Error => return Err(SqlError::from(error).into()),
            OnError::Null => return Ok(Returned::Null),
            OnError::Object => (None, Some(error)),
        },
    };
    let advice = outcome.as_ref().map(|outcome| checked(&Advice::read(outcome), &answer, bounds)).transpose()?;
    Ok(Returned::Json(json!({
        "request_id": outcome.as_ref().map_or(request_id, |outcome| outcome.request_id),
        "instance_name": instance,
        "model_name": outcome.as_ref().map(|outcome| &outcome.model_name),
        "sql": answer.statement,
        "execution": execution(&answer, options.dry_run),
        "total_cost": answer.cost(),
        "tables": tables,
        "analysis": advice,
        "usage": outcome.as_ref().map(ChatOutcome::usage_json),
        "error": error.map(model_call::error_json),
    })))
}

/// The advice, with what came of looking at it.
fn checked(advice: &Advice, answer: &Answer, bounds: Bounds) -> Result<Value, Failure> {
    let findings: Vec<Value> = advice
        .findings
        .iter()
        .map(|finding| json!({"severity": finding.severity, "title": finding.title, "detail": finding.detail}))
        .collect();
    let rewrites: Vec<Value> = advice.rewrites.iter().map(|suggestion| rewrite(suggestion, answer, bounds)).collect::<Result<_, _>>()?;
    let hypopg = if advice.indexes.is_empty() { None } else { query_facts::hypopg_schema()? };
    let indexes: Vec<Value> =
        advice.indexes.iter().map(|suggestion| index(suggestion, answer, bounds, hypopg.as_deref())).collect::<Result<_, _>>()?;
    Ok(json!({ "summary": advice.summary, "findings": findings, "rewrites": rewrites, "indexes": indexes }))
}

/// A rewritten query is checked and planned under the same rules, and not run. Whether it gives the same rows nobody has looked.
fn rewrite(Suggestion { sql, reason }: &Suggestion, answer: &Answer, bounds: Bounds) -> Result<Value, Failure> {
    interrupts::check();
    let wanted = Wanted { plan: true, ..Wanted::default() };
    Ok(match generated_query::run(sql, bounds, wanted)? {
        Ok(planned) => {
            let same = planned.columns.len() == answer.columns.len()
                && planned.columns.iter().zip(&answer.columns).all(|(a, b)| a.name == b.name && a.type_name == b.type_name);
            json!({
                "sql": planned.statement, "reason": reason, "valid": true, "error": null, "same_columns": same,
                "total_cost": planned.cost(), "original_cost": answer.cost(), "cheaper": is_cheaper(&planned, answer),
            })
        }
        Err(error) => json!({
            "sql": sql, "reason": reason, "valid": false, "error": error_json(&error), "same_columns": null,
            "total_cost": null, "original_cost": answer.cost(), "cheaper": null,
        }),
    })
}

fn is_cheaper(planned: &Answer, than: &Answer) -> Option<bool> {
    Some(planned.cost()? < than.cost()? * CLEARLY)
}

/// An index is looked at, tried with hypopg where that is there, and never made.
fn index(Suggestion { sql, reason }: &Suggestion, answer: &Answer, bounds: Bounds, hypopg: Option<&str>) -> Result<Value, Failure> {
    interrupts::check();
    let said = |valid: bool, verified: bool, why: Option<String>, planned: Option<&Answer>| {
        json!({
            "sql": sql, "reason": reason, "valid": valid, "verified": verified, "note": why,
            "total_cost": planned.and_then(Answer::cost), "original_cost": answer.cost(), "cheaper": planned.and_then(|planned| is_cheaper(planned, answer)),
        })
    };
    let described = match hypothetical_index::described(sql, &answer.relations)? {
        Ok(described) => described,
        Err(why) => return Ok(said(false, false, Some(why), None)),
    };
    let Some(schema) = hypopg else { return Ok(said(true, false, Some("hypopg is not installed".to_owned()), None)) };
    if !described.is_plain {
        return Ok(said(
            true,
            false,
            Some("an index with an expression or a condition is not tried: planning with it would evaluate it".to_owned()),
            None,
        ));
    }
    let imagined = match Hypothetical::imagine(schema, sql)? {
        Ok(imagined) => imagined,
        Err(why) => return Ok(said(true, false, Some(why), None)),
    };
    let planned = generated_query::run(&answer.statement, bounds, Wanted { plan: true, by_statement: true, ..Wanted::default() });
    drop(imagined);
    Ok(match planned? {
        Ok(planned) => said(true, true, None, Some(&planned)),
        Err(error) => said(true, false, Some(error.message), None),
    })
}
