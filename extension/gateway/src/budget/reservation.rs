//! What a request in flight holds of its budgets.

use std::sync::Arc;

use super::{Budget, Period, Shown, Sum, Terms, utc};
use crate::admission::Settlement;
use crate::price::{Cost, Currency};

/// What a request holds of each of its budgets. Dropping it charges them with what was held: it may have been billed.
pub(crate) struct Reservation {
    budgets: Arc<[Budget]>,
    cost: Option<(Cost, Currency)>,
    tokens: u64,
    /// What it took, once that is known.
    real: Option<(Option<Cost>, Option<u64>)>,
}

/// A budget that has no room for a request.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) whose: String,
    pub(crate) hint: &'static str,
    terms: Terms,
    shown: Shown,
    wanted: Sum,
}

impl Reservation {
    /// Holds what a request is estimated to cost and take of all of `budgets`, or of none.
    ///
    /// # Errors
    /// The first budget that has no room for it.
    pub(crate) fn hold(budgets: &Arc<[Budget]>, cost: Option<(Cost, Currency)>, tokens: u64) -> Result<Self, Box<Refused>> {
        for (at, budget) in budgets.iter().enumerate() {
            let wanted = budget.terms.counted(cost, tokens);
            if let Err(shown) = budget.accounting.hold(&budget.terms, wanted) {
                for before in &budgets[..at] {
                    before.accounting.settle(&before.terms, before.terms.counted(cost, tokens), Sum::default());
                }
                return Err(Box::new(Refused { whose: budget.whose.clone(), hint: budget.hint, terms: budget.terms, shown, wanted }));
            }
        }
        Ok(Self { budgets: Arc::clone(budgets), cost, tokens, real: None })
    }

    /// The request is over. What is not known stays as it was estimated.
    pub(crate) fn settle(mut self, settlement: &Settlement) {
        self.real = Some((settlement.cost, settlement.tokens));
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let (cost, tokens) = self.real.unwrap_or_default();
        // The price is one: so is the currency.
        let cost = self.cost.map(|(estimate, currency)| (cost.unwrap_or(estimate), currency));
        let tokens = tokens.unwrap_or(self.tokens);
        for Budget { terms, accounting, .. } in self.budgets.iter() {
            accounting.settle(terms, terms.counted(self.cost, self.tokens), terms.counted(cost, tokens));
        }
    }
}

impl Refused {
    /// What is wrong, for a message that begins with the model.
    pub(crate) fn what(&self) -> String {
        let all = self.shown.spent.plus(self.shown.held);
        let used_up =
            self.terms.amount.is_some_and(|limit| all.cost >= limit) || self.terms.tokens.is_some_and(|limit| all.tokens >= limit);
        let how = if used_up { "is used up" } else { "has no room for this request" };
        format!("the budget of {} ({}) {how}", self.whose, self.terms)
    }

    pub(crate) fn detail(&self) -> String {
        let Shown { begin, spent, held, in_flight, .. } = &self.shown;
        let since = if self.terms.period == Period::Total { String::new() } else { format!(" since {}", utc(*begin)) };
        let of = |sum: &Sum| {
            let money = self.terms.amount.map(|_| format!("{} {}", sum.cost, self.terms.currency));
            let tokens = self.terms.tokens.map(|_| format!("{} tokens", sum.tokens));
            money.into_iter().chain(tokens).collect::<Vec<_>>().join(" and ")
        };
        let in_flight = if *in_flight > 0 { format!("; {} held for {in_flight} in flight", of(held)) } else { String::new() };
        format!("Spent{since}: {}{in_flight}; this request is estimated at {}.", of(spent), of(&self.wanted))
    }

    pub(crate) fn hint(&self) -> String {
        match self.shown.end {
            Some(end) => format!("It is renewed at {}. {}", utc(end), self.hint),
            None => format!("It is never renewed. {}", self.hint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Account, Accounting};
    use super::*;
    use std::sync::{Mutex, PoisonError};

    const NOW: i64 = 1_763_870_400;

    #[derive(Default)]
    struct Alone(Mutex<Account>);

    impl Accounting for Alone {
        fn hold(&self, terms: &Terms, wanted: Sum) -> Result<(), Shown> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).hold(terms, wanted, NOW)
        }
        fn settle(&self, terms: &Terms, held: Sum, real: Sum) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).settle(terms.period, held, real, NOW);
        }
    }

    fn budget(amount: i64, accounting: &Arc<Alone>) -> Budget {
        let amount = Some(Cost::from_billionths(amount));
        Budget {
            whose: "model \"m\"".to_owned(),
            hint: "Raise it.",
            terms: Terms { period: Period::Day, amount, currency: Currency::USD, tokens: None },
            accounting: Arc::clone(accounting) as Arc<dyn Accounting>,
        }
    }

    fn spent(account: &Alone) -> (i64, i64) {
        let shown = account.0.lock().unwrap().show(Period::Day, NOW);
        (shown.spent.cost.billionths(), shown.held.cost.billionths())
    }

    #[allow(clippy::unnecessary_wraps, reason = "as a cost is given")]
    fn usd(n: i64) -> Option<(Cost, Currency)> {
        Some((Cost::from_billionths(n), Currency::USD))
    }

    #[test]
    fn a_request_is_held_against_all_of_its_budgets_or_none() {
        let (wide, narrow) = (Arc::new(Alone::default()), Arc::new(Alone::default()));
        let budgets: Arc<[Budget]> = [budget(1_000_000_000, &wide), budget(10, &narrow)].into();
        let refused = Reservation::hold(&budgets, usd(11), 5).map(|_| ()).unwrap_err();
        assert_eq!(refused.what(), "the budget of model \"m\" (0.00000001 USD a day) has no room for this request");
        assert_eq!(refused.detail(), "Spent since 2025-11-23 00:00:00 UTC: 0 USD; this request is estimated at 0.000000011 USD.");
        assert_eq!(refused.hint(), "It is renewed at 2025-11-24 00:00:00 UTC. Raise it.");
        assert_eq!((spent(&wide), spent(&narrow)), ((0, 0), (0, 0)));
        let held = Reservation::hold(&budgets, usd(10), 5).map_err(|_| ()).unwrap();
        assert_eq!((spent(&wide), spent(&narrow)), ((0, 10), (0, 10)));
        held.settle(&Settlement { cost: Some(Cost::from_billionths(4)), ..Settlement::alive(None) });
        assert_eq!((spent(&wide), spent(&narrow)), ((4, 0), (4, 0)));
    }

    #[test]
    fn what_was_not_sent_is_given_back_and_what_nobody_knows_is_charged() {
        let account = Arc::new(Alone::default());
        let budgets: Arc<[Budget]> = [budget(100, &account)].into();
        let hold = |cost| Reservation::hold(&budgets, cost, 0).map_err(|_| ()).unwrap();
        hold(usd(10)).settle(&Settlement { cost: Some(Cost::ZERO), ..Settlement::undecided() });
        assert_eq!(spent(&account), (0, 0));
        hold(usd(10)).settle(&Settlement::undecided());
        assert_eq!(spent(&account), (10, 0));
        drop(hold(usd(20)));
        assert_eq!(spent(&account), (30, 0));
        let euro = Some((Cost::from_billionths(1000), Currency::parse("EUR").unwrap()));
        drop(hold(euro));
        drop(hold(None));
        assert_eq!(spent(&account), (30, 0), "another currency, and no price, do not count");
    }
}
