//! The disk ends at every step of a replica: nothing acknowledged is lost, nothing that was never written is served.
//!
//! `TRUNKLINE_CRASH_POINTS` says how many crash points are tried, `TRUNKLINE_CRASH_SEED` with which seed to begin.
#![allow(clippy::unwrap_used, reason = "tests")]

mod crash;

use std::path::PathBuf;
use std::time::Instant;

use crash::disk::{Fault, SimDisk};
use crash::history::{History, Since, Tally};
use crash::platter::{Image, Word};
use trunkline_agent_state::raft::types::{Entry, LeaderId, LogId};
use trunkline_agent_state::store::Store;
use trunkline_agent_state::store::wal::frame::{self, Place, Record};

const POINTS: u64 = 2_400;
const STEPS: u64 = 24;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

fn add(sum: Tally, one: Tally) -> Tally {
    Tally {
        histories: sum.histories + one.histories,
        ops: sum.ops + one.ops,
        points: sum.points + one.points,
        twice: sum.twice + one.twice,
        whole: sum.whole + one.whole,
        faults: sum.faults + one.faults,
        flips: sum.flips + one.flips,
        refused: sum.refused + one.refused,
    }
}

#[test]
fn no_crash_loses_what_was_acknowledged_and_no_flipped_bit_is_served() {
    let (points, first) = (number("TRUNKLINE_CRASH_POINTS", POINTS), number("TRUNKLINE_CRASH_SEED", 1));
    println!("begins with TRUNKLINE_CRASH_SEED={first}");
    let (began, mut sum) = (Instant::now(), Tally::default());
    for seed in first.. {
        let mut history = History::new(seed);
        if let Err(reason) = history.run(STEPS) {
            panic!("TRUNKLINE_CRASH_SEED={seed}: {reason}");
        }
        sum = add(sum, history.tally);
        if sum.points >= points {
            break;
        }
    }
    println!("{sum:?} in {} ms", began.elapsed().as_millis());
    assert!(sum.flips > sum.points / 8 && sum.faults > 0 && sum.whole > 0, "{sum:?}");
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let run = || {
        let mut history = History::new(5);
        history.run(12).unwrap();
        let tally = history.tally;
        (tally, history.rest())
    };
    assert!(run() == run());
}

/// A disk that lies is found out, and soon; else a true one proves nothing.
#[track_caller]
fn found_out(word: Word, since: Since, by: &str) {
    let (mut tried, mut found) = (0, Vec::new());
    for seed in 1..30 {
        let mut history = History::lied_to(seed, word, since);
        let ran = history.run(STEPS);
        tried += history.tally.points;
        match ran {
            Err(reason) if reason.contains(by) => {
                return println!("{word:?} since {since:?}, seed {seed}, {tried} crash points: {reason}");
            }
            ran => found.extend(ran.err()),
        }
    }
    panic!("{word:?} since {since:?}: never found as {by:?}, but as {found:#?}");
}

#[test]
fn a_disk_whose_file_syncs_do_nothing_is_found_out() {
    found_out(Word::FilesNotSynced, Since::Birth, "refused to start");
    found_out(Word::FilesNotSynced, Since::Opened, "acknowledged records are lost");
    found_out(Word::FilesNotSynced, Since::Restart, "behind a restart: acknowledged records are lost");
}

#[test]
fn a_disk_whose_directory_syncs_do_nothing_is_found_out() {
    found_out(Word::NamesNotSynced, Since::Birth, "refused to start");
    found_out(Word::NamesNotSynced, Since::Opened, "acknowledged records are lost");
    found_out(Word::NamesNotSynced, Since::Restart, "behind a restart: acknowledged records are lost");
}

/// Where the frames of a segment begin.
fn frames(bytes: &[u8], segment: u64) -> Vec<usize> {
    let (mut offset, mut begins) = (0, Vec::new());
    while let Some(frame) = frame::read(&bytes[offset..], Place { segment, offset: offset as u64 }) {
        begins.push(offset);
        offset += frame.len;
    }
    begins
}

/// The newest segment, and where its frames begin.
fn newest_frames(image: &Image) -> (PathBuf, Vec<usize>) {
    let wal = |name: &&PathBuf| name.extension().is_some_and(|extension| extension == "wal");
    let name = image.files.keys().rfind(wal).unwrap().clone();
    let number = name.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let begins = frames(&image.files[&name], number);
    (name, begins)
}

/// Every bit of the last record, which only the seal behind it tells from a torn tail; and that it is the seal that does.
#[test]
fn a_flipped_bit_in_the_last_group_is_refused_because_of_its_seal() {
    let mut history = History::new(1);
    history.run(0).unwrap();
    history.append_well().unwrap();
    // Behind a rotation the newest segment begins with its checkpoint, and nothing else is in it.
    while newest_frames(&history.rest()).1.len() < 5 {
        history.append_well().unwrap();
    }
    let mut image = history.rest();
    let (name, begins) = newest_frames(&image);
    let [.., last, seal] = begins[..] else { panic!("{begins:?}") };
    for byte in last..seal {
        for bit in 0..8 {
            let refused = history.oracle.check_flip(&image, &name, byte, bit);
            assert_eq!(refused, Ok(true), "byte {byte} bit {bit}");
        }
    }
    for byte in seal..image.files[&name].len() {
        assert_eq!(history.oracle.check_flip(&image, &name, byte, 0), Ok(false), "byte {byte}, in the seal");
    }
    image.files.get_mut(&name).unwrap().truncate(seal);
    history.oracle.check(&image).unwrap();
    let served = history.oracle.check_flip(&image, &name, last + frame::HEADER_LEN, 0).unwrap_err();
    assert!(served.contains("acknowledged records are lost"), "{served}");
}

/// A majority may have on disk what this replica has not: it is applied, and the state on disk waits for the log.
#[test]
fn the_state_on_disk_waits_for_the_log() {
    let root = tempfile::tempdir().unwrap();
    let disk = SimDisk::of(root.path(), &Image::default());
    let store = Store::open_on(disk.shared(), root.path(), 1 << 20, 7).unwrap();
    let log_id = LogId::new(LeaderId { term: 1, node_id: 7 }, 0);
    let entry = Entry { log_id, payload: openraft::EntryPayload::Blank };
    disk.hold();
    store.wal.write(vec![Record::Entry(entry.clone())], true, Box::new(drop)).unwrap();
    disk.wait_blocked();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.machine.clone().replay([entry])).unwrap();
    assert_eq!(store.machine.view().last_applied, Some(log_id));
    disk.arm(0, Fault::Kill);
    disk.release();
    drop(store);
    disk.revive();
    // One that knew the entry would be taken for one whose log was lost.
    let store = Store::open_on(disk.shared(), root.path(), 1 << 20, 7).unwrap();
    assert_eq!(store.machine.view().last_applied, None);
}
