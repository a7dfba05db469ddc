//! The list of cases every log must pass. Written against the port alone: an implementation says how it is made,
//! crashed and stalled ([`LogUnderTest`]), and [`event_log_contract!`](crate::event_log_contract) makes one test of
//! each case.

pub mod bounds;
pub mod content;
pub mod durability;
pub mod fencing;
pub mod note;
pub mod order;
pub mod reading;
pub mod sabotage;
pub mod stopping;
pub mod tail;

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use trunkline_domain::vocabulary::{Cell, Epoch, LogName, Position};

use super::{ReadFrom, Record, RecordStream, SharedLog, Stored};

/// What the cases need of a log besides the port.
#[async_trait]
pub trait LogUnderTest: Send + Sync + Sized + 'static {
    /// Why no case can run here, when what the log needs is not there; every case then says so and passes.
    fn absent() -> Option<String> {
        None
    }
    /// An empty log with these limits.
    async fn fresh(limits: Limits) -> Self;
    /// The log.
    fn log(&self) -> SharedLog;
    /// Closes it in order and opens it again.
    async fn restart(self) -> Self;
    /// Ends it without warning and opens it again. What was not acknowledged may be there or not.
    async fn crash(self) -> Self;
    /// From now on nothing of the partition becomes durable, and nothing fails, until [`LogUnderTest::resume`].
    async fn stall(&self, log: LogName, cell: Cell);
    /// Ends a stall.
    async fn resume(&self, log: LogName, cell: Cell);
}

/// The limits of the log under test.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Partitions a log.
    pub cells: u32,
    /// The largest record, by [`Record::size`], in bytes.
    pub record_bytes_max: usize,
    /// Records that may wait in one partition.
    pub pending_count_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { cells: 2, record_bytes_max: 256 * 1024, pending_count_max: 2048 }
    }
}

/// The log most cases use.
pub const LOG: LogName = LogName::Contacts;
/// The cell most cases use.
pub const CELL: Cell = Cell(0);

/// Runs a case; one that hangs fails.
pub async fn within_a_minute(case: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(60), case).await.expect("the case came to no end");
}

/// An empty log with the usual limits.
pub async fn fresh<L: LogUnderTest>() -> L {
    L::fresh(Limits::default()).await
}

/// A record of lane `a`, epoch 1.
pub fn record(sequence: u64, payload: impl Into<Bytes>) -> Record {
    record_of("a", 1, sequence, payload)
}

/// A record without headers.
pub fn record_of(lane: &str, epoch: u64, sequence: u64, payload: impl Into<Bytes>) -> Record {
    Record {
        lane: lane.to_owned(),
        epoch: Epoch(epoch),
        sequence,
        headers: Vec::new(),
        payload: payload.into(),
    }
}

/// Appends a record and waits until it is durable.
pub async fn append(log: &SharedLog, record: Record) -> Position {
    append_to(log, LOG, CELL, record).await
}

/// Appends a record to a partition and waits until it is durable.
pub async fn append_to(log: &SharedLog, name: LogName, cell: Cell, record: Record) -> Position {
    log.append(name, cell, record).unwrap().await.unwrap()
}

/// Appends records 0 to `count` of lane `a`, payload = sequence in decimal, and waits for all of them.
pub async fn append_many(log: &SharedLog, count: u64) -> Vec<Position> {
    let tickets: Vec<_> =
        (0..count).map(|n| log.append(LOG, CELL, record(n, n.to_string())).unwrap()).collect();
    let mut positions = Vec::new();
    for ticket in tickets {
        positions.push(ticket.await.unwrap());
    }
    positions
}

/// A reader of the usual partition.
pub async fn reader(log: &SharedLog, from: ReadFrom) -> Box<dyn RecordStream> {
    log.read(LOG, CELL, from).await.unwrap()
}

/// The next `count` records.
pub async fn take(stream: &mut Box<dyn RecordStream>, count: usize) -> Vec<Stored> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.push(stream.next().await.unwrap());
    }
    taken
}

/// Everything durable in the usual partition.
pub async fn everything(log: &SharedLog) -> Vec<Stored> {
    everything_in(log, LOG, CELL).await
}

/// Everything durable in a partition.
pub async fn everything_in(log: &SharedLog, name: LogName, cell: Cell) -> Vec<Stored> {
    let Some(end) = log.end(name, cell).await.unwrap() else { return Vec::new() };
    let mut stream = log.read(name, cell, ReadFrom::Start).await.unwrap();
    let mut read: Vec<Stored> = Vec::new();
    while read.last().is_none_or(|stored| stored.position < end) {
        read.push(stream.next().await.unwrap());
    }
    read
}

/// The payloads as text.
pub fn payloads(stored: &[Stored]) -> Vec<String> {
    stored.iter().map(|stored| String::from_utf8(stored.record.payload.to_vec()).unwrap()).collect()
}

/// `from..to` as text.
pub fn numbers(from: u64, to: u64) -> Vec<String> {
    (from..to).map(|n| n.to_string()).collect()
}

