//! What all callers of one model have in common, as plain data: it may lie in memory that processes share. Every function here is quick, allocates nothing, makes
//! no system call and cannot panic, for it runs while all others wait.

use std::sync::atomic::{AtomicU32, Ordering};

use super::breaker::{Breaker, Lets, Phase};
use super::bucket::Bucket;
use super::queue::{Queue, Waiter};
use super::settlement::{Settlement, Verdict};
use super::{Limits, Nanos};

/// The longest that a provider can hold a model back.
const LONGEST_HOLD: Nanos = 300_000_000_000;

/// A model's state. All zeroes are a model that nobody has called.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct State {
    /// What the model was when its failures were counted; another one begins anew.
    generation: u64,
    /// Requests in flight.
    in_flight: u32,
    unused: u32,
    /// The provider does not want to be asked until then.
    held_until: Nanos,
    requests: Bucket,
    tokens: Bucket,
    breaker: Breaker,
    queue: Queue,
    admitted: u64,
    waited: u64,
    rejected: u64,
}

/// What is to be let in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// Who asks, if it has asked before.
    pub waiter: Waiter,
    /// When it will be over at the latest.
    pub until: Nanos,
}

/// What is said to who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Go. To be given back with [`State::leave`].
    Enter(Pass, Ring),
    /// Ask again with this ticket, or [`State::give_up`].
    Wait {
        /// The place in the queue.
        ticket: u64,
        /// What is waited for.
        limit: Limit,
        /// How long at least, where that can be known.
        least: Option<Nanos>,
    },
    /// The breaker is open.
    Broken {
        /// Failures in a row.
        failures: u32,
        /// When it may be tried again; 0: it is being tried.
        retry_in: Nanos,
    },
}

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `max_concurrency` of the model.
    Concurrency,
    /// `pg_llm.max_concurrency`.
    Server,
    /// `rate_limit.rpm`.
    Requests,
    /// `rate_limit.tpm`.
    Tokens,
    /// The provider's `Retry-After`.
    HeldBack,
}

/// The right to have one request in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// It is the one that tries a half-open breaker.
    pub probe: bool,
    /// What was taken of the tokens.
    pub tokens: u32,
    /// When it was given.
    pub since: Nanos,
    /// Where it was given, for the [`super::Admission`] that gave it.
    pub place: u32,
}

/// Who is to be woken, if somebody.
pub type Ring = Option<u16>;

/// A state as it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// Requests in flight.
    pub in_flight: u32,
    /// Callers in the queue.
    pub waiting: u32,
    /// Requests that were let in.
    pub admitted: u64,
    /// Requests that had to wait before.
    pub waited: u64,
    /// Requests that were turned away.
    pub rejected: u64,
    /// Requests that may be made now.
    pub requests_left: Option<u32>,
    /// Tokens that may be used now.
    pub tokens_left: Option<u32>,
    /// When the provider may be asked again.
    pub held_until: Option<Nanos>,
    /// The breaker's.
    pub phase: Phase,
    /// The breaker's.
    pub opened_at: Option<Nanos>,
    /// In a row.
    pub failures: u32,
}

impl State {
    /// May this request be made now? `server` counts the requests of all models.
    pub fn ask(&mut self, limits: &Limits, request: &Request, server: &AtomicU32, now: Nanos) -> Answer {
        self.be(limits.generation);
        let lets = self.breaker.lets(limits.breaker, now);
        if let Lets::Nobody { retry_in } = lets {
            self.give_up(request.waiter.ticket, true);
            return Answer::Broken { failures: self.breaker.failures(), retry_in };
        }
        let ticket = request.waiter.ticket;
        let elders = self.queue.elders(ticket, now);
        if let Some((limit, least)) = self.timed_wait(limits, request, elders.count, elders.tokens, now) {
            return self.wait(request, limit, Some(least), now);
        }
        if limits.max_concurrency > 0 && self.in_flight.saturating_add(elders.count) >= limits.max_concurrency {
            return self.wait(request, Limit::Concurrency, None, now);
        }
        if !enter_server(server, limits.server) {
            return self.wait(request, Limit::Server, None, now);
        }
        let probe = lets == Lets::Probe;
        if probe {
            self.breaker.begin_probe(request.until);
        }
        self.queue.leave(ticket);
        self.in_flight = self.in_flight.saturating_add(1);
        self.admitted = self.admitted.saturating_add(1);
        let mut tokens = request.waiter.tokens;
        if limits.rpm > 0 {
            self.requests.take(1, limits.rpm, now);
        }
        if limits.tpm > 0 {
            tokens = self.tokens.take(tokens, limits.tpm, now);
        }
        // Where there is more room the next one need not wait for somebody to leave.
        let room = limits.max_concurrency == 0 || self.in_flight < limits.max_concurrency;
        Answer::Enter(Pass { probe, tokens, since: now, place: 0 }, self.queue.next_bell().filter(|_| room))
    }

