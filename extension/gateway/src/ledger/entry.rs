//! What the ledger says of one request.

use std::time::{Duration, SystemTime};

use pg_llm_sandbox::Digest;
use pg_llm_sandbox::types::Usage;
use serde_json::Value;
use uuid::Uuid;

use crate::error::ErrorKind;

/// Who asks.
#[derive(Clone, Debug)]
pub struct Origin {
    /// What for.
    pub via: Via,
    /// The call's, time-ordered (UUID version 7). A call with several requests has one. Nil where the call is not made yet.
    pub request_id: Uuid,
    /// The conversation that the call belongs to.
    pub session: Option<String>,
    /// The job that it belongs to.
    pub job: Option<Uuid>,
    /// The call that it is a part of: of a parallel chat, a text2sql, a report.
    pub parent: Option<Uuid>,
}

impl Origin {
    /// For calls that are to be made; each has an id of its own ([`Self::another`]), and this one has none: it is nil.
    pub fn of(via: Via) -> Self {
        Self { via, request_id: Uuid::nil(), session: None, job: None, parent: None }
    }

    /// For calls that are to be made, all of them parts of one that makes no request itself.
    pub fn parts_of_one(via: Via) -> Self {
        Self { parent: Some(Uuid::now_v7()), ..Self::of(via) }
    }

    /// Another call of the same origin.
    #[must_use]
    pub fn another(&self) -> Self {
        Self { request_id: Uuid::now_v7(), ..self.clone() }
    }

    /// A call that is a part of this one, which has an id.
    #[must_use]
    pub fn part(&self) -> Self {
        Self { parent: Some(self.request_id), ..self.another() }
    }
}

/// What a request was made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// A chat of its own.
    #[default]
    Chat,
    /// A streamed one.
    Stream,
    /// A candidate of a parallel chat.
    Parallel,
    /// The judge of one.
    Judge,
    /// A row of an array.
    Batch,
    /// A row of a query.
    Map,
    /// A row of a job.
    Job,
    /// A turn of a session.
    Session,
    /// A summary of what a session has cut off.
    Summary,
    /// A query for a question.
    Text2Sql,
    /// An analysis of rows.
    Analysis,
    /// A part of a report.
    Report,
    /// Vectors.
    Embeddings,
    /// An order of documents.
    Rerank,
    /// The repair of an answer that did not fit its schema.
    Repair,
    /// The list of an endpoint's models.
    Models,
}

impl Via {
    /// As the ledger has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Stream => "stream",
            Self::Parallel => "parallel",
            Self::Judge => "judge",
            Self::Batch => "batch",
            Self::Map => "map",
            Self::Job => "job",
            Self::Session => "session",
            Self::Summary => "summary",
            Self::Text2Sql => "text2sql",
            Self::Analysis => "analysis",
            Self::Report => "report",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Repair => "repair",
            Self::Models => "models",
        }
    }
}

/// What a provider was asked for, by OpenTelemetry's `gen_ai.operation.name` where that has a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Operation {
    /// An answer.
    #[default]
    Chat,
    /// Vectors.
    Embeddings,
    /// An order of documents.
    Rerank,
    /// The models that there are.
    Models,
}

impl Operation {
    /// As the ledger has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Models => "list_models",
        }
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered, and the answer was of use.
    Ok,
    /// None was made: the answer was kept.
    Cached,
    /// It failed, or its answer was of no use.
    Error,
    /// Nobody waited for it any more.
    Cancelled,
    /// A filter did not let its prompt or its answer through.
    Blocked,
    /// None was made: a limit, a budget or the circuit breaker did not let it in.
    Denied,
}

impl Outcome {
    /// As the ledger has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Cached => "cached",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
            Self::Blocked => "blocked",
            Self::Denied => "denied",
        }
    }
}

/// Where the time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Before it was let in.
    pub queue: Duration,
    /// In filters, of its prompt and its answer.
    pub filter: Duration,
    /// Processor time of the adapter.
    pub guest: Option<Duration>,
    /// Until there was a connection, TLS included; none where one was kept, or where it is not known.
    pub connect: Option<Duration>,
    /// From the request's sending, or the connection's making, until the head of the response was there; none where it never was, or where it is not known.
    pub first_byte: Option<Duration>,
    /// From its begin, before it was let in, to the end of the answer.
    pub total: Duration,
}

/// What was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// What was sent, as JSON: messages, or texts. As filters have let it through.
    pub prompt: Option<String>,
    /// What came back, likewise.
    pub answer: Option<String>,
}

/// One request of a provider; or a call that made none, as attempt 0.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Who asked.
    pub origin: Origin,
    /// Which request of its call and model, from 1; 0: none was made.
    pub attempt: u32,
    /// The last entry of its call.
    pub last: bool,
    /// When it began.
    pub began_at: SystemTime,
    /// What was asked for.
    pub operation: Operation,
    /// The model's name in SQL.
    pub instance: String,
    /// The model's type: a provider, or one of its profiles.
    pub provider: String,
    /// SHA-256 of the provider's component.
    pub module: Digest,
    /// The model in the provider's words, or as configured.
    pub model_name: String,
    /// What it took, as far as the provider says.
    pub usage: Option<Usage>,
    /// What it cost, in 1e-9 of the currency's unit; none: no price is known.
    pub cost: Option<i64>,
    /// Of the cost.
    pub currency: Option<String>,
    /// Where the time went.
    pub spent: Spent,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it failed.
    pub error: Option<ErrorKind>,
    /// Of the provider's error.
    pub http_status: Option<u16>,
    /// Why the answer ended.
    pub finish_reason: Option<String>,
    /// How sure the model was, 0..=1.
    pub confidence: Option<f64>,
    /// What filters did: objects of `name`, `side` and `action`.
    pub filters: Vec<Value>,
    /// It was streamed.
    pub streamed: bool,
    /// The called model, where this is another one in its place.
    pub fallback_from: Option<String>,
    /// What was said, where the ledger wants to know ([`super::Ledger::wants_content`]).
    pub content: Option<Box<Content>>,
}
