//! Lines that real Asterisk systems wrote.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

mod data;

use trunkline_domain::vocabulary::Millis;
use trunkline_replay::log::{Log, Source, text_of};
use trunkline_replay::{End, play};

fn read(name: &str) -> Option<Log> {
    let path = data::path(&format!("call-platform-records/asterisk-queue-log/{name}"))?;
    let log = Log::read(&text_of(&path).unwrap(), 1).unwrap();
    assert_eq!(log.source, Source::QueueLog);
    Some(log)
}

#[test]
fn calls_cut_off_by_the_beginning_of_a_log_are_taken_with_what_is_left_of_them() {
    let Some(log) = read("queue_log_2010_lines.txt") else { return };
    let s = Millis::from_secs;
    let calls: Vec<_> = log.day.calls.iter().map(|call| (call.at.0 / 1_000, call.talk)).collect();
    assert_eq!(calls, [(1_266_833_931, s(4)), (1_266_834_002, s(8))]);
    let waited: Vec<_> =
        log.ends.iter().map(|end| matches!(end, End::Answered { waited, .. } if *waited > s(1))).collect();
    assert_eq!(waited, [true, true]);
    assert!(play(&log.day).iter().all(|end| matches!(end, End::Answered { .. })));
}

#[test]
fn who_gave_up_waits_as_long_again_where_nobody_serves_it() {
    let Some(log) = read("queue_log_2020_abandon.txt") else { return };
    let ends = play(&log.day);
    assert_eq!(ends[0], End::Abandoned { waited: Millis::from_secs(68) });
    assert_eq!(ends[0], log.ends[0]);
}