    /// What only time brings, and how long it takes.
    fn timed_wait(&self, limits: &Limits, request: &Request, elders: u32, their_tokens: u64, now: Nanos) -> Option<(Limit, Nanos)> {
        let held = self.held(now);
        let requests = if limits.rpm > 0 { self.requests.wait(1, u64::from(elders), limits.rpm, now) } else { 0 };
        let tokens = match limits.tpm {
            0 => 0,
            tpm => self.tokens.wait(u64::from(request.waiter.tokens), their_tokens, tpm, now),
        };
        [(Limit::HeldBack, held), (Limit::Requests, requests), (Limit::Tokens, tokens)]
            .into_iter()
            .max_by_key(|(_, wait)| *wait)
            .filter(|(_, wait)| *wait > 0)
    }

    fn wait(&mut self, request: &Request, limit: Limit, least: Option<Nanos>, now: Nanos) -> Answer {
        if request.waiter.ticket == 0 {
            self.waited = self.waited.saturating_add(1);
        }
        Answer::Wait { ticket: self.queue.wait(request.waiter, limit == Limit::Server, now), limit, least }
    }

    /// A request is over. Gives whom to wake.
    pub fn leave(&mut self, limits: &Limits, pass: Pass, settlement: &Settlement, server: &AtomicU32, now: Nanos) -> Ring {
        self.vacate(1, false, server);
        // What a request to another endpoint found says nothing of this one.
        let same = self.generation == limits.generation;
        match settlement.verdict {
            Verdict::Alive if same => self.breaker.alive(pass.probe),
            Verdict::Failed if same => self.breaker.failed(pass.probe, limits.breaker, now),
            _ => self.breaker.undecided(pass.probe),
        }
        if let Some(hold) = settlement.hold_back.filter(|_| same) {
            self.held_until = self.held_until.max(now.saturating_add(hold.min(LONGEST_HOLD)));
        }
        if settlement.unsent && limits.rpm > 0 {
            self.requests.correct(1, 0, limits.rpm, now);
        }
        if let Some(real) = settlement.tokens.filter(|_| limits.tpm > 0) {
            self.tokens.correct(pass.tokens, real, limits.tpm, now);
        }
        self.queue.next_bell()
    }

    /// Requests of a process that has gone are over, its probe among them. Gives whom to wake.
    pub fn vacate(&mut self, requests: u32, probe: bool, server: &AtomicU32) -> Ring {
        self.in_flight = self.in_flight.saturating_sub(requests);
        let _ = server.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| Some(n.saturating_sub(requests)));
        if probe {
            self.breaker.undecided(true);
        }
        self.queue.next_bell()
    }

    /// Somebody waits no more, and is turned away or goes.
    pub fn give_up(&mut self, ticket: u64, turned_away: bool) {
        self.queue.leave(ticket);
        if turned_away {
            self.rejected = self.rejected.saturating_add(1);
        }
    }

    /// Whether nobody is in it or waits.
    pub fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.queue.is_empty()
    }

    /// Whether forgetting it loses nothing that must be kept.
    pub fn is_blank(&self, now: Nanos) -> bool {
        self.is_idle()
            && self.held(now) == 0
            && self.breaker.phase(now) == Phase::Closed
            && self.requests.is_full(now)
            && self.tokens.is_full(now)
    }

    /// As it is shown.
    pub fn show(&self, limits: &Limits, now: Nanos) -> Shown {
        let left = |bucket: Bucket, rate: u32| (rate > 0).then(|| bucket.left(rate, now));
        Shown {
            in_flight: self.in_flight,
            waiting: self.queue.len(now),
            admitted: self.admitted,
            waited: self.waited,
            rejected: self.rejected,
            requests_left: left(self.requests, limits.rpm),
            tokens_left: left(self.tokens, limits.tpm),
            held_until: Some(self.held(now)).filter(|held| *held > 0).map(|held| now.saturating_add(held)),
            phase: self.breaker.phase(now),
            opened_at: self.breaker.opened_at(),
            failures: self.breaker.failures(),
        }
    }

    fn held(&self, now: Nanos) -> Nanos {
        // The bound also holds after a clock that went backwards.
        self.held_until.saturating_sub(now).min(LONGEST_HOLD)
    }

    /// Forgets what was found out of another endpoint.
    fn be(&mut self, generation: u64) {
        if self.generation != generation {
            self.generation = generation;
            self.breaker = Breaker::default();
            self.held_until = 0;
        }
    }
}

