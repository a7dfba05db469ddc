//! The spool: facts go on while the log stalls, fails and comes back, and every reader finds each once and in order.

#![allow(clippy::unwrap_used, reason = "tests")]

mod spool_support;

use std::fs;

use spool_support::*;
use trunkline_domain::vocabulary::Epoch;
use trunkline_runtime::event_log::contract::note::Note;
use trunkline_runtime::event_log::contract::{CELL, LOG, everything, record_of};
use trunkline_runtime::event_log::{EventLog, LogError, SharedLog};
use trunkline_runtime::spool::{Spool, SpoolError, SpoolOptions, SpooledWriter};
use trunkline_runtime::telemetry::Telemetry;

/// Lane, epoch and sequence of everything in the log, whether it counts or not.
async fn raw(log: &SharedLog) -> Vec<(u64, u64)> {
    everything(log).await.into_iter().map(|it| (it.record.epoch.0, it.record.sequence)).collect()
}

async fn all_durable(appends: Vec<tokio::task::JoinHandle<Result<(), SpoolError>>>) {
    for append in appends {
        within(append).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_log_takes_everything_there_is_no_spool() {
    let bed = Bed::patient().await;
    all_durable(bed.append_all(0, 300)).await;
    same(&bed.facts().await, &numbers(0, 300));
    assert_eq!(raw(&bed.truth).await.len(), 301);
    assert!(!bed.spool_dir().exists());
    assert_eq!(bed.spool.state().reason(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_are_durable_while_the_log_stalls_and_none_is_sent_twice_when_it_goes_on() {
    let bed = Bed::new().await;
    all_durable(bed.append_all(0, 3)).await;
    bed.log.set(Mood::Stalled);
    all_durable(bed.append_all(3, 6)).await;
    all_durable(bed.append_all(6, 40)).await;
    let state = bed.spool.state();
    assert_eq!((state.reason(), state.record_count), (Some("log contacts/0 is slow"), 37));
    same(&bed.facts().await, &numbers(0, 3));
    // What was under way when it was found slow is not sent again before the log has said what became of it.
    let under_way = bed.log.held_count();
    assert!((1..=3).contains(&under_way), "{under_way}");

    bed.log.restore();
    bed.drained().await;
    same(&bed.facts().await, &numbers(0, 40));
    same(&raw(&bed.truth).await, &(0..=40).map(|sequence| (1, sequence)).collect::<Vec<_>>());
    all_durable(bed.append_all(40, 50)).await;
    same(&bed.facts().await, &numbers(0, 50));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_failed_gets_everything_under_the_same_epoch_when_it_is_back() {
    let bed = Bed::patient().await;
    all_durable(bed.append_all(0, 3)).await;
    bed.log.set(Mood::Stalled);
    let appends = bed.append_all(3, 20);
    bed.log.until_held(17).await;
    bed.log.fail();
    all_durable(appends).await;
    let state = bed.until(|state| state.reason().is_some_and(|it| it.contains("the brokers are gone"))).await;
    assert_eq!(state.record_count, 17);
    // It fails again and again; each time the lane is taken up with its fence record.
    for _ in 0..3 {
        bed.log.until_held(1).await;
        bed.log.fail();
    }
    all_durable(bed.append_all(20, 25)).await;
    same(&bed.facts().await, &numbers(0, 3));
    bed.log.restore();
    bed.drained().await;
    same(&bed.facts().await, &numbers(0, 25));
    let mut expected: Vec<_> = (0..=3).map(|sequence| (1, sequence)).collect();
    expected.push((1, 0));
    expected.extend((4..=25).map(|sequence| (1, sequence)));
    same(&raw(&bed.truth).await, &expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_refuses_at_once_is_tried_again_until_it_takes() {
    let bed = Bed::new().await;
    bed.log.set(Mood::Refusing);
    all_durable(bed.append_all(0, 30)).await;
    bed.log.restore();
    bed.drained().await;
    same(&bed.facts().await, &numbers(0, 30));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_copies_of_a_lost_producer_change_nothing() {
    let bed = Bed::patient().await;
    bed.log.set(Mood::Stalled);
    let appends = bed.append_all(0, 20);
    bed.log.until_held(20).await;
    bed.log.fail();
    all_durable(appends).await;
    // Some before the lane is taken up again, some behind that, the rest behind everything.
    bed.log.deliver_late(0, 7);
    bed.log.restore();
    bed.log.deliver_late(0, 5);
    bed.drained().await;
    bed.log.deliver_late(0, 8);
    bed.append("20").await.unwrap();
    same(&bed.facts().await, &numbers(0, 21));
    // Two fence records, everything once as it was sent and once as a copy, and the last one.
    assert_eq!(raw(&bed.truth).await.len(), 2 + 20 + 20 + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_appends_while_the_spool_drains_comes_behind_it_and_the_way_leads_back_to_the_log() {
    let bed = Bed::with(|options| SpoolOptions { reel_bytes: 4_000, ..options }).await;
    for round in 0..4_u64 {
        let base = round * 3_000;
        bed.log.set(Mood::Stalled);
        all_durable(bed.append_all(base, base + 1_500)).await;
        if round % 2 == 1 {
            bed.log.fail();
        }
        bed.log.restore();
        // Without a pause: the drain catches up all the same.
        all_durable(bed.append_all(base + 1_500, base + 3_000)).await;
        bed.drained().await;
    }
    same(&bed.facts().await, &numbers(0, 12_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_buffer_is_waited_for_and_then_spooled() {
    let bed = Bed::patient().await;
    bed.log.set(Mood::Overloaded);
    let appends = bed.append_all(0, 10);
    bed.log.set(Mood::Well);
    all_durable(appends).await;
    assert!(!bed.spool_dir().exists());

    let bed = Bed::new().await;
    bed.log.set(Mood::Overloaded);
    all_durable(bed.append_all(0, 10)).await;
    assert_eq!(bed.spool.state().record_count, 10);
    bed.log.set(Mood::Well);
    bed.drained().await;
    assert_eq!(raw(&bed.truth).await, (0..=10).map(|sequence| (1, sequence)).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_fails_in_the_middle_of_the_drain_gets_the_rest_again() {
    let bed = Bed::spooling(3_000, 900).await;
    for _ in 0..3 {
        // The fence record, then as much as may be under way, out of several reels.
        bed.log.until_held(1).await;
        bed.log.release();
        bed.log.until_held(UNDER_WAY).await;
        bed.log.fail();
    }
    bed.log.until_held(1).await;
    bed.log.release();
    bed.log.until_held(UNDER_WAY).await;
    bed.log.release();
    bed.log.until_held(UNDER_WAY).await;
    bed.log.fail();
    bed.log.deliver_late(4, 100);
    bed.log.restore();
    bed.drained().await;
    same(&bed.facts().await, &numbers(0, 900));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_takes_only_some_while_the_spool_is_written_gets_the_rest_in_its_turn() {
    let bed = Bed::new().await;
    for round in 0..40_u64 {
        let from = round * 100;
        bed.log.set(Mood::Stalled);
        all_durable(bed.append_all(from, from + 10)).await;
        // The log goes on while much is on its way to the disk, and does not take all of it at once.
        let appends = bed.append_all(from + 10, from + 100);
        bed.log.recover(Mood::Hesitant);
        all_durable(appends).await;
    }
    bed.log.restore();
    bed.drained().await;
    same(&bed.facts().await, &numbers(0, 4_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_left_is_drained_under_its_own_epoch_before_the_next_fence() {
    let bed = Bed::new().await;
    all_durable(bed.append_all(0, 5)).await;
    bed.log.set(Mood::Stalled);
    all_durable(bed.append_all(5, 30)).await;
    let Bed { dir, truth, log, spool, writer, .. } = bed;
    let image = SpoolOptions { dir: dir.path().join("image"), ..options(&dir) };
    image_of(&spool_dir(&dir), &image.dir);
    log.kill();
    // Some of what it had under way arrived.
    log.deliver_late(0, 2);
    writer.end().await;
    drop((writer, spool));

    let bed = Bed::start(dir, truth, image.clone(), 2).await.unwrap();
    same(&bed.facts().await, &numbers(0, 30));
    let raw = raw(&bed.truth).await;
    assert_eq!(raw.last(), Some(&(2, 0)));
    assert!(raw.iter().rev().skip(1).all(|(epoch, _)| *epoch == 1), "{raw:?}");
    assert_eq!(reels(&image.dir).len(), 0);
    log.deliver_late(0, 100);
    bed.append("30").await.unwrap();
    same(&bed.facts().await, &numbers(0, 31));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ownership_that_ends_leaves_its_spool_to_the_next_one_which_waits_for_the_log() {
    let mut bed = Bed::new().await;
    bed.log.set(Mood::Stalled);
    all_durable(bed.append_all(0, 20)).await;
    bed.log.fail();
    bed.writer.end().await;
    assert_eq!(bed.spool.state().record_count, 0);
    let over = bed.append("late").await.unwrap_err();
    assert!(matches!(over, SpoolError::Ended { .. }), "{over}");
    bed.log.set(Mood::Refusing);
    for _ in 0..3 {
        let refused = bed.next_epoch().await.unwrap_err();
        assert!(matches!(refused, SpoolError::Log(LogError::Io { .. })), "{refused}");
        assert_eq!(bed.spool.state().reason(), None);
    }
    bed.log.restore();
    bed.next_epoch().await.unwrap();
    bed.drained().await;
    bed.append("20").await.unwrap();
    let expected: Vec<_> = (0..20).map(|n| (1, n.to_string())).chain([(2, "20".to_owned())]).collect();
    assert_eq!(facts(&bed.truth).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_of_the_spool_is_cut_and_the_rest_is_drained() {
    let bed = Bed::new().await;
    bed.log.set(Mood::Stalled);
    all_durable(bed.append_all(0, 12)).await;
    let Bed { dir, truth, log, spool, writer, .. } = bed;
    log.kill();
    writer.end().await;
    drop((writer, spool));
    let reel = &reels(&spool_dir(&dir))[0];
    // The beginning of a record that was being written when the power failed.
    let whole = fs::read(segment(reel)).unwrap();
    let torn = [&whole[..], &vec![0; 700]].concat();
    fs::write(segment(reel), torn).unwrap();
    let again = options(&dir);
    let bed = Bed::start(dir, truth, again, 2).await.unwrap();
    same(&bed.facts().await, &numbers(0, 12));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_bound_an_append_fails_and_everything_acknowledged_is_drained_later() {
    let mut bed = Bed::with(|options| SpoolOptions { bytes_max: 4_000, ..options }).await;
    bed.log.set(Mood::Stalled);
    let (mut taken, mut short_of_room_at) = (0_u64, None);
    let full = loop {
        match bed.append(&taken.to_string()).await {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        let state = bed.spool.state();
        assert!(state.bytes <= state.bytes_max);
        if state.short_of_room() && short_of_room_at.is_none() {
            short_of_room_at = Some(state.bytes);
        }
    };
    assert!(matches!(full, SpoolError::Full { bytes_max: 4_000, .. }), "{full}");
    assert!(full.to_string().ends_with("of 4000 bytes wait for log contacts/0"), "{full}");
    assert!(short_of_room_at.is_some_and(|bytes| (3_200..3_300).contains(&bytes)), "{short_of_room_at:?}");
    assert!(taken > 50, "{taken}");
    assert!(bed.append("over").await.is_err());
    bed.log.restore();
    bed.next_epoch().await.unwrap();
    let facts = bed.facts().await;
    assert_eq!(facts[..taken as usize], numbers(0, taken));
    assert!(facts.len() as u64 <= taken + 1, "{facts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_stays_slow_does_not_fill_the_disk() {
    let bed = Bed::spooling(2_000, 2_000).await;
    let all = reels(&bed.spool_dir()).len();
    assert!(all > 30, "{all}");
    bed.log.until_held(1).await;
    bed.log.release();
    // It takes what waits, and lets wait what comes.
    for _ in 0..4 {
        bed.log.until_held(UNDER_WAY).await;
        bed.log.release();
    }
    let left = 2_000 - 4 * UNDER_WAY as u64;
    bed.until(|state| state.record_count == left).await;
    within(async {
        while reels(&bed.spool_dir()).len() > all / 2 + 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    bed.log.restore();
    bed.drained().await;
    same(&bed.facts().await, &numbers(0, 2_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_spool_cannot_be_written_the_logs_own_deadline_counts() {
    let bed = Bed::new().await;
    fs::write(bed.spool_dir(), "not a directory").unwrap();
    bed.log.set(Mood::Stalled);
    let mut appends = bed.append_all(0, 5);
    // Longer than a record waits before it is spooled: nobody is told anything.
    let early = tokio::time::timeout(AFTER * 4, &mut appends[0]).await;
    assert!(early.is_err(), "{early:?}");
    bed.log.restore();
    all_durable(appends).await;
    same(&bed.facts().await, &numbers(0, 5));

    // Nothing waits any more: the next time it is tried again, and now it can.
    fs::remove_file(bed.spool_dir()).unwrap();
    bed.log.set(Mood::Stalled);
    all_durable(bed.append_all(5, 8)).await;
    bed.log.restore();
    bed.drained().await;

    // Neither takes it.
    fs::remove_dir_all(bed.spool_dir()).unwrap();
    fs::write(bed.spool_dir(), "not a directory").unwrap();
    bed.log.set(Mood::Refusing);
    let refused = bed.append("lost").await.unwrap_err();
    assert!(matches!(refused, SpoolError::Disk { action: "make", .. }), "{refused}");
    same(&bed.facts().await, &numbers(0, 8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_spool_an_append_waits_for_the_log_and_fails_with_it() {
    let bed = Bed::with(|options| SpoolOptions { bytes_max: 0, ..options }).await;
    bed.log.set(Mood::Stalled);
    let mut appends = bed.append_all(0, 5);
    assert!(tokio::time::timeout(AFTER * 4, &mut appends[0]).await.is_err());
    assert!(!bed.spool.short_of_room());
    bed.log.restore();
    all_durable(appends).await;
    bed.log.set(Mood::Refusing);
    let refused = bed.append("lost").await.unwrap_err();
    assert!(matches!(refused, SpoolError::Log(LogError::Io { .. })), "{refused}");
    assert!(!bed.spool_dir().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_too_large_is_refused_and_leaves_no_hole() {
    let bed = Bed::with(|options| SpoolOptions { record_bytes_max: 1_000, ..options }).await;
    for mood in [Mood::Well, Mood::Stalled] {
        bed.log.set(mood);
        let refused = bed.append(&"x".repeat(1_000)).await.unwrap_err();
        assert!(matches!(refused, SpoolError::Log(LogError::TooLarge { size_max: 1_000, .. })), "{refused}");
        bed.append("small").await.unwrap();
    }
    bed.log.restore();
    bed.drained().await;
    assert_eq!(bed.facts().await, ["small", "small"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_used_twice_is_refused() {
    let mut bed = Bed::new().await;
    bed.append("one").await.unwrap();
    bed.epoch -= 1;
    let refused = bed.next_epoch().await.unwrap_err();
    assert!(matches!(refused, SpoolError::Log(LogError::Fenced { .. })), "{refused}");
}

/// A spool on disk with the notes 0 to 9 of epoch 1, of which the log has none; and the log.
async fn spooled(reel_bytes: u64) -> Bed {
    let bed = Bed::with(|options| SpoolOptions { reel_bytes, ..options }).await;
    bed.log.set(Mood::Stalled);
    all_durable(bed.append_all(0, 1)).await;
    all_durable(bed.append_all(1, 10)).await;
    bed.log.kill();
    bed.writer.end().await;
    bed
}

async fn drain(bed: &Bed, log: &SharedLog, lane: &str) -> Result<u64, SpoolError> {
    within(Spool::new(options(&bed.dir), &Telemetry::off()).drain(log, LOG, CELL, lane)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_that_does_not_continue_the_log_is_not_drained() {
    // Its epoch was superseded: what it holds would be void.
    let bed = spooled(1 << 20).await;
    let log = Fickle::over(&bed.truth);
    log.append(LOG, CELL, record_of(LANE, 2, 0, "")).unwrap().await.unwrap();
    let unfit = drain(&bed, &shared(&log), LANE).await.unwrap_err().to_string();
    assert!(unfit.ends_with("10 records of epoch 1 of lane media/nod_a were superseded by 2"), "{unfit}");
    assert_eq!(reels(&bed.spool_dir()).len(), 1);

    // Another log than the one it was to go to.
    let bed = spooled(1 << 20).await;
    let other = tempfile::TempDir::new().unwrap();
    let unfit = drain(&bed, &truth(other.path()), LANE).await.unwrap_err().to_string();
    assert!(unfit.ends_with("log contacts/0 has no epoch 1 of lane media/nod_a"), "{unfit}");

    // Another lane than the one it was written for.
    let refused = drain(&bed, &bed.truth, "media/nod_b").await.unwrap_err();
    assert!(matches!(refused, SpoolError::Disk { action: "open", .. }), "{refused}");

    // A reel is missing in the middle.
    let bed = spooled(100).await;
    let there = reels(&bed.spool_dir());
    assert!(there.len() > 2, "{there:?}");
    fs::remove_dir_all(&there[1]).unwrap();
    let unfit = drain(&bed, &bed.truth, LANE).await.unwrap_err().to_string();
    assert!(unfit.ends_with("is neither there nor in log contacts/0"), "{unfit}");
    assert_eq!(bed.facts().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_reels_and_those_the_log_has_all_of_are_removed() {
    let bed = spooled(100).await;
    let there = reels(&bed.spool_dir());
    fs::create_dir_all(there[0].with_file_name("00000000000000000001-000099/contacts/0")).unwrap();
    fs::create_dir_all(there[0].with_extension("retired").join("contacts")).unwrap();
    assert_eq!(drain(&bed, &bed.truth, LANE).await.unwrap(), 10);
    assert_eq!(reels(&bed.spool_dir()).len(), 0);
    same(&bed.facts().await, &numbers(0, 10));

    // Drained, and the crash came before it was removed: superseded or not, nothing of it is lacking.
    let bed = spooled(100).await;
    let image = bed.dir.path().join("image");
    image_of(&bed.spool_dir(), &image);
    assert_eq!(drain(&bed, &bed.truth, LANE).await.unwrap(), 10);
    let log = shared(&Fickle::over(&bed.truth));
    let (_, spool) = (fs::remove_dir_all(bed.spool_dir()), bed.spool_dir());
    let (writer, _) = SpooledWriter::<Note>::open(&log, &bed.spool, CELL, LANE, Epoch(2)).await.unwrap();
    fs::rename(image, &spool).unwrap();
    assert_eq!(drain(&bed, &log, LANE).await.unwrap(), 0);
    assert_eq!(reels(&spool).len(), 0);
    writer.end().await;
}
