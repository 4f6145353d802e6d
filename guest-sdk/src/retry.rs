//! What a response's head says about coming back.

use crate::http::Headers;

/// Hints of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// When to come back, in milliseconds from now.
    pub after_ms: Option<u64>,
    /// What `x-should-retry` says.
    pub retryable: Option<bool>,
}

/// Reads `retry-after-ms`, else `retry-after` (seconds or an HTTP date), and `x-should-retry`.
///
/// A guest has no clock: a date is counted from the response's own `date`, and says nothing where there is none.
pub fn hints(headers: &Headers) -> Hints {
    let milliseconds = headers.get("retry-after-ms").and_then(|value| after(value, 1));
    let after_ms = milliseconds.or_else(|| {
        let value = headers.get("retry-after")?;
        after(value, 1000).or_else(|| {
            let now = http_date(headers.get("date")?)?;
            u64::try_from(http_date(value)?.saturating_sub(now).max(0)).ok()?.checked_mul(1000)
        })
    });
    let retryable = headers.get("x-should-retry").and_then(|value| match value.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    });
    Hints { after_ms, retryable }
}

/// A duration such as Gemini's `34.4s` or OpenAI's `6m0s` and `12ms`, in milliseconds.
pub fn duration_ms(text: &str) -> Option<u64> {
    let mut total = 0_u64;
    let mut rest = text.trim_ascii();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after_number) = rest.split_at(digits);
        let unit_end = after_number.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after_number.len());
        let (unit, next) = after_number.split_at(unit_end);
        let factor = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        total = total.checked_add(after(number, factor)?)?;
        rest = next;
    }
    Some(total)
}

/// A decimal number times `factor`, rounded up. Not a sign, not an exponent, not more than 100 years. In whole numbers, because the standard library's
/// reading of an `f64` would be a tenth of a small guest.
fn after(text: &str, factor: u64) -> Option<u64> {
    const CENTURY_MS: u64 = 3_200_000_000_000;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Nine digits behind the point are more than a clock tells.
    let nanos = fraction.bytes().chain(std::iter::repeat(b'0')).take(9).fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let value = whole.checked_mul(factor)?.checked_add((nanos * factor).div_ceil(1_000_000_000))?;
    (value < CENTURY_MS).then_some(value)
}

/// Seconds since 1970 of an HTTP date (RFC 9110, 5.6.7), in each of its three forms.
fn http_date(text: &str) -> Option<i64> {
    // IMF-fixdate `Sun, 06 Nov 1994 08:49:37 GMT`; RFC 850 `Sunday, 06-Nov-94 08:49:37 GMT`; asctime `Sun Nov  6 08:49:37 1994`.
    let mut words = [""; 6];
    let mut count = 0;
    for word in text.split([' ', '-', ',']).filter(|word| !word.is_empty()) {
        *words.get_mut(count)? = word;
        count += 1;
    }
    let ([_, day, month, year, time, "GMT"] | [_, month, day, time, year]) = words[..count] else { return None };
    let month = 1 + i64::try_from(
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"].iter().position(|name| *name == month)?,
    )
    .ok()?;
    let year = match (year.len(), number(year, 9999)?) {
        (2, year) if year < 70 => 2000 + year,
        (2, year) => 1900 + year,
        (4, year) => year,
        _ => return None,
    };
    let day = number(day, 31).filter(|day| *day > 0)?;
    let (hour, rest) = time.split_once(':')?;
    let (minute, second) = rest.split_once(':')?;
    let (hour, minute, second) = (number(hour, 23)?, number(minute, 59)?, number(second, 60)?);
    Some(days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn number(text: &str, max: i64) -> Option<i64> {
    (text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?.filter(|number| *number <= max)
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (Howard Hinnant's `days_from_civil`), for years from 0.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints_of(fields: &[(&str, &str)]) -> Hints {
        hints(&fields.iter().copied().collect())
    }

    #[test]
    fn milliseconds_win_over_seconds() {
        assert_eq!(hints_of(&[("retry-after", "7"), ("Retry-After-Ms", "1500.2")]).after_ms, Some(1501));
        assert_eq!(hints_of(&[("retry-after", "7"), ("retry-after-ms", "soon")]).after_ms, Some(7000));
        assert_eq!(hints_of(&[("retry-after", " 0.5 ")]).after_ms, Some(500));
    }

    #[test]
    fn a_date_counts_from_the_date_of_the_response() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(hints_of(&[date, ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")]).after_ms, Some(30_000));
        assert_eq!(hints_of(&[date, ("retry-after", "Sunday, 06-Nov-94 08:50:07 GMT")]).after_ms, Some(30_000));
        assert_eq!(hints_of(&[date, ("retry-after", "Sun Nov  6 08:50:07 1994")]).after_ms, Some(30_000));
        assert_eq!(hints_of(&[date, ("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]).after_ms, Some(0));
        assert_eq!(hints_of(&[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")]).after_ms, None);
    }

    #[test]
    fn what_is_not_a_time_says_nothing() {
        for nonsense in [
            "",
            ".",
            "-1",
            "1e9",
            "1.2.3",
            "4000000000",
            "inf",
            "NaN",
            "99999999999999999999",
            "Sun, 06 Nov",
            "Sun, 99 Nov 1994 08:50:07 GMT",
            "Sun, 06 Nov 1994 08:50 GMT",
        ] {
            assert_eq!(hints_of(&[("date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("retry-after", nonsense)]).after_ms, None, "{nonsense}");
        }
    }

    #[test]
    fn the_provider_may_say_whether_to_try_again() {
        assert_eq!(hints_of(&[("x-should-retry", "false")]).retryable, Some(false));
        assert_eq!(hints_of(&[("x-should-retry", "TRUE")]).retryable, Some(true));
        assert_eq!(hints_of(&[("x-should-retry", "maybe")]).retryable, None);
    }

    #[test]
    fn http_dates_are_seconds_since_1970() {
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http_date("Tue, 29 Feb 2000 12:00:00 GMT"), Some(951_825_600));
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration_ms("34.4s"), Some(34_400));
        assert_eq!(duration_ms("6m0s"), Some(360_000));
        assert_eq!(duration_ms("12ms"), Some(12));
        assert_eq!(duration_ms("12"), None);
        assert_eq!(duration_ms(""), None);
        assert_eq!(duration_ms("s"), None);
    }
}
