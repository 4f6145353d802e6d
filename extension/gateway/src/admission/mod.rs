//! Who may call a model now: its limits, what its provider asks for, and whether it works at all.
//!
//! The policy is [`State`], plain data and functions over it; where it lies, and so who shares it, is an [`Admission`]'s business: one process
//! ([`Local`]), or all processes of a server. A request that is let in has a [`Permit`] until it is over, on whatever way.

mod bells;
mod breaker;
mod bucket;
mod denied;
mod entrance;
pub(crate) mod estimate;
mod local;
mod queue;
mod settlement;
mod state;

pub use bells::{BELLS, Bells};
pub use breaker::{Phase, Policy as BreakerPolicy};
pub(crate) use denied::Denied;
pub(crate) use entrance::{Permit, enter};
pub use local::Local;
pub use queue::Waiter;
pub use settlement::{Settlement, Verdict};
pub use state::{Answer, Limit, Pass, Request, Ring, Shown, State};

use std::os::fd::BorrowedFd;

/// A point in time, in nanoseconds of a clock that all who share a state share.
pub type Nanos = u64;

/// What a model may be asked; where there is no limit it is 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Requests in flight of this model.
    pub max_concurrency: u32,
    /// Requests a minute.
    pub rpm: u32,
    /// Tokens a minute.
    pub tpm: u32,
    /// Requests in flight of all models.
    pub server: u32,
    /// When it is left alone.
    pub breaker: BreakerPolicy,
    /// Which endpoint it is: what was found out of another one is forgotten.
    pub generation: u64,
}

/// Where the state of one model lies. Any thread may use it.
pub trait Admission: Send + Sync {
    /// The time.
    fn now(&self) -> Nanos;

    /// [`State::ask`], and rings for whom that says.
    fn ask(&self, limits: &Limits, request: &Request) -> Answer;

    /// [`State::leave`], and rings for whom that says.
    fn leave(&self, limits: &Limits, pass: Pass, settlement: &Settlement);

    /// [`State::give_up`].
    fn give_up(&self, ticket: u64, turned_away: bool);

    /// A bell for somebody who waits; none when all are taken.
    fn claim_bell(&self) -> Option<u16>;

    /// Readable while it rings.
    fn bell(&self, number: u16) -> Option<BorrowedFd<'_>>;

    /// It is not needed any more.
    fn release_bell(&self, number: u16);

    /// [`State::show`]; none for a model that nobody has called yet.
    fn show(&self, limits: &Limits) -> Option<Shown>;

    /// Whether other processes share it.
    fn is_shared(&self) -> bool;
}
