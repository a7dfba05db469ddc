//! A log of calls with the columns of the *Anonymous Bank* (Guedj and Mandelbaum; Brown et al., JASA 100, 2005).
//!
//! A line is a call: `vru+line, call_id, customer_id, priority, type, date, vru_entry, vru_exit, vru_time, q_start, q_exit, q_time,
//! outcome, ser_start, ser_exit, ser_time, server`, separated by tabs, with a header line. Times are wall-clock times of the
//! day in `date` (YYMMDD); they are taken as they stand and never converted.
//!
//! It tells which calls were offered (answered, or gave up in the queue), when they came to the queue, their kind and
//! priority, how long was talked, and the patience of those who gave up. A call of priority 2 is queued as if it had come
//! 90 s earlier, which was the discipline there. When agents were there is inferred, see [`crate::log`].

use trunkline_domain::vocabulary::{Millis, Timestamp};

use crate::log::{LogError, Seen, Source, Talk, Told};

/// How much earlier than they came calls of priority 2 are queued.
pub const HEAD_START: Millis = Millis::from_secs(90);
/// How its header begins.
pub(crate) const HEAD: &str = "vru+line\t";
const FIELDS: usize = 17;
const NOT: &str = "0:00:00";
const NOBODY: &str = "NO_SERVER";

/// Reads a log.
pub(crate) fn read(text: &str) -> Result<Told, LogError> {
    let mut told = Told { source: Source::Bank, ..Told::default() };
    for (number, text) in text.lines().enumerate().skip(1).filter(|(_, text)| !text.trim().is_empty()) {
        match line(text).map_err(|reason| LogError::Line { line: number + 1, reason })? {
            Some(call) => told.calls.push(call),
            None => told.not_offered += 1,
        }
    }
    Ok(told)
}

fn line(text: &str) -> Result<Option<Seen>, String> {
    let mut fields: Vec<&str> = text.split('\t').collect();
    // In two lines of a later month priority and kind are in one field.
    if fields.len() == FIELDS - 1
        && let Some((priority, kind)) = fields[3].split_once(char::is_whitespace)
    {
        fields.splice(3..4, [priority.trim(), kind.trim()]);
    }
    let &[
        _,
        _,
        _,
        priority,
        kind,
        date,
        _,
        vru_exit,
        _,
        q_start,
        _,
        q_time,
        outcome,
        ser_start,
        _,
        ser_time,
        server,
    ] = fields.as_slice()
    else {
        return Err(format!("expected {FIELDS} fields, found {}", fields.len()));
    };
    let queued = q_start != NOT;
    let gave_up = match outcome {
        "AGENT" => false,
        "HANG" if queued => true,
        "HANG" | "PHANTOM" => return Ok(None),
        other => return Err(format!("outcome: expected AGENT, HANG or PHANTOM, found `{other}`")),
    };
    let midnight = midnight(date)?;
    let at = midnight + clock("the time it was offered", if queued { q_start } else { vru_exit })?;
    let waited = if queued { span("q_time", q_time)? } else { Millis::ZERO };
    let mut talk = None;
    if !gave_up && server != NOBODY && ser_start != NOT {
        let mut from = midnight + clock("ser_start", ser_start)?;
        // A conversation after midnight has the date of its call.
        if from + Millis::from_secs(43_200) < at {
            from = from + Millis::from_secs(86_400);
        }
        talk = Some(Talk { from, length: span("ser_time", ser_time)?, server: server.to_owned() });
    }
    let high = match priority {
        "0" | "1" => false,
        "2" => true,
        other => return Err(format!("priority: expected 0, 1 or 2, found `{other}`")),
    };
    let head_start = if high { HEAD_START } else { Millis::ZERO };
    let (kind, date) = (kind.to_owned(), date.to_owned());
    Ok(Some(Seen { kind, date, high, head_start, at, waited, gave_up, talk }))
}

/// The beginning of a date YYMMDD, taken as UTC; two digits of a year from 70 on are of the last century.
fn midnight(date: &str) -> Result<Timestamp, String> {
    let wrong = || format!("date: expected YYMMDD, found `{date}`");
    let number = |range: std::ops::Range<usize>| date.get(range).and_then(|it| it.parse::<i16>().ok());
    let (Some(year), Some(month), Some(day), 6) = (number(0..2), number(2..4), number(4..6), date.len())
    else {
        return Err(wrong());
    };
    let year = if year < 70 { 2_000 + year } else { 1_900 + year };
    let (month, day) = (i8::try_from(month).unwrap_or(0), i8::try_from(day).unwrap_or(0));
    let civil = jiff::civil::Date::new(year, month, day).map_err(|_| wrong())?;
    let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong())?;
    Ok(Timestamp(zoned.timestamp().as_millisecond()))
}

fn clock(what: &str, text: &str) -> Result<Millis, String> {
    let wrong = || format!("{what}: expected H:MM:SS, found `{text}`");
    let parts: Vec<i64> = text.split(':').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
    match parts[..] {
        [hours @ 0..24, minutes @ 0..60, seconds @ 0..60] => {
            Ok(Millis::from_secs(hours * 3_600 + minutes * 60 + seconds))
        }
        _ => Err(wrong()),
    }
}

