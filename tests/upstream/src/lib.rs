//! A scripted HTTP/1.1 model endpoint that really listens, on loopback and nowhere else.
//!
//! ```
//! use pg_llm_upstream::{Reply, Upstream, openai};
//!
//! let upstream = Upstream::start();
//! upstream
//!     .on("/v1/chat/completions")
//!     .reply(openai::error(429, "rate_limit", "slow_down", "Too fast").header("retry-after", "0"))
//!     .reply(openai::completion("Paris"));
//! // ... something calls `upstream.url()` twice ...
//! # let _ = Reply::hang();
//! assert_eq!(upstream.requests().len(), 0);
//! ```
//!
//! An [`Upstream`] answers each path with a script of [`Reply`]s, records what it receives and how many connections it
//! sees, and misbehaves in every way that a real endpoint or an attacker in its place could: late, slow, truncated,
//! endless, malformed, mute. [`silence`] has the addresses that do not even accept.
//!
//! One thread per connection and blocking sockets: it is meant for tens of connections, and answers a 0 ms reply in one
//! `write`, so that a benchmark measures its client.

#![allow(clippy::expect_used, clippy::missing_panics_doc, reason = "for tests: a set-up that fails has to stop them loudly")]
#![allow(clippy::needless_pass_by_value, reason = "JSON literals are given away")]
#![allow(clippy::return_self_not_must_use, reason = "a script is written as its methods are called; a reply's are marked")]

mod certificates;
mod connection;
pub mod echo;
mod gate;
mod gzip;
pub mod oauth2;
mod observed;
pub mod openai;
mod received;
mod reply;
mod request;
mod script;
pub mod signatures;
pub mod silence;
mod upstream;
mod wire;

pub use certificates::{Authority, Certificate};
pub use gate::Gate;
pub use observed::{Closed, Observed};
pub use received::Received;
pub use reply::{Ending, Reply};
pub use script::Script;
pub use upstream::{Builder, Upstream};
