//! Asterisk's `queue_log`: `epoch|call id|queue|member|event|data…`, a line an event.
//!
//! | event | taken as |
//! |---|---|
//! | `ENTERQUEUE` | the call comes to the queue, which is its kind |
//! | `CONNECT` wait | it is answered by the member |
//! | `COMPLETEAGENT`, `COMPLETECALLER` wait, talk | the conversation ends |
//! | `ATTENDEDTRANSFER`, `BLINDTRANSFER`, `TRANSFER` | the same; how long was talked is what lies between |
//! | `ABANDON` position, position, wait; `EXITWITHTIMEOUT`, `EXITWITHKEY`, `EXITEMPTY`, `WITHDRAW` | it gave up; what the queue's rules did counts as the caller's patience |
//! | `ADDMEMBER`, `REMOVEMEMBER`, `AGENTLOGIN`, `AGENTLOGOFF`, `AGENTCALLBACKLOGIN`, `AGENTCALLBACKLOGOFF` | the member is there, or, removed from its last queue, gone |
//! | `PAUSE`, `UNPAUSE` and those of all queues | the member is away, or back, wherever it serves |
//! | anything else | nothing |
//!
//! A call that was under way when the log begins is taken with what its later lines tell; one that has not ended when the log
//! ends is left out. Where no line tells when a member was there, it is inferred as in [`crate::log`]. There are no priorities.

use std::collections::{BTreeMap, BTreeSet};

use trunkline_domain::vocabulary::{Millis, Timestamp};

use crate::day::Shift;
use crate::log::{LogError, Seen, Source, Talk, Told};

/// A call under way.
#[derive(Default)]
struct Open {
    queue: String,
    entered: Option<Timestamp>,
    connected: Option<(Timestamp, Millis, String)>,
}

/// Whether a line is one of such a log.
pub(crate) fn is_line(text: &str) -> bool {
    let mut fields = text.split('|');
    fields.next().is_some_and(|epoch| !epoch.is_empty() && epoch.bytes().all(|it| it.is_ascii_digit()))
        && fields.count() >= 4
}

/// Reads a log.
pub(crate) fn read(text: &str) -> Result<Told, LogError> {
    let mut reader = Reader::default();
    for (number, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        reader.line(text).map_err(|reason| LogError::Line { line: number + 1, reason })?;
    }
    Ok(reader.told())
}

#[derive(Default)]
struct Reader {
    told: Told,
    calls: BTreeMap<String, Open>,
    /// Since when a member is there; `None` of one that is away or gone.
    there: BTreeMap<String, Option<Timestamp>>,
    /// The queues it was added to.
    member_of: BTreeMap<String, BTreeSet<String>>,
    last: Option<Timestamp>,
}

impl Reader {
    fn line(&mut self, text: &str) -> Result<(), String> {
        let fields: Vec<&str> = text.split('|').collect();
        let &[epoch, call_id, queue, member, event, ref data @ ..] = fields.as_slice() else {
            return Err(format!("expected at least 5 fields, found {}", fields.len()));
        };
        let at = epoch.parse::<i64>().ok().filter(|seconds| (0..=100_000_000_000).contains(seconds));
        let at = at.ok_or_else(|| format!("time: expected seconds since 1970, found `{epoch}`"))?;
        let at = Timestamp(at * 1_000);
        self.last = Some(at);
        match event {
            "ENTERQUEUE" => {
                let open = Open { queue: queue.to_owned(), entered: Some(at), connected: None };
                self.calls.insert(call_id.to_owned(), open);
            }
            "CONNECT" => {
                let waited = seconds("holdtime", data, 0)?;
                let open = self.calls.entry(call_id.to_owned()).or_default();
                open.queue = queue.to_owned();
                open.connected = Some((at, waited, member.to_owned()));
                self.serves(member, queue);
            }
            "COMPLETEAGENT" | "COMPLETECALLER" => {
                let (waited, talked) = (seconds("holdtime", data, 0)?, seconds("calltime", data, 1)?);
                let mut open = self.calls.remove(call_id).unwrap_or_default();
                open.queue = queue.to_owned();
                let from = at - talked;
                open.connected.get_or_insert((from, waited, member.to_owned()));
                self.serves(member, queue);
                self.answered(open, Some(talked), at);
            }
            "ATTENDEDTRANSFER" | "BLINDTRANSFER" | "TRANSFER" => {
                if let Some(open) = self.calls.remove(call_id) {
                    self.answered(open, None, at);
                }
            }
            "ABANDON" | "EXITWITHTIMEOUT" => {
                let waited = seconds("waittime", data, 2)?;
                self.gave_up(call_id, queue, at, Some(waited));
            }
            "EXITWITHKEY" | "EXITEMPTY" | "WITHDRAW" => self.gave_up(call_id, queue, at, None),
            "ADDMEMBER" => {
                self.serves(member, queue);
                self.member_of.entry(member.to_owned()).or_default().insert(queue.to_owned());
                self.comes(member, at);
            }
            "REMOVEMEMBER" => {
                let queues = self.member_of.entry(member.to_owned()).or_default();
                queues.remove(queue);
                if queues.is_empty() {
                    self.goes(member, at);
                }
            }
            "AGENTLOGIN" | "AGENTCALLBACKLOGIN" | "UNPAUSE" | "UNPAUSEALL" => self.comes(member, at),
            "AGENTLOGOFF" | "AGENTCALLBACKLOGOFF" | "PAUSE" | "PAUSEALL" => self.goes(member, at),
            _ => {}
        }
        Ok(())
    }

    fn serves(&mut self, member: &str, queue: &str) {
        if member != "NONE" && queue != "NONE" {
            self.told.serves.entry(member.to_owned()).or_default().insert(queue.to_owned());
        }
    }

