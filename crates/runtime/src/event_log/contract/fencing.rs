//! Owners come and go; every reader agrees on whose records count.

use trunkline_domain::facts::Delivered;
use trunkline_domain::vocabulary::InputPosition;

use super::note::{Note, note, notes};
use super::*;
use crate::event_log::LogError;
use crate::facts::{FactReader, FactWriter};

/// A lane opened, its log folded, and what the fold found.
async fn own(log: &SharedLog, lane: &str, epoch: u64) -> (FactWriter<Note>, Vec<String>) {
    let (writer, fence) = FactWriter::open(log, CELL, lane, Epoch(epoch)).await.unwrap();
    let mut own = FactReader::open(log, CELL, ReadFrom::Start).await.unwrap();
    let mut found = Vec::new();
    own.catch_up(&writer, fence, |delivered| found.extend(texts(&delivered))).await.unwrap();
    (writer, found)
}

fn texts(delivered: &Delivered<Note>) -> Vec<String> {
    delivered.outcome.facts.iter().map(|recorded| recorded.fact.0.clone()).collect()
}

async fn write(writer: &mut FactWriter<Note>, text: &str) {
    let outcome = note(writer.epoch().0, text);
    writer.append(&outcome).unwrap().await.unwrap();
}

/// What counts, for a reader that begins at the start.
async fn read(log: &SharedLog) -> Vec<String> {
    let mut reader = FactReader::<Note>::open(log, CELL, ReadFrom::Start).await.unwrap();
    let mut found = Vec::new();
    reader.fold_to_end(|delivered| found.extend(texts(&delivered))).await.unwrap();
    found
}

pub async fn an_outcome_is_delivered_whole<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let (mut writer, _) = own(&bed.log(), "a", 1).await;
    let mut outcome = notes(1, &["first", "second", "third"]);
    outcome.consumed = vec![InputPosition { log: LogName::Agents, cell: Cell(1), position: Position(17) }];
    let position = writer.append(&outcome).unwrap().await.unwrap();
    let bed = bed.crash().await;
    let mut reader = FactReader::<Note>::open(&bed.log(), CELL, ReadFrom::Start).await.unwrap();
    assert_eq!(reader.next().await.unwrap(), Delivered { position, lane: "a".to_owned(), outcome });
}

pub async fn a_record_of_a_superseded_owner_is_void_for_every_reader<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    let mut live = FactReader::<Note>::open(&log, CELL, ReadFrom::Start).await.unwrap();
    let (mut old, _) = own(&log, "a", 3).await;
    write(&mut old, "old").await;
    let (mut new, _) = own(&log, "a", 8).await;
    write(&mut old, "zombie").await;
    write(&mut new, "new").await;
    write(&mut old, "zombie again").await;
    assert_eq!(read(&log).await, ["old", "new"]);
    assert_eq!(texts(&live.next().await.unwrap()), ["old"]);
    assert_eq!(texts(&live.next().await.unwrap()), ["new"]);
    let bed = bed.crash().await;
    assert_eq!(read(&bed.log()).await, ["old", "new"]);
}

pub async fn a_zombie_that_writes_before_the_fence_is_seen_by_the_new_owner<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    let (mut old, _) = own(&log, "a", 3).await;
    write(&mut old, "lease already lost").await;
    let (_, found) = own(&log, "a", 8).await;
    assert_eq!(found, ["lease already lost"]);
    assert_eq!(read(&log).await, found);
}

pub async fn a_zombie_that_writes_between_the_new_owners_read_and_its_fence_is_seen_and_then_void<
    L: LogUnderTest,
>() {
    let bed: L = fresh().await;
    let log = bed.log();
    let (mut old, _) = own(&log, "a", 3).await;
    write(&mut old, "before the read").await;

    let mut reader = FactReader::<Note>::open(&log, CELL, ReadFrom::Start).await.unwrap();
    let mut found = Vec::new();
    reader.fold_to_end(|delivered| found.extend(texts(&delivered))).await.unwrap();
    write(&mut old, "between").await;
    let (new, fence) = FactWriter::<Note>::open(&log, CELL, "a", Epoch(8)).await.unwrap();
    write(&mut old, "void").await;
    reader.catch_up(&new, fence, |delivered| found.extend(texts(&delivered))).await.unwrap();

    assert_eq!(found, ["before the read", "between"]);
    assert_eq!(read(&log).await, found);
}

