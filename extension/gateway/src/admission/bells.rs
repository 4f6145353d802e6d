//! What wakes those who wait: an eventfd each, so that nobody is woken for another.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// How many there are. Who finds none looks again every few milliseconds.
pub const BELLS: u16 = 64;

/// Bells, shared with the processes that inherit them. Which are taken is noted elsewhere, a bit each.
#[derive(Debug)]
pub struct Bells(Vec<OwnedFd>);

impl Bells {
    /// New ones.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> std::io::Result<Self> {
        (0..BELLS).map(|_| Ok(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)).collect::<std::io::Result<_>>().map(Self)
    }

    /// Takes one that nobody has.
    pub fn claim(&self, taken: &AtomicU64) -> Option<u16> {
        let claim = |bits: u64| (bits != u64::MAX).then(|| bits | (bits + 1));
        let before = taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, claim).ok()?;
        let number = u16::try_from(before.trailing_ones()).ok()?;
        self.hush(number);
        Some(number)
    }

    /// Gives it back.
    pub fn release(taken: &AtomicU64, number: u16) {
        taken.fetch_and(!(1_u64 << (number % BELLS)), Ordering::AcqRel);
    }

    /// What to wait for.
    pub fn get(&self, number: u16) -> Option<BorrowedFd<'_>> {
        self.0.get(usize::from(number)).map(AsFd::as_fd)
    }

    /// Rings it.
    pub fn ring(&self, number: u16) {
        if let Some(bell) = self.get(number) {
            // A full counter is readable as well.
            let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
        }
    }

    fn hush(&self, number: u16) {
        if let Some(bell) = self.get(number) {
            hush(bell);
        }
    }
}

/// Silences a bell that has been heard.
pub(super) fn hush(bell: BorrowedFd<'_>) {
    let _ = rustix::io::read(bell, &mut [0; 8]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_bell_has_one_owner() {
        let (bells, taken) = (Bells::new().unwrap(), AtomicU64::new(0));
        let all: HashSet<u16> = std::iter::from_fn(|| bells.claim(&taken)).collect();
        assert_eq!(all.len(), usize::from(BELLS));
        Bells::release(&taken, 17);
        assert_eq!((bells.claim(&taken), bells.claim(&taken)), (Some(17), None));
    }

    #[test]
    fn a_bell_does_not_ring_for_its_next_owner() {
        let (bells, taken) = (Bells::new().unwrap(), AtomicU64::new(0));
        let number = bells.claim(&taken).unwrap();
        bells.ring(number);
        Bells::release(&taken, number);
        assert_eq!(bells.claim(&taken), Some(number));
        assert!(rustix::io::read(bells.get(number).unwrap(), &mut [0; 8]).is_err(), "nothing to read");
    }
}