/// Polls a future once; says what came of it.
pub async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = std::future::ready(()) => None,
    }
}

/// Makes one test of every case for a [`LogUnderTest`].
#[macro_export]
macro_rules! event_log_contract {
    ($log:ty) => {
        $crate::event_log_contract! { $log;
            order: [
                records_come_back_in_the_order_of_their_appends
                positions_of_a_partition_grow
                a_ticket_names_the_position_a_reader_sees
                records_appended_without_waiting_keep_their_order
                concurrent_appenders_each_keep_their_own_order
                two_lanes_share_a_partition_and_each_keeps_its_order
                cells_are_independent
                logs_are_independent
                a_dropped_ticket_does_not_take_the_record_back
                every_acknowledged_record_is_there_exactly_once
            ]
            content: [
                a_record_comes_back_as_it_was_appended
                an_empty_payload_is_a_record
                headers_come_back_in_order_with_their_text
                a_payload_may_hold_any_bytes
                a_payload_of_zeros_comes_back
                a_record_as_large_as_the_limit_comes_back
                large_and_small_records_mix
                the_largest_numbers_come_back
            ]
            durability: [
                an_acknowledged_record_is_there_after_a_crash
                what_was_taken_is_there_after_a_restart
                nothing_is_acknowledged_before_it_is_durable
                nobody_reads_a_record_before_it_is_durable
                a_crash_leaves_a_prefix_that_holds_everything_acknowledged
                a_crash_resolves_every_ticket
                appends_go_on_behind_the_end_after_a_crash
                crashes_in_a_row_lose_nothing
                a_crash_of_an_empty_log_leaves_it_empty
            ]
            reading: [
                a_reader_behind_a_position_begins_with_the_next
                a_reader_behind_the_last_record_waits_for_the_next
                a_reader_at_the_end_is_woken_by_every_append
                a_reader_of_an_empty_partition_waits
                a_reader_that_knows_more_than_the_log_is_refused
                a_slow_reader_holds_nobody_up
                many_readers_see_the_same
                next_may_be_cancelled_without_losing_a_record
                a_reader_dropped_in_the_middle_disturbs_nobody
                a_reader_goes_on_at_its_position_after_a_restart
                the_end_of_an_empty_partition_is_none
                the_end_is_the_last_acknowledged_record
                the_end_is_the_same_after_a_crash
            ]
            bounds: [
                a_record_over_the_limit_is_refused_and_leaves_no_trace
                lane_and_headers_count_towards_the_limit
                a_full_buffer_has_a_name_and_takes_nothing
                an_overloaded_append_may_be_tried_again
                a_full_buffer_leaves_other_partitions_free
                an_unknown_partition_is_refused_everywhere
                the_cell_count_is_what_was_asked_for
            ]
            fencing: [
                an_outcome_is_delivered_whole
                a_record_of_a_superseded_owner_is_void_for_every_reader
                a_zombie_that_writes_before_the_fence_is_seen_by_the_new_owner
                a_zombie_that_writes_between_the_new_owners_read_and_its_fence_is_seen_and_then_void
                a_fence_that_comes_too_late_is_refused
                an_epoch_used_twice_is_refused
                lanes_are_fenced_apart
                a_reader_goes_on_with_a_saved_fence
                a_reader_without_a_saved_fence_comes_to_the_same_one
                readers_that_come_at_different_times_agree
                an_owner_folds_all_its_predecessors_wrote
            ]
            stopping: [
                a_duplicate_is_delivered_once
                a_gap_stops_the_reader_and_is_named
                an_epoch_without_its_fence_record_stops_the_reader
                an_undecodable_record_stops_the_reader_and_is_not_skipped
                an_undecodable_record_of_a_superseded_owner_is_void
                an_outcome_of_another_epoch_than_its_record_stops_the_reader
                a_reader_may_be_cancelled_without_losing_an_outcome
                a_writer_whose_append_failed_takes_nothing_more
                a_writer_that_was_overloaded_goes_on_without_a_gap
                a_writer_whose_outcome_was_too_large_goes_on_without_a_gap
                the_trace_context_of_an_outcome_travels_in_the_headers
            ]
            tail: [
                what_counts_last_is_found_however_far_back_its_fence_is
                a_superseded_owners_records_are_never_the_last
                an_owner_that_goes_on_under_a_new_epoch_looks_at_what_came_since_alone
            ]
            sabotage: [
                records_doubled_and_replayed_by_zombies_change_no_state
            ]
        }
    };
    ($log:ty; $($module:ident: [$($case:ident)*])*) => {$(
        mod $module {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    use $crate::event_log::contract::{self, LogUnderTest as _};
                    if let Some(reason) = <$log>::absent() {
                        return eprintln!("NOT RUN: {reason}");
                    }
                    contract::within_a_minute(contract::$module::$case::<$log>()).await;
                }
            )*
        }
    )*};
}