pub async fn a_fence_that_comes_too_late_is_refused<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    own(&log, "a", 8).await;
    let (late, fence) = FactWriter::<Note>::open(&log, CELL, "a", Epoch(5)).await.unwrap();
    let mut reader = FactReader::open(&log, CELL, ReadFrom::Start).await.unwrap();
    let refused = reader.catch_up(&late, fence, |_| ()).await;
    let fenced =
        LogError::Fenced { log: LOG, cell: CELL, lane: "a".to_owned(), epoch: Epoch(5), current: Epoch(8) };
    assert_eq!(refused, Err(fenced));
}

pub async fn an_epoch_used_twice_is_refused<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    let (mut first, _) = own(&log, "a", 8).await;
    write(&mut first, "one").await;
    let (second, fence) = FactWriter::<Note>::open(&log, CELL, "a", Epoch(8)).await.unwrap();
    let mut reader = FactReader::open(&log, CELL, ReadFrom::Start).await.unwrap();
    let refused = reader.catch_up(&second, fence, |_| ()).await;
    assert!(matches!(refused, Err(LogError::Fenced { .. })), "{refused:?}");
}

pub async fn lanes_are_fenced_apart<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    let (mut left, _) = own(&log, "media/nod_a", 3).await;
    let (mut right, _) = own(&log, "media/nod_b", 900).await;
    write(&mut left, "left").await;
    write(&mut right, "right").await;
    write(&mut left, "left again").await;
    assert_eq!(read(&log).await, ["left", "right", "left again"]);
}

pub async fn a_reader_goes_on_with_a_saved_fence<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    let (mut old, _) = own(&log, "a", 3).await;
    write(&mut old, "old").await;
    let (mut new, _) = own(&log, "a", 8).await;
    let mut reader = FactReader::<Note>::open(&log, CELL, ReadFrom::Start).await.unwrap();
    let position = reader.fold_to_end(|_| ()).await.unwrap().unwrap();
    let fence = reader.fence().clone();
    write(&mut old, "zombie").await;
    write(&mut new, "new").await;
    let bed = bed.restart().await;
    let mut again = FactReader::<Note>::open_at(&bed.log(), CELL, position, fence).await.unwrap();
    assert_eq!(texts(&again.next().await.unwrap()), ["new"]);
}

pub async fn a_reader_without_a_saved_fence_comes_to_the_same_one<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    let (mut old, _) = own(&log, "a", 3).await;
    write(&mut old, "old").await;
    let (mut new, _) = own(&log, "a", 8).await;
    let mut reader = FactReader::<Note>::open(&log, CELL, ReadFrom::Start).await.unwrap();
    let position = reader.fold_to_end(|_| ()).await.unwrap().unwrap();
    write(&mut old, "zombie").await;
    write(&mut new, "new").await;
    let mut again = FactReader::<Note>::open(&log, CELL, ReadFrom::After(position)).await.unwrap();
    assert_eq!((again.position(), again.fence()), (Some(position), reader.fence()));
    assert_eq!(texts(&again.next().await.unwrap()), ["new"]);
}

pub async fn readers_that_come_at_different_times_agree<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    let mut writers = Vec::new();
    let mut live = FactReader::<Note>::open(&log, CELL, ReadFrom::Start).await.unwrap();
    let mut seen_live = Vec::new();
    for epoch in 1..=6 {
        let (writer, found) = own(&log, "a", epoch).await;
        live.fold_to_end(|delivered| seen_live.extend(texts(&delivered))).await.unwrap();
        assert_eq!(found, seen_live);
        writers.push(writer);
        for writer in &mut writers {
            let text = format!("epoch {} of {epoch}", writer.epoch());
            write(writer, &text).await;
        }
    }
    live.fold_to_end(|delivered| seen_live.extend(texts(&delivered))).await.unwrap();
    let counted: Vec<_> = (1..=6).map(|epoch| format!("epoch {epoch} of {epoch}")).collect();
    assert_eq!(seen_live, counted);
    assert_eq!(read(&log).await, counted);
}

pub async fn an_owner_folds_all_its_predecessors_wrote<L: LogUnderTest>() {
    let mut bed: L = fresh().await;
    for epoch in 1..6 {
        let (mut writer, found) = own(&bed.log(), "a", epoch).await;
        assert_eq!(found, numbers(1, epoch));
        write(&mut writer, &epoch.to_string()).await;
        bed = bed.crash().await;
    }
}
