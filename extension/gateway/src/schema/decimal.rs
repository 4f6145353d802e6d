//! Numbers as JSON writes them: decimals, compared and divided without rounding.

use std::cmp::Ordering;

use serde_json::Number;

/// `0.digits` times ten to the `scale`, without leading or trailing zeros among the digits. Zero has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    scale: i64,
}

impl Decimal {
    pub(crate) fn of(number: &Number) -> Self {
        Self::read(&number.to_string())
    }

    /// The text of a JSON number.
    fn read(text: &str) -> Self {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                let beyond = if exponent.starts_with('-') { i64::from(i32::MIN) } else { i64::from(i32::MAX) };
                (mantissa, exponent.parse::<i32>().map_or(beyond, i64::from))
            }
            None => (text, 0),
        };
        let negative = mantissa.starts_with('-');
        let mantissa = mantissa.trim_start_matches(['-', '+']);
        let whole = mantissa.find('.').unwrap_or(mantissa.len());
        let all: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).map(|b| b - b'0').collect();
        let leading = all.iter().take_while(|d| **d == 0).count();
        let trailing = all[leading..].iter().rev().take_while(|d| **d == 0).count();
        let digits = all[leading..all.len() - trailing].to_vec();
        if digits.is_empty() {
            return Self { negative: false, digits, scale: 0 };
        }
        Self { negative, digits, scale: signed(whole) - signed(leading) + exponent }
    }

    pub(crate) fn is_integer(&self) -> bool {
        self.scale >= signed(self.digits.len())
    }

    pub(crate) fn is_positive(&self) -> bool {
        !self.negative && !self.digits.is_empty()
    }

    /// None where its factors are too far apart to be told.
    pub(crate) fn is_multiple_of(&self, unit: &Self) -> Option<bool> {
        if self.digits.is_empty() {
            return Some(true);
        }
        if self.size(unit) == Ordering::Less {
            return Some(false);
        }
        // Both as integers: times ten to the same power.
        let lowest = (self.scale - signed(self.digits.len())).min(unit.scale - signed(unit.digits.len()));
        let unit = unit.digits_above(lowest).filter(|length| *length <= 18).and_then(|length| whole(&unit.digits, length))?;
        let length = self.digits_above(lowest).filter(|length| *length <= 100_000)?;
        let digits = self.digits.iter().copied().chain(std::iter::repeat(0)).take(length);
        Some(digits.fold(0_u128, |rest, digit| (rest * 10 + u128::from(digit)) % u128::from(unit)) == 0)
    }

    /// Compares without the signs.
    fn size(&self, other: &Self) -> Ordering {
        self.scale.cmp(&other.scale).then_with(|| self.digits.cmp(&other.digits))
    }

    /// Digits of the integer that this is in units of ten to the power `lowest`.
    fn digits_above(&self, lowest: i64) -> Option<usize> {
        usize::try_from(self.scale - lowest).ok()
    }
}

fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

fn whole(digits: &[u8], length: usize) -> Option<u64> {
    let value = digits.iter().copied().chain(std::iter::repeat(0)).take(length).fold(0_u64, |sum, digit| sum * 10 + u64::from(digit));
    (value > 0).then_some(value)
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |d: &Self| match (d.digits.is_empty(), d.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        sign(self).cmp(&sign(other)).then_with(|| if self.negative { other.size(self) } else { self.size(other) })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        let digits = self.digits.iter().map(|d| char::from(b'0' + d)).collect::<String>();
        write!(f, "{sign}0.{digits}e{}", self.scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_compared_by_their_value_and_not_by_their_writing() {
        let d = Decimal::read;
        for (a, b) in [
            ("1", "1.0"),
            ("10", "1e1"),
            ("0.1", "100E-3"),
            ("0", "-0.00"),
            ("123456789012345678901234567890", "12345678901234567890123456789e1"),
        ] {
            assert_eq!(d(a).cmp(&d(b)), Ordering::Equal, "{a} {b}");
        }
        let rising = [
            "-1e400",
            "-12",
            "-2",
            "-1.5",
            "-0.1",
            "0",
            "1e-400",
            "0.09",
            "0.1",
            "9",
            "10",
            "9007199254740993",
            "9007199254740994",
            "1e400",
            "1e999999999999",
        ];
        for pair in rising.windows(2) {
            assert_eq!(d(pair[0]).cmp(&d(pair[1])), Ordering::Less, "{pair:?}");
        }
    }

    #[test]
    fn whole_numbers_are_integers_however_they_are_written() {
        for (text, expected) in
            [("1", true), ("1.0", true), ("10e-1", true), ("1e3", true), ("1.5", false), ("1e-1", false), ("0.0", true), ("-7", true)]
        {
            assert_eq!(Decimal::read(text).is_integer(), expected, "{text}");
        }
    }

    #[test]
    fn multiples_are_those_of_school_and_not_of_binary_fractions() {
        for (number, unit, expected) in [
            ("19.99", "0.01", Some(true)),
            ("0.3", "0.1", Some(true)),
            ("7.5", "2.5", Some(true)),
            ("7.6", "2.5", Some(false)),
            ("123456789012345678901234567890", "10", Some(true)),
            ("123456789012345678901234567891", "10", Some(false)),
            ("0", "3", Some(true)),
            ("-9", "3", Some(true)),
            ("1e300", "1e-300", Some(true)),
            ("1e-300", "1e300", Some(false)),
            ("9999999999999999999999", "1234567890123456789012", None),
        ] {
            assert_eq!(Decimal::read(number).is_multiple_of(&Decimal::read(unit)), expected, "{number} {unit}");
        }
    }
}