fn enter_server(server: &AtomicU32, most: u32) -> bool {
    let enter = |n: u32| if most > 0 && n >= most { None } else { Some(n.saturating_add(1)) };
    server.fetch_update(Ordering::AcqRel, Ordering::Acquire, enter).is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::breaker::Policy;
    use super::*;

    const SECOND: Nanos = 1_000_000_000;
    const NOW: Nanos = 10_000 * SECOND;
    static NO_SERVER: AtomicU32 = AtomicU32::new(0);

    fn limits(max_concurrency: u32, rpm: u32, tpm: u32) -> Limits {
        Limits { max_concurrency, rpm, tpm, ..Limits::default() }
    }

    fn asking(ticket: u64, tokens: u32) -> Request {
        Request { waiter: Waiter { ticket, tokens, bell: None }, until: NOW + 1_000 * SECOND }
    }

    fn enter(state: &mut State, limits: &Limits, ticket: u64, now: Nanos) -> Result<Pass, (u64, Limit, Option<Nanos>)> {
        match state.ask(limits, &asking(ticket, 10), &NO_SERVER, now) {
            Answer::Enter(pass, _) => Ok(pass),
            Answer::Wait { ticket, limit, least } => Err((ticket, limit, least)),
            Answer::Broken { .. } => panic!("broken"),
        }
    }

    #[test]
    fn as_many_as_the_limit_says_are_in_and_the_rest_come_in_order() {
        let (mut state, limits) = (State::default(), limits(2, 0, 0));
        let first = enter(&mut state, &limits, 0, NOW).unwrap();
        let second = enter(&mut state, &limits, 0, NOW).unwrap();
        let (third, limit, least) = enter(&mut state, &limits, 0, NOW).unwrap_err();
        assert_eq!((limit, least), (Limit::Concurrency, None));
        let (fourth, ..) = enter(&mut state, &limits, 0, NOW).unwrap_err();
        state.leave(&limits, first, &Settlement::alive(None), &NO_SERVER, NOW);
        assert!(enter(&mut state, &limits, 0, NOW).is_err(), "nobody new comes before those who wait");
        assert!(enter(&mut state, &limits, fourth, NOW).is_err(), "nor does the one behind");
        assert!(enter(&mut state, &limits, third, NOW).is_ok());
        state.leave(&limits, second, &Settlement::undecided(), &NO_SERVER, NOW);
        assert!(enter(&mut state, &limits, fourth, NOW).is_ok());
        let shown = state.show(&limits, NOW);
        assert_eq!((shown.in_flight, shown.waiting, shown.admitted, shown.waited, shown.rejected), (2, 1, 4, 3, 0));
    }

    #[test]
    fn one_who_gives_up_is_nobodys_elder() {
        let (mut state, limits) = (State::default(), limits(1, 0, 0));
        let pass = enter(&mut state, &limits, 0, NOW).unwrap();
        let (second, ..) = enter(&mut state, &limits, 0, NOW).unwrap_err();
        let (third, ..) = enter(&mut state, &limits, 0, NOW).unwrap_err();
        state.give_up(second, true);
        state.leave(&limits, pass, &Settlement::alive(None), &NO_SERVER, NOW);
        assert!(enter(&mut state, &limits, third, NOW).is_ok());
        assert_eq!(state.show(&limits, NOW).rejected, 1);
    }

    #[test]
    fn who_leaves_wakes_who_is_next() {
        let (mut state, limits) = (State::default(), limits(1, 0, 0));
        let pass = enter(&mut state, &limits, 0, NOW).unwrap();
        for bell in [5, 6] {
            let request = Request { waiter: Waiter { ticket: 0, tokens: 0, bell: Some(bell) }, until: NOW };
            assert!(matches!(state.ask(&limits, &request, &NO_SERVER, NOW), Answer::Wait { .. }));
        }
        assert_eq!(state.leave(&limits, pass, &Settlement::alive(None), &NO_SERVER, NOW), Some(5));
    }

    #[test]
    fn a_rate_is_shared_and_says_how_long_it_takes() {
        let (mut state, limits) = (State::default(), limits(0, 2, 0));
        for _ in 0..2 {
            let pass = enter(&mut state, &limits, 0, NOW).unwrap();
            state.leave(&limits, pass, &Settlement::alive(None), &NO_SERVER, NOW);
        }
        let (first, limit, least) = enter(&mut state, &limits, 0, NOW).unwrap_err();
        assert_eq!((limit, least), (Limit::Requests, Some(30 * SECOND)));
        let (second, _, least) = enter(&mut state, &limits, 0, NOW).unwrap_err();
        assert_eq!(least, Some(60 * SECOND), "behind the first");
        for still in 1..30 {
            assert!(enter(&mut state, &limits, first, NOW + still * SECOND).is_err());
            assert!(enter(&mut state, &limits, second, NOW + still * SECOND).is_err());
        }
        assert!(enter(&mut state, &limits, second, NOW + 30 * SECOND).is_err());
        assert!(enter(&mut state, &limits, first, NOW + 30 * SECOND).is_ok());
    }

    #[test]
    fn tokens_are_estimated_first_and_counted_after() {
        let (mut state, limits) = (State::default(), limits(0, 0, 100));
        let pass = enter(&mut state, &limits, 0, NOW).unwrap();
        assert_eq!(state.show(&limits, NOW).tokens_left, Some(90));
        state.leave(&limits, pass, &Settlement::alive(Some(60)), &NO_SERVER, NOW);
        assert_eq!(state.show(&limits, NOW).tokens_left, Some(40));
        let pass = enter(&mut state, &limits, 0, NOW).unwrap();
        state.leave(&limits, pass, &Settlement::alive(None), &NO_SERVER, NOW);
        assert_eq!(state.show(&limits, NOW).tokens_left, Some(30), "what no usage corrects stays as it was estimated");
    }

    #[test]
    fn what_was_not_sent_costs_nothing() {
        let (mut state, limits) = (State::default(), limits(0, 5, 100));
        let pass = enter(&mut state, &limits, 0, NOW).unwrap();
        let unsent = Settlement { unsent: true, tokens: Some(0), ..Settlement::undecided() };
        state.leave(&limits, pass, &unsent, &NO_SERVER, NOW);
        let shown = state.show(&limits, NOW);
        assert_eq!((shown.requests_left, shown.tokens_left), (Some(5), Some(100)));
    }

    #[test]
    fn a_provider_that_asks_for_time_gets_it_from_all_and_never_too_much() {
        let (mut state, limits) = (State::default(), limits(0, 0, 0));
        let pass = enter(&mut state, &limits, 0, NOW).unwrap();
        let hold = |hold| Settlement { hold_back: Some(hold), ..Settlement::alive(None) };
        state.leave(&limits, pass, &hold(7 * SECOND), &NO_SERVER, NOW);
        assert_eq!(enter(&mut state, &limits, 0, NOW).unwrap_err().1, Limit::HeldBack);
        let pass = enter(&mut state, &limits, 0, NOW + 7 * SECOND).unwrap();
        state.leave(&limits, pass, &hold(u64::MAX), &NO_SERVER, NOW);
        assert_eq!(enter(&mut state, &limits, 0, NOW).unwrap_err().2, Some(LONGEST_HOLD));
        assert_eq!(enter(&mut state, &limits, 0, 5).unwrap_err().2, Some(LONGEST_HOLD), "nor does a clock that went backwards");
    }

    #[test]
    fn an_open_breaker_lets_nobody_through_but_one_probe() {
        let limits = Limits { breaker: Policy { failures: 2, pause: SECOND }, ..limits(0, 0, 0) };
        let mut state = State::default();
        for _ in 0..2 {
            let pass = enter(&mut state, &limits, 0, NOW).unwrap();
            state.leave(&limits, pass, &Settlement::failed(), &NO_SERVER, NOW);
        }
        let ask = |state: &mut State, now| state.ask(&limits, &asking(0, 0), &NO_SERVER, now);
        assert_eq!(ask(&mut state, NOW), Answer::Broken { failures: 2, retry_in: SECOND });
        let Answer::Enter(probe, _) = ask(&mut state, NOW + SECOND) else { panic!("half open") };
        assert!(probe.probe);
        assert_eq!(ask(&mut state, NOW + SECOND), Answer::Broken { failures: 2, retry_in: 0 });
        state.leave(&limits, probe, &Settlement::alive(None), &NO_SERVER, NOW + SECOND);
        assert!(matches!(ask(&mut state, NOW + SECOND), Answer::Enter(..)));
        assert_eq!(state.show(&limits, NOW).rejected, 2);
    }

    #[test]
    fn the_permits_of_a_process_that_died_are_given_back_and_its_probe_too() {
        let limits = Limits { breaker: Policy { failures: 1, pause: SECOND }, ..limits(3, 0, 0) };
        let (mut state, server) = (State::default(), AtomicU32::new(0));
        let ask = |state: &mut State, now| state.ask(&limits, &asking(0, 0), &server, now);
        let Answer::Enter(pass, _) = ask(&mut state, NOW) else { panic!() };
        state.leave(&limits, pass, &Settlement::failed(), &server, NOW);
        assert!(matches!(ask(&mut state, NOW + SECOND), Answer::Enter(Pass { probe: true, .. }, _)));
        assert_eq!(server.load(Ordering::Relaxed), 1);
        state.vacate(1, true, &server);
        assert_eq!((state.in_flight, server.load(Ordering::Relaxed)), (0, 0));
        assert!(matches!(ask(&mut state, NOW + SECOND), Answer::Enter(Pass { probe: true, .. }, _)));
        state.vacate(99, false, &server);
        assert_eq!((state.in_flight, server.load(Ordering::Relaxed)), (0, 0), "never below none");
    }

    #[test]
    fn the_servers_limit_counts_all_models() {
        let server = AtomicU32::new(0);
        let limits = Limits { server: 2, ..limits(0, 0, 0) };
        let (mut one, mut other) = (State::default(), State::default());
        let Answer::Enter(pass, _) = one.ask(&limits, &asking(0, 0), &server, NOW) else { panic!() };
        assert!(matches!(other.ask(&limits, &asking(0, 0), &server, NOW), Answer::Enter(..)));
        let Answer::Wait { ticket, limit: Limit::Server, .. } = other.ask(&limits, &asking(0, 0), &server, NOW) else { panic!() };
        one.leave(&limits, pass, &Settlement::alive(None), &server, NOW);
        assert!(matches!(other.ask(&limits, &asking(ticket, 0), &server, NOW), Answer::Enter(..)));
    }

    #[test]
    fn another_endpoint_begins_without_the_former_ones_failures_but_with_its_permits() {
        let before = Limits { breaker: Policy { failures: 1, pause: SECOND }, generation: 1, ..limits(2, 0, 0) };
        let after = Limits { generation: 2, ..before };
        let mut state = State::default();
        let slow = enter(&mut state, &before, 0, NOW).unwrap();
        let pass = enter(&mut state, &before, 0, NOW).unwrap();
        state.leave(&before, pass, &Settlement::failed(), &NO_SERVER, NOW);
        assert!(matches!(state.ask(&before, &asking(0, 0), &NO_SERVER, NOW), Answer::Broken { .. }));
        assert!(enter(&mut state, &after, 0, NOW).is_ok());
        assert_eq!(enter(&mut state, &after, 0, NOW).unwrap_err().1, Limit::Concurrency);
        state.leave(&before, slow, &Settlement::failed(), &NO_SERVER, NOW);
        assert_eq!(state.show(&after, NOW).phase, Phase::Closed);
    }

    #[test]
    fn a_lower_limit_lets_those_who_are_in_finish() {
        let mut state = State::default();
        let passes: Vec<Pass> = (0..5).map(|_| enter(&mut state, &limits(0, 0, 0), 0, NOW).unwrap()).collect();
        let lower = limits(1, 0, 0);
        let (ticket, ..) = enter(&mut state, &lower, 0, NOW).unwrap_err();
        for pass in passes {
            assert!(enter(&mut state, &lower, ticket, NOW).is_err());
            state.leave(&lower, pass, &Settlement::alive(None), &NO_SERVER, NOW);
        }
        assert!(enter(&mut state, &lower, ticket, NOW).is_ok());
    }
}
