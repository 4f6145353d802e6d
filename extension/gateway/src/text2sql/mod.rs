//! Questions to queries: what a model is told of a database, what it is asked, what is read out of its answer, and what it is told where its query fails.
//!
//! Nothing here decides whether a query is safe: whoever runs it does.

mod options;
mod question;
mod relevance;
mod reply;
mod schema;
mod table;

pub use options::Text2SqlOptions;
pub use question::{Fault, Question, Tried, is_repeated};
pub use reply::Reply;
pub use schema::{Column, ForeignKey, Kind, Rendered, Table, render};
pub use table::text_table;
