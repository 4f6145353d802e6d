//! Characters that Postgres's text and jsonb cannot hold, and some that terminals obey.

use pg_llm_guest::prelude::*;

/// NUL, C0, C1, a byte order mark, non-characters, the last code point.
const CHARACTERS: &str = "a\u{0}b\u{1}\u{8}\u{1b}[31m\u{7f}\u{80}\u{9b}\u{feff}\u{fffe}\u{202e}\u{10ffff}z";

pub(crate) fn in_answer() -> Result<Answer, Failure> {
    let word = || Some(CHARACTERS.to_owned());
    Ok(Answer {
        id: word(),
        model: word(),
        parts: vec![
            Part::Text(CHARACTERS.to_owned()),
            Part::Thinking(Thinking { text: CHARACTERS.to_owned(), signature: word(), redacted: false }),
            Part::ToolCall(ToolCall {
                id: CHARACTERS.to_owned(),
                name: CHARACTERS.to_owned(),
                arguments: "{\"\\u0000\": \"\\u0000\\ud800\"}".to_owned(),
                signature: word(),
            }),
        ],
        finish_reason: Some(FinishReason::Other(CHARACTERS.to_owned())),
        usage: Some(Usage { raw: Some("{\"\\u0000\": \"\\u0000\"}".to_owned()), ..Usage::default() }),
        ..Answer::default()
    })
}

pub(crate) fn in_error() -> Result<Answer, Failure> {
    let word = || Some(CHARACTERS.to_owned());
    Err(Failure { code: word(), request_id: word(), raw: word(), ..Failure::new(FailureKind::Server, CHARACTERS) })
}
