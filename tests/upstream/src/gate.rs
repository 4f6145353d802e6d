//! Holding a reply back until the test has seen what it wants to see: order without clocks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::wire::{Gone, Wire};

/// Lets pieces of replies pass, as many as it is told. Clones are the same gate.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<Mutex<Passes>>);

#[derive(Debug, Default)]
struct Passes {
    left: usize,
    open: bool,
}

impl Gate {
    /// A closed one.
    pub fn new() -> Self {
        Self::default()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Passes) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets this many more pass.
    pub fn pass(&self, pieces: usize) {
        self.change(|passes| passes.left += pieces);
    }

    /// Lets all pass.
    pub fn open(&self) {
        self.change(|passes| passes.open = true);
    }

    /// Waits for its turn, unless the peer goes away first.
    pub(crate) fn wait(&self, wire: &Wire) -> Result<(), Gone> {
        let passed = || {
            self.change(|passes| {
                let passed = passes.open || passes.left > 0;
                passes.left -= usize::from(passed && !passes.open);
                passed
            })
        };
        while !passed() {
            wire.pause(Some(Duration::from_millis(1)))?;
        }
        Ok(())
    }
}
