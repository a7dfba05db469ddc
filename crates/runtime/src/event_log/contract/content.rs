//! What goes in comes out.

use super::*;

async fn comes_back<L: LogUnderTest>(records: Vec<Record>) {
    let bed: L = fresh().await;
    for record in &records {
        append(&bed.log(), record.clone()).await;
    }
    let bed = bed.restart().await;
    let read: Vec<_> = everything(&bed.log()).await.into_iter().map(|stored| stored.record).collect();
    assert_eq!(read, records);
}

pub async fn a_record_comes_back_as_it_was_appended<L: LogUnderTest>() {
    let headers = vec![("traceparent".to_owned(), "00-0af7-b7ad-01".to_owned())];
    comes_back::<L>(vec![Record { headers, ..record_of("media/nod_x", 7, 3, "payload") }]).await;
}

pub async fn an_empty_payload_is_a_record<L: LogUnderTest>() {
    comes_back::<L>(vec![record(0, ""), record(1, "x"), record(2, "")]).await;
}

pub async fn headers_come_back_in_order_with_their_text<L: LogUnderTest>() {
    let texts = [("z", "last first"), ("a", ""), ("ä", "ünïcode ☎"), ("a", "again")];
    let headers = texts.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    comes_back::<L>(vec![Record { headers, ..record(0, "x") }]).await;
}

pub async fn a_payload_may_hold_any_bytes<L: LogUnderTest>() {
    let all: Vec<u8> = (0..=255).cycle().take(5000).collect();
    comes_back::<L>(vec![record(0, all)]).await;
}

pub async fn a_payload_of_zeros_comes_back<L: LogUnderTest>() {
    comes_back::<L>([0, 1, 511, 512, 513, 4096, 70_000].map(|len| record(0, vec![0; len])).to_vec()).await;
}

pub async fn a_record_as_large_as_the_limit_comes_back<L: LogUnderTest>() {
    let len = Limits::default().record_bytes_max - record(0, "").size();
    comes_back::<L>(vec![record(0, vec![b'x'; len]), record(1, "behind")]).await;
}

pub async fn large_and_small_records_mix<L: LogUnderTest>() {
    let records = (0..60).map(|n| record(n, vec![n as u8; if n % 3 == 0 { 60_000 } else { n as usize }]));
    comes_back::<L>(records.collect()).await;
}

pub async fn the_largest_numbers_come_back<L: LogUnderTest>() {
    comes_back::<L>(vec![record_of("a", u64::MAX, u64::MAX, "x")]).await;
}
