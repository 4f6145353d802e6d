//! What a crime brings back.

use pg_llm_guest::prelude::*;

/// An answer of this text.
pub(crate) fn text(text: impl Into<String>) -> Result<Answer, Failure> {
    Ok(Answer { parts: vec![Part::Text(text.into())], ..Answer::default() })
}

/// An answer of this JSON.
pub(crate) fn json(value: &Value) -> Result<Answer, Failure> {
    text(value.to_string())
}
