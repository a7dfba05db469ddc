//! Business hours: local wall time, with the daylight saving of the calendar's zone.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::facts::Calendar;
use crate::vocabulary::Timestamp;

/// Why business hours cannot be looked up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// No such zone in the IANA data this program carries.
    #[error("`{0}` is not a time zone: expected an IANA name, as in Europe/Berlin")]
    TimeZone(String),
    /// Not a day.
    #[error("`{0}` is not a day: expected YYYY-MM-DD")]
    Date(String),
}

/// Reads a local day, `YYYY-MM-DD`.
///
/// # Errors
/// When it is not written so, or no day of the calendar.
pub fn parse_date(text: &str) -> Result<Date, CalendarError> {
    let bad = || CalendarError::Date(text.chars().take(40).collect());
    let date: Date = text.parse().map_err(|_| bad())?;
    // `Date` also reads `20261231` and times; only one spelling is a key that can be compared.
    if date.to_string() == text { Ok(date) } else { Err(bad()) }
}

/// The instant of `YYYY-MM-DD` (the first instant of that day in `zone`) or of an RFC 3339 text with its offset.
///
/// # Errors
/// When it is neither, or the zone is unknown.
pub fn day_start(text: &str, zone: &str) -> Result<Timestamp, CalendarError> {
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp(instant.as_millisecond()));
    }
    let zoned = parse_date(text)?
        .to_zoned(time_zone(zone)?)
        .map_err(|_| CalendarError::Date(text.chars().take(40).collect()))?;
    Ok(Timestamp(zoned.timestamp().as_millisecond()))
}

/// The zone of an IANA name.
pub(super) fn time_zone(name: &str) -> Result<TimeZone, CalendarError> {
    TimeZone::get(name).map_err(|_| CalendarError::TimeZone(name.chars().take(60).collect()))
}

