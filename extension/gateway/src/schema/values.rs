//! Values compared by what they mean, and quoted for people.

use serde_json::Value;

use super::decimal::Decimal;
use super::evaluate::{Halt, Steps};
use super::rules::type_name;

/// Longest quotation of a value, in bytes.
const QUOTED: usize = 60;

/// One text for all ways to write one value.
pub(crate) fn canonical(value: &Value, text: &mut String, steps: &mut Steps<'_>) -> Result<(), Halt> {
    steps.step()?;
    match value {
        Value::Number(number) => *text += &Decimal::of(number).to_string(),
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text, steps)?;
                text.push(',');
            }
            text.push(']');
        }
        Value::Object(members) => {
            // In the order of their names, whatever order the map keeps.
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (name, member) in members {
                *text += &Value::from(name.as_str()).to_string();
                text.push(':');
                canonical(member, text, steps)?;
                text.push(',');
            }
            text.push('}');
        }
        other => *text += &other.to_string(),
    }
    Ok(())
}

/// Whether two values are the same: 1 and 1.0 are, and objects whatever the order of their members.
pub(crate) fn equal(a: &Value, b: &Value, steps: &mut Steps<'_>) -> Result<bool, Halt> {
    steps.step()?;
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => Ok(a == b || Decimal::of(a) == Decimal::of(b)),
        (Value::Array(a), Value::Array(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (a, b) in a.iter().zip(b) {
                if !equal(a, b, steps)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Object(a), Value::Object(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (name, a) in a {
                match b.get(name) {
                    Some(b) if equal(a, b, steps)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
        (a, b) => Ok(a == b),
    }
}

/// A value, with its type.
pub(crate) fn named(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Array(_) | Value::Object(_) => type_name(value).to_owned(),
        _ => format!("the {} {}", type_name(value), quoted(value)),
    }
}

/// A value, shortened.
pub(crate) fn quoted(value: &Value) -> String {
    match value {
        Value::Array(items) if items.len() > 20 => format!("an array of {} items", items.len()),
        Value::Object(members) if members.len() > 20 => format!("an object of {} properties", members.len()),
        Value::String(text) => quote(text),
        other => crate::error::clip(&other.to_string(), QUOTED),
    }
}

/// A text in quotation marks, shortened.
pub(crate) fn quote(text: &str) -> String {
    Value::from(crate::error::clip(text, QUOTED)).to_string()
}
