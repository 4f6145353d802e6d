//! Who gets the places in which calls run, where several wait for them: each role as many as the others, and within a role the oldest first.

use std::collections::HashMap;

/// Somebody with rows that wait.
#[derive(Clone, Copy, Debug)]
pub struct Claimant<'a> {
    /// Whose it is.
    pub role: u32,
    /// The model that it calls.
    pub instance: &'a str,
    /// Calls that it has in flight.
    pub in_flight: usize,
    /// Calls that it may have in flight.
    pub most: usize,
    /// Calls that all claimants of its model may have in flight together.
    pub most_of_instance: usize,
    /// Rows that wait.
    pub waiting: usize,
}

/// How many of `places` each claimant gets. They stand in the order of their age.
pub fn fair_shares(places: usize, claimants: &[Claimant<'_>]) -> Vec<usize> {
    let mut of_role: HashMap<u32, usize> = HashMap::new();
    let mut of_instance: HashMap<&str, usize> = HashMap::new();
    for claimant in claimants {
        *of_role.entry(claimant.role).or_default() += claimant.in_flight;
        *of_instance.entry(claimant.instance).or_default() += claimant.in_flight;
    }
    let mut shares = vec![0; claimants.len()];
    for _ in 0..places {
        let may = |at: &usize| {
            let (share, claimant): (usize, &Claimant<'_>) = (shares[*at], &claimants[*at]);
            share < claimant.waiting
                && claimant.in_flight + share < claimant.most
                && of_instance.get(claimant.instance).is_none_or(|used| *used < claimant.most_of_instance)
        };
        let used = |at: &usize| of_role.get(&claimants[*at].role).copied().unwrap_or(0);
        let Some(next) = (0..claimants.len()).filter(may).min_by_key(used) else { break };
        shares[next] += 1;
        *of_role.entry(claimants[next].role).or_default() += 1;
        *of_instance.entry(claimants[next].instance).or_default() += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: usize = usize::MAX;

    fn of(role: u32, waiting: usize) -> Claimant<'static> {
        Claimant { role, instance: "m", in_flight: 0, most: ANY, most_of_instance: ANY, waiting }
    }

    #[test]
    fn within_a_role_the_oldest_goes_first() {
        assert_eq!(fair_shares(4, &[of(1, 3), of(1, 9), of(1, 9)]), [3, 1, 0]);
    }

    #[test]
    fn a_role_with_little_is_served_beside_one_with_much() {
        assert_eq!(fair_shares(8, &[of(1, 1000), of(1, 1000), of(2, 2), of(3, 1000)]), [3, 0, 2, 3]);
        let busy = Claimant { in_flight: 6, ..of(1, 1000) };
        assert_eq!(fair_shares(2, &[busy, of(2, 5)]), [0, 2]);
    }

    #[test]
    fn nobody_gets_more_than_it_may_have_or_wants() {
        let narrow = Claimant { most: 2, in_flight: 1, ..of(1, 10) };
        assert_eq!(fair_shares(8, &[narrow, of(2, 3)]), [1, 3]);
        assert_eq!(fair_shares(0, &[of(1, 1)]), [0]);
        assert_eq!(fair_shares(5, &[]), [0; 0]);
    }

    #[test]
    fn claimants_of_one_model_share_what_it_may_have() {
        let narrow = |role| Claimant { instance: "narrow", most_of_instance: 3, ..of(role, 10) };
        assert_eq!(fair_shares(10, &[narrow(1), narrow(2), of(1, 10)]), [2, 1, 7]);
    }
}
