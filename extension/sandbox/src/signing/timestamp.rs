//! The time as signatures write it.

/// A second in UTC, of the proleptic Gregorian calendar.
pub(super) struct Timestamp {
    year: u64,
    month: u64,
    day: u64,
    second_of_day: u64,
}

impl Timestamp {
    /// From seconds since 1970.
    pub(super) fn new(unix: u64) -> Self {
        // Days since 0000-03-01, in eras of 400 years: the leap day is the last one of its year.
        let days = unix / 86_400 + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: of_year - (153 * from_march + 2) / 5 + 1,
            second_of_day: unix % 86_400,
        }
    }

    /// `2015-08-30`, with this separator.
    pub(super) fn date(&self, separator: &str) -> String {
        format!("{:04}{separator}{:02}{separator}{:02}", self.year, self.month, self.day)
    }

    /// `20150830T123600Z` (ISO 8601, basic format).
    pub(super) fn basic(&self) -> String {
        let s = self.second_of_day;
        format!("{}T{:02}{:02}{:02}Z", self.date(""), s / 3600, s / 60 % 60, s % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_leap_days_are_those_of_the_calendar() {
        for (unix, text) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (951_868_800, "20000301T000000Z"),
            (1_440_938_160, "20150830T123600Z"),
            (1_551_113_065, "20190225T164425Z"),
            (1_735_689_599, "20241231T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(Timestamp::new(unix).basic(), text);
        }
        assert_eq!(Timestamp::new(1_551_113_065).date("-"), "2019-02-25");
    }
}
