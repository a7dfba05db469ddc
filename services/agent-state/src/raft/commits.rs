//! What goes to a follower, without messages that say nothing but how far is committed.
//!
//! openraft sends one after each entry. Under load the next entry says the same a moment later, and a message costs as much
//! as one with an entry: half of all of them. A follower's state may be that much older.

use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use openraft::raft::AppendEntriesRequest;

use super::types::{LogId, TypeConfig};

/// How long the next entry is waited for.
const WAIT_MAX: Duration = Duration::from_millis(5);

type Append = AppendEntriesRequest<TypeConfig>;

/// The same requests, but for those that a later one makes needless within [`WAIT_MAX`].
pub fn taken_along(requests: impl Stream<Item = Append> + Send + 'static) -> BoxStream<'static, Append> {
    let begun = (requests.fuse().boxed(), None);
    let next = async |(mut requests, told): (BoxStream<'static, Append>, Option<LogId>)| {
        let mut request = requests.next().await?;
        while request.entries.is_empty() && request.leader_commit > told {
            match tokio::time::timeout(WAIT_MAX, requests.next()).await {
                Ok(Some(later)) => request = later,
                // No more come, or none soon.
                Ok(None) | Err(_) => break,
            }
        }
        let told = request.leader_commit;
        Some((request, (requests, told)))
    };
    futures::stream::unfold(begun, next).boxed()
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc;
    use openraft::EntryPayload;

    use super::*;
    use crate::raft::types::{Entry, LeaderId, Vote};

    fn log_id(index: u64) -> LogId {
        LogId::new(LeaderId { term: 1, node_id: 1 }, index)
    }

    /// With the entry of that index or none, and with how far is committed.
    fn request(entry: Option<u64>, committed: Option<u64>) -> Append {
        let entries = entry.map(|index| Entry { log_id: log_id(index), payload: EntryPayload::Blank });
        Append {
            vote: Vote::new_committed(1, 1),
            prev_log_id: None,
            entries: entries.into_iter().collect(),
            leader_commit: committed.map(log_id),
        }
    }

    fn of(request: Option<Append>) -> Option<(Option<u64>, Option<u64>)> {
        let index = |log_id: LogId| log_id.index;
        request.map(|it| (it.entries.first().map(|entry| index(entry.log_id)), it.leader_commit.map(index)))
    }

    #[tokio::test]
    async fn how_far_is_committed_goes_along_with_an_entry_or_alone_when_none_comes_soon() {
        let (sender, requests) = mpsc::unbounded();
        let mut sent = taken_along(requests);
        let send = |entry, committed| sender.unbounded_send(request(entry, committed)).unwrap();
        // What says nothing of it is none of our business.
        send(None, None);
        assert_eq!(of(sent.next().await), Some((None, None)));
        send(Some(1), None);
        send(None, Some(1));
        send(Some(2), Some(1));
        assert_eq!(of(sent.next().await), Some((Some(1), None)));
        assert_eq!(of(sent.next().await), Some((Some(2), Some(1))));
        // Said already: somebody asks whether the follower is there.
        send(None, Some(1));
        assert_eq!(of(sent.next().await), Some((None, Some(1))));
        send(None, Some(2));
        let begun = tokio::time::Instant::now();
        assert_eq!(of(sent.next().await), Some((None, Some(2))));
        assert!(begun.elapsed() >= WAIT_MAX);
        send(None, Some(3));
        drop(sender);
        assert_eq!(of(sent.next().await), Some((None, Some(3))));
        assert_eq!(of(sent.next().await), None);
    }
}
