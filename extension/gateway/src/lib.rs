//! LLM policy: what a model's configuration and a call's options mean, how a provider is called and called again, and what comes of it.
//!
//! Knows nothing of Postgres, and of WebAssembly only that a [`pg_llm_sandbox::Provider`] can be called. The way of one chat:
//! [`ChatOptions`] over the defaults of a [`ModelSpec`] make a [`ChatCall`], which is sent along a [`Route`] and again where that is right
//! ([`retry`]); the answer becomes a [`ChatOutcome`], or a [`CallError`] with words for its caller. An [`AnswerStream`] is the same, piece by piece; [`InFlight`] are
//! many at once.

pub mod admission;
pub mod analysis;
mod answer_format;
mod assembly;
mod attempts;
mod batch;
pub mod budget;
mod caching;
mod calendar;
mod call_log;
mod call_options;
mod chat;
mod confidence;
mod embed_call;
mod embeddings;
mod error;
mod extract;
mod fair_share;
pub mod fallback;
pub mod filters;
mod fingerprint;
pub mod history;
mod in_flight;
mod job_options;
mod kept;
mod key_reference;
pub mod ledger;
mod media;
mod members;
mod messages;
mod model_list;
mod options;
mod outcome;
mod parallel;
mod pool;
pub mod price;
mod query_bounds;
mod record;
pub mod report;
mod rerank;
pub mod retry;
mod route;
mod schema;
mod spec;
mod stream;
mod structured;
pub mod text2sql;

pub use batch::{Batch, BatchOptions, Order, row_options};
pub use caching::{CacheTerms, Caching, MAX_TTL_S};
pub use call_log::{CallLog, NOTHING};
pub use call_options::CallOptions;
pub use chat::ChatCall;
pub use embed_call::EmbedCall;
pub use embeddings::{EmbedOptions, EmbedOutcome, Share, embed};
pub use error::{CallError, ConfigError, ConfigErrorKind, ErrorKind, clip};
pub use fair_share::{Claimant, fair_shares};
pub use fingerprint::Fingerprint;
pub use in_flight::{InFlight, Landing};
pub use job_options::{JOBS_CHANNEL, JobOptions};
pub use key_reference::KeyReference;
pub use model_list::list_models;
pub use options::{ChatOptions, OnError};
pub use outcome::ChatOutcome;
pub use parallel::{
    Candidate, Ended, Judge, Judged, MOST_CANDIDATES, ParallelCall, ParallelOptions, ParallelOutcome, Strategy, StrategyName,
};
pub use pool::MOST_THREADS;
pub use query_bounds::QueryBounds;
pub use rerank::{RerankOptions, RerankOutcome, rerank};
pub use route::Route;
pub use spec::{GivenKey, ModelLimits, ModelSpec, ParsedConfig, RateLimit, wipe_keys};
pub use stream::{AnswerStream, Delta, StreamOutcome};
pub use structured::{AnswerFormat, SchemaFormat};
