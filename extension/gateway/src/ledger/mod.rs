//! The ledger: which requests were made of providers, by whom, and what came of each.
//!
//! There is one [`Entry`] for each request, retries and the requests of fallbacks included, and one with attempt 0 for a call that made none. Where entries go
//! is a [`Ledger`]'s business. An entry is put when its request is over and what became of its answer is known: at the next request of the same call, or at the
//! call's end. What is in flight meanwhile is known to [`end_process`], so that a process that ends in the midst of a call leaves its entry behind.

mod account;
mod content;
mod entry;
mod json;
mod open;

pub(crate) use account::Account;
pub(crate) use content::{answer as answer_text, conversation, texts};
pub use entry::{Content, Entry, Operation, Origin, Outcome, Spent, Via};
pub use open::end_process;
pub use uuid::Uuid;

/// Where entries go.
pub trait Ledger: Send + Sync {
    /// Takes an entry. On any thread, which it does not hold up for long; it cannot fail.
    fn put(&self, entry: &Entry);

    /// Whether it wants entries at all.
    fn is_on(&self) -> bool {
        true
    }

    /// Whether it wants prompts and answers ([`Entry::content`]).
    fn wants_content(&self) -> bool {
        false
    }

    /// Whether they are to be without what looks like a secret.
    fn redacts(&self) -> bool {
        true
    }
}

/// The ledger of those who keep none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLedger;

impl Ledger for NoLedger {
    fn put(&self, _: &Entry) {}

    fn is_on(&self) -> bool {
        false
    }
}
