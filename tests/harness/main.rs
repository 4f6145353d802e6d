//! The harness itself, tried on whatever Postgres there is, without the extension.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod cleaning;
mod serving;
