//! What was spent of one budget, as plain data: it may lie in memory that processes share. Every function here is quick, allocates nothing, makes no system call
//! and cannot panic, for it runs while all others wait.

use super::{Period, Terms};
use crate::price::Cost;

/// A clock that was set back by more than this was wrong before.
const WRONG_CLOCK: i64 = 24 * 3600;

/// Money and tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Money, in the budget's currency.
    pub cost: Cost,
    /// Tokens.
    pub tokens: u64,
}

impl Sum {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { cost: self.cost.plus(other.cost), tokens: self.tokens.saturating_add(other.tokens) }
    }

    /// What is left, at least nothing.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self { cost: self.cost.minus(other.cost), tokens: self.tokens.saturating_sub(other.tokens) }
    }

    fn most(self, other: Self) -> Self {
        Self { cost: self.cost.max(other.cost), tokens: self.tokens.max(other.tokens) }
    }
}

/// An account. All zeroes are one that nobody has begun.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    /// When its period began, in seconds since 1970.
    begin: i64,
    spent: Sum,
    held: Sum,
    in_flight: u32,
    begun: u32,
}

/// An account as it is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// When its period began, in seconds since 1970.
    pub begin: i64,
    /// When the next one begins; none: never.
    pub end: Option<i64>,
    /// By requests that are over.
    pub spent: Sum,
    /// For requests in flight, as estimated.
    pub held: Sum,
    /// How many of these there are.
    pub in_flight: u32,
}

impl Account {
    /// Whether somebody has said what was spent before.
    pub fn is_begun(&self) -> bool {
        self.begun != 0
    }

    /// Says what was spent in the present period so far. `again`, after the account has begun: of what it says and what is counted here, the larger stands.
    pub fn begin(&mut self, period: Period, spent: Sum, again: bool, now: i64) {
        self.renew(period, now);
        if self.begun == 0 {
            self.begun = 1;
            self.spent = self.spent.plus(spent);
        } else if again {
            self.spent = self.spent.most(spent);
        }
    }

    /// Holds what a request is estimated to take, where that is within the budget.
    ///
    /// # Errors
    /// What there is, where it is not.
    pub fn hold(&mut self, terms: &Terms, wanted: Sum, now: i64) -> Result<(), Shown> {
        self.renew(terms.period, now);
        let all = self.spent.plus(self.held).plus(wanted);
        // A budget of nothing lets nothing pass, a request that is estimated to cost nothing included.
        let over = |limit: Option<u64>, all: u64| limit.is_some_and(|limit| all > limit || limit == 0);
        let money = terms.amount.is_some_and(|limit| all.cost > limit || limit == Cost::ZERO);
        if money || over(terms.tokens, all.tokens) {
            return Err(self.show(terms.period, now));
        }
        self.held = self.held.plus(wanted);
        self.in_flight = self.in_flight.saturating_add(1);
        Ok(())
    }

    /// A request that held so much is over and took so much. It counts for the period in which it ends.
    pub fn settle(&mut self, period: Period, held: Sum, real: Sum, now: i64) {
        self.renew(period, now);
        self.held = self.held.minus(held);
        self.in_flight = self.in_flight.saturating_sub(1);
        self.spent = self.spent.plus(real);
    }

    /// Requests of a process that has gone are over. What they held is taken for spent: their providers may bill it.
    pub fn vacate(&mut self, held: Sum, requests: u32) {
        self.held = self.held.minus(held);
        self.in_flight = self.in_flight.saturating_sub(requests);
        self.spent = self.spent.plus(held);
    }

    /// As it is shown.
    pub fn show(&self, period: Period, now: i64) -> Shown {
        let mut renewed = *self;
        renewed.renew(period, now);
        let end = period.bounds(renewed.begin).1;
        Shown { begin: renewed.begin, end, spent: renewed.spent, held: renewed.held, in_flight: renewed.in_flight }
    }

    /// Whether forgetting it loses nothing: nobody is in flight, and its period is over.
    pub fn is_over(&self, period_end: i64, now: i64) -> bool {
        self.in_flight == 0 && period_end <= now
    }

