//! Dates and times as Postgres's JSON has them (ISO 8601), and as seconds since 1970.

use crate::calendar::{date_of, days_of};

/// Seconds since 1970-01-01, UTC where there is no offset. None for `infinity`, years before 1 or after 9999, and what is no time.
pub(super) fn seconds(text: &str) -> Option<f64> {
    let (date, clock) = match text.split_once(['T', ' ']) {
        Some((date, clock)) => (date, Some(clock)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let (year, month, day) = (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    if parts.next().is_some() || year < 1 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_of(year, month, day);
    #[allow(clippy::cast_precision_loss, reason = "days of ten thousand years")]
    let midnight = days as f64 * 86_400.0;
    clock.map_or(Some(midnight), |clock| Some(midnight + clock_seconds(clock)?))
}

/// `HH:MM[:SS[.ffffff]]`, and an offset.
fn clock_seconds(text: &str) -> Option<f64> {
    let at = text.find(['+', '-', 'Z']).unwrap_or(text.len());
    let (clock, offset) = text.split_at(at);
    let mut total = 0.0;
    let mut unit = 3600.0;
    for part in clock.split(':') {
        if unit < 1.0 || !part.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return None;
        }
        total += part.parse::<f64>().ok()? * unit;
        unit /= 60.0;
    }
    let sign = match offset.bytes().next() {
        None | Some(b'Z') => return Some(total),
        Some(b'-') => -1.0,
        Some(_) => 1.0,
    };
    let mut unit = 3600.0;
    for part in offset[1..].split(':') {
        total -= sign * f64::from(u32::try_from(number(part, 2)?).ok()?) * unit;
        unit /= 60.0;
    }
    Some(total)
}

fn number(text: &str, digits: usize) -> Option<i64> {
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// `YYYY-MM-DDTHH:MM:SS`, in UTC, of seconds since 1970. None beyond the years 1 to 9999.
pub(super) fn iso(seconds: f64) -> Option<String> {
    let (year, month, day, rest) = civil(seconds)?;
    Some(format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60))
}

/// For an axis whose marks are this many seconds apart.
pub(super) fn label(seconds: f64, step: f64) -> String {
    let Some((year, month, day, rest)) = civil(seconds) else { return String::new() };
    if step >= 86_400.0 * 365.0 {
        format!("{year:04}")
    } else if step >= 86_400.0 {
        format!("{year:04}-{month:02}-{day:02}")
    } else if step >= 60.0 {
        format!("{month:02}-{day:02} {:02}:{:02}", rest / 3600, rest / 60 % 60)
    } else {
        format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
    }
}

fn civil(seconds: f64) -> Option<(i64, i64, i64, i64)> {
    // 0001-01-01 and 10000-01-01.
    if !(-62_135_596_800.0..253_402_300_800.0).contains(&seconds) {
        return None;
    }
    #[allow(clippy::cast_possible_truncation, reason = "in the range that was just looked at")]
    let whole = seconds.floor() as i64;
    let (days, rest) = (whole.div_euclid(86_400), whole.rem_euclid(86_400));
    let (year, month, day) = date_of(days);
    Some((year, month, day, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_postgres_writes_is_read() {
        for (text, expected) in [
            ("1970-01-01", 0.0),
            ("2024-02-29", 1_709_164_800.0),
            ("2024-02-29T12:30:15", 1_709_209_815.0),
            ("2024-02-29T12:30:15.25+00:00", 1_709_209_815.25),
            ("2024-02-29T12:30:15+02:00", 1_709_202_615.0),
            ("2024-02-29T12:30:15-05:30", 1_709_229_615.0),
            ("1969-12-31T23:59:59+00:00", -1.0),
            ("0001-01-01", -62_135_596_800.0),
        ] {
            assert!(seconds(text).is_some_and(|found| (found - expected).abs() < 1e-6), "{text}: {:?}", seconds(text));
        }
        for text in [
            "infinity",
            "-infinity",
            "0044-03-15 BC",
            "10000-01-01",
            "",
            "2024-13-01",
            "2024-01-01T",
            "2024-01-01Tx",
            "x-y-z",
            "2024-01-01T1:2:3:4",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for day in (-719_162..2_932_896_i64).step_by(997) {
            #[allow(clippy::cast_precision_loss, reason = "days")]
            let at = day as f64 * 86_400.0 + 3_723.0;
            let text = iso(at).unwrap();
            assert_eq!(seconds(&text), Some(at), "{text}");
        }
        assert_eq!((iso(f64::NAN), iso(1e300)), (None, None));
        assert_eq!(label(1_709_209_815.0, 3600.0), "02-29 12:30");
    }
}
