//! Reports on the result of a query: statistics that the database computes, charts that rules choose, words that a model writes, and a page that shows it all.
//!
//! The model sees statistics and says which chart is the first one. What it says is checked: a chart that it cannot have is left to the rules.

mod chart;
mod choice;
mod field;
mod instant;
mod narrative;
mod options;
mod page;
mod prose;
mod statistics;
mod svg;
mod vega_lite;

#[cfg(test)]
mod tests;

pub use chart::Chart;
pub use choice::{Material, charts};
pub use field::{Field, Kind};
pub use narrative::{Narrative, Narrator};
pub use options::ReportOptions;
pub use page::{Page, page};
pub use statistics::{Statistics, statistics_query};
