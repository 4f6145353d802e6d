//! The one JSON value in a text.

use pg_llm_guest::json;
use pg_llm_guest::serde_json::Value;

/// Which value there must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Any at all.
    Any,
    /// An object.
    Object,
    /// An array.
    Array,
}

/// So many places are tried at which a value could begin: the time stays linear.
const TRIES: usize = 64;

/// The JSON of a text, as it is written there; the reason when there is none, or more than one.
pub fn extract(text: &str, wanted: Wanted) -> Result<&str, &'static str> {
    let trimmed = text.trim_start_matches('\u{FEFF}').trim_matches([' ', '\n', '\r', '\t']);
    if trimmed.is_empty() {
        return Err("the answer is empty, not JSON");
    }
    if let Ok(value) = json::read(trimmed) {
        return fits(&value, wanted).map(|()| trimmed);
    }
    let mut found: Option<&str> = None;
    let mut rest = trimmed;
    for _ in 0..TRIES {
        let Some(at) = rest.find(['{', '[']) else { break };
        rest = &rest[at..];
        match end(rest) {
            // `[1]` in a sentence is a footnote rather than the answer, unless arrays are asked for.
            Some(length) if is_value(&rest[..length], wanted) => {
                if found.is_some() {
                    return Err("the answer has more than one JSON value");
                }
                found = Some(&rest[..length]);
                rest = &rest[length..];
            }
            Some(length) => rest = &rest[length..],
            None => rest = &rest[1..],
        }
    }
    found.ok_or("the answer is not JSON, and has none in it")
}

fn fits(value: &Value, wanted: Wanted) -> Result<(), &'static str> {
    match (wanted, value) {
        (Wanted::Any, _) | (Wanted::Object, Value::Object(_)) | (Wanted::Array, Value::Array(_)) => Ok(()),
        (Wanted::Object, _) => Err("the answer is JSON, but not an object"),
        (Wanted::Array, _) => Err("the answer is JSON, but not an array"),
    }
}

fn is_value(text: &str, wanted: Wanted) -> bool {
    match json::read(text) {
        Ok(Value::Object(_)) => wanted != Wanted::Array,
        Ok(Value::Array(items)) => wanted == Wanted::Array || wanted == Wanted::Any && items.iter().any(|item| !item.is_number()),
        _ => false,
    }
}

/// Where the brackets that a text begins with are closed, strings left out; none when they never are, or by the wrong sign.
fn end(text: &str) -> Option<usize> {
    let mut open = Vec::new();
    let (mut in_string, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' => open.push(b'}'),
            b'[' => open.push(b']'),
            b'}' | b']' => {
                if open.pop() != Some(byte) {
                    return None;
                }
                if open.is_empty() {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}
