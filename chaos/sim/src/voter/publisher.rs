//! The outbox of the leader: opens the lane, reads what is published, goes on behind it, records how far it came.
//!
//! The order is that of the real one: an epoch is the index of an entry just committed; a fence record opens it in every
//! cell; each cell is read up to its fence; one record is what one Raft index made in one cell; the progress is proposed
//! only when every record of it is acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bytes::Bytes;
use trunkline_domain::agent_state::{Action, OutboxKey};
use trunkline_domain::facts::{AgentFact, Outcome};
use trunkline_domain::vocabulary::{Cell, Epoch, EventId, Millis, Timestamp};
use trunkline_runtime::event_log::{FenceState, Record, Verdict};

use super::Voter;
use super::duties::Origin;
use crate::bug::Bug;
use crate::message::{Address, Kept, LogAsk, LogSaid, LogTold, LogWhat, Message, Outcomes};
use crate::turn::Turn;
use crate::world::CELLS;

/// The lane of agent-state's leader.
pub(crate) const LANE: &str = "agents";
/// Facts taken out of the state at once, about.
const TAKE_COUNT_MAX: usize = 48;
/// After this the log has failed.
const LOG_TIME_MAX: Millis = Millis(1_500);
/// Before the lane is opened again.
const PAUSE: Millis = Millis(300);

/// One leader's hold on the lane.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    /// Names the attempt: what is said to an earlier one is void.
    conn: u64,
    since: Timestamp,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Closed,
    AsksEpoch,
    Opening {
        epoch: Epoch,
        /// The highest Raft index in each cell that was read.
        through: BTreeMap<Cell, u64>,
    },
    Open(Lane),
}

#[derive(Debug)]
struct Lane {
    epoch: Epoch,
    cells: BTreeMap<Cell, CellLane>,
    /// Everything up to this index is in the log, as far as this leader knows.
    behind: u64,
    /// What is under way, and the index it leads to.
    under_way: BTreeSet<(Cell, u64)>,
    leads_to: u64,
    advancing: bool,
}

#[derive(Debug)]
struct CellLane {
    sequence: u64,
    through: u64,
}

impl Voter {
    /// The next step, if one can be taken now.
    pub(super) fn publish(&mut self, turn: &mut Turn<'_>) {
        let late = turn.now >= self.publisher.since + LOG_TIME_MAX;
        match &self.publisher.stage {
            Stage::Closed if turn.now >= self.publisher.since => {
                self.minted += 1;
                let conn = u64::from(self.id) << 32 | self.minted;
                self.publisher = Publisher { conn, since: turn.now, stage: Stage::AsksEpoch };
                self.propose_own(Action::Expire, Origin::Epoch(conn), turn);
            }
            Stage::Closed => {}
            Stage::AsksEpoch | Stage::Opening { .. } if late => self.close(turn.now),
            Stage::AsksEpoch | Stage::Opening { .. } => {}
            Stage::Open(lane) if !lane.under_way.is_empty() && late => self.close(turn.now),
            Stage::Open(lane) if lane.under_way.is_empty() && !lane.advancing => self.publish_next(turn),
            Stage::Open(_) => {}
        }
    }

    fn close(&mut self, now: Timestamp) {
        self.publisher = Publisher { conn: 0, since: now + PAUSE, stage: Stage::Closed };
    }

    pub(super) fn epoch_committed(&mut self, conn: u64, epoch: Epoch, turn: &mut Turn<'_>) {
        if self.publisher.conn != conn || !matches!(self.publisher.stage, Stage::AsksEpoch) {
            return;
        }
        self.publisher.stage = Stage::Opening { epoch, through: BTreeMap::new() };
        self.publisher.since = turn.now;
        for cell in CELLS {
            let outcome = Outcome { epoch, consumed: Vec::new(), facts: Vec::new() };
            self.append_record(cell, epoch, 0, Rc::new(outcome), turn);
        }
    }

    pub(super) fn advance_committed(&mut self, conn: u64) {
        if let Stage::Open(lane) = &mut self.publisher.stage
            && self.publisher.conn == conn
        {
            lane.advancing = false;
        }
    }

