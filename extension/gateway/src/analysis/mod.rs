//! Advice on a query: what a model is told of it, and what is read out of its answer.
//!
//! Nothing of the advice is believed here. Whoever asked for it looks whether a rewritten query may run and what its plan costs, and whether an index would be used.

mod advice;
mod options;
mod request;

pub use advice::{Advice, Finding, Suggestion};
pub use options::AnalysisOptions;
pub use request::Subject;
