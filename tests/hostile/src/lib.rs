//! A guest that attacks its host. One component, so that one build and one upload serve all tests: the model's `model_name` chooses the crime, and
//! the prompt says more where a crime needs it. What a test expects of the host is in `tests/sql/hostile.rs`, `tests/sql/egress.rs` and
//! `extension/sandbox/tests/hostile.rs`.

mod crimes;
mod loot;

use pg_llm_guest::prelude::*;

/// The criminal.
pub struct Hostile;

impl Adapter for Hostile {
    type Stream = crimes::streams::Stream;

    fn describe() -> Description {
        Description::new("hostile", "1.0.0", "Attacks its host.").profile(Profile::new("hostile"))
    }

    fn complete(request: &ChatRequest) -> Result<Answer, Failure> {
        let prompt = request.messages.last().map(Message::text).unwrap_or_default();
        crimes::commit(&request.model, &prompt, request)
    }

    fn stream(request: &ChatRequest) -> Result<Self::Stream, Failure> {
        crimes::streams::begin(&request.model)
    }
}

pg_llm_guest::adapter!(Hostile);
