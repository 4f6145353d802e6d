//! `pg_llm_set_budget`, `pg_llm_remove_budget`, and what `pg_llm_budgets` shows.

use pg_llm_gateway::budget::{PERIODS, Period, Terms};
use pg_llm_gateway::price::Currency;
use serde_json::json;

use super::{check_name, required};
use crate::backend::budgets::Scope;
use crate::backend::calls::{Args, Returned, sql_functions};
use crate::backend::errors::{Failure, SqlError, State};
use crate::backend::privileges;
use crate::catalog::budgets;

sql_functions! {
    pg_llm_set_budget_wrapper, pg_finfo_pg_llm_set_budget_wrapper => set;
    pg_llm_remove_budget_wrapper, pg_finfo_pg_llm_remove_budget_wrapper => remove;
    pg_llm_budget_state_wrapper, pg_finfo_pg_llm_budget_state_wrapper => state;
}

/// `(role, budget, instance_name)`.
fn set(args: &Args<'_>) -> Result<Returned, Failure> {
    let role = privileges::role_by_name(&required(args.text(0)?, "role")?)?;
    let terms = Terms::parse(&required(args.json(1)?, "budget")?).map_err(SqlError::from)?;
    let instance = args.text(2)?;
    if let Some(instance) = &instance {
        check_name(instance, "instance_name")?;
    }
    budgets::set(role, instance.as_deref(), &terms)?;
    Ok(Returned::Bool(true))
}

/// `(role, period, instance_name)`.
fn remove(args: &Args<'_>) -> Result<Returned, Failure> {
    let role = privileges::role_by_name(&required(args.text(0)?, "role")?)?;
    let period = period(&required(args.text(1)?, "period")?)?;
    Ok(Returned::Bool(budgets::remove(role, args.text(2)?.as_deref(), period)?))
}

fn period(word: &str) -> Result<Period, SqlError> {
    Period::parse(word)
        .ok_or_else(|| SqlError::new(State::InvalidArgument, format!("pg_llm: \"{word}\" is no period")).hint(format!("It is {PERIODS}.")))
}

/// `(scope, role, instance_name, period, currency)`: who may see it is the view's business.
fn state(args: &Args<'_>) -> Result<Returned, Failure> {
    let (kind, role, instance) = (required(args.text(0)?, "scope")?, args.text(1)?, args.text(2)?);
    let role = role.map_or(Ok(pgrx::pg_sys::Oid::INVALID), |name| privileges::role_by_name(&name))?;
    let scope = match (kind.as_str(), &instance) {
        ("model", Some(instance)) => Scope::Model(instance),
        ("role", instance) => Scope::Role(role, instance.as_deref()),
        ("setting", _) => Scope::Setting(role),
        _ => return Ok(Returned::Null),
    };
    let period = period(&required(args.text(3)?, "period")?)?;
    let currency = args.text(4)?.and_then(|text| Currency::parse(&text)).unwrap_or_default();
    let account = budgets::current(scope, period, currency)?;
    let shown = account.show(period);
    Ok(Returned::Json(json!({
        "spent": shown.spent.cost.to_json(),
        "reserved": shown.held.cost.to_json(),
        "tokens_spent": shown.spent.tokens,
        "tokens_reserved": shown.held.tokens,
        "in_flight": shown.in_flight,
        "begin": shown.end.map(|_| shown.begin),
        "end": shown.end,
        "shared": account.is_shared(),
    })))
}
