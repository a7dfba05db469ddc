//! Calendar months of a zone.

use std::fmt;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::vocabulary::Timestamp;

/// A calendar month, written `YYYY-MM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month {
    first_day: Date,
}

impl Month {
    /// Reads `YYYY-MM`; `None` when it is not a month of the years 1 to 9999.
    pub fn parse(text: &str) -> Option<Self> {
        let (year, month) = text.split_once('-')?;
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if year.len() != 4 || month.len() != 2 || !digits(year) || !digits(month) {
            return None;
        }
        let first_day = Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok()?;
        (first_day.year() > 0).then_some(Self { first_day })
    }

    /// The month of `zone` (an IANA name) that holds `at`; `None` when there is no such zone or instant.
    pub fn of(at: Timestamp, zone: &str) -> Option<Self> {
        let zone = TimeZone::get(zone).ok()?;
        let instant = jiff::Timestamp::from_millisecond(at.0).ok()?;
        Some(Self { first_day: instant.to_zoned(zone).date().first_of_month() })
    }

    /// Its first instant in `zone`, and the first of the next month; `None` when there is no such zone.
    pub fn bounds(self, zone: &str) -> Option<(Timestamp, Timestamp)> {
        let zone = TimeZone::get(zone).ok()?;
        let next = self.first_day.last_of_month().tomorrow().ok()?;
        let start = |day: Date| {
            let midnight = day.to_zoned(zone.clone()).ok()?;
            Some(Timestamp(midnight.timestamp().as_millisecond()))
        };
        Some((start(self.first_day)?, start(next)?))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.first_day.year(), self.first_day.month())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_begins_at_local_midnight_on_either_side_of_the_summer_time_change() {
        let (from, to) = Month::parse("2026-03").unwrap().bounds("Europe/Berlin").unwrap();
        assert_eq!(from.to_string(), "2026-02-28T23:00:00.000Z");
        assert_eq!(to.to_string(), "2026-03-31T22:00:00.000Z");
        for (at, month) in [(from, "2026-03"), (Timestamp(from.0 - 1), "2026-02"), (to, "2026-04")] {
            assert_eq!(Month::of(at, "Europe/Berlin").unwrap().to_string(), month);
        }
        let (_, to) = Month::parse("2025-12").unwrap().bounds("UTC").unwrap();
        assert_eq!(to.to_string(), "2026-01-01T00:00:00.000Z");
    }

    #[test]
    fn what_is_no_month_or_no_zone_is_refused() {
        for bad in ["", "2026", "2026-13", "2026-00", "2026-1", "26-01", "2026-01-01", "0000-01", "+026-01"] {
            assert!(Month::parse(bad).is_none(), "{bad}");
        }
        assert!(Month::parse("2026-01").unwrap().bounds("Mars/Olympus").is_none());
    }
}
