//! Budgets: how much may be spent in a period, held against each request before it is made.
//!
//! A request holds what it is estimated to take while it is in flight, and is charged with what it took when it is over. So nobody can spend what another's
//! request has in hand: all together spend more than a budget only by what requests in flight take beyond their estimates.

mod account;
mod period;
mod reservation;

pub use account::{Account, Shown, Sum};
pub use period::{Period, utc};
pub(crate) use reservation::{Refused, Reservation};

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::error::ConfigError;
use crate::members::Members;
use crate::price::{Cost, Currency, Price};

/// What may be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long it has to last.
    pub period: Period,
    /// Money.
    pub amount: Option<Cost>,
    /// What that is in: costs in another currency do not count.
    pub currency: Currency,
    /// Tokens, of prompts and answers together.
    pub tokens: Option<u64>,
}

/// A budget that a request has to keep to.
#[derive(Clone)]
pub struct Budget {
    /// Whose it is, in words: `model "m"`, `role "alice"`.
    pub whose: String,
    /// How it can be raised.
    pub hint: &'static str,
    /// How much it is.
    pub terms: Terms,
    /// What was spent of it.
    pub accounting: Arc<dyn Accounting>,
}

/// Where the account of one budget lies. Any thread may use it.
pub trait Accounting: Send + Sync {
    /// [`Account::hold`].
    ///
    /// # Errors
    /// What there is, where that leaves no room.
    fn hold(&self, terms: &Terms, wanted: Sum) -> Result<(), Shown>;

    /// [`Account::settle`].
    fn settle(&self, terms: &Terms, held: Sum, real: Sum);
}

/// Most budgets of one model.
const MOST: usize = 4;
const MEMBERS: [&str; 3] = ["amount", "period", "tokens"];
const OF_ROLE: [&str; 4] = ["amount", "currency", "period", "tokens"];
const EXPECTED: &str = "{\"amount\": 10, \"period\": \"day\"}, or an array of such objects";

/// Reads the member `budget` of a model's configuration: an object, or several in an array, each of another period.
///
/// # Errors
/// For unknown members, what is no sum or no period, an amount for a model that has no price.
pub(crate) fn read(config: &Members<'_>, price: Option<&Price>) -> Result<Vec<Terms>, ConfigError> {
    let list = match config.raw("budget") {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() <= MOST => list.as_slice(),
        Some(one @ Value::Object(_)) => std::slice::from_ref(one),
        Some(other) => return Err(config.wrong("budget", EXPECTED, other)),
    };
    let mut all: Vec<Terms> = Vec::with_capacity(list.len());
    for value in list {
        let m = Members::of("member of \"budget\"", value)?;
        m.check_names(MEMBERS.into_iter(), &[])?;
        let terms = Terms::read(&m, price.map(|price| price.currency).unwrap_or_default())?;
        if terms.amount.is_some() && price.is_none() {
            let hint = "Give the model's \"price\", or a budget of \"tokens\".".to_owned();
            return Err(ConfigError::invalid("an amount as budget needs the model's price", hint));
        }
        if all.iter().any(|other| other.period == terms.period) {
            return Err(ConfigError::invalid(format!("there are two budgets for a {}", terms.period.word()), EXPECTED.to_owned()));
        }
        all.push(terms);
    }
    Ok(all)
}

/// What an amount has to be.
const AMOUNT: &str = "a sum of money, not negative, with at most nine decimals, and below a billion";
/// What tokens have to be.
const TOKENS: &str = "a number of tokens";
/// What a period has to be.
pub const PERIODS: &str = "\"hour\", \"day\", \"month\" or \"total\"";

impl Terms {
    /// Reads a role's budget, which says its own currency.
    ///
    /// # Errors
    /// For unknown members, what is no sum or no period.
    pub fn parse(budget: &Value) -> Result<Self, ConfigError> {
        let m = Members::of("member of a budget", budget)?;
        m.check_names(OF_ROLE.into_iter(), &[])?;
        Self::read(&m, Currency::read(&m, "currency")?)
    }