fn span(what: &str, text: &str) -> Result<Millis, String> {
    let seconds = text.parse::<i64>().ok().filter(|seconds| (0..=1_000_000).contains(seconds));
    seconds.map(Millis::from_secs).ok_or_else(|| format!("{what}: expected seconds, found `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::day::{End, Shift};
    use crate::log::Log;

    const HEAD: &str = "vru+line\tcall_id\tcustomer_id\tpriority\ttype\tdate\tvru_entry\tvru_exit\tvru_time\tq_start\tq_exit\tq_time\toutcome\tser_start\tser_exit\tser_time\tserver\n";

    /// Priority, kind, when it was queued and for how long, what came of it, when and how long it talked, with whom.
    type Row<'a> = (&'a str, &'a str, &'a str, u32, &'a str, &'a str, u32, &'a str);

    fn text(rows: &[Row<'_>]) -> String {
        let line = |(priority, kind, q_start, q_time, outcome, ser_start, ser_time, server): &Row<'_>| {
            format!(
                "AA01\t1\t0\t{priority}\t{kind}\t990103\t7:00:00\t7:00:05\t5\t{q_start}\t0:00:00\t{q_time}\t{outcome}\t{ser_start}\t0:00:00\t{ser_time}\t{server}\n"
            )
        };
        HEAD.to_owned() + &rows.iter().map(line).collect::<String>()
    }

    fn at(hours: i64, minutes: i64, seconds: i64) -> Timestamp {
        // 3 January 1999.
        Timestamp((915_321_600 + hours * 3_600 + minutes * 60 + seconds) * 1_000)
    }

    #[test]
    fn what_the_log_tells_is_taken_as_it_stands() {
        let log = Log::read(
            &text(&[
                ("2", "PS", "8:00:00", 30, "HANG", "0:00:00", 0, "NO_SERVER"),
                ("0", "IN", "0:00:00", 0, "AGENT", "7:00:06", 60, "AG01"),
                ("0", "PS", "0:00:00", 0, "HANG", "0:00:00", 0, "NO_SERVER"),
                ("0", "PS", "0:00:00", 0, "PHANTOM", "0:00:00", 0, "NO_SERVER"),
            ]),
            1,
        )
        .unwrap();
        assert_eq!((log.day.calls.len(), log.not_offered), (2, 2));
        let [first, second] = &log.day.calls[..] else { panic!("two calls") };
        assert_eq!(
            (first.at, first.talk, first.head_start),
            (at(7, 0, 5), Millis::from_secs(60), Millis::ZERO)
        );
        assert_eq!(
            (second.at, second.patience, second.head_start),
            (at(8, 0, 0), Some(Millis::from_secs(30)), HEAD_START)
        );
        assert_eq!(log.ends[0], End::Answered { agent: 0, waited: Millis::ZERO });
        assert_eq!(log.ends[1], End::Abandoned { waited: Millis::from_secs(30) });
        assert_eq!(log.open, [(at(7, 0, 6), at(7, 1, 6))]);
    }

    #[test]
    fn an_agent_who_leaves_a_caller_waiting_between_two_conversations_is_away() {
        let talk =
            |q_start: &'static str, q_time, ser_start: &'static str, ser_time, server: &'static str| {
                ("0", "PS", q_start, q_time, "AGENT", ser_start, ser_time, server)
            };
        let log = Log::read(
            &text(&[
                talk("0:00:00", 0, "8:00:00", 60, "AG01"),
                talk("0:00:00", 0, "8:00:00", 300, "AG02"),
                // Waits for AG02 while AG01 does not talk.
                talk("8:02:00", 180, "8:05:00", 60, "AG02"),
                talk("0:00:00", 0, "8:10:00", 60, "AG01"),
                // Nobody waits in this gap.
                talk("0:00:00", 0, "8:20:00", 60, "AG01"),
            ]),
            1,
        )
        .unwrap();
        let shift = |from, until| Shift { from, until };
        assert_eq!(
            log.day.agents[0].shifts,
            [shift(at(8, 0, 0), at(8, 1, 0)), shift(at(8, 10, 0), at(8, 21, 0))]
        );
        assert_eq!(log.day.agents[1].shifts, [shift(at(8, 0, 0), at(8, 6, 0))]);
    }

    #[test]
    fn a_wrong_line_is_named_with_what_is_wrong() {
        let good = text(&[("0", "PS", "8:00:00", 30, "AGENT", "8:00:30", 60, "AG01")]);
        for (wrong, says) in [
            (
                good.replace("AGENT", "AGENTS"),
                "line 2: outcome: expected AGENT, HANG or PHANTOM, found `AGENTS`",
            ),
            (good.replace("990103", "990133"), "line 2: date: expected YYMMDD, found `990133`"),
            (
                good.replace("8:00:00", "8:61:00"),
                "line 2: the time it was offered: expected H:MM:SS, found `8:61:00`",
            ),
            (good.replace("\t30\t", "\t-3\t"), "line 2: q_time: expected seconds, found `-3`"),
            (good.replace("\tAG01", ""), "line 2: expected 17 fields, found 16"),
            (good.replace("\t0\tPS", "\t7\tPS"), "line 2: priority: expected 0, 1 or 2, found `7`"),
        ] {
            assert_eq!(Log::read(&wrong, 1).unwrap_err().to_string(), says);
        }
    }
}