impl Calendar {
    /// Whether it is open at an instant.
    ///
    /// Spans are wall time of the calendar's zone: on the night the clocks go back the repeated hour is open twice, on
    /// the night they go forward the skipped hour never comes. A closed date closes its whole local day.
    ///
    /// # Errors
    /// When the zone is unknown or the instant is outside the calendar (years -9999 to 9999).
    pub fn open_at(&self, at: Timestamp) -> Result<bool, CalendarError> {
        let zone = time_zone(&self.time_zone)?;
        let instant = jiff::Timestamp::from_millisecond(at.0)
            .map_err(|_| CalendarError::Date(format!("{} ms", at.0)))?;
        let local = instant.to_zoned(zone).datetime();
        if self.closed_dates.iter().any(|day| parse_date(day) == Ok(local.date())) {
            return Ok(false);
        }
        let weekday = local.date().weekday().to_monday_one_offset();
        let minute = i32::from(local.hour()) * 60 + i32::from(local.minute());
        Ok(self.open.iter().any(|span| {
            i32::from(span.weekday) == i32::from(weekday)
                && (i32::from(span.from_minute)..i32::from(span.to_minute)).contains(&minute)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::OpeningSpan;
    use crate::vocabulary::CalendarId;

    fn calendar(zone: &str, open: &[(u8, u16, u16)], closed: &[&str]) -> Calendar {
        Calendar {
            calendar_id: CalendarId::parse("cal_test").unwrap(),
            time_zone: zone.to_owned(),
            open: open
                .iter()
                .map(|&(weekday, from_minute, to_minute)| OpeningSpan { weekday, from_minute, to_minute })
                .collect(),
            closed_dates: closed.iter().map(|day| (*day).to_owned()).collect(),
        }
    }

    #[track_caller]
    fn check(calendar: &Calendar, rows: &[(&str, bool)]) {
        for (instant, open) in rows {
            let at = Timestamp(instant.parse::<jiff::Timestamp>().unwrap().as_millisecond());
            assert_eq!(calendar.open_at(at), Ok(*open), "{instant} in {}", calendar.time_zone);
        }
    }

    #[test]
    fn the_first_minute_is_open_and_the_last_is_not() {
        // 2026-01-05 is a Monday; Berlin is at UTC+1.
        check(
            &calendar("Europe/Berlin", &[(1, 480, 1080)], &[]),
            &[
                ("2026-01-05T06:59:59.999Z", false),
                ("2026-01-05T07:00:00Z", true),
                ("2026-01-05T16:59:59.999Z", true),
                ("2026-01-05T17:00:00Z", false),
                ("2026-01-06T07:00:00Z", false),
            ],
        );
    }

    #[test]
    fn the_same_wall_time_is_another_instant_in_summer() {
        // 2026-07-06 is a Monday; Berlin is at UTC+2.
        check(
            &calendar("Europe/Berlin", &[(1, 480, 1080)], &[]),
            &[
                ("2026-07-06T05:59:59Z", false),
                ("2026-07-06T06:00:00Z", true),
                ("2026-07-06T16:00:00Z", false),
            ],
        );
    }

    #[test]
    fn the_hour_that_comes_twice_is_open_twice() {
        // Berlin, Sunday 2026-10-25: 02:00 to 03:00 happens at UTC 00:00 and again at UTC 01:00.
        check(
            &calendar("Europe/Berlin", &[(7, 120, 180)], &[]),
            &[
                ("2026-10-24T23:59:59Z", false),
                ("2026-10-25T00:30:00Z", true),
                ("2026-10-25T01:30:00Z", true),
                ("2026-10-25T02:00:00Z", false),
            ],
        );
    }

    #[test]
    fn the_hour_that_is_skipped_never_opens() {
        // Berlin, Sunday 2026-03-29: 02:00 becomes 03:00 at UTC 01:00.
        check(
            &calendar("Europe/Berlin", &[(7, 120, 180)], &[]),
            &[("2026-03-29T00:59:59Z", false), ("2026-03-29T01:00:00Z", false)],
        );
        check(&calendar("Europe/Berlin", &[(7, 150, 240)], &[]), &[("2026-03-29T01:00:00Z", true)]);
    }

    #[test]
    fn a_closed_date_is_a_whole_local_day() {
        // Kathmandu is at UTC+5:45: its 25 December is from 18:15 UTC of the 24th.
        check(
            &calendar("Asia/Kathmandu", &[(4, 0, 1440), (5, 0, 1440), (6, 0, 1440)], &["2026-12-25"]),
            &[
                ("2026-12-24T18:14:59Z", true),
                ("2026-12-24T18:15:00Z", false),
                ("2026-12-25T18:14:59Z", false),
                ("2026-12-25T18:15:00Z", true),
            ],
        );
    }

    #[test]
    fn round_the_clock_has_no_hole_at_midnight_or_at_any_change_of_clocks() {
        let always: Vec<_> = (1..=7).map(|weekday| (weekday, 0, 1440)).collect();
        for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo"] {
            let calendar = calendar(zone, &always, &[]);
            let start: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
            for quarter in 0..366 * 96 {
                let at = Timestamp(start.as_millisecond() + quarter * 900_000);
                assert_eq!(calendar.open_at(at), Ok(true), "{at} in {zone}");
            }
        }
    }

    #[test]
    fn a_day_begins_at_its_first_instant_where_the_operator_is() {
        for (text, zone, instant) in [
            ("2026-01-01", "Europe/Berlin", "2025-12-31T23:00:00Z"),
            ("2026-07-01", "Europe/Berlin", "2026-06-30T22:00:00Z"),
            ("2026-01-01T12:00:00+01:00", "Mars/Olympus", "2026-01-01T11:00:00Z"),
            // In Santiago the clocks go forward at midnight: the day begins at 01:00.
            ("2026-09-06", "America/Santiago", "2026-09-06T04:00:00Z"),
        ] {
            let expected = Timestamp(instant.parse::<jiff::Timestamp>().unwrap().as_millisecond());
            assert_eq!(day_start(text, zone), Ok(expected), "{text}");
        }
        assert!(day_start("2026-01-01", "Mars/Olympus").is_err());
        assert!(day_start("1 January", "UTC").is_err());
    }

    #[test]
    fn what_is_no_zone_or_no_day_is_refused() {
        assert!(calendar("Mars/Olympus", &[], &[]).open_at(Timestamp(0)).is_err());
        for bad in ["", "2026-02-29", "2026-2-3", "20260203", "2026-02-03T00:00", "03.02.2026"] {
            assert!(parse_date(bad).is_err(), "{bad}");
        }
        assert!(parse_date("2028-02-29").is_ok());
    }
}
