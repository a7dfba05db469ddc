//! Order, and once.

use std::collections::BTreeMap;

use trunkline_domain::vocabulary::{Cell, LogName};

use super::*;

pub async fn records_come_back_in_the_order_of_their_appends<L: LogUnderTest>() {
    let bed: L = fresh().await;
    for n in 0..20 {
        append(&bed.log(), record(n, n.to_string())).await;
    }
    assert_eq!(payloads(&everything(&bed.log()).await), numbers(0, 20));
}

pub async fn positions_of_a_partition_grow<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let positions = append_many(&bed.log(), 50).await;
    assert!(positions.is_sorted_by(|left, right| left < right), "{positions:?}");
}

pub async fn a_ticket_names_the_position_a_reader_sees<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let acknowledged = append_many(&bed.log(), 30).await;
    let read: Vec<_> = everything(&bed.log()).await.iter().map(|stored| stored.position).collect();
    assert_eq!(read, acknowledged);
}

pub async fn records_appended_without_waiting_keep_their_order<L: LogUnderTest>() {
    let bed: L = fresh().await;
    append_many(&bed.log(), 1000).await;
    assert_eq!(payloads(&everything(&bed.log()).await), numbers(0, 1000));
}

pub async fn concurrent_appenders_each_keep_their_own_order<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let tasks: Vec<_> = ["a", "b", "c", "d"]
        .into_iter()
        .map(|lane| {
            let log = bed.log();
            tokio::spawn(async move {
                for burst in 0..20 {
                    let tickets: Vec<_> = (0..5)
                        .map(|n| log.append(LOG, CELL, record_of(lane, 1, burst * 5 + n, lane)).unwrap())
                        .collect();
                    for ticket in tickets {
                        ticket.await.unwrap();
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let mut by_lane: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for stored in everything(&bed.log()).await {
        by_lane.entry(stored.record.lane).or_default().push(stored.record.sequence);
    }
    assert_eq!(by_lane.len(), 4);
    for (lane, sequences) in by_lane {
        assert_eq!(sequences, (0..100).collect::<Vec<_>>(), "lane {lane}");
    }
}

pub async fn two_lanes_share_a_partition_and_each_keeps_its_order<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    for n in 0..10 {
        append(&log, record_of("media/nod_a", 3, n, "a")).await;
        append(&log, record_of("media/nod_b", 9, n, "b")).await;
    }
    let read = everything(&log).await;
    for (lane, epoch) in [("media/nod_a", 3), ("media/nod_b", 9)] {
        let of_lane: Vec<_> = read.iter().filter(|stored| stored.record.lane == lane).collect();
        assert!(of_lane.iter().all(|stored| stored.record.epoch == Epoch(epoch)));
        let sequences: Vec<_> = of_lane.iter().map(|stored| stored.record.sequence).collect();
        assert_eq!(sequences, (0..10).collect::<Vec<_>>());
    }
}

pub async fn cells_are_independent<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    append_to(&log, LOG, Cell(0), record(0, "zero")).await;
    append_to(&log, LOG, Cell(1), record(0, "one")).await;
    assert_eq!(payloads(&everything_in(&log, LOG, Cell(0)).await), ["zero"]);
    assert_eq!(payloads(&everything_in(&log, LOG, Cell(1)).await), ["one"]);
}

pub async fn logs_are_independent<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    for name in LogName::ALL {
        append_to(&log, name, CELL, record(0, name.as_str())).await;
    }
    for name in LogName::ALL {
        assert_eq!(payloads(&everything_in(&log, name, CELL).await), [name.as_str()]);
    }
}

pub async fn a_dropped_ticket_does_not_take_the_record_back<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    drop(log.append(LOG, CELL, record(0, "0")).unwrap());
    append(&log, record(1, "1")).await;
    assert_eq!(payloads(&everything(&log).await), ["0", "1"]);
}

pub async fn every_acknowledged_record_is_there_exactly_once<L: LogUnderTest>() {
    let bed: L = fresh().await;
    append_many(&bed.log(), 300).await;
    let bed = bed.crash().await;
    let read = everything(&bed.log()).await;
    assert_eq!(payloads(&read), numbers(0, 300));
}
