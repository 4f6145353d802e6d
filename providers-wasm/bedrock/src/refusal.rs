//! What cannot be sent. A small error inside, because each place that passes a whole [`Failure`] on copies all of it, and a guest's size counts.

use pg_llm_guest::json;
use pg_llm_guest::prelude::*;
use pg_llm_guest::settings::SettingError;

/// Why a request cannot be sent.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The caller's mistake.
    Invalid(String),
    /// The wire has no word for it.
    Unsupported(&'static str),
}

impl From<SettingError> for Refusal {
    #[inline(never)]
    fn from(error: SettingError) -> Self {
        Self::Invalid(Failure::from(error).message)
    }
}

impl From<Refusal> for Failure {
    #[inline(never)]
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(words) => Self::invalid(words),
            Refusal::Unsupported(words) => Self::unsupported(words),
        }
    }
}

/// A JSON object that the host passed on; `what` and `name` name it.
#[inline(never)]
pub(crate) fn object(what: &str, name: &str, text: &str) -> Result<Map<String, Value>, Refusal> {
    json::object(&[what, name].concat(), text).map_err(|failure| Refusal::Invalid(failure.message))
}

/// Puts the members of `extra_body` over those of a body; it is the caller's last word.
#[inline(never)]
pub(crate) fn add_extra(extra: Option<&str>, body: &mut Map<String, Value>) -> Result<(), Refusal> {
    if let Some(extra) = extra {
        for (name, value) in object("extra_body", "", extra)? {
            json::set(body, &name, value);
        }
    }
    Ok(())
}

/// An object of one member, out of line.
#[inline(never)]
pub(crate) fn one(name: &str, value: Value) -> Value {
    let mut object = Map::new();
    json::set(&mut object, name, value);
    object.into()
}
