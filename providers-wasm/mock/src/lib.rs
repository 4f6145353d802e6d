//! A provider that answers offline, always the same for the same question: for trying things out, for tests, for demonstrations.
//!
//! Settings, all optional:
//! - `mock_response`: what it answers. Without it, it repeats the last thing that the user said.
//! - `mock_sql_response`: what it answers instead when the system message speaks of SQL (the word, in any case), as that of text-to-SQL does.
//! - `mock_confidence`: a number above 0 and up to 1. Every word of the answer gets the log probability whose exponential this is.
//! - `mock_chunks`: into how many pieces a stream is cut (at most one a character); by default one a word.
//! - `mock_error`: instead of answering, fail with this kind, such as `rate-limit` or `server`.
//!
//! Tokens are counted as words.

mod answer;
mod describe;
mod errors;

use pg_llm_guest::prelude::*;

/// The adapter.
pub struct Mock;

impl Adapter for Mock {
    type Stream = Events;

    fn describe() -> Description {
        describe::describe()
    }

    fn complete(request: &ChatRequest) -> Result<Answer, Failure> {
        answer::answer(request)
    }

    fn stream(request: &ChatRequest) -> Result<Events, Failure> {
        let pieces = Settings::of(request)?.count("mock_chunks")?;
        let answer = answer::answer(request)?;
        Ok(Events(answer::events(&answer, pieces).into_iter()))
    }
}

/// The events of an answer.
pub struct Events(std::vec::IntoIter<Event>);

impl EventStream for Events {
    fn next(&mut self) -> Result<Option<Event>, Failure> {
        Ok(self.0.next())
    }
}

pg_llm_guest::adapter!(Mock);