    pub(super) fn log_told(&mut self, told: LogTold, turn: &mut Turn<'_>) {
        if told.conn != self.publisher.conn {
            return;
        }
        match (told.what, &mut self.publisher.stage) {
            (LogSaid::Appended { cell, sequence: 0, position }, Stage::Opening { .. }) => {
                let what = LogWhat::Read { cell, through: position };
                turn.send(Address::Log, Message::Log(LogAsk { conn: told.conn, what }));
            }
            (LogSaid::Read { cell, records }, Stage::Opening { epoch, through }) => {
                let unread = turn.bug == Some(Bug::PublishUnread);
                through.insert(cell, if unread { 0 } else { published(&records) });
                if through.len() == CELLS.len() {
                    let cells = through
                        .iter()
                        .map(|(cell, through)| (*cell, CellLane { sequence: 0, through: *through }));
                    self.publisher.stage = Stage::Open(Lane {
                        epoch: *epoch,
                        cells: cells.collect(),
                        behind: 0,
                        under_way: BTreeSet::new(),
                        leads_to: 0,
                        advancing: false,
                    });
                }
            }
            (LogSaid::Appended { cell, sequence, .. }, Stage::Open(lane)) => {
                let last = lane.under_way.remove(&(cell, sequence)) && lane.under_way.is_empty();
                if last && !lane.advancing {
                    self.record_progress(turn);
                }
            }
            _ => {}
        }
        self.publish(turn);
    }

    /// Appends what waits behind the last that was published.
    fn publish_next(&mut self, turn: &mut Turn<'_>) {
        let Stage::Open(lane) = &mut self.publisher.stage else { return };
        let from = OutboxKey { index: lane.behind + 1, ordinal: 0 };
        let recorded_at = turn.now + self.clock_ahead;
        let mut outcomes: BTreeMap<(u64, Cell), Outcome<AgentFact>> = BTreeMap::new();
        let (mut taken, mut last) = (0, None);
        for (key, waiting) in self.replica.machine.state().outbox.range(from..) {
            if taken >= TAKE_COUNT_MAX && last != Some(key.index) {
                break;
            }
            (taken, last) = (taken + 1, Some(key.index));
            let outcome = outcomes.entry((key.index, waiting.cell)).or_insert_with(|| Outcome {
                epoch: lane.epoch,
                consumed: Vec::new(),
                facts: Vec::new(),
            });
            let mut recorded = waiting.recorded(*key, recorded_at);
            if turn.bug == Some(Bug::StampAtPublishing) {
                recorded.meta.occurred_at = recorded_at;
            }
            outcome.facts.push(recorded);
        }
        let Some(last) = last else { return };
        lane.leads_to = last;
        let epoch = lane.epoch;
        let mut records = Vec::new();
        for ((index, cell), outcome) in outcomes {
            let Some(of_cell) = lane.cells.get_mut(&cell).filter(|it| index > it.through) else { continue };
            of_cell.through = index;
            of_cell.sequence += 1;
            lane.under_way.insert((cell, of_cell.sequence));
            records.push((cell, of_cell.sequence, outcome));
        }
        let nothing = records.is_empty();
        self.publisher.since = turn.now;
        if nothing || turn.has(Bug::AdvanceBeforePublish) {
            self.record_progress(turn);
        }
        for (cell, sequence, outcome) in records {
            self.append_record(cell, epoch, sequence, Rc::new(outcome), turn);
        }
    }

    /// Everything up to the index is acknowledged by the log.
    fn record_progress(&mut self, turn: &mut Turn<'_>) {
        let term = self.term();
        let conn = self.publisher.conn;
        let Stage::Open(lane) = &mut self.publisher.stage else { return };
        lane.behind = lane.leads_to;
        if !turn.has(Bug::NeverAdvance) {
            lane.advancing = true;
            let through = lane.leads_to;
            self.propose_own(Action::AdvancePublished { through, term }, Origin::Advance(conn), turn);
        }
    }

    fn append_record(
        &mut self,
        cell: Cell,
        epoch: Epoch,
        sequence: u64,
        outcome: Rc<Outcome<AgentFact>>,
        turn: &mut Turn<'_>,
    ) {
        let record =
            Record { lane: LANE.to_owned(), epoch, sequence, headers: Vec::new(), payload: Bytes::new() };
        let what = LogWhat::Append { cell, kept: Kept { record, outcome: Outcomes::Agents(outcome) } };
        turn.send(Address::Log, Message::Log(LogAsk { conn: self.publisher.conn, what }));
    }
}

/// The highest Raft index among the records that count.
fn published(records: &[Kept]) -> u64 {
    let mut fence = FenceState::new();
    let mut newest = None;
    for kept in records {
        if fence.judge(&kept.record) == Verdict::Counts
            && let Outcomes::Agents(outcome) = &kept.outcome
        {
            newest = outcome.facts.last().or(newest);
        }
    }
    newest.and_then(|it| index_of(&it.meta.event_id)).unwrap_or_default()
}

/// The Raft index in `evt_a<cell>-<index>-<ordinal>`.
fn index_of(event_id: &EventId) -> Option<u64> {
    event_id.as_str().strip_prefix("evt_a")?.split('-').nth(1)?.parse().ok()
}
