//! A queue that holds one caller turns the next one away, and every promise over the logs still holds.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

mod support;

use support::cluster::{Cluster, facts, told, trunkline, verify};
use support::operator::{ALPHA, DOCUMENT};
use support::{hold, sipp, until};
use tempfile::TempDir;

#[test]
fn the_caller_who_finds_the_queue_full_is_hung_up_on_and_the_one_before_waits_on() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let cluster = Cluster::with_operator(&data, &[]);
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let queue = "name: Alpha\n";
    assert_eq!(document.matches(queue).count(), 1, "the queue {DOCUMENT} is known by");
    let narrow = dir.path().join("narrow.yaml");
    std::fs::write(&narrow, document.replace(queue, "name: Alpha\n        waiting_count_max: 1\n")).unwrap();
    let applied = trunkline(&["apply", "-f", &narrow.display().to_string(), "--data", &cluster.data()]);
    assert_eq!(applied.status.code(), Some(0), "{:?}", told(&applied));

    let count = |log: &str, name: &str| -> Result<usize, String> {
        Ok(facts(&data, log)?.iter().filter(|fact| fact.to_string().contains(name)).count())
    };
    let mut first = sipp::call(dir.path(), cluster.sip(), "+4917139200001", ALPHA, 8_000);
    until("the first caller's place", || {
        let queued = count("routing", "ContactQueued")?;
        hold(queued == 1, queued)
    });
    // Ends although nobody of its own side hangs up for a minute.
    sipp::call(dir.path(), cluster.sip(), "+4917139200002", ALPHA, 60_000).ends_well();
    until("the end of the second contact", || {
        let ended = count("contacts", "ContactFlowedOut")?;
        hold(ended == 1, ended)
    });
    until("the end of the visit, as routing saw it", || {
        let left = count("routing", "ContactDequeued")?;
        hold(left >= 1, left)
    });
    assert_eq!((count("routing", "ContactQueued"), count("routing", "ContactTurnedAway")), (Ok(1), Ok(1)));
    first.ends_well();
    until("the end of the first contact", || {
        let abandoned = count("contacts", "ContactAbandoned")?;
        hold(abandoned == 1, abandoned)
    });
    cluster.stop();
    verify(&data);
}