    /// Goes on to the period that `now` is in. What is held goes with it.
    fn renew(&mut self, period: Period, now: i64) {
        let (begin, _) = period.bounds(now);
        if begin > self.begin || self.begin.saturating_sub(begin) > WRONG_CLOCK {
            self.begin = begin;
            self.spent = Sum::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::Currency;

    const NOW: i64 = 1_000_000 * 3600;
    const HOURLY: Terms = terms(Some(100), Some(1000));

    const fn terms(amount: Option<i64>, tokens: Option<u64>) -> Terms {
        let amount = match amount {
            Some(amount) => Some(Cost::from_billionths(amount)),
            None => None,
        };
        Terms { period: Period::Hour, amount, currency: Currency::USD, tokens }
    }

    fn sum(cost: i64, tokens: u64) -> Sum {
        Sum { cost: Cost::from_billionths(cost), tokens }
    }

    fn begun(spent: Sum) -> Account {
        let mut account = Account::default();
        account.begin(Period::Hour, spent, false, NOW);
        account
    }

    #[test]
    fn what_is_in_flight_is_held_against_others_and_settled_by_what_it_took() {
        let mut account = begun(Sum::default());
        assert!(account.hold(&HOURLY, sum(60, 10), NOW).is_ok());
        let refused = account.hold(&HOURLY, sum(41, 10), NOW).unwrap_err();
        assert_eq!((refused.spent, refused.held, refused.in_flight), (Sum::default(), sum(60, 10), 1));
        account.settle(Period::Hour, sum(60, 10), sum(59, 7), NOW);
        assert!(account.hold(&HOURLY, sum(41, 10), NOW).is_ok(), "up to the budget, and not beyond");
        assert_eq!(account.show(Period::Hour, NOW).spent, sum(59, 7));
    }

    #[test]
    fn either_limit_is_enough_and_a_budget_of_nothing_lets_nothing_pass() {
        let mut account = begun(sum(0, 999));
        assert!(account.hold(&HOURLY, sum(0, 2), NOW).is_err());
        assert!(account.hold(&terms(Some(100), None), sum(0, 2), NOW).is_ok());
        assert!(begun(Sum::default()).hold(&terms(Some(0), None), Sum::default(), NOW).is_err());
        assert!(begun(Sum::default()).hold(&terms(None, Some(0)), Sum::default(), NOW).is_err());
    }

    #[test]
    fn each_period_begins_with_nothing_spent_and_with_what_is_in_flight() {
        let mut account = begun(sum(100, 0));
        assert!(account.hold(&HOURLY, sum(1, 0), NOW + 3599).is_err());
        assert!(account.hold(&HOURLY, sum(90, 0), NOW + 3600).is_ok());
        let shown = account.show(Period::Hour, NOW + 7200);
        assert_eq!((shown.begin, shown.end, shown.spent, shown.held), (NOW + 7200, Some(NOW + 10_800), Sum::default(), sum(90, 0)));
        account.settle(Period::Hour, sum(90, 0), sum(90, 0), NOW + 7200);
        assert_eq!(account.show(Period::Hour, NOW + 7200).spent, sum(90, 0));
    }

    #[test]
    fn an_account_is_begun_once_and_later_words_only_raise_it() {
        let mut account = begun(sum(10, 10));
        account.begin(Period::Hour, sum(50, 5), false, NOW);
        assert_eq!(account.show(Period::Hour, NOW).spent, sum(10, 10));
        account.begin(Period::Hour, sum(50, 5), true, NOW);
        assert_eq!(account.show(Period::Hour, NOW).spent, sum(50, 10));
    }

    #[test]
    fn requests_of_a_process_that_died_are_charged_as_they_were_estimated() {
        let mut account = begun(Sum::default());
        account.hold(&HOURLY, sum(30, 3), NOW).unwrap();
        account.hold(&HOURLY, sum(20, 2), NOW).unwrap();
        account.vacate(sum(30, 3), 1);
        let shown = account.show(Period::Hour, NOW);
        assert_eq!((shown.spent, shown.held, shown.in_flight), (sum(30, 3), sum(20, 2), 1));
        account.vacate(sum(1000, 1000), 99);
        assert_eq!(account.show(Period::Hour, NOW).in_flight, 0);
    }

    #[test]
    fn a_clock_that_jitters_back_over_a_boundary_gives_no_second_budget_and_one_that_was_wrong_does() {
        let mut account = begun(sum(100, 0));
        assert!(account.hold(&HOURLY, sum(1, 0), NOW - 1).is_err());
        assert!(account.hold(&HOURLY, sum(1, 0), NOW - 3 * WRONG_CLOCK).is_ok());
    }
}
