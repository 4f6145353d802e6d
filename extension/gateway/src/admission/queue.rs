//! Who waits, in the order of their coming.

use super::Nanos;

/// Places in the queue. Who finds none waits without an order, behind those in it.
const PLACES: usize = 64;

/// Who has not asked for so long is gone. Those who wait ask every few milliseconds.
const GONE_AFTER: Nanos = 2_000_000_000;

/// The queue of one model. All zeroes are an empty one.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    /// The latest number that was given out.
    latest: u64,
    /// Places that are taken.
    taken: u32,
    unused: u32,
    places: [Place; PLACES],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// 0: free.
    ticket: u64,
    seen: Nanos,
    tokens: u32,
    /// 0: none; else one more than its number.
    bell: u16,
    /// Waits for the whole server's limit, and so stands in nobody's way here.
    elsewhere: u16,
}

/// One who waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiter {
    /// The number that says who came first; 0 for one who has not waited yet.
    pub ticket: u64,
    /// What it will take of the tokens.
    pub tokens: u32,
    /// What to ring for it.
    pub bell: Option<u16>,
}

/// Those who came before somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Elders {
    /// How many they are.
    pub(super) count: u32,
    /// What they will take of the tokens.
    pub(super) tokens: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self { latest: 0, taken: 0, unused: 0, places: [Place::default(); PLACES] }
    }
}

impl Queue {
    /// Those who come before the holder of `ticket`, or before somebody new (0). Forgets who is gone.
    pub(super) fn elders(&mut self, ticket: u64, now: Nanos) -> Elders {
        let mut elders = Elders::default();
        if self.taken == 0 {
            return elders;
        }
        for place in self.places.iter_mut().filter(|p| p.ticket != 0) {
            if place.seen > now {
                // After a clock that went backwards.
                place.seen = now;
            } else if now - place.seen > GONE_AFTER {
                *place = Place::default();
                self.taken = self.taken.saturating_sub(1);
                continue;
            }
            if place.elsewhere == 0 && (ticket == 0 || place.ticket < ticket) {
                elders.count = elders.count.saturating_add(1);
                elders.tokens = elders.tokens.saturating_add(u64::from(place.tokens));
            }
        }
        elders
    }

    /// Puts somebody in, or notes that it is still there. Gives its ticket. `elsewhere`: what it waits for is not this model.
    pub(super) fn wait(&mut self, waiter: Waiter, elsewhere: bool, now: Nanos) -> u64 {
        let ticket = if waiter.ticket == 0 {
            self.latest = self.latest.saturating_add(1);
            self.latest
        } else {
            waiter.ticket
        };
        let mut free = None;
        let mut own = None;
        for (at, place) in self.places.iter().enumerate() {
            if place.ticket == ticket {
                own = Some(at);
                break;
            }
            if place.ticket == 0 && free.is_none() {
                free = Some(at);
            }
        }
        if own.is_none() && free.is_some() {
            self.taken = self.taken.saturating_add(1);
        }
        if let Some(place) = own.or(free).and_then(|at| self.places.get_mut(at)) {
            let bell = waiter.bell.map_or(0, |bell| bell.saturating_add(1));
            *place = Place { ticket, seen: now, tokens: waiter.tokens, bell, elsewhere: u16::from(elsewhere) };
        }
        ticket
    }

    /// Somebody waits no more.
    pub(super) fn leave(&mut self, ticket: u64) {
        if ticket == 0 {
            return;
        }
        if let Some(place) = self.places.iter_mut().find(|p| p.ticket == ticket) {
            *place = Place::default();
            self.taken = self.taken.saturating_sub(1);
        }
    }

    /// What to ring for the one who is next.
    pub(super) fn next_bell(&self) -> Option<u16> {
        if self.taken == 0 {
            return None;
        }
        let next = self.places.iter().filter(|p| p.ticket != 0 && p.bell != 0).min_by_key(|p| p.ticket)?;
        next.bell.checked_sub(1)
    }

    /// How many wait in it.
    pub(super) fn len(&self, now: Nanos) -> u32 {
        let waits = |place: &&Place| place.ticket != 0 && now.saturating_sub(place.seen) <= GONE_AFTER;
        u32::try_from(self.places.iter().filter(waits).count()).unwrap_or(u32::MAX)
    }

    /// Whether nobody waits in it.
    pub(super) fn is_empty(&self) -> bool {
        self.taken == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Nanos = 100 * GONE_AFTER;

    fn waiter(ticket: u64, tokens: u32, bell: u16) -> Waiter {
        Waiter { ticket, tokens, bell: Some(bell) }
    }

    #[test]
    fn who_came_first_is_next_whatever_place_it_has() {
        let mut queue = Queue::default();
        let [first, second, third] = [1, 2, 3].map(|n| queue.wait(waiter(0, n, u16::try_from(n).unwrap()), false, NOW));
        queue.leave(first);
        let fourth = queue.wait(waiter(0, 4, 4), false, NOW);
        assert_eq!(queue.next_bell(), Some(2));
        assert_eq!(queue.elders(second, NOW), Elders::default());
        assert_eq!(queue.elders(third, NOW), Elders { count: 1, tokens: 2 });
        assert_eq!(queue.elders(fourth, NOW), Elders { count: 2, tokens: 5 });
        assert_eq!(queue.elders(0, NOW), Elders { count: 3, tokens: 9 });
        assert_eq!(queue.len(NOW), 3);
    }

    #[test]
    fn who_asks_no_more_stands_in_nobodys_way_and_keeps_its_turn_if_it_comes_back() {
        let mut queue = Queue::default();
        let first = queue.wait(waiter(0, 1, 1), false, NOW);
        let second = queue.wait(waiter(0, 1, 2), false, NOW);
        let later = NOW + GONE_AFTER + 1;
        queue.wait(waiter(second, 1, 2), false, later);
        assert_eq!((queue.elders(second, later).count, queue.len(later)), (0, 1));
        assert_eq!(queue.wait(waiter(first, 1, 1), false, later), first);
        assert_eq!(queue.elders(second, later).count, 1);
    }

    #[test]
    fn who_waits_for_the_server_stands_in_nobodys_way() {
        let mut queue = Queue::default();
        queue.wait(waiter(0, 1, 1), true, NOW);
        assert_eq!((queue.elders(0, NOW).count, queue.len(NOW)), (0, 1));
    }

    #[test]
    fn a_full_queue_takes_nobody_in_and_breaks_nothing() {
        let mut queue = Queue::default();
        let tickets: Vec<u64> = (0..200).map(|_| queue.wait(waiter(0, 1, 0), false, NOW)).collect();
        assert_eq!(queue.len(NOW), 64);
        assert_eq!(queue.elders(tickets[199], NOW).count, 64);
        for ticket in &tickets {
            queue.leave(*ticket);
        }
        assert!(queue.is_empty() && queue.next_bell().is_none());
    }

    #[test]
    fn a_clock_that_goes_backwards_loses_nobody() {
        let mut queue = Queue::default();
        queue.wait(waiter(0, 1, 1), false, NOW);
        assert_eq!(queue.elders(0, 5).count, 1);
        assert_eq!(queue.elders(0, 6 + GONE_AFTER).count, 0);
    }
}
