//! A throw-away Postgres, for tests, demo and bench.
//!
//! [`Cluster`] is a real server in a temporary folder: `initdb`, settings, start, and no trace of it afterwards, however
//! the test process ends. It is the server that `PG_LLM_PG_CONFIG` names (`make test` sets it to a private copy that has
//! the extension in it), else PostgreSQL 18 as unpacked under `target/host`.
//!
//! ```no_run
//! use pg_llm_tests::{Cluster, DEADLINE, Running, db_error};
//! use pg_llm_upstream::{Reply, Upstream};
//!
//! let upstream = Upstream::start();
//! upstream.on("/chat/completions").reply(Reply::hang());
//! let database = Cluster::shared().database();
//! let mut client = database.superuser();
//! client
//!     .execute(
//!         "SELECT pg_llm_add_model('openai-compatible', 'm', 'sk-test', jsonb_build_object('api_endpoint', $1::text))",
//!         &[&upstream.url()],
//!     )
//!     .unwrap();
//! let call = Running::start(client, "SELECT pg_llm_chat('m', 'Hello')");
//! assert!(upstream.wait_for_requests(1, DEADLINE));
//! call.cancel();
//! assert_eq!(db_error(call.finish(DEADLINE).result).code().code(), "57014");
//! assert!(upstream.wait_until_closed(DEADLINE));
//! database.cluster().assert_no_crash();
//! ```

#![allow(clippy::expect_used, clippy::panic, clippy::missing_panics_doc, reason = "for tests: what cannot go on has to stop loudly")]

mod account;
mod asked;
mod backend;
mod cluster;
mod components;
mod database;
mod folder;
mod installation;
mod running;
mod server;
mod settings;
mod standby;

use std::time::{Duration, Instant};

pub use asked::Asked;
pub use backend::{Backend, Thread};
pub use cluster::Cluster;
pub use components::{built, components};
pub use database::{Database, Printed};
pub use installation::Installation;
pub use postgres;
pub use postgres::error::DbError;
pub use running::{Outcome, Running};
pub use settings::Settings;

/// Against hangs only: nothing that works takes so long.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// The server's error that a statement ended in.
///
/// # Panics
/// When it succeeded, or failed without a word of the server's.
#[track_caller]
pub fn db_error<T>(result: Result<T, postgres::Error>) -> DbError {
    match result {
        Ok(_) => panic!("the statement succeeded"),
        Err(error) => error.as_db_error().unwrap_or_else(|| panic!("not an error of the server's: {error:?}")).clone(),
    }
}

/// Looks every few milliseconds until it is so, and says whether it was before the deadline.
#[must_use]
pub fn eventually(deadline: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + deadline;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
