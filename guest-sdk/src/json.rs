//! Reading JSON that is not ours: what is missing, null or of another type is absent, and never a panic.
//!
//! [`parse`], [`read`] and [`object`] read, [`text`] writes. An adapter that also calls `serde_json`'s own (`from_str`, `Value::to_string`, `Value::pointer`)
//! is some 30 kB larger for it.

mod read;
mod write;

use serde_json::{Map, Value};

use crate::failure::words;
use crate::types::Failure;

pub use read::{Mistake, read};
pub use write::{text, write};

/// Parses a whole text; a failure of kind `protocol` with the beginning of the text when it is no JSON.
pub fn parse(text: &[u8]) -> Result<Value, Failure> {
    // RFC 8259, 8.1: a parser may ignore a byte order mark.
    let json = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let mistake = match std::str::from_utf8(json) {
        Ok(json) => match read(json) {
            Ok(value) => return Ok(value),
            Err(mistake) => mistake,
        },
        Err(error) => Mistake { what: "UTF-8", at: error.valid_up_to() },
    };
    let trimmed = json.trim_ascii_start();
    Err(Failure::protocol(
        if trimmed.is_empty() {
            "the response is empty".to_owned()
        } else if trimmed.starts_with(b"<") {
            "the response is HTML or XML, not JSON; is the endpoint right?".to_owned()
        } else {
            mistake.words("the response")
        },
        text,
    ))
}

/// Parses a JSON object that the host passed on, such as a tool's schema or `extra_body`; `what` names it in the failure.
pub fn object(what: &str, text: &str) -> Result<Map<String, Value>, Failure> {
    Err(Failure::invalid(match read(text) {
        Ok(Value::Object(members)) => return Ok(members),
        Ok(_) => words(&[what, " must be a JSON object"]),
        Err(mistake) => mistake.words(what),
    }))
}

/// Lenient access to members.
pub trait ValueExt {
    /// The member, if it is neither absent nor null.
    fn at(&self, name: &str) -> Option<&Value>;

    /// The member, if it is a string.
    fn text_at(&self, name: &str) -> Option<&str>;

    /// The member, if it is a string that is not empty.
    fn word_at(&self, name: &str) -> Option<&str> {
        self.text_at(name).filter(|text| !text.is_empty())
    }

    /// The member, if it is a number from 0 without a fraction (`12.0` is one).
    fn u64_at(&self, name: &str) -> Option<u64>;

    /// The member, if it is a number.
    fn f64_at(&self, name: &str) -> Option<f64>;

    /// The member's items, if it is an array; else none.
    fn items_at(&self, name: &str) -> &[Value];
}

impl ValueExt for Value {
    fn at(&self, name: &str) -> Option<&Value> {
        self.get(name).filter(|value| !value.is_null())
    }

    fn text_at(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    fn u64_at(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(as_u64)
    }

    fn f64_at(&self, name: &str) -> Option<f64> {
        self.get(name).and_then(Value::as_f64)
    }

    fn items_at(&self, name: &str) -> &[Value] {
        self.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }
}

fn as_u64(value: &Value) -> Option<u64> {
    /// The largest integer below which every integer is an `f64`.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in range by the test before it
        (number.fract() == 0.0 && (0.0..EXACT).contains(&number)).then_some(number as u64)
    })
}

/// A text. Out of line, as [`set`] is.
#[inline(never)]
pub fn string(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// Sets a member. Out of line: a request body has dozens, and a guest's size counts.
#[inline(never)]
pub fn set(object: &mut Map<String, Value>, name: &str, value: Value) {
    object.insert(name.to_owned(), value);
}

/// An object of these members, in this order: what `json!` makes, in less code.
pub fn record<const N: usize>(mut members: [(&str, Value); N]) -> Value {
    take_all(&mut members)
}

#[inline(never)]
fn take_all(members: &mut [(&str, Value)]) -> Value {
    let mut object = Map::new();
    for (name, value) in members {
        set(&mut object, name, value.take());
    }
    Value::Object(object)
}
