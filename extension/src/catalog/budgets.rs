//! Budgets: those of roles, and what the ledger says was spent of one.

use std::sync::{Arc, OnceLock};

use pg_llm_gateway::ModelSpec;
use pg_llm_gateway::budget::{Accounting, Budget, Period, Sum, Terms};
use pg_llm_gateway::price::{Cost, Currency};
use pgrx::pg_sys::{INT8OID, OIDOID, Oid, TEXTOID};

use super::known_budgets;
use super::query::{Param, Row, Statement};
use crate::backend::budgets::{Scope, SharedAccount, account, now};
use crate::backend::errors::SqlError;
use crate::backend::{gucs, privileges};

/// A budget of a role.
pub(super) struct RoleBudget {
    /// 0: of all roles together.
    role: Oid,
    /// None: on all models.
    instance: Option<String>,
    terms: Terms,
}

static READ: Statement = Statement::new(
    "SELECT b.role::pg_catalog.oid, b.instance_name, b.period, (b.amount OPERATOR(pg_catalog.*) 1000000000)::pg_catalog.int8, b.currency, b.tokens \
       FROM _pg_llm_catalog.budgets b",
    &[],
);
static SET: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.budgets (role, instance_name, period, amount, currency, tokens) \
     VALUES ($1::pg_catalog.regrole, $2, $3, $4::pg_catalog.numeric, $5, $6) \
     ON CONFLICT (role, instance_name, period) DO UPDATE SET amount = EXCLUDED.amount, currency = EXCLUDED.currency, tokens = EXCLUDED.tokens",
    &[OIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID],
);
static REMOVE: Statement = Statement::new(
    "DELETE FROM _pg_llm_catalog.budgets WHERE role::pg_catalog.oid OPERATOR(pg_catalog.=) $1 AND instance_name OPERATOR(pg_catalog.=) $2 \
        AND period OPERATOR(pg_catalog.=) $3 RETURNING true",
    &[OIDOID, TEXTOID, TEXTOID],
);
// More than a bigint holds is as much as it holds.
static SPENT: Statement = Statement::new(
    "SELECT LEAST(COALESCE(pg_catalog.sum(l.cost) FILTER (WHERE l.currency OPERATOR(pg_catalog.=) $3), 0) OPERATOR(pg_catalog.*) 1000000000, 9223372036854775807)::pg_catalog.int8, \
            LEAST(COALESCE(pg_catalog.sum(COALESCE(l.input_tokens, 0)::pg_catalog.numeric OPERATOR(pg_catalog.+) COALESCE(l.output_tokens, 0)), 0), 9223372036854775807)::pg_catalog.int8 \
       FROM _pg_llm_catalog.ledger l \
      WHERE l.began_at OPERATOR(pg_catalog.>=) pg_catalog.to_timestamp($4) \
        AND ($1 IS NULL OR l.instance_name OPERATOR(pg_catalog.=) $1) AND ($2 IS NULL OR l.role_name OPERATOR(pg_catalog.=) $2)",
    &[TEXTOID, TEXTOID, TEXTOID, INT8OID],
);

/// What a budget of the setting `pg_llm.token_budget` is.
pub(crate) fn of_setting(tokens: u64) -> Terms {
    Terms { period: Period::Day, amount: None, currency: Currency::default(), tokens: Some(tokens) }
}

/// What `role`'s requests of the model `instance` are held against.
pub(super) fn of(instance: &str, spec: &ModelSpec, role: Oid) -> Result<Arc<[Budget]>, SqlError> {
    let of_roles = known_budgets::all()?;
    let setting = gucs::token_budget();
    if spec.budgets.is_empty() && of_roles.is_empty() && setting == 0 {
        return Ok(none());
    }
    let mut budgets = Vec::new();
    for terms in &spec.budgets {
        budgets.push(Budget {
            whose: format!("model \"{instance}\""),
            hint: "Its owner can raise the model's \"budget\".",
            terms: *terms,
            accounting: begun(Scope::Model(instance), terms)?,
        });
    }
    let concerned = |budget: &&RoleBudget| {
        (budget.role == role || budget.role == Oid::INVALID) && budget.instance.as_deref().is_none_or(|only| only == instance)
    };
    for RoleBudget { role, instance, terms } in of_roles.iter().filter(concerned) {
        let on = instance.as_ref().map(|instance| format!(" on model \"{instance}\"")).unwrap_or_default();
        budgets.push(Budget {
            whose: if *role == Oid::INVALID { format!("all roles{on}") } else { format!("role \"{}\"{on}", privileges::role_name(*role)) },
            hint: "An administrator can raise it with pg_llm_set_budget().",
            terms: *terms,
            accounting: begun(Scope::Role(*role, instance.as_deref()), terms)?,
        });
    }
    if setting > 0 {
        let terms = of_setting(setting);
        budgets.push(Budget {
            whose: format!("role \"{}\"", privileges::role_name(role)),
            hint: "An administrator can raise pg_llm.token_budget.",
            terms,
            accounting: begun(Scope::Setting(role), &terms)?,
        });
    }
    Ok(if budgets.is_empty() { none() } else { budgets.into() })
}

