//! Periods of the calendar, in UTC.

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
                let (year, month, _) = date(now.div_euclid(DAY));
                let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                (days(year, month) * DAY, Some(days(next_year, next_month) * DAY))
            }
            Self::Total => (0, None),
        }
    }
}

/// Days from 1970 to the first of a month of the Gregorian calendar (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil).
fn days(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of so many days after 1970 (the same, civil_from_days).
fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted - era * 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, of_year - (153 * shifted_month + 2) / 5 + 1)
}

/// A time as `2026-11-23 05:00:00 UTC`.
pub fn utc(seconds: i64) -> String {
    let (year, month, day) = date(seconds.div_euclid(DAY));
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
