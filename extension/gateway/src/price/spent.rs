//! What a call has cost so far.

use serde_json::{Value, json};

use super::{Cost, Currency};

/// The cost of the requests of a call that were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spent {
    /// Nothing was billed.
    #[default]
    Nothing,
    /// So much.
    Known(Cost, Currency),
    /// That of one request at least is not known, or they are in several currencies.
    Unknown,
}

impl Spent {
    /// Adds that of another request.
    pub fn add(&mut self, other: Self) {
        *self = match (*self, other) {
            (Self::Nothing, one) | (one, Self::Nothing) => one,
            (Self::Known(one, currency), Self::Known(more, same)) if currency == same => Self::Known(one.plus(more), currency),
            _ => Self::Unknown,
        };
    }

    /// The amount, where it is known. Of no request it is not, for there is no currency.
    pub fn known(self) -> Option<(Cost, Currency)> {
        match self {
            Self::Known(cost, currency) => Some((cost, currency)),
            Self::Nothing | Self::Unknown => None,
        }
    }

    /// Writes the members `cost` and `currency`; null is unknown. What comes out of the cache costs 0.
    pub fn show(self, value: &mut Value, cached: bool) {
        let known = self.known();
        value["cost"] = known.map_or_else(|| json!(cached.then_some(0)), |(cost, _)| cost.to_json());
        value["currency"] = json!(known.as_ref().map(|(_, currency)| currency.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USD: fn(i64) -> Spent = |n| Spent::Known(Cost::from_billionths(n), Currency::parse("USD").unwrap());

    #[test]
    fn a_sum_is_known_where_all_of_it_is_and_in_one_currency() {
        let sum = |list: &[Spent]| {
            list.iter().fold(Spent::Nothing, |mut sum, one| {
                sum.add(*one);
                sum
            })
        };
        let euro = Spent::Known(Cost::ZERO, Currency::parse("EUR").unwrap());
        assert_eq!(sum(&[]), Spent::Nothing);
        assert_eq!(sum(&[Spent::Nothing, USD(1), Spent::Nothing, USD(2)]), USD(3));
        assert_eq!(sum(&[USD(1), Spent::Unknown, USD(2)]), Spent::Unknown);
        assert_eq!(sum(&[USD(1), euro]), Spent::Unknown);
    }

    #[test]
    fn unknown_is_null_and_never_0() {
        let shown = |spent: Spent, cached| {
            let mut value = json!({});
            spent.show(&mut value, cached);
            value
        };
        assert_eq!(shown(Spent::Unknown, false), json!({"cost": null, "currency": null}));
        assert_eq!(shown(Spent::Nothing, false), json!({"cost": null, "currency": null}));
        assert_eq!(shown(Spent::Nothing, true), json!({"cost": 0, "currency": null}));
        assert_eq!(shown(USD(1_500_000_000), false).to_string(), r#"{"cost":1.5,"currency":"USD"}"#);
    }
}
