//! Sums of money, exactly.

use std::fmt;

use serde_json::{Number, Value};

use crate::error::ConfigError;
use crate::members::Members;

/// Decimals of an amount and of a price.
const DECIMALS: usize = 9;
const UNIT: i64 = 1_000_000_000;
/// Prices and budgets stay below this many units.
const MOST: i128 = 1_000_000_000;

/// A sum of money, in billionths of the currency's unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost(i64);

impl Cost {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many billionths.
    pub const fn from_billionths(billionths: i64) -> Self {
        Self(billionths)
    }

    /// In billionths.
    pub const fn billionths(self) -> i64 {
        self.0
    }

    /// The nearest one to so many millionths of a billionth; halves are rounded up.
    pub(super) fn of_millionths(millionths: i128) -> Self {
        let rounded = millionths.saturating_add(500_000).div_euclid(1_000_000);
        Self(i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX }))
    }

    /// Both together, or as much as there can be.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left, at least nothing.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        let left = self.0.saturating_sub(other.0);
        Self(if left < 0 { 0 } else { left })
    }

    /// A number or a text that is one: not negative, with at most nine decimals.
    pub fn parse(value: &Value) -> Option<Self> {
        billionths(value).filter(|amount| *amount >= 0).map(Self)
    }

    /// As a JSON number, to the last digit.
    pub fn to_json(self) -> Value {
        self.to_string().parse().map_or(Value::Null, |number: Number| Value::Number(number))
    }
}

impl fmt::Display for Cost {
    /// A decimal number, without zeroes at its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0.unsigned_abs() / UNIT.unsigned_abs(), self.0.unsigned_abs() % UNIT.unsigned_abs());
        let sign = if self.0 < 0 { "-" } else { "" };
        if rest == 0 {
            return write!(f, "{sign}{whole}");
        }
        let decimals = format!("{rest:0DECIMALS$}");
        write!(f, "{sign}{whole}.{}", decimals.trim_end_matches('0'))
    }
}

/// The price of a million, in the unit of [`Cost`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rate(i64);

impl Rate {
    /// A number or a text that is one, with at most nine decimals.
    pub(super) fn parse(value: &Value) -> Option<Self> {
        billionths(value).map(Self)
    }

    /// The price of so many, in millionths of a [`Cost`]'s unit.
    pub(super) fn times(self, count: u64) -> i128 {
        // Below 2^64 times 10^18.
        i128::from(self.0) * i128::from(count)
    }
}

fn billionths(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => decimal(&number.to_string()),
        Value::String(text) => decimal(text),
        _ => None,
    }
}

/// A decimal number, to the digit, in billionths. None for what is none, has more decimals, or is too large.
fn decimal(text: &str) -> Option<i64> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok().filter(|e| (-40..=40).contains(e))?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) || whole.len() + fraction.len() > 36 {
        return None;
    }
    let number: i128 = format!("{whole}{fraction}").parse().ok()?;
    // number × 10^shift billionths.
    let shift = i32::try_from(DECIMALS).ok()? + exponent - i32::try_from(fraction.len()).ok()?;
    let power = 10_i128.checked_pow(shift.unsigned_abs());
    let amount = match power {
        _ if number == 0 => 0,
        Some(power) if shift >= 0 => number.checked_mul(power)?,
        Some(power) if number % power == 0 => number / power,
        _ => return None,
    };
    if amount > MOST * i128::from(UNIT) {
        return None;
    }
    i64::try_from(if negative { -amount } else { amount }).ok()
}

/// A currency's three letters (ISO 4217). US dollars where nobody says another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Currency([u8; 3]);

impl Default for Currency {
    fn default() -> Self {
        Self::USD
    }
}

impl Currency {
    /// US dollars.
    pub const USD: Self = Self(*b"USD");

    /// From its letters.
    pub fn parse(text: &str) -> Option<Self> {
        let letters: [u8; 3] = text.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Self(letters))
    }

    pub(crate) fn read(m: &Members<'_>, name: &str) -> Result<Self, ConfigError> {
        let expected = "a currency's three capital letters, such as \"USD\"";
        Ok(m.get_if(name, expected, |text: &String| Self::parse(text).is_some())?.and_then(|text| Self::parse(&text)).unwrap_or_default())
    }

    /// Its letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_decimal_number_is_read_to_the_digit_and_written_as_it_was() {
        for (text, billionths) in [
            ("0", 0),
            ("2.50", 2_500_000_000),
            ("0.000000001", 1),
            ("-1.25", -1_250_000_000),
            ("1e-9", 1),
            ("1.5E3", 1_500_000_000_000),
            ("0.1000000000000", 100_000_000),
            ("1000000000", 1_000_000_000_000_000_000),
            ("0e40", 0),
        ] {
            assert_eq!(decimal(text), Some(billionths), "{text}");
        }
        for text in ["", "-", ".5", "1e", "1e99", "0.0000000001", "1000000001", "1,5", "NaN", "inf", "+1", " 1", "١"] {
            assert_eq!(decimal(text), None, "{text}");
        }
        for text in ["0", "2.5", "-1.25", "0.000000001", "1000000000"] {
            assert_eq!(Cost(decimal(text).unwrap()).to_string(), text);
            assert_eq!(Cost(decimal(text).unwrap()).to_json().to_string(), text);
        }
    }

    #[test]
    fn an_amount_is_a_number_or_a_text_and_not_negative() {
        assert_eq!(Cost::parse(&json!("0.10")), Some(Cost(100_000_000)));
        assert_eq!(Cost::parse(&json!(0.3)), Some(Cost(300_000_000)));
        for bad in [json!(-1), json!(null), json!([1]), json!("1 USD"), json!(true)] {
            assert_eq!(Cost::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn nothing_overflows() {
        assert_eq!(Cost(i64::MAX).plus(Cost(1)), Cost(i64::MAX));
        assert_eq!(Cost(1).minus(Cost(i64::MAX)), Cost::ZERO);
        assert_eq!(Cost::of_millionths(i128::MAX), Cost(i64::MAX));
        assert_eq!(Cost::of_millionths(499_999), Cost::ZERO);
        assert_eq!(Cost::of_millionths(500_000), Cost(1));
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        assert_eq!(Currency::default().as_str(), "USD");
        for bad in ["", "usd", "US", "USDT", "€€€", "U D"] {
            assert_eq!(Currency::parse(bad), None, "{bad}");
        }
    }
}
