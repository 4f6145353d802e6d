//! What the extension promises, asked from SQL: a real server, a real upstream. One file a topic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

mod analysis;
mod batch;
mod budgets;
mod cancel;
mod chat;
mod cost;
mod docs;
mod egress;
mod embeddings;
mod endurance;
mod errors;
mod fallback;
mod feedback;
mod filter_catalog;
mod filters;
mod hostile;
mod jobs;
mod keys;
mod ledger;
mod limits;
mod models;
mod modules;
mod monitoring;
mod nulls;
mod objects;
mod other_languages;
mod parallel;
mod privileges;
mod providers;
mod recordings;
mod recovery;
mod reports;
mod response_cache;
mod sessions;
mod signing;
mod streaming;
mod structured;
mod text2sql;
mod thinking;
mod tls;
mod tools;
mod uploads;
mod vision;
mod walk;
