//! Which record counts. Pure: the same records in the same order give every reader the same verdicts.

use std::collections::BTreeMap;

use trunkline_domain::vocabulary::Epoch;

use super::Record;

/// How far one lane has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneState {
    /// The newest epoch that was opened by a fence record.
    pub epoch: Epoch,
    /// The last sequence of it that counted; 0 right behind the fence record.
    pub sequence: u64,
}

/// What a reader knows of every lane of one partition. Saved together with the position it was reached at, it lets a
/// reader go on from there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FenceState {
    lanes: BTreeMap<String, LaneState>,
}

/// What a record means to a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It counts: the next of its lane and epoch.
    Counts,
    /// It begins a new epoch of its lane, and says nothing else.
    FenceRecord,
    /// Its owner was superseded before it was appended; it has no effect.
    Void {
        /// The epoch that superseded it.
        current: Epoch,
    },
    /// It was there before; it has no effect.
    Duplicate,
    /// What should have come before it is missing. The reader must stop.
    Gap {
        /// The sequence that had to come; 0 when a new epoch began without its fence record.
        expected: u64,
    },
}

impl FenceState {
    /// Before the first record of a partition.
    pub fn new() -> Self {
        Self::default()
    }

    /// The state that was saved: one entry a lane.
    pub fn from_lanes(lanes: impl IntoIterator<Item = (String, LaneState)>) -> Self {
        Self { lanes: lanes.into_iter().collect() }
    }

    /// Every lane with how far it has come, by name.
    pub fn lanes(&self) -> impl Iterator<Item = (&str, LaneState)> {
        self.lanes.iter().map(|(lane, state)| (lane.as_str(), *state))
    }

    /// How far a lane has come; `None` when it was never opened.
    pub fn lane(&self, lane: &str) -> Option<LaneState> {
        self.lanes.get(lane).copied()
    }

    /// Judges the next record of the partition and takes it into account. A [`Verdict::Gap`] changes nothing.
    pub fn judge(&mut self, record: &Record) -> Verdict {
        let verdict = self.verdict(record);
        match verdict {
            Verdict::FenceRecord => {
                self.lanes.insert(record.lane.clone(), LaneState { epoch: record.epoch, sequence: 0 });
            }
            Verdict::Counts => {
                if let Some(state) = self.lanes.get_mut(&record.lane) {
                    state.sequence = record.sequence;
                }
            }
            Verdict::Void { .. } | Verdict::Duplicate | Verdict::Gap { .. } => {}
        }
        verdict
    }

    /// What [`FenceState::judge`] would say.
    pub fn verdict(&self, record: &Record) -> Verdict {
        match self.lane(&record.lane) {
            Some(lane) if record.epoch < lane.epoch => Verdict::Void { current: lane.epoch },
            Some(lane) if record.epoch == lane.epoch => {
                let expected = lane.sequence + 1;
                match record.sequence.cmp(&expected) {
                    std::cmp::Ordering::Less => Verdict::Duplicate,
                    std::cmp::Ordering::Equal => Verdict::Counts,
                    std::cmp::Ordering::Greater => Verdict::Gap { expected },
                }
            }
            _ if record.sequence == 0 => Verdict::FenceRecord,
            _ => Verdict::Gap { expected: 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn record(lane: &str, epoch: u64, sequence: u64) -> Record {
        Record {
            lane: lane.to_owned(),
            epoch: Epoch(epoch),
            sequence,
            headers: vec![],
            payload: Bytes::new(),
        }
    }

    #[track_caller]
    fn check(records: &[(&str, u64, u64)], verdicts: &[Verdict]) {
        let mut fence = FenceState::new();
        let got: Vec<_> = records
            .iter()
            .map(|(lane, epoch, sequence)| fence.judge(&record(lane, *epoch, *sequence)))
            .collect();
        assert_eq!(got, verdicts);
    }

    use Verdict::{Counts, Duplicate, FenceRecord, Gap, Void};

    #[test]
    fn an_epoch_begins_with_its_fence_record_and_counts_in_sequence() {
        check(&[("a", 3, 0), ("a", 3, 1), ("a", 3, 2)], &[FenceRecord, Counts, Counts]);
    }

    #[test]
    fn a_lower_epoch_behind_a_higher_one_is_void_whatever_its_sequence() {
        let void = Void { current: Epoch(5) };
        check(
            &[("a", 3, 0), ("a", 3, 1), ("a", 5, 0), ("a", 3, 2), ("a", 4, 0), ("a", 5, 1)],
            &[FenceRecord, Counts, FenceRecord, void, void, Counts],
        );
    }

    #[test]
    fn a_record_seen_before_is_a_duplicate_the_fence_record_too() {
        check(
            &[("a", 3, 0), ("a", 3, 0), ("a", 3, 1), ("a", 3, 1), ("a", 3, 0), ("a", 3, 2)],
            &[FenceRecord, Duplicate, Counts, Duplicate, Duplicate, Counts],
        );
    }

    #[test]
    fn a_hole_in_the_sequence_is_a_gap_and_stays_one() {
        check(
            &[("a", 3, 0), ("a", 3, 2), ("a", 3, 3), ("a", 3, 1)],
            &[FenceRecord, Gap { expected: 1 }, Gap { expected: 1 }, Counts],
        );
    }

    #[test]
    fn an_epoch_without_its_fence_record_is_a_gap() {
        check(&[("a", 3, 1)], &[Gap { expected: 0 }]);
        check(&[("a", 3, 0), ("a", 4, 1)], &[FenceRecord, Gap { expected: 0 }]);
    }

    #[test]
    fn lanes_know_nothing_of_each_other() {
        check(
            &[("a", 9, 0), ("b", 2, 0), ("a", 9, 1), ("b", 2, 1)],
            &[FenceRecord, FenceRecord, Counts, Counts],
        );
    }

    #[test]
    fn a_saved_state_goes_on_where_it_was() {
        let mut fence = FenceState::new();
        fence.judge(&record("a", 3, 0));
        fence.judge(&record("a", 3, 1));
        let mut again = FenceState::from_lanes(
            fence.lanes().map(|(lane, state)| (lane.to_owned(), state)).collect::<Vec<_>>(),
        );
        assert_eq!(again, fence);
        assert_eq!(again.judge(&record("a", 3, 2)), Counts);
    }
}