    fn comes(&mut self, member: &str, at: Timestamp) {
        let since = self.there.entry(member.to_owned()).or_insert(Some(at));
        since.get_or_insert(at);
    }

    fn goes(&mut self, member: &str, at: Timestamp) {
        // One of whom nothing was said before: it may have been there for as long as the log goes back.
        if let Some(since) = self.there.get_mut(member)
            && let Some(from) = since.take()
        {
            self.told.present.entry(member.to_owned()).or_default().push(Shift { from, until: at });
        }
    }

    fn answered(&mut self, open: Open, talked: Option<Millis>, ended_at: Timestamp) {
        let Some((from, waited, server)) = open.connected else { return };
        let at = open.entered.unwrap_or(from - waited);
        let talk = Talk { from, length: talked.unwrap_or_else(|| ended_at.since(from)), server };
        self.told.calls.push(call(open.queue, at, waited, Some(talk)));
    }

    fn gave_up(&mut self, call_id: &str, queue: &str, at: Timestamp, waited: Option<Millis>) {
        let entered = self.calls.remove(call_id).and_then(|open| open.entered);
        match (entered, waited) {
            (Some(entered), _) => {
                self.told.calls.push(call(queue.to_owned(), entered, at.since(entered), None))
            }
            (None, Some(waited)) => self.told.calls.push(call(queue.to_owned(), at - waited, waited, None)),
            (None, None) => self.told.not_offered += 1,
        }
    }

    fn told(mut self) -> Told {
        self.told.source = Source::QueueLog;
        self.told.not_offered += self.calls.len();
        let last = self.last.unwrap_or(Timestamp(0));
        for (member, since) in self.there {
            let still = since.map(|from| Shift { from, until: last + Millis(1) });
            self.told.present.entry(member).or_default().extend(still);
        }
        self.told
    }
}

fn call(kind: String, at: Timestamp, waited: Millis, talk: Option<Talk>) -> Seen {
    let date = jiff::Timestamp::from_millisecond(at.0).map(|it| it.strftime("%y%m%d").to_string());
    Seen {
        kind,
        date: date.unwrap_or_default(),
        high: false,
        head_start: Millis::ZERO,
        at,
        waited,
        gave_up: talk.is_none(),
        talk,
    }
}

fn seconds(what: &str, data: &[&str], place: usize) -> Result<Millis, String> {
    let text = data.get(place).copied().unwrap_or_default();
    let seconds = text.parse::<i64>().ok().filter(|seconds| (0..=10_000_000).contains(seconds));
    seconds.map(Millis::from_secs).ok_or_else(|| format!("{what}: expected seconds, found `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::day::End;
    use crate::log::Log;

    const LOG: &str = "\
1000|NONE|NONE|NONE|QUEUESTART|
1000|CLI|sales|SIP/anna|ADDMEMBER|
1010|c1|sales|NONE|ENTERQUEUE||1555|1
1015|c1|sales|SIP/anna|CONNECT|5|x|3
1020|c2|sales|NONE|ENTERQUEUE||1556|1
1060|c1|sales|SIP/anna|COMPLETECALLER|5|45|1
1080|c2|sales|NONE|ABANDON|1|1|60
1090|CLI|sales|SIP/anna|PAUSE|lunch
1100|c3|sales|SIP_anna|COMPLETEAGENT|7|20|1
1200|CLI|sales|SIP/anna|UNPAUSE|
1210|c4|sales|NONE|ENTERQUEUE||1557|1
1220|c4|sales|NONE|EXITWITHKEY|1|1
1300|c5|sales|NONE|ENTERQUEUE||1558|1
";

    #[test]
    fn what_the_lines_tell_is_taken_together_call_by_call() {
        let log = Log::read(LOG, 1).unwrap();
        let s = Millis::from_secs;
        let calls: Vec<_> = log.day.calls.iter().map(|call| call.at.0 / 1_000).collect();
        // That of the line which alone tells of its call came when its wait began; the last has not ended.
        assert_eq!(calls, [1_010, 1_020, 1_073, 1_210]);
        assert_eq!(log.not_offered, 1);
        assert_eq!(
            log.ends,
            [
                End::Answered { agent: 0, waited: s(5) },
                End::Abandoned { waited: s(60) },
                End::Answered { agent: 1, waited: s(7) },
                End::Abandoned { waited: s(10) },
            ]
        );
        assert_eq!((log.day.calls[0].talk, log.day.calls[2].talk), (s(45), s(20)));
        let shift = |from: i64, until_ms| Shift { from: Timestamp(from * 1_000), until: Timestamp(until_ms) };
        assert_eq!(log.day.agents[0].shifts, [shift(1_000, 1_090_000), shift(1_200, 1_300_001)]);
        assert_eq!(
            log.day.agents[1].shifts,
            [shift(1_080, 1_100_000)],
            "nothing tells when SIP_anna was there"
        );
        assert_eq!(log.day.agents[0].skills, ["sales"]);
    }

    #[test]
    fn a_wrong_line_is_named_with_what_is_wrong() {
        for (wrong, says) in [
            (LOG.replace("|5|45|", "|5|x|"), "line 6: calltime: expected seconds, found `x`"),
            (
                LOG.replace("1080|c2|sales|NONE|ABANDON|1|1|60", "1080|c2|sales"),
                "line 7: expected at least 5 fields, found 3",
            ),
            (
                LOG.replace("1100|", "yesterday|"),
                "line 9: time: expected seconds since 1970, found `yesterday`",
            ),
            (
                "hello\n".to_owned(),
                "line 1: neither the header of a log of calls nor a line of Asterisk's queue_log",
            ),
        ] {
            let said = Log::read(&wrong, 1).unwrap_err().to_string();
            assert!(said.starts_with(says), "{said}");
        }
    }
}