fn none() -> Arc<[Budget]> {
    static NONE: OnceLock<Arc<[Budget]>> = OnceLock::new();
    Arc::clone(NONE.get_or_init(|| [].into()))
}

fn begun(scope: Scope<'_>, terms: &Terms) -> Result<Arc<dyn Accounting>, SqlError> {
    current(scope, terms.period, terms.currency).map(|account| account as Arc<dyn Accounting>)
}

/// The account of a budget, which knows what the ledger has.
pub(crate) fn current(scope: Scope<'_>, period: Period, currency: Currency) -> Result<Arc<SharedAccount>, SqlError> {
    let account = account(scope, period, currency);
    if account.wants_ledger() {
        let (begin, _) = period.bounds(now());
        account.begin(period, begin, spent(scope, currency, begin)?);
    }
    Ok(account)
}

/// What the ledger has since then.
fn spent(scope: Scope<'_>, currency: Currency, since: i64) -> Result<Sum, SqlError> {
    let (instance, role) = match scope {
        Scope::Model(instance) => (Some(instance), None),
        Scope::Role(role, instance) => (instance, Some(role).filter(|role| *role != Oid::INVALID)),
        Scope::Setting(role) => (None, Some(role)),
    };
    let role = role.map(privileges::role_name);
    let instance = instance.map_or(Param::Null, Param::Text);
    let role = role.as_deref().map_or(Param::Null, Param::Text);
    let rows = SPENT.read_latest(&[instance, role, Param::Text(currency.as_str()), Param::Long(since)])?;
    let long = |column| rows.first().and_then(|row| row.long(column)).unwrap_or(0);
    Ok(Sum { cost: Cost::from_billionths(long(0)), tokens: u64::try_from(long(1)).unwrap_or(0) })
}

/// All that there are. A row that says nothing of use is none: nobody but a superuser can have written it.
pub(super) fn read() -> Result<Vec<RoleBudget>, SqlError> {
    let budget = |row: &Row| {
        let (Some(period), Some(currency)) = (Period::parse(&row.required_text(2)?), Currency::parse(&row.required_text(4)?)) else {
            return Ok(None);
        };
        Ok(Some(RoleBudget {
            role: row.oid(0).unwrap_or(Oid::INVALID),
            instance: row.text(1)?.filter(|name| !name.is_empty()),
            terms: Terms {
                period,
                amount: row.long(3).map(Cost::from_billionths),
                currency,
                tokens: row.long(5).and_then(|tokens| u64::try_from(tokens).ok()),
            },
        }))
    };
    READ.read_latest(&[])?.iter().filter_map(|row| budget(row).transpose()).collect()
}

/// Sets the budget of a role for a period.
pub(crate) fn set(role: Oid, instance: Option<&str>, terms: &Terms) -> Result<(), SqlError> {
    let amount = terms.amount.map(|amount| amount.to_string());
    let params = [
        Param::Role(role),
        Param::Text(instance.unwrap_or_default()),
        Param::Text(terms.period.word()),
        amount.as_deref().map_or(Param::Null, Param::Text),
        Param::Text(terms.currency.as_str()),
        terms.tokens.and_then(|tokens| i64::try_from(tokens).ok()).map_or(Param::Null, Param::Long),
    ];
    SET.write(&params).map(|_| ())
}

/// Removes it. False when there was none.
pub(crate) fn remove(role: Oid, instance: Option<&str>, period: Period) -> Result<bool, SqlError> {
    let params = [Param::Role(role), Param::Text(instance.unwrap_or_default()), Param::Text(period.word())];
    Ok(!REMOVE.write(&params)?.is_empty())
}
