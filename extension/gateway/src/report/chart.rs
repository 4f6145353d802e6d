//! A chart: what it shows, in a form that can be kept, drawn, and written as a Vega-Lite specification.

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::instant;
use crate::error::clip;

/// A chart with its data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chart {
    /// By which a model chooses it.
    pub id: String,
    /// What it shows.
    pub title: String,
    pub(super) mark: Mark,
    pub(super) x: Axis,
    pub(super) y: Axis,
    /// What its colours stand for.
    pub(super) color: Option<String>,
    pub(super) points: Vec<Point>,
}

/// How a point is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mark {
    /// From `x` to `end`, over zero height; or along a category.
    Bar,
    Line,
    Point,
}

/// What an axis measures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Axis {
    pub(super) title: String,
    pub(super) scale: Scale,
}

/// Vega-Lite's types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Scale {
    Quantitative,
    Temporal,
    Nominal,
}

/// A row of a chart's data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Point {
    pub(super) x: Value,
    /// Where a bar of a distribution ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<Value>,
    pub(super) y: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) color: Option<String>,
}

/// Longest title and longest category, in bytes.
const TITLE: usize = 200;
const CATEGORY: usize = 200;

impl Axis {
    pub(super) fn new(title: &str, scale: Scale) -> Self {
        Self { title: words(title, TITLE), scale }
    }
}

impl Scale {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Quantitative => "quantitative",
            Self::Temporal => "temporal",
            Self::Nominal => "nominal",
        }
    }

    /// A value as this scale has it: a finite number, a time, a category. None for what has no place on it.
    pub(super) fn value(self, value: &Value) -> Option<Value> {
        match (self, value) {
            (Self::Quantitative, Value::Number(number)) => finite(number).map(Value::Number),
            (Self::Temporal, Value::String(text)) => instant::iso(instant::seconds(text)?).map(Value::String),
            (Self::Nominal, Value::String(text)) => Some(Value::String(words(text, CATEGORY))),
            (Self::Nominal, Value::Bool(_)) => Some(Value::String(value.to_string())),
            _ => None,
        }
    }

    /// Its place on an axis, where that has one.
    pub(super) fn place(self, value: &Value) -> Option<f64> {
        match self {
            Self::Quantitative => value.as_f64().filter(|number| number.is_finite()),
            Self::Temporal => instant::seconds(value.as_str()?),
            Self::Nominal => None,
        }
    }
}

/// A number as a reader of JSON has it: with the digits of a double, in its range.
fn finite(number: &Number) -> Option<Number> {
    if number.is_i64() { Some(number.clone()) } else { number.as_f64().filter(|number| number.abs() <= 1e300).and_then(rounded) }
}

/// Without the digits that only come of binary fractions; a whole number without a point.
pub(super) fn rounded(number: f64) -> Option<Number> {
    #[allow(clippy::cast_possible_truncation, reason = "in the range that is looked at")]
    if number.fract() == 0.0 && number.abs() < 9e15 {
        return Some(Number::from(number as i64));
    }
    let short: f64 = format!("{number:.11e}").parse().ok()?;
    Number::from_f64(short)
}

/// Text without characters that XML and terminals cannot have, and not longer than that many bytes.
pub(super) fn words(text: &str, most: usize) -> String {
    let clean: String = text.chars().map(|c| if is_shown(c) { c } else { ' ' }).collect();
    clip(clean.trim(), most)
}

/// Whether XML 1.0 and HTML can have this character: no controls, no noncharacters; nor what turns the direction of the text around it.
pub(super) fn is_shown(c: char) -> bool {
    let number = u32::from(c);
    let noncharacter = (0xfdd0..=0xfdef).contains(&number) || number & 0xfffe == 0xfffe;
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !noncharacter && !turns
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_has_the_form_of_its_scale_or_none() {
        assert_eq!(Scale::Quantitative.value(&json!("NaN")), None);
        assert_eq!(Scale::Quantitative.value(&serde_json::from_str("1e400").unwrap()), None);
        assert_eq!(Scale::Quantitative.value(&json!(3)).unwrap().as_f64(), Some(3.0));
        assert_eq!(Scale::Temporal.value(&json!("infinity")), None);
        assert_eq!(Scale::Temporal.value(&json!("2024-05-01")), Some(json!("2024-05-01T00:00:00")));
        assert_eq!(Scale::Nominal.value(&json!("a\u{0}b\u{202e}c\u{ffff}")), Some(json!("a b c")));
        assert_eq!(Scale::Nominal.value(&json!(null)), None);
    }
}