    fn read(m: &Members<'_>, currency: Currency) -> Result<Self, ConfigError> {
        let amount = m.raw("amount").map(|value| Cost::parse(value).ok_or_else(|| m.wrong("amount", AMOUNT, value))).transpose()?;
        let period = m.get_if("period", PERIODS, |word: &String| Period::parse(word).is_some())?;
        let terms = Self {
            period: period
                .and_then(|word| Period::parse(&word))
                .ok_or_else(|| ConfigError::invalid("a budget needs a period", format!("It is {PERIODS}.")))?,
            amount,
            currency,
            tokens: m.get_if("tokens", TOKENS, |tokens: &u64| i64::try_from(*tokens).is_ok())?,
        };
        if terms.amount.is_none() && terms.tokens.is_none() {
            return Err(ConfigError::invalid("a budget needs an amount or tokens", EXPECTED.to_owned()));
        }
        Ok(terms)
    }

    /// What of a request counts here: its tokens, and its cost where it is in the budget's currency.
    pub(crate) fn counted(&self, cost: Option<(Cost, Currency)>, tokens: u64) -> Sum {
        let cost = cost.filter(|(_, currency)| *currency == self.currency).map_or(Cost::ZERO, |(cost, _)| cost);
        Sum { cost, tokens }
    }
}

impl fmt::Display for Terms {
    /// "10 USD and 5000 tokens a day".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(amount) = self.amount {
            write!(f, "{amount} {}", self.currency)?;
        }
        if let Some(tokens) = self.tokens {
            write!(f, "{}{tokens} tokens", if self.amount.is_some() { " and " } else { "" })?;
        }
        match self.period {
            Period::Total => f.write_str(" in total"),
            Period::Hour => f.write_str(" an hour"),
            Period::Day | Period::Month => write!(f, " a {}", self.period.word()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[allow(clippy::needless_pass_by_value, reason = "a JSON literal is given away")]
    fn budgets(budget: Value, price: bool) -> Result<Vec<String>, ConfigError> {
        let config = json!({"budget": budget, "price": {"input": 1, "output": 1, "currency": "EUR"}});
        let m = Members::of("config key", &config).unwrap();
        let price = Price::read(&m).unwrap().filter(|_| price);
        read(&m, price.as_ref()).map(|all| all.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_budget_is_money_or_tokens_for_a_period() {
        assert_eq!(budgets(json!(null), false).unwrap(), [""; 0]);
        assert_eq!(budgets(json!({"amount": 10, "period": "day"}), true).unwrap(), ["10 EUR a day"]);
        assert_eq!(
            budgets(json!([{"amount": "0.5", "period": "hour", "tokens": 7}, {"tokens": 9, "period": "total"}]), true).unwrap(),
            ["0.5 EUR and 7 tokens an hour", "9 tokens in total"]
        );
        assert_eq!(budgets(json!({"tokens": 0, "period": "month"}), false).unwrap(), ["0 tokens a month"]);
    }

    #[test]
    fn what_is_no_budget_is_refused() {
        for bad in [
            json!(10),
            json!({}),
            json!({"amount": 10}),
            json!({"period": "day"}),
            json!({"amount": -1, "period": "day"}),
            json!({"amount": 10, "period": "week"}),
            json!({"amount": 10, "period": 1}),
            json!({"tokens": -1, "period": "day"}),
            json!({"tokens": 1.5, "period": "day"}),
            json!({"tokens": u64::MAX, "period": "day"}),
            json!({"amount": 10, "period": "day", "currency": "USD"}),
            json!([{"amount": 1, "period": "day"}, {"amount": 2, "period": "day"}]),
            json!(vec![json!({"amount": 1, "period": "day"}); 5]),
        ] {
            assert!(budgets(bad.clone(), true).is_err(), "{bad}");
        }
        assert!(budgets(json!({"amount": 1, "period": "day"}), false).unwrap_err().message.contains("needs the model's price"));
    }
}
