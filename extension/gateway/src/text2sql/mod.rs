//! Questions to queries: what a model is told of a database, what it is asked, what is read out of its answer, and what it is told where its query fails.
//!
//! Nothing here decides whether a query is safe: whoever runs it does.

mod notes;
mod options;
mod question;
mod relevance;
mod reply;
mod schema;
mod table;
mod trigrams;
mod vectors;

pub use notes::{About, Note, NoteKind, Told, describe, describe_outlines, told};
pub use options::Text2SqlOptions;
pub use question::{Fault, Question, Tried, is_repeated};
pub use relevance::{Outline, ranked};
pub use reply::Reply;
pub use schema::{Column, ForeignKey, Kind, Rendered, Table, outlines, render, worth_a_look};
pub use table::text_table;
pub use vectors::{cosine, quantized};
