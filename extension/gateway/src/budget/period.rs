//! Periods of the calendar, in UTC.

use crate::calendar::{date_of, days_of};

/// How long a budget has to last. Periods begin at full hours, midnights and first days of months, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A month of the calendar.
    Month,
    /// For good.
    Total,
}

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

impl Period {
    /// By its word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Hour, Self::Day, Self::Month, Self::Total].into_iter().find(|period| period.word() == word)
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
            Self::Total => "total",
        }
    }

    /// When the period began that `now` is in, and when the next one begins, in seconds since 1970.
    pub fn bounds(self, now: i64) -> (i64, Option<i64>) {
        let floor = |length: i64| now.div_euclid(length) * length;
        match self {
            Self::Hour => (floor(HOUR), Some(floor(HOUR) + HOUR)),
            Self::Day => (floor(DAY), Some(floor(DAY) + DAY)),
            Self::Month => {
                let (year, month, _) = date_of(now.div_euclid(DAY));
                let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                (days_of(year, month, 1) * DAY, Some(days_of(next_year, next_month, 1) * DAY))
            }
            Self::Total => (0, None),
        }
    }
}

/// A time as `2026-11-23 05:00:00 UTC`.
pub fn utc(seconds: i64) -> String {
    let (year, month, day) = date_of(seconds.div_euclid(DAY));
    let of_day = seconds.rem_euclid(DAY);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", of_day / HOUR, of_day / 60 % 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(period: Period, now: i64) -> (String, Option<String>) {
        let (begin, end) = period.bounds(now);
        (utc(begin), end.map(utc))
    }

    #[test]
    fn periods_are_those_of_the_calendar_in_utc() {
        // 2024-02-29 23:59:59.
        let leap = 1_709_251_199;
        assert_eq!(utc(leap), "2024-02-29 23:59:59 UTC");
        let both = |begin: &str, end: &str| (format!("{begin} UTC"), Some(format!("{end} UTC")));
        assert_eq!(shown(Period::Hour, leap), both("2024-02-29 23:00:00", "2024-03-01 00:00:00"));
        assert_eq!(shown(Period::Day, leap), both("2024-02-29 00:00:00", "2024-03-01 00:00:00"));
        assert_eq!(shown(Period::Month, leap), both("2024-02-01 00:00:00", "2024-03-01 00:00:00"));
        assert_eq!(shown(Period::Month, leap + 1), both("2024-03-01 00:00:00", "2024-04-01 00:00:00"));
        assert_eq!(shown(Period::Month, 1_798_761_599), both("2026-12-01 00:00:00", "2027-01-01 00:00:00"));
        assert_eq!(shown(Period::Month, -1), both("1969-12-01 00:00:00", "1970-01-01 00:00:00"));
        assert_eq!(shown(Period::Total, leap), ("1970-01-01 00:00:00 UTC".to_owned(), None));
    }

    #[test]
    fn every_moment_is_in_one_period() {
        for period in [Period::Hour, Period::Day, Period::Month] {
            let mut at = 0;
            // 140 years of months; as many days and hours.
            for _ in 0..1680 {
                let (begin, end) = period.bounds(at);
                let end = end.unwrap();
                assert_eq!((begin, period.bounds(end - 1).0), (at, at), "{period:?}");
                at = end;
            }
        }
        assert_eq!(utc(Period::Month.bounds(4_417_977_599).1.unwrap()), "2110-01-01 00:00:00 UTC");
    }
}
